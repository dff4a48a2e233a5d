/**
 * Watching a store: every change once, in an order in which the commands may be thought to have been executed, whatever
 * happens to replicas; back-pressure, and watchers that die.
 */
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import { type Change, type ModelName, modelNames, open, type Store, type StoreOptions } from '../dist/index.js';
import { CHANGE_KEY, WATCH_BLOCKED } from '../dist/layout/watch.js';
import { logBytes } from '../dist/workers/watch-memory.js';
import { codeOf, inTime, until } from './support/stores.ts';

const ordered = modelNames.filter((name) => name !== 'direct');
const workers: Worker[] = [];
const stores: Store[] = [];

afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.terminate()));
  await Promise.all(stores.splice(0).map((store) => store.close()));
});

async function opened(options: Partial<StoreOptions> = {}): Promise<Store> {
  const whole = { key: 'u32', value: 'f64', memory: '64MB', executors: 2, replicas: 2, fanout: 8, ...options } as const;
  const store = (await open(whole as StoreOptions)) as unknown as Store;
  stores.push(store);
  return store;
}

/** A client in a thread of its own; resolves once it has said `ready`. */
async function thread<T>(store: Store, task: string, args: object = {}, ready = 'connected') {
  const worker = new Worker(new URL('./support/watch-thread.mjs', import.meta.url), {
    workerData: { handle: store.handle, task, args },
  });
  workers.push(worker);
  let begun: () => void = () => {};
  const started = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const result = new Promise<T>((resolve, reject) => {
    worker.on('message', (message) => {
      if (message === ready) begun();
      else if (typeof message === 'object')
        'failure' in message ? reject(new Error(message.failure)) : resolve(message.result);
    });
    worker.on('error', reject);
  });
  result.catch(() => {});
  await inTime(`${task} begins`, Promise.race([started, result]));
  return { worker, result };
}

const flag = () => new Int32Array(new SharedArrayBuffer(4));

/** What changes make of an empty map. */
function folded(changes: readonly Change[]): [number, number][] {
  const map = new Map<number, number>();
  for (const change of changes) {
    if (change.type === 'put') map.set(change.key, change.value);
    else map.delete(change.key);
  }
  return [...map].sort(([a], [b]) => a - b);
}

/** Fails unless the values that each key went through are 1, 2, 3, ... up to what was added to it. */
function expectCounted(changes: readonly Change[], added: ReadonlyMap<number, number>): void {
  const counts = new Map<number, number>();
  for (const change of changes) {
    if (!added.has(change.key) || change.type !== 'put') continue;
    const before = counts.get(change.key) ?? 0;
    if (change.value !== before + 1) throw new Error(`key ${change.key}: ${change.value} comes behind ${before}`);
    counts.set(change.key, change.value);
  }
  expect(counts).toEqual(new Map([...added].filter(([, count]) => count > 0)));
}

function sum(parts: readonly (readonly [number, number][])[]): Map<number, number> {
  const all = new Map<number, number>();
  for (const part of parts) for (const [key, count] of part) all.set(key, (all.get(key) ?? 0) + count);
  return all;
}

describe.each(ordered)('watching a store of %s', (model: ModelName) => {
  it('tells of each change once, in order, while clients in other threads add, insert and delete', async () => {
    const store = await opened({ model });
    const changes: Change[] = [];
    const watch = store.watch(undefined, (change) => void changes.push(change));
    const stop = flag();
    const keys = Array.from({ length: 23 }, (_, i) => i * 1000);
    const adders = await Promise.all(
      [1, 2].map(() => thread<[number, number][]>(store, 'add', { keys, stop, least: 500 })),
    );
    const churner = await thread(store, 'churn', { from: 100, size: 60, stop });
    await until('changes come', () => changes.length > 3000);
    Atomics.store(stop, 0, 1);
    const added = sum(await Promise.all(adders.map(({ result }) => result)));
    await churner.result;
    const content = await store.range();
    await store.close();
    await watch.closed;
    expectCounted(changes, added);
    expect(folded(changes)).toEqual(content);
  });

  it('keeps what was answered before what was given later, and commands on several keys together', async () => {
    const store = await opened({ model, executors: 3, groups: 3 });
    const told = store.changes();
    const expected: [string, number, number?][] = [];
    for (let i = 0; i < 150; i++) {
      await store.put(i, i);
      await store.put(100_000 - i, i);
      expected.push(['put', i, i], ['put', 100_000 - i, i]);
      if (i % 10 === 0) {
        await store.putAll([7, 100_003, 555], [i, i, i]);
        expected.push(['put', 7, i], ['put', 100_003, i], ['put', 555, i]);
      }
      if (i % 3 === 0) {
        await store.delete(i);
        expected.push(['delete', i]);
      }
    }
    await store.close();
    const seen: [string, number, number?][] = [];
    for await (const c of told) seen.push(c.type === 'put' ? [c.type, c.key, c.value] : [c.type, c.key]);
    expect(seen).toEqual(expected);
  });

  it('tells only of what was changed', async () => {
    const store = await opened({ model, replicas: 1 });
    const told = store.changes();
    await store.insert(1, 10);
    await store.insert(1, 11);
    await store.update(2, 1);
    await store.update(1, 12);
    await store.compareAndSet(1, 5, 6);
    await store.compareAndSet(1, 12, 13);
    await store.add(3, 2.5);
    await store.add(3, 1);
    await store.delete(2);
    await store.delete(1);
    await store.get(3);
    await store.put(3, 3.5);
    await store.batch([
      ['put', 4, 1],
      ['get', 4],
      ['delete', 4],
      ['delete', 4],
    ]);
    await store.close();
    const seen = [];
    for await (const c of told) seen.push(c.type === 'put' ? [c.key, c.value] : [c.key]);
    expect(seen).toEqual([[1, 10], [1, 12], [1, 13], [3, 2.5], [3, 3.5], [1], [3, 3.5], [4, 1], [4]]);
  });
});

