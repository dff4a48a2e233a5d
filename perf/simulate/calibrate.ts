/**
 * Measures what the simulation knows of this machine, and what it is compared with. What runs beside can only make a run
 * slower, so a point's time is that of its fastest run.
 */
import { availableParallelism } from 'node:os';
import { shapeOf } from '../../engine/shape.ts';
import type { ModelName } from '../../index.ts';
import { KEY_U32 } from '../../layout/tree-memory.ts';
import { MODELS } from '../../workers/models/index.ts';
import type { DistributionName, WorkloadName } from '../models/types.ts';
import { type Mix, workloadOf } from '../models/workloads.ts';
import { type Drained, type DrainPlan, drain, drainTogether, ringFor } from '../support/drain.ts';
import { type CommandList, drawCommands } from '../support/draw.ts';
import { type Calibration, FREE, type ParameterName } from './calibration.ts';
import { drainDirect } from './direct.ts';
import { type Machine, ROOMY } from './events.ts';
import { measureDeferring, measureExecution, measureMeeting, measureScheduling, type Size } from './lone.ts';
import { Partnership } from './partnership.ts';
import { type SimulationPlan, simulate } from './simulator.ts';

/** How much is measured. */
export interface Effort extends Size {
  /** Drains of each point. */
  readonly runs: number;
  readonly seed: number;
}

/** A point that is drained: a cell of the comparison. */
export interface DrainPoint {
  readonly model: ModelName;
  readonly executors: number;
  readonly workload: WorkloadName;
}

/** One drain. */
export interface Run {
  /** Commands were drawn with it. */
  readonly seed: number;
  readonly perSecond: number;
  readonly stats: Drained['stats'];
}

/** What was measured there. */
export interface MeasuredPoint extends DrainPoint {
  readonly runs: readonly Run[];
}

const CORES = availableParallelism();
/** Looks before a thread sleeps: with a core for everybody, and without (see workers/waiting.ts). */
const PATIENT_LOOKS = 1500;
const LOOKS = 200;
const DISTRIBUTION: DistributionName = 'uniform';
/** Rings of a store, if nothing else is asked for. */
const USUAL_RING = 4096;

/** Leaves of the trees that are drained. */
export const LEAF_CAPACITY = shapeOf(KEY_U32, 8).leafCapacity;

/** Threads of a replica. */
export function threadsOf({ model, executors }: DrainPoint): number {
  // Clients, for once.
  if (model === 'direct') return executors;
  const { oneExecutor, threads } = MODELS[model];
  return threads(oneExecutor ? 1 : executors);
}

export function oversubscribed(point: DrainPoint): boolean {
  return threadsOf(point) > CORES;
}

/** A machine with a core for everybody, whose threads sleep when they waited long. */
export function largeMachine({ look, notify, wake }: Calibration): Machine {
  return { cores: Number.POSITIVE_INFINITY, spin: PATIENT_LOOKS * look, notify, wake };
}

/** This machine, as a point was drained on it: spinning where there is a core for every thread. */
export function thisMachineFor(point: DrainPoint, { look, notify, wake }: Calibration): Machine {
  return oversubscribed(point) ? { cores: CORES, spin: LOOKS * look, notify, wake } : ROOMY;
}

function commandsFor(workload: WorkloadName, { commands, entries }: Effort, seed: number): CommandList {
  const mix = workloadOf(workload) as Mix;
  return drawCommands(mix, mix.distribution ?? DISTRIBUTION, entries, commands, seed);
}

/** Half of the commands let compilers and caches warm up. */
function warmUpOf(commands: number): number {
  return commands >> 1;
}

function drainPlan({ model, executors }: Omit<DrainPoint, 'workload'>, commands: CommandList): DrainPlan {
  const spins = !oversubscribed({ model, executors, workload: '' });
  const count = commands.ops.length;
  return { model, executors, commands, ring: ringFor(count), warmUp: warmUpOf(count), wait: spins ? 'spin' : 'park' };
}

/** The simulation of what was drained. */
export function drainedPlan({ model, executors, workload }: DrainPoint, effort: Effort): SimulationPlan {
  const { commands, entries } = effort;
  return {
    model,
    executors,
    workload,
    distribution: DISTRIBUTION,
    commands,
    entries,
    warmUp: warmUpOf(commands),
    // The rings are full: a retry goes behind everything.
    backlog: commands,
    leafCapacity: LEAF_CAPACITY,
  };
}

