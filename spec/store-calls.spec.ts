/** What a store's methods take and refuse, in every one of them, and what happens to values on their way. */
import { arrayOf, bool, object, u8, u32 } from 'typed-binary';
import { describe, expect, it } from 'vitest';
import { connect, f64, i64, open, SabtreeError, type Store, u64 } from '../dist/index.js';
import { OPERATION_CLIENT } from '../dist/layout/operation.js';
import { Multicast } from '../dist/workers/multicast.js';
import { FULL } from '../dist/workers/ring.js';
import { type AnyStore, codeOf, inTime, withStore } from './support/stores.ts';

type Methods = Record<string, (...args: unknown[]) => unknown>;

/** Every method with wrong arguments in each place: name, arguments before the key, arguments behind it. */
const KEYED: readonly [string, unknown[]][] = [
  ['get', []],
  ['has', []],
  ['put', [1]],
  ['insert', [1]],
  ['update', [1]],
  ['delete', []],
  ['compareAndSet', [1, 2]],
  ['add', [1]],
  ['floor', []],
  ['ceiling', []],
  ['lower', []],
  ['higher', []],
];

const WRONG_KEYS: readonly unknown[] = [-1, 1.5, 2 ** 32, Number.NaN, '1', 1n, null, undefined, {}, [1]];
const WRONG_VALUES: readonly unknown[] = ['1', 1n, null, undefined, {}, [1], true];

