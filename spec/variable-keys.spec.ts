/**
 * Trees whose keys vary in length: against a sorted array, with keys that are hard on slotted nodes; strings, bytes and
 * tuples as keys, their order, and what is refused; several threads.
 */
import { describe, expect, it } from 'vitest';
import { decodeTuple, encodeTuple } from '../dist/engine/tuple.js';
import { SharedTree, type TupleElement } from '../dist/index.js';
import { seeded } from './support/random.ts';
import { runThreads } from './support/threads.ts';
import { compareBytes, FAMILIES, SortedEntries } from './support/variable-keys.ts';

const create = (nodeSize?: number) => {
  return SharedTree.create({ key: 'bytes', value: 'f64', memory: '64MB', ...(nodeSize && { nodeSize }) });
};
const plain = (entries: Iterable<[Uint8Array, number]>) => {
  return [...entries].map(([key, value]) => `${Buffer.from(key).toString('hex')}=${value}`);
};

describe.each(Object.keys(FAMILIES))('against a sorted array: %s', (family) => {
  it.each([6272, 16384])('nodes of %d bytes', (nodeSize) =>
    seeded(`${family} ${nodeSize}`, (random) => {
      const tree = create(nodeSize);
      const oracle = new SortedEntries();
      const draw = FAMILIES[family](random);
      const known: Uint8Array[] = [];
      const pick = () => (known.length > 0 && random.chance(0.5) ? random.pick(known) : draw());
      for (let round = 0; round < 40; round++) {
        // By turns it grows and shrinks, to nothing at last.
        const growing = round < 36 && round % 12 < 8;
        for (let i = 0; i < 60; i++) {
          const key = pick();
          if (random.chance(growing ? 0.75 : 0.15)) {
            expect(tree.put(key, round * 1000 + i)).toBe(oracle.put(key, round * 1000 + i));
            known.push(key);
          } else {
            expect(tree.delete(key)).toBe(oracle.delete(key));
          }
        }
        if (round > 36) for (const [key] of [...oracle.entries]) expect(tree.delete(key)).toBe(oracle.delete(key));
        expect(tree.check()).toMatchObject({ entries: oracle.entries.length, quiet: true });
        for (let i = 0; i < 20; i++) {
          const key = pick();
          expect(tree.get(key)).toBe(oracle.get(key));
          expect(tree.has(key)).toBe(oracle.get(key) !== undefined);
          const at = oracle.between(key, false, undefined, false);
          const before = oracle.between(undefined, false, key, false);
          expect(
            plain([tree.ceiling(key) ?? []].flat().length ? [tree.ceiling(key) as [Uint8Array, number]] : []),
          ).toEqual(plain(at.slice(0, 1)));
          expect(plain(tree.floor(key) ? [tree.floor(key) as [Uint8Array, number]] : [])).toEqual(
            plain(before.slice(-1)),
          );
          const higher = oracle.between(key, true, undefined, false);
          const lower = oracle.between(undefined, false, key, true);
          expect(plain(tree.higher(key) ? [tree.higher(key) as [Uint8Array, number]] : [])).toEqual(
            plain(higher.slice(0, 1)),
          );
          expect(plain(tree.lower(key) ? [tree.lower(key) as [Uint8Array, number]] : [])).toEqual(
            plain(lower.slice(-1)),
          );
        }
        const [a, b] = [pick(), pick()].sort(compareBytes);
        const [fromOut, toOut, reverse] = [random.chance(0.5), random.chance(0.5), random.chance(0.5)];
        const wanted = plain(oracle.between(a, fromOut, b, toOut));
        const got = plain(
          tree.range({ ...(fromOut ? { gt: a } : { gte: a }), ...(toOut ? { lt: b } : { lte: b }), reverse }),
        );
        expect(got).toEqual(reverse ? wanted.reverse() : wanted);
        expect(plain(tree)).toEqual(plain(oracle.entries));
      }
      expect(tree.size).toBe(0);
      expect(tree.digest()).toBe(0n);
    })(),
  );

  it('loaded in bulk and in batches it is the same tree', () =>
    seeded(`${family} bulk`, (random) => {
      const draw = FAMILIES[family](random);
      const oracle = new SortedEntries();
      for (let i = 0; i < 1500; i++) oracle.put(draw(), i);
      const loaded = create();
      expect(loaded.bulkLoad(oracle.entries, 0.5 + random.below(50) / 100)).toBe(oracle.entries.length);
      expect(loaded.check()).toMatchObject({ entries: oracle.entries.length, quiet: true });
      expect(plain(loaded)).toEqual(plain(oracle.entries));
      const put = create();
      const mixed = random.shuffled(oracle.entries);
      expect(
        put.putMany(
          mixed.map(([key]) => key),
          mixed.map(([, value]) => value),
        ),
      ).toBe(mixed.length);
      put.check();
      expect(put.digest()).toBe(loaded.digest());
      const found = new Uint8Array(mixed.length);
      expect(
        put.getMany(
          mixed.map(([key]) => key),
          new Float64Array(mixed.length),
          found,
        ),
      ).toEqual(Float64Array.from(mixed.map(([, value]) => value)));
      expect(found.every((one) => one === 1)).toBe(true);
      const half = mixed.slice(0, mixed.length >> 1);
      expect(put.deleteMany([...half, ...half].map(([key]) => key))).toBe(half.length);
      expect(put.check().entries).toBe(mixed.length - half.length);
      for (const [key, value] of half) expect(put.insert(key, value)).toBe(true);
      expect(put.digest()).toBe(loaded.digest());
    })());
});

