/**
 * One tree under several real threads. Single operations are atomic and none is lost; a scan is one state of the tree;
 * no reader sees half a value; threads come and go; a thread that dies holding a latch costs the others an error, never
 * their lives. Each test ends within bounds, and the exact final content is known.
 */
import * as bin from 'typed-binary';
import { describe, expect, test } from 'vitest';
import { type FixedValueType, SharedTree } from '../dist/index.js';
import { NODE_COUNT, VERSION_LATCHED, VERSION_OWNER_SHIFT } from '../dist/layout/node.js';
import { HEADER_BRANCH_CHILDREN, HEADER_FREE, HEADER_ROOT } from '../dist/layout/tree-memory.js';
import { seeded } from './support/random.ts';
import { refusal } from './support/refusals.ts';
import { Crew, runThreads, runWatched } from './support/threads.ts';
import { type AnyTree, agree, agreeOnAll, type Entry, makeTree } from './support/trees.ts';

const byKey = (a: Entry, b: Entry) => Number(a[0]) - Number(b[0]);
const range = (n: number) => Array.from({ length: n }, (_, i) => i);

/** The tree holds these entries, and its digest is that of a tree that one thread built. */
function agreeOnEnd(tree: AnyTree, entries: Entry[], value: FixedValueType = 'f64'): void {
  const sorted = [...entries].sort(byKey);
  agreeOnAll('the end', tree, sorted);
  const alone = makeTree('u32', value);
  alone.bulkLoad(sorted);
  agree('digest', tree.digest(), alone.digest());
  agree('threads attached at the end', tree.stats().threads, 1);
}

describe('threads with keys of their own get every answer right', () => {
  for (const [threads, fanout, keys] of [
    [2, 4, 300],
    [4, 4, 40],
    [3, 16, 500],
    [4, undefined, 2000],
    [3, 64, 12],
  ] as const) {
    test(
      `${threads} threads, ${keys} keys each, fan-out ${fanout ?? 'of 1 KB nodes'}`,
      seeded('own', async () => {
        const tree = makeTree('u32', 'f64', fanout === undefined ? {} : { fanout });
        const left = await runThreads<[number, number][]>(
          tree.handle,
          range(threads).map(() => ({ task: 'own', args: { rounds: 10_000, keys } })),
        );
        agreeOnEnd(tree, left.flat());
        expect(left.flat().length).toBeGreaterThan(keys / 2);
      }),
    );
  }

  test(
    'back to empty',
    seeded('drain', async () => {
      const tree = makeTree('u32', 'f64', { fanout: 4 });
      await runThreads(
        tree.handle,
        range(4).map(() => ({ task: 'own', args: { rounds: 10_000, keys: 200, drain: true } })),
      );
      agreeOnEnd(tree, []);
      const { height, leaves, branches, merges } = tree.stats();
      expect({ height, leaves, branches }).toEqual({ height: 1, leaves: 1, branches: 0 });
      expect(merges).toBeGreaterThan(100);
    }),
  );
});

