/** How a store ends, and how it goes on: closing under load, threads of replicas that die, memory that runs out. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connect, open, type StoreEvent, type StoreHandle } from '../dist/index.js';
import { modelOf } from '../dist/workers/models/index.js';
import { ThreadWatch } from './support/os-threads.ts';
import { agreeOnReplicas, ClientThread, codeOf, inTime, SOME_MODELS, until, withStore } from './support/stores.ts';

const MODELS = SOME_MODELS;

// Every thread that a test starts must have ended when the test has: those that this thread started, and those that
// these started.
let started: Worker[] = [];
const note = (worker: Worker) => started.push(worker);
const watch = new ThreadWatch();
beforeEach(async () => {
  started = [];
  process.on('worker', note);
  await watch.begin();
});
afterEach(async () => {
  process.off('worker', note);
  // An ended worker has no id any more.
  await until('no thread left', () => started.every(({ threadId }) => threadId === -1), 2000);
  await watch.end();
});

/** Clients that write without end, in every way there is. */
async function loaders(handle: StoreHandle): Promise<ClientThread<{ code: string; name: string }>[]> {
  const threads = ['sync', 'async', 'ordered', 'calls'].map(
    (how, client) => new ClientThread<{ code: string; name: string }>(handle, 'load', { how, client }),
  );
  await inTime('clients connect', Promise.all(threads.map(({ connected }) => connected)));
  return threads;
}

async function endsOf(threads: readonly ClientThread<{ code: string; name: string }>[]): Promise<string[]> {
  const ends = await inTime('clients end', Promise.all(threads.map(({ result }) => result)));
  await Promise.all(threads.map(({ worker }) => worker.terminate()));
  for (const { name } of ends) expect(name).toBe('SabtreeError');
  return ends.map(({ code }) => code);
}

describe('closing', () => {
  it.each(MODELS)('%s, under load of every kind from four threads: ERR_CLOSED for all, nobody hangs', async (model) => {
    const options = { key: 'u32', value: 'f64', model, executors: 2, replicas: 2, fanout: 4, memory: '32MB' } as const;
    const store = await open({ ...options, ring: 256 });
    // One thread that watches; it has started the others.
    expect(started.length).toBe(1);
    if (watch.counts) {
      expect(watch.more).toBe(1 + 2 * modelOf(model).threads(model === 'smr' || model === 'pipelined' ? 1 : 2));
    }
    const threads = await loaders(store.handle);
    await until('load', () => store.stats().commands > 200);
    const own = [store.put(1, 1), store.range({ limit: 5 }), store.putMany([1, 2, 3], [1, 2, 3])];
    const closed = inTime('close', store.close());
    // Calls made before are answered; calls made meanwhile are answered or refused.
    const late = codeOf(() => store.put(2, 2));
    expect((await Promise.all(own)).length).toBe(3);
    await closed;
    expect(['no error', 'ERR_CLOSED']).toContain(await late);
    expect(await endsOf(threads)).toEqual(new Array(4).fill('ERR_CLOSED'));
    for (const call of [
      () => store.get(1),
      () => store.getSync(1),
      () => store.batch([['count']]),
      () => store.range(),
      () => store.digests(),
      () => store.tree.get(1),
      () => store.replica(0).get(1),
      () => store.kill(0),
      () => connect(store.handle),
    ]) {
      expect(await codeOf(call), String(call)).toBe('ERR_CLOSED');
    }
    // A worker that exits after the store's end is nobody's fault.
    await store.clientExited(1);
    await store.close();
  });

  it('right after opening, many times, ends all threads', async () => {
    for (let i = 0; i < 5; i++) {
      const store = await open({ key: 'u32', value: 'u32', executors: 2, replicas: 2, memory: '8MB' });
      if (i % 2 === 0) void store.put(1, 1);
      await inTime('close', store.close());
    }
    expect(started.length).toBe(5);
  });

  it('a client with calls under way: they are answered, later ones refused, its place is free again', async () => {
    await withStore({ executors: 2, replicas: 2, clients: 2, ring: 256, fanout: 4 }, async (store) => {
      for (let round = 0; round < 30; round++) {
        const client = await connect<number, number>(store.handle);
        const answers = Array.from({ length: 300 }, (_, i) => client.put(i, round));
        answers.push(client.count().then((count) => count === 300));
        const closed = inTime('close', client.close());
        expect((await Promise.all(answers)).filter(Boolean).length).toBe(round === 0 ? 301 : 1);
        await closed;
        await client.close();
        expect(await codeOf(() => client.put(1, 1))).toBe('ERR_CLOSED');
        expect(await codeOf(() => client.getSync(1))).toBe('ERR_CLOSED');
        expect(await codeOf(() => client.tree.get(1))).toBe('ERR_CLOSED');
      }
      expect(await store.count()).toBe(300);
    });
  });

  it('a store opened in another thread serves this one, and its end is told', async () => {
    const code = `
      import { parentPort } from 'node:worker_threads';
      import { open } from ${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)};
      const store = await open({ key: 'i64', value: 'i64', executors: 2, replicas: 2, memory: '16MB' });
      parentPort.once('message', async () => { await store.close(); parentPort.postMessage('closed'); });
      parentPort.postMessage(store.handle);
    `;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));
    const [handle] = await once(worker, 'message');
    const client = await connect<bigint, bigint>(handle);
    expect(await client.put(-5n, 1n)).toBe(true);
    expect(client.addSync(-5n, 2n)).toBe(1n);
    expect(client.tree.get(-5n)).toBe(3n);
    worker.postMessage('close');
    let code_ = 'no error';
    while (code_ === 'no error') code_ = await codeOf(() => client.get(-5n));
    expect(code_).toBe('ERR_CLOSED');
    await once(worker, 'message');
    await client.close();
    await worker.terminate();
  });
});

