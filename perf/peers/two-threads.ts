/**
 * Two threads beside one, on the same tree. Nothing else in JavaScript can be shared between threads like this, so the
 * peer is the tree itself with one thread; twice as fast would be perfect.
 */
import { SharedTree } from '../../index.ts';
import { compare, type Row } from '../support/measure.ts';
import { randomKeys } from '../support/random.ts';
import { WindowThreads, type Work } from '../support/window.ts';

const THREADS = 2;
/** A round counts only if each thread had this much of a processor: a machine that is busy elsewhere says nothing. */
const LEAST_SHARE = 0.95;
/** Rounds tried for one that counts. */
const PATIENCE = 4;
const TARGET = 1.8;

export interface Windows {
  readonly entries: number;
  /** Rounds that are to count. One more is run before them, and forgotten. */
  readonly rounds: number;
  /** Length of a window in milliseconds. */
  readonly ms: number;
}

interface Round {
  readonly alone: number;
  readonly together: number;
  readonly share: number;
}

/** One window with one thread and one with two. */
async function playRound(threads: WindowThreads, work: Work, ms: number, aloneFirst = true): Promise<Round> {
  const first = await threads.window(aloneFirst ? 1 : THREADS, work, ms);
  const second = await threads.window(aloneFirst ? THREADS : 1, work, ms);
  const [alone, together] = aloneFirst ? [first, second] : [second, first];
  return { alone: alone.each, together: together.each, share: Math.min(alone.share, together.share) };
}

export async function twoThreads({ entries, rounds, ms }: Windows): Promise<Row[]> {
  const tree = SharedTree.create({ key: 'u32', value: 'f64' });
  const keys = new Uint32Array(new SharedArrayBuffer(entries * 4));
  keys.set(randomKeys(entries, 99));
  for (let i = 0; i < entries; i++) tree.put(keys[i], i + 1);
  const threads = await WindowThreads.start(THREADS, tree.handle, keys);
  const rows: Row[] = [];
  try {
    const kinds: [string, Work][] = [
      ['get', 'get'],
      ['9 get : 1 put', 'mixed'],
    ];
    for (const [name, work] of kinds) {
      const tried: Round[] = [];
      await playRound(threads, work, ms);
      for (let quiet = 0; quiet < rounds && tried.length < rounds * PATIENCE; ) {
        const round = await playRound(threads, work, ms, tried.length % 2 === 0);
        tried.push(round);
        if (round.share >= LEAST_SHARE) quiet++;
      }
      // The quietest ones, and the row says how quiet they were.
      const counted = tried.sort((a, b) => b.share - a.share).slice(0, rounds);
      const share = Math.round(100 * (counted.at(-1) as Round).share);
      rows.push(
        compare(
          `${THREADS} threads: ${name} (each had ${share} % of a core)`,
          counted.map((round) => round.together),
          '1 thread',
          counted.map((round) => round.alone),
          TARGET,
        ),
      );
    }
  } finally {
    await threads.stop();
  }
  tree.check();
  if (tree.size !== entries) throw new Error(`${tree.size} entries instead of ${entries}`);
  tree.close();
  return rows;
}
