/**
 * Every execution model against sequential execution: shapes drawn at random from all there are, commands of every kind
 * given in every way, results compared one by one and replicas entry by entry. Then rings so small that they are always
 * full, and replicas that stand still.
 */
import { describe, expect, it } from 'vitest';
import { type ModelName, modelNames, type StoreOptions } from '../dist/index.js';
import { OP_SKIP } from '../dist/layout/operation.js';
import { RING_CLAIM } from '../dist/layout/streams.js';
import { modelOf } from '../dist/workers/models/index.js';
import { Multicast } from '../dist/workers/multicast.js';
import { FULL, type GroupRing } from '../dist/workers/ring.js';
import { groupOf } from '../dist/workers/streams.js';
import { type Random, seeded } from './support/random.ts';
import {
  type AnyCommand,
  type AnyStore,
  agreeOnReplicas,
  Commands,
  compare,
  inTime,
  oracleOf,
  REPLICATED,
  stall,
  until,
  withStore,
} from './support/stores.ts';
import { agree } from './support/trees.ts';
import { type AnyKey, KEY_TYPES, SCALARS, VALUES } from './support/values.ts';

/** `direct` has no order and no replicas; one client alone finds it sequential too. */
const F64 = SCALARS[2];

type Methods = Record<string, (...args: unknown[]) => unknown>;

/** A shape from the whole product of what can be chosen. */
function drawShape(random: Random, model: ModelName): Partial<StoreOptions> {
  const executors = random.pick([1, 2, 4]);
  const replicas = model === 'direct' ? 1 : random.pick([1, 2, 3]);
  const back = 1 + random.below(400);
  const groups = random.pick([executors, executors + 1, 2 * executors + 1, 32]);
  const fanout = random.pick([4, 5, 0]);
  return {
    model,
    executors,
    replicas,
    ...(model === 'smr' ? {} : { groups }),
    ...(fanout === 0 ? {} : { fanout }),
    // Threads that never sleep, and more of them than cores, are slow to no end.
    wait: executors * replicas === 1 ? random.pick(['park', 'yield', 'spin']) : random.pick(['park', 'yield']),
    ring: random.pick([256, 256, 4096]),
    ringStart: random.pick([0, 2 ** 31 - back, 2 ** 32 - back]),
  };
}

/** Gives commands in one of the ways there are, and answers their results in order. */
async function give(random: Random, store: AnyStore, commands: readonly AnyCommand[]): Promise<unknown[]> {
  const methods = store as unknown as Methods;
  switch (random.below(5)) {
    case 0:
      return store.batch(commands as never);
    case 1:
      return store.batchSync(commands as never);
    case 2:
      return Promise.all(commands.map(([name, ...args]) => methods[name](...args)));
    case 3:
      return commands.map(([name, ...args]) => methods[`${name}Sync`](...args));
    default: {
      // Some that are not awaited, then a blocking one, which must come after them, and so on.
      const results: unknown[] = [];
      for (const [name, ...args] of commands) {
        results.push(methods[random.chance(0.2) ? `${name}Sync` : name](...args));
      }
      return Promise.all(results);
    }
  }
}

/** The calls that take columns. */
async function giveColumns(random: Random, store: AnyStore, commands: Commands, oracle: ReturnType<typeof oracleOf>) {
  const length = random.below(60);
  const keys = Array.from({ length }, () => commands.key());
  const values = keys.map(() => commands.value());
  const sync = random.chance(0.5);
  const put = sync ? store.putManySync(keys, values) : store.putMany(keys, values);
  const got = sync ? store.getManySync(keys) : store.getMany(keys);
  const half = keys.slice(0, length >> 1);
  const gone = sync ? store.deleteManySync(half) : store.deleteMany(half);
  agree('putMany', await put, oracle.putMany(keys, values));
  agree('getMany', await got, oracle.getMany(keys));
  agree('deleteMany', await gone, oracle.deleteMany(half));
}