describe('a thread that dies', () => {
  it.each(MODELS)(
    '%s, in a replica that is not home, and stays lost: the others go on, also if it was slow',
    async (model) => {
      const options = { model, executors: 2, replicas: 3, fanout: 4, ring: 256, rebuild: false } as const;
      await withStore(options, async (store) => {
        const keys = Array.from({ length: model === 'psmr' ? 50 : 1500 }, (_, i) => i);
        await store.putMany(keys, keys);
        const under = store.putMany(
          keys.map((key) => key + 5000),
          keys,
        );
        await store.kill(2, 0);
        expect(await inTime('calls under way', under)).toBe(keys.length);
        await until('replica 2 is given up', () => store.stats().alive === 2);
        expect(await inTime('later calls', store.deleteMany(keys))).toBe(keys.length);
        expect((await store.digests()).map(({ replica }) => replica)).toEqual([0, 1]);
        await agreeOnReplicas(store, [...store.tree.range()]);
        await store.kill(1, 0);
        await until('replica 1 is given up', () => store.stats().alive === 1);
        expect(await inTime('still', store.putMany(keys, keys))).toBe(keys.length);
        expect(store.stats().home).toBe(0);
        expect(store.status()).toMatchObject({
          state: 'open',
          home: 0,
          losses: 2,
          failovers: 0,
          rebuilds: 0,
          resent: 0,
        });
        expect(store.status().replicas.map(({ state }) => state)).toEqual(['home', 'lost', 'lost']);
      });
    },
  );

  it.each(MODELS)('%s, in a replica that is not home: it is rebuilt, and is like the others', async (model) => {
    await withStore({ model, executors: 2, replicas: 2, fanout: 4, ring: 256 }, async (store) => {
      const keys = Array.from({ length: model === 'psmr' ? 50 : 1500 }, (_, i) => i);
      await store.putMany(keys, keys);
      for (let round = 1; round <= 2; round++) {
        const under = store.putMany(
          keys.map((key) => key + 5000 * round),
          keys,
        );
        await store.kill(1, 0);
        expect(await inTime('calls under way', under)).toBe(keys.length);
        await until('replica 1 is back', () => store.status().rebuilds === round);
        expect(await inTime('later calls', store.deleteMany(keys))).toBe(round === 1 ? keys.length : 0);
        expect((await store.digests()).map(({ replica }) => replica)).toEqual([0, 1]);
        await agreeOnReplicas(store, [...store.tree.range()]);
      }
      expect(store.status()).toMatchObject({ home: 0, losses: 2, failovers: 0, rebuilds: 2 });
      expect(store.status().replicas.map(({ state }) => state)).toEqual(['home', 'ready']);
    });
  });

  it.each(MODELS)('%s, in the home replica: the other one takes over, and all clients go on', async (model) => {
    await withStore({ model, executors: 2, replicas: 2, fanout: 4, ring: 256 }, async (store) => {
      const events: StoreEvent[] = [];
      store.onEvent((event) => events.push(event));
      await store.put(99_999, 7);
      const threads = await loaders(store.handle);
      await until('load', () => store.stats().commands > 200);
      const calls = model === 'psmr' ? 300 : 3000;
      const own = Array.from({ length: calls }, (_, i) => store.put(100_000 + i, i));
      await store.kill(0, store.stats().threads - 1);
      // Each of them was new, and is answered so, also if its first answer was lost.
      expect(new Set(await inTime('own calls', Promise.all(own)))).toEqual(new Set([true]));
      await until('the failover is known', () => events.some(({ type }) => type === 'failover'));
      expect(store.tree.get(99_999)).toBe(7);
      for (let i = 0; i < calls; i++)
        if (store.tree.get(100_000 + i) !== i) throw new Error(`key ${100_000 + i} is gone`);
      const { commands } = store.stats();
      await until('the load goes on', () => store.stats().commands > commands + 200);
      await until('replica 0 is back', () => store.status().rebuilds === 1);
      expect(store.status()).toMatchObject({ state: 'open', home: 1, losses: 1, failovers: 1 });
      expect(events.slice(0, 2)).toMatchObject([
        { type: 'lost', replica: 0, home: true },
        { type: 'failover', replica: 1 },
      ]);
      await inTime('close', store.close());
      expect(await endsOf(threads)).toEqual(new Array(4).fill('ERR_CLOSED'));
    });
  });

  it.each(MODELS)('%s, in the only replica: ERR_REPLICAS_LOST for everybody, at once', async (model) => {
    await withStore({ model, executors: 2, replicas: 1, fanout: 4, ring: 256 }, async (store) => {
      await store.put(99_999, 7);
      const threads = await loaders(store.handle);
      await until('load', () => store.stats().commands > 200);
      const own = Array.from({ length: 3000 }, (_, i) => codeOf(() => store.put(100_000 + i, i)));
      await store.kill(0, store.stats().threads - 1);
      const codes = await inTime('own calls', Promise.all(own));
      for (const code of codes) expect(['no error', 'ERR_REPLICAS_LOST']).toContain(code);
      expect(await endsOf(threads)).toEqual(new Array(4).fill('ERR_REPLICAS_LOST'));
      expect(await codeOf(() => store.put(1, 1))).toBe('ERR_REPLICAS_LOST');
      expect(await codeOf(() => store.getSync(1))).toBe('ERR_REPLICAS_LOST');
      expect(await codeOf(() => connect(store.handle))).toBe('ERR_REPLICAS_LOST');
      expect(store.status()).toMatchObject({ state: 'failed', home: -1, losses: 1, failovers: 0 });
      // What was answered is still there to be read, as far as the dead thread has left no latch.
      const direct = await codeOf(() => {
        expect(store.tree.get(99_999)).toBe(7);
        for (const [i, code] of codes.entries()) {
          if (code === 'no error' && store.tree.get(100_000 + i) !== i) throw new Error(`key ${100_000 + i} is gone`);
        }
      });
      expect(['no error', 'ERR_LATCH_LOST']).toContain(direct);
    });
  });
});

