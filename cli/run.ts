/**
 * `sabtree run`: real IP ranges in a replicated store, served by client threads, and two checks at the end that compare:
 * all replicas with each other, and the store with an oracle computed apart.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, cpus } from 'node:os';
import { Worker } from 'node:worker_threads';
import { type Endpoint, type Remote, wrap } from 'comlink';
// @ts-expect-error: comlink ships this adapter without types
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';
import { type ModelName, open, type Store } from '../index.ts';
import {
  PROGRESS_COMMANDS,
  PROGRESS_LOADED,
  PROGRESS_LOOKUPS,
  PROGRESS_SIZE,
  PROGRESS_STOP,
} from './client-progress.ts';
import type { LoadClient, ServeReport } from './load-client.ts';
import { expectedContent, firstDifference } from './oracle.ts';
import { Progress } from './progress.ts';
import { InputError, parseRanges, type Ranges, type RangeValue, rangeSchema } from './ranges.ts';
import { WINDOW } from './workload.ts';

/** What to run. */
export interface RunOptions {
  readonly model: ModelName;
  readonly executors: number;
  readonly replicas: number;
  readonly clients: number;
  readonly seconds: number;
  readonly seed: number;
  /** A CSV; undefined for the IP ranges of the development dependency. */
  readonly file: string | undefined;
}

/** What came of it: the object that `--json` prints. */
export interface RunResult {
  readonly model: ModelName;
  readonly executors: number;
  readonly replicas: number;
  readonly clients: number;
  readonly seconds: number;
  readonly commands: number;
  readonly commandsPerSecond: number;
  readonly lookups: number;
  readonly lookupsPerSecond: number;
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly p999: number };
  readonly refused: number;
  readonly deferred: number;
  readonly retried: number;
  readonly syncPoints: number;
  readonly entries: number;
  readonly bytesPerEntry: number;
  readonly load: { readonly rows: number; readonly seconds: number; readonly rowsPerSecond: number };
  readonly replicasEqual: boolean;
  readonly oracleEqual: boolean;
  /** What a check found, if it failed. */
  readonly differences: readonly string[];
  readonly seed: number;
  readonly input: string;
  readonly cpu: string;
  readonly cores: number;
  readonly node: string;
}

const DATA_PACKAGE = '@ip-location-db/asn-country';

/** The input's path: the file asked for, or the development dependency's. */
function inputPath(file: string | undefined): string {
  if (file !== undefined) return file;
  try {
    return createRequire(import.meta.url).resolve(`${DATA_PACKAGE}/asn-country-ipv4-num.csv`);
  } catch {
    throw new InputError(
      `no input: give a CSV of start,end,country (sabtree run ranges.csv), or install the sample with: npm install ${DATA_PACKAGE}`,
    );
  }
}

function readRanges(path: string): Ranges {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new InputError(`cannot read ${path}: ${(error as Error).message}`);
  }
  try {
    return parseRanges(text);
  } catch (error) {
    if (error instanceof InputError) throw new InputError(`${path}: ${error.message}`);
    throw error;
  }
}

/** A client thread, and what tells that it has died: its comlink calls would then never settle. */
class ClientThread {
  readonly remote: Remote<LoadClient>;
  private readonly worker: Worker;
  private readonly died: Promise<never>;
  private ended = false;

  constructor() {
    this.worker = new Worker(new URL('./load-client.js', import.meta.url));
    this.remote = wrap<LoadClient>(nodeEndpoint(this.worker) as Endpoint);
    this.died = new Promise((_, reject) => {
      this.worker.once('error', reject);
      this.worker.once('exit', (code) => {
        if (!this.ended) reject(new Error(`a client thread ended with code ${code}`));
      });
    });
    this.died.catch(() => {});
  }

  /** A call's result, or the thread's death. */
  until<T>(call: Promise<T>): Promise<T> {
    return Promise.race([call, this.died]);
  }

  async stop(): Promise<void> {
    this.ended = true;
    await this.worker.terminate();
  }
}

function percentile(sorted: Float64Array, share: number): number {
  if (sorted.length === 0) return 0;
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)];
}

function sum(progress: Float64Array, place: number): number {
  let total = 0;
  for (let i = place; i < progress.length; i += PROGRESS_SIZE) total += progress[i];
  return total;
}

