/**
 * Every wrong call is refused with the promised code and the offending value, and changes nothing. A tree whose memory is
 * at its end says so and stays sound. Nothing but a tree of the same schema can be attached to.
 */
import * as bin from 'typed-binary';
import { describe, expect, test } from 'vitest';
import {
  type AttachOptions,
  type FixedKeyType,
  type FixedValueType,
  f64,
  i64,
  SharedTree,
  type TreeHandle,
  type TreeOptions,
  u64,
} from '../dist/index.js';
import {
  HEADER_LAYOUT_VERSION,
  HEADER_MAGIC,
  HEADER_SCHEMA_HASH,
  LAYOUT_VERSION,
  MAX_THREADS,
  TREE_MAGIC,
} from '../dist/layout/tree-memory.js';
import { refusal, refused } from './support/refusals.ts';
import { type AnyTree, agree, agreeOnAll, type Entry, makeTree } from './support/trees.ts';
import type { AnyKey } from './support/values.ts';

const BAD_KEYS: Readonly<Record<FixedKeyType, readonly unknown[]>> = {
  u32: [
    -1,
    2 ** 32,
    0.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    1n,
    '1',
    null,
    undefined,
    true,
    {},
    [1],
  ],
  i32: [2 ** 31, -(2 ** 31) - 1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 1n, '1', null, undefined, false, {}, [1]],
  f64: [Number.NaN, 1n, '1', null, undefined, true, {}, [1], Symbol.iterator],
  i64: [2n ** 63n, -(2n ** 63n) - 1n, 1, 0, '1', null, undefined, true, {}, [1n]],
  u64: [-1n, 2n ** 64n, 1, 0, '1', null, undefined, true, {}, [1n]],
};

const GOOD_KEYS: Readonly<Record<FixedKeyType, readonly AnyKey[]>> = {
  u32: [0, 1, 0xffffffff],
  i32: [-0x80000000, 0, 0x7fffffff],
  f64: [Number.NEGATIVE_INFINITY, 0, 1.5],
  i64: [-(2n ** 63n), 0n, 2n ** 63n - 1n],
  u64: [0n, 1n, 2n ** 64n - 1n],
};

function filled(key: FixedKeyType, options: Partial<TreeOptions> = {}): AnyTree {
  const tree = makeTree(key, 'u32', { fanout: 4, memory: '1MB', ...options });
  for (const [i, good] of GOOD_KEYS[key].entries()) tree.put(good, i);
  return tree;
}

describe('wrong keys: ERR_KEY with the key', () => {
  const calls: readonly (readonly [string, (tree: AnyTree, key: AnyKey) => unknown])[] = [
    ['get', (tree, key) => tree.get(key)],
    ['has', (tree, key) => tree.has(key)],
    ['floor', (tree, key) => tree.floor(key)],
    ['ceiling', (tree, key) => tree.ceiling(key)],
    ['lower', (tree, key) => tree.lower(key)],
    ['higher', (tree, key) => tree.higher(key)],
    ['put', (tree, key) => tree.put(key, 1)],
    ['insert', (tree, key) => tree.insert(key, 1)],
    ['update', (tree, key) => tree.update(key, 1)],
    ['delete', (tree, key) => tree.delete(key)],
    ['compareAndSet', (tree, key) => tree.compareAndSet(key, 0, 1)],
    ['add', (tree, key) => tree.add(key, 1)],
    ['getMany', (tree, key) => tree.getMany([...[...tree.range()].map(([k]) => k), key])],
    ['putMany', (tree, key) => tree.putMany([...[...tree.range()].map(([k]) => k), key], [9, 9, 9, 9])],
    ['deleteMany', (tree, key) => tree.deleteMany([...[...tree.range()].map(([k]) => k), key])],
  ];
  for (const key of Object.keys(BAD_KEYS) as FixedKeyType[]) {
    for (const [name, call] of calls) {
      test(`${name}, ${key}`, () => {
        const tree = filled(key);
        for (const bad of BAD_KEYS[key]) {
          const error = refused(tree, 'ERR_KEY', () => call(tree, bad as AnyKey));
          expect(error.value).toBe(bad);
        }
      });
    }

    test(`range bounds, ${key}`, () => {
      const tree = filled(key);
      for (const bad of BAD_KEYS[key]) {
        // An absent bound is no bound.
        if (bad === undefined) continue;
        for (const bound of ['gt', 'gte', 'lt', 'lte']) {
          const options = { [bound]: bad as AnyKey };
          expect(refused(tree, 'ERR_KEY', () => tree.range(options)).value).toBe(bad);
          expect(refused(tree, 'ERR_KEY', () => tree.forRange(options, () => true)).value).toBe(bad);
        }
      }
    });

    test(`bulkLoad, ${key}`, () => {
      const tree = makeTree(key, 'u32', { memory: '1MB' });
      for (const bad of BAD_KEYS[key]) {
        const entries: Entry[] = [...GOOD_KEYS[key].map((good): Entry => [good, 1]), [bad as AnyKey, 1]];
        expect(refused(tree, 'ERR_KEY', () => tree.bulkLoad(entries)).value).toBe(bad);
      }
      expect(tree.size).toBe(0);
    });
  }

  test('in typed arrays: f64 columns may hold NaN, other columns are checked one by one', () => {
    const numbers = filled('f64');
    refused(numbers, 'ERR_KEY', () => numbers.getMany(Float64Array.of(1, Number.NaN)));
    refused(numbers, 'ERR_KEY', () => numbers.deleteMany(Float64Array.of(1.5, Number.NaN)));
    const signed = filled('i32');
    refused(signed, 'ERR_KEY', () => signed.getMany(Uint32Array.of(1, 0x80000000)));
    refused(signed, 'ERR_KEY', () => signed.putMany(Float64Array.of(1, 1.5), [1, 1]));
    const unsigned = filled('u32');
    refused(unsigned, 'ERR_KEY', () => unsigned.deleteMany(Int32Array.of(1, -1)));
    const wide = filled('u64');
    refused(wide, 'ERR_KEY', () => wide.deleteMany(BigInt64Array.of(1n, -1n)));
  });
});