describe('watching through losses', () => {
  it.each(['opt-psmr', 'keyed', 'sdpe', 'execute-verify', 'pipelined'] as ModelName[])(
    '%s: nothing is lost or repeated while home replicas die and are rebuilt',
    async (model) => {
      const store = await opened({ model, replicas: 3, compareEvery: 0 });
      const changes: Change[] = [];
      const watch = store.watch(undefined, (change) => void changes.push(change));
      const stop = flag();
      const keys = Array.from({ length: 11 }, (_, i) => i * 100);
      const adders = await Promise.all([1, 2].map(() => thread<[number, number][]>(store, 'add', { keys, stop })));
      const churner = await thread(store, 'churn', { from: 10_000, size: 60, stop });
      for (let kill = 1; kill <= 3; kill++) {
        const seen = changes.length;
        await until('changes come', () => changes.length > seen + 300);
        await store.kill(store.status().home);
        await until('a takeover', () => store.status().failovers === kill && store.status().home >= 0);
        await until('a rebuilt replica', () => store.status().rebuilds === kill);
      }
      Atomics.store(stop, 0, 1);
      const added = sum(await Promise.all(adders.map(({ result }) => result)));
      await churner.result;
      const content = await store.range();
      await store.close();
      await watch.closed;
      expectCounted(changes, added);
      expect(folded(changes)).toEqual(content);
    },
  );

  it('a change that was told is there for direct reads, also across a takeover', async () => {
    const store = await opened({ model: 'keyed', replicas: 3 });
    let behind = 0;
    let told = 0;
    const watch = store.watch(undefined, ({ key, ...change }) => {
      told++;
      if (change.type === 'put' && !((store.tree.get(key) ?? -1) >= change.value)) behind++;
    });
    const stop = flag();
    const keys = Array.from({ length: 50 }, (_, i) => i);
    const adder = await thread(store, 'add', { keys, stop });
    await until('changes come', () => told > 500);
    await store.kill(store.status().home);
    const before = told;
    await until('more changes come', () => told > before + 500);
    Atomics.store(stop, 0, 1);
    await adder.result;
    await store.close();
    await watch.closed;
    expect(behind).toBe(0);
  });
});