describe('wrong arguments', () => {
  it('keys: ERR_KEY from every method, blocking or not, alone or in a batch or a column', async () => {
    await withStore({ executors: 1, replicas: 1 }, async (store) => {
      await store.put(7, 7);
      const methods = store as unknown as Methods;
      for (const key of WRONG_KEYS) {
        for (const [name, rest] of KEYED) {
          const what = `${name} ${String(key)}`;
          expect(await codeOf(() => methods[name](key, ...rest)), what).toBe('ERR_KEY');
          expect(await codeOf(() => methods[`${name}Sync`](key, ...rest)), what).toBe('ERR_KEY');
          // The whole batch is refused, the good commands in it too.
          const batch = [
            ['put', 1, 1],
            [name, key, ...rest],
            ['put', 2, 2],
          ];
          expect(await codeOf(() => methods.batch(batch)), what).toBe('ERR_KEY');
          expect(await codeOf(() => methods.batchSync(batch)), what).toBe('ERR_KEY');
        }
        if (key === undefined) continue;
        for (const bound of ['gt', 'gte', 'lt', 'lte']) {
          expect(await codeOf(() => methods.range({ [bound]: key })), bound).toBe('ERR_KEY');
          expect(await codeOf(() => methods.rangeSync({ [bound]: key })), bound).toBe('ERR_KEY');
          const batch = [
            ['put', 1, 1],
            ['range', { [bound]: key }],
          ];
          expect(await codeOf(() => methods.batchSync(batch)), bound).toBe('ERR_KEY');
        }
        for (const suffix of ['', 'Sync']) {
          expect(await codeOf(() => methods[`putMany${suffix}`]([1, key, 2], [1, 2, 3]))).toBe('ERR_KEY');
          expect(await codeOf(() => methods[`getMany${suffix}`]([1, key]))).toBe('ERR_KEY');
          expect(await codeOf(() => methods[`deleteMany${suffix}`]([7, key]))).toBe('ERR_KEY');
        }
      }
      expect([...store.tree.range()]).toEqual([[7, 7]]);
      expect(store.stats().commands).toBe(1);
    });
  });

  it('values: ERR_VALUE in the same way', async () => {
    await withStore({ executors: 1, replicas: 1 }, async (store) => {
      const methods = store as unknown as Methods;
      for (const value of WRONG_VALUES) {
        const calls: [string, unknown[]][] = [
          ...['put', 'insert', 'update', 'add'].map((name): [string, unknown[]] => [name, [1, value]]),
          ['compareAndSet', [1, value, 1]],
          ['compareAndSet', [1, 1, value]],
        ];
        for (const [name, args] of calls) {
          const what = `${name} ${String(args)}`;
          expect(await codeOf(() => methods[name](...args)), what).toBe('ERR_VALUE');
          expect(await codeOf(() => methods[`${name}Sync`](...args)), what).toBe('ERR_VALUE');
          const batch = [
            ['put', 1, 1],
            [name, ...args],
          ];
          expect(await codeOf(() => methods.batch(batch)), what).toBe('ERR_VALUE');
          expect(await codeOf(() => methods.batchSync(batch)), what).toBe('ERR_VALUE');
        }
        for (const suffix of ['', 'Sync']) {
          expect(await codeOf(() => methods[`putMany${suffix}`]([1, 2], [1, value]))).toBe('ERR_VALUE');
        }
      }
      expect(store.tree.size).toBe(0);
      expect(store.stats().commands).toBe(0);
    });
  });

  it('commands: unknown names and wrong numbers of arguments, and the whole batch is refused', async () => {
    await withStore({ executors: 1, replicas: 1 }, async (store) => {
      const methods = store as unknown as Methods;
      const cases: [string, unknown][] = [
        ...['', 'Put', 'putMany', 'toString', '__proto__', 'constructor', 3, null, undefined].map(
          (name): [string, unknown] => ['ERR_UNKNOWN_COMMAND', [name, 1]],
        ),
        ['ERR_UNKNOWN_COMMAND', []],
        ['ERR_ARGUMENT', 'put'],
        ['ERR_ARGUMENT', null],
        ['ERR_ARGUMENT', { 0: 'put', 1: 1, 2: 1, length: 3 }],
        ...['get', 'has', 'delete', 'floor', 'ceiling', 'lower', 'higher'].flatMap((name): [string, unknown][] => [
          ['ERR_ARGUMENT', [name]],
          ['ERR_ARGUMENT', [name, 1, 2]],
        ]),
        ...['put', 'insert', 'update', 'add'].flatMap((name): [string, unknown][] => [
          ['ERR_ARGUMENT', [name, 1]],
          ['ERR_ARGUMENT', [name, 1, 2, 3]],
        ]),
        ...['first', 'last', 'count'].map((name): [string, unknown] => ['ERR_ARGUMENT', [name, 1]]),
        ['ERR_ARGUMENT', ['compareAndSet', 1, 2]],
        ['ERR_ARGUMENT', ['compareAndSet', 1, 2, 3, 4]],
        ['ERR_ARGUMENT', ['range', {}, 1]],
        ['ERR_ARGUMENT', ['range', 5]],
        ['ERR_ARGUMENT', ['range', { from: 1 }]],
        ['ERR_ARGUMENT', ['range', { limit: 1.5 }]],
        ['ERR_ARGUMENT', ['range', { reverse: 1 }]],
        ['ERR_ARGUMENT', ['range', { lt: 1, lte: 1 }]],
      ];
      for (const [code, command] of cases) {
        expect(await codeOf(() => methods.batch([['put', 1, 1], command])), JSON.stringify(command)).toBe(code);
        expect(await codeOf(() => methods.batchSync([['put', 1, 1], command])), JSON.stringify(command)).toBe(code);
      }
      for (const commands of [undefined, null, 'put', 5, { length: 1 }]) {
        expect(await codeOf(() => methods.batch(commands)), String(commands)).toBe('ERR_ARGUMENT');
      }
      expect(await store.batch([])).toEqual([]);
      expect(store.batchSync([])).toEqual([]);
      expect(await store.putMany([], [])).toBe(0);
      expect(store.stats().commands).toBe(0);
      expect(store.tree.size).toBe(0);
    });
  });

  it('are refused at once also while thousands of calls wait for room, and the others are not disturbed', async () => {
    await withStore({ executors: 2, replicas: 2, ring: 256, value: 'u32' }, async (store) => {
      const methods = store as unknown as Methods;
      const good: Promise<unknown>[] = [];
      const bad: Promise<string>[] = [];
      for (let i = 0; i < 9000; i++) {
        good.push(store.put(i, i));
        if (i % 1000 === 999) {
          bad.push(codeOf(() => methods.put(-1, 1)));
          bad.push(codeOf(() => methods.put(1, -1)));
          bad.push(codeOf(() => methods.compareAndSet(1, 'x', 1)));
          bad.push(codeOf(() => methods.compareAndSet(1, 1, 2 ** 32)));
          bad.push(codeOf(() => methods.get({})));
        }
      }
      const codes = await inTime('refusals', Promise.all(bad));
      for (const [i, code] of codes.entries()) expect(code).toBe(i % 5 === 0 || i % 5 === 4 ? 'ERR_KEY' : 'ERR_VALUE');
      expect(new Set(await inTime('answers', Promise.all(good)))).toEqual(new Set([true]));
      expect(store.tree.size).toBe(9000);
    });
  });

  it('options of open that are not an object, and values of options of a wrong kind', async () => {
    for (const options of [undefined, null, 5, 'u32'])
      expect(await codeOf(() => open(options as never))).toBe('ERR_OPTION');
    const right = { key: 'u32', value: 'f64', memory: '16MB' };
    const numbers = ['executors', 'replicas', 'groups', 'ring', 'clients', 'latchTimeout', 'ringStart'];
    for (const name of numbers) {
      for (const value of ['1', 1.5, Number.NaN, -1, {}, 1n, Number.POSITIVE_INFINITY]) {
        const what = `${name}: ${String(value)}`;
        expect(await codeOf(() => open({ ...right, [name]: value } as never)), what).toBe('ERR_OPTION');
      }
    }
    for (const name of ['key', 'value', 'model', 'wait', 'memory', 'nodeSize', 'fanout']) {
      for (const value of ['nonsense', 1.5, {}, true]) {
        const what = `${name}: ${String(value)}`;
        expect(await codeOf(() => open({ ...right, [name]: value } as never)), what).toBe('ERR_OPTION');
      }
    }
    for (const ring of [255, 257, 384, 2 ** 21]) {
      expect(await codeOf(() => open({ ...right, ring } as never)), String(ring)).toBe('ERR_OPTION');
    }
    // Each executor of each replica needs a place for its retry.
    expect(await codeOf(() => open({ ...right, ring: 256, executors: 32, replicas: 3 } as never))).toBe('ERR_OPTION');
    expect(await codeOf(() => open({ ...right, executors: 4, groups: 3 } as never))).toBe('ERR_OPTION');
    expect(await codeOf(() => open({ key: 'u32' } as never))).toBe('ERR_OPTION');
    expect(await codeOf(() => open({ value: 'u32' } as never))).toBe('ERR_OPTION');
  });

  it('handles that are damaged', async () => {
    await withStore({ executors: 1, replicas: 2 }, async (store) => {
      const { handle } = store;
      const broken = handle.streams.slice(0);
      new Int32Array(broken)[16] ^= 1;
      const newer = handle.streams.slice(0);
      new Int32Array(newer)[17]++;
      const cases: [string, object][] = [
        ['ERR_NOT_A_TREE', { sabtree: 'tree' }],
        ['ERR_NOT_A_TREE', { streams: undefined }],
        ['ERR_NOT_A_TREE', { streams: new ArrayBuffer(65536) }],
        ['ERR_NOT_A_TREE', { streams: new SharedArrayBuffer(100) }],
        ['ERR_NOT_A_TREE', { streams: new SharedArrayBuffer(65536) }],
        ['ERR_NOT_A_TREE', { streams: handle.streams.slice(0, 4096) }],
        ['ERR_NOT_A_TREE', { streams: broken }],
        ['ERR_LAYOUT_VERSION', { streams: newer }],
        ['ERR_NOT_A_TREE', { memories: undefined }],
        ['ERR_NOT_A_TREE', { memories: [] }],
        ['ERR_NOT_A_TREE', { memories: [handle.memories[0]] }],
        ['ERR_NOT_A_TREE', { memories: [5, 5] }],
        [
          'ERR_NOT_A_TREE',
          { memories: [0, 1].map(() => new WebAssembly.Memory({ initial: 8, maximum: 8, shared: true })) },
        ],
        ['ERR_OPTION', { key: 'key' }],
        ['ERR_SCHEMA_MISMATCH', { key: 'i32' }],
        ['ERR_SCHEMA_MISMATCH', { value: 'i64' }],
        ['ERR_SCHEMA_MISMATCH', { value: 'record' }],
        ['ERR_OPTION', { model: 'paxos' }],
        ['ERR_OPTION', { wait: 'sleep' }],
        ['ERR_LAYOUT_VERSION', { layout: 0 }],
      ];
      for (const [code, part] of cases) {
        expect(await codeOf(() => connect({ ...handle, ...part } as never)), JSON.stringify(part)).toBe(code);
      }
      expect(await codeOf(() => connect(handle, { value: object({ x: u32, y: u32 }) }))).toBe('ERR_SCHEMA_MISMATCH');
      expect(await codeOf(() => connect(handle, { wait: 'sleep' as never }))).toBe('ERR_OPTION');
      // None of them has taken a place for good.
      const clients = [];
      for (let i = 0; i < 63; i++) clients.push(await connect(handle));
      expect(await codeOf(() => connect(handle))).toBe('ERR_TOO_MANY_THREADS');
      for (const client of clients) await client.close();
    });
  });
});