describe('streams that are too large', () => {
  it.each([
    ['rings', { groups: 32, ring: 1 << 20 }],
    ['answers', { executors: 32, clients: 200, ring: 1 << 17, maxValue: 1_040_000 }],
  ])('for their %s: open says so, and starts nothing', async (_, more) => {
    const options = { key: 'string', value: 'bytes', executors: 1, replicas: 1, memory: '16MB', ...more } as const;
    const error = await open(options).catch((error) => error);
    expect(error).toMatchObject({ name: 'SabtreeError', code: 'ERR_OPTION' });
    expect(error.value).toBeGreaterThan(2 ** 31);
    expect(started).toEqual([]);
  });
});

describe('memory that runs out', () => {
  it.each([
    ['smr', 1, 1],
    ['opt-psmr', 2, 1],
    ['opt-psmr', 2, 2],
    ['psmr', 2, 2],
  ] as const)(
    '%s with %d executors, %d replicas: every call ends, with its answer or a typed error',
    async (model, executors, replicas) => {
      await withStore(
        { model, executors, replicas, memory: '3MB', ring: 256, nodeSize: 4096, fanout: 4 },
        async (store) => {
          // Large nodes of few entries: 3 MB hold about a thousand of them.
          const calls = 3000;
          const go = new Int32Array(new SharedArrayBuffer(4));
          const floods = [0, 1].map(
            (client) => new ClientThread<Record<string, number>>(store.handle, 'flood', { calls, client, go }),
          );
          await inTime('clients connect', Promise.all(floods.map(({ connected }) => connected)));
          const early = Array.from({ length: 120 }, (_, i) => 5_000_000 + i);
          expect(await store.putMany(early, early)).toBe(120);
          const answers = Array.from({ length: calls }, (_, i) => codeOf(() => store.put(i, i)));
          Atomics.store(go, 0, 1);
          Atomics.notify(go, 0);
          const codes = await inTime('own calls', Promise.all(answers), 40_000);
          const ends = await inTime('clients end', Promise.all(floods.map(({ result }) => result)), 40_000);
          await Promise.all(floods.map(({ worker }) => worker.terminate()));
          const seen = new Set([...codes, ...ends.flatMap((counts) => Object.keys(counts))]);
          seen.delete('no error');
          seen.delete('done');
          expect([...seen]).toEqual(['ERR_MEMORY_EXHAUSTED']);
          for (const call of [
            () => store.get(1),
            () => store.putSync(1, 1),
            () => store.rangeSync(),
            () => store.digests(),
            () => connect(store.handle),
          ]) {
            expect(await codeOf(call), String(call)).toBe('ERR_MEMORY_EXHAUSTED');
          }
          // Everything that was answered is there, in a whole tree.
          for (const key of early) expect(store.tree.get(key)).toBe(key);
          for (const [key, code] of codes.entries()) {
            if (code !== 'no error' || store.tree.get(key) === key) continue;
            throw new Error(`key ${key} was answered and is ${store.tree.get(key)}`);
          }
          store.tree.check();
        },
      );
    },
  );
});
