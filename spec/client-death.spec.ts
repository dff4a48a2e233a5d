/**
 * Threads with clients are ended at any moment, while they write in every way there is: the others go on, what the dead
 * had is given back, and nothing is half done.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { connect, type ModelName } from '../dist/index.js';
import { NODE_COUNT, VERSION_COUNT_SHIFT, VERSION_OWNER_SHIFT } from '../dist/layout/node.js';
import { CLIENT_FREE, CLIENT_STATE, CLIENT_THREAD } from '../dist/layout/streams.js';
import {
  BLOCK_VALUE,
  HEADER_BRANCH_CHILDREN,
  HEADER_ROOT,
  SCAN_LEAF_SIZE,
  THREAD_BLOCK,
  THREAD_SIZE,
  THREADS,
} from '../dist/layout/tree-memory.js';
import { Witnesses } from './support/drills.ts';
import { type Random, seeded } from './support/random.ts';
import {
  type AnyStore,
  agreeOnReplicas,
  ClientThread,
  codeOf,
  inTime,
  SOME_MODELS,
  until,
  withStore,
} from './support/stores.ts';

const MODELS = SOME_MODELS;
const WAYS = ['putMany', 'batch', 'putAll', 'mixed', 'calls'];
const LINUX = process.platform === 'linux';

/** Threads ended by all tests of this file. */
let kills = 0;
let ran = 0;
beforeEach(() => {
  ran++;
});

/** States of the client slots. */
const slots = ({ streams }: AnyStore) =>
  Array.from({ length: streams.shape.clients }, (_, client) =>
    Atomics.load(streams.words, (streams.client(client) + CLIENT_STATE) >> 2),
  );

/** Threads attached to each replica's tree, and bytes taken there. */
function uses(store: AnyStore): { threads: number[]; bytes: number[] } {
  const stats = store.status().replicas.map(({ replica }) => store.replica(replica).stats());
  return { threads: stats.map(({ threads }) => threads), bytes: stats.map(({ bytesUsed }) => bytesUsed) };
}

/** The leaves of a tree of numeric keys, from left to right. */
function leavesOf(words: Uint32Array): number[] {
  const leaves: number[] = [];
  const visit = (node: number): void => {
    const head = words[(node + NODE_COUNT) >> 2];
    const children = (node + words[HEADER_BRANCH_CHILDREN >> 2]) >> 2;
    if (head >>> 16 === 0) leaves.push(node);
    else for (const child of words.subarray(children, children + (head & 0xffff) + 1)) visit(child);
  };
  visit(words[HEADER_ROOT >> 2]);
  return leaves;
}

/** Latches a leaf for a thread. */
function latch(versions: BigUint64Array, leaf: number, thread: number): void {
  const count = versions[leaf >> 3] >> BigInt(VERSION_COUNT_SHIFT);
  versions[leaf >> 3] = (count << BigInt(VERSION_COUNT_SHIFT)) | (BigInt(thread) << BigInt(VERSION_OWNER_SHIFT)) | 1n;
}

/** Latches leaves as a long scan leaves them that is broken off: noted, and not changed. */
function latchForReading(memory: WebAssembly.Memory, thread: number, leaves: readonly number[]): void {
  const words = new Uint32Array(memory.buffer);
  const versions = new BigUint64Array(memory.buffer);
  const noted = words[(THREADS + thread * THREAD_SIZE + THREAD_BLOCK) >> 2] + ((BLOCK_VALUE + 2 * 8 + 63) & ~63);
  for (const [place, leaf] of leaves.entries()) {
    versions[(noted + place * SCAN_LEAF_SIZE) >> 3] = versions[leaf >> 3];
    words[(noted + place * SCAN_LEAF_SIZE + 8) >> 2] = leaf;
    latch(versions, leaf, thread);
  }
}

/** Has a client named after a thread that is not there. */
function pretendDead(store: AnyStore, client: number): void {
  Atomics.store(store.streams.words, (store.streams.client(client) + CLIENT_THREAD) >> 2, 2 ** 30);
}