it('ranges end and begin exactly where leaves do', () => {
  // What separates two leaves of such keys is often the first key of the right one.
  const tree = create();
  const keyOf = (n: number) => Uint8Array.of(n >> 8, n & 255);
  const keys = Array.from({ length: 4000 }, (_, n) => keyOf(n));
  for (const [n, key] of keys.entries()) tree.put(key, n);
  expect(tree.stats().splits).toBeGreaterThan(5);
  for (let n = 1; n < keys.length - 1; n++) {
    for (const reverse of [false, true]) {
      const found = (range: object) =>
        [...tree.range({ ...range, reverse })].map(([, value]) => value).sort((a, b) => a - b);
      expect(found({ gte: keys[n - 1], lte: keys[n] })).toEqual([n - 1, n]);
      expect(found({ gt: keys[n - 1], lt: keys[n + 1] })).toEqual([n]);
      expect(found({ gt: keys[n - 1], lte: keys[n] })).toEqual([n]);
      expect(found({ gte: keys[n - 1], lt: keys[n] })).toEqual([n - 1]);
    }
  }
});

describe('strings', () => {
  const strings = () => SharedTree.create({ key: 'string', value: 'u32', memory: '16MB' });

  it('come in the order of their code points, not of their UTF-16 units', () => {
    const tree = strings();
    const keys = [
      '',
      '\0',
      'a',
      'ab',
      'a\0',
      'é',
      'ﬀ',
      '\uffff',
      '😀',
      '😀a',
      '\u{10ffff}',
      'z',
      '日本',
      'x'.repeat(1024),
      '€'.repeat(341),
    ];
    keys.forEach((key, i) => void tree.put(key, i));
    const sorted = [...keys].sort((a, b) => compareBytes(Buffer.from(a), Buffer.from(b)));
    expect([...tree].map(([key]) => key)).toEqual(sorted);
    expect(sorted.indexOf('\uffff')).toBeLessThan(sorted.indexOf('😀'));
    keys.forEach((key, i) => void expect(tree.get(key)).toBe(i));
    tree.check();
  });

  it('any text goes in and comes out', () =>
    seeded('texts', (random) => {
      const tree = strings();
      const model = new Map<string, number>();
      const pools = [0x80, 0x800, 0xd800, 0x10000, 0x110000];
      for (let i = 0; i < 3000; i++) {
        const top = random.pick(pools);
        const points = Array.from({ length: random.below(90) }, () => {
          const point = random.below(top);
          return point >= 0xd800 && point < 0xe000 ? 0x41 : point;
        });
        const key = String.fromCodePoint(...points);
        tree.put(key, i);
        model.set(key, i);
      }
      expect(tree.size).toBe(model.size);
      for (const [key, value] of tree) expect(model.get(key)).toBe(value);
      tree.check();
    })());

  it('prefixes', () => {
    const tree = strings();
    const words = [
      'car',
      'card',
      'care',
      'careful',
      'cat',
      'ca',
      'c',
      'd',
      '',
      'cas\u{10ffff}',
      'cas\u{10ffff}\u{10ffff}',
      'cb',
    ];
    words.forEach((word, i) => void tree.put(word, i));
    for (const prefix of ['', 'c', 'ca', 'car', 'care', 'cas\u{10ffff}', 'x']) {
      const wanted = words
        .filter((word) => word.startsWith(prefix))
        .sort((a, b) => compareBytes(Buffer.from(a), Buffer.from(b)));
      expect([...tree.range({ prefix })].map(([key]) => key)).toEqual(wanted);
      expect([...tree.range({ prefix, reverse: true, limit: 2 })].map(([key]) => key)).toEqual(
        wanted.reverse().slice(0, 2),
      );
    }
    const bytes = create();
    for (const key of [[255], [255, 255], [255, 255, 1], [254]]) bytes.put(Uint8Array.from(key), key.length);
    expect([...bytes.range({ prefix: Uint8Array.of(255, 255) })].map(([, value]) => value)).toEqual([2, 3]);
    expect([...bytes.range({ prefix: new Uint8Array() })]).toHaveLength(4);
  });

  it.each([
    ['a number', 7],
    ['undefined', undefined],
    ['null', null],
    ['bytes', Uint8Array.of(1)],
    ['a lone high surrogate', 'a\ud800'],
    ['a lone low surrogate', '\udc00a'],
    ['surrogates the wrong way round', '\udc00\ud800'],
    ['1,025 bytes of ASCII', 'x'.repeat(1025)],
    ['1,025 bytes of three-byte characters and others', `${'€'.repeat(341)}xx`],
    ['1,026 bytes, the last character of two', `${'x'.repeat(1023)}é`],
    ['far more than fits', '€'.repeat(1000)],
  ])('refuses %s, and nothing changes', (_, key) => {
    const tree = strings();
    tree.put('there', 1);
    const before = tree.digest();
    for (const call of [
      () => tree.put(key as string, 2),
      () => tree.get(key as string),
      () => tree.delete(key as string),
      () => tree.putMany(['new', key as string], [1, 2]),
      () => [...tree.range({ gte: key as string, lt: '' })],
    ]) {
      if (key === undefined && call.toString().includes('range')) continue;
      expect(call).toThrowError(expect.objectContaining({ code: 'ERR_KEY' }));
    }
    expect(tree.digest()).toBe(before);
    expect(tree.get('there')).toBe(1);
  });

  it('refuses what it cannot do, by name', () => {
    const tree = strings();
    const argument = expect.objectContaining({ code: 'ERR_ARGUMENT' });
    expect(() => tree.range({ prefix: 'a', gt: 'b' })).toThrowError(argument);
    expect(() => SharedTree.create({ key: 'u32', value: 'u32' }).range({ prefix: 3 })).toThrowError(argument);
    const option = expect.objectContaining({ code: 'ERR_OPTION' });
    expect(() => SharedTree.create({ key: 'string', value: 'u32', fanout: 8 })).toThrowError(option);
    expect(() => SharedTree.create({ key: 'string', value: 'u32', nodeSize: 4096 })).toThrowError(option);
    expect(() => SharedTree.create({ key: 'text' as 'string', value: 'u32' })).toThrowError(option);
    expect(() =>
      tree.bulkLoad([
        ['b', 1],
        ['a', 2],
      ]),
    ).toThrowError(expect.objectContaining({ code: 'ERR_NOT_ASCENDING', value: 'a' }));
    expect(tree.size).toBe(0);
    expect(tree.check()).toMatchObject({ entries: 0 });
  });

  it('compareAndSet, insert, update and add work as on other keys', () => {
    const tree = strings();
    expect(tree.insert('k', 1)).toBe(true);
    expect(tree.insert('k', 2)).toBe(false);
    expect(tree.update('other', 2)).toBe(false);
    expect(tree.compareAndSet('k', 2, 3)).toBe(false);
    expect(tree.compareAndSet('k', 1, 3)).toBe(true);
    expect(tree.add('k', 4)).toBe(3);
    expect(tree.add('fresh', 4)).toBeUndefined();
    expect([...tree]).toEqual([
      ['fresh', 4],
      ['k', 7],
    ]);
    tree.check();
  });

  it('a full memory refuses, and what is there stays', () => {
    const tree = SharedTree.create({ key: 'string', value: 'u32', memory: '2MB' });
    const key = (i: number) => `${Math.imul(i, 0x9e3779b1) >>> 0}${'k'.repeat(990)}`;
    let n = 0;
    const fill = () => {
      for (; n < 10_000; n++) tree.put(key(n), n);
    };
    expect(fill).toThrowError(expect.objectContaining({ code: 'ERR_MEMORY_EXHAUSTED' }));
    expect(n).toBeGreaterThan(500);
    expect(tree.check().entries).toBe(n);
    for (let i = 0; i < n; i++) expect(tree.delete(key(i))).toBe(true);
    for (let i = 0; i < n; i++) expect(tree.put(key(i), i)).toBe(true);
    tree.check();
  });
});