async function drainOnce(point: DrainPoint, list: CommandList): Promise<Drained> {
  if (point.model !== 'direct') return drain(drainPlan(point, list));
  const perSecond = await drainDirect(point.executors, list, warmUpOf(list.ops.length));
  return { perSecond, stats: { refused: 0, deferred: 0, retried: 0, syncPoints: 0, parks: 0 } };
}

/** Drains all points by turns: those that the calibration rests on more often than the others. */
async function drainAll(
  points: readonly DrainPoint[],
  effort: Effort,
  step: (note: string) => void,
): Promise<MeasuredPoint[]> {
  const runs = points.map(() => [] as Run[]);
  for (let run = 0; run < effort.runs * MORE_RUNS; run++) {
    const lists = new Map<WorkloadName, CommandList>();
    for (let turn = 0; turn < points.length; turn++) {
      const i = (turn + run * 7) % points.length;
      if (run >= runsOf(points[i], effort)) continue;
      const { workload, model, executors } = points[i];
      const seed = effort.seed + run;
      const list = lists.get(workload) ?? commandsFor(workload, effort, seed);
      lists.set(workload, list);
      runs[i].push({ seed, ...(await drainOnce(points[i], list)) });
      step(`${model}, ${executors} executor${executors === 1 ? '' : 's'}, ${workload}`);
    }
  }
  return points.map((point, i) => ({ ...point, runs: runs[i] }));
}

/** How much more often a point is drained that calibrates. */
const MORE_RUNS = 2;

function runsOf(point: DrainPoint, { runs }: Effort): number {
  return usedFor(point) === undefined ? runs : runs * MORE_RUNS;
}

const smr = { model: 'smr', executors: 1 } as const;

/** Nanoseconds of a command in the fastest of some runs. */
async function nanoseconds(effort: Effort, run: (seed: number) => Promise<Drained[]>): Promise<number> {
  let best = 0;
  for (let i = 0; i < effort.runs * MORE_RUNS; i++)
    best = Math.max(best, ...(await run(effort.seed + i)).map(({ perSecond }) => perSecond));
  return 1e9 / best;
}

/** Where parameters are fitted, in an order in which each needs only those before it; and which models need them. */
const FITS: readonly {
  readonly parameter: ParameterName;
  readonly at: DrainPoint;
  readonly models: readonly ModelName[];
}[] = [
  {
    parameter: 'line',
    at: { model: 'keyed', executors: 2, workload: 'updates' },
    models: ['psmr', 'opt-psmr', 'keyed', 'sdpe', 'sdpe-pairwise', 'execute-verify'],
  },
  {
    parameter: 'sync',
    at: { model: 'psmr', executors: 2, workload: 'inserts+deletes' },
    models: ['psmr', 'opt-psmr'],
  },
  {
    parameter: 'dispatch',
    at: { model: 'sdpe', executors: 1, workload: 'updates' },
    models: ['sdpe', 'sdpe-pairwise'],
  },
  {
    parameter: 'mix',
    at: { model: 'execute-verify', executors: 1, workload: 'updates' },
    models: ['execute-verify'],
  },
];

/** Points whose commands are of one kind: what one takes there is that parameter. */
const SERVICES: readonly { readonly parameter: ParameterName; readonly at: DrainPoint }[] = [
  { parameter: 'read', at: { model: 'smr', executors: 1, workload: 'reads' } },
  { parameter: 'update', at: { model: 'smr', executors: 1, workload: 'updates' } },
  { parameter: 'directRead', at: { model: 'direct', executors: 1, workload: 'reads' } },
  { parameter: 'directUpdate', at: { model: 'direct', executors: 1, workload: 'updates' } },
];

function fitsFor(points: readonly DrainPoint[]) {
  return FITS.filter(({ models }) => points.some(({ model }) => models.includes(model)));
}

function samePoint(a: DrainPoint, b: DrainPoint): boolean {
  return a.model === b.model && a.executors === b.executors && a.workload === b.workload;
}

/** What a point was used for: undefined if it only checks. */
export function usedFor(point: DrainPoint): ParameterName | undefined {
  const fit = FITS.find(({ at }) => samePoint(at, point));
  if (fit !== undefined) return fit.parameter;
  return SERVICES.find(({ at }) => samePoint(at, point))?.parameter;
}