describe.each(modelNames)('%s, one client', (model) => {
  it.each([0, 1])('random shape %d', async (i) => {
    await seeded(`${model} shape ${i}`, async (random) => {
      const shape = drawShape(random, model);
      const key = random.pick(KEY_TYPES);
      const values = random.pick(random.chance(0.6) ? SCALARS : VALUES);
      try {
        const locality = key === 'f64' ? 1 : random.pick([1, 1, 16]);
        await withStore({ ...shape, key, locality, value: values.type, memory: '48MB' }, async (store) => {
          // In a batch a range answers at most so many entries.
          const pool = Math.min(random.pick([20, 150]), store.rangeLimit);
          const commands = new Commands(random, key, values, pool);
          const oracle = oracleOf(values);
          for (let round = 0; round < 14; round++) {
            const size = 1 + random.below(random.pick([5, 60, model === 'psmr' ? 100 : 400]));
            const some: AnyCommand[] = [];
            while (some.length < size) {
              if (random.chance(0.3)) some.push(...commands.chain());
              else some.push(commands.next());
            }
            compare(oracle, some, await inTime(`round ${round}`, give(random, store, some)));
            if (random.chance(0.4)) await giveColumns(random, store, commands, oracle);
          }
          await agreeOnReplicas(store, oracle.entries);
        });
      } catch (error) {
        if (error instanceof Error) error.message += `\n${JSON.stringify(shape)} ${key} ${values.name}`;
        throw error;
      }
    })();
  });

  it('ordered ranges longer than a reply, with every option', async () => {
    await seeded(`${model} long ranges`, async (random) => {
      await withStore({ model, executors: 2, replicas: model === 'direct' ? 1 : 2, groups: 3 }, async (store) => {
        const size = 2.3 * store.rangeLimit;
        const keys = Array.from({ length: size }, (_, i) => i * 2);
        const entries = keys.map((key): [AnyKey, unknown] => [key, key + 0.5]);
        if (model === 'psmr') {
          // One sync point each would take long: a few of them suffice.
          keys.length = entries.length = Math.min(keys.length, store.rangeLimit + 50);
        }
        await store.putMany(
          keys,
          keys.map((key) => key + 0.5),
        );
        const oracle = oracleOf(F64);
        oracle.entries = entries;
        agree('whole', await store.range(), oracle.range());
        for (let i = 0; i < 12; i++) {
          const bound = () => random.below(2 * keys.length);
          const options: Record<string, unknown> = { reverse: random.chance(0.5) };
          const low = random.pick(['gt', 'gte', undefined]);
          const high = random.pick(['lt', 'lte', undefined]);
          if (low !== undefined) options[low] = bound() >> 3;
          if (high !== undefined) options[high] = 2 * keys.length - (bound() >> 3);
          const { rangeLimit } = store;
          options.limit = random.pick([rangeLimit - 1, rangeLimit, rangeLimit + 1, 2 * rangeLimit, keys.length, 1e9]);
          const found = random.chance(0.5) ? await store.range(options) : store.rangeSync(options);
          agree(JSON.stringify(options), found, oracle.range(options));
        }
        // In a batch, a range is one command with one reply.
        const [first, count] = await store.batch([['range', {}], ['count']]);
        agree('range in a batch', first, oracle.range({ limit: store.rangeLimit }));
        agree('count', count, keys.length);
      });
    })();
  });
});

/** Counts how often this client found a ring full. */
function countFull(store: AnyStore): () => number {
  const { multicast } = store.client as unknown as { multicast: { rings: GroupRing[]; tryAppend: () => boolean } };
  let full = 0;
  const tryAppend = multicast.tryAppend.bind(multicast);
  multicast.tryAppend = (...args: []) => {
    const done = tryAppend(...args);
    if (!done) full++;
    return done;
  };
  for (const ring of multicast.rings) {
    const append = ring.tryAppend.bind(ring);
    ring.tryAppend = (...args) => {
      const position = append(...args);
      if (position < 0) full++;
      return position;
    };
  }
  return () => full;
}