describe('threads with the same keys', () => {
  for (const [name, keys, options] of [
    ['one key', 1, {}],
    ['one leaf', 40, { fanout: 64 }],
    ['many small leaves', 400, { fanout: 4 }],
  ] as const) {
    test(
      `add loses nothing: ${name}`,
      seeded('add', async () => {
        for (const value of ['u32', 'f64', 'i64'] as const) {
          const tree = makeTree('u32', value, options);
          const wide = value === 'i64';
          const counts = await runThreads<number>(
            tree.handle,
            range(3).map(() => ({ task: 'add', args: { rounds: 10_000, keys, wide } })),
          );
          const sum = [...tree].reduce((total, [, count]) => total + Number(count), 0);
          expect(sum).toBe(counts.reduce((a, b) => a + b));
          expect(tree.size).toBe(keys);
          agreeOnEnd(tree, [...tree], value);
        }
      }),
    );
  }

  test(
    'compareAndSet loses nothing',
    seeded('compareAndSet', async () => {
      for (const keys of [1, 30]) {
        const tree = makeTree('u32', 'f64', { fanout: 8 });
        for (const key of range(keys)) tree.put(key, 0);
        const counts = await runThreads<number>(
          tree.handle,
          range(3).map(() => ({ task: 'compareAndSet', args: { rounds: 8000, keys } })),
        );
        expect([...tree].reduce((total, [, count]) => total + (count as number), 0)).toBe(
          counts.reduce((a, b) => a + b),
        );
        agreeOnEnd(tree, [...tree]);
      }
    }),
  );

  for (const [fanout, keys] of [
    [4, 6000],
    [64, 6000],
    [64, 50],
  ] as const) {
    test(
      `insert and delete have one winner for each key: ${keys} keys, fan-out ${fanout}`,
      seeded('races', async () => {
        const tree = makeTree('u32', 'f64', { fanout });
        const inserted = await runThreads<number[]>(
          tree.handle,
          range(3).map(() => ({ task: 'insertAll', args: { keys } })),
        );
        const winners: Entry[] = inserted.flatMap((won, id) => won.map((key): Entry => [key, id]));
        // Each key once, with the winner's value.
        agreeOnEnd(tree, winners);
        expect(winners.length).toBe(keys);
        const deleted = await runThreads<number[]>(
          tree.handle,
          range(3).map(() => ({ task: 'deleteAll', args: { keys } })),
        );
        expect(deleted.flat().sort((a, b) => a - b)).toEqual(range(keys));
        agreeOnEnd(tree, []);
        expect(tree.stats().leaves).toBe(1);
      }),
    );
  }

  for (const [threads, fanout, keys] of [
    [2, 4, 2000],
    [4, 4, 150],
    [4, 5, 20],
    [3, 64, 50],
    [4, 16, 3000],
  ] as const) {
    test(
      `every operation at once: ${threads} threads, ${keys} keys, fan-out ${fanout}`,
      seeded('mixed', async () => {
        const tree = makeTree('u32', 'f64', { fanout });
        const nets = await runThreads<number>(
          tree.handle,
          range(threads).map(() => ({ task: 'mixed', args: { rounds: 6000, keys } })),
        );
        expect(tree.size).toBe(nets.reduce((a, b) => a + b));
        for (const [key, value] of tree) agree(`key of value ${value}`, Math.floor((value as number) / 1000), key);
        agreeOnEnd(tree, [...tree]);
      }),
    );
  }
});

describe('growing and shrinking', () => {
  for (const [batch, fanout] of [
    [1, 4],
    [256, undefined],
    [1000, 16],
  ] as const) {
    test(
      `four threads load and empty it, ${batch} at a time, fan-out ${fanout ?? 'of 1 KB nodes'}`,
      seeded('load', async () => {
        const keys = batch === 1 ? 5000 : 25_000;
        const tree = makeTree('u32', 'f64', fanout === undefined ? {} : { fanout });
        const before = tree.stats().bytesReserved;
        const fresh = await runThreads<number>(
          tree.handle,
          range(4).map(() => ({ task: 'load', args: { keys, batch } })),
        );
        expect(fresh).toEqual(range(4).map(() => keys));
        // This thread has to learn of the memory that others added.
        if (batch > 1) expect(tree.stats().bytesReserved).toBeGreaterThan(before);
        agreeOnEnd(
          tree,
          range(4 * keys).map((key): Entry => [key, key + 1]),
        );
        const full = tree.stats();
        const gone = await runThreads<number>(
          tree.handle,
          range(4).map(() => ({ task: 'unload', args: { keys, batch } })),
        );
        expect(gone).toEqual(range(4).map(() => keys));
        agreeOnEnd(tree, []);
        expect(tree.stats()).toMatchObject({ height: 1, leaves: 1, branches: 0 });
        // What was freed is used again, by whichever thread.
        await runThreads<number>(
          tree.handle,
          range(4).map(() => ({ task: 'load', args: { keys, batch } })),
        );
        expect(tree.stats().bytesUsed).toBeLessThan(full.bytesUsed * 1.6);
        agreeOnEnd(
          tree,
          range(4 * keys).map((key): Entry => [key, key + 1]),
        );
      }),
    );
  }
});

