/** Replicas that differ are noticed: two cannot say who is right, of three the odd one goes. */
import diagnostics from 'node:diagnostics_channel';
import { describe, expect, it } from 'vitest';
import { SharedTree, type StoreEvent } from '../dist/index.js';
import { codeOf, until, withStore } from './support/stores.ts';

/** Writes into one replica's tree behind the store's back. */
function corrupt(
  store: { handle: { layout: number; memories: readonly WebAssembly.Memory[] } },
  replica: number,
): void {
  const { layout, memories } = store.handle;
  const handle = { sabtree: 'tree', layout, memory: memories[replica], key: 'u32', value: 'f64' } as const;
  using tree = SharedTree.attach(handle);
  tree.put(77, 7.5);
}

describe('replicas that differ', () => {
  it.each(['smr', 'pipelined', 'sdpe', 'execute-verify', 'psmr', 'opt-psmr', 'keyed'] as const)(
    '%s, two of them: the store is read-only from then on, and says where it was seen',
    async (model) => {
      await withStore({ model, executors: 2, replicas: 2, compareEvery: 20 }, async (store) => {
        const events: StoreEvent[] = [];
        store.onEvent((event) => events.push(event));
        const published: unknown[] = [];
        const note = (message: unknown) => published.push(message);
        diagnostics.subscribe('sabtree:diverged', note);
        try {
          await store.put(1, 1.5);
          await until('a comparison', () => store.status().comparisons > 0);
          expect(store.status()).toMatchObject({ state: 'open', divergedAt: undefined });
          corrupt(store, 1);
          await store.put(2, 2.5);
          await until('read-only', () => store.status().state === 'read-only');
          await until('the event', () => events.some(({ type }) => type === 'diverged'));
          const { divergedAt } = store.status();
          expect(divergedAt).toBeTypeOf('number');
          expect(events.find(({ type }) => type === 'diverged')).toEqual({
            ...{ type: 'diverged', position: divergedAt, readOnly: true },
          });
          expect(published).toHaveLength(1);
          // Writes are refused, reads answered, nothing hangs.
          for (const call of [
            () => store.put(3, 3),
            () => store.delete(1),
            () => store.add(1, 1),
            () => store.putSync(3, 3),
            () => store.putAll([3], [3]),
            () => store.batch([['put', 3, 3]]),
          ]) {
            expect(await codeOf(call), String(call)).toBe('ERR_DIVERGED');
          }
          expect(await store.get(1)).toBe(1.5);
          expect(store.getSync(2)).toBe(2.5);
          expect(store.tree.get(1)).toBe(1.5);
          expect(await store.count()).toBe(2);
          expect((await store.digests()).map(({ entries }) => entries)).toEqual([2, 3]);
        } finally {
          diagnostics.unsubscribe('sabtree:diverged', note);
        }
      });
    },
  );

  it.each(['smr', 'opt-psmr', 'keyed'] as const)(
    '%s, three of them: the odd one is lost and rebuilt, the store goes on',
    async (model) => {
      await withStore({ model, executors: 2, replicas: 3, compareEvery: 20 }, async (store) => {
        const events: StoreEvent[] = [];
        store.onEvent((event) => events.push(event));
        await store.putMany([1, 2, 3], [1, 2, 3]);
        // The home replica itself: what it answers must not be trusted.
        corrupt(store, 0);
        await store.put(4, 4);
        await until('the odd one is rebuilt', () => store.status().rebuilds === 1);
        expect(store.status()).toMatchObject({ state: 'open', losses: 1, failovers: 1 });
        expect(store.status().home).not.toBe(0);
        await until('the events', () => events.some(({ type }) => type === 'rebuilt'));
        expect(events.find(({ type }) => type === 'diverged')).toMatchObject({ readOnly: false });
        expect(events.find(({ type }) => type === 'lost')).toMatchObject({
          replica: 0,
          reason: 'its content differed',
        });
        expect(await store.get(77)).toBe(undefined);
        expect(store.tree.has(77)).toBe(false);
        await store.put(5, 5);
        const digests = await store.digests();
        expect(digests.map(({ entries }) => entries)).toEqual([5, 5, 5]);
        expect(new Set(digests.map(({ digest }) => digest)).size).toBe(1);
      });
    },
  );

  it('replicas that are equal are never taken for different, and an idle store is left alone', async () => {
    await withStore({ model: 'opt-psmr', executors: 2, replicas: 3, fanout: 4, compareEvery: 1 }, async (store) => {
      for (let round = 0; round < 30; round++) {
        const keys = Array.from({ length: 300 }, (_, i) => i * 7 + round);
        await store.putMany(keys, keys);
        await store.deleteMany(keys.filter((key) => key % 3 === 0));
      }
      await until('some comparisons', () => store.status().comparisons > 3);
      expect(store.status()).toMatchObject({ state: 'open', divergedAt: undefined, losses: 0 });
      await new Promise((resolve) => setTimeout(resolve, 100));
      const { comparisons } = store.status();
      await new Promise((resolve) => setTimeout(resolve, 200));
      expect(store.status().comparisons).toBe(comparisons);
    });
  });
});
