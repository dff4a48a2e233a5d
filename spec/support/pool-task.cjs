/**
 * What the threads of a pool do in pool.spec.ts: connect, work, leave; or connect and stay until their thread is ended.
 *
 * CommonJS, since piscina loads it with `require` first: Node.js 20 ends the whole process if a thread is terminated just while it
 * requires an ES module.
 */
const { threadId } = require('node:worker_threads');

const loading = import('../../dist/index.js');

/** Attaches to the tree `laps` times; each time adds to shared keys and has one of its own come and go. */
exports.tree = async ({ handle, laps }) => {
  const { SharedTree } = await loading;
  for (let lap = 0; lap < laps; lap++) {
    const tree = SharedTree.attach(handle);
    for (let key = 0; key < 5; key++) tree.add(key, 1);
    if (!tree.put(1000 + threadId, lap) || !tree.delete(1000 + threadId))
      throw new Error('its own key was not its own');
    tree.close();
  }
};

/** Connects to the store `laps` times; the commands are awaited, blocking, or left to `close`. */
exports.store = async ({ handle, laps }) => {
  const { connect } = await loading;
  for (let lap = 0; lap < laps; lap++) {
    const client = await connect(handle);
    if (lap % 3 === 0) await client.add(lap % 5, 1);
    else if (lap % 3 === 1) client.addSync(lap % 5, 1);
    else void client.add(lap % 5, 1);
    if (client.tree.get(lap % 5) === undefined && lap % 3 !== 2) throw new Error('an answered write is not there');
    await client.close();
  }
};

/** Connects to both and writes until its thread is ended. `started` counts those that got so far. */
exports.stay = async ({ treeHandle, storeHandle, started }) => {
  const { connect, SharedTree } = await loading;
  const tree = SharedTree.attach(treeHandle);
  const client = await connect(storeHandle);
  Atomics.add(started, 0, 1);
  for (let i = 0; ; i++) {
    tree.get(i % 5);
    await client.putMany([2000 + threadId, 3000 + threadId], [i, i]);
  }
};
