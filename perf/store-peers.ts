/**
 * The store against what people pick instead when several threads share a map: a Map in a worker behind postMessage; and
 * the paper's comparison, opt-psmr against psmr, on inserts and deletes.
 *
 * ```
 *   main thread --window of 256--> rings --> executors --> replies       (store: putManySync, put in windows)
 *   main thread --postMessage----> worker with a Map ----> postMessage   (one call at a time; 256 pairs; two typed arrays)
 * ```
 *
 * All parties alternate within one run, write the same keys and values, and are asked afterwards for what they hold.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { type ModelName, open, type Store } from '../index.ts';

/** Commands per window. */
export const WINDOW = 256;

/** One comparison: ratios of ours to theirs, round by round. */
export interface StoreRow {
  readonly name: string;
  readonly ours: string;
  readonly theirs: string;
  /** Operations per second in each round. */
  readonly oursPerSecond: readonly number[];
  readonly theirsPerSecond: readonly number[];
  /** Least ratio of the medians that we mean to reach; undefined where none is promised. */
  readonly target: number | undefined;
}

const MAP_WORKER = `
  const { parentPort } = require('node:worker_threads');
  const map = new Map();
  parentPort.on('message', (m) => {
    if (m.sum) { let sum = 0; for (const v of map.values()) sum += v; parentPort.postMessage({ sum, size: map.size }); return; }
    let fresh = 0;
    if (m.pairs) for (const [k, v] of m.pairs) { if (!map.has(k)) fresh++; map.set(k, v); }
    else if (m.keys) for (let i = 0; i < m.keys.length; i++) { if (!map.has(m.keys[i])) fresh++; map.set(m.keys[i], m.values[i]); }
    else { if (!map.has(m.key)) fresh++; map.set(m.key, m.value); }
    parentPort.postMessage(fresh);
  });
`;

/** A Map in a worker, one message and one answer per call. */
class RemoteMap {
  private readonly worker = new Worker(MAP_WORKER, { eval: true });

  async call(message: unknown): Promise<unknown> {
    const answer = once(this.worker, 'message');
    this.worker.postMessage(message);
    return (await answer)[0];
  }

  async close(): Promise<void> {
    await this.worker.terminate();
  }
}

/** Operations per second of one round. */
async function rate(operations: number, run: () => unknown): Promise<number> {
  const start = performance.now();
  await run();
  return (operations / (performance.now() - start)) * 1000;
}

/** Sum of a store's values, by reading them. */
function sumOf(store: Store): { sum: number; size: number } {
  let sum = 0;
  store.tree.forRange({}, (_, value) => {
    sum += value;
  });
  return { sum, size: store.tree.size };
}

/**
 * One put command through opt-psmr in windows, against a Map in a worker.
 * @param n entries. @param singles calls made one at a time per round. @param rounds of alternation.
 */
