/** The thread of main.js: works on the same tree, and in the same store. */
import { parentPort, workerData } from 'node:worker_threads';
import { connect } from 'sabtree';
import { SharedTree } from 'sabtree/tree';

const tree = SharedTree.attach(workerData.tree);
for (let i = 0; i < workerData.adds; i++) tree.add(1, 1);
tree.close();

const store = await connect(workerData.store);
for (let i = 0; i < 100; i++) store.addSync(i % 10, 1);
await store.close();
parentPort.postMessage('done');
