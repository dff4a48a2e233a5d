/** Replicas whose contents differ, because somebody wrote into one behind the store's back: it is noticed, and what then. */
import { describe, expect, it } from 'vitest';
import { connect, type ModelName, SharedTree, type StoreEvent, type StoreOptions } from '../dist/index.js';
import { Witnesses } from './support/drills.ts';
import { seeded } from './support/random.ts';
import { type AnyStore, agreeOnReplicas, codeOf, inTime, until, withStore } from './support/stores.ts';

const KEYS = Array.from({ length: 300 }, (_, i) => 400 + i);

/** Writes into one replica only. */
function tamper(store: AnyStore, replica: number, change: (tree: SharedTree<number, number>) => void): void {
  const { layout, memories, key, value } = store.handle;
  const tree = SharedTree.attach<number, number>({
    sabtree: 'tree',
    layout,
    memory: memories[replica],
    key,
    value,
  } as never);
  change(tree);
  tree.close();
}

const CHANGES: Readonly<Record<string, (tree: SharedTree<number, number>) => void>> = {
  'an entry more': (tree) => tree.put(5_000, 1),
  'an entry less': (tree) => tree.delete(407),
  'another value': (tree) => tree.put(407, -7),
  'as many entries, other ones': (tree) => {
    tree.delete(407);
    tree.put(5_000, 407);
  },
};

async function withTold(
  options: Partial<StoreOptions>,
  body: (store: AnyStore, events: StoreEvent[]) => Promise<void>,
): Promise<void> {
  await withStore({ executors: 2, fanout: 4, compareEvery: 30, ...options }, async (store) => {
    const events: StoreEvent[] = [];
    store.onEvent((event) => events.push(event));
    await store.putMany(KEYS, KEYS);
    // Until the slowest has them too.
    await store.digests();
    await body(store, events);
  });
}

describe('two replicas', () => {
  it.each(Object.keys(CHANGES))('that differ by %s: reads go on, writes are refused', async (what) => {
    await withTold({ replicas: 2 }, async (store, events) => {
      await until('they are compared', () => store.status().comparisons > 0);
      const early = await connect<number, number>(store.handle);
      tamper(store, 1, CHANGES[what]);
      // Nothing is compared while nobody writes.
      await store.put(1_000, 1);
      await until('it is noticed', () => store.status().state === 'read-only');
      await until('it is told', () => events.length > 0);
      const { divergedAt } = store.status();
      expect(divergedAt).toBeGreaterThan(0);
      expect(events).toEqual([{ type: 'diverged', position: divergedAt, readOnly: true }]);
      const late = await connect<number, number>(store.handle);
      for (const client of [store as never as typeof early, early, late]) {
        for (const call of [
          () => client.put(1, 1),
          () => client.putSync(1, 1),
          () => client.insert(9_999, 1),
          () => client.updateSync(1, 1),
          () => client.delete(1),
          () => client.deleteSync(1),
          () => client.add(1, 1),
          () => client.compareAndSet(1, 1, 2),
          () => client.putMany([1, 2], [1, 2]),
          () => client.putManySync([1, 2], [1, 2]),
          () => client.putAll([1, 2], [1, 2]),
          () => client.deleteMany([1, 2]),
          () => client.atomic([['get', 1]]),
          // Whatever stands before it.
          ...['batch', 'batchSync'].map((name) => () => {
            return client[name as 'batch']([
              ['get', 1],
              ['put', 1, 1],
            ]);
          }),
        ]) {
          expect(await codeOf(call), String(call)).toBe('ERR_DIVERGED');
        }
        expect(await client.get(408)).toBe(408);
        expect(client.getSync(408)).toBe(408);
        expect(client.tree.get(408)).toBe(408);
        expect(await client.getMany([406, 408])).toEqual([406, 408]);
        expect(await client.getAll([406, 408])).toEqual([406, 408]);
        expect(await client.range({ gte: 408, limit: 2 })).toEqual([
          [408, 408],
          [409, 409],
        ]);
        expect(client.batchSync([['get', 408], ['count'], ['last']])).toEqual([408, 301, [1_000, 1]]);
      }
      const digests = await store.digests();
      expect(digests.length).toBe(2);
      expect(digests[1].digest).not.toBe(digests[0].digest);
      // Nobody is lost: nobody knows who is right.
      expect(store.status()).toMatchObject({ state: 'read-only', losses: 0, home: 0 });
      await early.close();
      await late.close();
    });
  });

  it('writes under way when it is noticed are carried out or refused, all of them', async () => {
    await withTold({ replicas: 2, ring: 256 }, async (store) => {
      tamper(store, 1, CHANGES['an entry more']);
      const codes: string[] = [];
      while (store.status().state === 'open') {
        const keys = Array.from({ length: 500 }, (_, i) => 10_000 + codes.length + i);
        codes.push(...(await inTime('calls', Promise.all(keys.map((key) => codeOf(() => store.put(key, key)))))));
      }
      for (const [i, code] of codes.entries()) {
        expect(['no error', 'ERR_DIVERGED']).toContain(code);
        if (code === 'no error') expect(store.tree.get(10_000 + i)).toBe(10_000 + i);
      }
      expect(await codeOf(() => store.put(1, 1))).toBe('ERR_DIVERGED');
    });
  });

  it('one of them is lost behind that: the other one answers, and the store stays read-only', async () => {
    await withTold({ replicas: 2 }, async (store, events) => {
      tamper(store, 1, CHANGES['another value']);
      await store.put(1_000, 1);
      await until('it is noticed', () => store.status().state === 'read-only');
      await store.kill(0);
      await until('it is rebuilt', () => store.status().rebuilds === 1);
      // The one that is left is the measure of all things.
      expect(await store.get(407)).toBe(-7);
      expect(store.tree.get(407)).toBe(-7);
      expect(await codeOf(() => store.put(407, 7))).toBe('ERR_DIVERGED');
      expect(store.status()).toMatchObject({ state: 'read-only', home: 1 });
      await agreeOnReplicas(store, [...store.tree.range()]);
      expect(events.map(({ type }) => type)).toEqual(['diverged', 'lost', 'failover', 'rebuilt']);
    });
  });
});

