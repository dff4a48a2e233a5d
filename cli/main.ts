#!/usr/bin/env node
/**
 * The command line: `sabtree run`, `bench`, `top`, `inspect`, `chaos` and `kill9`. Exit codes: 0 all well; 1 a check failed or the run
 * broke; 2 a wrong call or input; 130 and 143 interrupted.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism, constants } from 'node:os';
import { type ModelName, modelNames, SabtreeError } from '../index.ts';
import { FlagError, nameOf, numberFlag, parseLine } from '../perf/support/flags.ts';
import { bench } from './bench.ts';
import { chaos } from './chaos/command.ts';
import { inspectCommand } from './inspect.ts';
import { kill9 } from './kill9/command.ts';
import { InputError } from './ranges.ts';
import { type RunOptions, type RunResult, run } from './run.ts';
import { table } from './table.ts';
import { top } from './top.ts';
import { WINDOW } from './workload.ts';

const CORES = Math.min(32, availableParallelism());

const HELP = `sabtree COMMAND [options]

A concurrent ordered map in a SharedArrayBuffer, and a parallel replicated state machine on top.

  run [FILE.csv]    serves IP ranges from a replicated store, and compares its replicas and an oracle
  bench             measures throughput and latency of the execution models
  top [PATH]        shows a store of a running process while it works
  inspect FILE...   shows what snapshots and logs hold, and whether they are whole
  chaos             kills executors, replicas and clients under load; looks whether anything is lost
  kill9             kills a process with a logged store again and again, and looks the same

sabtree COMMAND --help says more of each; sabtree --version prints the version.

Exit codes: 0 all well, 1 a check failed or the run broke, 2 a wrong call or input.
`;

const RUN_HELP = `sabtree run [FILE.csv] [options]

Loads IP ranges (rows of start,end,country; addresses as numbers or dotted) into a replicated store
through several client threads, serves a mixed load (nine direct lookups to one update, insert or
delete), and then compares all replicas with each other and with an oracle. Without a FILE it takes
the npm package @ip-location-db/asn-country.

  --model NAME      ${modelNames.slice(0, 6).join(', ')},
                    ${modelNames.slice(6).join(', ')} (opt-psmr)
  --executors N     threads of each replica, 1 to 32; smr and pipelined always have one (the number
                    of cores: ${CORES})
  --replicas N      1 to 8 (2; direct has 1)
  --clients N       client threads, 1 to 64 (2)
  --seconds S       length of the mixed load, 0.1 to 86400 (10)
  --seed N          seed of the mixed load (1)
  --json            print one JSON object, as the last line, instead of the table
  --help            print this

Exit codes: 0 all well, 1 a check failed or the run broke, 2 a wrong call or input.
`;

/** The flags of `sabtree run`. */
const FLAGS = {
  model: { type: 'string' },
  executors: { type: 'string' },
  replicas: { type: 'string' },
  clients: { type: 'string' },
  seconds: { type: 'string' },
  seed: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean' },
} as const;

/** The user has had enough. */
class Interrupted extends Error {
  readonly exitCode: number;

  constructor(signal: 'SIGINT' | 'SIGTERM') {
    super('interrupted');
    this.exitCode = 128 + constants.signals[signal];
  }
}

/** What `sabtree run` is to do; undefined if it was asked for help. @throws FlagError */
function runOptions(args: string[]): (RunOptions & { readonly json: boolean }) | undefined {
  const { values, positionals: files } = parseLine(args, FLAGS);
  if (values.help) return undefined;
  if (files.length > 1) throw new FlagError(`run takes one file, got ${files.length}`);
  const model = nameOf<ModelName>('model', modelNames, values.model ?? 'opt-psmr');
  return {
    model,
    executors: numberFlag('executors', values.executors, CORES, 1, 32),
    replicas: numberFlag('replicas', values.replicas, model === 'direct' ? 1 : 2, 1, 8),
    clients: numberFlag('clients', values.clients, 2, 1, 64),
    seconds: numberFlag('seconds', values.seconds, 10, 0.1, 86_400),
    seed: numberFlag('seed', values.seed, 1, 0, 0x7fffffff),
    file: files[0],
    json: values.json ?? false,
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

async function runCommand(args: string[], signal: AbortSignal): Promise<number> {
  const options = runOptions(args);
  if (options === undefined) {
    process.stdout.write(RUN_HELP);
    return 0;
  }
  const result = await run(options, signal);
  for (const difference of result.differences) process.stderr.write(`sabtree: ${difference}\n`);
  process.stdout.write(`${options.json ? JSON.stringify(result) : report(result)}\n`);
  return result.replicasEqual && result.oracleEqual ? 0 : 1;
}

/** The commands; each answers the exit code, and throws FlagError for a wrong call. */
const COMMANDS: Readonly<Record<string, (args: string[], signal: AbortSignal) => number | Promise<number>>> = {
  run: runCommand,
  bench: (args, signal) => bench(args, { signal }),
  top,
  inspect: inspectCommand,
  chaos,
  kill9,
};

function version(): string {
  return JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version;
}

async function main([name, ...rest]: string[]): Promise<number> {
  if (name === undefined) {
    process.stderr.write(HELP);
    return 2;
  }
  if (Object.hasOwn(COMMANDS, name)) return COMMANDS[name](rest, interruptSignal());
  if (['--help', '-h', 'help'].includes(name)) process.stdout.write(HELP);
  else if (['--version', '-v', 'version'].includes(name)) process.stdout.write(`${version()}\n`);
  else {
    const kind = name.startsWith('-') ? 'a command goes first, not' : 'unknown command';
    throw new FlagError(`${kind} ${JSON.stringify(name)}; there are ${Object.keys(COMMANDS).join(', ')}`);
  }
  return 0;
}

/** Says what went wrong, with a stack only where it is a defect; returns the exit code. */
function failed(error: unknown, name = ''): number {
  const say = (text: string) => process.stderr.write(`sabtree: ${text}\n`);
  if (error instanceof FlagError) {
    say(`${error.message}\nsabtree ${Object.hasOwn(COMMANDS, name) ? `${name} ` : ''}--help says more.`);
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
  process.exitCode = failed(error, process.argv[2]);
}
