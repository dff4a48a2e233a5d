/**
 * One client thread of `sabtree run`. comlink carries the orders (connect, load, serve) and the final report; progress goes
 * through a shared array, since the thread blocks while it works.
 */
import { parentPort } from 'node:worker_threads';
import { type Endpoint, expose } from 'comlink';
// @ts-expect-error: comlink ships this adapter without types
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';
import ringBuffer from 'ring-buffer-ts';
import { type Command, connect, type StoreClient, type StoreHandle } from '../index.ts';
import {
  PROGRESS_COMMANDS,
  PROGRESS_LOADED,
  PROGRESS_LOOKUPS,
  PROGRESS_SIZE,
  PROGRESS_STOP,
} from './client-progress.ts';
import type { ClientReport } from './oracle.ts';
import { type Ranges, type RangeValue, rangeSchema } from './ranges.ts';
import { LOOKUPS, ownRows, Random, WINDOW, Workload } from './workload.ts';

/** Newest latencies kept by each client. */
const HISTORY = 200_000;
/** Rows loaded with one call. */
const LOAD_WINDOW = 256;

/** What a client is given. */
export interface ClientOrders {
  readonly handle: StoreHandle;
  readonly ranges: Ranges;
  readonly progress: SharedArrayBuffer;
  readonly seed: number;
  readonly client: number;
  readonly clients: number;
}

/** What a client says at its end. */
export interface ServeReport extends ClientReport {
  /** Milliseconds from sending a window to its last answer, the newest ones. */
  readonly latencies: Float64Array;
  /** Direct lookups that found a range with the address in it. */
  readonly hits: number;
}

let orders: ClientOrders | undefined;
let store: StoreClient<number, RangeValue> | undefined;
let progress: Float64Array<ArrayBufferLike> = new Float64Array(PROGRESS_SIZE);

/** The orders a client thread takes. */
const api = {
  async prepare(given: ClientOrders): Promise<void> {
    orders = given;
    store = await connect<number, RangeValue>(given.handle, { value: rangeSchema });
    progress = new Float64Array(given.progress, given.client * PROGRESS_SIZE * 8, PROGRESS_SIZE);
  },

  /** Puts this client's share of the rows. */
  load(): void {
    const { ranges, client, clients } = orders as ClientOrders;
    const own = ownRows(ranges.starts.length, client, clients);
    for (let from = 0; from < own.length && progress[PROGRESS_STOP] === 0; from += LOAD_WINDOW) {
      const rows = own.slice(from, from + LOAD_WINDOW);
      const fresh = (store as StoreClient<number, RangeValue>).putManySync(
        rows.map((row) => ranges.starts[row]),
        rows.map((row) => ({ end: ranges.ends[row], country: ranges.countries[row] })),
      );
      if (fresh !== rows.length) throw new Error(`${rows.length - fresh} of ${rows.length} rows were there already`);
      progress[PROGRESS_LOADED] += rows.length;
    }
  },

  /** Lookups and windows of commands by turns, until the time is over. */
  serve(seconds: number): ServeReport {
    const { ranges, seed, client, clients } = orders as ClientOrders;
    const here = store as StoreClient<number, RangeValue>;
    const workload = new Workload(ranges, seed, client, clients);
    const random = new Random(seed + 31 * client + 17);
    const history = new ringBuffer.RingBuffer<number>(HISTORY);
    const end = performance.now() + seconds * 1000;
    let windows = 0;
    let changed = 0;
    let hits = 0;
    while (performance.now() < end && progress[PROGRESS_STOP] === 0) {
      for (let i = 0; i < LOOKUPS; i++) if (lookUp(here, ranges, random)) hits++;
      progress[PROGRESS_LOOKUPS] += LOOKUPS;
      const commands = workload
        .window()
        .map(
          ({ kind, start, end: last, country }): Command<number, RangeValue> =>
            kind === 'delete' ? ['delete', start] : [kind, start, { end: last, country }],
        );
      const sent = performance.now();
      const answers = here.batchSync(commands);
      history.add(performance.now() - sent);
      windows++;
      for (const answer of answers) {
        if (typeof answer !== 'boolean') throw new Error(`a command answered ${answer}`);
        if (answer) changed++;
      }
      progress[PROGRESS_COMMANDS] += WINDOW;
    }
    return { windows, changed, hits, latencies: Float64Array.from(history.toArray()) };
  },

  async leave(): Promise<void> {
    await store?.close();
  },
};

/** The orders of a client thread, as the main thread sees them. */
export type LoadClient = typeof api;

/** Looks an address up directly; true if some range holds it. A range that cannot be the answer is an error. */
function lookUp(here: StoreClient<number, RangeValue>, ranges: Ranges, random: Random): boolean {
  const row = random.below(ranges.starts.length);
  const address = ranges.starts[row] + random.below(ranges.ends[row] - ranges.starts[row] + 1);
  const found = here.tree.floor(address);
  if (found === undefined) return false;
  const [start, { end, country }] = found;
  if (start > address || end < start || country.length !== 2) {
    throw new Error(`looking up ${address} found ${start} to ${end}, ${country}`);
  }
  return address <= end;
}

if (parentPort === null) throw new Error('load-client runs in a worker thread');
expose(api, nodeEndpoint(parentPort) as Endpoint);
