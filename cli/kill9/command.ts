/** `sabtree kill9`: kills a process with a logged store again and again, and looks whether anything is lost. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { FsyncPolicy, ModelName, TornTail } from '../../index.ts';
import { FlagError, listOf, nameOf, numberFlag, parseFlags } from '../../perf/support/flags.ts';
import { MODELS, modelNames } from '../../workers/models/index.ts';
import { table } from '../table.ts';
import { Random } from '../workload.ts';
import { CONTENTS, type ContentName } from './content.ts';
import { Ledger } from './ledger.ts';
import type { Life } from './plan.ts';

const LOGGED = modelNames.filter((name) => MODELS[name].replicated);

const HELP = `sabtree kill9 [options]

Starts a process that opens a store with a log and writes to it through several clients, kills it
with SIGKILL at some moment (also while it opens, or while a snapshot replaces the log), and starts
the next one on the same directory: that one must find everything that was answered, of what writes
several keys (putAll, a user-defined command) all or nothing, and nothing that was never sent.
Models, executors and replicas change from life to life.

  --times N         kills, 1 to 1000000 (20)
  --seed N          seed of all that is random but time itself (from the clock)
  --models A,B      ${LOGGED.join(', ')}
                    (all of them)
  --content KIND    ${CONTENTS.join(' or ')} (numbers): u32 -> f64, or string -> json
                    of up to 16 KiB
  --fsync POLICY    always, interval or never (always); the end of a process loses nothing under any
                    of them
  --path DIR        where the log's directory is made (${tmpdir()})
  --json            print one JSON object, as the last line, instead of the table
  --help            print this

Exit codes: 0 nothing is lost, 1 something is, or the run broke, 2 a wrong call.
`;

const FLAGS = {
  times: { type: 'string' },
  seed: { type: 'string' },
  models: { type: 'string' },
  content: { type: 'string' },
  fsync: { type: 'string' },
  path: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean' },
} as const;

/** Milliseconds a life may take to open its store. */
const PATIENCE = 60_000;

/** What a life says when its store is open. */
interface Opened {
  readonly entries: readonly (readonly [number, number])[];
  readonly equal: boolean;
  readonly replayed: number;
  readonly torn?: TornTail;
}

/** Sums over all lives. */
interface Totals {
  kills: number;
  /** Kills before the store was open. */
  early: number;
  acknowledged: number;
  replayed: number;
  torn: number;
  snapshots: number;
  lost: string[];
  troubles: string[];
}

/** The process of a life, and what it says. */
class Process {
  opened: Opened | undefined;
  /** Acknowledgements: client and index. */
  readonly answers: (readonly [client: number, index: number])[] = [];
  snapshots = 0;
  readonly troubles: string[] = [];
  private readonly child: ChildProcess;
  private readonly closed: Promise<unknown>;
  private watch: (() => void) | undefined;

