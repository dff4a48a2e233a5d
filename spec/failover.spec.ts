/**
 * Replicas are lost under load, and nobody notices but for a pause: every command is answered, once, with what it came to,
 * and carried out once; direct reads never go back. When the last replica is lost, everybody is told.
 */
import diagnostics from 'node:diagnostics_channel';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { Attachment } from '../dist/engine/attachment.js';
import { ValueCodec } from '../dist/engine/values.js';
import { connect, type ModelName, open, SharedTree, type StoreEvent, type TreeReader } from '../dist/index.js';
import { STREAMS_EPOCH, STREAMS_HOME, STREAMS_LAST_HOME } from '../dist/layout/streams.js';
import { HEADER_ROOT } from '../dist/layout/tree-memory.js';
import { Witnesses } from './support/drills.ts';
import { ThreadWatch } from './support/os-threads.ts';
import { type Random, seeded } from './support/random.ts';
import {
  type AnyStore,
  agreeOnReplicas,
  ClientThread,
  codeOf,
  inTime,
  REPLICATED,
  stall,
  until,
  withStore,
} from './support/stores.ts';

const MODELS = REPLICATED;

/** Kills of all tests of this file. */
let kills = 0;
let ran = 0;
beforeEach(() => {
  ran++;
});

const able = (store: AnyStore) =>
  store
    .status()
    .replicas.filter(({ state }) => state === 'home' || state === 'ready')
    .map(({ replica }) => replica);

/** All replicas are there, and one of them is home. */
const whole = (store: AnyStore) => able(store).length === store.status().replicas.length && store.status().home >= 0;

type Drill = 'home' | 'other' | "home's thread" | "another's thread" | 'two in a row' | 'while it is rebuilt';

/** One drill; kills that lost a replica. */
async function drill(store: AnyStore, random: Random, kind: Drill): Promise<void> {
  const { threads } = store.stats();
  const { home, losses } = store.status();
  const others = able(store).filter((replica) => replica !== home);
  const kill = async (replica: number, thread?: number) => {
    kills++;
    await store.kill(replica, thread);
  };
  let lost = 1;
  if (kind === 'home') await kill(home);
  else if (kind === "home's thread") await kill(home, random.below(threads));
  else if (kind === 'other') await kill(random.pick(others));
  else if (kind === "another's thread") await kill(random.pick(others), random.below(threads));
  else if (kind === 'two in a row') {
    // The second one may be the one that is just taking over.
    const first = store.kill(home, random.below(threads));
    kills++;
    await kill(others[0]);
    await first;
    lost = 2;
  } else {
    const victim = random.pick(others);
    await kill(victim);
    const state = () => store.status().replicas[victim].state;
    await until('it is being rebuilt', () => store.status().losses > losses && state() !== 'lost');
    if (state() === 'rebuilding') await kill(victim, random.below(threads));
  }
  await until(`${kind}: the loss is known`, () => store.status().losses >= losses + lost);
}

