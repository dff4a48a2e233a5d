/** Ways to wait: what each does when nothing is there, and that each of them drives a store. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connect, type WaitName } from '../dist/index.js';
import { park, patientPark, spin, waitStrategy, yieldNow } from '../dist/workers/waiting.js';
import { seeded } from './support/random.ts';
import { refusal } from './support/refusals.ts';
import {
  type AnyCommand,
  agreeOnReplicas,
  Commands,
  compare,
  inTime,
  oracleOf,
  runClients,
  withStore,
} from './support/stores.ts';
import { SCALARS } from './support/values.ts';

describe('strategies', () => {
  it('spin never parks', () => {
    for (let looks = 0; looks < 10_000; looks++) expect(spin.idle(looks)).toBe(false);
  });

  it('yield never parks, and sleeps a little from look 200 on', () => {
    const time = (from: number, to: number) => {
      const start = performance.now();
      for (let looks = from; looks < to; looks++) expect(yieldNow.idle(looks)).toBe(false);
      return performance.now() - start;
    };
    time(0, 200);
    // 0.05 ms each at least.
    expect(time(200, 300)).toBeGreaterThan(4);
  });

  it.each([
    ['park', park, 200],
    ['park with a core for everybody', patientPark, 1500],
  ])('%s parks after a number of looks', (_, strategy, least) => {
    for (let looks = 0; looks < least; looks++) expect(strategy.idle(looks)).toBe(false);
    for (const looks of [least, least + 1, 2 ** 40]) expect(strategy.idle(looks)).toBe(true);
  });

  it('are found by name', () => {
    expect(waitStrategy('spin')).toBe(spin);
    expect(waitStrategy('yield')).toBe(yieldNow);
    expect(waitStrategy('park')).toBe(park);
    expect(waitStrategy('park', true)).toBe(patientPark);
    expect(waitStrategy('spin', true)).toBe(spin);
    for (const name of ['spin', 'yield', 'park'] as const) expect(waitStrategy(name).name).toBe(name);
  });

  it.each([undefined, null, '', 'Park', 'sleep', 'toString', '__proto__', 5, {}])('%j is none', (name) => {
    const error = refusal('ERR_OPTION', () => waitStrategy(name as WaitName));
    expect(error.value).toBe(name);
    for (const right of ['spin', 'yield', 'park']) expect(error.message).toContain(right);
  });
});

describe.each<WaitName>(['spin', 'yield', 'park'])('a store whose threads wait by %s', (wait) => {
  // Threads that spin take the core from the one they wait for: as few of them as possible.
  const few = wait === 'spin';
  const shape = { wait, executors: few ? 1 : 2, groups: few ? 1 : 3, replicas: few ? 1 : 2, fanout: 4, ring: 256 };

  it('answers as sequential execution does, and sleeps only if it may', async () => {
    await seeded(`waiting ${wait}`, async (random) => {
      await withStore(shape, async (store) => {
        const commands = new Commands(random, 'u32', SCALARS[2], 150);
        const oracle = oracleOf(SCALARS[2]);
        for (let round = 0; round < 8; round++) {
          const some: AnyCommand[] = Array.from({ length: 300 }, () => commands.next());
          const answers = random.chance(0.5) ? store.batchSync(some as never) : store.batch(some as never);
          compare(oracle, some, await inTime('answers', Promise.resolve(answers)));
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
        const { perExecutor } = store.stats();
        for (const { parks } of perExecutor) {
          if (wait === 'park') expect(parks).toBeGreaterThan(0);
          else expect(parks).toBe(0);
        }
        await agreeOnReplicas(store, oracle.entries);
      });
    })();
  });

  it('serves clients that wait in another way', async () => {
    await withStore({ ...shape, wait: few ? 'park' : wait }, async (store) => {
      const clients = (['spin', 'yield', 'park'] as const).map((name, client) => ({
        client,
        rounds: 6,
        keys: 30,
        options: { wait: name },
      }));
      const sums = await runClients<number[]>(store.handle, 'adds', clients);
      for (let key = 0; key < 30; key++) {
        expect(store.tree.get(key) ?? 0).toBe(sums.reduce((total, one) => total + one[key], 0));
      }
      const client = await connect<number, number>(store.handle, { wait });
      expect(client.putSync(77_777, 1)).toBe(true);
      expect(await client.get(77_777)).toBe(1);
      await client.close();
    });
  });
});

describe('a store that nobody uses', () => {
  it.each<[WaitName, number]>([
    ['park', 0.15],
    ['yield', 0.7],
  ])('costs next to nothing with %s: at most %d cores', async (wait, cores) => {
    await withStore({ wait, executors: 2, replicas: 2 }, async (store) => {
      await store.put(1, 1);
      await new Promise((resolve) => setTimeout(resolve, 100));
      // The least of three looks: other things may happen in this process.
      let least = Number.POSITIVE_INFINITY;
      for (let look = 0; look < 3; look++) {
        const start = performance.now();
        const before = process.cpuUsage();
        await new Promise((resolve) => setTimeout(resolve, 200));
        const { user, system } = process.cpuUsage(before);
        least = Math.min(least, (user + system) / 1000 / (performance.now() - start));
      }
      expect(least).toBeLessThan(cores);
    });
  });
});

describe('answers that come at once', () => {
  const { waitAsync } = Atomics;
  let turns = 0;
  let counting = false;
  const count = () => {
    turns++;
    if (counting) setImmediate(count);
  };

  beforeEach(() => {
    // As if every answer came while the client still looks for it, as it does where executors have cores of their own.
    Atomics.waitAsync = ((words: Int32Array, index: number, value: number) => {
      while (Atomics.load(words, index) === value);
      return { async: false, value: 'not-equal' };
    }) as typeof waitAsync;
    turns = 0;
    counting = true;
    setImmediate(count);
  });
  afterEach(() => {
    Atomics.waitAsync = waitAsync;
    counting = false;
  });

  it('leave the other work of a thread its turn, while it awaits one command after the other', async () => {
    await withStore({ executors: 1, replicas: 1 }, async (store) => {
      turns = 0;
      for (let i = 0; i < 1000; i++) await store.put(i, i);
      expect(turns).toBeGreaterThan(10);
    });
  });

  it('leave it its turn during a flood', async () => {
    await withStore({ executors: 1, replicas: 1, ring: 256 }, async (store) => {
      const answers = Promise.all(Array.from({ length: 50_000 }, (_, i) => store.put(i, i)));
      turns = 0;
      expect((await answers).every((fresh) => fresh)).toBe(true);
      expect(turns).toBeGreaterThan(10);
    });
  });
});
