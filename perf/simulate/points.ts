/** Points that are measured: filled rings drained, under which conditions, and the simulation of the very same. */
import { availableParallelism } from 'node:os';
import { shapeOf } from '../../engine/shape.ts';
import type { ModelName } from '../../index.ts';
import { KEY_U32 } from '../../layout/tree-memory.ts';
import { MODELS } from '../../workers/models/index.ts';
import type { DistributionName, WorkloadName } from '../models/types.ts';
import { type Mix, workloadOf } from '../models/workloads.ts';
import { type Drained, type DrainPlan, drain, drainTogether, ringFor } from '../support/drain.ts';
import { type CommandList, drawCommands } from '../support/draw.ts';
import type { Calibration } from './calibration.ts';
import { drainDirect } from './direct.ts';
import { type Machine, ROOMY } from './events.ts';
import type { Size } from './lone.ts';
import type { SimulationPlan } from './simulator.ts';

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

/** Whether two points are the same. */
export function samePoint(a: DrainPoint, b: DrainPoint): boolean {
  return a.model === b.model && a.executors === b.executors && a.workload === b.workload;
}

/** The fastest of a point's runs. */
export function fastest({ runs }: MeasuredPoint): Run {
  return runs.reduce((one, other) => (other.perSecond > one.perSecond ? other : one));
}

const CORES = availableParallelism();
/** Looks before a thread sleeps: with a core for everybody, and without (see workers/waiting.ts). */
const PATIENT_LOOKS = 1500;
const LOOKS = 200;
const DISTRIBUTION: DistributionName = 'uniform';
/** Leaves of the trees that are drained. */
export const LEAF_CAPACITY = shapeOf(KEY_U32, 8).leafCapacity;

/** Threads of a replica. */
function threadsOf({ model, executors }: DrainPoint): number {
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

/** Drains all points by turns, each as often as `runsOf` says. */
export async function drainAll(
  points: readonly DrainPoint[],
  runsOf: (point: DrainPoint) => number,
  effort: Effort,
  step: (note: string) => void,
): Promise<MeasuredPoint[]> {
  const runs = points.map(() => [] as Run[]);
  const most = Math.max(...points.map(runsOf));
  for (let run = 0; run < most; run++) {
    const lists = new Map<WorkloadName, CommandList>();
    for (let turn = 0; turn < points.length; turn++) {
      const i = (turn + run * 7) % points.length;
      if (run >= runsOf(points[i])) continue;
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

/** Commands a second of two smr stores that have nothing in common, drained at the same time: of the slower one, in the fastest run. */
export async function drainTwoStores(workload: WorkloadName, runs: number, effort: Effort): Promise<number> {
  let best = 0;
  for (let run = 0; run < runs; run++) {
    const plan = drainPlan({ model: 'smr', executors: 1 }, commandsFor(workload, effort, effort.seed + run));
    const results = await drainTogether([plan, plan]);
    best = Math.max(best, Math.min(...results.map(({ perSecond }) => perSecond)));
  }
  return best;
}
