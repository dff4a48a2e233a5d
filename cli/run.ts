/**
 * `sabtree run`: real IP ranges in a replicated store, served by client threads, and two checks at the end that compare:
 * all replicas with each other, and the store with an oracle computed apart.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, cpus } from 'node:os';
import { basename, join } from 'node:path';
import { type ModelName, open } from '../index.ts';
import { type Percentiles, percentiles } from '../perf/support/latencies.ts';
import { type Look, Progress } from '../perf/support/progress.ts';
import { PROGRESS_COMMANDS, PROGRESS_LOADED, PROGRESS_LOOKUPS } from './client-progress.ts';
import { ClientThreads } from './client-threads.ts';
import { InputError, parseRanges, type Ranges, rangeSchema } from './ranges.ts';
import { type Verdict, verify, verifySteps } from './verify.ts';
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
export interface RunResult extends Verdict {
  readonly model: ModelName;
  readonly executors: number;
  readonly replicas: number;
  readonly clients: number;
  readonly seconds: number;
  readonly commands: number;
  readonly commandsPerSecond: number;
  readonly lookups: number;
  readonly lookupsPerSecond: number;
  /** Lookups that found a range with the address in it; the others rightly found none. */
  readonly hits: number;
  /** Milliseconds from sending a window of commands to its last answer. */
  readonly latencyMs: Percentiles;
  readonly refused: number;
  readonly deferred: number;
  readonly retried: number;
  readonly syncPoints: number;
  readonly entries: number;
  readonly bytesPerEntry: number;
  readonly load: { readonly rows: number; readonly seconds: number; readonly rowsPerSecond: number };
  readonly seed: number;
  readonly input: string;
  readonly cpu: string;
  readonly cores: number;
  readonly node: string;
}

const DATA_PACKAGE = '@ip-location-db/asn-country';

/** The input's path: the file asked for, or the sample's, as seen from this package or from the current directory. */
function inputPath(file: string | undefined): string {
  if (file !== undefined) return file;
  for (const from of [import.meta.url, join(process.cwd(), 'from-here.js')]) {
    try {
      return createRequire(from).resolve(`${DATA_PACKAGE}/asn-country-ipv4-num.csv`);
    } catch {
      // Not installed there.
    }
  }
  throw new InputError(
    'no input. Give a CSV with rows of start,end,country:\n' +
      '  sabtree run ranges.csv\n' +
      'or install the sample, about 141,800 ranges, here:\n' +
      `  npm install ${DATA_PACKAGE}`,
  );
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

/** Shows how far `work` is until it has ended. */
async function shown<T>(label: string, look: () => Look, work: Promise<T>): Promise<T> {
  const progress = new Progress(label, look);
  try {
    return await work;
  } finally {
    progress.stop();
  }
}

const count = (value: number) => Math.round(value).toLocaleString('en');

/**
 * Runs the job.
 * @throws InputError; SabtreeError for options; whatever ended a thread; the reason of an aborted `signal`.
 */
export async function run(options: RunOptions, signal: AbortSignal): Promise<RunResult> {
  const path = inputPath(options.file);
  const ranges = readRanges(path);
  const rows = ranges.starts.length;
  if (rows < options.clients) {
    throw new InputError(`${path}: ${options.clients} clients need as many rows, there are ${rows}`);
  }
  const store = await open({
    key: 'u32',
    value: rangeSchema,
    model: options.model,
    executors: options.executors,
    replicas: options.replicas,
    clients: options.clients + 1,
  });
  let threads: ClientThreads | undefined;
  try {
    threads = new ClientThreads(options.clients, signal);
    const { shared } = threads;
    const { seed, clients } = options;
    await threads.all((remote, client) =>
      remote.prepare({ handle: store.handle, ranges, progress: shared, seed, client, clients }),
    );

    const loadStart = performance.now();
    const loading = () => {
      const done = threads?.sum(PROGRESS_LOADED) ?? 0;
      return { done: done / rows, note: `${count(done)} of ${count(rows)} rows` };
    };
    await shown(
      'load',
      loading,
      threads.all((remote) => remote.load()),
    );
    const loadSeconds = (performance.now() - loadStart) / 1000;

    const before = store.stats();
    const start = performance.now();
    const serving = () => {
      const seconds = (performance.now() - start) / 1000;
      const rate = (place: number) => count((threads?.sum(place) ?? 0) / seconds);
      return {
        done: seconds / options.seconds,
        note: `${rate(PROGRESS_COMMANDS)} commands/s, ${rate(PROGRESS_LOOKUPS)} lookups/s`,
      };
    };
    const reports = await shown(
      'serve',
      serving,
      threads.all((remote) => remote.serve(options.seconds)),
    );
    const seconds = (performance.now() - start) / 1000;
    const after = store.stats();
    const lookups = threads.sum(PROGRESS_LOOKUPS);

    let done = 0;
    const steps = verifySteps(after.replicas, after.tree.entries, reports);
    const pause = async (more: number) => {
      done += more;
      // Lets the progress be drawn, and an interrupt arrive.
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
    };
    const verdict = await shown(
      'verify',
      () => ({ done: done / steps, note: `${count(done)} entries and commands` }),
      verify(store, ranges, seed, reports, pause),
    );
    await threads.all((remote) => remote.leave());

    const commands = reports.reduce((total, { windows }) => total + windows * WINDOW, 0);
    return {
      model: store.model,
      executors: after.executors,
      replicas: after.replicas,
      clients,
      seconds,
      commands,
      commandsPerSecond: commands / seconds,
      lookups,
      lookupsPerSecond: lookups / seconds,
      hits: reports.reduce((total, { hits }) => total + hits, 0),
      latencyMs: percentiles(reports.map(({ latencies }) => latencies)),
      refused: after.refused - before.refused,
      deferred: after.deferred - before.deferred,
      retried: after.retried - before.retried,
      syncPoints: after.syncPoints - before.syncPoints,
      entries: after.tree.entries,
      bytesPerEntry: after.tree.bytesPerEntry,
      load: { rows, seconds: loadSeconds, rowsPerSecond: rows / loadSeconds },
      ...verdict,
      seed,
      input: basename(path),
      cpu: cpus()[0]?.model.trim() ?? 'unknown',
      cores: availableParallelism(),
      node: process.version,
    };
  } finally {
    // Also when an order failed: nothing may keep the process alive.
    await threads?.end();
    await store.close();
  }
}
