/**
 * Values that vary in length: strings, bytes, JSON-like data, records of any size; against a Map, with keys of both
 * kinds; torn and reused values are never seen; memory is used again; nothing is lost or leaks when a call fails.
 */
import * as bin from 'typed-binary';
import { describe, expect, it } from 'vitest';
import { Attachment } from '../dist/engine/attachment.js';
import { releaseScan, resetTree } from '../dist/engine/reset.js';
import { ValueCodec } from '../dist/engine/values.js';
import { SabtreeError, SharedTree } from '../dist/index.js';
import { STATUS_TRUE } from '../dist/layout/operation.js';
import { type Random, seeded } from './support/random.ts';
import { runThreads } from './support/threads.ts';

const error = (code: string) => expect.objectContaining({ code });

/** Bytes that blobs take now, by what a second tree of the same content takes: see `sameMemory`. */
const used = (tree: { stats(): { bytesUsed: number } }) => tree.stats().bytesUsed;

function text(random: Random, length: number): string {
  const unit = random.pick(['a', 'é', '日', '😀', 'zz']);
  return unit.repeat(Math.ceil(length / unit.length)) + random.below(1000);
}

/** Lengths around what matters: nothing, short, the core's own copy (4 KiB), a scan's area (64 KiB), long. */
function length(random: Random): number {
  const around = random.pick([0, 8, 40, 500, 4096, 65_536]);
  if (around >= 4096 && random.chance(0.8)) return random.below(60);
  return Math.max(0, around - 10 + random.below(20));
}

describe.each(['u32', 'string'] as const)('against a Map, keys %s', (key) => {
  it.each([0, 1, 2])('random calls %d', (run) =>
    seeded(`values ${key} ${run}`, (random) => {
      const tree = SharedTree.create({ key, value: 'string', memory: '256MB' });
      const map = new Map<number | string, string>();
      const keyOf = (n: number) => (key === 'u32' ? n : `key ${n}`) as never;
      for (let i = 0; i < 12_000; i++) {
        const k = keyOf(random.below(400));
        const before = map.get(k);
        const value = text(random, length(random));
        switch (random.below(8)) {
          case 0:
          case 1:
            expect(tree.put(k, value)).toBe(before === undefined);
            map.set(k, value);
            break;
          case 2:
            expect(tree.insert(k, value)).toBe(before === undefined);
            if (before === undefined) map.set(k, value);
            break;
          case 3:
            expect(tree.update(k, value)).toBe(before !== undefined);
            if (before !== undefined) map.set(k, value);
            break;
          case 4: {
            const right = random.chance(0.5);
            const expected = right ? (before ?? 'nothing') : `${before}?`;
            expect(tree.compareAndSet(k, expected, value)).toBe(right && before !== undefined);
            if (right && before !== undefined) map.set(k, value);
            break;
          }
          case 5:
            expect(tree.delete(k)).toBe(map.delete(k));
            break;
          default:
            expect(tree.get(k) === before).toBe(true);
            expect(tree.has(k)).toBe(before !== undefined);
        }
        if (i % 3000 === 0) tree.check();
      }
      const order = (a: number | string, b: number | string) => (a < b ? -1 : 1);
      const wanted = [...map].sort((a, b) => order(a[0], b[0]));
      expect(
        [...tree.range({ reverse: true })].reverse().every(([k, v], i) => k === wanted[i][0] && v === wanted[i][1]),
      ).toBe(true);
      expect([...tree].length).toBe(wanted.length);
      for (const [k, v] of tree) expect(map.get(k) === v).toBe(true);
      expect(tree.first()?.[1] === wanted[0][1]).toBe(true);
      expect(tree.last()?.[1] === wanted[wanted.length - 1][1]).toBe(true);
      const some = wanted[wanted.length >> 1];
      expect(tree.floor(some[0] as never)?.[1] === some[1]).toBe(true);
      expect(tree.ceiling(some[0] as never)?.[1] === some[1]).toBe(true);
      expect(tree.getMany(wanted.map(([k]) => k as never)).every((v, i) => v === wanted[i][1])).toBe(true);
      tree.check();
      const other = SharedTree.create({ key, value: 'string', memory: '256MB' });
      other.bulkLoad(wanted as never);
      expect(other.digest()).toBe(tree.digest());
      other.check();
      expect(tree.deleteMany(wanted.map(([k]) => k as never))).toBe(wanted.length);
      expect(tree.digest()).toBe(0n);
      expect(
        tree.putMany(
          wanted.map(([k]) => k as never),
          wanted.map(([, v]) => v),
        ),
      ).toBe(wanted.length);
      expect(tree.digest()).toBe(other.digest());
    })(),
  );
});