describe('under load', () => {
  // Two and three replicas by turns; sabtree chaos tries the others.
  const CASES = MODELS.map((model, i): [ModelName, number] => [model, 2 + (i % 2)]);

  it.each(CASES)(
    '%s, %d replicas: clients of all kinds go on, and every command is carried out once',
    async (model, replicas) => {
      await seeded(`failover ${model} ${replicas}`, async (random) => {
        const options = { model, replicas, executors: 2, fanout: 4, ring: 256, compareEvery: 100 } as const;
        await withStore(options, async (store) => {
          const events: StoreEvent[] = [];
          store.onEvent((event) => events.push(event));
          const witnesses = await Witnesses.start(store, ['sync', 'async']);
          const before = kills;
          const kinds: Drill[] = ["home's thread", 'while it is rebuilt'];
          kinds.push(random.pick(['home', 'other']), replicas > 2 ? 'two in a row' : "home's thread");
          for (const kind of random.shuffled(kinds)) {
            await witnesses.check();
            await drill(store, random, kind);
            await inTime('an own call', store.add(200_000, 1));
            await until(`${kind}: all replicas are back`, () => whole(store));
          }
          expect(kills - before).toBeGreaterThanOrEqual(4);
          await witnesses.end(store);
          expect(store.tree.get(200_000)).toBe(kinds.length);
          const status = store.status();
          expect(status).toMatchObject({ state: 'open', divergedAt: undefined });
          expect(status.failovers).toBeGreaterThanOrEqual(2);
          expect(status.lastPauseMs).toBeGreaterThan(0);
          expect(status.longestPauseMs).toBeGreaterThanOrEqual(status.lastPauseMs);
          expect(status.longestPauseMs).toBeLessThan(20_000);
          await until(
            'events have come',
            () => events.filter(({ type }) => type === 'rebuilt').length === status.rebuilds,
          );
          const count = (type: string) => events.filter((event) => event.type === type).length;
          expect([count('lost'), count('failover')]).toEqual([status.losses, status.failovers]);
          for (const event of events) {
            expect(['lost', 'failover', 'rebuilt', 'rebuild-failed', 'client-lost']).toContain(event.type);
            if (event.type === 'rebuild-failed') expect(event.final, event.reason).toBe(false);
            if (event.type === 'failover') expect(event.pauseMs).toBeGreaterThan(0);
            if (event.type === 'lost')
              expect(['a thread was ended', 'it could not be rebuilt']).toContain(event.reason);
          }
          await agreeOnReplicas(store, [...store.tree.range()]);
        });
      })();
    },
  );

  it('calls that block the very thread that opened the store', async () => {
    await withStore({ executors: 2, replicas: 2, fanout: 4, ring: 256 }, async (store) => {
      let sum = 0;
      for (let round = 1; round <= 10; round++) {
        const { home } = store.status();
        kills++;
        const killed = store.kill(home, round % 2);
        // Nothing that comes to this thread's event loop is needed.
        for (let i = 0; i < 3000; i++) {
          const before = store.addSync(7, 1);
          if ((before ?? 0) !== sum++) throw new Error(`addition ${sum} found ${before}`);
          if (i % 50 === 0 && store.tree.get(7) !== sum) throw new Error(`${sum} additions, read ${store.tree.get(7)}`);
        }
        while (store.status().failovers < round) store.getSync(7);
        await killed;
        await until('it is back', () => whole(store));
      }
      expect(store.tree.get(7)).toBe(30_000);
      await agreeOnReplicas(store, [...store.tree.range()]);
    });
  });

  it('is told by events and by diagnostics channels, until nobody wants to know any more', async () => {
    await withStore({ executors: 1, replicas: 2 }, async (store) => {
      const told: string[] = [];
      const heard: unknown[] = [];
      const end = store.onEvent(({ type }) => told.push(type));
      const channels = ['lost', 'failover', 'rebuilt'].map((type) => `sabtree:${type}`);
      const hear = (message: unknown, name: string | symbol) => {
        const { store: whose, ...event } = message as { store: unknown; type: string };
        expect(whose).toBe(store);
        expect(name).toBe(`sabtree:${event.type}`);
        heard.push(event);
      };
      for (const channel of channels) diagnostics.subscribe(channel, hear);
      kills++;
      await store.kill(0);
      await until('it is back', () => told.includes('rebuilt') && whole(store));
      expect(told).toEqual(['lost', 'failover', 'rebuilt']);
      expect(heard).toMatchObject([
        { type: 'lost', replica: 0, home: true, reason: 'a thread was ended' },
        { type: 'failover', replica: 1, pauseMs: expect.any(Number) },
        { type: 'rebuilt', replica: 0, from: 1, ms: expect.any(Number) },
      ]);
      expect(store.status()).toMatchObject({ home: 1, losses: 1, failovers: 1, rebuilds: 1, clientsLost: 0 });
      for (const channel of channels) diagnostics.unsubscribe(channel, hear);
      end();
      kills++;
      await store.kill(1);
      await until('it is back again', () => store.status().rebuilds === 2);
      await store.count();
      expect(told.length).toBe(3);
      expect(heard.length).toBe(3);
      // Drills have to name what there is.
      for (const wrong of [[2], [-1], [0, 1], [0.5], ['0']] as [number, number?][]) {
        expect(await codeOf(() => store.kill(...wrong))).toBe('ERR_ARGUMENT');
      }
      for (const wrong of [2, -1, '0'] as number[]) {
        expect(await codeOf(async () => store.replica(wrong))).toBe('ERR_ARGUMENT');
      }
      expect(await codeOf(async () => store.onEvent(undefined as never))).toBe('ERR_ARGUMENT');
      expect(await codeOf(() => store.clientExited(64))).toBe('ERR_ARGUMENT');
      // One that is not used is passed over, and one that is well where that is known.
      await store.clientExited(63);
      if (process.platform === 'linux') {
        await store.clientExited(store.id);
        expect(await inTime('an own call', store.put(1, 1))).toBe(true);
      }
      expect(store.status().clientsLost).toBe(0);
    });
  });

  it('a drill of a store that has ended, or that has no threads, is refused; a client that exits then is passed over', async () => {
    const closed = await withStore({ executors: 1 }, (store) => store);
    expect(await codeOf(() => closed.kill(0))).toBe('ERR_CLOSED');
    await closed.clientExited(1);
    await withStore({ model: 'direct' }, async (store) => {
      await expect(store.kill(0)).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED', value: 'direct' });
      await store.clientExited(1);
    });
    // While it ends, too.
    const closing = await withStore({ executors: 1 }, async (store) => {
      const end = store.close();
      const codes: string[] = [];
      for (let over = false; !over; ) {
        codes.push(await codeOf(() => store.kill(0)));
        over = await Promise.race([end.then(() => true), new Promise<boolean>((go) => setImmediate(go, false))]);
      }
      return codes;
    });
    expect(closing.length).toBeGreaterThan(0);
    for (const code of closing) expect(['ERR_CLOSED', 'no error']).toContain(code);
  });
});

