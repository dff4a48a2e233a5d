/** Threads that are ended from outside, or that watch what becomes of the others; see rebuild.spec.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { SharedTree } from '../../dist/index.js';
import { standForCopy } from '../../dist/workers/failover.js';
import { FULL, GroupRing, RingReader } from '../../dist/workers/ring.js';
import { Streams } from '../../dist/workers/streams.js';

const { role, seed, number, handle, keys, memory, stop } = workerData;

let state = (seed ^ Math.imul(number + 1, 0x9e3779b1)) | 1;
/** 0 to n - 1. */
function below(n) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % n;
}

const stopped = () => Atomics.load(stop, 0) !== 0;

const roles = {
  /** Puts and deletes without end. The value of a key is always the same. */
  'tree-writer': () => {
    const tree = SharedTree.attach(handle);
    parentPort.postMessage(tree.thread);
    for (;;) {
      const key = below(keys);
      if (below(2) === 0) tree.put(key, key * 3 + 1);
      else tree.delete(key);
    }
  },

  /** Reads until it is stopped: what is found has to belong to its key. Answers how much it found. */
  'tree-reader': () => {
    const tree = SharedTree.attach(handle);
    parentPort.postMessage(tree.thread);
    let found = 0;
    while (!stopped()) {
      const key = below(keys);
      let value;
      try {
        value = tree.get(key);
      } catch (error) {
        // A writer has died here, and nobody has emptied the tree yet.
        if (error.code !== 'ERR_LATCH_LOST') throw error;
        continue;
      }
      if (value !== undefined) {
        found++;
        if (value !== key * 3 + 1) throw new Error(`key ${key} is ${value}`);
      }
    }
    tree.close();
    return found;
  },

  /** Appends runs of records with serial numbers until it is stopped. Answers how many records. */
  'ring-writer': () => {
    const streams = Streams.attach(memory);
    const ring = new GroupRing(streams, 0);
    const run = new Int32Array(16 * 4);
    parentPort.postMessage(number);
    let serial = 0;
    while (!stopped()) {
      const slots = 1 + below(4);
      for (let slot = 0; slot < slots; slot++) {
        run.fill(serial + slot, slot * 16, slot * 16 + 16);
        run[slot * 16] = 1 | (1 << 16);
        run[slot * 16 + 1] = number;
      }
      if (ring.tryAppend(new Uint8Array(run.buffer, 0, slots * 64), slots, 0) !== FULL) serial += slots;
      else if (below(20) === 0) Atomics.wait(stop, 0, 0, 0.1);
    }
    return serial;
  },

  /** Comes to a cut as replica 0; answers when it goes on. */
  stand: () => {
    standForCopy(Streams.attach(memory), 0, number);
    return 1;
  },

  /** Reads a ring as replica 0, without looking, until it is stopped. */
  'ring-drain': () => {
    const streams = Streams.attach(memory);
    const reader = new RingReader(streams, 0, 0);
    parentPort.postMessage(number);
    while (!stopped()) {
      const slots = reader.poll(streams.shape.ringSlots);
      if (slots > 0) reader.advance(slots);
      else Atomics.wait(stop, 0, 0, 0.02);
    }
    return reader.position;
  },
};

parentPort.postMessage({ result: roles[role]() });