describe('a scan is one state of the tree, while others write', () => {
  for (const [lanes, width, fanout] of [
    [6, 60, 4],
    [30, 200, 4],
    [12, 40, 8],
    [150, 20, 16],
  ] as const) {
    test(
      `tokens that move are neither missed nor seen thrice: ${lanes} lanes, fan-out ${fanout}`,
      seeded('tokens', async () => {
        const tree = makeTree('u32', 'f64', { fanout });
        for (const lane of range(lanes)) tree.put(lane * width, lane);
        const { written, watched } = await runWatched<number, { scans: number; seen: number }>(
          tree.handle,
          [{ task: 'moveTokens', args: { lanes, width } }],
          range(2).map(() => ({ task: 'watchTokens', args: { lanes, width, laps: 3000, least: 10 } })),
        );
        expect(tree.size).toBe(lanes);
        tree.check();
        // There was something to see.
        expect(written[0]).toBeGreaterThan(10);
        for (const { scans, seen } of watched) {
          expect(scans).toBeGreaterThanOrEqual(3000);
          expect(seen).toBeGreaterThanOrEqual(10);
        }
      }),
    );
  }

  for (const [fillers, fanout] of [
    [40, 4],
    [400, 4],
    [4000, 64],
  ] as const) {
    test(
      `pairs that are counted up one after the other are never seen apart: ${fillers} entries, fan-out ${fanout}`,
      seeded('pairs', async () => {
        const tree = makeTree('u32', 'f64', { fanout });
        // The pairs lie around the fillers, one inside the other: low keys at the front, high ones at the end.
        const pairs = [
          [0, fillers + 3],
          [1, fillers + 2],
        ] as const;
        for (const key of range(fillers + 4)) tree.put(key, 0);
        const laps = fillers > 1000 ? 400 : 2000;
        const { written, watched } = await runWatched<number, { scans: number; seen: number }>(
          tree.handle,
          pairs.map(([low, high]) => ({ task: 'countPair', args: { low, high } })),
          [
            { task: 'watchPairs', args: { pairs, laps, least: 20 } },
            { task: 'watchPairs', args: { pairs, laps, least: 20 } },
          ],
        );
        for (const [i, [low, high]] of pairs.entries()) {
          expect([tree.get(low), tree.get(high)]).toEqual([written[i], written[i]]);
        }
        for (const { scans, seen } of watched) {
          expect(scans).toBeGreaterThanOrEqual(laps);
          expect(seen).toBeGreaterThanOrEqual(20);
        }
        tree.check();
      }),
    );
  }
});

describe('no value is ever seen half written', () => {
  for (const [words, keys, fanout] of [
    [128, 2, 4],
    [128, 60, 4],
    [33, 10, 16],
  ] as const) {
    test(
      `records of ${4 * words} bytes, ${keys} keys`,
      seeded('records', async () => {
        const schema = bin.u32Array(words);
        const tree = makeTree('u32', schema, { fanout });
        for (const key of range(keys)) tree.put(key, new Uint32Array(words).fill(key * 1000));
        const { watched } = await runWatched<number, { records: number; seen: number }>(
          tree.handle,
          range(2).map(() => ({ task: 'writeRecords', args: { keys } })),
          range(2).map(() => ({ task: 'readRecords', args: { keys, laps: 4000, least: 100 } })),
          { record: words },
        );
        for (const { records, seen } of watched) {
          expect(records).toBeGreaterThan(3000);
          expect(seen).toBeGreaterThanOrEqual(100);
        }
        agreeOnEnd(tree, [...tree], schema);
      }),
    );
  }
});

