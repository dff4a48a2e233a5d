/**
 * A rate limiter that all worker threads share: at most LIMIT requests of a user in a second, whichever threads they come to.
 *
 *   node demo/examples/rate-limiter.js
 *
 * There is a counter for each second and user, and adding to it is one atomic step: no two requests find the same count.
 * The seconds here are counted, not waited for, so that every run prints the same; a server takes them from its clock.
 */
import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { SharedMap, SharedTree } from 'sabtree/tree';

const LIMIT = 10;
const THREADS = 4;
const SECONDS = 3;
const USERS = 5;
/** Requests of each user, in each second, to each thread. */
const REQUESTS = 100;

/** The second stands before the user: so the counters of past seconds are one range. */
const keyOf = (second, user) => (BigInt(second) << 32n) | BigInt(user);

/** Whether a request may pass. */
function allow(counters, second, user) {
  const before = counters.add(keyOf(second, user), 1) ?? 0;
  return before < LIMIT;
}

/** What a server's thread does: counts which requests passed, by second and user. */
function serve(counters) {
  const passed = new Array(SECONDS * USERS).fill(0);
  for (let second = 0; second < SECONDS; second++) {
    for (let i = 0; i < REQUESTS; i++) {
      for (let user = 0; user < USERS; user++) {
        if (allow(counters, second, user)) passed[second * USERS + user]++;
      }
    }
  }
  return passed;
}

if (isMainThread) {
  const counters = SharedTree.create({ key: 'u64', value: 'u32', memory: '64MB' });
  const threads = Array.from(
    { length: THREADS },
    () => new Worker(new URL(import.meta.url), { workerData: counters.handle }),
  );
  const answers = await Promise.all(threads.map((thread) => once(thread, 'message')));

  const sums = new Array(SECONDS * USERS).fill(0);
  for (const [passed] of answers) for (const [i, count] of passed.entries()) sums[i] += count;
  const total = sums.reduce((sum, count) => sum + count, 0);
  console.log(`${THREADS * SECONDS * USERS * REQUESTS} requests to ${THREADS} threads, ${total} passed`);
  console.log(`per user and second: at least ${Math.min(...sums)}, at most ${Math.max(...sums)}`);

  // Past seconds are done with: their counters go.
  const dropped = new SharedMap(counters).deleteRange({ lt: keyOf(SECONDS - 1, 0) });
  console.log(`counters of past seconds dropped: ${dropped}, left: ${counters.size}`);
} else {
  const counters = SharedTree.attach(workerData);
  parentPort.postMessage(serve(counters));
  counters.close();
}