describe('wrong values: ERR_VALUE with the value', () => {
  const BAD_VALUES: readonly (readonly [FixedValueType & string, unknown, readonly unknown[]])[] = [
    ['u32', 1, [-1, 2 ** 32, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 1n, '1', null, undefined, true, {}]],
    ['i32', 1, [2 ** 31, -(2 ** 31) - 1, 0.5, Number.NaN, 1n, '1', null, undefined, true, {}]],
    ['f64', 1, [1n, '1', null, undefined, true, {}, Symbol.iterator]],
    ['i64', 1n, [2n ** 63n, -(2n ** 63n) - 1n, 1, '1', null, undefined, true, {}]],
  ];
  for (const [type, good, bads] of BAD_VALUES) {
    test(type, () => {
      const tree = makeTree('u32', type, { fanout: 4, memory: '1MB' });
      for (let key = 0; key < 20; key++) tree.put(key, good);
      for (const bad of bads) {
        const calls = [
          () => tree.put(1, bad),
          () => tree.put(99, bad),
          () => tree.insert(99, bad),
          () => tree.update(1, bad),
          () => tree.add(1, bad),
          () => tree.compareAndSet(1, good, bad),
          () => tree.compareAndSet(1, bad, good),
          () => tree.putMany([1, 99], [good, bad]),
        ];
        for (const call of calls) expect(refused(tree, 'ERR_VALUE', call).value).toBe(bad);
        const empty = makeTree('u32', type, { memory: '1MB' });
        expect(
          refused(empty, 'ERR_VALUE', () =>
            empty.bulkLoad([
              [1, good],
              [2, bad],
            ]),
          ).value,
        ).toBe(bad);
        expect(empty.size).toBe(0);
      }
    });
  }

  test('a batch that meets one has written whole groups of 256 before it, and nothing of its own', () => {
    const tree = makeTree('u32', 'u32');
    const keys = Array.from({ length: 600 }, (_, i) => i);
    const values: unknown[] = keys.map((key) => key + 1);
    values[300] = 'no';
    expect(refusal('ERR_VALUE', () => tree.putMany(keys, values)).value).toBe('no');
    agreeOnAll(
      'the first group',
      tree,
      keys.slice(0, 256).map((key): Entry => [key, key + 1]),
    );
  });

  describe('records: the message names the part', () => {
    const schema = bin.object({
      id: bin.u32,
      small: bin.i8,
      on: bin.bool,
      name: bin.chars(3),
      at: f64,
      signed: i64,
      unsigned: u64,
      list: bin.arrayOf(bin.u16, 2),
      pair: bin.tupleOf([bin.byte, bin.f32]),
      inner: bin.object({ raw: bin.u8Array(4), single: bin.f32, short: bin.i16, int: bin.i32 }),
    });
    const good = {
      id: 1,
      small: -1,
      on: true,
      name: 'abc',
      at: 0.5,
      signed: -1n,
      unsigned: 1n,
      list: [1, 2],
      pair: [1, 0.5],
      inner: { raw: Uint8Array.of(1, 2, 3, 4), single: 0.5, short: -5, int: -6 },
    };
    const inner = (part: object) => ({ inner: { ...good.inner, ...part } });
    const bads: readonly (readonly [string, object, unknown])[] = [
      ['.id', { id: -1 }, -1],
      ['.id', { id: 2 ** 32 }, 2 ** 32],
      ['.id', { id: 0.5 }, 0.5],
      ['.id', { id: undefined }, undefined],
      ['.small', { small: 128 }, 128],
      ['.small', { small: -129 }, -129],
      ['.on', { on: 1 }, 1],
      ['.name', { name: 'ab' }, 'ab'],
      ['.name', { name: 'abcd' }, 'abcd'],
      ['.name', { name: 'abé' }, 'abé'],
      ['.name', { name: 5 }, 5],
      ['.at', { at: '0.5' }, '0.5'],
      ['.at', { at: 1n }, 1n],
      ['.signed', { signed: 2n ** 63n }, 2n ** 63n],
      ['.signed', { signed: 1 }, 1],
      ['.unsigned', { unsigned: -1n }, -1n],
      ['.unsigned', { unsigned: 2n ** 64n }, 2n ** 64n],
      ['.list', { list: 'ab' }, 'ab'],
      ['.list[1]', { list: [1, 65536] }, 65536],
      ['.pair[0]', { pair: [256, 1] }, 256],
      ['.pair[1]', { pair: [1, null] }, null],
      ['.inner', { inner: null }, null],
      ['.inner.single', inner({ single: 'x' }), 'x'],
      ['.inner.short', inner({ short: 32768 }), 32768],
      ['.inner.int', inner({ int: 2 ** 31 }), 2 ** 31],
      ['.inner.raw', inner({ raw: 'abcd' }), 'abcd'],
    ];
    const tree = makeTree('u32', schema, { memory: '1MB' });
    tree.put(1, good);

    test('the good record is one', () => {
      agree('record', tree.get(1), good);
    });

    for (const [path, part, offender] of bads) {
      test(`value${path} = ${String(offender)}`, () => {
        const bad = { ...good, ...part };
        const calls = [
          () => tree.put(1, bad),
          () => tree.put(2, bad),
          () => tree.update(1, bad),
          () => tree.compareAndSet(1, good, bad),
          () => tree.compareAndSet(1, bad, good),
          () => tree.putMany([1, 2], [good, bad]),
        ];
        for (const call of calls) {
          const error = refused(tree, 'ERR_VALUE', call);
          expect(error.value).toBe(offender);
          expect(error.message).toContain(`value${path} must be `);
        }
      });
    }

    test('arrays of another length or class, and what is no record at all', () => {
      const lists: readonly (readonly [string, object])[] = [
        ['.list', { list: [1] }],
        ['.list', { list: [1, 2, 3] }],
        ['.pair', { pair: [1] }],
        ['.inner.raw', inner({ raw: Uint8Array.of(1, 2, 3) })],
        ['.inner.raw', inner({ raw: Uint16Array.of(1, 2) })],
        ['.inner.raw', inner({ raw: Int8Array.of(1, 2, 3, 4) })],
        ['.inner.raw', inner({ raw: Uint16Array.of(1, 2, 3, 4) })],
        ['.inner.raw', inner({ raw: new DataView(new ArrayBuffer(4)) })],
        ['.inner.raw', inner({ raw: [1, 2, 3, 4] })],
      ];
      for (const [path, part] of lists) {
        expect(refused(tree, 'ERR_VALUE', () => tree.put(1, { ...good, ...part })).message).toContain(
          `value${path} must be `,
        );
      }
      for (const nothing of [undefined, null, 5, 'record', 7n]) {
        expect(refused(tree, 'ERR_VALUE', () => tree.put(1, nothing)).value).toBe(nothing);
      }
    });

    test('a Buffer is a Uint8Array', () => {
      tree.put(3, { ...good, ...inner({ raw: Buffer.from([1, 2, 3, 4]) }) });
      agree('record', tree.get(3), good);
      tree.delete(3);
    });

    test('add is ERR_UNSUPPORTED', () => {
      expect(refused(tree, 'ERR_UNSUPPORTED', () => tree.add(1, good)).value).toBe('record');
      refused(tree, 'ERR_UNSUPPORTED', () => tree.add(2, good));
    });
  });
});

