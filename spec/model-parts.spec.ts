/** What is special about single models: the set of CBASE, the guesses of Eve, sync points of some groups only. */
import { describe, expect, it } from 'vitest';
import { connect, open, type StoreOptions } from '../dist/index.js';
import {
  MANY_COUNT,
  MANY_KEYS,
  OP_COUNT,
  OP_GET,
  OP_GET_ALL,
  OP_PUT,
  OP_PUT_ALL,
  OPERATION_RESENT,
} from '../dist/layout/operation.js';
import { RING_CLAIM } from '../dist/layout/streams.js';
import { ConflictOrderedSet } from '../dist/workers/conflict-ordered-set.js';
import { groupOf } from '../dist/workers/streams.js';
import { type Random, seeded } from './support/random.ts';
import { inTime, stall, until, withStore } from './support/stores.ts';
import type { AnyKey } from './support/values.ts';

/** A command of the set's tests: what it touches, and the record that says so. */
interface Touching {
  readonly record: Int32Array;
  readonly keys: readonly number[] | 'all';
  readonly writes: boolean;
}

function touching(random: Random): Touching {
  const record = new Int32Array(64);
  const kind = random.below(20);
  if (kind === 0) {
    record[0] = OP_COUNT | (1 << 16);
    return { record, keys: 'all', writes: false };
  }
  if (kind < 4) {
    // The same key may stand twice.
    const keys = Array.from({ length: random.below(5) }, () => random.below(12));
    const writes = random.chance(0.5);
    record[0] = (writes ? OP_PUT_ALL : OP_GET_ALL) | (4 << 16);
    record[MANY_COUNT >> 2] = keys.length;
    for (const [i, key] of keys.entries()) record[(MANY_KEYS >> 2) + 2 * i] = key;
    return { record, keys, writes };
  }
  const writes = random.chance(0.5);
  const key = random.below(12);
  record[0] = (writes ? OP_PUT : OP_GET) | (1 << 16);
  record[6] = key;
  return { record, keys: [key], writes };
}

function depends(a: Touching, b: Touching): boolean {
  if (!a.writes && !b.writes) return false;
  const [one, other] = [a.keys, b.keys];
  return one === 'all' || other === 'all' || one.some((key) => other.includes(key));
}

describe.each(['keys', 'pairwise'] as const)('the conflict-ordered set, dependencies by %s', (index) => {
  it('gives a command out once all it depends on is removed, and not before', async () => {
    await seeded(`conflict-ordered set ${index}`, (random) => {
      const set = new ConflictOrderedSet(24, index);
      const pending = new Map<number, Touching>();
      const out: number[] = [];
      const given = new Set<number>();
      let held = 0;
      for (let step = 0; step < 20_000; step++) {
        if (!set.full && random.chance(0.5)) {
          const one = touching(random);
          const id = set.insert(one.record, 0, one.record[0] >>> 16);
          expect(pending.has(id)).toBe(false);
          // A map keeps the order of insertion: that of the commands.
          pending.set(id, one);
        } else if (out.length > 0) {
          const [id] = out.splice(random.below(out.length), 1);
          set.remove(id);
          pending.delete(id);
          given.delete(id);
        }
        for (let id = set.get(); id >= 0; id = set.get()) {
          given.add(id);
          out.push(id);
        }
        const before: Touching[] = [];
        for (const [id, one] of pending) {
          const free = !before.some((earlier) => depends(earlier, one));
          expect(given.has(id)).toBe(free);
          if (!free) held++;
          before.push(one);
        }
      }
      expect(held).toBeGreaterThan(1000);
    })();
  });
});

describe.each(['keys', 'pairwise'] as const)('a command that comes again, dependencies by %s', (index) => {
  const again = (record: Int32Array) => {
    const copy = record.slice();
    copy[0] |= OPERATION_RESENT << 8;
    return copy;
  };

  it('is given out only once its first copy is removed, be that a read or a write', async () => {
    await seeded(`comes again ${index}`, (random) => {
      for (let round = 0; round < 500; round++) {
        const set = new ConflictOrderedSet(24, index);
        const first = Array.from({ length: 1 + random.below(8) }, () => touching(random));
        const ids = first.map(({ record }) => set.insert(record, 0, record[0] >>> 16));
        const which = random.below(first.length);
        const { record } = first[which];
        const copy = set.insert(again(record), 0, record[0] >>> 16);
        // Behind it others.
        for (let i = random.below(4); i > 0; i--) {
          const { record: later } = touching(random);
          set.insert(later, 0, later[0] >>> 16);
        }
        let removed = false;
        const out: number[] = [];
        const takeOut = () => {
          for (let id = set.get(); id >= 0; id = set.get()) {
            if (id === copy)
              expect(removed, `${first[which].writes ? 'write' : 'read'} of ${first[which].keys}`).toBe(true);
            out.push(id);
          }
        };
        for (takeOut(); out.length > 0; takeOut()) {
          const [id] = out.splice(random.below(out.length), 1);
          set.remove(id);
          if (id === ids[which]) removed = true;
        }
        // Everything came out in the end.
        expect(set.empty).toBe(true);
      }
    })();
  });
});