describe('a direct read that is under way when another replica becomes home', () => {
  /** Each of them finds something else in replica 1. */
  const READS: Readonly<Record<string, (tree: TreeReader<number, number>) => unknown>> = {
    get: (tree) => tree.get(777),
    has: (tree) => tree.has(777),
    getMany: (tree) => [...tree.getMany([1, 777])],
    last: (tree) => tree.last(),
    floor: (tree) => tree.floor(800),
    ceiling: (tree) => tree.ceiling(700),
    range: (tree) => [...tree.range({ gte: 498 })],
    reverse: (tree) => [...tree.range({ lt: 900, gt: 490, reverse: true })],
    forRange: (tree) => {
      let sum = 0;
      tree.forRange({ gte: 400 }, (_, value) => {
        sum += value;
      });
      return sum;
    },
    check: (tree) => tree.check().entries,
  };

  it.each(Object.keys(READS))('%s: is made again there', async (name) => {
    await withStore({ executors: 1, replicas: 2, fanout: 4, compareEvery: 0 }, async (store) => {
      const keys = Array.from({ length: 500 }, (_, i) => i);
      await store.putMany(keys, keys);
      await store.digests();
      const other = store.replica(1) as TreeReader<number, number>;
      const { handle } = other;
      const writer = SharedTree.attach<number, number>(handle);
      writer.put(777, 7);
      writer.close();
      const tree = store.tree as unknown as TreeReader<number, number> & { core: object };
      const read = READS[name];
      const [before, wanted] = [read(tree), read(other)];
      expect(before).not.toEqual(wanted);
      // Behind the first call of the core the home replica is another one.
      const { words } = store.streams;
      const { core } = tree.attachment;
      let calls = 0;
      const trap: Record<string, unknown> = {};
      for (const [call, act] of Object.entries(core) as [string, (...given: unknown[]) => unknown][]) {
        trap[call] = (...args: unknown[]) => {
          const answer = act(...args);
          if (calls++ === 0) {
            Atomics.store(words, STREAMS_HOME >> 2, 1);
            Atomics.store(words, STREAMS_LAST_HOME >> 2, 1);
            Atomics.add(words, STREAMS_EPOCH >> 2, 2);
          }
          return answer;
        };
      }
      tree.core = trap as never;
      tree.attachment.core = trap as never;
      expect(read(tree)).toEqual(wanted);
      expect(calls).toBeGreaterThan(0);
    });
  });
});