describe('three replicas', () => {
  it.each([
    [0, 'an entry more'],
    [0, 'another value'],
    [1, 'an entry less'],
    [1, 'as many entries, other ones'],
    [2, 'another value'],
  ])('of which %d differs by %s: it is lost and rebuilt, and nobody else notices', async (replica, what) => {
    await withTold({ replicas: 3 }, async (store, events) => {
      const witnesses = await Witnesses.start(store, ['sync'], { direct: replica !== 0 });
      tamper(store, replica, (tree) => {
        // Keys that the clients do not touch.
        if (what === 'an entry more') tree.put(900_000, 1);
        else if (what === 'an entry less') tree.delete(500);
        else if (what === 'another value') tree.put(500, -500);
        else {
          tree.delete(500);
          tree.put(900_000, 500);
        }
      });
      await until('it is told', () => events.some(({ type }) => type === 'rebuilt'));
      await until('it is back', () =>
        store.status().replicas.every(({ state }) => state === 'home' || state === 'ready'),
      );
      const home = replica === 0;
      expect(events.filter(({ type }) => type !== 'client-lost')).toMatchObject([
        { type: 'diverged', position: expect.any(Number), readOnly: false },
        { type: 'lost', replica, home, reason: 'its content differed' },
        ...(home ? [{ type: 'failover', replica: 1 }] : []),
        { type: 'rebuilt', replica },
      ]);
      const status = store.status();
      expect(status).toMatchObject({ state: 'open', losses: 1, rebuilds: 1, home: home ? 1 : 0 });
      expect(status.divergedAt).toBe((events[0] as { position: number }).position);
      // From here on they are equal again.
      const { comparisons } = status;
      await until('they are compared again', () => store.status().comparisons > comparisons + 1);
      await witnesses.end(store);
      expect(await store.put(500, 1)).toBe(false);
      expect(store.tree.get(900_000)).toBeUndefined();
      await agreeOnReplicas(store, [...store.tree.range()]);
      expect(store.status().losses).toBe(1);
    });
  });

  it('all of which differ: nobody can tell who is right', async () => {
    await withTold({ replicas: 3 }, async (store, events) => {
      for (const replica of [1, 2]) tamper(store, replica, (tree) => tree.put(9_000, replica));
      await store.put(1_000, 1);
      await until('it is noticed', () => store.status().state === 'read-only');
      await until('it is told', () => events.length > 0);
      expect(events).toMatchObject([{ type: 'diverged', readOnly: true }]);
      expect(await codeOf(() => store.put(1, 1))).toBe('ERR_DIVERGED');
      expect(await store.get(401)).toBe(401);
    });
  });
});

describe('four replicas', () => {
  it('of which two differ from two: nobody can tell', async () => {
    await withTold({ replicas: 4, executors: 1 }, async (store) => {
      for (const replica of [1, 3]) tamper(store, replica, CHANGES['another value']);
      await store.put(1_000, 1);
      await until('it is noticed', () => store.status().state === 'read-only');
      expect(store.status().losses).toBe(0);
    });
  });

  it('of which two differ, each by itself: both are lost and rebuilt', async () => {
    await withTold({ replicas: 5, executors: 1 }, async (store, events) => {
      tamper(store, 0, CHANGES['another value']);
      tamper(store, 4, CHANGES['an entry less']);
      await store.put(1_000, 1);
      await until('both are back', () => store.status().rebuilds === 2);
      expect(store.status()).toMatchObject({ state: 'open', losses: 2, failovers: 1, home: 1 });
      expect(events.filter(({ type }) => type === 'diverged')).toMatchObject([{ readOnly: false }]);
      await agreeOnReplicas(store, [...KEYS.map((key): [number, number] => [key, key]), [1_000, 1]]);
    });
  });
});

describe('replicas that do not differ', () => {
  // All other models are compared in failover.spec.ts.
  it.each(['pipelined', 'sdpe', 'execute-verify', 'opt-psmr'] as const)(
    '%s: are never found to, under load',
    async (model: ModelName) => {
      await seeded(`equal ${model}`, async () => {
        await withTold({ model, replicas: 2, ring: 256, compareEvery: 5 }, async (store, events) => {
          const witnesses = await Witnesses.start(store, ['sync', 'async']);
          await until('they are compared', () => store.status().comparisons >= 10, 40_000);
          await witnesses.end(store);
          expect(store.status()).toMatchObject({ state: 'open', divergedAt: undefined, losses: 0 });
          expect(events).toEqual([]);
          await agreeOnReplicas(store, [...store.tree.range()]);
        });
      })();
    },
  );

  it('are not compared while nobody writes, and never if that is not wanted', async () => {
    await withTold({ replicas: 2, compareEvery: 10 }, async (store) => {
      await until('they are compared', () => store.status().comparisons > 0);
      // What was written is compared at most once more; then there is nothing new.
      await new Promise((resolve) => setTimeout(resolve, 100));
      const { comparisons } = store.status();
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(store.status().comparisons).toBe(comparisons);
    });
    await withTold({ replicas: 2, compareEvery: 0 }, async (store) => {
      tamper(store, 1, CHANGES['an entry more']);
      for (let i = 0; i < 20; i++) {
        await store.put(1_000 + i, 1);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      expect(store.status()).toMatchObject({ state: 'open', comparisons: 0, divergedAt: undefined });
    });
  });
});
