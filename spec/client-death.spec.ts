/**
 * Threads with clients are ended at any moment, while they write in every way there is: the others go on, what the dead
 * had is given back, and nothing is half done.
 */
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { connect, type ModelName, modelNames } from '../dist/index.js';
import { CLIENT_FREE, CLIENT_STATE } from '../dist/layout/streams.js';
import { Witnesses } from './support/drills.ts';
import { type Random, seeded } from './support/random.ts';
import { type AnyStore, agreeOnReplicas, ClientThread, codeOf, inTime, until, withStore } from './support/stores.ts';

const MODELS = modelNames.filter((name) => name !== 'direct');
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
        await endSome(store, random, 3);
        await witnesses.check();
        const free = () => slots(store).filter((state) => state === CLIENT_FREE).length;
        await until('their slots are free', () => free() === 2);
        const middle = uses(store);
        await endSome(store, random, 3);
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
        expect(store.status()).toMatchObject({ state: 'open', losses: 0, clientsLost: 12, divergedAt: undefined });
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
});

afterAll(() => {
  // With a filter only some of the tests have run.
  if (ran >= 9) expect(kills).toBeGreaterThanOrEqual(8 * 12 + 24);
});
