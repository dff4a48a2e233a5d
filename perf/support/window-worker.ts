import { parentPort, workerData } from 'node:worker_threads';
import { SharedTree } from '../../index.ts';
import { COUNT_STRIDE, COUNTS, GO, READY, STEP, type WindowCall, type WindowJob, type Work } from './window.ts';

const { control, handle, keys, index } = workerData as WindowJob;
const tree = SharedTree.attach<number, number>(handle);
const steps = Math.floor(keys.length / STEP);
/** Each thread goes through the keys in an order of its own. */
let step = Math.floor((steps / 7) * (index * 3 + 1)) % steps;

/** The value of keys[i] is i + 1 or -(i + 1), whoever wrote it. @returns how many were not. */
function read(from: number): number {
  let wrong = 0;
  for (let i = from; i < from + STEP; i++) {
    if (Math.abs(tree.get(keys[i]) as number) !== i + 1) wrong++;
  }
  return wrong;
}

let sign = 1;

/** Every tenth operation a put. */
function mix(from: number): number {
  let wrong = 0;
  for (let i = from; i < from + STEP; i++) {
    if (i % 10 === 9) tree.put(keys[i], sign * (i + 1));
    else if (Math.abs(tree.get(keys[i]) as number) !== i + 1) wrong++;
  }
  sign = -sign;
  return wrong;
}

function count(work: Work): string {
  let wrong = 0;
  let done = 0;
  const go = work === 'get' ? read : mix;
  Atomics.add(control, READY, 1);
  while (Atomics.load(control, GO) === 0);
  while (Atomics.load(control, GO) === 1) {
    wrong += go(step * STEP);
    step = (step + 1) % steps;
    done += STEP;
  }
  Atomics.store(control, COUNTS + index * COUNT_STRIDE, done);
  return wrong === 0 ? '' : `${wrong} of ${done} answers were wrong`;
}

parentPort?.on('message', ({ work }: WindowCall) => parentPort?.postMessage(count(work)));
parentPort?.postMessage('ready');
