/** What the experiment over the execution models plans and reports. `--json` prints a Report. */
import type { ModelName } from '../../index.js';

/** What clients ask for; see workloads.ts. */
export type WorkloadName = string;
export type DistributionName = 'uniform' | 'zipf' | 'sequential';

/** One point of the experiment. */
export interface CellPlan {
  readonly model: ModelName;
  /** Executors of each replica asked for. Models of one stream (smr) have one, whatever is asked for. */
  readonly executors: number;
  readonly workload: WorkloadName;
  readonly distribution: DistributionName;
  /** Commands that a client has under way at a time. */
  readonly window: number;
  readonly replicas: number;
  readonly clients: number;
  /** Most entries of a leaf; undefined for the default. */
  readonly fanout?: number;
  /** Neighbouring keys that share a group; undefined for the default, 1. */
  readonly locality?: number;
}

/** A median over runs, and how far they lie apart. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** What came out at one point. */
export interface Cell extends CellPlan {
  /** 'clients': client threads send and wait. 'drain': rings filled beforehand, no client runs. 'simulated': see perf/simulate. */
  readonly kind: 'clients' | 'drain' | 'simulated';
  /** More threads run than the machine has cores. */
  readonly oversubscribed: boolean;
  readonly commandsPerSecond: Spread;
  /** From the call to the answer of a window, over all runs; absent where no client waits. */
  readonly latencyMs?: { readonly p50: number; readonly p99: number; readonly p999: number };
  /** Sums over the runs, of the home replica. */
  readonly commands: number;
  readonly refused: number;
  readonly deferred: number;
  readonly retried: number;
  readonly syncPoints: number;
  /** Times executors slept. */
  readonly parks: number;
  /** Content equal to what the clients' own books say, and digests equal over the replicas, after every run. */
  readonly verified: boolean;
}

/** The machine and versions of a run. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly platform: string;
  readonly node: string;
  readonly sabtree: string;
  readonly commit: string;
  readonly date: string;
}

export interface Report {
  readonly machine: Machine;
  readonly cells: readonly Cell[];
}
