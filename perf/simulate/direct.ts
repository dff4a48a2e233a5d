/** The model direct, measured as the others are: the same commands, shared out by key among threads that execute them. */
import { Worker } from 'node:worker_threads';
import { SharedTree, type TreeHandle } from '../../index.ts';
import { groupOf } from '../../workers/streams.ts';
import type { CommandList } from '../support/draw.ts';

/** What a thread gets. */
export interface DirectShare {
  readonly handle: TreeHandle;
  readonly ops: Uint8Array;
  readonly keys: Uint32Array;
  readonly values: Float64Array;
  readonly expected: Float64Array;
  /** Commands before those that count. */
  readonly warmUp: number;
  readonly threads: number;
  /** Where the threads count themselves when they meet. */
  readonly met: Int32Array;
}

/** What a thread did. */
interface DirectDone {
  readonly began: number;
  readonly ended: number;
  /** Commands that found what they were to find: all of them. */
  readonly done: number;
}

function run(share: DirectShare): Promise<DirectDone> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./direct-thread.js', import.meta.url), { workerData: share });
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`a client thread ended with exit code ${code}`)));
  });
}

/** Commands a second behind the warm-up. @throws if the content is not what the commands say. */
export async function drainDirect(threads: number, commands: CommandList, warmUp: number): Promise<number> {
  const { ops, keys, values, expected, before, after } = commands;
  const tree = SharedTree.create({ key: 'u32', value: 'f64' });
  tree.bulkLoad(before, 0.7);
  const met = new Int32Array(new SharedArrayBuffer(4));
  const places: number[][] = Array.from({ length: threads }, () => []);
  const warm = new Array<number>(threads).fill(0);
  for (const [i, key] of keys.entries()) {
    const thread = groupOf(key, 0, threads);
    places[thread].push(i);
    if (i < warmUp) warm[thread]++;
  }
  const results = await Promise.all(
    places.map((mine, thread) =>
      run({
        handle: tree.handle,
        ops: Uint8Array.from(mine, (i) => ops[i]),
        keys: Uint32Array.from(mine, (i) => keys[i]),
        values: Float64Array.from(mine, (i) => values[i]),
        expected: Float64Array.from(mine, (i) => expected[i]),
        warmUp: warm[thread],
        threads,
        met,
      }),
    ),
  );
  const done = results.reduce((sum, one) => sum + one.done, 0);
  if (done !== ops.length) throw new Error(`direct: ${ops.length - done} commands did not find what they should`);
  let entries = 0;
  for (const [key, value] of tree.range()) {
    entries++;
    if (after[key] !== value) throw new Error(`direct: key ${key} holds ${value}, not ${after[key]}`);
  }
  if (entries !== after.reduce((sum, value) => sum + (Number.isNaN(value) ? 0 : 1), 0)) {
    throw new Error(`direct: ${entries} entries are not those that should be there`);
  }
  tree.close();
  const time = Math.max(...results.map(({ ended }) => ended)) - Math.min(...results.map(({ began }) => began));
  return ((ops.length - warmUp) / time) * 1e9;
}
