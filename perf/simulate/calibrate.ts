/**
 * Measures what the simulation knows of this machine, and what it is compared with. What runs beside can only make a run
 * slower, so a point's time is that of its fastest run.
 */
import type { ModelName } from '../../index.ts';
import { ringFor } from '../support/drain.ts';
import { type Calibration, FREE, type ParameterName } from './calibration.ts';
import { measureDeferring, measureExecution, measureMeeting, measureScheduling } from './lone.ts';
import { Partnership } from './partnership.ts';
import {
  type DrainPoint,
  drainAll,
  drainedPlan,
  drainTwoStores,
  type Effort,
  fastest,
  type MeasuredPoint,
  samePoint,
  thisMachineFor,
} from './points.ts';
import { type SimulationPlan, simulate } from './simulator.ts';

/** Rings of a store, if nothing else is asked for. */
const USUAL_RING = 4096;
/** How much more often a point is drained that calibrates. */
const MORE_RUNS = 2;

/** Where parameters are fitted, in an order in which each needs only those before it; and which models need them. */
const FITS: readonly {
  readonly parameter: ParameterName;
  readonly at: DrainPoint;
  readonly models: readonly ModelName[];
}[] = [
  {
    parameter: 'line',
    at: { model: 'keyed', executors: 2, workload: 'updates' },
    models: ['direct', 'psmr', 'opt-psmr', 'keyed', 'sdpe', 'sdpe-pairwise', 'execute-verify'],
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

/** What a point was used for: undefined if it only checks. */
export function usedFor(point: DrainPoint): ParameterName | undefined {
  const fit = FITS.find(({ at }) => samePoint(at, point));
  if (fit !== undefined) return fit.parameter;
  return SERVICES.find(({ at }) => samePoint(at, point))?.parameter;
}

function runsOf(point: DrainPoint, { runs }: Effort): number {
  return usedFor(point) === undefined ? runs : runs * MORE_RUNS;
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
  /** Parameters that no model asked for needs: they were not measured, and are 0. */
  readonly unknown: ReadonlySet<ParameterName>;
  /** For the rings of the drains, which are much larger than usual ones. */
  readonly drainCalibration: Calibration;
  readonly points: readonly MeasuredPoint[];
}

/** Points that the calibration needs, with those asked for. */
function allPoints(wanted: readonly DrainPoint[]): DrainPoint[] {
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

/** Measures everything. `step` is called after each of `stepsOf` steps. */
export async function calibrate(
  wanted: readonly DrainPoint[],
  effort: Effort,
  step: (note: string) => void,
): Promise<Calibrated> {
  const points = await drainAll(allPoints(wanted), (point) => runsOf(point, effort), effort, step);
  const at = (point: DrainPoint) => fastest(points.find((one) => samePoint(one, point)) as MeasuredPoint);
  const measured = SERVICES.filter((one) => points.some((point) => samePoint(one.at, point)));
  const services: Partial<Calibration> = Object.fromEntries(
    measured.map((one) => [one.parameter, 1e9 / at(one.at).perSecond]),
  );
  const { update = 0 } = services;
  const together = 1e9 / (await drainTwoStores('updates', effort.runs * MORE_RUNS, effort));
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
  const unknown = new Set(
    [...SERVICES, ...FITS]
      .filter((one) => !points.some((point) => samePoint(one.at, point)))
      .map((one) => one.parameter),
  );
  return { calibration, unknown, drainCalibration: { ...calibration, deferralLook }, points };
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