test(
  'one record that is overwritten all the time',
  seeded('rewrite', async () => {
    const schema = bin.u32Array(128);
    const tree = makeTree('u32', schema);
    tree.put(7, new Uint32Array(128).fill(7000));
    const { watched } = await runWatched<number, number>(
      tree.handle,
      [{ task: 'rewrite', args: { key: 7 } }],
      [{ task: 'reread', args: { key: 7, ms: 700, least: 200 } }],
      { record: 128 },
    );
    expect(watched[0]).toBeGreaterThanOrEqual(200);
    agreeOnEnd(tree, [...tree], schema);
  }),
);

describe('what stands still is always found, while nodes split and merge around it', () => {
  for (const [stable, step, fanout] of [
    [3, 12, 4],
    [50, 9, 4],
    [400, 40, 16],
  ] as const) {
    test(
      `${stable} stable keys, ${step - 1} that come and go behind each, fan-out ${fanout}`,
      seeded('stable', async () => {
        const tree = makeTree('u32', 'f64', { fanout });
        for (const i of range(stable)) tree.put(i * step, i * step);
        const { written, watched } = await runWatched<number, number>(
          tree.handle,
          [{ task: 'rebuild', args: { stable, step } }],
          range(2).map(() => ({ task: 'find', args: { stable, step, ms: 500 } })),
        );
        expect(written[0]).toBeGreaterThan(20);
        for (const finds of watched) expect(finds).toBeGreaterThan(1000);
        expect(tree.stats().splits).toBeGreaterThan(100);
        expect(tree.stats().merges).toBeGreaterThan(100);
        agreeOnEnd(tree, [...tree]);
        expect(tree.size).toBe(stable);
      }),
    );
  }
});

test('the list of free nodes counts its pops, so that no thread takes an old head for the present one', () => {
  const tree = makeTree('u32', 'u32', { fanout: 4 });
  const pops = () => new Uint32Array(tree.handle.memory.buffer, HEADER_FREE, 2)[1];
  for (const key of range(64)) tree.put(key, key);
  for (const key of range(64)) tree.delete(key);
  const { splits } = tree.stats();
  let last = pops();
  for (const key of range(64)) {
    const before = tree.stats().splits;
    tree.put(key, key);
    expect(pops() > last, `pops after ${key}`).toBe(tree.stats().splits > before);
    last = pops();
  }
  expect(tree.stats().splits).toBeGreaterThan(splits + 10);
});

describe('threads that come and go', () => {
  test(
    'lose nothing, and leave no slot behind',
    seeded('come and go', async () => {
      const tree = makeTree('u32', 'f64', { fanout: 4 });
      const added = await runThreads<number>(tree.handle, [
        ...range(3).map(() => ({ task: 'comeAndGo', args: { laps: 150, keys: 50 } })),
        { task: 'add', args: { rounds: 20_000, keys: 50 } },
      ]);
      expect([...tree].reduce((total, [, count]) => total + (count as number), 0)).toBe(added.reduce((a, b) => a + b));
      expect(tree.size).toBe(50);
      agreeOnEnd(tree, [...tree]);
    }),
  );

  test(
    'a write is seen by every thread that is told of it afterwards',
    seeded('told', async () => {
      const tree = makeTree('u32', 'f64');
      for (const round of range(3)) {
        const crew = await Crew.gather(tree.handle, [{ task: 'call', args: { method: 'get', args: [round] } }]);
        tree.put(round, round + 0.5);
        crew.start();
        expect((await crew.results<{ answer: number }>())[0].answer).toBe(round + 0.5);
        await crew.ends();
      }
    }),
  );
});

/** Version words of a tree's nodes, to be forged. */
class Versions {
  private readonly tree: AnyTree;

  constructor(tree: AnyTree) {
    this.tree = tree;
  }