describe('options of create: ERR_OPTION with the value', () => {
  const base = { key: 'u32', value: 'u32', memory: '1MB' } as const;
  const bads: Readonly<Record<string, readonly unknown[]>> = {
    key: ['u16', '', 'toString', '__proto__', undefined, null, 5, {}, ['u32']],
    value: ['u64', 'u16', '', 'toString', undefined, null, 5, true],
    memory: [
      0,
      -1,
      1024,
      2 ** 20 - 1,
      2 ** 32 + 1,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      '',
      'lots',
      '1 TB',
      '-1MB',
      '1e9',
      '5GB',
      'MB',
      null,
      {},
      1n,
    ],
    nodeSize: [0, -64, 32, 63, 100, 1000, 65536 + 64, 1024.5, Number.NaN, '1024', null, {}],
    fanout: [0, 1, 2, 3, 4097, -4, 4.5, Number.NaN, Number.POSITIVE_INFINITY, '64', null, {}],
    latchTimeout: [0, -1, 0.5, 2 ** 31, Number.NaN, Number.POSITIVE_INFINITY, '100', null, {}],
  };
  for (const [name, values] of Object.entries(bads)) {
    test(name, () => {
      for (const value of values) {
        const error = refusal('ERR_OPTION', () =>
          SharedTree.create({ ...base, [name]: value } as unknown as TreeOptions),
        );
        expect(error.value).toBe(value);
        expect(error.message).toContain(`option ${name} must be `);
      }
    });
  }

  test('unknown names', () => {
    for (const name of ['keys', 'fanOut', 'maxMemory', 'Key']) {
      const error = refusal('ERR_OPTION', () => SharedTree.create({ ...base, [name]: 1 } as unknown as TreeOptions));
      expect(error.value).toBe(name);
      expect(error.message).toContain(JSON.stringify(name));
    }
  });

  test('no object at all', () => {
    for (const options of [undefined, null, 5, 'u32']) {
      expect(refusal('ERR_OPTION', () => SharedTree.create(options as unknown as TreeOptions)).value).toBe(options);
    }
  });

  test('the borders themselves are taken', () => {
    const goods: readonly Partial<TreeOptions>[] = [
      { memory: 2 ** 20 },
      { memory: '1024KB' },
      { memory: ' 1.5 mb ' },
      { memory: '1048576' },
      { nodeSize: 64 },
      { nodeSize: 65536 },
      { fanout: 4 },
      { fanout: 4096, memory: '2MB' },
      { latchTimeout: 1 },
      { latchTimeout: 0x7fffffff },
    ];
    for (const good of goods) {
      const tree = SharedTree.create({ ...base, ...good });
      expect(tree.put(1, 1)).toBe(true);
      tree.check();
    }
    expect(SharedTree.create({ ...base, memory: 2 ** 32 }).stats().bytesMaximum).toBe(2 ** 32 - 65536);
    expect(SharedTree.create({ ...base, memory: '1GB' }).stats().bytesMaximum).toBe(2 ** 30);
  });

  test('schemas that nothing can be stored by', () => {
    const wrong = [
      bin.generic({ a: bin.u32 }, { x: bin.object({ b: bin.u32 }) }),
      bin.object({ a: bin.u32, deep: bin.generic({ a: bin.u32 }, {}) }),
      {},
      [],
      new Map(),
    ];
    for (const schema of wrong) {
      const error = refusal('ERR_OPTION', () =>
        SharedTree.create({ ...base, value: schema as unknown as FixedValueType }),
      );
      expect(error.message).toContain('option value');
    }
    expect(
      refusal('ERR_OPTION', () =>
        SharedTree.create({
          ...base,
          value: bin.object({ a: bin.u32, deep: bin.object({ text: bin.generic({}, {}) }) }) as never,
        }),
      ).message,
    ).toContain('value.deep.text');
    const empty = bin.object({}) as unknown as FixedValueType;
    expect(refusal('ERR_OPTION', () => SharedTree.create({ ...base, value: empty })).value).toBe(0);
  });

  test('values of less than a word', () => {
    const flags = bin.object({ on: bin.bool });
    for (const [schema, one, two] of [
      [flags, { on: true }, { on: false }],
      [bin.bool, true, false],
      [bin.u8, 255, 0],
      [bin.i16, -1, 2],
      [bin.chars(3), 'abc', 'abd'],
    ] as const) {
      const tree = SharedTree.create({ ...base, value: schema as never }) as unknown as AnyTree;
      expect(tree.put(1, one)).toBe(true);
      expect(tree.compareAndSet(1, two, one)).toBe(false);
      expect(tree.compareAndSet(1, one, two)).toBe(true);
      expect(tree.putMany([2, 3], [one, two])).toBe(2);
      expect([...tree]).toEqual([
        [1, two],
        [2, one],
        [3, two],
      ]);
      const other = SharedTree.attach<AnyKey, unknown>(tree.handle, { value: schema as never });
      expect(other.getMany([1, 2])).toEqual([two, one]);
      const loaded = SharedTree.create({ ...base, value: schema as never }) as unknown as AnyTree;
      loaded.bulkLoad([...tree]);
      expect(loaded.digest()).toBe(tree.digest());
      tree.check();
    }
  });

  test('16-bit floats where the engine has none', () => {
    const create = () => SharedTree.create({ ...base, value: bin.object({ a: bin.u16, half: bin.f16 }) });
    if ('setFloat16' in DataView.prototype) {
      const tree = create();
      tree.put(1, { a: 1, half: 0.5 });
      expect(tree.get(1)).toEqual({ a: 1, half: 0.5 });
    } else {
      expect(refusal('ERR_OPTION', create).message).toContain('value.half');
    }
  });

  test('the smallest memory holds the largest nodes and records', () => {
    const large = makeTree('i64', bin.u8Array(512), { nodeSize: 65536, memory: 2 ** 20 });
    expect(large.put(1n, new Uint8Array(512))).toBe(true);
    large.check();
  });
});

