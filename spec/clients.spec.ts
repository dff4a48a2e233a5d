/** Several clients of one store at once, in threads of their own; and one that gives far more calls than fit. */
import { describe, expect, it } from 'vitest';
import type { StoreOptions } from '../dist/index.js';
import { seeded } from './support/random.ts';
import {
  type AnyCommand,
  agreeOnReplicas,
  answer,
  Commands,
  compare,
  inTime,
  oracleOf,
  runClients,
  SOME_MODELS,
  withStore,
} from './support/stores.ts';
import { agree } from './support/trees.ts';
import { type AnyKey, RECORDS, SCALARS } from './support/values.ts';

const MODELS = SOME_MODELS;
const F64 = SCALARS[2];
const U32 = SCALARS[0];

type Methods = Record<string, (...args: unknown[]) => unknown>;

describe.each(MODELS)('%s, several clients at once', (model) => {
  const shape: Partial<StoreOptions> = { model, executors: 2, groups: 3, replicas: 2, fanout: 4, ring: 256 };
  const some = model === 'psmr' ? 0.15 : 1;

  it('on keys of their own: each sees sequential execution', async () => {
    await withStore({ ...shape, ringStart: 2 ** 32 - 300 }, async (store) => {
      const rounds = Math.ceil(40 * some);
      const logs = await runClients<{ commands: AnyCommand[]; results: unknown[] }>(
        store.handle,
        'block',
        [0, 1, 2].map((client) => ({ client, rounds, size: 120, batch: 150 })),
      );
      const entries: [AnyKey, unknown][] = [];
      for (const { commands, results } of logs) {
        expect(commands.length).toBeGreaterThan(rounds);
        const oracle = oracleOf(F64);
        compare(oracle, commands, results);
        entries.push(...oracle.entries);
      }
      await agreeOnReplicas(store, entries);
    });
  });

  it('adds on shared keys: each counts once', async () => {
    await withStore(shape, async (store) => {
      const keys = 50;
      const clients = [0, 1, 2].map((client) => ({ client, rounds: Math.ceil(40 * some), keys }));
      const sums = await runClients<number[]>(store.handle, 'adds', clients);
      for (let key = 0; key < keys; key++) {
        const sum = sums.reduce((total, one) => total + one[key], 0);
        agree(`key ${key}`, store.tree.get(key) ?? 0, sum);
      }
      await agreeOnReplicas(store, [...store.tree.range()]);
    });
  });

  it('insert races have one winner each', async () => {
    await withStore(shape, async (store) => {
      const keys = Math.ceil(800 * some);
      const clients = [0, 1, 2].map((client) => ({ client, keys }));
      const won = await runClients<number[]>(store.handle, 'race', clients);
      expect(won.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: keys }, (_, key) => key));
      for (const [client, mine] of won.entries()) for (const key of mine) expect(store.tree.get(key)).toBe(client);
      await agreeOnReplicas(store, [...store.tree.range()]);
    });
  });

  it('compareAndSet chains have no gap and no fork', async () => {
    await withStore(shape, async (store) => {
      const counters = 3;
      const steps = Math.ceil(150 * some);
      await store.putMany([0, 1, 2], [0, 0, 0]);
      const clients = [0, 1, 2].map((client) => ({ client, counters, steps }));
      const logs = await runClients<number[][]>(store.handle, 'chains', clients);
      let total = 0;
      for (let counter = 0; counter < counters; counter++) {
        const steppedFrom = logs.flatMap((one) => one[counter]).sort((a, b) => a - b);
        expect(steppedFrom).toEqual(Array.from({ length: steppedFrom.length }, (_, i) => i));
        expect(store.tree.get(counter)).toBe(steppedFrom.length);
        total += steppedFrom.length;
      }
      expect(total).toBe(3 * steps);
      await agreeOnReplicas(store, [...store.tree.range()]);
    });
  });
});

describe('a flood of calls that nobody awaits', () => {
  it.each(MODELS)(
    '%s: 24,000 puts on few keys take effect in the order given, records as they were then',
    async (model) => {
      const record = RECORDS[0];
      const calls = model === 'psmr' ? 1200 : 24_000;
      await withStore({ model, executors: 2, replicas: 2, ring: 256, value: record.type }, async (store) => {
        const answers: Promise<unknown>[] = [];
        // One object, changed again and again: every call takes it as it is.
        const value = { n: 0 };
        for (let i = 0; i < calls; i++) {
          value.n = i;
          answers.push(model === 'psmr' && i > 20 ? store.update(i % 7, value) : store.put(i % 7, value));
          if (i % 500 === 499) answers.push(store.get(i % 7).then((found) => expect(found).toEqual({ n: i })));
        }
        value.n = 999_999;
        await inTime('all answers', Promise.all(answers), 40_000);
        const entries: [AnyKey, unknown][] = [];
        for (let key = 0; key < 7; key++) {
          let last = calls - 1;
          while (last % 7 !== key) last--;
          entries.push([key, { n: last }]);
        }
        await agreeOnReplicas(store, entries);
      });
    },
  );

  it('answers equal sequential execution, and blocking calls queue up behind it', async () => {
    await seeded('flood', async (random) => {
      await withStore({ executors: 2, replicas: 2, fanout: 4, ring: 256, value: 'u32' }, async (store) => {
        const commands = new Commands(random, 'u32', U32, 200);
        const oracle = oracleOf(U32);
        const list = Array.from({ length: 15_000 }, () => commands.next(0.2));
        const methods = store as unknown as Methods;
        const results = list.map(([name, ...args], i) =>
          methods[i > 9000 && i % 1000 === 0 ? `${name}Sync` : name](...args),
        );
        compare(oracle, list, await inTime('all answers', Promise.all(results), 40_000));
        agree('count', store.countSync(), answer(oracle, ['count']));
        await agreeOnReplicas(store, oracle.entries);
      });
    })();
  });
});
