/** The interface of watches: where they begin and end, ranges, types, errors. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Change, Store } from '../dist/index.js';
import { codeOf, inTime, until } from './support/stores.ts';
import { endAll, expectCounted, flag, opened, thread } from './support/watching.ts';

afterEach(endAll);

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

  it('nobody has to look at how a listener ends with a store that has failed', async () => {
    const store = await opened({ replicas: 1, rebuild: false });
    const unhandled: unknown[] = [];
    const hear = (reason: unknown) => unhandled.push(reason);
    const before = process.listeners('unhandledRejection');
    process.removeAllListeners('unhandledRejection').on('unhandledRejection', hear);
    try {
      const watch = store.watch(undefined, () => {});
      await store.put(1, 1);
      await store.kill(0);
      await until('the store has failed', () => store.status().state === 'failed');
      await until('the watch has ended', () => store.stats().watchers === 0);
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(unhandled).toEqual([]);
      expect(await codeOf(() => watch.closed)).toBe('ERR_REPLICAS_LOST');
    } finally {
      process.removeListener('unhandledRejection', hear);
      for (const listener of before) process.on('unhandledRejection', listener as never);
    }
  });
});