describe('records as values', () => {
  const schema = object({ entries: arrayOf(u32, 3), at: f64, id: i64, serial: u64, on: bool, kind: u8 });
  type Row = { entries: number[]; at: number; id: bigint; serial: bigint; on: boolean; kind: number };
  const row = (i: number): Row => ({
    entries: [i, i + 1, i + 2],
    at: i / 3,
    id: -BigInt(i) * 2n ** 40n,
    serial: 2n ** 64n - 1n - BigInt(i),
    on: i % 2 === 0,
    kind: i % 256,
  });

  it('come back as they went, from every method, also with a field called entries', async () => {
    await withStore({ executors: 2, replicas: 2, fanout: 4, value: schema }, async (any) => {
      const store = any as unknown as Store<number, Row>;
      const keys = Array.from({ length: 300 }, (_, i) => i);
      expect(await store.putMany(keys, keys.map(row))).toBe(300);
      expect(await store.get(5)).toEqual(row(5));
      expect(store.getSync(5)).toEqual(row(5));
      expect(await store.getMany([5, 999, 6])).toEqual([row(5), undefined, row(6)]);
      expect(store.getManySync([5, 999, 6])).toEqual([row(5), undefined, row(6)]);
      expect(await store.batch([['get', 7], ['range', { gte: 8, limit: 2 }], ['first'], ['floor', 1000]])).toEqual([
        row(7),
        [
          [8, row(8)],
          [9, row(9)],
        ],
        [0, row(0)],
        [299, row(299)],
      ]);
      expect(await store.range({ gte: 290, reverse: true })).toEqual(
        Array.from({ length: 10 }, (_, i) => [299 - i, row(299 - i)]),
      );
      expect(await store.compareAndSet(5, row(6), row(7))).toBe(false);
      expect(await store.compareAndSet(5, row(5), row(7))).toBe(true);
      expect(store.tree.get(5)).toEqual(row(7));
      // One command of a batch fails by itself; the others do not.
      const results = store.batchSync([
        ['put', 1, row(2)],
        ['add', 1, row(3)],
        ['get', 1],
      ]);
      expect(results[0]).toBe(false);
      expect(results[1]).toBeInstanceOf(SabtreeError);
      expect(results[1]).toMatchObject({ code: 'ERR_UNSUPPORTED' });
      expect(results[2]).toEqual(row(2));
      expect(await codeOf(() => store.add(1, row(1)))).toBe('ERR_UNSUPPORTED');
      expect(await codeOf(() => store.addSync(1, row(1)))).toBe('ERR_UNSUPPORTED');
      for (const wrong of [
        { ...row(1), kind: 256 },
        { ...row(1), id: 1 },
        { ...row(1), entries: [1, 2] },
        { ...row(1), serial: -1n },
        {},
        null,
      ]) {
        expect(await codeOf(() => store.put(1, wrong as never))).toBe('ERR_VALUE');
      }
      expect(store.tree.get(1)).toEqual(row(2));
      const digests = await store.digests();
      expect(digests[1].digest).toBe(digests[0].digest);
    });
  });

  it('are taken as they are when the call is made, however long it waits for room', async () => {
    const shape = object({ n: u32, list: arrayOf(u32, 2) });
    await withStore({ executors: 1, replicas: 1, ring: 256, value: shape }, async (any) => {
      const store = any as unknown as Store<number, { n: number; list: number[] }>;
      const value = { n: 0, list: [0, 0] };
      const answers: Promise<unknown>[] = [];
      const values = [value];
      for (let i = 0; i < 7000; i++) {
        value.n = i;
        value.list[1] = i;
        answers.push(i % 2 === 0 ? store.put(i, value) : store.putMany([i], values));
      }
      // The expected value of a compareAndSet too.
      for (let i = 0; i < 7000; i += 70) {
        value.n = i;
        value.list[1] = i;
        answers.push(store.compareAndSet(i, value, { n: i + 1, list: [1, 1] }).then((done) => expect(done).toBe(true)));
      }
      value.n = value.list[1] = 123_456;
      await inTime('answers', Promise.all(answers));
      for (let i = 0; i < 7000; i++) {
        const wanted = i % 70 === 0 ? { n: i + 1, list: [1, 1] } : { n: i, list: [0, i] };
        expect(store.tree.get(i)).toEqual(wanted);
      }
    });
  });
});

