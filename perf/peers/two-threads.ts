/**
 * Two threads beside one, on the same tree. Nothing else in JavaScript can be shared between threads like this, so the
 * peer is the tree itself with one thread; twice as fast would be perfect.
 */
import { SharedTree } from '../../index.ts';
import { compare, type Row } from '../support/measure.ts';
import { randomKeys } from '../support/random.ts';
import { type Work, WindowThreads } from '../support/window.ts';

const THREADS = 2;
const TARGET = 1.8;

export interface Windows {
  readonly entries: number;
  /** Windows of each kind, by turns. One more is run before them, and forgotten. */
  readonly rounds: number;
  /** Length of a window in milliseconds. */
  readonly ms: number;
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
      const alone: number[] = [];
      const together: number[] = [];
      for (let round = -1; round < rounds; round++) {
        for (const many of round % 2 === 0 ? [true, false] : [false, true]) {
          const time = await threads.window(many ? THREADS : 1, work, ms);
          if (round >= 0) (many ? together : alone).push(time);
        }
      }
      rows.push(compare(`${THREADS} threads: ${name}`, together, '1 thread', alone, TARGET));
    }
  } finally {
    await threads.stop();
  }
  tree.check();
  if (tree.size !== entries) throw new Error(`${tree.size} entries instead of ${entries}`);
  tree.close();
  return rows;
}
