/**
 * Races as outcome tables: two clients do a few calls at the same time, many times over. Every outcome is listed with the
 * interleaving that makes it; what is not listed is FORBIDDEN. Both sides' answers stand in the order of their calls:
 * `-` is undefined, `yes` and `no` are booleans, `|` separates the sides and what the key holds in the end.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ModelName, open, type Store } from '../dist/index.js';
import { SEED } from './support/random.ts';
import { type AnyStore, agreeOnReplicas, inTime } from './support/stores.ts';

interface Litmus {
  /** The name in litmus-thread.mjs. */
  readonly test: string;
  /** ACCEPTABLE outcomes, each with its interleaving (A and B are the sides). */
  readonly acceptable: Readonly<Record<string, string>>;
  /** FORBIDDEN ones that are worth a name. */
  readonly forbidden?: Readonly<Record<string, string>>;
  /** What the tree holds at the round's first key when all is over. */
  readonly end?: boolean;
}

const x = String('x'.charCodeAt(0));
const y = String('y'.charCodeAt(0));

const TESTS: readonly Litmus[] = [
  {
    test: 'put, get | put, get',
    acceptable: {
      'yes 1 | no 2 | 2': 'A puts and reads, then B',
      'yes 2 | no 2 | 2': 'A puts, B puts, both read',
      'no 1 | yes 2 | 1': 'B puts and reads, then A',
      'no 1 | yes 1 | 1': 'B puts, A puts, both read',
    },
    forbidden: {
      'yes 1 | yes 2 | 1': 'both were first',
      'yes 1 | no 1 | 1': "B's put is answered and not done",
    },
    end: true,
  },
  {
    test: 'insert, get | insert, get',
    acceptable: {
      'yes 1 | no 1 | 1': 'A is first',
      'no 2 | yes 2 | 2': 'B is first',
    },
    forbidden: { 'yes 1 | yes 2 | 2': 'two winners', 'no 2 | no 1 | 1': 'no winner' },
    end: true,
  },
  {
    test: 'add | add',
    acceptable: { '- | 1 | 3': 'A is first', '2 | - | 3': 'B is first' },
    forbidden: { '- | - | 2': 'an update is lost' },
    end: true,
  },
  {
    test: 'put x, get y | put y, get x',
    acceptable: {
      'yes 1 | yes 1': 'both put, then both read',
      'yes - | yes 1': 'A is done before B begins',
      'yes 1 | yes -': 'B is done before A begins',
    },
    forbidden: { 'yes - | yes -': 'both read before the other had put: not linearizable' },
  },
  {
    test: 'put x, read y | put y, read x',
    acceptable: {
      'yes 1 | yes 1': 'both put, then both read',
      'yes - | yes 1': 'A is done before B begins',
      'yes 1 | yes -': 'B is done before A begins',
    },
    forbidden: { 'yes - | yes -': 'a put was answered before it was in the home replica' },
  },
  {
    test: 'put, flag | await flag, read, get',
    acceptable: { ' | 1 1': 'what was answered is there' },
    forbidden: { ' | - 1': 'an answer came before the home replica had executed' },
  },
  {
    test: 'put x, put y | get y, get x',
    acceptable: {
      'yes yes | - -': 'B reads first',
      'yes yes | - 1': 'A puts between the reads, or x only before them',
      'yes yes | 1 1': 'A puts first',
    },
    forbidden: { 'yes yes | 1 -': 'y is there, and x, put before it, is not' },
  },
  ...['range', 'tree.range'].map((range) => ({
    test: `put x, put y | ${range}`,
    acceptable: {
      'yes yes | -': 'B looks first',
      [`yes yes | ${x}`]: 'B looks between the puts',
      [`yes yes | ${x}+${y}`]: 'A puts first',
    },
    forbidden: { [`yes yes | ${y}`]: 'y is there, and x, put before it, is not' },
  })),
  {
    test: 'insert, update | delete',
    acceptable: {
      'yes yes | no | 2': 'B, then A',
      'yes no | yes | -': 'A inserts, B deletes, A updates nothing',
      'yes yes | yes | -': 'A, then B',
    },
    forbidden: { 'yes no | no | 1': 'a delete without effect', 'yes yes | yes | 2': 'the delete is lost' },
    end: true,
  },
  {
    test: 'insert + update | delete, get',
    acceptable: {
      'yes yes | no - | 2': 'B, then A',
      'yes yes | no 1 | 2': 'B deletes nothing, A inserts, B reads',
      'yes yes | no 2 | 2': 'B deletes nothing, then A, then B reads',
      'yes no | yes - | -': 'A inserts, B deletes, A updates nothing',
      'yes yes | yes - | -': 'A, then B',
    },
    forbidden: { 'yes no | no - | 1': 'the update overtook the insert', 'yes yes | yes 2 | 2': 'the delete is lost' },
    end: true,
  },
  {
    test: 'insert + delete + insert | compareAndSet',
    acceptable: {
      'yes yes yes | no | 2': 'B before the first insert, or after the delete',
      'yes yes yes | yes | 2': 'B between the insert and the delete',
    },
    forbidden: { 'yes yes yes | yes | 3': 'the compareAndSet met a value that was gone' },
    end: true,
  },
];