describe('options of range: ERR_ARGUMENT with the value', () => {
  const tree = filled('u32');
  const bads: readonly (readonly [unknown, unknown])[] = [
    [{ gt: 1, gte: 1 }, 1],
    [{ lt: 1, lte: 2 }, 1],
    [{ reverse: 1 }, 1],
    [{ reverse: null }, null],
    [{ reverse: 'true' }, 'true'],
    [{ limit: -1 }, -1],
    [{ limit: 1.5 }, 1.5],
    [{ limit: Number.NaN }, Number.NaN],
    [{ limit: '3' }, '3'],
    [{ limit: null }, null],
    [{ limit: 3n }, 3n],
    [{ from: 1 }, 'from'],
    [{ Limit: 1 }, 'Limit'],
    [null, null],
    [5, 5],
    ['all', 'all'],
  ];
  for (const [options, value] of bads) {
    test(String(typeof options === 'object' && options !== null ? Object.entries(options) : options), () => {
      expect(refused(tree, 'ERR_ARGUMENT', () => tree.range(options as object)).value).toBe(value);
      expect(refused(tree, 'ERR_ARGUMENT', () => tree.forRange(options as object, () => true)).value).toBe(value);
    });
  }
});

describe('other arguments: ERR_ARGUMENT', () => {
  test('columns that are too short', () => {
    const tree = filled('u32');
    expect(refused(tree, 'ERR_ARGUMENT', () => tree.putMany([1, 2, 3], [1, 2])).value).toBe(2);
    expect(refused(tree, 'ERR_ARGUMENT', () => tree.getMany([1, 2, 3], [])).value).toBe(0);
    expect(refused(tree, 'ERR_ARGUMENT', () => tree.getMany([1, 2, 3], new Uint32Array(2))).value).toBe(2);
    const out = new Uint32Array(3);
    expect(refused(tree, 'ERR_ARGUMENT', () => tree.getMany([1, 2, 3], out, new Uint8Array(2))).value).toBe(2);
    expect([...out]).toEqual([0, 0, 0]);
  });

  test('fill', () => {
    const tree = makeTree('u32', 'u32');
    for (const fill of [0.49, 1.01, 0, -1, Number.NaN, Number.POSITIVE_INFINITY, '0.9', null]) {
      expect(refused(tree, 'ERR_ARGUMENT', () => tree.bulkLoad([[1, 1]], fill as number)).value).toBe(fill);
    }
    expect(tree.size).toBe(0);
  });

  test('thread ids that no thread can have, and no counter is changed by them', () => {
    const tree = filled('u32');
    const stats = tree.stats();
    for (const thread of [0, -1, -7, MAX_THREADS, 1.25, 1e9, Number.NaN, '1', null, undefined]) {
      expect(refused(tree, 'ERR_ARGUMENT', () => tree.threadExited(thread as number)).value).toBe(thread);
    }
    expect(tree.stats()).toEqual(stats);
    // An id that nobody has is no mistake: the thread may have closed in time.
    tree.threadExited(MAX_THREADS - 1);
    expect(tree.stats()).toEqual(stats);
  });
});

