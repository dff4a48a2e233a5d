/**
 * Clients that connect and leave at any time, from the threads of a pool (piscina), which live longer than their tasks, and from
 * the main thread beside them: nothing is left behind, however often.
 */
import { fileURLToPath } from 'node:url';
import { Piscina } from 'piscina';
import { afterEach, expect, it } from 'vitest';
import { connect, open, SharedTree, type Store } from '../dist/index.js';
import { inTime, until } from './support/stores.ts';

const THREADS = 3;
const task = fileURLToPath(new URL('./support/pool-task.cjs', import.meta.url));
const pools: Piscina[] = [];

/** A pool whose threads stay; what they share is passed with each task, as users of pools do. */
function makePool(options: object = {}): Piscina {
  const pool = new Piscina({ filename: task, minThreads: THREADS, maxThreads: THREADS, ...options });
  pools.push(pool);
  return pool;
}

afterEach(async () => {
  for (const pool of pools.splice(0)) await pool.destroy();
});

/** Each of `tasks` tasks in the pool, while the main thread comes and goes too. */
async function through(pool: Piscina, name: string, tasks: number, args: object, beside: () => void | Promise<void>) {
  let open = tasks;
  const all = Array.from({ length: tasks }, () => pool.run(args, { name }).finally(() => open--));
  const work = Promise.all(all);
  work.catch(() => {});
  while (open > 0) {
    await beside();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await inTime(name, work, 50_000);
}

/** What a store's clients hold: slots there, slots and bytes in the replicas' trees. */
function held(store: Store): object {
  const { clients, clientsLost, replicas } = store.status();
  const trees = replicas.map(({ replica }) => store.replica(replica).stats());
  return { clients, clientsLost, trees: trees.map(({ threads, bytesUsed }) => ({ threads, bytesUsed })) };
}

/** Bytes of this process, its pool's threads included, after what can be collected is collected. */
function residentBytes(): number {
  return process.memoryUsage.rss();
}

it('a tree: 6,000 attachments leave no slot and no byte behind', async () => {
  const tree = SharedTree.create({ key: 'u32', value: 'f64', memory: '64MB' });
  const pool = makePool();
  let here = 0;
  const beside = () => {
    const own = SharedTree.attach<number, number>(tree.handle);
    own.add(0, 1);
    own.close();
    here++;
  };
  const round = () => through(pool, 'tree', 12, { handle: tree.handle, laps: 250 }, beside);
  await round();
  const before = tree.stats();
  expect(before.threads).toBe(1);
  await round();
  const after = tree.stats();
  expect(after.threads).toBe(1);
  // A slot keeps its work block for the next thread: as many as were attached at once, and no more.
  expect(after.bytesUsed).toBeLessThanOrEqual(before.bytesUsed + 65536);
  expect([...tree]).toEqual([0, 1, 2, 3, 4].map((key) => [key, 6000 + (key === 0 ? here : 0)]));
  tree.check();
});

it('a store: 2,400 clients leave no slot and no byte behind', async () => {
  const store = await open({ key: 'u32', value: 'f64', executors: 1, replicas: 2, memory: '32MB', clients: 6 });
  try {
    const pool = makePool();
    let here = 0;
    const beside = async () => {
      const client = await connect<number, number>(store.handle);
      await client.add(100, 1);
      await client.close();
      here++;
    };
    const round = () => through(pool, 'store', 12, { handle: store.handle, laps: 100 }, beside);
    await round();
    const before = held(store);
    expect(before).toMatchObject({ clients: 1, clientsLost: 0 });
    const bytes = residentBytes();
    await round();
    expect(held(store)).toEqual(before);
    // 1,200 clients that left a megabyte each, or their tree's views and code, would be seen.
    expect(residentBytes() - bytes).toBeLessThan(200e6);
    const laps = Array.from({ length: 100 }, (_, lap) => lap % 5);
    const sums = [0, 1, 2, 3, 4].map((key): [number, number] => [key, 24 * laps.filter((one) => one === key).length]);
    expect(await store.range()).toEqual([...sums, [100, here]]);
    const [home, other] = await store.digests();
    expect(other.digest).toBe(home.digest);
  } finally {
    await store.close();
  }
});

it.runIf(process.platform === 'linux')('threads that the pool ends in the middle leave nothing locked', async () => {
  const store = await open({ key: 'u32', value: 'f64', executors: 1, replicas: 2, memory: '32MB', clients: 5 });
  const tree = SharedTree.create({ key: 'u32', value: 'f64', memory: '64MB' });
  try {
    for (let key = 0; key < 5; key++) tree.put(key, key);
    const started = new Int32Array(new SharedArrayBuffer(4));
    for (let round = 1; round <= 4; round++) {
      const pool = makePool();
      const stop = new AbortController();
      const args = { treeHandle: tree.handle, storeHandle: store.handle, started };
      const runs = Array.from({ length: THREADS }, () => pool.run(args, { name: 'stay', signal: stop.signal }));
      const ends = Promise.allSettled(runs);
      await until('they work', () => Atomics.load(started, 0) === round * THREADS);
      if (round % 2 === 0) stop.abort();
      else await pool.destroy();
      for (const end of await inTime('their ends', ends)) expect(end.status).toBe('rejected');
      await until('they are missed', () => store.status().clientsLost === round * THREADS);
      await until('their slots are free', () => store.status().clients === 1);
      // All places are free: as many as there are can connect at once, and are served.
      const clients = await Promise.all(Array.from({ length: 4 }, () => connect<number, number>(store.handle)));
      await Promise.all(clients.map((client, i) => client.put(i, round)));
      await Promise.all(clients.map((client) => client.close()));
    }
    expect(await store.range({ lt: 4 })).toEqual([0, 1, 2, 3].map((key) => [key, 4]));
    const [home, other] = await store.digests();
    expect(other.digest).toBe(home.digest);
    // A tree without a store hears of it from its user; until then the slots are kept.
    const { threads } = tree.stats();
    expect(threads).toBe(1 + 4 * THREADS);
    for (let thread = 1; thread < 256; thread++) if (thread !== tree.thread) tree.threadExited(thread);
    expect(tree.stats().threads).toBe(1);
    tree.check();
  } finally {
    await store.close();
  }
});