describe('types', () => {
  it('bytes come back as bytes of their own', () => {
    const tree = SharedTree.create({ key: 'u32', value: 'bytes', memory: '32MB' });
    const value = Uint8Array.of(1, 2, 3);
    tree.put(1, value);
    value[0] = 9;
    const read = tree.get(1) as Uint8Array;
    expect(read).toEqual(Uint8Array.of(1, 2, 3));
    expect(read.buffer).toBeInstanceOf(ArrayBuffer);
    read[0] = 7;
    expect(tree.get(1)).toEqual(Uint8Array.of(1, 2, 3));
    tree.put(2, new Uint8Array());
    expect(tree.get(2)).toEqual(new Uint8Array());
    tree.put(3, Buffer.from('buffer'));
    expect(new TextDecoder().decode(tree.get(3))).toBe('buffer');
  });

  it('JSON-like data: what JSON has, and bytes, dates and bigints', () => {
    const tree = SharedTree.create({ key: 'string', value: 'json', memory: '32MB' });
    const values = [
      null,
      true,
      0,
      -1.5,
      1e300,
      '',
      'text',
      [],
      {},
      [1, [2, { three: 3 }]],
      { a: { b: [null] } },
      new Date(0),
      12345678901234567890n,
      Uint8Array.of(1, 2),
      { nested: new Date('2026-11-24'), list: [1n, -(2n ** 63n)] },
    ];
    values.forEach((value, i) => void tree.put(`v${i}`, value));
    values.forEach((value, i) => void expect(tree.get(`v${i}`)).toEqual(value));
    tree.put('left out', { a: 1, b: undefined });
    expect(tree.get('left out')).toEqual({ a: 1 });
    class Point {
      x = 1;
    }
    tree.put('as in JSON', [undefined, -0, new Point(), Object.assign(Object.create(null), { y: 2 })]);
    expect(tree.get('as in JSON')).toEqual([null, 0, { x: 1 }, { y: 2 }]);
    tree.put('unlike JSON', [Number.NaN, -Infinity, new Date(-8.64e15)]);
    expect(tree.get('unlike JSON')).toEqual([Number.NaN, -Infinity, new Date(-8.64e15)]);
    // Equal values have equal bytes, in whatever order their properties stand.
    tree.put('order', { a: 1, b: 2 });
    expect(tree.compareAndSet('order', { b: 2, a: 1 }, 'found')).toBe(true);
    for (const wrong of [
      undefined,
      () => 1,
      Symbol('s'),
      (() => {
        const loop: unknown[] = [];
        loop.push(loop);
        return loop;
      })(),
    ]) {
      expect(() => tree.put('wrong', wrong)).toThrowError(error('ERR_VALUE'));
    }
    expect(tree.has('wrong')).toBe(false);
  });

  it('a getter that writes to the tree while its object is written', () => {
    const tree = SharedTree.create({ key: 'string', value: 'json', memory: '32MB' });
    const within = (value: unknown) => ({
      before: 'before',
      get inner() {
        return tree.put('inner', value);
      },
      last: [1, 2],
    });
    tree.put('outer', within({ n: 5n }));
    // Not the first time that the encoder asked.
    expect(tree.get('outer')).toEqual({ before: 'before', inner: false, last: [1, 2] });
    expect(tree.get('inner')).toEqual({ n: 5n });
    // What is refused is refused there too.
    expect(() => tree.put('outer', within(2n ** 64n))).toThrowError(error('ERR_VALUE'));
    expect(tree.get('inner')).toEqual({ n: 5n });
  });

  it('records of varying and of large size', () => {
    const schema = bin.object({
      name: bin.string,
      tags: bin.dynamicArrayOf(bin.string),
      age: bin.optional(bin.u32),
      rest: bin.object({ a: bin.u8, list: bin.dynamicArrayOf(bin.tupleOf([bin.i32, bin.bool])) }),
    });
    const tree = SharedTree.create({ key: 'u32', value: schema, memory: '32MB' });
    const one = {
      name: 'Ann',
      tags: ['x', 'ýz'],
      age: undefined,
      rest: { a: 3, list: [[-5, true] as [number, boolean]] },
    };
    const two = { name: '', tags: [], age: 7, rest: { a: 0, list: [] } };
    tree.put(1, one);
    tree.put(2, two);
    expect(tree.get(1)).toEqual(one);
    expect(tree.get(2)).toEqual(two);
    const wrongs = [
      { ...one, name: 'a\0b' },
      { ...one, name: 1 },
      { ...one, tags: 'x' },
      { ...one, age: -1 },
      { ...one, rest: { a: 256, list: [] } },
      { ...one, rest: { a: 1, list: [[1, 2]] } },
      null,
    ];
    for (const wrong of wrongs) expect(() => tree.put(3, wrong as never)).toThrowError(error('ERR_VALUE'));
    expect(tree.size).toBe(2);
    const large = SharedTree.create({ key: 'u32', value: bin.arrayOf(bin.u32, 1000), memory: '32MB' });
    const numbers = Array.from({ length: 1000 }, (_, i) => i * i);
    large.put(1, numbers);
    expect(large.get(1)).toEqual(numbers);
    const attached = SharedTree.attach(tree.handle, { value: schema });
    expect(attached.get(1)).toEqual(one);
    expect(() => SharedTree.attach(tree.handle, { value: bin.string })).toThrowError(error('ERR_SCHEMA_MISMATCH'));
  });

  it.each([
    ['string', 7],
    ['string', undefined],
    ['string', 'lone \ud800'],
    ['bytes', 'text'],
    ['bytes', [1, 2]],
    ['bytes', new Uint16Array(2)],
    ['bytes', new Uint8Array(16 * 1024 * 1024 + 1)],
    ['json', undefined],
    ['json', [1, 2n ** 64n]],
    ['json', { low: -(2n ** 63n) - 1n }],
    ['json', { at: [new Date(Number.NaN)] }],
    ['json', JSON.parse('{"a":{"__proto__":1}}')],
    ['json', () => 1],
    ['json', 'lone \ud800'],
    ['json', { 'lone \udc00': 1 }],
    ['json', new Date(Number.NaN)],
    ['json', { a: new Map([[1, 2]]) }],
    ['json', [new Set([1])]],
    ['json', /x/],
    ['json', new Float64Array(2)],
    ['json', new ArrayBuffer(2)],
    ['json', new Error('x')],
    ['json', JSON.parse('{ "a": { "__proto__": 1 } }')],
    ['json', ['long', `${'x'.repeat(100)}\udc00`]],
    ['json', new DataView(new ArrayBuffer(1))],
  ] as const)('%s refuses %s', (type, value) => {
    const tree = SharedTree.create({ key: 'u32', value: type, memory: '64MB' });
    const before = used(tree);
    expect(() => tree.put(1, value as never)).toThrowError(error('ERR_VALUE'));
    expect(() => tree.putMany([1], [value as never])).toThrowError(error('ERR_VALUE'));
    expect(() => tree.bulkLoad([[1, value as never]])).toThrowError(error('ERR_VALUE'));
    expect(tree.size).toBe(0);
    expect(used(tree) - before).toBeLessThan(65_536);
    expect(() => tree.add(1, value as never)).toThrowError(error('ERR_UNSUPPORTED'));
  });

  it('json refuses what is encoded while another value is, too', () => {
    const tree = SharedTree.create({ key: 'u32', value: 'json', memory: '16MB' });
    const outer = {
      get inner() {
        tree.put(1, 2n ** 64n);
        return 1;
      },
    };
    expect(() => tree.put(2, outer)).toThrowError(error('ERR_VALUE'));
    expect(tree.size).toBe(0);
  });

  it('the longest value goes in and comes out', () => {
    const tree = SharedTree.create({ key: 'u32', value: 'bytes', memory: '64MB' });
    const value = new Uint8Array(16 * 1024 * 1024);
    for (let i = 0; i < value.length; i += 4093) value[i] = i;
    tree.put(1, value);
    tree.put(2, Uint8Array.of(2));
    expect(Buffer.compare(tree.get(1) as Uint8Array, value)).toBe(0);
    expect([...tree].map(([k, v]) => [k, v.length])).toEqual([
      [1, value.length],
      [2, 1],
    ]);
    expect(Buffer.compare(tree.first()?.[1] as Uint8Array, value)).toBe(0);
    tree.check();
  });
});

