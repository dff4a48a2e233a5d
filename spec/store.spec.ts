/** The store as its users meet it: opening, clients in other threads, errors, and ending. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { object, u8, u32 } from 'typed-binary';
import { afterEach, describe, expect, it } from 'vitest';
import {
  connect,
  f64,
  modelNames,
  open,
  SabtreeError,
  SharedTree,
  type Store,
  type StoreHandle,
} from '../dist/index.js';

const SMALL = { key: 'u32', value: 'f64', executors: 2, replicas: 2, memory: '32MB' } as const;
const stores: { close(): Promise<void> }[] = [];

async function opened(options: Record<string, unknown> = {}): Promise<Store> {
  const store = (await open({ ...SMALL, ...options })) as unknown as Store;
  stores.push(store);
  return store;
}

afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
});

function thread(handle: StoreHandle, job: string, client: number, rounds = 0): Worker {
  return new Worker(new URL('./support/store-thread.mjs', import.meta.url), {
    workerData: { handle, job, client, rounds },
  });
}

/** The code of the error that `call` throws or rejects with. */
async function codeOf(call: () => unknown): Promise<string> {
  try {
    await call();
  } catch (error) {
    expect(error).toBeInstanceOf(SabtreeError);
    return (error as SabtreeError).code;
  }
  return 'no error';
}

describe('opening', () => {
  it.each<[string, Record<string, unknown>]>([
    ['key', { key: 'text' }],
    ['maxValue', { maxValue: 1000 }],
    ['maxValue', { value: 'json', maxValue: 1 }],
    ['maxValue', { value: 'json', maxValue: 100_000 }],
    ['locality', { key: 'string', locality: 8 }],
    ['value', { value: 'u128' }],
    ['model', { model: 'paxos' }],
    ['executors', { executors: 0 }],
    ['executors', { executors: 33 }],
    ['executors', { executors: 1.5 }],
    ['replicas', { replicas: 0 }],
    ['replicas', { replicas: 9 }],
    ['groups', { groups: 1 }],
    ['groups', { groups: 33 }],
    ['memory', { memory: '1 parsec' }],
    ['memory', { memory: '5GB' }],
    ['nodeSize', { nodeSize: 100 }],
    ['fanout', { fanout: 3 }],
    ['locality', { locality: 0 }],
    ['locality', { locality: 24 }],
    ['locality', { locality: 131072 }],
    ['locality', { locality: 8, key: 'f64' }],
    ['ring', { ring: 1000 }],
    ['ring', { ring: 128 }],
    ['clients', { clients: 0 }],
    ['wait', { wait: 'sleep' }],
    ['latchTimeout', { latchTimeout: 0 }],
    ['ringStart', { ringStart: -1 }],
    ['colour', { colour: 'blue' }],
  ])('refuses a wrong %s: %j', async (name, options) => {
    await expect(open({ ...SMALL, ...options } as never)).rejects.toMatchObject({
      code: 'ERR_OPTION',
      message: expect.stringContaining(name),
    });
  });

  it('says that the memory is too small for the executors', async () => {
    expect(await codeOf(() => open({ ...SMALL, memory: '1MB', executors: 8 }))).toBe('ERR_MEMORY_EXHAUSTED');
  });

  it('ends its threads with await using', async () => {
    let tree: Store['tree'];
    {
      await using store = await open(SMALL);
      await store.put(1, 2);
      tree = store.tree;
      expect(tree.get(1)).toBe(2);
    }
    expect(() => tree.get(1)).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }));
  });

  it.each(['spin', 'yield', 'park'])('works with the wait strategy %s', async (wait) => {
    const store = await opened({ wait, replicas: 1, executors: 1 });
    expect(await store.put(1, 2)).toBe(true);
    expect(store.getSync(1)).toBe(2);
  });
});

