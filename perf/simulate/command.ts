/** The simulation from the command line to the report. */
import { writeFileSync } from 'node:fs';
import { checkWritable } from '../models/command.ts';
import { renderHtml } from '../models/html.ts';
import { thisMachine } from '../models/machine.ts';
import type { Cell } from '../models/types.ts';
import { workloadOf } from '../models/workloads.ts';
import { spread } from '../support/measure.ts';
import { Progress } from '../support/progress.ts';
import { type Calibrated, calibrate, stepsOf, usedFor } from './calibrate.ts';
import { ORIGINS, type ParameterName } from './calibration.ts';
import { SIMULATE_HELP, type SimulateOptions, simulateOptions } from './flags.ts';
import {
  type DrainPoint,
  drainedPlan,
  type Effort,
  fastest,
  LEAF_CAPACITY,
  largeMachine,
  type MeasuredPoint,
  oversubscribed,
  thisMachineFor,
} from './points.ts';
import {
  type Parameter,
  renderSimulation,
  type SimulatedCell,
  type SimulationError,
  type SimulationReport,
  saturationOf,
} from './report.ts';
import { executorsOf, type SimulationPlan, simulate } from './simulator.ts';

/** Executors at which the simulation is compared with measurements. */
const CHECKED = [1, 2];
const LINE_EVERY = 10_000;

function distributionOf(workload: string) {
  return workloadOf(workload)?.distribution ?? 'uniform';
}

/** All models and workloads, with one and with two executors. Models of one executor have one, whatever is asked for. */
function checkedPoints({ models, workloads }: SimulateOptions): DrainPoint[] {
  return workloads.flatMap((workload) =>
    models.flatMap((model) =>
      CHECKED.filter((executors) => executorsOf(model, executors) === executors).map((executors) => {
        return { model, executors, workload };
      }),
    ),
  );
}

function measuredCell(point: MeasuredPoint, effort: Effort): Cell {
  const { model, executors, workload, runs } = point;
  return {
    model,
    executors,
    workload,
    distribution: distributionOf(workload),
    window: effort.commands,
    replicas: 1,
    clients: 0,
    // direct has no rings: its threads have the same commands at hand, and nothing else to do.
    kind: 'drain',
    oversubscribed: oversubscribed(point),
    commandsPerSecond: spread(runs.map(({ perSecond }) => perSecond)),
    commands: effort.commands,
    ...fastest(point).stats,
    verified: true,
  };
}

/** The simulation of what was measured, under the same conditions, beside it. */
function errorOf(point: MeasuredPoint, { drainCalibration }: Calibrated, effort: Effort): SimulationError {
  const { model, workload, executors } = point;
  const { perSecond: measured, seed } = fastest(point);
  const plan = { ...drainedPlan(point, effort), machine: thisMachineFor(point, drainCalibration) };
  const { perSecond: simulated } = simulate(drainCalibration, plan, seed);
  const calibrates = usedFor(point);
  return {
    model,
    workload,
    executors,
    measured,
    simulated,
    error: simulated / measured - 1,
    ...(calibrates === undefined ? {} : { calibrates }),
    oversubscribed: oversubscribed(point),
  };
}

function simulatedCell(plan: SimulationPlan, { calibration }: Calibrated, options: SimulateOptions): SimulatedCell {
  const { model, executors, workload, distribution, commands, backlog } = plan;
  const results = Array.from({ length: options.seeds }, (_, i) => simulate(calibration, plan, options.seed + i));
  const mean = (of: (result: (typeof results)[number]) => number) =>
    results.reduce((sum, result) => sum + of(result), 0) / results.length;
  const sum = (of: (result: (typeof results)[number]) => number) => mean(of) * results.length;
  return {
    model,
    executors,
    workload,
    distribution,
    window: backlog,
    replicas: 1,
    clients: 0,
    kind: 'simulated',
    oversubscribed: false,
    commandsPerSecond: spread(results.map(({ perSecond }) => perSecond)),
    commands: commands * results.length,
    refused: sum(({ refused }) => refused),
    deferred: sum(({ deferred }) => deferred),
    retried: sum(({ retried }) => retried),
    syncPoints: sum(({ syncPoints }) => syncPoints),
    parks: sum(({ parks }) => parks),
    // There is no content that could be wrong.
    verified: true,
    utilisation: mean(({ utilisation }) => utilisation),
    barriers: mean(({ barriers }) => barriers),
    busiest: results[0].busiest,
  };
}

function parametersOf({ calibration, unknown }: Calibrated): Parameter[] {
  const known = (Object.keys(ORIGINS) as ParameterName[]).filter((name) => !unknown.has(name));
  return known.map((name) => {
    const { unit = 'ns', ...origin } = ORIGINS[name];
    return { name, value: calibration[name], unit, ...origin };
  });
}

/** Measures, simulates and compares, with progress on standard error. */
async function experiment(options: SimulateOptions): Promise<SimulationReport> {
  const { models, workloads, executors, commands, entries, backlog } = options;
  const effort: Effort = { ...options, commands: options.drained };
  const points = checkedPoints(options);
  const cellCount = models.length * workloads.length * executors.length;
  // A simulated cell is about as dear as a drain.
  const steps = stepsOf(points, effort) + cellCount;
  let done = 0;
  let note = 'measuring';
  const progress = new Progress('simulate', () => ({ done: done / steps, note }), LINE_EVERY);
  const step = (what: string) => {
    done++;
    note = what;
  };
  try {
    const calibrated = await calibrate(points, effort, (what) => step(`measuring ${what}`));
    const measured = calibrated.points;
    const simulated: SimulatedCell[] = [];
    for (const workload of workloads) {
      for (const model of models) {
        for (const n of executors) {
          const plan: SimulationPlan = {
            model,
            executors: n,
            workload,
            distribution: distributionOf(workload),
            commands,
            entries,
            backlog,
            leafCapacity: LEAF_CAPACITY,
            machine: largeMachine(calibrated.calibration),
          };
          simulated.push(simulatedCell(plan, calibrated, options));
          step(`simulating ${model}, ${n} executors, ${workload}`);
          // Progress is drawn from a timer.
          await new Promise((resolve) => setImmediate(resolve));
        }
      }
    }
    return {
      machine: thisMachine(),
      cells: [...measured.map((point) => measuredCell(point, effort)), ...simulated],
      calibration: parametersOf(calibrated),
      errors: measured.map((point) => errorOf(point, calibrated, effort)),
      saturation: saturationOf(simulated),
    };
  } finally {
    progress.stop();
  }
}

/** Does what the flags ask for; answers the exit code. @throws FlagError for wrong flags; what broke a measurement. */
export async function simulateCommand(args: string[]): Promise<number> {
  const options = simulateOptions(args);
  if (options === undefined) {
    process.stdout.write(SIMULATE_HELP);
    return 0;
  }
  const { html, json } = options;
  if (html !== undefined) checkWritable(html);
  const report = await experiment(options);
  process.stdout.write(json ? `${JSON.stringify(report)}\n` : renderSimulation(report));
  if (html !== undefined) writeFileSync(html, renderHtml(report));
  return 0;
}
