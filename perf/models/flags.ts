/** The command line of the experiment. */
import { availableParallelism } from 'node:os';
import type { ModelName } from '../../index.js';
import { MAX_FANOUT, MIN_FANOUT } from '../../layout/node.ts';
import { MAX_GROUPS } from '../../layout/operation.ts';
import { MAX_REPLICAS } from '../../layout/streams.ts';
import { MODELS } from '../../workers/models/index.ts';
import { FlagError, listOf, nameOf, numberFlag, numberOf, parseFlags } from '../support/flags.ts';
import {
  basePoint,
  crossProduct,
  type Dimensions,
  type ExperimentPlan,
  oneAtATime,
  quickPoints,
  smokePoints,
  wholeExperiment,
} from './cells.ts';
import { DISTRIBUTIONS } from './distributions.ts';
import type { DistributionName } from './types.ts';
import { WORKLOAD_NAMES, workloadOf } from './workloads.ts';

/** What is asked for. */
export interface BenchOptions extends ExperimentPlan {
  /** One JSON object instead of a table. */
  readonly json: boolean;
  /** Where to write a page with charts. */
  readonly html: string | undefined;
}

const CORES = availableParallelism();
/** Far more than the rings hold: the rest waits in the client. */
const MOST_WINDOW = 16_384;
const MODEL_NAMES = Object.keys(MODELS) as ModelName[];

/** Sizes: the usual ones, those of --quick, and those of --smoke. */
const SIZES = {
  full: { entries: 100_000, runs: 5, seconds: 0.5 },
  quick: { entries: 10_000, runs: 3, seconds: 0.1 },
  smoke: { entries: 1000, runs: 2, seconds: 0.03 },
} as const;

const whole = wholeExperiment(CORES);
const base = basePoint(CORES);

export const BENCH_HELP = `sabtree bench [options]

Throughput and latency of the execution models. Client threads send windows of commands and wait
for the answers; all models of a point take turns, so that ratios hold on a busy machine too. Every
answer is checked, and after every run the content of the store, and the digests of its replicas.

Without lists, one dimension at a time is varied around a base point (${base.workloads}, ${base.distributions},
window ${base.windows}, replicas ${base.replicas}, executors ${base.executors}). With lists, their cross product is measured; what is not given
stays at the base point.

  --models A,B          ${MODEL_NAMES.slice(0, 6).join(', ')},
                        ${MODEL_NAMES.slice(6).join(', ')} (all)
  --workloads W,...     ${WORKLOAD_NAMES.slice(0, 5).join(', ')},
                        ${WORKLOAD_NAMES.slice(5).join(', ')}
                        (P percent inserts and deletes)
  --distributions D,... ${DISTRIBUTIONS.join(', ')}; the ycsb workloads are always zipf
  --executors N,...     threads of each replica, 1 to ${MAX_GROUPS} (${whole.executors}); smr and
                        pipelined always have one
  --windows N,...       commands that a client has under way at a time, 1 to ${MOST_WINDOW} (${whole.windows})
  --replicas N,...      1 to ${MAX_REPLICAS} (${whole.replicas})
  --fanouts N,...       most entries of a leaf, ${MIN_FANOUT} to ${MAX_FANOUT} (what fits)
  --clients N           client threads, 1 to 64 (2)
  --entries N           entries at the beginning, 100 to 10000000 (${SIZES.full.entries})
  --runs N              runs that count, 1 to 1000 (${SIZES.full.runs})
  --seconds S           length of a run, 0.01 to 3600 (${SIZES.full.seconds})
  --all                 the full cross product of all dimensions
  --quick               few points and short runs: less than a minute
  --smoke               the least that shows that it runs
  --json                print one JSON object instead of tables
  --html FILE           write a page with charts too
  --help                print this

Exit codes: 0 all well, 1 a check failed or the experiment broke, 2 a wrong call.
`;

const FLAGS = {
  models: { type: 'string' },
  workloads: { type: 'string' },
  distributions: { type: 'string' },
  executors: { type: 'string' },
  windows: { type: 'string' },
  replicas: { type: 'string' },
  fanouts: { type: 'string' },
  clients: { type: 'string' },
  entries: { type: 'string' },
  runs: { type: 'string' },
  seconds: { type: 'string' },
  all: { type: 'boolean' },
  quick: { type: 'boolean' },
  smoke: { type: 'boolean' },
  json: { type: 'boolean' },
  html: { type: 'string' },
  help: { type: 'boolean' },
} as const;

function parse(args: string[]) {
  return parseFlags(args, FLAGS);
}

/** The value of a flag that takes a workload. */
export function workloadName(text: string): string {
  if (workloadOf(text) === undefined) {
    const names = `${WORKLOAD_NAMES.join(', ')} (P from 0 to 100)`;
    throw new FlagError(`--workloads takes ${names}; got ${JSON.stringify(text)}`);
  }
  return text;
}

/** The dimensions given on the command line. */
function dimensionsOf(values: ReturnType<typeof parse>): Partial<Dimensions> {
  const numbers = (name: 'executors' | 'windows' | 'replicas' | 'fanouts', least: number, most: number) =>
    listOf(values[name], (text) => numberOf(name, text, least, most));
  const given = {
    executors: numbers('executors', 1, MAX_GROUPS),
    workloads: listOf(values.workloads, workloadName),
    distributions: listOf(values.distributions, (text) =>
      nameOf<DistributionName>('distributions', DISTRIBUTIONS, text),
    ),
    windows: numbers('windows', 1, MOST_WINDOW),
    replicas: numbers('replicas', 1, MAX_REPLICAS),
    fanouts: numbers('fanouts', MIN_FANOUT, MAX_FANOUT),
  };
  return Object.fromEntries(Object.entries(given).filter(([, list]) => list !== undefined));
}

/** Reads the command line; undefined if it asks for help. @throws FlagError */
export function benchOptions(args: string[]): BenchOptions | undefined {
  const values = parse(args);
  if (values.help) return undefined;
  const exclusive = (['all', 'quick', 'smoke'] as const).filter((name) => values[name]);
  if (exclusive.length > 1) throw new FlagError(`--${exclusive[0]} and --${exclusive[1]} exclude each other`);
  const number = (name: 'clients' | 'entries' | 'runs' | 'seconds', fallback: number, least: number, most: number) =>
    numberFlag(name, values[name], fallback, least, most);
  const given = dimensionsOf(values);
  const points = values.all
    ? crossProduct({ ...whole, ...given })
    : Object.keys(given).length > 0
      ? crossProduct({ ...base, ...given })
      : values.quick
        ? quickPoints(CORES)
        : values.smoke
          ? smokePoints(CORES)
          : oneAtATime(CORES);
  const size = values.smoke ? SIZES.smoke : values.quick ? SIZES.quick : SIZES.full;
  return {
    models: listOf(values.models, (text) => nameOf('models', MODEL_NAMES, text)) ?? MODEL_NAMES,
    points,
    clients: number('clients', 2, 1, 64),
    entries: number('entries', size.entries, 100, 10_000_000),
    runs: number('runs', size.runs, 1, 1000),
    seconds: number('seconds', size.seconds, 0.01, 3600),
    json: values.json ?? false,
    html: values.html,
  };
}
