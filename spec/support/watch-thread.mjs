/** A client that writes, or watches, in a thread of its own: see watch.spec.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { connect } from '../../dist/index.js';

const { handle, task, args } = workerData;

const tasks = {
  /** Adds 1 to keys in turn, a few at a time, until it is told to stop; how often it added to each. */
  async add(client, { keys, stop, least = 0 }) {
    const added = new Map(keys.map((key) => [key, 0]));
    for (let i = 0; Atomics.load(stop, 0) === 0 || i < least; ) {
      const some = Array.from({ length: 1 + (i % 7) }, () => keys[i++ % keys.length]);
      await Promise.all(some.map((key) => client.add(key, 1)));
      for (const key of some) added.set(key, added.get(key) + 1);
    }
    return [...added];
  },

  /** Puts new keys, and deletes them again: splits and merges all the time. */
  async churn(client, { from, size, stop }) {
    for (let round = 0; Atomics.load(stop, 0) === 0; round++) {
      const keys = Array.from({ length: size }, (_, i) => from + ((i * 37) % size));
      await client.putMany(
        keys,
        keys.map(() => round),
      );
      await client.deleteMany(keys);
    }
  },

  async fill(client, { from, count, step }) {
    for (let key = from; key < from + count; key += step) {
      const keys = Array.from({ length: Math.min(step, from + count - key) }, (_, i) => key + i);
      await client.putMany(keys, keys);
    }
    return count;
  },

  /** Watches until the store closes; all changes. */
  async watch(client, { range }) {
    const changes = client.changes(range);
    parentPort.postMessage('watching');
    const all = [];
    for await (const change of changes) all.push(change);
    return all;
  },

  /** Watches, and never reads. */
  async stuck(client) {
    client.changes();
    parentPort.postMessage('watching');
    await new Promise(() => setInterval(() => {}, 1000));
  },
};

try {
  const client = await connect(handle);
  parentPort.postMessage('connected');
  const result = await tasks[task](client, args);
  await client.close();
  parentPort.postMessage({ result });
} catch (error) {
  parentPort.postMessage({ failure: `${error.code ?? error.name}: ${error.stack}` });
}