describe('bulkLoad', () => {
  test('ERR_NOT_EMPTY where there are entries', () => {
    const tree = filled('u32');
    expect(refused(tree, 'ERR_NOT_EMPTY', () => tree.bulkLoad([[5, 5]])).value).toBe(tree.size);
    refused(tree, 'ERR_NOT_EMPTY', () => tree.bulkLoad([]));
  });

  test('ERR_NOT_EMPTY where somebody wrote meanwhile, and all nodes are given back', () => {
    const tree = makeTree('u32', 'u32', { fanout: 4 });
    for (let round = 0; round < 3; round++) {
      function* entries(): Generator<Entry> {
        for (let key = 0; key < 2000; key++) {
          if (key === 1900) tree.put(7, 7);
          yield [key, key];
        }
      }
      refusal('ERR_NOT_EMPTY', () => tree.bulkLoad(entries()));
      agreeOnAll('what was written meanwhile', tree, [[7, 7]]);
      tree.delete(7);
    }
    const { bytesUsed } = tree.stats();
    refusal('ERR_NOT_ASCENDING', () =>
      tree.bulkLoad([...Array.from({ length: 1800 }, (_, key): Entry => [key, 1]), [0, 1]]),
    );
    expect(tree.stats().bytesUsed, 'the nodes of failed loads are used again').toBe(bytesUsed);
  });

  test('ERR_NOT_ASCENDING with the key and its place', () => {
    const cases: readonly (readonly [AnyKey[], number])[] = [
      [[1, 1], 1],
      [[1, 0], 1],
      [[5, 6, 7, 6, 8], 3],
      [[...Array.from({ length: 256 }, (_, i) => i), 255], 256],
      [[...Array.from({ length: 256 }, (_, i) => i), 256, 12], 257],
      [[...Array.from({ length: 700 }, (_, i) => i), 300], 700],
    ];
    for (const [keys, at] of cases) {
      for (const fanout of [4, 64]) {
        const tree = makeTree('u32', 'u32', { fanout, memory: '1MB' });
        const error = refused(tree, 'ERR_NOT_ASCENDING', () => tree.bulkLoad(keys.map((key): Entry => [key, 1])));
        expect(error.value).toBe(keys[at]);
        expect(error.message).toContain(`entry ${at}:`);
        expect(tree.size).toBe(0);
        expect(
          tree.bulkLoad([
            [1, 2],
            [3, 4],
          ]),
        ).toBe(2);
        agreeOnAll('loaded after all', tree, [
          [1, 2],
          [3, 4],
        ]);
      }
    }
  });

  test('0 and -0 are one key', () => {
    const tree = makeTree('f64', 'u32');
    expect(
      refused(tree, 'ERR_NOT_ASCENDING', () =>
        tree.bulkLoad([
          [-0, 1],
          [0, 2],
        ]),
      ).value,
    ).toBe(0);
  });

  test('an iterator that throws: its own error, and nothing was loaded', () => {
    const tree = makeTree('u32', 'u32', { fanout: 4 });
    function* entries(): Generator<Entry> {
      for (let key = 0; key < 1000; key++) yield [key, 1];
      throw new RangeError('mine');
    }
    expect(() => tree.bulkLoad(entries())).toThrow(new RangeError('mine'));
    agreeOnAll('nothing', tree, []);
  });

  test('a load within a load is refused, and harms neither', () => {
    const tree = makeTree('u32', 'u32', { fanout: 4 });
    function* entries(): Generator<Entry> {
      for (let key = 0; key < 1000; key++) {
        if (key === 500)
          refusal('ERR_ARGUMENT', () =>
            tree.bulkLoad([
              [1, 1],
              [2, 2],
            ]),
          );
        yield [key, 1];
      }
    }
    expect(tree.bulkLoad(entries())).toBe(1000);
    agreeOnAll(
      'loaded',
      tree,
      Array.from({ length: 1000 }, (_, key): Entry => [key, 1]),
    );
  });
});