describe('opt-psmr', () => {
  it.each([1, 2, 4])('%d executors: refuses, defers, retries; the outcome stays sequential', async (executors) => {
    await seeded(`refusals ${executors}`, async (random) => {
      const shape: Partial<StoreOptions> = { model: 'opt-psmr', executors, replicas: 2, fanout: 4, ring: 1024 };
      await withStore({ ...shape, groups: executors + 1 }, async (store) => {
        const commands = new Commands(random, 'u32', F64, 400);
        const oracle = oracleOf(F64);
        for (let round = 0; round < 12; round++) {
          const some: AnyCommand[] = [];
          while (some.length < 300) some.push(...commands.chain());
          compare(oracle, some, round % 2 === 0 ? store.batchSync(some as never) : await store.batch(some as never));
        }
        await agreeOnReplicas(store, oracle.entries);
        const { refused, deferred, syncPoints, tree, perExecutor } = store.stats();
        const { splits, merges } = tree;
        // (Not retried: what else brings a sync point about may always come first.)
        for (const [name, counter] of Object.entries({ refused, deferred, syncPoints, splits, merges })) {
          expect(counter, name).toBeGreaterThan(0);
        }
        expect(deferred).toBeGreaterThan(refused / 4);
        // Every executor of every replica had its share.
        for (const one of perExecutor) expect(one.refused + one.deferred).toBeGreaterThan(0);
      });
    })();
  });

  it('a command that was refused takes effect at its first place, not where its retry stands', async () => {
    await withStore({ model: 'opt-psmr', executors: 2, replicas: 2, fanout: 4 }, async (store) => {
      // Ascending keys: every third insert or so meets a full leaf.
      for (let k = 0; k < 400; k++) {
        const results = store.batchSync([
          ['insert', k, 1],
          ['update', k, 2],
          ['get', k],
          ['delete', k],
          ['get', k],
          ['insert', k, 3],
          ['compareAndSet', k, 3, 4],
          ['add', k, 10],
        ]);
        expect(results).toEqual([true, true, 2, true, undefined, true, true, 4]);
      }
      const { refused, deferred, retried } = store.stats();
      expect(retried).toBeGreaterThan(0);
      expect(refused).toBeGreaterThan(50);
      expect(deferred).toBeGreaterThan(200);
      await agreeOnReplicas(
        store,
        Array.from({ length: 400 }, (_, k) => [k, 14]),
      );
    });
  });
});

/** The smallest u32 key of a group. */
function keyOfGroup(group: number, groups: number): number {
  for (let key = 0; ; key++) if (groupOf(key, 0, groups) === group) return key;
}

