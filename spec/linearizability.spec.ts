/**
 * Stores judged from outside: what clients in threads of their own called and were answered, under every execution model,
 * has to be linearizable. Then the same with a fault planted in a client, or in what was recorded: it has to show.
 *
 * What is not promised is left out: with `direct`, `count`, `getAll` and `putAll` are not atomic. Direct reads are
 * linearizable key by key; beside `putAll`, of which they may see a part, no order of all keys need exist.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { connect, type ModelName, modelNames, type StoreOptions } from '../dist/index.js';
import { type Key, type Operation, readHistory, writeHistory } from './support/history.ts';
import { checkLinearizability, type Verdict } from './support/linearizability.ts';
import { prove } from './support/proof.ts';
import { Random, SEED, seeded } from './support/random.ts';
import { makeClock, record } from './support/recorder.mjs';
import { type AnyStore, ClientThread, inTime, runClients, withStore } from './support/stores.ts';

/** With four entries in a leaf, inserts and deletes among these make the tree grow and shrink all the time. */
const KEYS: readonly Key[] = Array.from({ length: 12 }, (_, i) => 10 * i);

/** What client threads do; see the task 'history' of client-thread.mjs. */
interface Load {
  readonly operations: number;
  readonly ms: number;
  /** Of a thousand commands so many on several keys; `columns`: count, getAll and putAll among them. */
  readonly wide?: number;
  readonly columns?: boolean;
  /** A direct read behind every call or batch: of keys, or of neighbours and ranges too. */
  readonly direct?: 'keys' | 'ranges';
  readonly fault?: string;
}

const LOADS = {
  'single keys, direct lookups': { operations: 2500, ms: 250, direct: 'keys' },
  'all commands': { operations: 700, ms: 250, wide: 100 },
  'ranges, direct reads of all kinds': { operations: 700, ms: 250, wide: 60, columns: false, direct: 'ranges' },
} as const satisfies Record<string, Load>;

/** Lets three clients at a store; what they recorded, and how the store stood in the end. */
async function observe(store: AnyStore, load: Load, keys = KEYS): Promise<Operation[]> {
  const clock = makeClock();
  const clients = [0, 1, 2].map((client) => ({ client, clock, keys, ...load }));
  const history = (await runClients<Operation[]>(store.handle, 'history', clients)).flat();
  const last = record(store, 'last', clock);
  last.getManySync(keys);
  if (load.wide) last.rangeSync();
  return [...history, ...last.operations];
}

describe.each(modelNames)('%s', (model) => {
  const loads = new Random(SEED, `loads ${model}`).shuffled(Object.keys(LOADS) as (keyof typeof LOADS)[]);
  const shapes =
    model === 'direct'
      ? [[1, 1]]
      : [
          [1, 3],
          [2, 2],
          [3, 2],
        ];
  // Every load on every model, now with the one shape, now with the other.
  const cases = loads.map((load, i) => [...shapes[i % shapes.length], load] as const);

  it.each(cases)('%d replicas, %d executors: %s', async (replicas, executors, name) => {
    const load: Load = LOADS[name];
    const shape = { model, replicas, executors, fanout: 4, ring: 256 };
    await withStore(shape, async (store) => {
      const history = await observe(store, model === 'direct' ? { ...load, columns: false } : load);
      expect(history.length).toBeGreaterThan(150);
      expect(store.stats().tree.splits).toBeGreaterThan(0);
      prove(history, { clientOrder: true });
    });
  });
});

describe('execute-verify with blind guesses', () => {
  const shape: Partial<StoreOptions> = { model: 'execute-verify', mixer: 'blind', executors: 2, fanout: 4 };
  it.each([1, 2])('%d replicas: commands stay linearizable', async (replicas) => {
    await withStore({ ...shape, replicas }, async (store) => {
      prove(await observe(store, LOADS['all commands'], KEYS.slice(0, 4)));
    });
  });

  it('direct reads do not: they see what is undone', async () => {
    await withStore({ ...shape, replicas: 1 }, async (store) => {
      const clock = makeClock();
      const load = { client: 0, clock, keys: [0], operations: 1e9, ms: 300 };
      const writer = new ClientThread<Operation[]>(store.handle, 'history', load);
      await writer.connected;
      const reader = record(store, 'reader', clock);
      for (const end = performance.now() + 400; performance.now() < end; ) reader.tree.get(0);
      const history = [...(await writer.result), ...reader.operations];
      console.log(checkLinearizability(history).verdict, history.length, store.stats().retried);
    });
  });
});
