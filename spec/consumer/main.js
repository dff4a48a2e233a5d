/**
 * A user's program in JavaScript: run in an empty project in which the package is installed. It prints one line of JSON,
 * and fails if anything differs from what it has to be.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { connect, open, SabtreeError, SharedMap, SharedTree } from 'sabtree';
import * as alone from 'sabtree/tree';

assert.equal(alone.SharedTree, SharedTree);
assert.equal(alone.SharedMap, SharedMap);
assert.equal('open' in alone, false);

const ADDS = 5000;
const tree = SharedTree.create({ key: 'u32', value: 'f64', memory: '16MB' });
const store = await open({ key: 'u32', value: 'f64', executors: 2, replicas: 2, memory: '16MB' });

const thread = new Worker(new URL('./thread.js', import.meta.url), {
  workerData: { tree: tree.handle, store: store.handle, adds: ADDS },
});
const answer = once(thread, 'message');
// Now, since it may come together with the message.
const exit = once(thread, 'exit');
for (let i = 0; i < ADDS; i++) tree.add(1, 1);
const here = await connect(store.handle);
for (let i = 0; i < 100; i++) await here.add(i % 10, 1);
await here.close();
assert.deepEqual(await answer, ['done']);
await exit;

assert.equal(tree.get(1), 2 * ADDS);
assert.equal(tree.check().entries, 1);
assert.equal(await store.get(3), 20);
const digests = await store.digests();
assert.equal(digests.length, 2);
assert.equal(digests[0].digest, digests[1].digest);
await store.close();

const map = new SharedMap(tree);
map.set(5, 0.5).set(3, 0.25);
assert.deepEqual([...map.keys()], [1, 3, 5]);
assert.throws(
  () => map.set(-1, 0),
  (error) => error instanceof SabtreeError && error.code === 'ERR_KEY',
);

console.log(JSON.stringify({ sum: tree.get(1), keys: [...map.keys()], replicas: digests.length }));
