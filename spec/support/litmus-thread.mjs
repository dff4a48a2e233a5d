/**
 * One side of a litmus test: every round both sides start together, on keys that no other round uses, and do a few calls
 * each. What they saw is judged in outcomes.spec.ts.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { connect } from '../../dist/index.js';

const { handle, test, side, rounds, shared, seed } = workerData;
const store = await connect(handle);
const [FLAG, ARRIVED] = [0, 1];

let state = (seed ^ Math.imul(side + 1, 0x9e3779b1)) | 1;
function below(n) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % n;
}

/** Waits until the word has got to `value`. */
function await_(word, value) {
  for (;;) {
    const now = Atomics.load(shared, word);
    if (now >= value) return;
    Atomics.wait(shared, word, now, 100);
  }
}

/** Both sides are here. */
function meet(round) {
  Atomics.add(shared, ARRIVED, 1);
  Atomics.notify(shared, ARRIVED);
  await_(ARRIVED, 2 * (round + 1));
  for (let i = below(300); i > 0; i--) Atomics.load(shared, FLAG);
}

const show = (value) => (value === undefined ? '-' : value === true ? 'yes' : value === false ? 'no' : String(value));
const keys = (entries) => (entries.length === 0 ? '-' : entries.map(([, value]) => value).join('+'));

const litmus = {
  // Each puts its value and reads the key.
  'put, get | put, get': [
    (k) => [store.putSync(k, 1), store.getSync(k)],
    (k) => [store.putSync(k, 2), store.getSync(k)],
  ],
  'insert, get | insert, get': [
    (k) => [store.insertSync(k, 1), store.getSync(k)],
    (k) => [store.insertSync(k, 2), store.getSync(k)],
  ],
  'add | add': [(k) => [store.addSync(k, 1)], (k) => [store.addSync(k, 2)]],
  // Write one key, read the other: as the ordered command, and as a direct read of the home replica.
  'put x, get y | put y, get x': [
    (k) => [store.putSync(k, 1), store.getSync(k + 1)],
    (k) => [store.putSync(k + 1, 1), store.getSync(k)],
  ],
  'put x, read y | put y, read x': [
    (k) => [store.putSync(k, 1), store.tree.get(k + 1)],
    (k) => [store.putSync(k + 1, 1), store.tree.get(k)],
  ],
  // A write is answered, then announced outside of the store.
  'put, flag | await flag, read, get': [
    (k, round) => {
      store.putSync(k, 1);
      Atomics.store(shared, FLAG, round + 1);
      Atomics.notify(shared, FLAG);
      return [];
    },
    (k, round) => {
      await_(FLAG, round + 1);
      return [store.tree.get(k), store.getSync(k)];
    },
  ],
  // Two writes, one after the other; the reader looks in the other order, at both at once, or in the tree.
  'put x, put y | get y, get x': [
    (k) => [store.putSync(k, 1), store.putSync(k + 1, 1)],
    (k) => [store.getSync(k + 1), store.getSync(k)],
  ],
  'put x, put y | range': [
    (k) => [store.putSync(k, 'x'.charCodeAt(0)), store.putSync(k + 1, 'y'.charCodeAt(0))],
    (k) => [keys(store.rangeSync({ gte: k, lte: k + 1 }))],
  ],
  'put x, put y | tree.range': [
    (k) => [store.putSync(k, 'x'.charCodeAt(0)), store.putSync(k + 1, 'y'.charCodeAt(0))],
    (k) => [keys([...store.tree.range({ gte: k, lte: k + 1 })])],
  ],
  'insert, update | delete': [(k) => [store.insertSync(k, 1), store.updateSync(k, 2)], (k) => [store.deleteSync(k)]],
  // A command and one that depends on it, in one batch, whether or not the first is refused.
  'insert + update | delete, get': [
    (k) =>
      store.batchSync([
        ['insert', k, 1],
        ['update', k, 2],
      ]),
    (k) => [store.deleteSync(k), store.getSync(k)],
  ],
  'insert + delete + insert | compareAndSet': [
    (k) =>
      store.batchSync([
        ['insert', k, 1],
        ['delete', k],
        ['insert', k, 2],
      ]),
    (k) => [store.compareAndSetSync(k, 1, 3)],
  ],
};

const seen = [];
for (let round = 0; round < rounds; round++) {
  // Keys apart from each other, so that rounds do not meet, and ascending, so that leaves fill up.
  const k = round * 4;
  meet(round);
  seen.push(litmus[test][side](k, round).map(show).join(' '));
}
await store.close();
parentPort.postMessage(seen);
