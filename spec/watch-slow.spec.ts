/** Slow watchers: writers wait for them, or they are cut off; and watchers that die. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Change, ModelName, Store } from '../dist/index.js';
import { CHANGE_KEY, WATCH_BLOCKED } from '../dist/layout/watch.js';
import { logBytes } from '../dist/workers/watch-memory.js';
import { codeOf, inTime, until } from './support/stores.ts';
import { endAll, opened, thread } from './support/watching.ts';

afterEach(endAll);

describe('a slow watcher', () => {
  const step = 500;
  /** More entries than the log takes changes. */
  const count = Math.ceil((1.5 * logBytes(4096)) / (CHANGE_KEY + 16) / step) * step;
  const blocked = ({ streams }: Store) => Atomics.load(streams.words, (streams.watchAt + WATCH_BLOCKED) >> 2) !== 0;

  it.each(['opt-psmr', 'sdpe', 'execute-verify', 'pipelined'] as ModelName[])(
    '%s: makes writers wait, and nobody takes the replicas for stalled; then it gets everything',
    async (model) => {
      const store = await opened({ model, stallTimeout: 500, fanout: 64 });
      const told = store.changes();
      const filler = await thread<number>(store, 'fill', { from: 0, count, step });
      await until('executors wait', () => blocked(store));
      // Longer than the limit after which a replica without progress is lost.
      const since = performance.now();
      await until('some time', () => performance.now() - since > 1200);
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
