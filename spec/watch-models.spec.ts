/** Watching stores of all models: every change once, in an order in which the commands may be thought to have been executed. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Change, ModelName } from '../dist/index.js';
import { SOME_MODELS, until } from './support/stores.ts';
import { endAll, expectCounted, flag, folded, opened, sum, thread } from './support/watching.ts';

afterEach(endAll);

const ordered = SOME_MODELS;

describe.each(ordered)('watching a store of %s', (model: ModelName) => {
  it('tells of each change once, in order, while clients in other threads add, insert and delete', async () => {
    const store = await opened({ model });
    const changes: Change[] = [];
    const watch = store.watch(undefined, (change) => void changes.push(change));
    const stop = flag();
    const keys = Array.from({ length: 23 }, (_, i) => i * 1000);
    const adders = await Promise.all(
      [1, 2].map(() => thread<[number, number][]>(store, 'add', { keys, stop, least: 500 })),
    );
    const churner = await thread(store, 'churn', { from: 100, size: 60, stop });
    await until('changes come', () => changes.length > 3000);
    Atomics.store(stop, 0, 1);
    const added = sum(await Promise.all(adders.map(({ result }) => result)));
    await churner.result;
    const content = await store.range();
    await store.close();
    await watch.closed;
    expectCounted(changes, added);
    expect(folded(changes)).toEqual(content);
  });

  it('keeps what was answered before what was given later, and commands on several keys together', async () => {
    const store = await opened({ model, executors: 3, groups: 3 });
    const told = store.changes();
    const expected: [string, number, number?][] = [];
    for (let i = 0; i < 150; i++) {
      await store.put(i, i);
      await store.put(100_000 - i, i);
      expected.push(['put', i, i], ['put', 100_000 - i, i]);
      if (i % 10 === 0) {
        await store.putAll([7, 100_003, 555], [i, i, i]);
        expected.push(['put', 7, i], ['put', 100_003, i], ['put', 555, i]);
      }
      if (i % 3 === 0) {
        await store.delete(i);
        expected.push(['delete', i]);
      }
    }
    await store.close();
    const seen: [string, number, number?][] = [];
    for await (const c of told) seen.push(c.type === 'put' ? [c.type, c.key, c.value] : [c.type, c.key]);
    expect(seen).toEqual(expected);
  });

  it('tells only of what was changed', async () => {
    const store = await opened({ model, replicas: 1 });
    const told = store.changes();
    await store.insert(1, 10);
    await store.insert(1, 11);
    await store.update(2, 1);
    await store.update(1, 12);
    await store.compareAndSet(1, 5, 6);
    await store.compareAndSet(1, 12, 13);
    await store.add(3, 2.5);
    await store.add(3, 1);
    await store.delete(2);
    await store.delete(1);
    await store.get(3);
    await store.put(3, 3.5);
    await store.batch([
      ['put', 4, 1],
      ['get', 4],
      ['delete', 4],
      ['delete', 4],
    ]);
    await store.close();
    const seen = [];
    for await (const c of told) seen.push(c.type === 'put' ? [c.key, c.value] : [c.key]);
    expect(seen).toEqual([[1, 10], [1, 12], [1, 13], [3, 2.5], [3, 3.5], [1], [3, 3.5], [4, 1], [4]]);
  });
});
