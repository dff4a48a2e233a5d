/**
 * Every model answers exactly what sequential execution answers, command by command, and leaves equal replicas. One client
 * gives random commands of every kind, in batches that are larger than the small rings, and an oracle executes them.
 */
import { describe, expect, it } from 'vitest';
import { type Command, modelNames, open, type Store, type StoreOptions } from '../dist/index.js';
import { Oracle, same } from './support/oracle.ts';
import { type Random, seeded } from './support/random.ts';

type Numeric = Exclude<Command<number, number>, readonly ['getAll' | 'putAll', ...unknown[]]>;

/** A random command on few keys, so that they meet. */
function command(random: Random, keys: number): Numeric {
  const key = random.below(keys);
  const value = random.below(5);
  switch (random.below(16)) {
    case 0:
      return ['get', key];
    case 1:
      return ['has', key];
    case 2:
      return ['update', key, value];
    case 3:
      return ['compareAndSet', key, value, random.below(5)];
    case 4:
      return ['add', key, value];
    case 5:
    case 6:
    case 7:
      return ['insert', key, value];
    case 8:
    case 9:
      return ['put', key, value];
    case 10:
    case 11:
    case 12:
      return ['delete', key];
    case 13:
      return [random.pick(['floor', 'ceiling', 'lower', 'higher'] as const), key];
    case 14:
      return [random.pick(['first', 'last', 'count'] as const)];
    default:
      return ['range', { gte: key, lt: key + random.below(50), reverse: random.chance(0.5), limit: random.below(20) }];
  }
}

/** What the oracle answers. */
function answer(oracle: Oracle<number, number>, [name, ...args]: Numeric): unknown {
  if (name === 'count') return oracle.size;
  return (oracle[name] as (...given: unknown[]) => unknown)(...args);
}

/** Compares results one by one. */
function compare(oracle: Oracle<number, number>, commands: readonly Numeric[], results: readonly unknown[]): void {
  expect(results.length).toBe(commands.length);
  for (let i = 0; i < commands.length; i++) {
    const wanted = answer(oracle, commands[i]);
    if (!same(results[i], wanted)) {
      throw new Error(
        `command ${i} ${JSON.stringify(commands[i])}: ${JSON.stringify(results[i])}, sequentially ${JSON.stringify(wanted)}`,
      );
    }
  }
}

/** All replicas hold what the oracle holds, and every tree is whole. */
async function expectEqualReplicas(store: Store, oracle: Oracle<number, number>): Promise<void> {
  const digests = await store.digests();
  expect(digests.length).toBe(store.stats().replicas);
  for (const { replica, digest, entries } of digests) {
    expect(digest).toBe(digests[0].digest);
    expect(entries).toBe(oracle.size);
    expect([...store.replica(replica).range()]).toEqual(oracle.entries);
    expect(store.replica(replica).check().entries).toBe(oracle.size);
  }
}

const MODELS = modelNames.filter((name) => name !== 'direct');
const SHAPES: (Partial<StoreOptions> & { label: string })[] = [
  { label: '1 executor, 1 replica, fan-out 4', executors: 1, replicas: 1, fanout: 4 },
  { label: '2 executors, 2 replicas, fan-out 4', executors: 2, replicas: 2, fanout: 4 },
  {
    label: '2 executors, 5 groups, 2 replicas, small rings at the wrap',
    executors: 2,
    groups: 5,
    replicas: 2,
    fanout: 5,
    ring: 256,
    ringStart: 2 ** 32 - 700,
  },
  { label: '4 executors, 3 replicas, fan-out 4, small rings', executors: 4, replicas: 3, fanout: 4, ring: 256 },
  {
    label: '2 executors, 2 replicas, full nodes, yielding',
    executors: 2,
    replicas: 2,
    wait: 'yield',
    ringStart: 2 ** 31 - 300,
  },
];

describe.each(MODELS)('%s', (model) => {
  it.each(SHAPES)('$label', async ({ label, ...shape }) => {
    const options: Partial<StoreOptions> = shape;
    await seeded(`${model} ${label}`, async (random) => {
      const store = (await open({ key: 'u32', value: 'f64', model, memory: '64MB', ...options })) as unknown as Store;
      try {
        const oracle = new Oracle<number, number>(0, (a, b) => a + b);
        // psmr stops everybody for nearly every command.
        const rounds = model === 'psmr' ? 6 : 16;
        for (let round = 0; round < rounds; round++) {
          const keys = random.pick([20, 300]);
          const commands = Array.from({ length: 1 + random.below(random.pick([4, 300])) }, () => command(random, keys));
          compare(oracle, commands, random.chance(0.5) ? store.batchSync(commands) : await store.batch(commands));
        }
        await expectEqualReplicas(store, oracle);
      } finally {
        await store.close();
      }
    })();
  });
});

describe('opt-psmr', () => {
  it('refuses, defers and retries under a load that changes the structure, and the outcome is sequential', async () => {
    await seeded('refusals', async (random) => {
      const store = await open({
        key: 'u32',
        value: 'f64',
        model: 'opt-psmr',
        executors: 2,
        replicas: 2,
        fanout: 4,
        memory: '64MB',
      });
      try {
        const oracle = new Oracle<number, number>(0, (a, b) => a + b);
        for (let round = 0; round < 30; round++) {
          const commands: Numeric[] = [];
          while (commands.length < 400) {
            const key = random.below(2000);
            // The second and third command depend on the first, whether or not it is refused.
            if (random.chance(0.55)) commands.push(['insert', key, round], ['add', key, 1], ['get', key]);
            else commands.push(['delete', key], ['has', key], ['insert', key, -round], ['delete', key]);
          }
          compare(oracle, commands, store.batchSync(commands));
        }
        const { refused, deferred, retried, syncPoints, tree } = store.stats();
        expect(refused).toBeGreaterThan(50);
        expect(deferred).toBeGreaterThan(50);
        expect(retried).toBeGreaterThan(0);
        expect(syncPoints).toBeGreaterThan(0);
        expect(tree.splits).toBeGreaterThan(0);
        expect(tree.merges).toBeGreaterThan(0);
        await expectEqualReplicas(store, oracle);
      } finally {
        await store.close();
      }
    })();
  });

  it('a window stays right when one executor is far behind the other', async () => {
    // 50,000 commands in one call: places of the client's window come free out of order.
    const store = await open({
      key: 'u32',
      value: 'u32',
      model: 'opt-psmr',
      executors: 2,
      replicas: 1,
      memory: '64MB',
    });
    try {
      const keys = Uint32Array.from({ length: 50_000 }, (_, i) => Math.imul(i, 2654435761) >>> 0);
      expect(store.putManySync(keys, keys)).toBe(keys.length);
      expect(store.getManySync(keys)).toEqual(Array.from(keys));
      expect(await store.deleteMany(keys)).toBe(keys.length);
      expect(await store.count()).toBe(0);
    } finally {
      await store.close();
    }
  });

  it('20,000 unawaited puts on one key take effect in the order given', async () => {
    const store = await open({
      key: 'u32',
      value: 'u32',
      model: 'opt-psmr',
      executors: 2,
      replicas: 2,
      ring: 256,
      memory: '64MB',
    });
    try {
      const answers: Promise<unknown>[] = [];
      for (let i = 0; i < 20_000; i++) answers.push(store.put(7, i), store.add(i % 3, 1));
      answers.push(store.get(7));
      expect((await Promise.all(answers)).at(-1)).toBe(19_999);
      expect(store.tree.get(0)).toBe(6667);
    } finally {
      await store.close();
    }
  });
});