describe('tuples', () => {
  const ELEMENTS: TupleElement[] = [
    null,
    false,
    true,
    Number.NEGATIVE_INFINITY,
    -1e300,
    -2.5,
    -1,
    -5e-324,
    0,
    5e-324,
    1,
    1.5,
    2,
    1e300,
    Number.POSITIVE_INFINITY,
    -(2n ** 200n),
    -256n,
    -255n,
    -1n,
    0n,
    1n,
    255n,
    256n,
    2n ** 64n,
    2n ** 200n,
    new Date(-1),
    new Date(0),
    new Date('2026-11-24'),
    '',
    '\0',
    '\0\0',
    '\0a',
    'a',
    'a\0',
    'ab',
    'é',
    '😀',
    Uint8Array.of(),
    Uint8Array.of(0),
    Uint8Array.of(0, 255),
    Uint8Array.of(1),
    Uint8Array.of(255),
    [],
    [null],
    [null, 1],
    ['a'],
    ['a', ['a']],
    [['a']],
  ];

  it('elements stand in the order of their types, then of their values', () => {
    const encoded = ELEMENTS.map((element) => encodeTuple([element]).slice());
    for (let i = 1; i < encoded.length; i++) {
      expect(
        compareBytes(encoded[i - 1], encoded[i]),
        `${String(ELEMENTS[i - 1])} before ${String(ELEMENTS[i])}`,
      ).toBeLessThan(0);
    }
    ELEMENTS.forEach((element, i) => void expect(decodeTuple(encoded[i])).toEqual([element]));
  });

  it('tuples compare element by element, and come back as they were', () =>
    seeded('tuples', (random) => {
      const tree = SharedTree.create({ key: 'tuple', value: 'u32', memory: '32MB' });
      const rank = (element: TupleElement) => (Array.isArray(element) ? ELEMENTS.length : ELEMENTS.indexOf(element));
      const compare = (a: readonly TupleElement[], b: readonly TupleElement[]): number => {
        for (let i = 0; i < a.length && i < b.length; i++) {
          const [x, y] = [a[i], b[i]];
          // Nested ones by their elements, others by their place in the list.
          const order = Array.isArray(x) && Array.isArray(y) ? compare(x, y) : rank(x) - rank(y);
          if (order !== 0) return order;
        }
        return a.length - b.length;
      };
      const keys = Array.from({ length: 2000 }, () =>
        Array.from({ length: random.below(5) }, () => random.pick(ELEMENTS)),
      );
      keys.forEach((key, i) => void tree.put(key, i));
      const sorted = [...keys].sort(compare).filter((key, i, all) => i === 0 || compare(all[i - 1], key) !== 0);
      expect([...tree].map(([key]) => key)).toEqual(sorted);
      const first = random.pick(ELEMENTS.filter((element) => !Array.isArray(element)));
      const begins = sorted.filter((key) => key.length > 0 && key[0] === first);
      expect([...tree.range({ prefix: [first] })].map(([key]) => key)).toEqual(begins);
      tree.check();
    })());

  it('a prefix is of elements, not of bytes', () => {
    const tree = SharedTree.create({ key: 'tuple', value: 'u32', memory: '16MB' });
    const b = (...bytes: number[]) => Uint8Array.from(bytes);
    const longest = 'x'.repeat(1022);
    const keys: TupleElement[][] = [['a'], ['a', null], ['a', 'b'], ['a', b(255)], ['a', []], ['a\0'], ['a\0', 1]];
    keys.push([''], ['', 1], ['\0'], ['\0\0'], [b()], [b(), 1], [b(0)], [b(0), 1], [['a']], [['a'], 1], [['a', 1]]);
    keys.push([longest], [longest.slice(1), null], []);
    for (const key of keys) tree.put(key, 1);
    expect(tree.size).toBe(keys.length);
    const found = (prefix: TupleElement[]) => [...tree.range({ prefix })].map(([key]) => key);
    expect(found(['a'])).toEqual([['a'], ['a', null], ['a', 'b'], ['a', b(255)], ['a', []]]);
    expect(found(['a\0'])).toEqual([['a\0'], ['a\0', 1]]);
    expect(found([''])).toEqual([[''], ['', 1]]);
    expect(found([b()])).toEqual([[b()], [b(), 1]]);
    expect(found([['a']])).toEqual([[['a']], [['a'], 1]]);
    expect(found([longest])).toEqual([[longest]]);
    expect(found([longest.slice(1)])).toEqual([[longest.slice(1), null]]);
    expect(found([])).toHaveLength(keys.length);
  });

  it.each([
    ['no array', 'a'],
    ['NaN', [Number.NaN]],
    ['undefined', [undefined]],
    ['an object', [{}]],
    ['a symbol', [Symbol('a')]],
    ['a lone surrogate', ['\ud800']],
    ['an invalid date', [new Date('never')]],
    ['a bigint of 121 bytes', [2n ** 960n]],
    ['too deep', Array.from({ length: 40 }).reduce<unknown[]>((inner) => [inner], [])],
    ['too long', ['x'.repeat(1023)]],
  ])('refuses %s', (_, key) => {
    const tree = SharedTree.create({ key: 'tuple', value: 'u32', memory: '16MB' });
    expect(() => tree.put(key as [], 1)).toThrowError(expect.objectContaining({ code: 'ERR_KEY' }));
    expect(tree.size).toBe(0);
  });

  it('0 and -0 are one key; 2 and 2n are two', () => {
    const tree = SharedTree.create({ key: 'tuple', value: 'u32', memory: '16MB' });
    tree.put([0], 1);
    expect(tree.get([-0])).toBe(1);
    tree.put([2], 2);
    expect(tree.has([2n])).toBe(false);
  });
});