/** Two clients at a time, which are ended after a while. @param drill what is done besides. */
async function endSome(store: AnyStore, random: Random, rounds: number, drill = async () => {}): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const victims = [0, 1].map((n) => {
      const how = WAYS[(kills + n + (round & 1)) % WAYS.length];
      return new ClientThread(store.handle, 'victim', { client: 5 + n, how, patient: true });
    });
    await inTime('clients connect', Promise.all(victims.map(({ connected }) => connected)));
    const { clientsLost } = store.status();
    for (const { worker } of victims) {
      await new Promise((resolve) => setTimeout(resolve, random.below(15)));
      await worker.terminate();
      kills++;
    }
    await drill();
    // Elsewhere the store has to be told.
    if (!LINUX) for (let client = 2; client < 4; client++) await store.clientExited(client);
    await until('it is noticed', () => store.status().clientsLost === clientsLost + 2);
  }
}

describe('clients whose threads end while they write', () => {
  it.each(MODELS)('%s: the others go on, and everything they had is free again', async (model: ModelName) => {
    await seeded(`client death ${model}`, async (random) => {
      // The thread that opened the store, a witness, and two that die.
      const options = { model, executors: 2, replicas: 2, clients: 4, ring: 256, fanout: 4, memory: '64MB' } as const;
      await withStore(options, async (store) => {
        const together = [100, 101, 102, 103];
        await store.putAll(together, [0, 0, 0, 0]);
        const before = uses(store);
        const witnesses = await Witnesses.start(store, ['sync']);
        await endSome(store, random, 2);
        await witnesses.check();
        const free = () => slots(store).filter((state) => state === CLIENT_FREE).length;
        await until('their slots are free', () => free() === 2);
        const middle = uses(store);
        await endSome(store, random, 2);
        await until('their slots are free again', () => free() === 2);
        expect(await inTime('an own call', store.put(200_000, 1))).toBe(true);
        await witnesses.check();
        await witnesses.end(store);
        await until('all slots are free', () => free() === 3);
        // As many can connect as before, and write and read.
        const clients = await Promise.all([1, 2, 3].map(() => connect<number, number>(store.handle)));
        expect(await codeOf(() => connect(store.handle))).toBe('ERR_TOO_MANY_THREADS');
        for (const client of clients) {
          expect(await inTime('a call', client.put(200_000, 2))).toBe(false);
          expect(client.tree.get(200_000)).toBe(2);
          await client.close();
        }
        // What was written at one place of the order is whole.
        expect(new Set(await store.getAll(together)).size).toBe(1);
        await agreeOnReplicas(store, [...store.tree.range()]);
        const after = uses(store);
        expect(after.threads).toEqual(before.threads);
        for (const [replica, bytes] of after.bytes.entries()) {
          // The keys are the same in both halves; only the shape of the tree may differ.
          expect(bytes, `bytes of replica ${replica}`).toBeLessThan(middle.bytes[replica] * 1.15 + 100_000);
        }
        expect(store.status()).toMatchObject({ state: 'open', losses: 0, clientsLost: 8, divergedAt: undefined });
      });
    })();
  });

  it('and replicas are lost meanwhile', async () => {
    await seeded('clients and replicas', async (random) => {
      const options = { executors: 2, replicas: 2, clients: 4, ring: 256, fanout: 4, memory: '64MB' } as const;
      await withStore(options, async (store) => {
        const witnesses = await Witnesses.start(store, ['async']);
        const whole = () => store.status().replicas.every(({ state }) => state === 'home' || state === 'ready');
        let losses = 0;
        await endSome(store, random, 12, async () => {
          if (random.chance(0.3)) return;
          await until('all replicas are back', whole);
          await store.kill(random.below(2), random.below(2));
          losses++;
          kills++;
          await until('the loss is noticed', () => store.status().losses === losses);
        });
        await until('all replicas are back', whole);
        await witnesses.end(store);
        expect(losses).toBeGreaterThan(3);
        await until('all slots are free', () => slots(store).filter((state) => state === CLIENT_FREE).length === 3);
        expect(new Set(await store.getAll([100, 101, 102, 103])).size).toBe(1);
        await agreeOnReplicas(store, [...store.tree.range()]);
        expect(store.status()).toMatchObject({ state: 'open', losses, rebuilds: losses, clientsLost: 24 });
        // The store's own client has read in both trees.
        expect(uses(store).threads.every((threads) => threads <= 2 + 2)).toBe(true);
      });
    })();
  });

  it('that end while they connect, too', async () => {
    await seeded('death at the door', async (random) => {
      await withStore({ executors: 2, replicas: 2, clients: 8, ring: 256, memory: '64MB' }, async (store) => {
        const before = uses(store);
        for (let round = 0; round < 12; round++) {
          const workers = [0, 1].map(() => {
            const worker = new Worker(new URL('./support/client-thread.mjs', import.meta.url), {
              workerData: {
                handle: store.handle,
                task: 'victim',
                args: { client: 5, how: 'putMany', announce: true },
                seed: round,
              },
            });
            worker.on('error', () => {});
            return worker;
          });
          await inTime('workers', Promise.all(workers.map((worker) => once(worker, 'message'))));
          const end = performance.now() + random.below(40) / 2;
          while (performance.now() < end);
          await Promise.all(workers.map((worker) => worker.terminate()));
          kills += 2;
        }
        if (!LINUX) for (let client = 1; client < 8; client++) await store.clientExited(client);
        await until('all slots are free', () => slots(store).filter((state) => state === CLIENT_FREE).length === 7);
        expect(await inTime('an own call', store.put(1, 1))).toBe(true);
        expect(uses(store).threads).toEqual(before.threads);
      });
    })();
  });

  it('latches that a dead reader held are given back: nothing was changed under them', async () => {
    await withStore({ executors: 2, replicas: 1, clients: 4, fanout: 4, latchTimeout: 500 }, async (store) => {
      const keys = Array.from({ length: 500 }, (_, i) => i);
      await store.putMany(keys, keys);
      const [memory] = store.handle.memories;
      for (let round = 0; round < 5; round++) {
        await until('a free slot', () => slots(store).includes(CLIENT_FREE));
        const client = await connect<number, number>(store.handle);
        expect(client.tree.get(round)).toBe(round);
        const leaves = leavesOf(new Uint32Array(memory.buffer));
        latchForReading(memory, client.tree.thread, leaves.slice(round, round + 40));
        pretendDead(store, client.id);
        await store.clientExited(client.id);
        expect(await inTime('writes', store.putMany(keys, keys))).toBe(0);
        expect(await inTime('and structure changes', store.deleteMany(keys.slice(100, 400)))).toBe(300);
        expect(await inTime('the other way', store.putMany(keys, keys))).toBe(300);
        expect(store.tree.check()).toMatchObject({ entries: 500, quiet: true });
      }
      expect(store.status()).toMatchObject({ state: 'open', losses: 0, clientsLost: 5 });
    });
  });

  it.runIf(LINUX)('one that is well is not taken for dead, and one that left early leaves nothing behind', async () => {
    await withStore({ executors: 2, replicas: 2, clients: 3, ring: 256 }, async (store) => {
      for (let round = 0; round < 4; round++) {
        // The slot of the one before is free once all that it sent has been executed.
        await until('a free slot', () => slots(store).includes(CLIENT_FREE));
        const client = await connect<number, number>(store.handle);
        const calls = Array.from({ length: 500 }, (_, i) => codeOf(() => client.put(i, round)));
        // Without waiting for the answers: those that are not there are refused.
        (client as unknown as { client: { close(): void } }).client.close();
        for (const code of await inTime('calls', Promise.all(calls)))
          expect(['no error', 'ERR_CLOSED']).toContain(code);
        client.tree.close();
      }
      await until('all slots are free', () => slots(store).filter((state) => state === CLIENT_FREE).length === 2);
      expect(store.status().clientsLost).toBe(0);
      expect(store.replica(0).stats().threads).toBe(2 + 1);
    });
  });

  it('that the store is told of when it is closed already', async () => {
    await withStore({ replicas: 2 }, async (store) => {
      const client = await connect<number, number>(store.handle);
      // Under way when the store is closed: it has an end as well.
      const drill = store.kill(1).catch(() => {});
      await client.close();
      await store.close();
      await inTime('the drill', drill);
      await store.clientExited(client.id);
      expect(await codeOf(() => store.kill(0))).toBe('ERR_CLOSED');
    });
  });
});