  constructor(life: Life) {
    const file = fileURLToPath(new URL('./child.js', import.meta.url));
    this.child = spawn(process.execPath, [file, JSON.stringify(life)], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.closed = once(this.child, 'close');
    const lines = createInterface({ input: this.child.stdout as NodeJS.ReadableStream });
    lines.on('line', (line) => {
      this.take(line);
      this.watch?.();
    });
    lines.on('close', () => this.watch?.());
    this.child.on('close', () => this.watch?.());
  }

  private take(line: string): void {
    const space = line.indexOf(' ');
    const word = space < 0 ? line : line.slice(0, space);
    const rest = line.slice(space + 1);
    try {
      if (word === 'ack') this.acknowledge(rest.split(' '));
      else if (word === 'ready') this.opened = JSON.parse(rest) as Opened;
      else if (word === 'replaced') this.snapshots++;
      else this.troubles.push(JSON.parse(rest) as string);
    } catch {
      // The kill may cut a line short.
    }
  }

  private acknowledge([client, index, end]: readonly string[]): void {
    if (end === '.') this.answers.push([Number(client), Number(index)]);
  }

  get over(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  get exitCode(): number | null {
    return this.child.exitCode;
  }

  /** Resolves when the condition holds, or the process has ended; false if neither came in time. */
  async until(condition: () => boolean, ms: number): Promise<boolean> {
    const late = new AbortController();
    const limit = delay(ms, false, { signal: late.signal }).catch(() => false);
    const reached = new Promise<boolean>((resolve) => {
      this.watch = () => {
        if (condition() || this.over) resolve(true);
      };
      this.watch();
    });
    const result = await Promise.race([reached, limit]);
    late.abort();
    return result;
  }

  /** Kills it, and takes what it had said. */
  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.closed;
  }

  async end(): Promise<void> {
    await this.closed;
  }
}

function quickly(life: Omit<Life, 'last'>): string {
  return `${life.model}, ${life.executors} x ${life.replicas}`;
}

/** Runs the lives. @param show called after each. */
async function run(
  times: number,
  seed: number,
  models: readonly ModelName[],
  content: ContentName,
  fsync: FsyncPolicy,
  directory: string,
  signal: AbortSignal,
  show: (totals: Totals, what: string) => void,
): Promise<Totals> {
  const random = new Random(seed);
  const totals: Totals = {
    kills: 0,
    early: 0,
    acknowledged: 0,
    replayed: 0,
    torn: 0,
    snapshots: 0,
    lost: [],
    troubles: [],
  };
  let ledger = new Ledger({ seed, life: 0, clients: 0, window: 0 }, new Map());
  // A life that was killed before its store was open leaves the ledger to the next one.
  for (let number = 1; number <= times + 1 && !signal.aborted; number++) {
    const life: Life = {
      ...{ directory, content, fsync, seed, life: number },
      model: models[random.below(models.length)],
      executors: 1 + random.below(3),
      replicas: 1 + random.below(3),
      clients: 1 + random.below(3),
      window: [1, 4, 16, 64][random.below(4)],
      snapshotEvery: [16384, 65536, 262144, 0][random.below(4)],
      last: number > times,
    };
    const early = !life.last && random.below(100) < 15;
    const answers = random.below([40, 600, 3000][random.below(3)]);
    const pause = random.below(4) === 0 ? random.below(200) : random.below(4000) / 1000;
    const child = new Process(life);
    if (early) await child.until(() => false, random.below(400));
    else {
      const opened = await child.until(() => child.opened !== undefined, PATIENCE);
      if (!opened) totals.troubles.push(`life ${number} (${quickly(life)}): the store did not open in ${PATIENCE} ms`);
      else if (!life.last) {
        await child.until(() => child.answers.length >= answers, PATIENCE);
        await child.until(() => false, pause);
      }
    }
    if (life.last && (await child.until(() => false, PATIENCE)) && child.over) {
      await child.end();
      if (child.exitCode !== 0) totals.troubles.push(`the last life ended with exit code ${child.exitCode}`);
    } else {
      if (life.last) totals.troubles.push('the last life did not end');
      else if (child.over && !signal.aborted) totals.troubles.push(`life ${number} (${quickly(life)}) ended by itself`);
      await child.kill();
      totals.kills++;
    }
    const { opened } = child;
    totals.troubles.push(...child.troubles.map((text) => `life ${number} (${quickly(life)}): ${text}`));
    totals.snapshots += child.snapshots;
    if (opened === undefined) totals.early++;
    else {
      const found = new Map(opened.entries);
      totals.lost.push(...ledger.verify(found).map((text) => `life ${number} (${quickly(life)}): ${text}`));
      if (!opened.equal) totals.lost.push(`life ${number} (${quickly(life)}): the replicas differ`);
      totals.replayed += opened.replayed;
      if (opened.torn !== undefined) totals.torn++;
      ledger = new Ledger(life, found);
      for (const [client, index] of child.answers) ledger.acknowledge(client, index);
      totals.acknowledged += ledger.acknowledged;
    }
    show(totals, quickly(life));
    if (totals.lost.length > 0 || totals.troubles.length > 0) break;
  }
  return totals;
}

/** A new folder. @throws FlagError if there can be none */
function folderIn(path: string): string {
  try {
    return mkdtempSync(join(path, 'sabtree-kill9-'));
  } catch (error) {
    throw new FlagError(`--path: ${(error as Error).message}`);
  }
}

/** Runs the command. @returns the exit code @throws FlagError */
export async function kill9(args: string[], signal: AbortSignal): Promise<number> {
  const values = parseFlags(args, FLAGS);
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const times = numberFlag('times', values.times, 20, 1, 1_000_000);
  const seed = numberFlag('seed', values.seed, Date.now() % 0x7fffffff, 0, 0x7fffffff);
  const models = listOf(values.models, (name) => nameOf<ModelName>('models', LOGGED, name)) ?? LOGGED;
  const content = nameOf<ContentName>('content', CONTENTS, values.content ?? 'numbers');
  const fsync = nameOf<FsyncPolicy>('fsync', ['always', 'interval', 'never'], values.fsync ?? 'always');
  const folder = folderIn(values.path ?? tmpdir());
  const began = performance.now();
  let shown = 0;
  const totals = await run(times, seed, models, content, fsync, join(folder, 'log'), signal, (now, what) => {
    const time = performance.now();
    if (!process.stderr.isTTY && time - shown < 10_000) return;
    shown = time;
    const { kills, acknowledged, lost } = now;
    const line = `${kills} of ${times} kills, ${acknowledged.toLocaleString('en')} commands answered, ${lost.length} lost  ${what}`;
    process.stderr.write(process.stderr.isTTY ? `\r\u001b[K${line}` : `${line}\n`);
  });
  if (process.stderr.isTTY) process.stderr.write('\n');
  for (const text of [...totals.lost, ...totals.troubles].slice(0, 20)) process.stderr.write(`sabtree: ${text}\n`);
  const good = totals.lost.length === 0 && totals.troubles.length === 0;
  if (good) rmSync(folder, { recursive: true, force: true });
  else process.stderr.write(`sabtree: the log is in ${folder}\n`);
  const summary = { seed, times, content, fsync, seconds: (performance.now() - began) / 1000, ...totals };
  const count = (value: number) => value.toLocaleString('en');
  const rows: [string, string][] = [
    ['seed', String(seed)],
    ['content', content],
    ['fsync', fsync],
    ['kills', count(totals.kills)],
    ['before the store was open', count(totals.early)],
    ['commands answered', count(totals.acknowledged)],
    ['commands carried out again from the log', count(totals.replayed)],
    ['torn tails cut off', count(totals.torn)],
    ['snapshots that replaced the log', count(totals.snapshots)],
    ['lost or wrong', count(totals.lost.length)],
    ['seconds', summary.seconds.toFixed(1)],
  ];
  process.stdout.write(`${values.json ? JSON.stringify(summary) : table(rows)}\n`);
  return good ? 0 : 1;
}
