/**
 * Stores judged from outside: what clients in threads of their own called and were answered, under every execution model,
 * has to be linearizable. Then the same with a fault planted in a client, or in what was recorded: it has to show.
 *
 * What is not promised is left out: with `direct`, `count`, `getAll` and `putAll` are not atomic. Direct reads are
 * linearizable key by key; beside `putAll`, of which they may see a part, no order of all keys need exist.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { modelNames, type StoreOptions } from '../dist/index.js';
import type { Key, Operation } from './support/history.ts';
import { checkLinearizability } from './support/linearizability.ts';
import { prove } from './support/proof.ts';
import { Random, SEED, seeded } from './support/random.ts';
import { makeClock, record } from './support/recorder.mjs';
import { type AnyStore, ClientThread, inTime, runClients, until, withStore } from './support/stores.ts';

/** With four entries in a leaf, inserts and deletes among these make the tree grow and shrink all the time. */
const KEYS: readonly Key[] = Array.from({ length: 12 }, (_, i) => 10 * i);

/** What client threads do; see the task 'history' of client-thread.mjs. */
interface Load {
  readonly operations: number;
  readonly ms: number;
  /** Of a thousand commands so many on several keys; `columns`: count, getAll and putAll among them. */
  readonly wide?: number;
  readonly columns?: boolean;
  /** getAll and putAll are atomic batches instead, but within batches. */
  readonly atomic?: boolean;
  /** A direct read behind every call or batch: of keys, or of neighbours and ranges too. */
  readonly direct?: 'keys' | 'ranges';
  readonly fault?: string;
}

const LOADS: Readonly<Record<string, Load>> = {
  'single keys, direct lookups': { operations: 2500, ms: 130, direct: 'keys' },
  'all commands': { operations: 700, ms: 130, wide: 100 },
  'atomic batches beside all commands': { operations: 700, ms: 130, wide: 250, atomic: true },
  'ranges, direct reads of all kinds': { operations: 700, ms: 130, wide: 60, columns: false, direct: 'ranges' },
};

/** The arguments of three clients that begin together. */
function clientsWith(load: Load, clock: Int32Array, keys: readonly Key[]): object[] {
  const waiting = new Int32Array(new SharedArrayBuffer(4)).fill(3);
  return [0, 1, 2].map((client) => ({ client, clock, waiting, keys, ...load }));
}

/** Lets three clients at a store; what they recorded, and how the store stood in the end. */
async function observe(store: AnyStore, load: Load, keys = KEYS): Promise<Operation[]> {
  const clock = makeClock();
  const clients = clientsWith(load, clock, keys);
  const history = (await runClients<Operation[]>(store.handle, 'history', clients)).flat();
  const last = record(store, 'last', clock);
  last.getManySync(keys);
  if (load.wide) last.rangeSync();
  return [...history, ...last.operations];
}

describe.each(modelNames)('%s', (model) => {
  const loads = new Random(SEED, `loads ${model}`).shuffled(Object.entries(LOADS));
  const shapes =
    model === 'direct'
      ? [[1, 1, 1]]
      : [
          [1, 3, 3],
          [2, 2, 3],
          [3, 2, 2],
        ];
  // Every load and every shape on every model, together now in this way, now in that.
  const cases = loads.map(([name, load], i) => {
    const [replicas, executors, groups] = shapes[i % shapes.length];
    return { replicas, executors, groups, name, load };
  });

  it.each(cases)('$replicas replicas, $executors executors: $name', async ({ name: _, load, ...shape }) => {
    await withStore({ model, ...shape, fanout: 4, ring: 256 }, async (store) => {
      const history = await observe(store, model === 'direct' ? { ...load, columns: false } : load);
      expect(history.length).toBeGreaterThan(200);
      expect(store.stats().tree.splits).toBeGreaterThan(0);
      prove(history, { clientOrder: true });
    });
  });
});

describe('execute-verify with blind guesses', () => {
  const shape: Partial<StoreOptions> = { model: 'execute-verify', mixer: 'blind', executors: 2, fanout: 4 };

  it.each([1, 2])('%d replicas: commands are linearizable, if not in the order of a client', async (replicas) => {
    await withStore({ ...shape, replicas }, async (store) => {
      prove(await observe(store, LOADS['all commands'], KEYS.slice(0, 6)));
    });
  });

  it('direct reads are not: they see what is undone', async () => {
    await withStore({ ...shape, replicas: 1 }, async (store) => {
      const adds = new ClientThread(store.handle, 'adds', { client: 0, rounds: 1e6, keys: 1 });
      await adds.connected;
      let greatest = 0;
      const wentBack = () => {
        const before = greatest;
        greatest = Math.max(greatest, (store.tree.get(0) ?? 0) as number);
        return ((store.tree.get(0) ?? 0) as number) < before;
      };
      const end = performance.now() + 10_000;
      while (!wentBack()) if (performance.now() > end) throw new Error('a sum that only grows never went back');
      await adds.worker.terminate();
    });
  });
});