describe('the last replica', () => {
  it.each(MODELS)('%s: when it is lost, everybody is told, and nobody hangs', async (model) => {
    const options = { model, executors: 2, replicas: 2, fanout: 4, ring: 256, rebuild: false } as const;
    await withStore(options, async (store) => {
      const events: StoreEvent[] = [];
      store.onEvent((event) => events.push(event));
      await store.put(9, 9);
      const witnesses = await Witnesses.start(store, ['sync', 'async']);
      await until('load', () => store.stats().commands > 200);
      kills++;
      await store.kill(0, 0);
      await until('another one took over', () => store.status().home === 1);
      await store.put(10, 10);
      const own = Array.from({ length: 500 }, (_, i) => codeOf(() => store.put(300_000 + i, i)));
      kills++;
      await store.kill(1, store.stats().threads - 1);
      const codes = await inTime('own calls', Promise.all(own));
      for (const code of codes) expect(['no error', 'ERR_REPLICAS_LOST']).toContain(code);
      for (const failure of await witnesses.failures())
        expect(failure).toMatch(/the last replica was lost: a thread was ended|has been latched by thread/);
      for (const call of [
        () => store.put(1, 1),
        () => store.getSync(1),
        () => store.digests(),
        () => connect(store.handle),
      ])
        expect(await codeOf(call), String(call)).toBe('ERR_REPLICAS_LOST');
      await until('it is told', () => events.some(({ type }) => type === 'failed'));
      expect(store.status()).toMatchObject({ state: 'failed', home: -1, losses: 2, failovers: 1, rebuilds: 0 });
      expect(store.status().replicas.map(({ state }) => state)).toEqual(['lost', 'lost']);
      // What was answered stays readable, as far as the dead threads have left no latch.
      const direct = await codeOf(() => {
        expect([store.tree.get(9), store.tree.get(10)]).toEqual([9, 10]);
        for (const [i, code] of codes.entries()) {
          if (code === 'no error' && store.tree.get(300_000 + i) !== i) throw new Error(`key ${300_000 + i} is gone`);
        }
      });
      expect(['no error', 'ERR_LATCH_LOST']).toContain(direct);
    });
  });

  it('and the one before it at the same moment', async () => {
    await seeded('all at once', async (random) => {
      for (let round = 0; round < 6; round++) {
        await withStore({ executors: 2, replicas: 3, fanout: 4, ring: 256 }, async (store) => {
          const witnesses = await Witnesses.start(store, ['async']);
          await until('load', () => store.stats().commands > 100);
          kills += 3;
          await Promise.all(random.shuffled([0, 1, 2]).map((replica) => store.kill(replica, random.below(2))));
          await until('the end', () => store.status().state === 'failed');
          for (const failure of await witnesses.failures())
            expect(failure).toMatch(/the last replica was lost|has been latched by thread/);
          expect(await codeOf(() => store.put(1, 1))).toBe('ERR_REPLICAS_LOST');
        });
      }
    })();
  });

  it('is lost to everybody when the supervisor ends: nobody would notice anything any more', async () => {
    const watch = new ThreadWatch();
    await watch.begin();
    const store = (await open({
      key: 'u32',
      value: 'f64',
      executors: 2,
      replicas: 2,
      memory: '16MB',
    })) as unknown as AnyStore;
    await store.put(1, 1);
    const threads = ['sync', 'async'].map(
      (how, client) => new ClientThread<{ code: string }>(store.handle, 'load', { how, client }),
    );
    await inTime('clients connect', Promise.all(threads.map(({ connected }) => connected)));
    const { supervision } = store as unknown as { supervision: { thread: { terminate(): Promise<void> } } };
    const drill = store.kill(1);
    await supervision.thread.terminate();
    // Nor does anybody wait for what it was told.
    await inTime('a drill', drill);
    await inTime('a drill', store.kill(0));
    await inTime('a client', store.clientExited(5));
    for (const { result } of threads) expect((await inTime('a client ends', result)).code).toBe('ERR_REPLICAS_LOST');
    await Promise.all(threads.map(({ worker }) => worker.terminate()));
    expect(await codeOf(() => store.put(1, 1))).toBe('ERR_REPLICAS_LOST');
    expect(store.status().state).toBe('failed');
    await inTime('close', store.close());
    await watch.end();
  });

  it.skipIf(process.platform !== 'linux')('is lost to everybody when the thread that opened it ends', async () => {
    const threads = new ThreadWatch();
    await threads.begin();
    const code = `
      import { parentPort } from 'node:worker_threads';
      import { open } from ${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)};
      const store = await open({ key: 'u32', value: 'f64', executors: 2, replicas: 2, memory: '16MB' });
      parentPort.on('message', () => {});
      parentPort.postMessage(store.handle);
    `;
    const owner = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));
    const [handle] = await once(owner, 'message');
    const client = await connect(handle);
    await client.put(4_000_000_000, 2);
    const watched = codeOf(() => client.watch(undefined, () => {}).closed);
    const clients = ['sync', 'async'].map(
      (how, i) => new ClientThread<{ code: string }>(handle, 'load', { how, client: i }),
    );
    await inTime('clients connect', Promise.all(clients.map(({ connected }) => connected)));
    await owner.terminate();
    for (const { result } of clients) expect((await inTime('a client ends', result)).code).toBe('ERR_REPLICAS_LOST');
    await Promise.all(clients.map(({ worker }) => worker.terminate()));
    expect(await inTime('a watch ends', watched)).toBe('ERR_REPLICAS_LOST');
    for (const call of [() => client.put(1, 1), () => client.getSync(1), () => connect(handle)]) {
      expect(await inTime('a call', codeOf(call)), String(call)).toBe('ERR_REPLICAS_LOST');
    }
    // What was answered is there.
    expect(client.tree.get(4_000_000_000)).toBe(2);
    await inTime('close', client.close());
    await threads.end();
  });
});