  private word(at: number): number {
    return new Uint32Array(this.tree.handle.memory.buffer, at, 1)[0];
  }

  get root(): number {
    return this.word(HEADER_ROOT);
  }

  /** Child i of a branch; of the last one for -1. */
  child(node: number, i: number): number {
    const count = this.word(node + NODE_COUNT) & 0xffff;
    return this.word(node + this.word(HEADER_BRANCH_CHILDREN) + 4 * (i < 0 ? count + 1 + i : i));
  }

  leftmostLeaf(): number {
    let node = this.root;
    while (this.word(node + NODE_COUNT) >>> 16 > 0) node = this.child(node, 0);
    return node;
  }

  /** Latches a node as if `owner` did; gives what undoes it. */
  latch(node: number, owner: number): () => void {
    const version = new BigUint64Array(this.tree.handle.memory.buffer, node, 1);
    const before = Atomics.load(version, 0);
    const ownerBits = (1n << 16n) - 1n;
    Atomics.store(
      version,
      0,
      (before & ~ownerBits) | (BigInt(owner) << BigInt(VERSION_OWNER_SHIFT)) | BigInt(VERSION_LATCHED),
    );
    return () => Atomics.store(version, 0, before);
  }
}

describe('a latch whose owner died', () => {
  const LATCH_MS = 60;
  /** What a busy machine may add; far from the ten seconds that stand for never. */
  const SLACK_MS = 5000;

  interface CallEnd {
    readonly answer?: unknown;
    readonly code?: string;
    readonly value?: unknown;
    readonly ms: number;
  }

  /** Makes a call in a thread of its own: if it hangs, the test fails instead of hanging as well. */
  async function callElsewhere(tree: AnyTree, method: string, args: unknown[]): Promise<CallEnd> {
    const [end] = await runThreads<CallEnd>(tree.handle, [{ task: 'call', args: { method, args } }]);
    return end;
  }
  const CALLS: readonly (readonly [string, (tree: AnyTree) => unknown])[] = [
    ['get', (tree) => tree.get(10)],
    ['has', (tree) => tree.has(10)],
    ['floor', (tree) => tree.floor(10)],
    ['ceiling', (tree) => tree.ceiling(10)],
    ['lower', (tree) => tree.lower(10)],
    ['higher', (tree) => tree.higher(10)],
    ['first', (tree) => tree.first()],
    ['last', (tree) => tree.last()],
    ['range', (tree) => [...tree.range()]],
    ['range in reverse', (tree) => [...tree.range({ reverse: true })]],
    ['forRange', (tree) => tree.forRange({ gte: 5 }, () => true)],
    ['getMany', (tree) => tree.getMany([10, 11])],
    ['put', (tree) => tree.put(10, 1)],
    ['insert', (tree) => tree.insert(10.5, 1)],
    ['update', (tree) => tree.update(10, 1)],
    ['compareAndSet', (tree) => tree.compareAndSet(10, 10, 1)],
    ['add', (tree) => tree.add(10, 1)],
    ['delete', (tree) => tree.delete(10)],
    ['putMany', (tree) => tree.putMany([10, 11], [1, 1])],
    ['deleteMany', (tree) => tree.deleteMany([10, 11])],
  ];

  /** Forty entries over several levels, and a second thread that is not one. */
  function damaged(latchTimeout: number): { tree: AnyTree; victim: number; versions: Versions; entries: Entry[] } {
    const tree = makeTree('f64', 'f64', { fanout: 4, latchTimeout, memory: '1MB' });
    const entries = range(40).map((key): Entry => [key, key]);
    for (const [key, value] of entries) tree.put(key, value);
    const victim = SharedTree.attach(tree.handle).thread;
    return { tree, victim, versions: new Versions(tree), entries };
  }

  test.each(CALLS)('%s: ERR_LATCH_LOST within the limit; at once when the thread is known to be dead', (_, call) => {
    const { tree, victim, versions, entries } = damaged(LATCH_MS);
    const release = versions.latch(versions.root, victim);
    const start = performance.now();
    const error = refusal('ERR_LATCH_LOST', () => call(tree));
    const waited = performance.now() - start;
    expect(error.value).toBe(victim);
    expect(waited).toBeGreaterThan(LATCH_MS * 0.9);
    expect(waited).toBeLessThan(LATCH_MS + SLACK_MS);
    release();
    call(tree);
    for (const [key, value] of entries) tree.put(key, value);
    tree.delete(10.5);
    agreeOnAll('given back', tree, entries);

    const patient = damaged(10_000);
    patient.tree.threadExited(patient.victim);
    patient.versions.latch(patient.versions.root, patient.victim);
    const second = performance.now();
    const message = refusal('ERR_LATCH_LOST', () => call(patient.tree)).message;
    expect(performance.now() - second).toBeLessThan(SLACK_MS);
    expect(message).toContain(`thread ${patient.victim} which is dead`);
  });

  test('bulkLoad into an empty root that is latched', async () => {
    const tree = makeTree('u32', 'u32', { latchTimeout: LATCH_MS, fanout: 4 });
    const versions = new Versions(tree);
    const release = versions.latch(versions.root, 9);
    const entries = range(100).map((key): Entry => [key, key]);
    expect(await callElsewhere(tree, 'bulkLoad', [entries])).toMatchObject({ code: 'ERR_LATCH_LOST', value: 9 });
    refusal('ERR_LATCH_LOST', () => tree.bulkLoad(entries));
    release();
    agreeOnAll('nothing was loaded', tree, []);
    expect(tree.bulkLoad(entries)).toBe(100);
    agreeOnAll('loaded', tree, entries);
  });

  test('check names the place, within the limit', () => {
    for (const dead of [false, true]) {
      const { tree, victim, versions } = damaged(dead ? 10_000 : LATCH_MS);
      if (dead) tree.threadExited(victim);
      versions.latch(versions.child(versions.root, 1), victim);
      const start = performance.now();
      const { message } = refusal('ERR_CORRUPT', () => tree.check());
      expect(performance.now() - start).toBeLessThan(LATCH_MS + SLACK_MS);
      expect(message).toContain('depth 1, slot 1');
      expect(message).toContain(`latched by thread ${victim}`);
    }
  });

  test('a latched leaf costs only what has to read it', () => {
    const { tree, victim, versions, entries } = damaged(LATCH_MS);
    const leaf = versions.leftmostLeaf();
    const release = versions.latch(leaf, victim);
    for (const key of range(36)) expect(tree.get(key + 4)).toBe(key + 4);
    expect(tree.put(39.5, 1)).toBe(true);
    expect(tree.delete(39.5)).toBe(true);
    expect([...tree.range({ gte: 4, lte: 30 })].length).toBe(27);
    expect(tree.last()).toEqual([39, 39]);
    refusal('ERR_LATCH_LOST', () => tree.get(0));
    refusal('ERR_LATCH_LOST', () => tree.first());
    refusal('ERR_LATCH_LOST', () => [...tree.range()]);
    refusal('ERR_LATCH_LOST', () => [...tree.range({ reverse: true })]);
    refusal('ERR_LATCH_LOST', () => tree.floor(0.5));
    release();
    agreeOnAll('given back', tree, entries);
  });

  test('a delete that has to merge with a latched neighbour', async () => {
    for (const dead of [false, true]) {
      const tree = makeTree('u32', 'u32', { fanout: 4, latchTimeout: dead ? 10_000 : LATCH_MS });
      const victim = SharedTree.attach(tree.handle).thread;
      if (dead) tree.threadExited(victim);
      for (const key of range(5)) tree.put(key, key);
      const versions = new Versions(tree);
      expect(tree.stats()).toMatchObject({ leaves: 2, branches: 1 });
      // The right leaf goes down to its minimum of one entry; its next delete needs the left one.
      const right = [...tree].slice(-2).map(([key]) => key);
      tree.delete(right[0]);
      const release = versions.latch(versions.child(versions.root, 0), victim);
      const present = right[1];
      expect(tree.get(present)).toBe(present);
      const end = await callElsewhere(tree, 'delete', [present]);
      expect(end).toMatchObject({ code: 'ERR_LATCH_LOST', value: victim });
      expect(end.ms).toBeLessThan(LATCH_MS + SLACK_MS);
      expect(tree.get(present)).toBe(present);
      release();
      expect(tree.delete(present)).toBe(true);
      agreeOnAll(
        'given back',
        tree,
        range(3).map((key): Entry => [key, key]),
      );
    }
  });

  test('a thread that waits is told at once when the owner is reported dead, and goes on when the latch is given back', async () => {
    for (const [method, args] of [
      ['get', [10]],
      ['delete', [10]],
      ['getMany', [[10]]],
    ] as const) {
      for (const dead of [true, false]) {
        const { tree, victim, versions } = damaged(15_000);
        const release = versions.latch(versions.root, victim);
        const crew = await Crew.gather(tree.handle, [{ task: 'call', args: { method, args } }]);
        crew.start();
        await new Promise((resolve) => setTimeout(resolve, 60));
        if (dead) tree.threadExited(victim);
        else release();
        const [end] = await crew.results<CallEnd>();
        await crew.ends();
        expect(end.ms).toBeGreaterThan(30);
        expect(end.ms).toBeLessThan(SLACK_MS);
        if (dead) expect(end).toMatchObject({ code: 'ERR_LATCH_LOST', value: victim });
        else expect(end.code).toBeUndefined();
      }
    }
  });
});

