/** Snapshots are one place of the order, while commands go on and replicas are lost. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { connect } from '../dist/index.js';
import { folder } from './support/durable.ts';
import { seeded } from './support/random.ts';
import { agreeOnReplicas, inTime, SOME_MODELS, until, withStore } from './support/stores.ts';

const ORDERED = SOME_MODELS;

describe('a snapshot is one place of the order', () => {
  for (const [i, model] of ORDERED.entries()) {
    it(
      `${model}: what was answered before is in it, and of a putAll all or nothing`,
      seeded(`cut ${model}`, async (random) => {
        const path = folder('snapshot');
        const file = join(path, 'snapshot');
        for (const replicas of [1 + (i % 3), 1 + ((i + 1) % 3)]) {
          const executors = 1 + random.below(3);
          await withStore({ model, replicas, executors, fanout: 8 }, async (store) => {
            const client = await connect(store.handle);
            const sets = Array.from({ length: 8 }, (_, s) => Array.from({ length: 5 }, (_, i) => s * 100 + i * 17));
            let stop = false;
            let round = 0;
            const answered = sets.map(() => 0);
            const write = async () => {
              while (!stop) {
                const value = ++round;
                const s = random.below(sets.length);
                await client.putAll(
                  sets[s],
                  sets[s].map(() => value),
                );
                answered[s] = Math.max(answered[s], value);
                await Promise.all(
                  Array.from({ length: 8 }, (_, i) => client.put(10_000 + ((value * 8 + i) % 5000), value)),
                );
              }
            };
            const writers = [write(), write(), write()];
            try {
              for (let n = 0; n < 2; n++) {
                await until('some rounds', () => round > 10 * (n + 1));
                const before = [...answered];
                const info = await inTime('snapshot', store.snapshot(file));
                const entries = await withStore({ model: 'direct', replicas: 1, restore: file }, (restored) =>
                  Promise.resolve([...restored.tree.range()]),
                );
                expect(entries.length).toBe(info.entries);
                const found = new Map(entries as [number, number][]);
                for (const [s, keys] of sets.entries()) {
                  const values = new Set(keys.map((key) => found.get(key)));
                  expect(values.size, `${replicas} replicas: keys of one putAll have ${[...values]}`).toBe(1);
                  expect(found.get(keys[0]) ?? 0).toBeGreaterThanOrEqual(before[s]);
                }
              }
            } finally {
              stop = true;
              await inTime('writers', Promise.all(writers));
              await client.close();
            }
            const digests = await store.digests();
            expect(new Set(digests.map(({ digest }) => digest)).size).toBe(1);
            expect(digests.length).toBe(replicas);
          });
        }
      }),
    );
  }

  it(
    'a replica that is lost while it is copied is replaced by another one',
    seeded('snapshot and losses', async (random) => {
      const file = join(folder('snapshot'), 'snapshot');
      await withStore({ replicas: 3, executors: 2, memory: '64MB' }, async (store) => {
        const keys = Uint32Array.from({ length: 40_000 }, (_, i) => i);
        await store.putMany(keys, Float64Array.from(keys));
        const digest = store.tree.digest();
        for (let n = 0; n < 6; n++) {
          const taken = store.snapshot(file);
          await new Promise((resolve) => setTimeout(resolve, random.below(60)));
          await store.kill(random.below(3));
          const info = await inTime('snapshot', taken);
          expect(info).toMatchObject({ entries: 40_000, digest });
          await until('all replicas are back', () =>
            store.status().replicas.every(({ state }) => state === 'ready' || state === 'home'),
          );
        }
        await agreeOnReplicas(
          store,
          Array.from(keys, (key) => [key, key]),
        );
      });
    }),
  );

  it('several at the same time, one after the other', async () => {
    const path = folder('snapshot');
    await withStore({ model: 'keyed', executors: 2, replicas: 2 }, async (store) => {
      await store.putMany([1, 2, 3], [1, 2, 3]);
      const infos = await Promise.all(['a', 'b', 'c'].map((name) => store.snapshot(join(path, name))));
      for (const info of infos) expect(info.entries).toBe(3);
      expect(infos[0].cut).toBeLessThan(infos[1].cut);
      expect(infos[1].cut).toBeLessThan(infos[2].cut);
      expect(readdirSync(path).sort()).toEqual(['a', 'b', 'c']);
    });
  });
});