describe('a replica that cannot go on', () => {
  it.each([
    ['home', 0],
    ['another', 1],
  ])('%s, at a latch that is never given back: it is lost, and comes back', async (_, replica) => {
    await withStore({ executors: 2, replicas: 2, fanout: 4, ring: 256, latchTimeout: 300 }, async (store) => {
      const events: StoreEvent[] = [];
      store.onEvent((event) => events.push(event));
      const witnesses = await Witnesses.start(store, ['sync', 'async'], { direct: false });
      await until('load', () => store.stats().commands > 100);
      latchRoot(store, replica);
      await until('it is lost', () => store.status().losses === 1);
      await until('it is back', () => whole(store));
      expect(events[0]).toMatchObject({
        type: 'lost',
        replica,
        home: replica === 0,
        reason: 'a latch was never given back',
      });
      expect(store.status()).toMatchObject({ state: 'open', home: 1 - replica, losses: 1 });
      await witnesses.end(store);
      await agreeOnReplicas(store, [...store.tree.range()]);
    });
  });

  it.each([
    ['home', 0],
    ['another', 1],
  ])('%s, that stands still: it is taken out after a while, and comes back', async (_, replica) => {
    const options = {
      executors: 2,
      replicas: 2,
      fanout: 4,
      ring: 256,
      latchTimeout: 60_000,
      stallTimeout: 1500,
    } as const;
    await withStore(options, async (store) => {
      const events: StoreEvent[] = [];
      store.onEvent((event) => events.push(event));
      const keys = Array.from({ length: 500 }, (_, i) => 300_000 + i);
      await store.putMany(keys, keys);
      await store.digests();
      stall(store, replica);
      const witnesses = await Witnesses.start(store, ['sync', 'async'], { direct: false });
      await until('it is lost', () => store.status().losses === 1);
      await until('it is back', () => whole(store));
      expect(events[0]).toMatchObject({ type: 'lost', replica, reason: 'it made no progress' });
      expect(await inTime('an own call', store.putMany(keys, keys))).toBe(0);
      await witnesses.end(store);
      await agreeOnReplicas(store, [...store.tree.range()]);
    });
  });

  it('home, and whoever reads there directly: they go on in the next one, without waiting for the latch', async () => {
    const options = {
      executors: 2,
      replicas: 2,
      fanout: 4,
      latchTimeout: 60_000,
      stallTimeout: 60_000,
      rebuild: false,
    } as const;
    await withStore(options, async (store) => {
      const witnesses = await Witnesses.start(store, ['sync', 'async']);
      await until('load', () => store.stats().commands > 100);
      latchRoot(store, 0);
      // By now all of them wait at the root.
      await new Promise((resolve) => setTimeout(resolve, 50));
      kills++;
      await store.kill(0);
      await until('another one takes over', () => store.status().home === 1);
      await inTime('an own call', store.put(300_000, 1));
      expect(store.tree.get(300_000)).toBe(1);
      const { commands } = store.stats();
      await until('they go on', () => store.stats().commands > commands + 200);
      await witnesses.end(store);
      expect(store.status()).toMatchObject({ state: 'open', losses: 1, failovers: 1 });
    });
  });

  it('the only one, at a latch that is never given back: everybody is told', async () => {
    await withStore({ executors: 2, replicas: 1, fanout: 4, latchTimeout: 300 }, async (store) => {
      await store.put(1, 1);
      const release = stall(store, 0);
      const calls = Array.from({ length: 20 }, (_, i) => codeOf(() => store.put(i, i)));
      expect(new Set(await inTime('calls', Promise.all(calls)))).toEqual(new Set(['ERR_LATCH_LOST']));
      expect(await codeOf(() => store.getSync(1))).toBe('ERR_LATCH_LOST');
      expect(await codeOf(() => connect(store.handle))).toBe('ERR_LATCH_LOST');
      // And so is who reads directly, as long as it is not given back.
      expect(await codeOf(() => store.tree.get(1))).toBe('ERR_LATCH_LOST');
      release();
      expect(store.tree.get(1)).toBe(1);
    });
  });

  it.each([
    ['home', 0, true],
    ['another', 1, true],
    ['home', 0, false],
    ['another', 1, false],
  ])('%s, out of memory, which the others have: they go on (replica %d, rebuild: %s)', async (_, replica, rebuild) => {
    const options = { executors: 2, replicas: 2, fanout: 4, ring: 256, memory: '16MB', rebuild } as const;
    await withStore(options, async (store) => {
      const events: StoreEvent[] = [];
      store.onEvent((event) => events.push(event));
      const few = Array.from({ length: 200 }, (_, i) => i);
      await store.putMany(few, few);
      // Somebody takes all the memory that this replica may have.
      const hog = new Attachment(store.handle.memories[replica], undefined, new ValueCodec('f64'));
      for (let bytes = 1 << 20; bytes >= 64; bytes >>= 1) while (hog.core.allocateBlock(bytes) !== 0);
      const keys = Array.from({ length: 3000 }, (_, i) => 1000 + i);
      expect(await inTime('new keys', store.putMany(keys, keys))).toBe(keys.length);
      await until('it is lost', () => store.status().losses > 0);
      await until('it is told', () => events.length > 0);
      expect(events[0]).toMatchObject({
        type: 'lost',
        replica,
        home: replica === 0,
        reason: 'its memory is at its maximum',
      });
      // Loading it does not help, but does no harm either.
      expect(await inTime('more', store.deleteMany(keys))).toBe(keys.length);
      expect(await inTime('and again', store.putMany(keys, keys))).toBe(keys.length);
      expect(store.status()).toMatchObject({ state: 'open', home: 1 - replica });
      for (const key of [...few, ...keys]) if (store.tree.get(key) !== key) throw new Error(`key ${key} is gone`);
      expect(store.tree.check()).toMatchObject({ entries: 3200 });
      if (!rebuild) expect(store.status()).toMatchObject({ losses: 1, rebuilds: 0 });
    });
  });
});

/** Latches the root of a replica's tree for good, as soon as none of its threads has it. */
function latchRoot(store: AnyStore, replica: number): void {
  const { buffer } = store.handle.memories[replica];
  const root = Atomics.load(new Uint32Array(buffer, HEADER_ROOT, 1), 0);
  const version = new BigUint64Array(buffer, root, 1);
  for (;;) {
    const before = Atomics.load(version, 0) & ~1n;
    if (Atomics.compareExchange(version, 0, before, before | 1n) === before) return;
  }
}

afterAll(() => {
  // With a filter only some of the tests have run.
  if (ran >= 22) expect(kills).toBeGreaterThanOrEqual(8 * 4 + 10 + 2 + 16 + 18);
});