describe('a slow watcher', () => {
  const step = 500;
  /** More entries than the log takes changes. */
  const count = Math.ceil((1.5 * logBytes(4096)) / (CHANGE_KEY + 16) / step) * step;
  const blocked = ({ streams }: Store) => Atomics.load(streams.words, (streams.watchAt + WATCH_BLOCKED) >> 2) !== 0;

  it.each(['opt-psmr', 'keyed', 'sdpe', 'execute-verify', 'pipelined', 'smr'] as ModelName[])(
    '%s: makes writers wait, and nobody takes the replicas for stalled; then it gets everything',
    async (model) => {
      const store = await opened({ model, stallTimeout: 100, fanout: 64 });
      const told = store.changes();
      const filler = await thread<number>(store, 'fill', { from: 0, count, step });
      await until('executors wait', () => blocked(store));
      // Longer than the limit after which a replica without progress is lost.
      const since = performance.now();
      await until('some time', () => performance.now() - since > 400);
      expect(store.status()).toMatchObject({ losses: 0, state: 'open' });
      expect(store.tree.size).toBeLessThan(count);
      const keys = new Set<number>();
      for (let i = 0; i < count; i++) {
        const { value } = await inTime('a change', told.next());
        keys.add((value as Change).key);
      }
      expect(keys.size).toBe(count);
      expect(await filler.result).toBe(count);
      expect(blocked(store)).toBe(false);
    },
  );

  it('is cut off if it wishes, and keeps nobody', async () => {
    const store = await opened();
    const cut = store.changes(undefined, { overflow: 'error' });
    const filler = await thread<number>(store, 'fill', { from: 0, count: 2 * count, step });
    expect(await inTime('the writer', filler.result)).toBe(2 * count);
    expect(
      await codeOf(async () => {
        for await (const _ of cut);
      }),
    ).toBe('ERR_OVERFLOW');
    expect(await cut.next()).toEqual({ done: true, value: undefined });
  });

  it('is waited for no longer once it has ended', async () => {
    const store = await opened();
    const told = store.changes();
    const filler = await thread<number>(store, 'fill', { from: 0, count, step });
    await until('executors wait', () => blocked(store));
    await told.return();
    expect(await inTime('the writer', filler.result)).toBe(count);
  });

  it('does not keep its own thread waiting, in a blocking call or in a listener', async () => {
    const store = await opened({ fanout: 64 });
    const told = store.changes();
    const keys = Uint32Array.from({ length: count }, (_, i) => i);
    expect(store.putManySync(keys, Float64Array.from(keys))).toBe(count);
    for (let i = 0; i < count; i++) await told.next();
    await told.return();
    let given = 0;
    const told2 = store.watch({ gte: count }, async () => {
      if (given > 0) return;
      // More than the log takes, while this very listener is awaited.
      for (; given < count; given += 5000) {
        const some = keys.subarray(given, given + 5000);
        await store.putMany(some, some);
      }
    });
    await store.put(count + 1, 1);
    await until('the listener is done', () => given >= count);
    await inTime('the end', store.close());
    await told2.closed;
  });

  it('whose thread dies stops nobody', async () => {
    const store = await opened();
    const lost = new Promise<void>((resolve) => {
      store.onEvent(({ type }) => type === 'client-lost' && resolve());
    });
    const { worker } = await thread(store, 'stuck', {}, 'watching');
    const filler = await thread<number>(store, 'fill', { from: 0, count, step });
    await until('executors wait', () => blocked(store));
    await worker.terminate();
    await inTime('the loss is seen', lost);
    expect(await inTime('the writer', filler.result)).toBe(count);
  });
});

