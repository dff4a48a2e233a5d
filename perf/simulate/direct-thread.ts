/** One client of the model direct: executes its share of the commands on the tree itself. */
import { parentPort, workerData } from 'node:worker_threads';
import { SharedTree } from '../../index.ts';
import { OP_COMPARE_AND_SET, OP_DELETE, OP_GET, OP_INSERT } from '../../layout/operation.ts';
import type { DirectShare } from './direct.ts';

const { handle, ops, keys, values, expected, warmUp, threads, met } = workerData as DirectShare;
const tree = SharedTree.attach<number, number>(handle);

function execute(from: number, to: number): number {
  let done = 0;
  for (let i = from; i < to; i++) {
    const op = ops[i];
    const key = keys[i];
    if (op === OP_GET) done += tree.get(key) === undefined ? 0 : 1;
    else if (op === OP_INSERT) done += tree.insert(key, values[i]) ? 1 : 0;
    else if (op === OP_DELETE) done += tree.delete(key) ? 1 : 0;
    else if (op === OP_COMPARE_AND_SET) done += tree.compareAndSet(key, expected[i], values[i]) ? 1 : 0;
    else done += tree.update(key, values[i]) ? 1 : 0;
  }
  return done;
}

/** Returns when all threads have come so far. */
function meet(count: number): void {
  Atomics.add(met, 0, 1);
  while (Atomics.load(met, 0) < count * threads);
}

meet(1);
let done = execute(0, warmUp);
meet(2);
const began = Number(process.hrtime.bigint());
done += execute(warmUp, ops.length);
const ended = Number(process.hrtime.bigint());
tree.close();
parentPort?.postMessage({ began, ended, done });