it('a JSON value that is encoded while another one is has the same rules', () => {
  const tree = SharedTree.create({ key: 'u32', value: 'json', memory: '16MB' });
  const codes = new Set<string>();
  const outer = {
    get inner() {
      for (const wrong of [2n ** 64n, new Date(Number.NaN)]) {
        try {
          tree.put(2, wrong);
          codes.add('no error');
        } catch (failure) {
          codes.add(failure instanceof SabtreeError ? failure.code : String(failure));
        }
      }
      return 1;
    },
  };
  tree.put(1, outer);
  expect([...codes]).toEqual(['ERR_VALUE']);
  expect([...tree]).toEqual([[1, { inner: 1 }]]);
});

it('every byte of a value counts in the digest', () => {
  const tree = SharedTree.create({ key: 'u32', value: 'bytes', memory: '16MB' });
  for (const size of [1, 2, 7, 8, 9, 15, 16, 17, 23, 4097]) {
    const value = new Uint8Array(size);
    tree.put(1, value);
    const digests = new Set([tree.digest()]);
    const places = Array.from({ length: Math.min(size, 24) }, (_, i) => size - 1 - i);
    for (const place of [...places, 0]) {
      tree.put(1, value.with(place, 1));
      digests.add(tree.digest());
      expect(tree.compareAndSet(1, value, value)).toBe(false);
    }
    expect(digests.size).toBe(1 + new Set([...places, 0]).size);
  }
});

