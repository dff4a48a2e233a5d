/** Which points of the experiment are measured. */
import type { ModelName } from '../../index.js';
import { MAX_GROUPS } from '../../layout/operation.ts';
import type { CellPlan, DistributionName, WorkloadName } from './types.ts';
import { workloadOf } from './workloads.ts';

/** What all models are measured at, side by side. */
export type Point = Omit<CellPlan, 'model' | 'clients'>;

/** The values of each dimension. */
export interface Dimensions {
  readonly executors: readonly number[];
  readonly workloads: readonly WorkloadName[];
  readonly distributions: readonly DistributionName[];
  readonly windows: readonly number[];
  readonly replicas: readonly number[];
  /** Undefined stands for the default. */
  readonly fanouts: readonly (number | undefined)[];
}

/** 1, 2, 4, ... and the number of cores itself. */
export function executorCounts(cores: number): number[] {
  const most = Math.min(cores, MAX_GROUPS);
  const counts: number[] = [];
  for (let count = 1; count < most; count *= 2) counts.push(count);
  return [...counts, most];
}

/** All that the experiment looks at. */
export function wholeExperiment(cores: number): Dimensions {
  return {
    executors: executorCounts(cores),
    workloads: [
      'reads',
      'updates',
      'inserts+deletes',
      'mixed:10',
      'mixed:50',
      'scans',
      ...['ycsb-a', 'ycsb-b', 'ycsb-c', 'ycsb-d', 'ycsb-e', 'ycsb-f'],
    ],
    distributions: ['uniform', 'zipf', 'sequential'],
    windows: [1, 16, 256],
    replicas: [1, 2],
    fanouts: [undefined],
  };
}

/** The point from which one dimension at a time is varied. Half of the cores are left to clients, if there are enough. */
export function basePoint(cores: number): Dimensions {
  const executors = executorCounts(cores).filter((count) => count <= Math.max(2, cores / 2));
  return {
    executors: executors.slice(-1),
    workloads: ['inserts+deletes'],
    distributions: ['uniform'],
    windows: [256],
    replicas: [1],
    fanouts: [undefined],
  };
}

/** The cross product, without repetitions. A workload that comes with a distribution of its own keeps it. */
export function crossProduct(dimensions: Dimensions): Point[] {
  const { executors, workloads, distributions, windows, replicas, fanouts } = dimensions;
  const points: Point[] = [];
  for (const workload of workloads)
    for (const distribution of distributions)
      for (const window of windows)
        for (const replica of replicas)
          for (const fanout of fanouts)
            for (const executor of executors)
              points.push({
                executors: executor,
                workload,
                distribution: workloadOf(workload)?.distribution ?? distribution,
                window,
                replicas: replica,
                ...(fanout === undefined ? {} : { fanout }),
              });
  return distinct(points);
}

function distinct(points: readonly Point[]): Point[] {
  return [...new Map(points.map((point) => [JSON.stringify(point), point])).values()];
}

/** The base point, executors by replicas around it, and every other dimension by itself. */
export function oneAtATime(cores: number): Point[] {
  const base = basePoint(cores);
  const { executors, workloads, distributions, windows, replicas } = wholeExperiment(cores);
  return distinct([
    ...crossProduct({ ...base, executors, replicas }),
    ...crossProduct({ ...base, workloads }),
    ...crossProduct({ ...base, distributions }),
    ...crossProduct({ ...base, windows }),
  ]);
}

/** One or two values of each dimension. */
export function quickPoints(cores: number): Point[] {
  const base = basePoint(cores);
  return distinct([
    ...crossProduct({ ...base, executors: [1, ...base.executors] }),
    ...crossProduct({ ...base, replicas: [2] }),
    ...crossProduct({ ...base, workloads: ['reads', 'mixed:10'] }),
    ...crossProduct({ ...base, distributions: ['zipf'] }),
    ...crossProduct({ ...base, windows: [16] }),
  ]);
}

/** The least that shows that it runs: keys that come and go, and ranges, in two replicas. */
export function smokePoints(cores: number): Point[] {
  return crossProduct({ ...basePoint(cores), workloads: ['mixed:40', 'ycsb-e'], replicas: [2], windows: [64] });
}

/** A point in words. */
export function describePoint(point: Point): string {
  const { workload, distribution, window, executors, replicas, fanout } = point;
  const many = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`;
  return [
    workload,
    distribution,
    `window ${window}`,
    many(executors, 'executor'),
    many(replicas, 'replica'),
    ...(fanout === undefined ? [] : [`fanout ${fanout}`]),
  ].join(', ');
}

/** A point as a key: equal for the cells of all models measured at it. */
export function pointOf({ executors, workload, distribution, window, replicas, fanout }: Point): string {
  return describePoint({
    executors,
    workload,
    distribution,
    window,
    replicas,
    ...(fanout === undefined ? {} : { fanout }),
  });
}

/** What is to be measured, how often and how long. */
export interface ExperimentPlan {
  readonly models: readonly ModelName[];
  readonly points: readonly Point[];
  readonly clients: number;
  /** Entries at the beginning. */
  readonly entries: number;
  /** Runs that count. A shorter one is made before them, and forgotten. */
  readonly runs: number;
  /** Length of a run. */
  readonly seconds: number;
}