/** Runs the job. @throws InputError; SabtreeError for options; whatever ended a thread. */
export async function run(options: RunOptions, signal: AbortSignal): Promise<RunResult> {
  const path = inputPath(options.file);
  const ranges = readRanges(path);
  const rows = ranges.starts.length;
  if (rows < options.clients) throw new InputError(`${rows} rows are too few for ${options.clients} clients`);
  const store = await open({
    key: 'u32',
    value: rangeSchema,
    model: options.model,
    executors: options.executors,
    replicas: options.replicas,
    clients: options.clients + 1,
  });
  const threads = Array.from({ length: options.clients }, () => new ClientThread());
  const shared = new SharedArrayBuffer(options.clients * PROGRESS_SIZE * 8);
  const progress = new Float64Array(shared);
  const stopEarly = () => {
    for (let client = 0; client < options.clients; client++) progress[client * PROGRESS_SIZE + PROGRESS_STOP] = 1;
  };
  signal.addEventListener('abort', stopEarly);
  try {
    const all = <T>(call: (thread: ClientThread, client: number) => Promise<T>) =>
      Promise.all(threads.map((thread, client) => thread.until(call(thread, client))));
    await all((thread, client) =>
      thread.remote.prepare({
        handle: store.handle,
        ranges,
        progress: shared,
        seed: options.seed,
        client,
        clients: options.clients,
      }),
    );

    const loadStart = performance.now();
    const loading = new Progress('load', () => {
      const done = sum(progress, PROGRESS_LOADED);
      return { done: done / rows, note: `${done.toLocaleString('en')} of ${rows.toLocaleString('en')} rows` };
    });
    await all((thread) => thread.remote.load()).finally(() => loading.stop());
    const loadSeconds = (performance.now() - loadStart) / 1000;
    signal.throwIfAborted();

    const before = store.stats();
    const start = performance.now();
    const serving = new Progress('serve', () => {
      const seconds = (performance.now() - start) / 1000;
      const commands = sum(progress, PROGRESS_COMMANDS);
      const lookups = sum(progress, PROGRESS_LOOKUPS);
      const rate = (n: number) => Math.round(n / seconds).toLocaleString('en');
      return { done: seconds / options.seconds, note: `${rate(commands)} commands/s, ${rate(lookups)} lookups/s` };
    });
    const reports = await all((thread) => thread.remote.serve(options.seconds)).finally(() => serving.stop());
    const seconds = (performance.now() - start) / 1000;
    const after = store.stats();
    signal.throwIfAborted();

    const { replicasEqual, oracleEqual, differences } = await verify(store, ranges, options.seed, reports);
    await all((thread) => thread.remote.leave());

    const latencies = Float64Array.from(reports.flatMap((report) => Array.from(report.latencies))).sort();
    const commands = reports.reduce((total, { windows }) => total + windows * WINDOW, 0);
    const lookups = sum(progress, PROGRESS_LOOKUPS);
    return {
      model: store.model,
      executors: after.executors,
      replicas: after.replicas,
      clients: options.clients,
      seconds,
      commands,
      commandsPerSecond: commands / seconds,
      lookups,
      lookupsPerSecond: lookups / seconds,
      latencyMs: {
        p50: percentile(latencies, 0.5),
        p99: percentile(latencies, 0.99),
        p999: percentile(latencies, 0.999),
      },
      refused: after.refused - before.refused,
      deferred: after.deferred - before.deferred,
      retried: after.retried - before.retried,
      syncPoints: after.syncPoints - before.syncPoints,
      entries: after.tree.entries,
      bytesPerEntry: after.tree.bytesPerEntry,
      load: { rows, seconds: loadSeconds, rowsPerSecond: rows / loadSeconds },
      replicasEqual,
      oracleEqual,
      differences,
      seed: options.seed,
      input: path.split(/[\\/]/).pop() as string,
      cpu: cpus()[0]?.model.trim() ?? 'unknown',
      cores: availableParallelism(),
      node: process.version,
    };
  } finally {
    signal.removeEventListener('abort', stopEarly);
    stopEarly();
    await Promise.all(threads.map((thread) => thread.stop()));
    await store.close();
  }
}

/** The two checks. Nobody writes any more; every replica has reached the place of the digests. */
async function verify(
  store: Store<number, RangeValue>,
  ranges: Ranges,
  seed: number,
  reports: readonly ServeReport[],
): Promise<{ replicasEqual: boolean; oracleEqual: boolean; differences: string[] }> {
  const differences: string[] = [];
  const digests = await store.digests();
  const [home] = digests;
  for (const { replica, digest, entries } of digests) {
    if (digest !== home.digest)
      differences.push(`replica ${replica}: digest ${digest}, replica ${home.replica}: ${home.digest}`);
    const checked = store.replica(replica).check();
    if (checked.entries !== entries)
      differences.push(`replica ${replica}: ${checked.entries} entries, ${entries} were counted`);
    const other = store.replica(replica).range();
    for (const [key, value] of store.tree.range()) {
      const its = other.next().value;
      if (its === undefined || its[0] !== key || its[1].end !== value.end || its[1].country !== value.country) {
        differences.push(`replica ${replica} differs from the home replica at key ${key}`);
        break;
      }
    }
    if (other.next().done !== true) differences.push(`replica ${replica} has entries that the home replica has not`);
  }
  if (digests.length !== store.stats().replicas)
    differences.push(`${store.stats().replicas - digests.length} replicas are lost`);
  const replicasEqual = differences.length === 0;
  const expected = expectedContent(ranges, seed, reports);
  const first = firstDifference(store.tree.range(), expected.content);
  if (first !== undefined) differences.push(`oracle: ${first}`);
  for (let client = 0; client < reports.length; client++) {
    if (reports[client].changed !== expected.changed[client]) {
      differences.push(
        `oracle: ${reports[client].changed} commands of client ${client} answered true, ${expected.changed[client]} should have`,
      );
    }
  }
  return { replicasEqual, oracleEqual: !differences.some((text) => text.startsWith('oracle')), differences };
}
