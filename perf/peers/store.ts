/**
 * The replicated store beside the usual way to let threads share a map: one worker owns a Map, and is sent messages. The
 * store does more for it (an order, two replicas, ordered ranges), so this shows what that costs, or does not.
 *
 *   256 x store.put(k, v), awaited together --> streams --> executors of 2 replicas --> replies
 *   postMessage(k, v), awaited one by one   --> worker: map.set                     --> postMessage
 *   postMessage(256 x (k, v))               --> worker: 256 x map.set               --> postMessage
 */
import { Worker } from 'node:worker_threads';
import { type Command, open } from '../../index.ts';
import type { MapCall } from '../support/map-worker.ts';
import { type Act, alternate, type Plan, type Row } from '../support/measure.ts';
import { randomKeys } from '../support/random.ts';

/** Calls under way at a time. */
const WINDOW = 256;

export interface StoreSizes {
  /** Keys that puts go to; all present after the first time round. */
  readonly entries: number;
  /** Puts in a chunk, a multiple of WINDOW. */
  readonly chunk: number;
  readonly plan: Plan;
  /** Beside a Map called one by one (dear, so small chunks), or beside one called in batches. */
  readonly calls: boolean;
}

/** A worker that owns a Map, and answers in the order it is asked. */
class MapThread {
  private readonly worker = new Worker(new URL('../support/map-worker.js', import.meta.url));
  private readonly waiting: ((answer: number) => void)[] = [];

  constructor() {
    this.worker.on('message', (answer: number) => this.waiting.shift()?.(answer));
  }

  ask(call: MapCall): Promise<number> {
    return new Promise((resolve) => {
      this.waiting.push(resolve);
      this.worker.postMessage(call);
    });
  }

  async stop(): Promise<void> {
    await this.worker.terminate();
  }
}

export async function storeBesideMap({ entries, chunk: size, plan, calls }: StoreSizes): Promise<Row[]> {
  // One executor and one replica: one copy of the data and one thread beside the caller's, like the Map's.
  const store = await open({ key: 'u32', value: 'f64', model: 'opt-psmr', executors: 1, replicas: 1 });
  const map = new MapThread();
  const keys = randomKeys(entries, 777);
  const part = (chunk: number, i: number) => {
    const start = (chunk * size + i) % (entries - WINDOW);
    // A copy: a message clones the whole buffer behind a view.
    return keys.slice(start, start + WINDOW);
  };
  const sumOfStore = (chunk: number) => part(chunk, 0).reduce((sum, key) => sum + (store.tree.get(key) ?? 0), 0);
  const sumOfMap = (chunk: number) => map.ask({ keys: part(chunk, 0) });
  const oneByOne = {
    name: 'Map in a worker, call by call',
    async run(chunk: number) {
      for (let i = 0; i < size; i += WINDOW)
        for (const key of part(chunk, i)) await map.ask({ key, value: key + chunk });
      return 0;
    },
    verify: sumOfMap,
  };
  const batched = {
    name: `Map in a worker, by two arrays of ${WINDOW}`,
    async run(chunk: number) {
      for (let i = 0; i < size; i += WINDOW) {
        const window = part(chunk, i);
        await map.ask({ keys: window, values: Float64Array.from(window, (key) => key + chunk) });
      }
      return 0;
    },
    verify: sumOfMap,
  };
  const pairs = {
    name: `Map in a worker, by ${WINDOW} pairs`,
    async run(chunk: number) {
      for (let i = 0; i < size; i += WINDOW) {
        await map.ask({ pairs: Array.from(part(chunk, i), (key): [number, number] => [key, key + chunk]) });
      }
      return 0;
    },
    verify: sumOfMap,
  };
  const puts: Act = {
    name: `store.put, ${WINDOW} at a time`,
    operations: size,
    sides: [
      {
        name: 'store',
        async run(chunk) {
          for (let i = 0; i < size; i += WINDOW) {
            await Promise.all(Array.from(part(chunk, i), (key) => store.put(key, key + chunk)));
          }
          return 0;
        },
        verify: sumOfStore,
      },
      oneByOne,
    ],
    target: 5,
  };
  const awaited: Act = { ...puts, sides: [puts.sides[0], pairs, batched], target: 1 };
  const ours = (name: string, run: (keys: Uint32Array, chunk: number) => unknown) => ({
    name,
    async run(chunk: number) {
      for (let i = 0; i < size; i += WINDOW) await run(part(chunk, i), chunk);
      return 0;
    },
    verify: sumOfStore,
  });
  const valuesFor = (window: Uint32Array, chunk: number) => Float64Array.from(window, (key) => key + chunk);
  const batches: Act = {
    name: `store.batch of ${WINDOW} puts`,
    operations: size,
    sides: [
      ours('store', (window, chunk) =>
        store.batch(Array.from(window, (key): Command<number, number> => ['put', key, key + chunk])),
      ),
      oneByOne,
    ],
    target: 5,
  };
  const columns: Act = {
    name: `store.putManySync, windows of ${WINDOW}`,
    operations: size,
    sides: [ours('store', (window, chunk) => store.putManySync(window, valuesFor(window, chunk))), pairs, batched],
    target: 1,
  };
  try {
    const rows: Row[] = [];
    for (const act of calls ? [puts, batches] : [columns, awaited]) rows.push(...(await alternate([act], plan)));
    return rows;
  } finally {
    await store.close();
    await map.stop();
  }
}