/** The value of a parameter with which the simulation takes as long as the measurement; 0 if it is slower without it. */
export function fit(
  calibration: Calibration,
  parameter: ParameterName,
  plan: SimulationPlan,
  seed: number,
  perSecond: number,
): number {
  const faster = (value: number) => simulate({ ...calibration, [parameter]: value }, plan, seed).perSecond > perSecond;
  if (!faster(0)) return 0;
  let low = 0;
  let high = 1;
  while (faster(high)) {
    low = high;
    high *= 2;
  }
  while (high - low > 0.001 * high) {
    const middle = (low + high) / 2;
    if (faster(middle)) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** A calibration, and all that was drained. */
export interface Calibrated {
  readonly calibration: Calibration;
  /** For the rings of the drains, which are much larger than usual ones. */
  readonly drainCalibration: Calibration;
  readonly points: readonly MeasuredPoint[];
}

/** Points that the calibration needs, with those asked for. */
export function allPoints(wanted: readonly DrainPoint[]): DrainPoint[] {
  const needed: DrainPoint[] = [
    ...SERVICES.map(({ at }) => at).filter(({ model }) => model === 'smr' || wanted.some((one) => one.model === model)),
    ...fitsFor(wanted).map(({ at }) => at),
  ];
  return [...wanted, ...needed.filter((point) => !wanted.some((other) => samePoint(point, other)))];
}

/** Steps of a calibration. */
export function stepsOf(wanted: readonly DrainPoint[], effort: Effort): number {
  return allPoints(wanted).reduce((sum, point) => sum + runsOf(point, effort), 4);
}

/** The fastest of a point's runs. */
export function fastest({ runs }: MeasuredPoint): Run {
  return runs.reduce((one, other) => (other.perSecond > one.perSecond ? other : one));
}

/** Measures everything. `step` is called after each of `stepsOf` steps. */
export async function calibrate(
  wanted: readonly DrainPoint[],
  effort: Effort,
  step: (note: string) => void,
): Promise<Calibrated> {
  const points = await drainAll(allPoints(wanted), effort, step);
  const at = (point: DrainPoint) => fastest(points.find((one) => samePoint(one, point)) as MeasuredPoint);
  const services = Object.fromEntries(
    SERVICES.filter((one) => points.some((point) => samePoint(one.at, point))).map((one) => [
      one.parameter,
      1e9 / at(one.at).perSecond,
    ]),
  ) as Partial<Calibration>;
  const { update = 0 } = services;
  const together = await nanoseconds(effort, (seed) => {
    const plan = drainPlan(smr, commandsFor('updates', effort, seed));
    return drainTogether([plan, plan]);
  });
  step('two stores together');
  const { insertMore, deleteMore, ...execution } = await measureExecution(effort);
  step('executing');
  const deferring = await measureDeferring(effort, USUAL_RING);
  const { deferralLook } = await measureDeferring(effort, ringFor(effort.commands));
  step('deferring');
  const { member, look, retry } = measureMeeting(effort.attempts);
  const partnership = await measurePartnership(effort.attempts);
  step('meeting');
  const { transfer } = partnership;
  let calibration: Calibration = {
    ...FREE,
    ...services,
    insert: update + insertMore,
    delete: update + deleteMore,
    cores: Math.max(1, together / update),
    ...execution,
    ...deferring,
    ...partnership,
    look,
    retry,
    member: member + 2 * transfer,
    ...measureScheduling(effort.attempts),
  };
  for (const { parameter, at: point } of fitsFor(wanted)) {
    const plan = { ...drainedPlan(point, effort), machine: thisMachineFor(point, calibration) };
    const { seed, perSecond } = at(point);
    calibration = { ...calibration, [parameter]: fit(calibration, parameter, plan, seed, perSecond) };
  }
  return { calibration, drainCalibration: { ...calibration, deferralLook }, points };
}

/** What takes two threads. */
async function measurePartnership(
  attempts: number,
): Promise<Pick<Calibration, 'transfer' | 'handover' | 'notify' | 'wake'>> {
  const partnership = await Partnership.start();
  const least = (measure: () => number) => {
    let best = Number.POSITIVE_INFINITY;
    for (let i = 0; i < attempts; i++) best = Math.min(best, measure());
    return best;
  };
  try {
    const records = 512;
    const foreign = least(() => partnership.foreignRecord(records));
    const own = least(() => partnership.ownRecord(records));
    const wakes = Array.from({ length: attempts }, () => partnership.wake());
    return {
      transfer: least(() => partnership.transfer(2000)),
      handover: Math.max(0, foreign - own),
      notify: Math.min(...wakes.map(({ notify }) => notify)),
      wake: Math.min(...wakes.map(({ wake }) => wake)),
    };
  } finally {
    await partnership.end();
  }
}