describe('memory', () => {
  it.each(['u32', 'string'] as const)('overwrites and deletes use what was there again, keys %s', (key) =>
    seeded(`reuse ${key}`, (random) => {
      const tree = SharedTree.create({ key, value: 'bytes', memory: '256MB' });
      const value = () => new Uint8Array(random.below(random.pick([20, 300, 5000])));
      const churn = (times: number) => {
        for (let i = 0; i < times; i++) {
          const k = random.below(500);
          const of = (key === 'u32' ? k : `key ${k}`) as never;
          if (random.chance(0.3)) tree.delete(of);
          else tree.put(of, value());
        }
      };
      churn(40_000);
      const settled = used(tree);
      churn(80_000);
      // Sizes are drawn anew each time, so the peaks of their classes still rise a little.
      expect(used(tree) - settled).toBeLessThanOrEqual(4 * 262_144);
      tree.check();
    })(),
  );

  it.each(['u32', 'string'] as const)(
    'either way a value is used again by the next one of its size, keys %s',
    (key) => {
      const tree = SharedTree.create({ key, value: 'bytes', memory: '16MB' });
      const one = (key === 'u32' ? 1 : 'one') as never;
      const value = new Uint8Array(100_000);
      tree.put(one, value);
      // It has the most values at a time: the old one, the expected one, the new one.
      tree.compareAndSet(one, value, value);
      const before = used(tree);
      for (let i = 0; i < 100; i++) tree.put(one, value);
      expect(used(tree)).toBe(before);
      for (let i = 0; i < 100; i++) {
        expect(tree.delete(one)).toBe(true);
        expect(tree.put(one, value)).toBe(true);
      }
      expect(used(tree)).toBe(before);
      for (let i = 0; i < 100; i++) expect(tree.update(one, value)).toBe(true);
      for (let i = 0; i < 100; i++) expect(tree.compareAndSet(one, value, value)).toBe(true);
      expect(used(tree)).toBe(before);
    },
  );

  it('a call that fails gives its value back', () => {
    const tree = SharedTree.create({ key: 'u32', value: 'bytes', memory: '16MB' });
    tree.put(1, Uint8Array.of(1));
    tree.insert(1, new Uint8Array(100_000));
    const before = used(tree);
    for (let i = 0; i < 500; i++) {
      expect(tree.insert(1, new Uint8Array(100_000))).toBe(false);
      expect(tree.update(2, new Uint8Array(100_000))).toBe(false);
      expect(tree.compareAndSet(1, new Uint8Array(90_000), new Uint8Array(100_000))).toBe(false);
      expect(() => tree.put(-1, new Uint8Array(100_000))).toThrowError(error('ERR_KEY'));
      expect(() => tree.bulkLoad([[2, new Uint8Array(100_000)]])).toThrowError(error('ERR_NOT_EMPTY'));
    }
    expect(used(tree) - before).toBeLessThanOrEqual(2 * 262_144);
  });

  it('a bulk load that fails gives all of them back', () => {
    const tree = SharedTree.create({ key: 'string', value: 'bytes', memory: '64MB' });
    const entries = (n: number): [string, Uint8Array][] => {
      return Array.from({ length: n }, (_, i) => [`k${String(i).padStart(6, '0')}`, new Uint8Array(5000)]);
    };
    const load = () => tree.bulkLoad([...entries(1000), ['a', Uint8Array.of(1)]]);
    expect(load).toThrowError(error('ERR_NOT_ASCENDING'));
    const before = used(tree);
    for (let i = 0; i < 20; i++) expect(load).toThrowError(error('ERR_NOT_ASCENDING'));
    expect(used(tree) - before).toBeLessThanOrEqual(262_144);
    expect(tree.bulkLoad(entries(1000))).toBe(1000);
    tree.check();
  });

  it('a full memory refuses; deleting makes room again', () => {
    const tree = SharedTree.create({ key: 'u32', value: 'bytes', memory: '8MB' });
    let n = 0;
    const fill = () => {
      for (; n < 100_000; n++) tree.put(n, new Uint8Array(10_000).fill(n));
    };
    expect(fill).toThrowError(error('ERR_MEMORY_EXHAUSTED'));
    expect(n).toBeGreaterThan(300);
    expect(tree.size).toBe(n);
    for (let i = 0; i < n; i++) expect(tree.get(i)?.[9999]).toBe(i & 255);
    expect(tree.delete(0)).toBe(true);
    expect(tree.put(n, new Uint8Array(10_000))).toBe(true);
    expect(() => tree.put(n + 1, new Uint8Array(10_000))).toThrowError(error('ERR_MEMORY_EXHAUSTED'));
    tree.check();
  });
});