/** Runs both sides; how often each outcome came. */
async function run(store: Store, { test, end }: Litmus, rounds: number): Promise<Map<string, number>> {
  const shared = new Int32Array(new SharedArrayBuffer(8));
  const workers = [0, 1].map(
    (side) =>
      new Worker(new URL('./support/litmus-thread.mjs', import.meta.url), {
        workerData: { handle: store.handle, test, side, rounds, shared, seed: SEED },
      }),
  );
  try {
    const ends = Promise.all(workers.map(async (worker) => (await once(worker, 'message'))[0] as string[]));
    const [a, b] = await inTime(test, ends, 40_000);
    const counts = new Map<string, number>();
    for (let round = 0; round < rounds; round++) {
      const last = end ? ` | ${store.tree.get(round * 4) ?? '-'}` : '';
      const outcome = `${a[round]} | ${b[round]}${last}`;
      counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
    }
    return counts;
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

describe.each<ModelName>(['smr', 'psmr', 'opt-psmr'])('%s', (model) => {
  const rounds = model === 'psmr' ? 120 : 400;
  let store: Store;

  beforeAll(async () => {
    const options = {
      key: 'u32',
      value: 'f64',
      executors: 2,
      groups: 3,
      replicas: 2,
      fanout: 4,
      memory: '32MB',
    } as const;
    store = await open({ ...options, model });
  });
  afterAll(() => store.close());

  it.each(TESTS)('$test', async (litmus) => {
    // Keys of an earlier test are gone.
    const keys = [...store.tree.range()].map(([key]) => key);
    await store.deleteMany(keys);
    const counts = await run(store, litmus, rounds);
    const lines: string[] = [`${model}: ${litmus.test}`];
    for (const [outcome, why] of Object.entries(litmus.acceptable)) {
      lines.push(`  ${String(counts.get(outcome) ?? 0).padStart(6)}  ACCEPTABLE  ${outcome.padEnd(24)} ${why}`);
    }
    const wrong: string[] = [];
    for (const [outcome, count] of counts) {
      if (Object.hasOwn(litmus.acceptable, outcome)) continue;
      const why = litmus.forbidden?.[outcome] ?? 'no interleaving makes it';
      wrong.push(`  ${String(count).padStart(6)}  FORBIDDEN   ${outcome.padEnd(24)} ${why}`);
    }
    console.info([...lines, ...wrong].join('\n'));
    expect(wrong).toEqual([]);
    expect([...counts.values()].reduce((sum, count) => sum + count, 0)).toBe(rounds);
    await agreeOnReplicas(store as unknown as AnyStore, [...store.tree.range()]);
  });
});