export async function compareWithRemoteMap(
  n: number,
  singles: number,
  rounds: number,
  executors: number,
): Promise<StoreRow[]> {
  const keys = Uint32Array.from({ length: n }, (_, i) => Math.imul(i + 1, 2654435761) >>> 0);
  const values = Float64Array.from({ length: n }, (_, i) => i);
  const store = await open({ key: 'u32', value: 'f64', model: 'opt-psmr', executors, replicas: 1, memory: '512MB' });
  const map = new RemoteMap();
  const rates: Record<'columns' | 'puts' | 'one' | 'pairs' | 'typed', number[]> = {
    columns: [],
    puts: [],
    one: [],
    pairs: [],
    typed: [],
  };
  const windows = async (send: (from: number, to: number) => unknown) => {
    for (let from = 0; from < n; from += WINDOW) await send(from, Math.min(n, from + WINDOW));
  };
  for (let round = 0; round < rounds; round++) {
    rates.columns.push(
      await rate(n, () => {
        for (let from = 0; from < n; from += WINDOW) {
          store.putManySync(keys.subarray(from, from + WINDOW), values.subarray(from, from + WINDOW));
        }
      }),
    );
    rates.one.push(
      await rate(singles, async () => {
        for (let i = 0; i < singles; i++) await map.call({ key: keys[i], value: values[i] });
      }),
    );
    rates.pairs.push(
      await rate(n, () =>
        windows((from, to) => {
          const pairs: [number, number][] = [];
          for (let i = from; i < to; i++) pairs.push([keys[i], values[i]]);
          return map.call({ pairs });
        }),
      ),
    );
    rates.puts.push(
      await rate(n, () =>
        windows((from, to) => {
          const answers: Promise<boolean>[] = [];
          for (let i = from; i < to; i++) answers.push(store.put(keys[i], values[i]));
          return Promise.all(answers);
        }),
      ),
    );
    rates.typed.push(
      await rate(n, () =>
        windows((from, to) => map.call({ keys: keys.slice(from, to), values: values.slice(from, to) })),
      ),
    );
  }
  const theirs = await map.call({ sum: true });
  const ours = sumOf(store);
  await map.close();
  await store.close();
  if (JSON.stringify(theirs) !== JSON.stringify(ours)) {
    throw new Error(`the store holds ${JSON.stringify(ours)}, the Map ${JSON.stringify(theirs)}`);
  }
  const columns = 'putManySync, windows of 256';
  const puts = 'put, 256 awaited together';
  const row = (
    ourName: string,
    oursPerSecond: number[],
    theirs: string,
    theirsPerSecond: number[],
    target?: number,
  ): StoreRow => ({
    name: `put through opt-psmr, ${executors} executor${executors > 1 ? 's' : ''}`,
    ours: ourName,
    theirs,
    oursPerSecond,
    theirsPerSecond,
    target,
  });
  return [
    row(columns, rates.columns, 'Map in a worker, one call at a time', rates.one, 5),
    row(columns, rates.columns, 'Map in a worker, 256 [key, value] pairs', rates.pairs, 1),
    row(columns, rates.columns, 'Map in a worker, two typed arrays of 256', rates.typed, 1),
    row(puts, rates.puts, 'Map in a worker, one call at a time', rates.one, 5),
    row(puts, rates.puts, 'Map in a worker, 256 [key, value] pairs', rates.pairs),
  ];
}

/** Inserts and deletes through opt-psmr against psmr and smr, each on an equal load, with as many replicas as asked. */
export async function compareModels(
  n: number,
  rounds: number,
  executors: number,
  replicas: number,
): Promise<StoreRow[]> {
  const models: ModelName[] = ['opt-psmr', 'psmr', 'smr'];
  const stores = new Map<ModelName, Store>();
  for (const model of models) {
    stores.set(model, await open({ key: 'u32', value: 'f64', model, executors, replicas, memory: '512MB' }));
  }
  const rates = new Map<ModelName, number[]>(models.map((model) => [model, []]));
  // Half of the keys stay, so that inserts and deletes happen in a tree of some height.
  const keep = Uint32Array.from({ length: n }, (_, i) => Math.imul(2 * i, 2654435761) >>> 0);
  const come = Uint32Array.from({ length: n }, (_, i) => Math.imul(2 * i + 1, 2654435761) >>> 0);
  const values = Float64Array.from({ length: n }, (_, i) => i);
  for (const store of stores.values()) store.putManySync(keep, values);
  for (let round = 0; round < rounds; round++) {
    for (const [model, store] of stores) {
      (rates.get(model) as number[]).push(
        await rate(2 * n, () => {
          for (let from = 0; from < n; from += WINDOW) {
            const fresh = store.putManySync(come.subarray(from, from + WINDOW), values.subarray(from, from + WINDOW));
            if (fresh !== Math.min(n, from + WINDOW) - from) throw new Error(`${model} found keys that were not there`);
          }
          for (let from = 0; from < n; from += WINDOW) {
            const gone = store.deleteManySync(come.subarray(from, from + WINDOW));
            if (gone !== Math.min(n, from + WINDOW) - from) throw new Error(`${model} lost keys`);
          }
        }),
      );
    }
  }
  const digests = new Set<bigint>();
  for (const store of stores.values()) for (const { digest } of await store.digests()) digests.add(digest);
  for (const store of stores.values()) await store.close();
  if (digests.size !== 1) throw new Error('the models end with different contents');
  const row = (theirs: ModelName, target?: number): StoreRow => ({
    name: `inserts and deletes, ${executors} executors, ${replicas} replica${replicas > 1 ? 's' : ''}`,
    ours: 'opt-psmr',
    theirs,
    oursPerSecond: rates.get('opt-psmr') as number[],
    theirsPerSecond: rates.get(theirs) as number[],
    target,
  });
  return [row('psmr', 2.4), row('smr')];
}
