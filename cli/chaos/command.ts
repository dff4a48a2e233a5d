/**
 * `sabtree chaos`: stores of random models under load, whose executors, replicas and clients are killed at random. Ends
 * with a summary, and with exit code 1 if anything was lost, executed twice, or answered wrongly.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { type ModelName, modelNames } from '../../index.ts';
import { FlagError, listOf, nameOf, numberFlag, parseFlags } from '../../perf/support/flags.ts';
import { MODELS } from '../../workers/models/index.ts';
import { table } from '../table.ts';
import { Random } from '../workload.ts';
import { type RoundPlan, type RoundResult, runRound } from './round.ts';

const LOSABLE = modelNames.filter((name) => MODELS[name].replicated);

const HELP = `sabtree chaos [options]

Runs stores of random models, replicas and sizes under load, and kills executors, replicas and
clients at random moments. Every client keeps books of what it sent and what was answered; at the
end of each round the replicas are compared with each other and with the books.

  --minutes N       length, 0.05 to 1440 (1)
  --seed N          seed of all that is random but time itself (from the clock)
  --models A,B      ${LOSABLE.join(', ')}
                    (all of them)
  --replicas N      2 to 8 (2 or 3, at random)
  --executors N     1 to 32 (1 or 2, at random)
  --clients N       1 to 12 (3)
  --entries N       entries besides those that change, 0 to 10000000 (10000)
  --every N         milliseconds between kills on the average, 10 to 60000 (350)
  --round N         seconds of a round, 1 to 3600 (10)
  --patience N      seconds after which waiting for anything is given up, 1 to 600 (30)
  --history FILE    write what the clients saw as JSON lines, one file for each round: FILE.1,
                    FILE.2, ...
  --json            print one JSON object, as the last line, instead of the table
  --help            print this

Exit codes: 0 nothing is lost, 1 something is, or the run broke, 2 a wrong call.
`;

const FLAGS = {
  minutes: { type: 'string' },
  seed: { type: 'string' },
  models: { type: 'string' },
  replicas: { type: 'string' },
  executors: { type: 'string' },
  clients: { type: 'string' },
  entries: { type: 'string' },
  every: { type: 'string' },
  round: { type: 'string' },
  patience: { type: 'string' },
  history: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean' },
} as const;

/** The q-quantile of some numbers; 0 of none. */
function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
}

/** Sums over all rounds. */
class Totals {
  rounds = 0;
  readonly byModel: Record<string, number> = {};
  private readonly done: RoundResult[] = [];
  private under: Readonly<RoundResult> | undefined;

  begin(result: Readonly<RoundResult> | undefined): void {
    this.under = result;
  }

  add(model: string, result: RoundResult): void {
    this.rounds++;
    this.byModel[model] = (this.byModel[model] ?? 0) + 1;
    this.done.push({ ...result, logs: [] });
    this.under = undefined;
  }

  private sum(of: (result: Readonly<RoundResult>) => number): number {
    return this.done.reduce((sum, result) => sum + of(result), this.under === undefined ? 0 : of(this.under));
  }

  get kills(): number {
    return this.sum(({ kills }) => kills.executors + kills.replicas + kills.clients);
  }

  summary() {
    const { done } = this;
    const violations = done.flatMap((result) => result.violations);
    // Rounds differ in model and window, so each is compared with itself.
    const ratios = done
      .filter(({ whole, missing }) => whole.ms > 1000 && missing.ms > 1000)
      .map(({ whole, missing }) => missing.commands / missing.ms / (whole.commands / whole.ms));
    const pauses = done.flatMap((result) => result.pauses);
    const rate = (of: 'whole' | 'missing') =>
      (this.sum((r) => r[of].commands) /
        Math.max(
          1,
          this.sum((r) => r[of].ms),
        )) *
      1000;
    return {
      rounds: this.rounds,
      roundsByModel: this.byModel,
      acknowledged: this.sum((r) => r.acknowledged),
      kills: this.kills,
      killedExecutors: this.sum((r) => r.kills.executors),
      killedReplicas: this.sum((r) => r.kills.replicas),
      killedClients: this.sum((r) => r.kills.clients),
      failovers: this.sum((r) => r.failovers),
      rebuilds: this.sum((r) => r.rebuilds),
      pauseMs: { p50: quantile(pauses, 0.5), p99: quantile(pauses, 0.99), most: Math.max(0, ...pauses) },
      rebuildMs: {
        p50: quantile(
          done.flatMap((r) => r.rebuildMs),
          0.5,
        ),
        p99: quantile(
          done.flatMap((r) => r.rebuildMs),
          0.99,
        ),
      },
      throughput: { whole: rate('whole'), missing: rate('missing'), ratio: quantile(ratios, 0.5) },
      resent: this.sum((r) => r.resent),
      suppressed: this.sum((r) => r.suppressed),
      lost: violations.filter(({ what }) => what === 'lost').length,
      twice: violations.filter(({ what }) => what === 'twice').length,
      wrong: violations.filter(({ what }) => what === 'wrong').length,
      replicasEqual: done.every((result) => result.replicasEqual),
      violations: violations.slice(0, 20).map(({ text }) => text),
      troubles: done.flatMap((result) => result.troubles).slice(0, 20),
    };
  }
}

type Summary = ReturnType<Totals['summary']> & { seed: number; minutes: number; interrupted: boolean };

