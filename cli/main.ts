#!/usr/bin/env node
/** The command line: `sabtree run`. Exit codes: 0 all well, 1 a check failed or the run broke, 2 a wrong call or input. */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { type ModelName, SabtreeError } from '../index.ts';
import { InputError } from './ranges.ts';
import { type RunResult, run } from './run.ts';

const HELP = `sabtree run [FILE.csv] [options]

Loads IP ranges (rows of start,end,country; numbers or dotted addresses) into a replicated store
through several client threads, serves a mixed load (nine lookups to one update, insert or delete),
and then compares all replicas with each other and with an oracle.

  --model NAME      smr, psmr or opt-psmr            (opt-psmr)
  --executors N     threads of each replica, 1 to 32 (cores: ${availableParallelism()})
  --replicas N      1 to 8                           (2)
  --clients N       client threads, 1 to 64          (2)
  --seconds S       length of the mixed load         (10)
  --seed N          seed of the load                 (1)
  --json            one JSON object as the last line
  --help, --version
`;

/** A wrong call. */
class UsageError extends Error {}

function numberFlag(
  name: string,
  text: string | undefined,
  fallback: number,
  least: number,
  most: number,
  whole = true,
): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (text.trim() === '' || !(value >= least && value <= most) || (whole && !Number.isInteger(value))) {
    throw new UsageError(
      `--${name} takes ${whole ? 'an integer' : 'a number'} from ${least} to ${most}, got ${JSON.stringify(text)}`,
    );
  }
  return value;
}

function flags(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        model: { type: 'string' },
        executors: { type: 'string' },
        replicas: { type: 'string' },
        clients: { type: 'string' },
        seconds: { type: 'string' },
        seed: { type: 'string' },
        json: { type: 'boolean' },
        help: { type: 'boolean' },
        version: { type: 'boolean' },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** A table of two columns. */
function table(rows: readonly (readonly [string, string])[]): string {
  const left = Math.max(...rows.map(([name]) => name.length));
  const right = Math.max(...rows.map(([, value]) => value.length));
  const line = `├${'─'.repeat(left + 2)}┼${'─'.repeat(right + 2)}┤`;
  const body = rows.map(([name, value]) => `│ ${name.padEnd(left)} │ ${value.padStart(right)} │`);
  return [
    line.replace('├', '┌').replace('┼', '┬').replace('┤', '┐'),
    ...body,
    line.replace('├', '└').replace('┼', '┴').replace('┤', '┘'),
  ].join('\n');
}

function report(result: RunResult): string {
  const count = (value: number) => Math.round(value).toLocaleString('en');
  const ms = (value: number) => `${value.toFixed(3)} ms`;
  const { latencyMs, load } = result;
  return table([
    ['model', result.model],
    ['executors x replicas, clients', `${result.executors} x ${result.replicas}, ${result.clients}`],
    ['rows loaded', `${count(load.rows)} in ${load.seconds.toFixed(2)} s (${count(load.rowsPerSecond)}/s)`],
    ['commands', `${count(result.commands)} in ${result.seconds.toFixed(2)} s`],
    ['commands per second', count(result.commandsPerSecond)],
    ['direct lookups per second', count(result.lookupsPerSecond)],
    ['latency of a window of 64: p50', ms(latencyMs.p50)],
    ['p99', ms(latencyMs.p99)],
    ['p99.9', ms(latencyMs.p999)],
    ['refused / deferred / retried', `${count(result.refused)} / ${count(result.deferred)} / ${count(result.retried)}`],
    ['sync points', count(result.syncPoints)],
    ['entries', count(result.entries)],
    ['memory per entry', `${result.bytesPerEntry.toFixed(1)} bytes`],
    ['machine', `${result.cpu}, ${result.cores} cores, Node ${result.node.slice(1)}`],
    ['replicas equal (digests, contents)', result.replicasEqual ? 'yes' : 'NO'],
    ['equal to the oracle', result.oracleEqual ? 'yes' : 'NO'],
  ]);
}

async function main(args: string[]): Promise<number> {
  const { values, positionals } = flags(args);
  if (values.version) {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
    process.stdout.write(`${version}\n`);
    return 0;
  }
  if (values.help || positionals.length === 0) {
    process.stdout.write(HELP);
    return values.help ? 0 : 2;
  }
  const [command, file, ...rest] = positionals;
  if (command !== 'run') throw new UsageError(`unknown command ${JSON.stringify(command)}; there is: run`);
  if (rest.length > 0) throw new UsageError(`run takes one file, got ${rest.length + 1}`);
  const controller = new AbortController();
  const interrupt = () => controller.abort(new Error('interrupted'));
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  const result = await run(
    {
      model: (values.model ?? 'opt-psmr') as ModelName,
      executors: numberFlag('executors', values.executors, Math.min(32, availableParallelism()), 1, 32),
      replicas: numberFlag('replicas', values.replicas, 2, 1, 8),
      clients: numberFlag('clients', values.clients, 2, 1, 64),
      seconds: numberFlag('seconds', values.seconds, 10, 0.1, 86_400, false),
      seed: numberFlag('seed', values.seed, 1, 0, 0x7fffffff),
      file,
    },
    controller.signal,
  );
  if (values.json) process.stdout.write(`${JSON.stringify(result)}\n`);
  else process.stdout.write(`${report(result)}\n`);
  for (const difference of result.differences) process.stderr.write(`${difference}\n`);
  return result.replicasEqual && result.oracleEqual ? 0 : 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const expected =
    error instanceof UsageError ||
    error instanceof InputError ||
    (error instanceof SabtreeError && error.code === 'ERR_OPTION');
  process.stderr.write(
    `sabtree: ${expected ? (error as Error).message : error instanceof Error ? (error.stack ?? error.message) : error}\n`,
  );
  if (error instanceof UsageError) process.stderr.write('See sabtree --help.\n');
  process.exitCode = expected ? 2 : 1;
}
