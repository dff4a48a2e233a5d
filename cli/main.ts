#!/usr/bin/env node
/**
 * The command line: `sabtree run`, `bench`, `chaos`, `top`, `inspect` and `kill9`. Exit codes: 0 all well; 1 a check failed or the run broke;
 * 2 a wrong call or input; 130 and 143 interrupted.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism, constants } from 'node:os';
import { parseArgs } from 'node:util';
import { type ModelName, SabtreeError } from '../index.ts';
import { MODELS } from '../workers/models/index.ts';
import { bench, FlagError } from './bench.ts';
import { ChaosFlagError, chaos } from './chaos/command.ts';
import { InspectFlagError, inspectCommand } from './inspect.ts';
import { Kill9FlagError, kill9 } from './kill9/command.ts';
import { InputError } from './ranges.ts';
import { type RunOptions, type RunResult, run } from './run.ts';
import { table } from './table.ts';
import { TopError, top } from './top.ts';
import { WINDOW } from './workload.ts';

const MODEL_NAMES = Object.keys(MODELS).join(', ');
const CORES = Math.min(32, availableParallelism());

const HELP = `sabtree run [FILE.csv] [options]

Loads IP ranges (rows of start,end,country; addresses as numbers or dotted) into a replicated store
through several client threads, serves a mixed load (nine direct lookups to one update, insert or
delete), and then compares all replicas with each other and with an oracle. Without a FILE it takes
the npm package @ip-location-db/asn-country.

  --model NAME      ${MODEL_NAMES} (opt-psmr)
  --executors N     threads of each replica, 1 to 32; smr always has one (the number of cores: ${CORES})
  --replicas N      1 to 8 (2)
  --clients N       client threads, 1 to 64 (2)
  --seconds S       length of the mixed load, 0.1 to 86400 (10)
  --seed N          seed of the mixed load (1)
  --json            print one JSON object, as the last line, instead of the table
  --help            print this
  --version         print the version

sabtree bench [options]

Measures throughput and latency of the execution models; sabtree bench --help says more.

sabtree chaos [options]

Kills executors, replicas and clients under load, and looks whether anything is lost; sabtree chaos
--help says more.

sabtree top [PATH] [options]

Shows a store of a running process while it works; sabtree top --help says more.

sabtree inspect FILE...

Shows what snapshots and logs hold, and whether they are whole; sabtree inspect --help says more.

sabtree kill9 [options]

Kills a process with a logged store again and again, and looks whether anything is lost; sabtree kill9
--help says more.

Exit codes: 0 all well, 1 a check failed or the run broke, 2 a wrong call or input.
`;

/** The flags, as parseArgs takes them. */
const FLAGS = {
  model: { type: 'string' },
  executors: { type: 'string' },
  replicas: { type: 'string' },
  clients: { type: 'string' },
  seconds: { type: 'string' },
  seed: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean' },
  version: { type: 'boolean' },
} as const;

/** A wrong call. */
class UsageError extends Error {}

/** The user has had enough. */
class Interrupted extends Error {
  readonly exitCode: number;

  constructor(signal: 'SIGINT' | 'SIGTERM') {
    super('interrupted');
    this.exitCode = 128 + constants.signals[signal];
  }
}

function parse(args: string[]) {
  try {
    return parseArgs({ args, allowPositionals: true, options: FLAGS });
  } catch (error) {
    const { code, message } = error as Error & { code?: string };
    if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION') {
      const flags = Object.keys(FLAGS).map((name) => `--${name}`);
      throw new UsageError(`unknown flag ${/'(.*?)'/.exec(message)?.[1]}; there are ${flags.join(', ')}`);
    }
    if (code?.startsWith('ERR_PARSE_ARGS')) throw new UsageError(message.split('\n')[0]);
    throw error;
  }
}

/** The value of a numeric flag. If `least` is an integer, so must the value be. */
function numberFlag(name: string, text: string | undefined, fallback: number, least: number, most: number): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  const whole = Number.isInteger(least);
  if (text.trim() === '' || !(value >= least && value <= most) || (whole && !Number.isInteger(value))) {
    const kind = whole ? 'an integer' : 'a number';
    throw new UsageError(`--${name} takes ${kind} from ${least} to ${most}, got ${JSON.stringify(text)}`);
  }
  return value;
}

function modelFlag(text = 'opt-psmr'): ModelName {
  if (!Object.hasOwn(MODELS, text)) {
    throw new UsageError(`--model takes one of ${MODEL_NAMES}, got ${JSON.stringify(text)}`);
  }
  return text as ModelName;
}

function runOptions(values: ReturnType<typeof parse>['values'], files: readonly string[]): RunOptions {
  if (files.length > 1) throw new UsageError(`run takes one file, got ${files.length}`);
  return {
    model: modelFlag(values.model),
    executors: numberFlag('executors', values.executors, CORES, 1, 32),
    replicas: numberFlag('replicas', values.replicas, 2, 1, 8),
    clients: numberFlag('clients', values.clients, 2, 1, 64),
    seconds: numberFlag('seconds', values.seconds, 10, 0.1, 86_400),
    seed: numberFlag('seed', values.seed, 1, 0, 0x7fffffff),
    file: files[0],
  };
}

