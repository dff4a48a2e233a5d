/** Reads of ranges and of one state: iterators of trees and stores, `count` of a range, `read`. */
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import {
  type ModelName,
  modelNames,
  open,
  type RangeOptions,
  SharedTree,
  type Store,
  type StoreOptions,
} from '../dist/index.js';
import { codeOf, inTime, REPLICATED, until } from './support/stores.ts';

const stores: Store[] = [];
const workers: Worker[] = [];

afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.terminate()));
  await Promise.all(stores.splice(0).map((store) => store.close()));
});

async function opened(options: Partial<StoreOptions> = {}): Promise<Store> {
  const whole = { key: 'u32', value: 'f64', memory: '64MB', executors: 2, ...options } as const;
  const store = (await open(whole as StoreOptions)) as unknown as Store;
  stores.push(store);
  return store;
}

const ranges: readonly RangeOptions<number>[] = [
  {},
  { reverse: true },
  { gt: 10, lte: 3000 },
  { gte: 10, lt: 9000, limit: 4000 },
  { gte: 10, lt: 9000, limit: 7, reverse: true },
  { gt: 500, lt: 400 },
  { gte: 29_997 },
  { limit: 0 },
];

/** More entries than one atomic scan gives. */
const entries = Array.from({ length: 10_000 }, (_, i): [number, number] => [i * 3, i / 2]);

/** What a range of the entries is. */
function expected({ gt, gte, lt, lte, reverse, limit }: RangeOptions<number>): [number, number][] {
  const within = entries.filter(
    ([key]) =>
      (gt === undefined || key > gt) &&
      (gte === undefined || key >= gte) &&
      (lt === undefined || key < lt) &&
      (lte === undefined || key <= lte),
  );
  if (reverse) within.reverse();
  return within.slice(0, limit);
}

async function all<T>(iterable: AsyncIterable<T>): Promise<T[]> {
  const elements: T[] = [];
  for await (const element of iterable) elements.push(element);
  return elements;
}

describe('ranges of a tree', () => {
  const tree = SharedTree.create({ key: 'u32', value: 'f64' });
  tree.bulkLoad(entries);

  it.each(ranges)('%o: entries, keys, values and count agree', (range) => {
    const right = expected(range);
    expect([...tree.entries(range)]).toEqual(right);
    expect([...tree.keys(range)]).toEqual(right.map(([key]) => key));
    expect([...tree.values(range)]).toEqual(right.map(([, value]) => value));
    expect(tree.count(range)).toBe(right.length);
  });

  it('all of it by default', () => {
    expect(tree.count()).toBe(entries.length);
    expect([...tree.keys()].length).toBe(entries.length);
    expect(new Map(tree.entries()).size).toBe(entries.length);
  });

  it('may be left early, used side by side, and refuse wrong ranges when they are asked for', () => {
    const keys = tree.keys({ gte: 30 });
    const values = tree.values({ gte: 30 });
    for (let i = 10; i < 6000; i++) {
      expect(keys.next().value).toBe(i * 3);
      expect(values.next().value).toBe(i / 2);
      if (i % 1000 === 0) expect(tree.get(i * 3)).toBe(i / 2);
    }
    for (const key of keys) if (key > 20_000) break;
    expect(keys.next()).toEqual({ done: true, value: undefined });
    expect(() => tree.keys({ gt: 1, gte: 1 })).toThrow('gt or gte');
    expect(() => tree.values({ gt: -1 })).toThrow('key must be');
    expect(() => tree.count({ lt: 'a' as never })).toThrow('key must be');
  });
});

describe.each(modelNames)('ranges of a store of %s', (model) => {
  it('agree with the tree, ordered and direct', async () => {
    const store = await opened({ model, fanout: 64 });
    await store.putMany(
      entries.map(([key]) => key),
      entries.map(([, value]) => value),
    );
    for (const range of ranges) {
      const right = expected(range);
      expect(await all(store.entries(range))).toEqual(right);
      expect(await all(store.keys(range))).toEqual(right.map(([key]) => key));
      expect(await all(store.values(range))).toEqual(right.map(([, value]) => value));
      expect(await store.count(range)).toBe(right.length);
      expect(store.countSync(range)).toBe(right.length);
    }
    expect(await store.count()).toBe(entries.length);
    expect(await store.batch([['count', { lt: 30 }], ['count']])).toEqual([10, entries.length]);
    expect((await all(store)).length).toBe(entries.length);
    for await (const [key] of store.entries({ reverse: true })) {
      if (key < 29_000) break;
    }
    expect(await codeOf(() => store.count({ gt: -1 }))).toBe('ERR_KEY');
    expect(await codeOf(() => store.keys({ limit: -1 }))).toBe('ERR_ARGUMENT');
  });
});

describe('walking a store under writers', () => {
  it('gives what is there all the time, in order, once', async () => {
    const store = await opened({ model: 'keyed', fanout: 16 });
    const even = Array.from({ length: 8000 }, (_, i) => i * 2);
    await store.putMany(even, even);
    let walking = true;
    const writer = (async () => {
      for (let i = 0; walking; i = (i + 37) % 8000) {
        await store.put(i * 2 + 1, 1);
        await store.delete(((i * 7) % 8000) * 2 + 1);
      }
    })();
    for (const reverse of [false, true]) {
      const keys = await all(store.keys({ reverse }));
      expect(keys.filter((key) => key % 2 === 0)).toEqual(reverse ? [...even].reverse() : even);
      for (let i = 1; i < keys.length; i++) expect(keys[i] > keys[i - 1]).toBe(!reverse);
    }
    walking = false;
    await writer;
  });
});

