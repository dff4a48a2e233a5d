import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { connect, type StoreOptions } from '../dist/index.js';
import { folder } from './support/durable.ts';
import { seeded } from './support/random.ts';
import {
  type AnyStore,
  agreeOnReplicas,
  Commands,
  compare,
  inTime,
  oracleOf,
  REPLICATED,
  until,
  withStore,
} from './support/stores.ts';
import { KEY_TYPES, VALUES } from './support/values.ts';

const ORDERED = REPLICATED;
const SMALL = { key: 'u32', value: 'f64', memory: '16MB', replicas: 1, model: 'smr' } as const;

describe('what was answered is found again', () => {
  // Each opens what another one wrote.
  for (const [i, model] of ORDERED.entries()) {
    if (i % 2 === 1) continue;
    it(
      `${model}: after a close, in any other model, and again`,
      seeded(`log ${model}`, async (random) => {
        const key = KEY_TYPES[i % KEY_TYPES.length];
        const values = VALUES[(3 * i) % VALUES.length];
        const path = join(folder('log'), 'made', 'by the store');
        const oracle = oracleOf(values);
        const commands = new Commands(random, key, values, 200);
        for (let life = 0; life < 3; life++) {
          const options = {
            ...{ key, value: values.type, fanout: 8, ring: 256 },
            model: life % 2 === 0 ? model : random.pick(ORDERED),
            ...{ replicas: 1 + random.below(3), executors: 1 + random.below(3) },
            log: { path, fsync: random.pick(['always', 'interval', 'never'] as const) },
            ...(random.chance(0.3) && { ringStart: 0xffffff80 }),
          };
          await withStore(options as Partial<StoreOptions>, async (store) => {
            await agreeOnReplicas(store, oracle.entries);
            for (let n = 0; n < 2; n++) {
              // A range in a batch answers its first piece only.
              const all = Array.from({ length: 100 }, () => commands.next(10)).filter(([name]) => name !== 'range');
              compare(oracle, all, await store.batch(all as never));
            }
            await agreeOnReplicas(store, oracle.entries);
            const { log } = store.status();
            expect(log?.torn).toBeUndefined();
            expect(log?.commands).toBeGreaterThan(0);
            if (random.chance(0.5)) {
              expect(await store.replaceLog()).toMatchObject({
                entries: oracle.size,
                position: store.status().log?.commands,
              });
            }
          });
        }
        await withStore({ key, value: values.type, log: { path } } as Partial<StoreOptions>, async (store) => {
          await agreeOnReplicas(store, oracle.entries);
        });
      }),
    );
  }

  it('several clients in their own order; reads are not logged, nor is anything twice', async () => {
    const path = folder('log');
    const clients = 3;
    await withStore({ model: 'opt-psmr', executors: 2, replicas: 2, log: { path } }, async (store) => {
      const all = await Promise.all(Array.from({ length: clients }, () => connect(store.handle)));
      await Promise.all(
        all.map(async (client, c) => {
          for (let n = 0; n < 40; n++) {
            await Promise.all(Array.from({ length: 10 }, (_, i) => client.put(i * clients + c, n)));
            await client.add(1000, 1);
          }
        }),
      );
      const { log } = store.status();
      expect(log?.commands).toBe(clients * 40 * 11);
      await store.range();
      await store.getMany([1, 2, 3]);
      await store.getAll([1, 2, 3]);
      await store.count();
      await store.digests();
      expect(store.status().log?.commands).toBe(log?.commands);
      expect(store.status().log?.written).toBe(log?.written);
      await Promise.all(all.map((client) => client.close()));
    });
    await withStore({ model: 'keyed', executors: 2, replicas: 2, log: { path } }, async (store) => {
      expect(store.status().log?.replayed).toBe(clients * 40 * 11);
      expect(await store.get(1000)).toBe(clients * 40);
      for (let i = 0; i < 10 * clients; i++) expect(await store.get(i)).toBe(39);
    });
  });

  it('when fsync is called, by policy', async () => {
    const syncsAfter = async (log: object, act: (store: AnyStore) => Promise<unknown>) =>
      withStore({ ...SMALL, log: { path: folder('log'), ...log } } as Partial<StoreOptions>, async (store) => {
        await act(store);
        return store.status().log?.syncs as number;
      });
    const tenPuts = async (store: AnyStore) => {
      for (let i = 0; i < 10; i++) await store.put(i, i);
    };
    expect(await syncsAfter({ fsync: 'always' }, tenPuts)).toBe(10);
    expect(await syncsAfter({ fsync: 'never' }, tenPuts)).toBe(0);
    expect(await syncsAfter({ fsync: 'interval', interval: 3_600_000 }, tenPuts)).toBe(0);
    const soon = await syncsAfter({ fsync: 'interval', interval: 5 }, async (store) => {
      await tenPuts(store);
      await until('an fsync', () => (store.status().log?.syncs ?? 0) > 0);
    });
    expect(soon).toBeGreaterThan(0);
  });

  it(
    'through failovers and rebuilds: no gap, nothing twice',
    seeded('log and losses', async (random) => {
      const path = folder('log');
      let digest = 0n;
      let commands = 0;
      await withStore(
        { model: 'opt-psmr', executors: 2, replicas: 3, fanout: 8, log: { path, fsync: 'never' } },
        async (store) => {
          let stop = false;
          let sent = 0;
          const write = async (from: number) => {
            for (let n = 0; !stop; n++) {
              await Promise.all(Array.from({ length: 32 }, (_, i) => store.add(from + ((n * 7 + i) % 500), 1)));
              await store.putAll([from + 600, from + 601], [n, n]);
              sent += 33;
            }
          };
          const writers = [write(0), write(1000)];
          for (let n = 0; n < 5; n++) {
            const { failovers } = store.status();
            await store.kill(store.status().home, random.below(2));
            await until('a failover', () => store.status().failovers > failovers);
            await until('a rebuild', () =>
              store.status().replicas.every(({ state }) => state === 'ready' || state === 'home'),
            );
          }
          stop = true;
          await inTime('writers', Promise.all(writers));
          expect(store.status().resent).toBeGreaterThan(0);
          commands = sent;
          const digests = await store.digests();
          expect(digests.length).toBe(3);
          digest = digests[0].digest;
          expect(store.status().log?.commands).toBe(commands);
        },
      );
      await withStore({ model: 'smr', replicas: 1, log: { path } }, (store) => {
        expect(store.status().log?.replayed).toBe(commands);
        expect(store.tree.digest()).toBe(digest);
      });
    }),
  );
});