describe('clients of the model direct whose threads end', () => {
  const options = { model: 'direct', clients: 3, fanout: 4, latchTimeout: 60_000 } as const;
  const keys = Array.from({ length: 500 }, (_, i) => i);

  it('leave their places and their slots in the tree to the next ones', async () => {
    await withStore(options, async (store) => {
      await store.putMany(keys, keys);
      const before = uses(store).threads;
      for (let round = 1; round <= 8; round++) {
        const readers = [0, 1].map(() => new ClientThread(store.handle, 'reader', { from: 0, to: 500 }));
        await inTime('clients connect', Promise.all(readers.map(({ connected }) => connected)));
        expect(slots(store)).not.toContain(CLIENT_FREE);
        for (const { worker } of readers) {
          await new Promise((resolve) => setTimeout(resolve, round));
          await worker.terminate();
        }
        if (!LINUX) for (const client of [1, 2]) await store.clientExited(client);
        expect(await inTime('writes', store.putMany(keys, keys))).toBe(0);
      }
      const last = await connect<number, number>(store.handle);
      expect(uses(store).threads[0]).toBe(before[0] + 2);
      await last.close();
      expect(uses(store).threads).toEqual(before);
      expect(store.status()).toMatchObject({ state: 'open', clientsLost: 16 });
      expect(store.tree.check()).toMatchObject({ entries: 500, quiet: true });
    });
  });

  it.each(LINUX ? ['by itself', 'told'] : ['told'])(
    '%s: what they had latched for reading is given back',
    async (how) => {
      await withStore(options, async (store) => {
        await store.putMany(keys, keys);
        const [memory] = store.handle.memories;
        const client = await connect<number, number>(store.handle);
        expect(client.tree.get(7)).toBe(7);
        latchForReading(memory, client.tree.thread, leavesOf(new Uint32Array(memory.buffer)).slice(0, 40));
        pretendDead(store, client.id);
        if (how === 'told') await store.clientExited(client.id);
        const since = performance.now();
        expect(await store.deleteMany(keys.slice(0, 300))).toBe(300);
        expect(performance.now() - since).toBeLessThan(options.latchTimeout / 2);
        expect(store.tree.check()).toMatchObject({ entries: 200, quiet: true });
        expect(slots(store).filter((state) => state === CLIENT_FREE).length).toBe(2);
        expect(store.status().clientsLost).toBe(1);
        // Once more: there is no such client.
        await store.clientExited(client.id);
        expect(store.status().clientsLost).toBe(1);
      });
    },
  );

  it.runIf(LINUX)(
    'leave the tree damaged where they were writing, and whoever comes there learns it at once',
    async () => {
      await withStore(options, async (store) => {
        await store.putMany(keys, keys);
        const [memory] = store.handle.memories;
        const client = await connect<number, number>(store.handle);
        await client.put(1, 1);
        const leaves = leavesOf(new Uint32Array(memory.buffer));
        const writer = (client.client as unknown as { tree: { thread: number } }).tree.thread;
        latch(new BigUint64Array(memory.buffer), leaves[0], writer);
        pretendDead(store, client.id);
        const since = performance.now();
        expect(await codeOf(() => store.put(0, 5))).toBe('ERR_LATCH_LOST');
        expect(performance.now() - since).toBeLessThan(options.latchTimeout / 2);
        expect(await codeOf(() => store.tree.get(0))).toBe('ERR_LATCH_LOST');
        expect(await store.put(499, 5)).toBe(false);
        expect(store.tree.get(499)).toBe(5);
      });
    },
  );
});

afterAll(() => {
  // With a filter only some of the tests have run.
  if (ran > MODELS.length) expect(kills).toBeGreaterThanOrEqual(MODELS.length * 8 + 24);
});