/** Moves amounts between accounts, a putAll at a time, until it is stopped. */
const mover = `
  const { parentPort, workerData } = require('node:worker_threads');
  import(workerData.index).then(async ({ connect }) => {
    const client = await connect(workerData.handle);
    const { accounts, stop } = workerData;
    const have = new Array(accounts).fill(100);
    parentPort.postMessage('connected');
    for (let i = 0; Atomics.load(stop, 0) === 0; i++) {
      const from = i % accounts;
      const to = (i * 7 + 3) % accounts;
      if (from === to) continue;
      have[from] -= 1;
      have[to] += 1;
      await client.putAll([from * 1000, to * 1000], [have[from], have[to]]);
    }
    await client.close();
    parentPort.postMessage('done');
  });
`;

describe('several reads of one state', () => {
  const accounts = 20;
  const keys = Array.from({ length: accounts }, (_, i) => i * 1000);
  const total = (values: Iterable<number | undefined>) => [...values].reduce<number>((sum, one) => sum + (one ?? 0), 0);

  async function moving(store: Store) {
    await store.putAll(
      keys,
      keys.map(() => 100),
    );
    const stop = new Int32Array(new SharedArrayBuffer(4));
    const index = new URL('../dist/index.js', import.meta.url).href;
    const worker = new Worker(mover, { eval: true, workerData: { handle: store.handle, index, accounts, stop } });
    workers.push(worker);
    await new Promise((resolve) => worker.once('message', resolve));
    const done = new Promise((resolve) => worker.once('message', resolve));
    return async () => {
      Atomics.store(stop, 0, 1);
      await inTime('the mover', done);
    };
  }

  it.each(REPLICATED)('%s: sees whole commands only', async (model: ModelName) => {
    const store = await opened({ model });
    const stop = await moving(store);
    const states = new Set<string>();
    for (let i = 0; i < 100; i++) {
      const look = (tree: typeof store.tree) => ({
        one: total(keys.map((key) => tree.get(key))),
        many: total(tree.getMany(keys)),
        ranged: total(tree.values({ gte: 0, lte: 1e6 })),
        first: tree.get(0),
        again: [...tree.range({ lte: 0 })][0][1],
        state: [...tree.values()].join(),
      });
      const seen = i % 2 === 0 ? await store.read(look) : store.readSync(look);
      expect([seen.one, seen.many, seen.ranged]).toEqual([accounts * 100, accounts * 100, accounts * 100]);
      expect(seen.again).toBe(seen.first);
      states.add(seen.state);
    }
    await stop();
    // Otherwise nothing went on, and all of this is no proof.
    expect(states.size).toBeGreaterThan(5);
  });

  it('sees what was answered before, and is not called for nothing', async () => {
    const store = await opened();
    for (let i = 0; i < 50; i++) {
      await store.put(i, i);
      let calls = 0;
      const size = await store.read((tree) => {
        calls++;
        return tree.count({ lte: i });
      });
      expect([size, calls]).toEqual([i + 1, 1]);
    }
  });

  it('goes on while home replicas are lost', async () => {
    const store = await opened({ model: 'keyed', replicas: 3 });
    const stop = await moving(store);
    for (let kill = 1; kill <= 3; kill++) {
      const killed = store.kill(store.status().home);
      for (let i = 0; i < 30; i++) {
        expect(
          await inTime(
            'a read',
            store.read((tree) => total(tree.getMany(keys))),
          ),
        ).toBe(accounts * 100);
      }
      await killed;
      await until('a takeover', () => store.status().failovers === kill);
      await until('a rebuilt replica', () => store.status().rebuilds === kill);
    }
    await stop();
  });

  it('works in client threads, and a client that dies in a view stops nobody', async () => {
    const store = await opened();
    await store.put(1, 2);
    const index = new URL('../dist/index.js', import.meta.url).href;
    const reader = `
      const { parentPort, workerData } = require('node:worker_threads');
      import(workerData.index).then(async ({ connect }) => {
        const client = await connect(workerData.handle);
        parentPort.postMessage(client.readSync((tree) => tree.get(1)));
        await client.read(() => { parentPort.postMessage('in the view'); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); });
      });
    `;
    const worker = new Worker(reader, { eval: true, workerData: { handle: store.handle, index } });
    workers.push(worker);
    const messages: unknown[] = [];
    worker.on('message', (message) => messages.push(message));
    await until('the client stands in its view', () => messages.length === 2);
    expect(messages).toEqual([2, 'in the view']);
    await worker.terminate();
    expect(await inTime('a put', store.put(3, 4))).toBe(true);
    expect(store.status().losses).toBe(0);
  });

  it('passes on what the view throws, refuses asynchronous ones, and does not wait for ever', async () => {
    const store = await opened({ stallTimeout: 400 });
    await expect(
      store.read(() => {
        throw new RangeError('no');
      }),
    ).rejects.toThrow(RangeError);
    expect(await codeOf(() => store.read(async () => 1))).toBe('ERR_ARGUMENT');
    expect(await codeOf(() => store.read(1 as never))).toBe('ERR_ARGUMENT');
    expect(
      await codeOf(() =>
        store.read((tree) => {
          for (const end = performance.now() + 1500; performance.now() < end; ) tree.get(1);
        }),
      ),
    ).toBe('ERR_TIMEOUT');
    expect(await store.put(1, 1)).toBe(true);
    expect(store.status()).toMatchObject({ losses: 0, failovers: 0 });
    const direct = await opened({ model: 'direct' });
    expect(await codeOf(() => direct.read((tree) => tree.get(1)))).toBe('ERR_UNSUPPORTED');
    await store.close();
    expect(await codeOf(() => store.read((tree) => tree.get(1)))).toBe('ERR_CLOSED');
  });
});
