/** The command line of the simulation. */
import type { ModelName } from '../../index.ts';
import { MAX_GROUPS } from '../../layout/operation.ts';
import { workloadName } from '../models/flags.ts';
import type { WorkloadName } from '../models/types.ts';
import { type Mix, WORKLOAD_NAMES, workloadOf } from '../models/workloads.ts';
import { FlagError, listOf, nameOf, numberFlag, numberOf, parseFlags } from '../support/flags.ts';
import { SIMULATED } from './simulator.ts';

/** What is asked for. */
export interface SimulateOptions {
  readonly models: readonly ModelName[];
  readonly workloads: readonly WorkloadName[];
  readonly executors: readonly number[];
  readonly seed: number;
  /** Commands of each simulation, and of each measurement. */
  readonly commands: number;
  readonly drained: number;
  readonly entries: number;
  /** Drains of each point that is measured, and seeds of each that is simulated. */
  readonly runs: number;
  readonly seeds: number;
  readonly attempts: number;
  readonly backlog: number;
  readonly json: boolean;
  readonly html: string | undefined;
}

/** Sizes: the usual ones, and those of --quick. */
const SIZES = {
  full: { commands: 300_000, drained: 200_000, entries: 50_000, runs: 5, seeds: 3, attempts: 20 },
  quick: { commands: 40_000, drained: 60_000, entries: 20_000, runs: 2, seeds: 1, attempts: 10 },
} as const;
const WORKLOADS = ['reads', 'updates', 'inserts+deletes', 'mixed:10', 'ycsb-a'];
const QUICK_WORKLOADS = ['updates', 'inserts+deletes', 'mixed:10'];
const EXECUTORS = [1, 2, 4, 8, 16, 32, 64];
const MOST_EXECUTORS = 256;
const BACKLOG = 1024;

/** Ranges go to all groups, and what one costs is not calibrated. */
function hasRanges(workload: WorkloadName): boolean {
  return ((workloadOf(workload) as Mix).percent.scan ?? 0) > 0;
}

const POSSIBLE = WORKLOAD_NAMES.filter((name) => name === 'mixed:P' || !hasRanges(name));

export const SIMULATE_HELP = `perf:simulate [options]

Simulates the execution models with more executors than this machine has cores, as if each thread had
a core. What commands, sync points, hand-overs and scheduling cost is measured in the same run; the
simulation is then compared with measurements at 1 and 2 executors, and the errors are printed.
Streams are full from the beginning: what clients cost is left out. So is what a larger machine has and
this one has not: distant memory, and memory that many cores read at a time.

  --models A,B          ${SIMULATED.join(', ')} (all)
  --workloads W,...     ${POSSIBLE.join(', ')} (${WORKLOADS.join(', ')})
  --executors N,...     1 to ${MOST_EXECUTORS} (${EXECUTORS.join(',')}); real replicas have at most ${MAX_GROUPS}
  --seed N              for the commands drawn, 1 to 1000000 (1)
  --commands N          of each simulation, 1000 to 500000 (${SIZES.full.commands})
  --drained N           commands of each measurement, 1000 to 500000 (${SIZES.full.drained})
  --runs N              measurements of each point, of which the fastest counts, 1 to 100 (${SIZES.full.runs})
  --backlog N           commands in the streams ahead of an opt-psmr executor's retry, 1 to 500000 (${BACKLOG})
  --quick               small and once: shows that it runs, and says little about speed
  --json                print one JSON object instead of tables
  --html FILE           write a page with charts too
  --help                print this

Exit codes: 0 all well, 1 a measurement broke, 2 a wrong call.
`;

const FLAGS = {
  models: { type: 'string' },
  workloads: { type: 'string' },
  executors: { type: 'string' },
  seed: { type: 'string' },
  commands: { type: 'string' },
  drained: { type: 'string' },
  runs: { type: 'string' },
  backlog: { type: 'string' },
  quick: { type: 'boolean' },
  json: { type: 'boolean' },
  html: { type: 'string' },
  help: { type: 'boolean' },
} as const;

function simulatedWorkload(text: string): WorkloadName {
  const name = workloadName(text);
  if (hasRanges(name)) throw new FlagError(`--workloads: ${name} has ranges, which are not simulated`);
  return name;
}

/** Reads the command line; undefined if it asks for help. @throws FlagError */
export function simulateOptions(args: string[]): SimulateOptions | undefined {
  const values = parseFlags(args, FLAGS);
  if (values.help) return undefined;
  const size = values.quick ? SIZES.quick : SIZES.full;
  const number = (
    name: 'seed' | 'commands' | 'drained' | 'runs' | 'backlog',
    fallback: number,
    least: number,
    most: number,
  ) => numberFlag(name, values[name], fallback, least, most);
  const executors = listOf(values.executors, (text) => numberOf('executors', text, 1, MOST_EXECUTORS)) ?? EXECUTORS;
  return {
    ...size,
    models: listOf(values.models, (text) => nameOf('models', SIMULATED, text)) ?? SIMULATED,
    workloads: listOf(values.workloads, simulatedWorkload) ?? (values.quick ? QUICK_WORKLOADS : WORKLOADS),
    executors: [...executors].sort((a, b) => a - b),
    seed: number('seed', 1, 1, 1_000_000),
    commands: number('commands', size.commands, 1000, 500_000),
    drained: number('drained', size.drained, 1000, 500_000),
    runs: number('runs', size.runs, 1, 100),
    backlog: number('backlog', BACKLOG, 1, 500_000),
    json: values.json ?? false,
    html: values.html,
  };
}