describe('threads that are killed at any moment', () => {
  for (const fanout of [4, 64]) {
    test(
      `cost the others nothing, or ERR_LATCH_LOST; nobody hangs (fan-out ${fanout})`,
      seeded(`kill ${fanout}`, async (random) => {
        for (const round of range(5)) {
          const tree = makeTree('u32', 'f64', { fanout, latchTimeout: 300 });
          const keys = random.pick([3, 60, 1500]);
          const task = { task: 'mixed', args: { rounds: 1e9, keys } };
          const crew = await Crew.gather(tree.handle, [task, task, task]);
          crew.start();
          await new Promise((resolve) => setTimeout(resolve, 1 + random.below(30)));
          await crew.kill(0);
          // Half of the times nobody tells the tree: then the limit has to do.
          if (round % 2 === 0) tree.threadExited(crew.ids[0]);
          await new Promise((resolve) => setTimeout(resolve, 40));
          crew.stop();
          const ends = await crew.ends();
          let lost = false;
          for (const [i, end] of ends.entries()) {
            if ('failure' in end) {
              expect(end.failure, end.failure.message).toMatchObject({ code: 'ERR_LATCH_LOST', value: crew.ids[0] });
              lost = true;
            } else if ('terminated' in end) expect(i).toBe(0);
          }
          try {
            // Whatever the dead thread did is done or undone: count and digest still fit.
            const { quiet, entries } = tree.check();
            expect(quiet).toBe(true);
            expect(entries).toBe(tree.size);
            expect(lost, 'a lost latch would still be there').toBe(false);
            for (const [key, value] of tree) agree(`key of value ${value}`, Math.floor((value as number) / 1000), key);
            // And the tree goes on.
            for (const key of range(keys)) tree.put(key, key * 1000);
            expect(tree.check().entries).toBe(keys);
          } catch (error) {
            // Or it died in the middle, and check() says where.
            expect(error).toMatchObject({ code: 'ERR_CORRUPT' });
            expect((error as Error).message).toContain(`latched by thread ${crew.ids[0]}`);
          }
        }
      }),
    );
  }
});