describe('memory at its maximum: ERR_MEMORY_EXHAUSTED', () => {
  const memory = 2 ** 20;

  /** Inserts until the memory is full; gives the entries that are there. */
  function fillUp(tree: AnyTree, order: (i: number) => number): Entry[] {
    const entries: Entry[] = [];
    for (let i = 0; i < 1_000_000; i++) {
      const key = order(i);
      try {
        tree.insert(key, key ^ 5);
      } catch {
        return entries;
      }
      entries.push([key, key ^ 5]);
    }
    throw new Error('a megabyte holds no million entries');
  }

  const inOrder = (entries: readonly Entry[]) => [...entries].sort((a, b) => Number(a[0]) - Number(b[0]));

  for (const [name, order] of [
    ['ascending', (i: number) => i],
    ['descending', (i: number) => 0x7fffffff - i],
    ['scattered', (i: number) => Math.imul(i, 0x9e3779b1) & 0x7fffffff],
  ] as const) {
    for (const fanout of [4, 64]) {
      test(`insert, ${name}, fan-out ${fanout}`, () => {
        const tree = makeTree('i32', 'i32', { fanout, memory });
        const entries = fillUp(tree, order);
        expect(entries.length).toBeGreaterThan(5000);
        agreeOnAll('full', tree, inOrder(entries));
        const next = order(entries.length);
        expect(refused(tree, 'ERR_MEMORY_EXHAUSTED', () => tree.insert(next, 1)).message).toContain('maximum');
        refused(tree, 'ERR_MEMORY_EXHAUSTED', () => tree.put(next, 1));
        refused(tree, 'ERR_MEMORY_EXHAUSTED', () => tree.add(next, 1));
        expect(tree.stats().bytesReserved).toBeLessThanOrEqual(memory);
        // What needs no room still works.
        const [key, value] = entries[0];
        expect(tree.get(key)).toBe(value);
        expect(tree.update(key, 77)).toBe(true);
        expect(tree.put(key, value)).toBe(false);
        // Deletes make room again, down to nothing and up to as many.
        const gone = entries.splice(entries.length >> 1);
        for (const [key] of gone) expect(tree.delete(key)).toBe(true);
        agreeOnAll('half', tree, inOrder(entries));
        for (const [key, value] of gone) {
          // Where nodes are cut anew they may need a little more room than before.
          if (entries.length > gone.length * 1.6) break;
          expect(tree.insert(key, value)).toBe(true);
          entries.push([key, value]);
        }
        agreeOnAll('grown again', tree, inOrder(entries));
        for (const [key] of entries) expect(tree.delete(key)).toBe(true);
        agreeOnAll('emptied', tree, []);
        expect(fillUp(tree, order).length).toBeGreaterThan(5000);
        tree.check();
      });
    }
  }

  test('putMany: the value says how many were written', () => {
    const tree = makeTree('i32', 'i32', { fanout: 8, memory });
    const keys = Int32Array.from({ length: 200_000 }, (_, i) => i);
    const error = refusal('ERR_MEMORY_EXHAUSTED', () => tree.putMany(keys, keys));
    const written = error.value as number;
    expect(written).toBeGreaterThan(5000);
    expect(error.message).toContain(`after ${written} entries`);
    agreeOnAll(
      'what was written',
      tree,
      Array.from(keys.subarray(0, written), (key): Entry => [key, key]),
    );
    expect(tree.deleteMany(keys.subarray(0, written))).toBe(written);
    agreeOnAll('emptied', tree, []);
    expect(tree.putMany(keys.subarray(0, 5000), keys.subarray(0, 5000))).toBe(5000);
    tree.check();
  });

  test('bulkLoad: nothing is loaded, and all of the room is given back', () => {
    for (const fanout of [4, 5, 64]) {
      const tree = makeTree('i32', 'i32', { fanout, memory });
      const entries: Entry[] = Array.from({ length: 200_000 }, (_, i) => [i, i]);
      let used = 0;
      for (let round = 0; round < 3; round++) {
        refused(tree, 'ERR_MEMORY_EXHAUSTED', () => tree.bulkLoad(entries));
        agreeOnAll('nothing', tree, []);
        if (round > 0) expect(tree.stats().bytesUsed).toBe(used);
        used = tree.stats().bytesUsed;
      }
      expect(tree.bulkLoad(entries.slice(0, 5000))).toBe(5000);
      agreeOnAll('less fits', tree, entries.slice(0, 5000));
    }
  });

  test('bulkLoad: not a single node is lost, wherever it fails', () => {
    const entries: Entry[] = Array.from({ length: 200_000 }, (_, i) => [i, i]);
    const ascending = (i: number) => i;
    // The room decides whether it is a leaf or the branch above it that finds none.
    for (let i = 0; i < 14; i++) {
      const options = { fanout: 6 + (i % 2), memory: (16 + (i >> 1)) * 65536 };
      const tree = makeTree('i32', 'i32', options);
      refusal('ERR_MEMORY_EXHAUSTED', () => tree.bulkLoad(entries, 1));
      expect(fillUp(tree, ascending).length).toBe(fillUp(makeTree('i32', 'i32', options), ascending).length);
    }
  });

  test('a root that cannot be split for want of its second node gives the first one back', () => {
    // Room for one node, but not for two: work blocks of further threads take the rest.
    let found = 0;
    for (let nodeSize = 32768; nodeSize <= 65536; nodeSize += 4096) {
      const tree = makeTree('u32', 'u32', { nodeSize, memory });
      const room = () => tree.stats().bytesMaximum - tree.stats().bytesUsed;
      while (room() >= 2 * nodeSize) {
        try {
          SharedTree.attach(tree.handle);
        } catch {
          break;
        }
      }
      if (room() < nodeSize || room() >= 2 * nodeSize) continue;
      found++;
      let n = 0;
      while (tree.stats().fill < 1) tree.put(n, n++);
      for (let i = 0; i < 3; i++) refused(tree, 'ERR_MEMORY_EXHAUSTED', () => tree.put(n, n));
      expect(tree.deleteMany(Array.from({ length: n }, (_, i) => i))).toBe(n);
      expect(tree.bulkLoad([[1, 2]])).toBe(1);
      agreeOnAll('loaded into the one node', tree, [[1, 2]]);
    }
    expect(found).toBeGreaterThan(0);
  });

  test('attach: no room for the work block; the slot is free again', () => {
    const tree = makeTree('i32', 'i32', { fanout: 4, memory });
    const attached: AnyTree[] = [];
    const error = refusal('ERR_MEMORY_EXHAUSTED', () => {
      for (let i = 0; i < 40; i++) attached.push(SharedTree.attach<AnyKey, unknown>(tree.handle));
    });
    expect(error.message).toContain('work block');
    expect(attached.length).toBeGreaterThan(2);
    expect(tree.stats().threads).toBe(1 + attached.length);
    for (const other of attached) {
      other.put(other.thread, 1);
      other.close();
    }
    expect(tree.stats().threads).toBe(1);
    SharedTree.attach(tree.handle).close();
    expect(tree.size).toBe(attached.length);
    tree.check();
  });

  test('more than the system has: create says so', () => {
    // Reserving address space for many trees of 4 GB ends somewhere; if it does not here, nothing is to be seen.
    const trees: unknown[] = [];
    try {
      for (let i = 0; i < 20_000 && trees.length < 40; i++)
        trees.push(SharedTree.create({ key: 'u32', value: 'u32', memory: '4GB' }));
    } catch (error) {
      expect(error).toMatchObject({ code: 'ERR_MEMORY_EXHAUSTED' });
    }
    expect(trees.length).toBeGreaterThan(0);
  });
});