/** Appends one record to a group's ring, as nobody should. */
function plant(store: AnyStore, fields: (words: Int32Array, bytes: Uint8Array) => void): void {
  const { rings, keepFromSingles } = new Multicast(store.streams, 99);
  const bytes = new Uint8Array(64);
  const words = new Int32Array(bytes.buffer);
  words[0] = 1 | (1 << 16);
  words[OPERATION_CLIENT >> 2] = 63;
  fields(words, bytes);
  expect(rings[0].tryAppend(bytes, 1, keepFromSingles)).not.toBe(FULL);
}

describe('records that no client of this version writes', () => {
  it.each([
    ['an unknown code', 99],
    ['no code', 0],
    ['the last code', 255],
  ])('%s: answered with an error, and the store goes on', async (_, code) => {
    await withStore({ executors: 2, replicas: 2 }, async (store) => {
      plant(store, (_words, bytes) => {
        bytes[0] = code;
      });
      const keys = Array.from({ length: 100 }, (_, i) => i);
      expect(await inTime('puts', store.putMany(keys, keys))).toBe(100);
      expect(store.stats().alive).toBe(2);
    });
  });

  it.each([true, false])(
    'one without a length: no replica can go on, and everybody is told; rebuild %s',
    async (rebuild) => {
      await withStore({ executors: 2, replicas: 2, rebuild }, async (store) => {
        await store.put(1, 1);
        plant(store, (words) => {
          words[0] = 1;
        });
        const calls = Array.from({ length: 200 }, (_, i) => codeOf(() => store.put(i, i)));
        const codes = new Set(await inTime('calls', Promise.all(calls)));
        codes.delete('no error');
        expect([...codes]).toEqual(['ERR_REPLICAS_LOST']);
        expect(await codeOf(() => store.getSync(1))).toBe('ERR_REPLICAS_LOST');
        expect(await codeOf(() => store.digests())).toBe('ERR_REPLICAS_LOST');
        expect(await codeOf(() => connect(store.handle))).toBe('ERR_REPLICAS_LOST');
        expect(store.stats().alive).toBeLessThan(2);
        expect(store.status()).toMatchObject({ state: 'failed', home: -1, failovers: 0 });
        // What was written stays readable.
        expect(store.tree.get(1)).toBe(1);
        store.tree.check();
      });
    },
  );
});