describe('rings of 256 slots, larger batches, 3 replicas', () => {
  it.each(REPLICATED)('%s, 4 executors on fewer cores: back-pressure, and no deadlock', async (model) => {
    await seeded(`tiny rings ${model}`, async (random) => {
      const shape: Partial<StoreOptions> = { model, executors: 4, replicas: 3, fanout: 4, ring: 256 };
      await withStore({ ...shape, groups: 5, ringStart: 2 ** 32 - 1000 }, async (store) => {
        const commands = new Commands(random, 'u32', F64, 300);
        const oracle = oracleOf(F64);
        const full = countFull(store);
        for (let round = 0; round < 3; round++) {
          const some: AnyCommand[] = [];
          const size = model === 'psmr' ? 250 : 5000;
          while (some.length < size) {
            if (random.chance(0.3)) some.push(...commands.chain());
            else some.push(commands.next(modelOf(model).oneStream ? 1 : 0.3));
          }
          const answers = random.chance(0.5) ? store.batchSync(some as never) : store.batch(some as never);
          compare(oracle, some, await inTime(`${size} commands`, Promise.resolve(answers), 40_000));
        }
        if (model !== 'psmr') expect(full()).toBeGreaterThan(0);
        await agreeOnReplicas(store, oracle.entries);
      });
    })();
  });

  it('a replica that stands still holds everybody up, loses nothing, and all goes on afterwards', async () => {
    await seeded('stalled replica', async (random) => {
      const shape: Partial<StoreOptions> = { model: 'opt-psmr', executors: 2, replicas: 3, fanout: 4, ring: 256 };
      await withStore({ ...shape, latchTimeout: 60_000, stallTimeout: 60_000 }, async (store) => {
        const commands = new Commands(random, 'u32', F64, 500);
        const oracle = oracleOf(F64);
        const some = (size: number, global: number) => {
          const list: AnyCommand[] = [];
          while (list.length < size) {
            if (random.chance(0.3)) list.push(...commands.chain());
            else list.push(commands.next(global));
          }
          return list;
        };
        const full = countFull(store);
        for (let round = 0; round < 3; round++) {
          const before = some(200, 2);
          compare(oracle, before, await store.batch(before as never));
          await store.digests();
          const goOn = stall(store, 2);
          const list = some(4000, round);
          const answers = store.batch(list as never);
          let settled = false;
          void answers.then(() => {
            settled = true;
          });
          const fullBefore = full();
          await until('full rings', () => full() > fullBefore + 20);
          await new Promise((resolve) => setTimeout(resolve, 60));
          expect(settled).toBe(false);
          goOn();
          compare(oracle, list, await inTime('after the stall', answers));
          await agreeOnReplicas(store, oracle.entries);
        }
      });
    })();
  });

  it('retries fit when everything else is full, so refused commands are answered', async () => {
    const shape: Partial<StoreOptions> = { model: 'opt-psmr', executors: 2, replicas: 3, fanout: 4, ring: 256 };
    // Slots are counted: no comparisons of the replicas, and nobody is taken for lost.
    const quiet = { latchTimeout: 60_000, stallTimeout: 60_000, compareEvery: 0 };
    await withStore({ ...shape, ...quiet, ringStart: 2 ** 32 - 100 }, async (store) => {
      const keys = Array.from({ length: 200 }, (_, key) => key);
      await store.putMany(keys, keys);
      await store.digests();
      const { streams } = store;
      const multicast = new Multicast(streams, 77);
      const { rings, keepFromSingles, keepFromMany } = multicast;
      const head = (group: number) => Atomics.load(streams.words, (streams.ring(group) + RING_CLAIM) >> 2);
      const cursor = (group: number, replica: number) =>
        Atomics.load(streams.words, streams.ringCursor(group, replica));
      const used = (group: number) => (head(group) - cursor(group, 2)) | 0;
      const caughtUp = () =>
        [0, 1].every((group) => [0, 1, 2].every((replica) => cursor(group, replica) === head(group)));
      // A skip takes a slot and nobody's time.
      const skips = new Uint8Array(64 * 64);
      for (let slot = 0; slot < 64; slot++) skips.set([OP_SKIP, 0, 1], slot * 64);
      const skip = skips.subarray(0, 64);
      const goOn = [0, 1, 2].map((replica) => stall(store, replica));
      // Every executor stands still at one command; what comes behind it stays in the rings.
      const start = [head(0), head(1)];
      const first = store.batch([0, 1].map((group) => ['put', keyOfGroup(group, 2), -1] as const));
      await until('executors at the first command', () => caughtUp() && head(0) !== start[0] && head(1) !== start[1]);
      for (const ring of rings) while (ring.tryAppend(skip, 1, keepFromSingles + 30) !== FULL);
      const before = [head(0), head(1)];
      const later = store.batch(Array.from({ length: 24 }, (_, i) => ['insert', 1000 + i, i] as const));
      await until('inserts in the rings', () => head(0) - before[0] + head(1) - before[1] === 24);
      for (const ring of rings) while (ring.tryAppend(skip, 1, keepFromSingles) !== FULL);
      const runs = rings.map(() => ({ bytes: skips, words: new Int32Array(skips.buffer), slots: 64, lastMarker: -1 }));
      expect(multicast.tryAppend(runs, [], 0)).toBe(true);
      expect([used(0), used(1)]).toEqual([256 - keepFromMany, 256 - keepFromMany]);
      // Two replicas go on, the third keeps the rings full.
      const { refused: refusedBefore, retried: retriedBefore } = store.stats();
      goOn[0]();
      goOn[1]();
      const results = await inTime('answers while the rings are full', Promise.all([first, later]));
      expect(results).toEqual([[false, false], new Array(24).fill(true)]);
      const { refused, retried } = store.stats();
      expect(refused).toBeGreaterThan(refusedBefore);
      expect(retried).toBeGreaterThanOrEqual(retriedBefore);
      for (const group of [0, 1]) {
        expect(used(group)).toBeGreaterThan(256 - keepFromMany);
        expect(used(group)).toBeLessThanOrEqual(256);
        expect(rings[group].tryAppend(skip, 1, keepFromSingles)).toBe(FULL);
      }
      goOn[2]();
      await agreeOnReplicas(store, [...store.tree.range()]);
      expect(store.tree.size).toBe(224);
    });
  });
});