describe('attach', () => {
  const tree = filled('u32');
  const { handle } = tree;
  const attach = (patch: object, options?: AttachOptions) => () =>
    SharedTree.attach({ ...handle, ...patch } as TreeHandle, options);

  test('what is no handle: ERR_NOT_A_TREE', () => {
    for (const wrong of [
      undefined,
      null,
      5,
      'tree',
      {},
      [],
      { ...handle, sabtree: 'store' },
      new SharedArrayBuffer(64),
    ]) {
      refusal('ERR_NOT_A_TREE', () => SharedTree.attach(wrong as TreeHandle));
    }
  });

  test('memory that holds no tree: ERR_NOT_A_TREE', () => {
    const shared = (initial: number) => new WebAssembly.Memory({ initial, maximum: 20, shared: true });
    for (const memory of [
      undefined,
      null,
      {},
      new ArrayBuffer(1 << 20),
      new SharedArrayBuffer(1 << 20),
      new WebAssembly.Memory({ initial: 16 }),
      shared(0),
      shared(1),
      shared(16),
    ]) {
      refusal('ERR_NOT_A_TREE', attach({ memory }));
    }
    const garbage = shared(16);
    new Uint8Array(garbage.buffer).fill(0xa5);
    expect(refusal('ERR_NOT_A_TREE', attach({ memory: garbage })).value).toBe(0xa5a5a5a5);
    // Even behind the right magic and layout version, rubbish is no tree of this schema.
    const words = new Uint32Array(garbage.buffer);
    words[HEADER_MAGIC >> 2] = TREE_MAGIC;
    expect(refusal('ERR_LAYOUT_VERSION', attach({ memory: garbage })).value).toBe(0xa5a5a5a5);
    words[HEADER_LAYOUT_VERSION >> 2] = LAYOUT_VERSION;
    refusal('ERR_SCHEMA_MISMATCH', attach({ memory: garbage }));
  });

  test('another layout: ERR_LAYOUT_VERSION, from the handle or from the memory', () => {
    for (const layout of [0, LAYOUT_VERSION + 1, undefined, String(LAYOUT_VERSION)]) {
      expect(refusal('ERR_LAYOUT_VERSION', attach({ layout })).value).toBe(layout);
    }
    const other = filled('u32');
    const words = new Uint32Array(other.handle.memory.buffer);
    words[HEADER_LAYOUT_VERSION >> 2] = LAYOUT_VERSION + 1;
    expect(refusal('ERR_LAYOUT_VERSION', () => SharedTree.attach(other.handle)).value).toBe(LAYOUT_VERSION + 1);
    words[HEADER_LAYOUT_VERSION >> 2] = LAYOUT_VERSION;
    agreeOnAll('attached', SharedTree.attach(other.handle), [...tree]);
  });

  test('other types than the tree was made with: ERR_SCHEMA_MISMATCH', () => {
    for (const key of ['i32', 'f64', 'i64', 'u64']) refusal('ERR_SCHEMA_MISMATCH', attach({ key }));
    for (const value of ['i32', 'f64', 'i64']) {
      refusal('ERR_SCHEMA_MISMATCH', attach({ value }));
      refusal('ERR_SCHEMA_MISMATCH', attach({}, { value: value as FixedValueType }));
    }
    refusal('ERR_SCHEMA_MISMATCH', attach({}, { value: bin.object({ n: bin.u32 }) }));
    refusal('ERR_OPTION', attach({ key: 'u16' }));
    refusal('ERR_OPTION', attach({ value: 'u16' }));
    const patched = filled('u32');
    new Uint32Array(patched.handle.memory.buffer)[HEADER_SCHEMA_HASH >> 2] ^= 1;
    refusal('ERR_SCHEMA_MISMATCH', () => SharedTree.attach(patched.handle));
    expect(tree.stats().threads, 'no refused thread holds a slot').toBe(1);
  });

  test('records: the schema is needed, and has to be the same to the last part', () => {
    const schema = bin.object({ a: bin.u32, b: bin.arrayOf(bin.i16, 2), c: bin.u8Array(8) });
    const records = makeTree('u32', schema);
    const value = { a: 1, b: [-2, 3], c: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) };
    records.put(1, value);
    refusal('ERR_SCHEMA_MISMATCH', () => SharedTree.attach(records.handle));
    const others = [
      bin.object({ a: bin.i32, b: bin.arrayOf(bin.i16, 2), c: bin.u8Array(8) }),
      bin.object({ x: bin.u32, b: bin.arrayOf(bin.i16, 2), c: bin.u8Array(8) }),
      bin.object({ b: bin.arrayOf(bin.i16, 2), a: bin.u32, c: bin.u8Array(8) }),
      bin.object({ a: bin.u32, b: bin.arrayOf(bin.u16, 2), c: bin.u8Array(8) }),
      bin.object({ a: bin.u32, b: bin.tupleOf([bin.i16, bin.i16]), c: bin.u8Array(8) }),
      bin.object({ a: bin.u32, b: bin.arrayOf(bin.i16, 2), c: bin.i8Array(8) }),
      bin.object({ a: bin.u32, b: bin.arrayOf(bin.i16, 2), c: bin.f32Array(2) }),
      bin.object({ a: bin.u32, b: bin.arrayOf(bin.i16, 2), c: bin.u8Array(9) }),
      bin.u8Array(16),
      'f64',
    ] as FixedValueType[];
    for (const other of others)
      refusal('ERR_SCHEMA_MISMATCH', () => SharedTree.attach(records.handle, { value: other }));
    const equal = bin.object({ a: bin.u32, b: bin.arrayOf(bin.i16, 2), c: bin.u8Array(8) });
    agree('record', SharedTree.attach<number, unknown>(records.handle, { value: equal }).get(1), value);
  });

  test('ERR_TOO_MANY_THREADS beyond 255; a slot given back or of a dead thread is used again', () => {
    const many = makeTree('u32', 'u32', { memory: '64MB' });
    const others = Array.from({ length: MAX_THREADS - 2 }, () => SharedTree.attach<AnyKey, unknown>(many.handle));
    expect(new Set([many, ...others].map(({ thread }) => thread)).size).toBe(MAX_THREADS - 1);
    for (const other of others) other.put(other.thread, other.thread);
    expect(many.stats().threads).toBe(MAX_THREADS - 1);
    expect(refusal('ERR_TOO_MANY_THREADS', () => SharedTree.attach(many.handle)).value).toBe(MAX_THREADS - 1);
    const { thread } = others[100];
    others[100].close();
    expect(SharedTree.attach(many.handle).thread).toBe(thread);
    refusal('ERR_TOO_MANY_THREADS', () => SharedTree.attach(many.handle));
    many.threadExited(others[7].thread);
    expect(SharedTree.attach(many.handle).thread).toBe(others[7].thread);
    refusal('ERR_TOO_MANY_THREADS', () => SharedTree.attach(many.handle));
    expect(many.check().entries).toBe(MAX_THREADS - 2);
  });
});

