/** A thread of strings.ts: gets all keys, from the tree or from lmdb, and says how long each took. */
import { parentPort, workerData } from 'node:worker_threads';
import { SharedTree, type TreeHandle } from '../../index.ts';
import { openLmdb } from './lmdb.ts';

/** Whom to ask. */
export type StringOrder = 'tree' | 'lmdb';
/** Nanoseconds for one get, and the sum of the values. */
export interface StringAnswer {
  readonly each: number;
  readonly sum: number;
}

const { handle, path, keys } = workerData as { handle: TreeHandle; path: string; keys: string[] };
const tree = SharedTree.attach<string, number>(handle);
const lmdb = openLmdb(path, { noSync: true });

// A loop for each: one that both shared would be compiled for both.
function fromTree(): number {
  let sum = 0;
  for (const key of keys) sum += tree.get(key) as number;
  return sum;
}

function fromLmdb(): number {
  let sum = 0;
  for (const key of keys) sum += lmdb.get(key) as number;
  return sum;
}

parentPort?.on('message', (order: StringOrder) => {
  const start = process.hrtime.bigint();
  const sum = order === 'tree' ? fromTree() : fromLmdb();
  const each = Number(process.hrtime.bigint() - start) / keys.length;
  parentPort?.postMessage({ each, sum } satisfies StringAnswer);
});
