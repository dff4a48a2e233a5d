/** One simulation: a pure function of calibration, plan and seed. */
import type { ModelName } from '../../index.ts';
import { MODELS } from '../../workers/models/index.ts';
import { batched } from './batched.ts';
import type { Calibration } from './calibration.ts';
import { type Commands, type Drawing, draw } from './commands.ts';
import { type Machine, ROOMY, Simulation } from './events.ts';
import { grouped } from './grouped.ts';
import { scheduled } from './scheduled.ts';
import { directly, emptyTally, type Setting, serviceTimes, type Tally } from './setting.ts';
import { staged } from './staged.ts';

/** What is simulated. */
export interface SimulationPlan extends Drawing {
  readonly model: ModelName;
  /** Executors asked for; models of one executor have one. */
  readonly executors: number;
  readonly backlog: number;
  /** Most entries of a leaf. */
  readonly leafCapacity: number;
  /** A core for everybody, who never sleep, if it is not given. */
  readonly machine?: Machine;
}

export interface Simulated {
  readonly perSecond: number;
  /** Share of the executors' time in which they execute, and which they spend at barriers; the rest they are idle. */
  readonly utilisation: number;
  readonly barriers: number;
  /** The busiest thread, and the share of the time in which it works: near 1 means that it is the bottleneck. */
  readonly busiest: { readonly thread: string; readonly share: number };
  readonly refused: number;
  readonly deferred: number;
  readonly retried: number;
  readonly syncPoints: number;
  readonly parks: number;
}

/** Models that can be simulated: all. */
export const SIMULATED = Object.keys(MODELS) as ModelName[];

function startModel(model: ModelName, setting: Setting, tally: Tally): void {
  if (model === 'pipelined') staged(setting, tally);
  else if (model === 'execute-verify') batched(setting, tally);
  else if (model === 'sdpe' || model === 'sdpe-pairwise') scheduled(setting, tally, model === 'sdpe-pairwise');
  else grouped(setting, tally, MODELS[model]);
}

/** Drawing takes longer than most simulations, and many have the same commands. */
const drawn = new Map<string, Commands>();
const MOST_DRAWN = 8;

function commandsOf(plan: SimulationPlan, seed: number): Commands {
  const { workload, distribution, commands, entries, warmUp = 0 } = plan;
  const name = JSON.stringify([workload, distribution, commands, entries, warmUp, seed]);
  let found = drawn.get(name);
  if (found === undefined) {
    found = draw(plan, seed);
    if (drawn.size >= MOST_DRAWN) drawn.delete(drawn.keys().next().value as string);
    drawn.set(name, found);
  }
  return found;
}

/** Executors of a model that is asked for so many; for direct these are clients. */
export function executorsOf(model: ModelName, wanted: number): number {
  return MODELS[model].oneExecutor && model !== 'direct' ? 1 : wanted;
}

export function simulate(measured: Calibration, plan: SimulationPlan, seed: number): Simulated {
  const { model, backlog, leafCapacity } = plan;
  const calibration = model === 'direct' ? directly(measured) : measured;
  const executors = executorsOf(model, plan.executors);
  const commands = commandsOf(plan, seed);
  const simulation = new Simulation(plan.machine ?? ROOMY);
  const service = serviceTimes(calibration, executors, commands.writes);
  const tally = emptyTally();
  startModel(model, { simulation, calibration, executors, commands, backlog, leafCapacity, service }, tally);
  const elapsed = simulation.run();
  const all = elapsed * executors;
  const { refused, deferred, retried, syncPoints, barrierWork } = tally;
  const sum = (of: (thread: (typeof tally.executors)[number]) => number) =>
    tally.executors.reduce((total, thread) => total + of(thread), 0);
  const busiest = simulation.threads.reduce((one, other) => (other.busy > one.busy ? other : one));
  return {
    perSecond: (commands.count / elapsed) * 1e9,
    utilisation: (sum(({ busy }) => busy) - barrierWork) / all,
    barriers: (sum(({ atBarriers }) => atBarriers) + barrierWork) / all,
    busiest: { thread: busiest.name, share: busiest.busy / elapsed },
    refused,
    deferred,
    retried,
    syncPoints,
    parks: simulation.threads.reduce((total, { parks }) => total + parks, 0),
  };
}