describe('after close: ERR_CLOSED', () => {
  const calls: readonly (readonly [string, (tree: AnyTree) => unknown])[] = [
    ['get', (tree) => tree.get(1)],
    ['has', (tree) => tree.has(1)],
    ['floor', (tree) => tree.floor(1)],
    ['ceiling', (tree) => tree.ceiling(1)],
    ['lower', (tree) => tree.lower(1)],
    ['higher', (tree) => tree.higher(1)],
    ['first', (tree) => tree.first()],
    ['last', (tree) => tree.last()],
    ['size', (tree) => tree.size],
    ['count', (tree) => tree.count()],
    ['range', (tree) => tree.range()],
    ['forRange', (tree) => tree.forRange({}, () => true)],
    ['iterator', (tree) => [...tree]],
    ['getMany', (tree) => tree.getMany([1, 2])],
    ['put', (tree) => tree.put(1, 9)],
    ['insert', (tree) => tree.insert(9, 9)],
    ['update', (tree) => tree.update(1, 9)],
    ['delete', (tree) => tree.delete(1)],
    ['compareAndSet', (tree) => tree.compareAndSet(1, 1, 9)],
    ['add', (tree) => tree.add(1, 9)],
    ['putMany', (tree) => tree.putMany([1, 9], [9, 9])],
    ['putMany of typed arrays', (tree) => tree.putMany(Uint32Array.of(1, 9), Uint32Array.of(9, 9))],
    ['deleteMany', (tree) => tree.deleteMany([1])],
    ['bulkLoad', (tree) => tree.bulkLoad([[9, 9]])],
    ['check', (tree) => tree.check()],
    ['digest', (tree) => tree.digest()],
    ['stats', (tree) => tree.stats()],
    ['threadExited', (tree) => tree.threadExited(3)],
  ];

  test.each(calls)('%s', (_, call) => {
    const tree = filled('u32');
    const closed = SharedTree.attach<AnyKey, unknown>(tree.handle);
    const { thread } = closed;
    closed.close();
    // The next one to attach gets the same slot, and the registers with it: not a byte of them may change.
    const heir = SharedTree.attach<AnyKey, unknown>(tree.handle);
    expect(heir.thread).toBe(thread);
    heir.getMany([1, 2, 3]);
    heir.compareAndSet(0, 5, 6);
    const before = Buffer.from(Buffer.from(tree.handle.memory.buffer));
    refusal('ERR_CLOSED', () => call(closed));
    expect(Buffer.from(tree.handle.memory.buffer).equals(before)).toBe(true);
    // Closing again must not give the heir's slot away.
    closed.close();
    expect(tree.stats().threads).toBe(2);
    const third = SharedTree.attach(tree.handle);
    expect(third.thread).not.toBe(thread);
  });

  test('an iterator half way', () => {
    const tree = makeTree('u32', 'u32');
    tree.bulkLoad(Array.from({ length: 20_000 }, (_, i): Entry => [i, i]));
    const closed = SharedTree.attach<AnyKey, unknown>(tree.handle);
    const iterator = closed.range();
    expect(iterator.next().value).toEqual([0, 0]);
    closed.close();
    const heir = SharedTree.attach(tree.handle);
    const before = Buffer.from(Buffer.from(tree.handle.memory.buffer));
    // The piece at hand was copied; the next one cannot be had.
    let count = 1;
    refusal('ERR_CLOSED', () => {
      for (const _ of iterator) count++;
    });
    expect(count).toBe(8192);
    expect(Buffer.from(tree.handle.memory.buffer).equals(before)).toBe(true);
    heir.close();
  });

  test('in the middle of a bulk load: nothing is loaded, and every node is given back', () => {
    const tree = makeTree('u32', 'u32', { fanout: 4 });
    let used = 0;
    for (let round = 0; round < 3; round++) {
      const closing = SharedTree.attach<AnyKey, unknown>(tree.handle);
      function* entries(): Generator<Entry> {
        for (let key = 0; key < 2000; key++) {
          if (key === 1500) closing.close();
          yield [key, key];
        }
      }
      refusal('ERR_CLOSED', () => closing.bulkLoad(entries()));
      agreeOnAll('nothing', tree, []);
      if (round > 0) expect(tree.stats().bytesUsed).toBe(used);
      used = tree.stats().bytesUsed;
    }
  });

  test('the tree lives on in other threads and through its handle', () => {
    const tree = filled('u32');
    const { handle } = tree;
    const entries = [...tree];
    tree[Symbol.dispose]();
    refusal('ERR_CLOSED', () => tree.get(1));
    agreeOnAll('attached later', SharedTree.attach(handle), entries);
    agreeOnAll('through the closed one', SharedTree.attach(tree.handle), entries);
  });
});