describe('watches', () => {
  it('in another thread get the same, in the same order, until the store closes', async () => {
    const store = await opened();
    const watchers = await Promise.all(
      [1, 2].map(() => thread<Change[]>(store, 'watch', { range: { gte: 10, lt: 400 } }, 'watching')),
    );
    const own: Change[] = [];
    const watch = store.watch({ gte: 10, lt: 400 }, (change) => void own.push(change));
    const keys = Array.from({ length: 500 }, (_, i) => (i * 13) % 500);
    await store.putMany(keys, keys);
    await store.deleteMany(keys.slice(0, 100));
    await store.close();
    await watch.closed;
    expect(own.length).toBe(390 + keys.slice(0, 100).filter((key) => key >= 10 && key < 400).length);
    for (const { result } of watchers) expect(await result).toEqual(own);
  });

  it('begin where they were called for, and end where they are left', async () => {
    const store = await opened();
    for (let i = 0; i < 100; i++) await store.put(i, 0);
    const seen: number[] = [];
    const told = store.changes();
    await store.put(5, 1);
    await store.put(6, 2);
    for await (const change of told) {
      seen.push(change.key);
      if (seen.length === 2) break;
    }
    await store.put(7, 3);
    expect(seen).toEqual([5, 6]);
    expect(await told.next()).toEqual({ done: true, value: undefined });
    const again = store.changes();
    await store.put(8, 4);
    expect((await again.next()).value).toMatchObject({ type: 'put', key: 8, value: 4 });
    await again.return();
  });

  it.each([
    [{ gt: 2, lte: 4 }, [3, 4]],
    [{ gte: 2, lt: 4 }, [2, 3]],
    [{ gt: 4 }, [5]],
    [{ lt: 2 }, [0, 1]],
    [{}, [0, 1, 2, 3, 4, 5]],
    [{ gt: 3, lt: 2 }, []],
  ])('keep to their range: %o', async (range, expected) => {
    const store = await opened({ replicas: 1 });
    const told = store.changes(range);
    for (const key of [0, 1, 2, 3, 4, 5]) await store.put(key, 1);
    await store.close();
    const keys: number[] = [];
    for await (const { key } of told) keys.push(key);
    expect(keys).toEqual(expected);
  });

  it('carry all types of keys and values', async () => {
    for (const [key, value, keys, values] of [
      ['i32', 'i32', [-5, 7], [-1, 1]],
      ['f64', 'f64', [-0.5, 1e300], [Number.NaN, 0.1]],
      ['i64', 'i64', [-(2n ** 60n), 5n], [-1n, 2n ** 62n]],
      ['u64', 'u32', [2n ** 63n + 1n, 0n], [0, 4294967295]],
    ] as const) {
      const store = (await opened({ key, value })) as unknown as Store<unknown, unknown>;
      const told = store.changes();
      for (const i of [0, 1]) await store.put(keys[i], values[i]);
      const seen = [await told.next(), await told.next()].map(
        ({ value: change }) => change as { key: unknown; value: unknown },
      );
      expect(seen.map((change) => [change.key, change.value])).toEqual([0, 1].map((i) => [keys[i], values[i]]));
      await told.return();
    }
  });

  it('survive any number of watchers coming and going while changes come', async () => {
    const store = await opened();
    const stop = flag();
    const keys = Array.from({ length: 17 }, (_, i) => i * 10);
    const adder = await thread(store, 'add', { keys, stop });
    for (let round = 0; round < 60; round++) {
      const told = store.changes();
      const counts = new Map<number, number>();
      for (let i = 0; i < 50; i++) {
        const { key, value } = (await inTime('a change', told.next())).value as Change & { value: number };
        if (counts.has(key)) expect(value).toBe((counts.get(key) as number) + 1);
        counts.set(key, value);
      }
      await told.return();
    }
    Atomics.store(stop, 0, 1);
    await adder.result;
  });

  it('wrap with the positions of their rings', async () => {
    const store = await opened({ ringStart: 0xffffffff - 300, ring: 256 });
    const changes: Change[] = [];
    const watch = store.watch(undefined, (change) => void changes.push(change));
    for (let i = 0; i < 2000; i++) store.addSync(i % 7, 1);
    await store.close();
    await watch.closed;
    expectCounted(changes, new Map([0, 1, 2, 3, 4, 5, 6].map((key) => [key, key < 5 ? 286 : 285])));
  });

  it('refuse what cannot be watched', async () => {
    const store = await opened();
    const listener = () => {};
    expect(await codeOf(() => store.watch({ gt: 1, gte: 2 }, listener))).toBe('ERR_ARGUMENT');
    expect(await codeOf(() => store.watch({ limit: 3 } as never, listener))).toBe('ERR_ARGUMENT');
    expect(await codeOf(() => store.watch({ reverse: true } as never, listener))).toBe('ERR_ARGUMENT');
    expect(await codeOf(() => store.watch({ gt: -1 }, listener))).toBe('ERR_KEY');
    expect(await codeOf(() => store.watch(undefined, 'listener' as never))).toBe('ERR_ARGUMENT');
    expect(await codeOf(() => store.changes({}, { overflow: 'drop' as never }))).toBe('ERR_OPTION');
    expect(await codeOf(() => store.changes({}, { overFlow: 'wait' } as never))).toBe('ERR_OPTION');
    expect(await codeOf(async () => (await opened({ model: 'direct', replicas: 1 })).changes())).toBe(
      'ERR_UNSUPPORTED',
    );
    expect(await codeOf(async () => (await opened({ model: 'execute-verify', mixer: 'blind' })).changes())).toBe(
      'ERR_UNSUPPORTED',
    );
    const all = Array.from({ length: 32 }, () => store.changes());
    expect(await codeOf(() => store.changes())).toBe('ERR_TOO_MANY_WATCHERS');
    await all[7].return();
    await store.changes().return();
    await store.close();
    expect(await codeOf(() => store.changes())).toBe('ERR_CLOSED');
  });

  it('end with what their listener throws, and wait for what it promises', async () => {
    const store = await opened();
    const failing = store.watch(undefined, ({ key }) => {
      if (key === 2) throw new RangeError('two');
    });
    const seen: string[] = [];
    const slow = store.watch(undefined, async ({ key }) => {
      seen.push(`${key} begins`);
      await store.get(key);
      seen.push(`${key} ends`);
    });
    const thrown = expect(failing.closed).rejects.toThrow(RangeError);
    for (const key of [1, 2, 3]) await store.put(key, key);
    await thrown;
    await until('all are told', () => seen.length === 6);
    await store.close();
    await slow.closed;
    expect(seen).toEqual([1, 2, 3].flatMap((key) => [`${key} begins`, `${key} ends`]));
  });

  it('end with the error of a store that has failed', async () => {
    const store = await opened({ replicas: 1, rebuild: false });
    const told = store.changes();
    await store.put(1, 1);
    expect((await told.next()).value).toMatchObject({ key: 1 });
    await store.kill(0);
    expect(await codeOf(() => told.next())).toBe('ERR_REPLICAS_LOST');
    expect(await told.next()).toEqual({ done: true, value: undefined });
  });
});
