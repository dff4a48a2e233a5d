/** A client of a store in a thread of its own; see store.spec.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { connect } from '../../dist/index.js';

const { handle, job, client, rounds } = workerData;
const store = await connect(handle);
try {
  if (job === 'count') {
    // Adds to shared counters: every add must count exactly once.
    for (let i = 0; i < rounds; i++) {
      const commands = [];
      for (let j = 0; j < 50; j++) commands.push(['add', (i * 7 + j) % 40, 1]);
      store.batchSync(commands);
    }
    parentPort.postMessage('done');
  } else if (job === 'race') {
    // Who inserts a key first wins it, and nobody else does.
    const won = [];
    for (let key = 0; key < rounds; key++) if (store.insertSync(key, client)) won.push(key);
    parentPort.postMessage(won);
  } else if (job === 'read-own') {
    // A direct read after the answer sees the write, or a later one of another client.
    for (let i = 0; i < rounds; i++) {
      store.putSync(1000 + client, i);
      if (store.tree.get(1000 + client) !== i)
        throw new Error(`direct read after put ${i}: ${store.tree.get(1000 + client)}`);
    }
    parentPort.postMessage('done');
  } else {
    // Load without end, until the store is closed.
    parentPort.postMessage('loading');
    for (let i = 0; ; i++) store.batchSync(Array.from({ length: 64 }, (_, j) => ['put', (i * 64 + j) % 5000, i]));
  }
} catch (error) {
  parentPort.postMessage({ code: error.code, message: error.message });
}
await store.close().catch(() => {});