function report(result: RunResult): string {
  const count = (value: number) => Math.round(value).toLocaleString('en');
  const ms = (value: number) => `${value.toFixed(3)} ms`;
  const verdict = (good: boolean) => (good ? 'yes' : 'NO');
  const { latencyMs, load } = result;
  return table([
    ['input', result.input],
    ['model', result.model],
    ['replicas x executors, clients', `${result.replicas} x ${result.executors}, ${result.clients}`],
    ['rows loaded', `${count(load.rows)} in ${load.seconds.toFixed(2)} s (${count(load.rowsPerSecond)}/s)`],
    ['commands', `${count(result.commands)} in ${result.seconds.toFixed(2)} s`],
    ['throughput: commands', `${count(result.commandsPerSecond)}/s`],
    ['throughput: direct lookups', `${count(result.lookupsPerSecond)}/s`],
    [`latency of a command (in windows of ${WINDOW}): p50`, ms(latencyMs.p50)],
    ['p99', ms(latencyMs.p99)],
    ['p99.9', ms(latencyMs.p999)],
    ['commands refused', count(result.refused)],
    ['commands deferred behind them', count(result.deferred)],
    ['retries', count(result.retried)],
    ['sync points', count(result.syncPoints)],
    ['entries', count(result.entries)],
    ['memory per entry', `${result.bytesPerEntry.toFixed(1)} bytes`],
    ['machine', `${result.cpu}, ${result.cores} cores, Node.js ${result.node.slice(1)}`],
    ['replicas equal (digests and contents)', verdict(result.replicasEqual)],
    ['equal to the oracle', verdict(result.oracleEqual)],
  ]);
}

/** A signal that is aborted by an interrupt. */
function interruptSignal(): AbortSignal {
  const controller = new AbortController();
  // Once: who interrupts a second time wants it to end at once.
  process.once('SIGINT', () => controller.abort(new Interrupted('SIGINT')));
  process.once('SIGTERM', () => controller.abort(new Interrupted('SIGTERM')));
  return controller.signal;
}

async function main(args: string[]): Promise<number> {
  if (args[0] === 'bench') return bench(args.slice(1), { signal: interruptSignal() });
  if (args[0] === 'chaos') return chaos(args.slice(1), interruptSignal());
  if (args[0] === 'top') return top(args.slice(1), interruptSignal());
  if (args[0] === 'inspect') return inspectCommand(args.slice(1));
  if (args[0] === 'kill9') return kill9(args.slice(1), interruptSignal());
  const { values, positionals } = parse(args);
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (values.version) {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
    process.stdout.write(`${version}\n`);
    return 0;
  }
  const [command, ...files] = positionals;
  if (command === undefined) {
    process.stderr.write(HELP);
    return 2;
  }
  if (command !== 'run')
    throw new UsageError(
      `unknown command ${JSON.stringify(command)}; there are: run, bench, chaos, top, inspect, kill9`,
    );
  const options = runOptions(values, files);
  const result = await run(options, interruptSignal());
  for (const difference of result.differences) process.stderr.write(`sabtree: ${difference}\n`);
  process.stdout.write(`${values.json ? JSON.stringify(result) : report(result)}\n`);
  return result.replicasEqual && result.oracleEqual ? 0 : 1;
}

/** Wrong calls of the subcommands. */
const FLAG_ERRORS = [
  [FlagError, 'bench'],
  [ChaosFlagError, 'chaos'],
  [InspectFlagError, 'inspect'],
  [Kill9FlagError, 'kill9'],
] as const;

/** Says what went wrong, with a stack only where it is a defect; returns the exit code. */
function failed(error: unknown): number {
  const say = (text: string) => process.stderr.write(`sabtree: ${text}\n`);
  if (error instanceof UsageError) {
    say(`${error.message}\nsabtree --help says more.`);
    return 2;
  }
  for (const [kind, name] of FLAG_ERRORS) {
    if (!(error instanceof kind)) continue;
    say(`${error.message}\nsabtree ${name} --help says more.`);
    return 2;
  }
  if (error instanceof TopError) {
    say(`${error.message}\nsabtree top --help says more.`);
    return 2;
  }
  if (error instanceof InputError || error instanceof Interrupted) {
    say(error.message);
    return error instanceof Interrupted ? error.exitCode : 2;
  }
  if (error instanceof SabtreeError) {
    say(`${error.message} (${error.code})`);
    return error.code === 'ERR_OPTION' ? 2 : 1;
  }
  // From a client thread it comes without class and code, but with its name.
  if (error instanceof Error && error.name === 'SabtreeError') say(error.message);
  else say(error instanceof Error ? (error.stack ?? error.message) : String(error));
  return 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.exitCode = failed(error);
}