describe('execute-verify', () => {
  it.each([1, 2, 3])(
    'a mixer that is wrong makes %d replicas repeat batches, and the outcome stays right',
    async (replicas) => {
      const store = await open({
        key: 'u32',
        value: 'f64',
        model: 'execute-verify',
        mixer: 'blind',
        executors: 3,
        replicas,
        fanout: 8,
        memory: '32MB',
      });
      try {
        const sums = new Map<number, number>();
        for (let round = 0; round < 80; round++) {
          const batch = Array.from({ length: 250 }, (_, i) => ['add', (i * 7 + round) % 20, 1] as const);
          const seen = new Map<number, Set<number>>();
          const results = await inTime('a batch', store.batch(batch));
          for (const [i, [, key]] of batch.entries()) {
            const values = seen.get(key) ?? new Set();
            values.add((results[i] as number | undefined) ?? 0);
            seen.set(key, values);
          }
          // Every add saw a value of its own, and together they saw all from the one before the batch on.
          for (const [key, values] of seen) {
            const from = sums.get(key) ?? 0;
            expect([...values].sort((a, b) => a - b)).toEqual(Array.from(values, (_, i) => from + i));
            sums.set(key, from + values.size);
          }
        }
        for (const [key, sum] of sums) expect(store.tree.get(key)).toBe(sum);
        const digests = await store.digests();
        expect(digests.length).toBe(replicas);
        for (const { digest } of digests) expect(digest).toBe(digests[0].digest);
        const { retried, commands } = store.stats();
        // Otherwise nothing went wrong, and nothing was put right.
        expect(retried).toBeGreaterThan(0);
        expect(commands).toBeGreaterThanOrEqual(80 * 250);
      } finally {
        await store.close();
      }
    },
  );

  it('a mixer that looks at the keys is never wrong', async () => {
    const options = {
      key: 'u32',
      value: 'f64',
      model: 'execute-verify',
      executors: 3,
      replicas: 2,
      fanout: 4,
    } as const;
    const store = await open({ ...options, memory: '32MB' });
    try {
      for (let round = 0; round < 30; round++) {
        await store.batch(Array.from({ length: 250 }, (_, i) => ['add', (i * 7 + round) % 90, 1] as const));
      }
      const { retried, syncPoints } = store.stats();
      expect(retried).toBe(0);
      expect(syncPoints).toBeGreaterThan(0);
    } finally {
      await store.close();
    }
  });
});

/** The smallest u32 key of a group. */
function keyOfGroup(group: number, groups: number): number {
  for (let key = 0; ; key++) if (groupOf(key, 0, groups) === group) return key;
}

describe('commands on several keys', () => {
  it('stop the executors of their own groups only', async () => {
    const options = { key: 'u32', value: 'f64', model: 'keyed', executors: 4, replicas: 1, memory: '32MB' } as const;
    const store = await open(options);
    try {
      const inGroup = (group: number) => keyOfGroup(group, 4);
      const points = () => store.stats().perExecutor.map(({ syncPoints }) => syncPoints);
      const before = points();
      for (let i = 0; i < 20; i++) await store.putAll([inGroup(1), inGroup(2)], [i, i]);
      expect(await store.getAll([inGroup(2), inGroup(1)])).toEqual([19, 19]);
      // The lowest group's executor leads; the others were never asked.
      expect(points().map((n, executor) => n - before[executor])).toEqual([0, 21, 0, 0]);
      const { perExecutor } = store.stats();
      expect([perExecutor[0].batches, perExecutor[3].batches]).toEqual([0, 0]);
    } finally {
      await store.close();
    }
  });

  it.each(['keyed', 'opt-psmr', 'psmr'] as const)(
    '%s: meet in one order in an executor of two groups',
    async (model) => {
      // Groups 0 and 2 are the first executor's, group 1 is the other's.
      const shape: Partial<StoreOptions> = { model, executors: 2, groups: 3, replicas: 1, latchTimeout: 30_000 };
      await withStore(shape, async (store) => {
        const [a, b, c] = [0, 1, 2].map((group) => keyOfGroup(group, 3));
        await store.putAll([a, b, c], [1, 2, 3]);
        const { streams } = store;
        const taken = () => Atomics.load(streams.words, streams.ringCursor(0, 0));
        const published = () => Atomics.load(streams.words, (streams.ring(1) + RING_CLAIM) >> 2);
        const goOn = stall(store, 0);
        const before = [taken(), published()];
        // The first executor is held up by a command of group 0. What comes then is in both its rings when it looks again.
        const held = store.update(a, 4);
        await until('the command was taken', () => taken() !== before[0]);
        const other = await connect<AnyKey, unknown>(store.handle);
        const answers = Promise.all([held, other.getAll([a, b]), other.getAll([c, b])]);
        await until('the others were sent', () => published() === before[1] + 2);
        goOn();
        expect(await inTime('answers', answers, 5000)).toEqual([true, [4, 2], [3, 2]]);
        await other.close();
      });
    },
  );

  it('are refused beyond the limit, and with wrong keys or values, with nothing written', async () => {
    const store = await open({ key: 'u32', value: 'f64', executors: 2, replicas: 1, memory: '32MB' });
    try {
      const keys = Array.from({ length: store.manyLimit + 1 }, (_, i) => i);
      await expect(store.putAll(keys, keys)).rejects.toMatchObject({ code: 'ERR_TOO_LARGE' });
      await expect(store.putAll([1, -1], [1, 1])).rejects.toMatchObject({ code: 'ERR_KEY' });
      await expect(store.putAll([1, 2], [1, 'x' as never])).rejects.toMatchObject({ code: 'ERR_VALUE' });
      await expect(store.putAll([1, 2], [1])).rejects.toMatchObject({ code: 'ERR_ARGUMENT' });
      await expect(store.getAll(7 as never)).rejects.toMatchObject({ code: 'ERR_ARGUMENT' });
      expect(await store.getAll([])).toEqual([]);
      expect(await store.putAll([], [])).toBe(0);
      expect(store.tree.size).toBe(0);
      keys.pop();
      expect(await store.putAll(keys, keys)).toBe(keys.length);
      expect(await store.getAll(keys)).toEqual(keys);
    } finally {
      await store.close();
    }
  });
});