it.each(['u32', 'string'] as const)(
  'a thread that ends while it reads a long value leaves no latch, keys %s',
  (key) => {
    const tree = SharedTree.create<'u32' | 'string', 'bytes'>({
      key,
      value: 'bytes',
      memory: '16MB',
      latchTimeout: 200,
    });
    const keyOf = (i: number) => (key === 'u32' ? i : `key ${i}`) as never;
    for (let i = 0; i < 20; i++) tree.put(keyOf(i), new Uint8Array(10_000).fill(i));
    const { memory } = tree.handle;
    const reader = new Attachment(memory, undefined, ValueCodec.opaque('bytes'));
    for (let i = 0; i < 20; i++) {
      reader.key.set(0, keyOf(i));
      // As it does after others have written the value again and again while it copied it.
      expect(reader.core.hold()).toBe(STATUS_TRUE);
      expect(() => tree.put(keyOf(i), new Uint8Array(1))).toThrow(expect.objectContaining({ code: 'ERR_LATCH_LOST' }));
      releaseScan(memory, reader.thread);
      expect(tree.put(keyOf(i), new Uint8Array(10_000).fill(i + 1))).toBe(false);
    }
    expect(tree.check()).toMatchObject({ entries: 20, quiet: true });
    for (let i = 0; i < 20; i++) expect((tree.get(keyOf(i)) as Uint8Array)[9999]).toBe(i + 1);
  },
);

describe('several threads', () => {
  it.each([
    ['short values', [0, 30, 200, 1000]],
    ['values around the core’s copy', [10, 4090, 4100]],
    ['values around a scan’s area', [10, 65_000, 66_000]],
    ['long values', [100_000, 400_000]],
  ])('%s: no reader sees a torn value or one that was used again', async (_, lengths) => {
    const tree = SharedTree.create({ key: 'string', value: 'string', memory: '256MB' });
    const rounds = Math.max(400, Math.min(20_000, Math.floor(4e7 / Math.max(...lengths))));
    const args = { keys: 12, lengths };
    const results = await runThreads<number>(tree.handle, [
      { task: 'writeTexts', args: { ...args, rounds } },
      { task: 'writeTexts', args: { ...args, rounds } },
      { task: 'readTexts', args: { ...args, laps: 200 } },
    ]);
    expect(results[2]).toBeGreaterThan(100);
    tree.check();
  });
});

it.each(['u32', 'string'] as const)('a tree that is emptied uses the memory of its blobs again, keys %s', (key) => {
  const reader = SharedTree.create({ key, value: 'bytes', memory: '64MB' });
  const keyOf = (n: number) => (key === 'u32' ? n : `key ${n}`) as never;
  const sizes: number[] = [];
  for (let round = 0; round < 4; round++) {
    const writer = SharedTree.attach(reader.handle);
    for (let n = 0; n < 300; n++) writer.put(keyOf(n), new Uint8Array(n % 50 === 0 ? 400_000 : 3 * n).fill(n) as never);
    for (let n = 0; n < 300; n += 3) writer.delete(keyOf(n));
    expect(reader.check().entries).toBe(200);
    sizes.push(used(reader));
    resetTree(reader.handle.memory, [writer.attachment.thread]);
    expect(reader.size).toBe(0);
    expect(reader.check().entries).toBe(0);
  }
  expect(new Set(sizes.slice(1)).size).toBe(1);
  reader.close();
});