describe('types', () => {
  it.each([
    ['u32', 7, 4294967295],
    ['i32', -7, -2147483648],
    ['f64', -0.5, Number.NEGATIVE_INFINITY],
    ['i64', -7n, -(2n ** 63n)],
    ['u64', 7n, 2n ** 64n - 1n],
  ])('%s keys go and come back', async (key, one, other) => {
    const store = (await opened({ key, value: 'i64' })) as unknown as Store<unknown, bigint>;
    expect(await store.batch([['put', one, 1n], ['put', other, 2n], ['count']])).toEqual([true, true, 2]);
    const entries =
      one < other
        ? [
            [one, 1n],
            [other, 2n],
          ]
        : [
            [other, 2n],
            [one, 1n],
          ];
    expect(await store.range()).toEqual(entries);
    expect(store.rangeSync({ reverse: true })).toEqual(entries.toReversed?.() ?? [...entries].reverse());
    expect(await store.first()).toEqual(entries[0]);
    expect(await store.floor(other)).toEqual([other, 2n]);
    expect(await store.add(one, 5n)).toBe(1n);
    expect(store.tree.get(one)).toBe(6n);
  });

  it('records, with the schema at both ends', async () => {
    const schema = object({ id: u32, price: f64, kind: u8 });
    const store = (await opened({ value: schema })) as unknown as Store<
      number,
      { id: number; price: number; kind: number }
    >;
    const record = { id: 1, price: 0.1, kind: 3 };
    expect(await store.put(5, record)).toBe(true);
    expect(store.tree.get(5)).toEqual(record);
    expect(await store.compareAndSet(5, record, { ...record, kind: 4 })).toBe(true);
    expect(await store.range()).toEqual([[5, { ...record, kind: 4 }]]);
    const [failed, kept] = await store.batch([
      ['add', 5, record],
      ['get', 5],
    ]);
    expect(failed).toMatchObject({ code: 'ERR_UNSUPPORTED' });
    expect(kept).toEqual({ ...record, kind: 4 });
    expect(await codeOf(() => store.put(5, { ...record, kind: 256 }))).toBe('ERR_VALUE');
    const client = await connect(store.handle, { value: schema });
    expect(await client.get(5)).toEqual({ ...record, kind: 4 });
    await client.close();
    expect(await codeOf(() => connect(store.handle))).toBe('ERR_SCHEMA_MISMATCH');
    expect(await codeOf(() => connect(store.handle, { value: object({ id: u32 }) }))).toBe('ERR_SCHEMA_MISMATCH');
  });
});

describe('bad input', () => {
  it('is refused by every method, and nothing is sent', async () => {
    const store = await opened();
    await store.put(1, 1);
    const commandsBefore = store.stats().commands;
    const calls: [string, () => unknown][] = [
      ['ERR_KEY', () => store.put(-1, 1)],
      ['ERR_KEY', () => store.get(Number.NaN)],
      ['ERR_KEY', () => store.putSync(1.5, 1)],
      ['ERR_KEY', () => store.floor('a' as never)],
      ['ERR_KEY', () => store.range({ gt: -1 })],
      ['ERR_KEY', () => store.deleteMany([1, 2, 2 ** 32])],
      ['ERR_VALUE', () => store.put(1, '1' as never)],
      ['ERR_VALUE', () => store.putMany([2, 3], [1, undefined as never])],
      ['ERR_VALUE', () => store.compareAndSet(1, 1, null as never)],
      ['ERR_VALUE', () => store.add(1, 1n as never)],
      ['ERR_ARGUMENT', () => store.putMany([1, 2], [1])],
      ['ERR_ARGUMENT', () => store.range({ gt: 1, gte: 1 })],
      ['ERR_ARGUMENT', () => store.range({ limit: -1 })],
      ['ERR_ARGUMENT', () => store.batch([['put', 1] as never])],
      ['ERR_ARGUMENT', () => store.batch('put' as never)],
      ['ERR_UNKNOWN_COMMAND', () => store.batch([['jump', 1] as never])],
      [
        'ERR_KEY',
        () =>
          store.batchSync([
            ['put', 2, 2],
            ['put', -2, 2],
          ]),
      ],
      [
        'ERR_VALUE',
        () =>
          store.batch([
            ['put', 2, 2],
            ['put', 3, 'x' as never],
          ]),
      ],
    ];
    for (const [code, call] of calls) expect(await codeOf(call), String(call)).toBe(code);
    expect(await store.range()).toEqual([[1, 1]]);
    expect(store.stats().commands).toBe(commandsBefore + 1);
  });

  it('handles of something else', async () => {
    const store = await opened();
    const tree = SharedTree.create({ key: 'u32', value: 'f64', memory: '2MB' });
    expect(await codeOf(() => connect(tree.handle as never))).toBe('ERR_NOT_A_TREE');
    expect(await codeOf(() => connect(undefined as never))).toBe('ERR_NOT_A_TREE');
    expect(await codeOf(() => connect({ ...store.handle, layout: 999 }))).toBe('ERR_LAYOUT_VERSION');
    expect(await codeOf(() => connect({ ...store.handle, streams: new SharedArrayBuffer(4096) }))).toBe(
      'ERR_NOT_A_TREE',
    );
    expect(await codeOf(() => connect({ ...store.handle, key: 'i64' }))).toBe('ERR_SCHEMA_MISMATCH');
    expect(() => SharedTree.attach(store.handle as never)).toThrow(expect.objectContaining({ code: 'ERR_NOT_A_TREE' }));
  });

  it('more clients than there are places', async () => {
    const store = await opened({ clients: 2 });
    const client = await connect(store.handle);
    expect(await codeOf(() => connect(store.handle))).toBe('ERR_TOO_MANY_THREADS');
    await client.close();
    const next = await connect<number, number>(store.handle);
    expect(await next.put(1, 1)).toBe(true);
    await next.close();
  });
});

