/**
 * One client thread of `sabtree run`. comlink carries the orders (connect, load, serve) and the final report; progress goes
 * through a shared array, since the thread blocks while it works.
 */
import { parentPort } from 'node:worker_threads';
import { type Endpoint, expose } from 'comlink';
// @ts-expect-error: comlink ships this adapter without types
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';
import { type Command, connect, type StoreClient, type StoreHandle } from '../index.ts';
import { LatencyHistory } from '../perf/support/latencies.ts';
import {
  PROGRESS_COMMANDS,
  PROGRESS_LOADED,
  PROGRESS_LOOKUPS,
  PROGRESS_SIZE,
  PROGRESS_STOP,
} from './client-progress.ts';
import type { ClientReport } from './oracle.ts';
import { type Ranges, type RangeValue, rangeSchema } from './ranges.ts';
import { type Change, LOOKUPS, ownRows, Random, WINDOW, Workload } from './workload.ts';

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
    const lookups = new Lookups(here, ranges, new Random(seed + 31 * client + 17));
    for (const row of ownRows(ranges.starts.length, client, clients)) lookups.know(row, ranges.countries[row]);
    const history = new LatencyHistory();
    const end = performance.now() + seconds * 1000;
    let windows = 0;
    let changed = 0;
    while (performance.now() < end && progress[PROGRESS_STOP] === 0) {
      for (let i = 0; i < LOOKUPS; i++) lookups.one();
      progress[PROGRESS_LOOKUPS] += LOOKUPS;
      const changes = workload.window();
      const commands = changes.map(
        ({ kind, start, end: last, country }): Command<number, RangeValue> =>
          kind === 'delete' ? ['delete', start] : [kind, start, { end: last, country }],
      );
      const sent = performance.now();
      const answers = here.batchSync(commands);
      history.add(performance.now() - sent);
      windows++;
      for (let i = 0; i < WINDOW; i++) {
        const answer = answers[i];
        if (answer instanceof Error) throw answer;
        if (typeof answer !== 'boolean') throw new Error(`a command answered ${answer}`);
        if (!answer) continue;
        changed++;
        lookups.changed(changes[i]);
      }
      progress[PROGRESS_COMMANDS] += WINDOW;
    }
    return { windows, changed, hits: lookups.hits, latencies: history.toArray() };
  },

  async leave(): Promise<void> {
    await store?.close();
  },
};

/** The orders of a client thread, as the main thread sees them. */
export type LoadClient = typeof api;

/**
 * Direct lookups of addresses, each checked: what is found must be a range of the very row, or one that ends before it.
 * Of the rows this client writes, where nobody else does, the latest answered command must be visible.
 */
class Lookups {
  /** Lookups that found a range with the address in it. */
  hits = 0;
  private readonly here: StoreClient<number, RangeValue>;
  private readonly ranges: Ranges;
  private readonly random: Random;
  /** The country that must be stored at a row's start: '' if there must be no entry, undefined if others write it. */
  private readonly known: (string | undefined)[];

  constructor(here: StoreClient<number, RangeValue>, ranges: Ranges, random: Random) {
    this.here = here;
    this.ranges = ranges;
    this.random = random;
    this.known = new Array(ranges.starts.length).fill(undefined);
  }

  know(row: number, country: string): void {
    this.known[row] = country;
  }

  /** Takes note of a command that answered true. */
  changed({ kind, row, start, country }: Change): void {
    if (start === this.ranges.starts[row]) this.known[row] = kind === 'delete' ? '' : country;
  }

  /** Looks one address up. @throws if the answer cannot be right. */
  one(): void {
    const { ranges, random } = this;
    const row = random.below(ranges.starts.length);
    const first = ranges.starts[row];
    const last = ranges.ends[row];
    const address = first + random.below(last - first + 1);
    const found = this.here.tree.floor(address);
    const known = this.known[row];
    if (found === undefined || found[0] < first) {
      const isEarlier = found === undefined || found[1].end < first;
      if (isEarlier && (known === undefined || known === '')) return;
    } else if (found[0] <= address && found[1].end === last && found[1].country.length === 2) {
      this.hits++;
      if (found[0] !== first || known === undefined || known === found[1].country) return;
    }
    const answer = found === undefined ? 'nothing' : `${found[0]} to ${found[1].end} ${found[1].country}`;
    const must = known === undefined ? '' : known === '' ? ', which is deleted' : `, which is stored with ${known}`;
    throw new Error(`looking up ${address} of ${first} to ${last}${must}: found ${answer}`);
  }
}

if (parentPort === null) throw new Error('load-client runs in a worker thread');
expose(api, nodeEndpoint(parentPort) as Endpoint);