describe('several threads', () => {
  it.each([
    ['short keys', 4, 30_000, '', '', 3],
    ['long common prefixes', 3, 6000, 'p'.repeat(900), '', 3],
    ['long keys, so that nodes split and merge all the time', 3, 25_000, '', 's'.repeat(900), 500],
  ])('%s: every answer is right, and the content in the end', async (_, threads, rounds, prefix, suffix, changes) => {
    const tree = SharedTree.create({ key: 'string', value: 'f64', memory: '128MB' });
    const tasks = Array.from({ length: threads }, () => ({
      task: 'ownStrings',
      args: { rounds, keys: 700, prefix, suffix },
    }));
    const left = (await runThreads<[string, number][]>(tree.handle, tasks)).flat();
    expect(left.length).toBeGreaterThan(300);
    const { splits, merges } = tree.stats();
    expect(splits + merges).toBeGreaterThan(changes);
    expect(tree.check()).toMatchObject({ entries: left.length, quiet: true });
    left.sort((a, b) => (a[0] < b[0] ? -1 : 1));
    expect([...tree]).toEqual(left);
    const alone = SharedTree.create({ key: 'string', value: 'f64', memory: '128MB' });
    alone.bulkLoad(left);
    expect(alone.digest()).toBe(tree.digest());
  });

  it('nodes merge with neighbours that others change at that moment', async () => {
    const tree = SharedTree.create({ key: 'string', value: 'f64', memory: '32MB', latchTimeout: 2000 });
    // A node has six keys of three threads, and each call changes it: many a merge finds a latch taken.
    const args = { rounds: 3000, keys: 12, suffix: 's'.repeat(1000) };
    const tasks = [0, 1, 2].map(() => ({ task: 'fillAndEmpty', args }));
    const keys = (await runThreads<string[]>(tree.handle, tasks)).flat().sort();
    expect(tree.stats().merges).toBeGreaterThan(2000);
    expect(tree.check()).toMatchObject({ entries: keys.length, quiet: true });
    expect([...tree]).toEqual(keys.map((key) => [key, args.rounds]));
  });

  it('a scan is one state of the tree while others write', async () => {
    const tree = SharedTree.create({ key: 'string', value: 'f64', memory: '128MB' });
    for (let i = 0; i < 2000; i++) tree.put(`account ${String(i).padStart(4, '0')}`, 0);
    const tasks = [
      { task: 'setInOrder', args: { rounds: 150, keys: 2000 } },
      { task: 'watchInOrder', args: { laps: 100, keys: 2000 } },
      { task: 'churnFillers', args: { rounds: 20_000 } },
    ];
    const results = await runThreads<number>(tree.handle, tasks);
    expect(results[1]).toBeGreaterThanOrEqual(100);
    expect(tree.stats().splits).toBeGreaterThan(3);
    tree.check();
  });

  it('a scan of many leaves is one state, also while its ends change all the time', async () => {
    const tree = SharedTree.create({ key: 'string', value: 'f64', memory: '16MB' });
    const keys = 1000;
    const keyOf = (i: number) => String(i).padStart(20, '0');
    tree.bulkLoad(Array.from({ length: keys }, (_, i): [string, number] => [keyOf(i), 0]));
    expect(tree.check().leaves).toBeGreaterThan(4);
    await runThreads<number>(tree.handle, [
      { task: 'countAtBothEnds', args: { first: keyOf(0), last: keyOf(keys - 1) } },
      { task: 'watchBothEnds', args: { laps: 1000, keys } },
    ]);
    expect(tree.get(keyOf(0))).toBe(tree.get(keyOf(keys - 1)));
  });
});
