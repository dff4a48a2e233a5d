/** Watching while replicas are lost and rebuilt. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Change, ModelName } from '../dist/index.js';
import { WATCH_LOCK, WATCH_MARKED, WATCH_TAG_RINGS } from '../dist/layout/watch.js';
import { holderOf, progressWord, sweptWord, tagWord } from '../dist/workers/watch-memory.js';
import { inTime, until } from './support/stores.ts';
import { endAll, expectCounted, flag, folded, opened, sum, thread } from './support/watching.ts';

afterEach(endAll);

describe('watching through losses', () => {
  it.each(['opt-psmr', 'keyed', 'sdpe', 'execute-verify', 'pipelined'] as ModelName[])(
    '%s: nothing is lost or repeated while home replicas die and are rebuilt',
    async (model) => {
      const store = await opened({ model, replicas: 3, compareEvery: 0 });
      const changes: Change[] = [];
      const watch = store.watch(undefined, (change) => void changes.push(change));
      const stop = flag();
      const keys = Array.from({ length: 11 }, (_, i) => i * 100);
      const adders = await Promise.all([1, 2].map(() => thread<[number, number][]>(store, 'add', { keys, stop })));
      const churner = await thread(store, 'churn', { from: 10_000, size: 60, stop });
      for (let kill = 1; kill <= 3; kill++) {
        const seen = changes.length;
        await until('changes come', () => changes.length > seen + 300);
        await store.kill(store.status().home);
        await until('a takeover', () => store.status().failovers === kill && store.status().home >= 0);
        await until('a rebuilt replica', () => store.status().rebuilds === kill);
      }
      Atomics.store(stop, 0, 1);
      const added = sum(await Promise.all(adders.map(({ result }) => result)));
      await churner.result;
      const content = await store.range();
      await store.close();
      await watch.closed;
      expectCounted(changes, added);
      expect(folded(changes)).toEqual(content);
    },
  );

  it('a change that was told is there for direct reads, also across a takeover', async () => {
    const store = await opened({ model: 'keyed', replicas: 3 });
    let behind = 0;
    let told = 0;
    const watch = store.watch(undefined, ({ key, ...change }) => {
      told++;
      if (change.type === 'put' && !((store.tree.get(key) ?? -1) >= change.value)) behind++;
    });
    const stop = flag();
    const keys = Array.from({ length: 50 }, (_, i) => i);
    const adder = await thread<[number, number][]>(store, 'add', { keys, stop });
    await until('changes come', () => told > 500);
    await store.kill(store.status().home);
    const before = told;
    await until('more changes come', () => told > before + 500);
    Atomics.store(stop, 0, 1);
    const added = (await adder.result).reduce((total, [, count]) => total + count, 0);
    // A closed store is not read, so everything is told before.
    await until('everything is told', () => told === added);
    await store.close();
    await watch.closed;
    expect(behind).toBe(0);
  });

  it('a thread that dies with the lock of the log keeps nobody', async () => {
    const store = await opened({ model: 'keyed' });
    const told = store.changes();
    await store.put(1, 1);
    const { streams } = store;
    const { home } = store.status();
    const lock = (streams.watchAt + WATCH_LOCK) >> 2;
    // As if the home replica's first thread had been ended in the middle of an append.
    await until(
      'the lock is free',
      () => Atomics.compareExchange(streams.words, lock, 0, holderOf(streams, home, 0)) === 0,
    );
    const put = store.put(2, 2);
    await store.kill(home, 0);
    await inTime('the put', put);
    expect(Atomics.load(streams.words, lock)).toBe(0);
    for (const key of [1, 2]) expect((await inTime('a change', told.next())).value).toMatchObject({ key, value: key });
    await store.put(3, 3);
    expect((await told.next()).value).toMatchObject({ key: 3 });
  });

  it('what a thread entered before it died, and did not mark, is not entered again', async () => {
    const store = await opened({ model: 'keyed', replicas: 1 });
    const told = store.changes();
    const { streams } = store;
    const { words, watchAt } = streams;
    await store.put(1, 1);
    const { group, position } = (await told.next()).value as Change;
    // As it is left between the two: behind the head, and neither marked nor passed.
    words[tagWord(streams, group, position)] = 0;
    words[progressWord(streams, 0, group)] = position;
    words[(watchAt + WATCH_MARKED) >> 2] = 0;
    await store.put(2, 2);
    expect(words[tagWord(streams, group, position)]).toBe(position | 0);
    expect((await told.next()).value).toMatchObject({ key: 2 });
  });

  it.each([2 ** 31 + 2 ** 20, 2 ** 32 - 2 ** 29])(
    'what was watched %i slots ago is not taken for what comes: nothing is lost or repeated',
    async (age) => {
      const store = await opened({ model: 'opt-psmr', replicas: 3, compareEvery: 0, fanout: 4 });
      const { streams } = store;
      const { words, shape } = streams;
      const tags = shape.ringSlots * WATCH_TAG_RINGS;
      const before = store.watch(undefined, () => {});
      for (let i = 0; i < 50; i++) await store.put(i, i);
      before.close();
      await before.closed;
      // As if so much had gone by since, while nobody watched.
      for (let group = 0; group < shape.groups; group++) {
        const now = words[progressWord(streams, store.status().home, group)];
        for (let i = 0; i < tags; i++) words[tagWord(streams, group, now + i)] = (now + i - age) | 0;
        for (let replica = 0; replica < shape.replicas; replica++) {
          words[progressWord(streams, replica, group)] = (now - age) | 0;
        }
        Atomics.store(words, sweptWord(streams, group), now - 2 ** 28 - 1000);
      }
      const old = (group: number, i: number) => {
        const now = words[sweptWord(streams, group)];
        const there = (now - words[tagWord(streams, group, i)]) >>> 0;
        return there > 2 ** 28 && there < 2 ** 32 - 2 ** 28;
      };
      await until('no tag is old', () => {
        for (let group = 0; group < shape.groups; group++) {
          for (let i = 0; i < tags; i++) if (old(group, i)) return false;
        }
        return true;
      });
      const counts = new Map<number, number>();
      const watch = store.watch(undefined, (change) => {
        if (change.type === 'put') counts.set(change.value, (counts.get(change.value) ?? 0) + 1);
      });
      for (let round = 0; round < 60; round++) {
        const keys = Array.from({ length: 400 }, (_, i) => (i * 7919) % 2003);
        await store.putMany(
          keys,
          keys.map((_, i) => 1000 + round * 400 + i),
        );
        if (round % 7 === 0) await store.deleteMany(keys);
      }
      await store.close();
      await watch.closed;
      expect(counts.size).toBe(60 * 400);
      expect([...counts.values()].filter((count) => count !== 1).length, 'told more than once').toBe(0);
    },
  );
});