describe('the home replica is lost meanwhile', () => {
  it.each(['opt-psmr', 'keyed', 'execute-verify'] as const)('%s', async (model) => {
    await withStore({ model, executors: 2, replicas: 2, fanout: 4, ring: 256 }, async (store) => {
      const clock = makeClock();
      const load: Load = { operations: 2000, ms: 400, wide: 30, columns: false, direct: 'ranges' };
      const logs = runClients<Operation[]>(store.handle, 'history', clientsWith(load, clock, KEYS));
      logs.catch(() => {});
      await until('commands', () => Atomics.load(clock, 0) > 400);
      await store.kill(store.status().home, 0);
      const history = (await logs).flat();
      await until('the takeover', () => store.status().failovers === 1);
      const last = record(store, 'last', clock);
      last.getManySync(KEYS);
      // Not in the order of each client: a read under way then may see what the client wrote behind it.
      prove([...history, ...last.operations]);
    });
  });
});

describe('faults in a client', () => {
  it.each(['early', 'twice', 'lost', 'stale', 'torn'])('one that is %s is found out', async (fault) => {
    const load = fault === 'torn' ? { operations: 700, ms: 130, wide: 500 } : LOADS['single keys, direct lookups'];
    await withStore({ model: 'keyed', executors: 2, replicas: 1, fanout: 4 }, async (store) => {
      // Whether somebody meets the fault is up to the threads.
      for (let tries = 0; tries < 20; tries++) {
        const initial = [...store.tree.range()];
        const { verdict } = checkLinearizability(await observe(store, { ...load, fault }), { initial });
        if (verdict === 'violation') return;
        expect(verdict).toBe('ok');
      }
      throw new Error('it was not');
    });
  });

  it('one that reads a replica that is not home is found out', async () => {
    await withStore({ model: 'smr', replicas: 2, fanout: 4 }, async (store) => {
      const clock = makeClock();
      const writer = record(store, 'writer', clock);
      const away = record({ tree: store.replica(1) } as unknown as AnyStore, 'away', clock);
      for (let i = 0; i < 20_000; i++) {
        writer.putSync(0, i);
        if (away.tree.get(0) !== i) break;
      }
      const history = [...writer.operations, ...away.operations];
      expect(checkLinearizability(history)).toMatchObject({ verdict: 'violation', keys: [0] });
    });
  });
});

describe('outcomes that the end of a store leaves unknown', () => {
  it('may have taken effect or not', async () => {
    await withStore({ executors: 2, replicas: 2, fanout: 4 }, async (store) => {
      const clock = makeClock();
      const threads = clientsWith({ operations: 1e9, ms: 1e9, wide: 30 }, clock, KEYS).map(
        (args) => new ClientThread<Operation[]>(store.handle, 'history', args),
      );
      await until('commands', () => Atomics.load(clock, 0) > 1000);
      const last = record(store, 'last', clock);
      const some = Promise.allSettled(KEYS.map((key) => last.add(key, 1)));
      await store.close();
      await some;
      const logs = await inTime('clients of a closed store', Promise.all(threads.map(({ result }) => result)));
      const history = [...logs.flat(), ...last.operations];
      expect(history.filter((operation) => operation.return === null).length).toBeGreaterThan(0);
      prove(history, { clientOrder: true });
    });
  });
});