describe('clients in other threads', () => {
  it.each(modelNames)('%s: every add counts once', async (model) => {
    const store = await opened({ model, fanout: 4, replicas: model === 'direct' ? 1 : 2 });
    const rounds = model === 'psmr' ? 20 : 100;
    const workers = [0, 1, 2].map((client) => thread(store.handle, 'count', client, rounds));
    for (const [message] of await Promise.all(workers.map((worker) => once(worker, 'message'))))
      expect(message).toBe('done');
    let sum = 0;
    for (const [, value] of store.tree.range()) sum += value;
    expect(sum).toBe(3 * rounds * 50);
    const digests = await store.digests();
    for (const { digest } of digests) expect(digest).toBe(digests[0].digest);
  });

  it('an insert race has one winner for every key', async () => {
    const store = await opened({ fanout: 4 });
    const won: number[][] = await Promise.all(
      [0, 1, 2].map(async (client) => (await once(thread(store.handle, 'race', client, 400), 'message'))[0]),
    );
    expect(won.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: 400 }, (_, key) => key));
    for (const [client, keys] of won.entries()) for (const key of keys) expect(store.tree.get(key)).toBe(client);
  });

  it('a direct read after the answer sees the write', async () => {
    const store = await opened();
    const workers = [0, 1].map((client) => thread(store.handle, 'read-own', client, 1500));
    for (const [message] of await Promise.all(workers.map((worker) => once(worker, 'message'))))
      expect(message).toBe('done');
  });
});

describe('ending', () => {
  it('under load from other threads: they get ERR_CLOSED, and nobody hangs', async () => {
    const store = await opened();
    const workers = [0, 1, 2].map((client) => thread(store.handle, 'load', client));
    await Promise.all(workers.map((worker) => once(worker, 'message')));
    const ends = workers.map((worker) => once(worker, 'message'));
    const own = Array.from({ length: 500 }, (_, i) => store.put(i, i));
    await store.close();
    for (const end of ends) expect((await end)[0]).toMatchObject({ code: 'ERR_CLOSED' });
    // What this client had given before is answered.
    expect((await Promise.all(own)).length).toBe(500);
    await Promise.all(workers.map((worker) => worker.terminate()));
  });

  it('is the same however often it is asked for, and refuses calls afterwards', async () => {
    const store = await opened();
    await Promise.all([store.close(), store.close()]);
    await store.close();
    expect(await codeOf(() => store.put(1, 1))).toBe('ERR_CLOSED');
    expect(await codeOf(() => store.putSync(1, 1))).toBe('ERR_CLOSED');
    expect(await codeOf(() => store.tree.get(1))).toBe('ERR_CLOSED');
    expect(await codeOf(() => connect(store.handle))).toBe('ERR_CLOSED');
  });
});

describe('a replica without memory', () => {
  it('fails the store with a typed error when it is home; what was written stays readable', async () => {
    const store = await opened({ memory: '3MB', executors: 1, replicas: 1 });
    let written = 0;
    const code = await codeOf(async () => {
      for (let i = 0; i < 1000; i++) {
        const keys = Array.from({ length: 1000 }, (_, j) => i * 1000 + j);
        await store.putMany(keys, keys);
        written += 1000;
      }
    });
    expect(code).toBe('ERR_MEMORY_EXHAUSTED');
    expect(written).toBeGreaterThan(10_000);
    expect(await codeOf(() => store.put(1, 1))).toBe('ERR_MEMORY_EXHAUSTED');
    expect(await codeOf(() => store.getSync(1))).toBe('ERR_MEMORY_EXHAUSTED');
    for (let key = 0; key < written; key += 97) expect(store.tree.get(key)).toBe(key);
    store.tree.check();
  });
});