function report(summary: Summary): string {
  const count = (value: number) => Math.round(value).toLocaleString('en');
  const ms = ({ p50, p99 }: { p50: number; p99: number }) => `${p50.toFixed(1)} ms, ${p99.toFixed(1)} ms`;
  const { whole, missing, ratio } = summary.throughput;
  return table([
    ['seed', String(summary.seed)],
    ['rounds', count(summary.rounds)],
    ['commands acknowledged', count(summary.acknowledged)],
    ['kills', count(summary.kills)],
    [
      'of executors, replicas, clients',
      [summary.killedExecutors, summary.killedReplicas, summary.killedClients].map(count).join(', '),
    ],
    ['failovers', count(summary.failovers)],
    ['rebuilds', count(summary.rebuilds)],
    ['from the kill to the takeover: p50, p99', ms(summary.pauseMs)],
    ['rebuild: p50, p99', ms(summary.rebuildMs)],
    ['commands/s with all replicas', count(whole)],
    ['commands/s while one is missing or rebuilt', count(missing)],
    ['their ratio, median of the rounds', ratio.toFixed(2)],
    ['commands sent again', count(summary.resent)],
    ['duplicates suppressed', count(summary.suppressed)],
    ['lost', count(summary.lost)],
    ['executed twice', count(summary.twice)],
    ['wrong answers', count(summary.wrong)],
    ['replicas equal', summary.replicasEqual ? 'yes' : 'NO'],
  ]);
}

/** Runs the command. @returns the exit code @throws FlagError */
export async function chaos(args: string[], signal: AbortSignal): Promise<number> {
  const values = parseFlags(args, FLAGS);
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const minutes = numberFlag('minutes', values.minutes, 1, 0.05, 1440);
  const seed = numberFlag('seed', values.seed, Date.now() % 0x7fffffff, 0, 0x7fffffff);
  const models = listOf(values.models, (name) => nameOf<ModelName>('models', LOSABLE, name)) ?? LOSABLE;
  const replicas = numberFlag('replicas', values.replicas, undefined, 2, 8);
  const executors = numberFlag('executors', values.executors, undefined, 1, 32);
  const clients = numberFlag('clients', values.clients, 3, 1, 12);
  const entries = numberFlag('entries', values.entries, 10_000, 0, 10_000_000);
  const every = numberFlag('every', values.every, 350, 10, 60_000);
  const length = numberFlag('round', values.round, 10, 1, 3600);
  const patience = numberFlag('patience', values.patience, 30, 1, 600);
  if (values.history !== undefined) checkWritable(`${values.history}.1`);
  const random = new Random(seed);
  const totals = new Totals();
  const began = performance.now();
  const end = began + minutes * 60_000;
  let shown = 0;
  const show = (model: string, result?: Readonly<RoundResult>, last = false) => {
    totals.begin(result);
    const now = performance.now();
    if (!last && now - shown < (process.stderr.isTTY ? 250 : 10_000)) return;
    shown = now;
    const { acknowledged, kills, failovers, rebuilds, lost, twice, wrong } = totals.summary();
    const passed = Math.min(100, ((now - began) / (end - began)) * 100)
      .toFixed(0)
      .padStart(3);
    const counts = `${kills} kills, ${failovers} failovers, ${rebuilds} rebuilds, ${acknowledged.toLocaleString('en')} commands`;
    const line = `${passed} %  ${model.padEnd(14)} ${counts}, ${lost} lost, ${twice} twice, ${wrong} wrong`;
    process.stderr.write(process.stderr.isTTY ? `\r\u001b[K${line}` : `${line}\n`);
  };
  const order: ModelName[] = [];
  while (performance.now() < end && !signal.aborted) {
    // All models in turn, in an order that differs each time.
    if (order.length === 0) for (const name of models) order.splice(random.below(order.length + 1), 0, name);
    const model = order.pop() as ModelName;
    const plan: RoundPlan = {
      model,
      replicas: replicas ?? 2 + random.below(2),
      executors: executors ?? 1 + random.below(2),
      fanout: [4, 8, 16, 64][random.below(4)],
      clients,
      window: [1, 16, 64][random.below(3)],
      entries,
      seconds: Math.min(length, Math.max(1, (end - performance.now()) / 1000)),
      history: values.history !== undefined,
      every,
      patience: patience * 1000,
    };
    const result = await runRound(plan, random, signal, (under) => show(model, under));
    totals.add(model, result);
    show(model);
    if (values.history !== undefined) writeHistory(`${values.history}.${totals.rounds}`, result);
    if (result.troubles.length > 0) {
      if (process.stderr.isTTY) process.stderr.write('\n');
      process.stderr.write(`sabtree: ${JSON.stringify(plan)}: ${result.troubles.join('; ')}\n`);
      for (const line of result.story) process.stderr.write(`  ${line}\n`);
      if (!signal.aborted) break;
    }
  }
  show('', undefined, true);
  if (process.stderr.isTTY) process.stderr.write('\n');
  const summary: Summary = { seed, minutes, interrupted: signal.aborted, ...totals.summary() };
  for (const text of summary.violations) process.stderr.write(`sabtree: ${text}\n`);
  process.stdout.write(`${values.json ? JSON.stringify(summary) : report(summary)}\n`);
  const { lost, twice, wrong, replicasEqual, troubles } = summary;
  return lost + twice + wrong === 0 && replicasEqual && troubles.length === 0 ? 0 : 1;
}

/** Asked before the first round: nobody should learn after it that a file cannot be written. */
function checkWritable(file: string): void {
  try {
    closeSync(openSync(file, 'w'));
  } catch (error) {
    throw new FlagError(`--history: ${(error as Error).message}`);
  }
}

function writeHistory(file: string, { logs }: RoundResult): void {
  const out = openSync(file, 'w');
  try {
    for (const [client, log] of logs.entries()) for (const line of log.lines(client)) writeSync(out, `${line}\n`);
  } finally {
    closeSync(out);
  }
}