describe('a fault planted in what was recorded', () => {
  let keys: Operation[] = [];
  let all: Operation[] = [];
  beforeAll(async () => {
    await withStore({ model: 'opt-psmr', executors: 2, replicas: 2, fanout: 4 }, async (store) => {
      keys = await observe(store, { ...LOADS['single keys, direct lookups'], ms: 2000 });
    });
    await withStore({ model: 'opt-psmr', executors: 2, replicas: 2, fanout: 4 }, async (store) => {
      all = await observe(store, { ...LOADS['all commands'], ms: 2000 });
    });
    prove(keys);
    prove(all);
  });

  const WRITES = ['put', 'insert', 'update', 'compareAndSet'];
  const written = ({ op, value }: Operation) => (op === 'compareAndSet' ? (value as unknown[])[1] : value);
  /** Reads of what one operation has written, and that operation: no value is written twice. */
  const pairs = (history: readonly Operation[]) => {
    const writers = new Map(history.filter(({ op }) => WRITES.includes(op)).map((one) => [written(one), one]));
    return history
      .filter(({ op, result }) => op === 'get' && writers.has(result))
      .map((read) => ({ read, write: writers.get(read.result) as Operation }));
  };

  /** From a history one that is certainly wrong. */
  const plant: Record<string, (random: Random) => Operation[]> = {
    'results of two reads are swapped'(random) {
      const found = pairs(keys);
      for (;;) {
        const early = random.pick(found).read;
        const { read: late, write } = random.pick(found);
        if (early.key !== late.key || (early.return as number) >= write.call) continue;
        return keys.map((one) => {
          if (one === early) return { ...one, result: late.result };
          return one === late ? { ...one, result: early.result } : one;
        });
      }
    },
    'a write is dropped'(random) {
      const { write } = random.pick(pairs(keys));
      return keys.filter((one) => one !== write);
    },
    'a write has not happened yet'(random) {
      const { write, read } = random.pick(pairs(keys));
      const late = (read.return as number) + 0.5;
      return keys.map((one) => (one === write ? { ...one, call: late, return: Math.max(late, one.return ?? 0) } : one));
    },
    'a read comes before its write'(random) {
      const { write, read } = random.pick(pairs(keys));
      const early = { ...read, call: write.call - 0.5, return: write.call - 0.5 };
      return keys.map((one) => (one === read ? early : one));
    },
    'a compareAndSet happens twice'(random) {
      const done = keys.filter(({ op, result, value }) => {
        const [expected] = Array.isArray(value) ? value : [];
        // Not what an add may have brought back.
        return op === 'compareAndSet' && result === true && expected % 1000 === 0;
      });
      return [...keys, random.pick(done)];
    },
    'an add happens twice'(random) {
      // Not to what an add makes of nothing: that may come again.
      const adds = keys.filter(({ op, result }) => op === 'add' && (result as number) >= 1000);
      return [...keys, random.pick(adds)];
    },
    'an entry is missing in a range'(random) {
      const last = all.findIndex(({ client, op }) => client === 'last' && op === 'range');
      const entries = all[last].result as unknown[];
      return all.with(last, { ...all[last], result: entries.toSpliced(random.below(entries.length), 1) });
    },
    'a count is wrong'(random) {
      const counts = all.filter(({ op }) => op === 'count');
      const one = random.pick(counts);
      return all.map((other) => (other === one ? { ...one, result: (one.result as number) + KEYS.length + 1 } : other));
    },
    'a getAll sees a value of another key, or of none'(random) {
      const { read } = random.pick(pairs(all));
      const at = all.findIndex(({ op }) => op === 'getAll');
      const result = (all[at].result as unknown[]).with(0, read.result);
      const [key] = all[at].key as Key[];
      return all.with(at, { ...all[at], result: key === read.key ? result.with(0, -1) : result });
    },
  };

  it.each(Object.keys(plant))('%s', (name) =>
    seeded(name, (random) => {
      for (let i = 0; i < 4; i++) expect(checkLinearizability(plant[name](random)).verdict).toBe('violation');
    })(),
  );
});

describe('the recorder', () => {
  it('writes down what was called, and when', async () => {
    await withStore({ executors: 1, replicas: 1 }, async (store) => {
      const clock = makeClock();
      const one = record(store, 'one', clock);
      const keys = [1, 2];
      const values = Float64Array.of(5, 6);
      const both = one.putAll(keys, values as never);
      keys[0] = 9;
      expect(one.getSync(1)).toBe(5);
      expect(await both).toBe(2);
      expect(
        await one.batch([
          ['compareAndSet', 1, 5, 7],
          ['range', { lte: 1 }],
        ]),
      ).toEqual([true, [[1, 7]]]);
      expect(one.getManySync([2, 3])).toEqual([6, undefined]);
      expect(one.tree.range({ gte: 2 })).toEqual([[2, 6]]);
      const client = 'one';
      expect(one.operations).toEqual([
        { client, op: 'putAll', key: [1, 2], value: [5, 6], result: 2, call: 0, return: 3 },
        { client, op: 'get', key: 1, value: undefined, result: 5, call: 1, return: 2 },
        { client, op: 'compareAndSet', key: 1, value: [5, 7], result: true, call: 4, return: 5 },
        { client, op: 'range', key: { lte: 1 }, value: undefined, result: [[1, 7]], call: 4, return: 5 },
        { client, op: 'get', key: 2, value: undefined, result: 6, call: 6, return: 7 },
        { client, op: 'get', key: 3, value: undefined, result: undefined, call: 6, return: 7 },
        { client: 'one direct', op: 'range', key: { gte: 2 }, value: undefined, result: [[2, 6]], call: 8, return: 9 },
      ]);
      prove(one.operations);
    });
  });

  it('leaves out what certainly had no effect, and leaves open what may have had one', async () => {
    await withStore({ executors: 1, replicas: 1 }, async (store) => {
      const one = record(store, 'one', makeClock());
      await expect(one.put(-1, 1)).rejects.toThrow();
      expect(() => one.putSync('x' as never, 1)).toThrow();
      expect(() =>
        one.batchSync([
          ['put', 1, 1],
          ['put', 1, 'x'],
        ]),
      ).toThrow();
      expect(one.operations).toEqual([]);
      const pending = one.put(1, 1).catch(() => {});
      expect(one.operations).toMatchObject([{ op: 'put', call: 3, return: null }]);
      await pending;
      await store.close();
      await expect(one.put(1, 2)).rejects.toThrow();
      expect(one.operations).toMatchObject([
        { op: 'put', return: 4 },
        { op: 'put', call: 5, return: null },
      ]);
    });
  });

  it('refuses a range in pieces', async () => {
    await withStore({ executors: 1, replicas: 1 }, async (store) => {
      const size = store.rangeLimit + 1;
      await store.putMany(
        Array.from({ length: size }, (_, i) => i),
        new Array(size).fill(0),
      );
      const one = record(store, 'one', makeClock());
      expect(() => one.rangeSync()).toThrow('in pieces');
    });
  });
});
