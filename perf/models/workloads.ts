/** What clients ask for: mixes of commands, by name. */
import type { DistributionName, WorkloadName } from './types.ts';

/** Kinds of commands that mixes are made of. */
export type Kind =
  /** get of a key that is there. */
  | 'read'
  /** update of a key that is there. */
  | 'update'
  /** compareAndSet of a key that is there: reads, modifies and writes as one command. */
  | 'modify'
  /** insert of a key that is absent, or delete of one that is there, equally often in the long run. */
  | 'change'
  /** insert of a key that was never there; once no key is left, every other one is a delete of the oldest. */
  | 'insert'
  /** range over the entries from a key on. */
  | 'scan';

/** A workload. */
export interface Mix {
  /** Percent of each kind; together 100. */
  readonly percent: Readonly<Partial<Record<Kind, number>>>;
  /** Entries that a scan asks for: always the most, or each number from 1 to it equally often. */
  readonly scan?: { readonly most: number; readonly varied: boolean };
  /** Reads prefer what was inserted last. */
  readonly latest?: boolean;
  /** Set if the workload comes with a distribution of its own. */
  readonly distribution?: DistributionName;
}

/** The names without parameter. ycsb-a to ycsb-f are the core workloads of Cooper et al. (SoCC 2010). */
export const WORKLOADS: Readonly<Record<string, Mix>> = {
  reads: { percent: { read: 100 } },
  updates: { percent: { update: 100 } },
  inserts: { percent: { insert: 100 } },
  'inserts+deletes': { percent: { change: 100 } },
  scans: { percent: { scan: 1, read: 49, update: 50 }, scan: { most: 100, varied: false } },
  'ycsb-a': { percent: { read: 50, update: 50 }, distribution: 'zipf' },
  'ycsb-b': { percent: { read: 95, update: 5 }, distribution: 'zipf' },
  'ycsb-c': { percent: { read: 100 }, distribution: 'zipf' },
  'ycsb-d': { percent: { read: 95, insert: 5 }, latest: true, distribution: 'zipf' },
  'ycsb-e': { percent: { scan: 95, insert: 5 }, scan: { most: 100, varied: true }, distribution: 'zipf' },
  'ycsb-f': { percent: { read: 50, modify: 50 }, distribution: 'zipf' },
};

export const WORKLOAD_NAMES: readonly string[] = [...Object.keys(WORKLOADS), 'mixed:P'];

/** The workload of that name, undefined if there is none. mixed:P has P percent of changes; the rest is half reads, half updates. */
export function workloadOf(name: WorkloadName): Mix | undefined {
  if (Object.hasOwn(WORKLOADS, name)) return WORKLOADS[name];
  const change = /^mixed:(\d{1,3})$/.exec(name)?.[1];
  if (change === undefined || Number(change) > 100) return undefined;
  const rest = (100 - Number(change)) / 2;
  return { percent: { change: Number(change), read: rest, update: rest } };
}

/** Whether the keys that are there stay the same. */
export function keepsKeys({ percent }: Mix): boolean {
  return (percent.change ?? 0) === 0 && (percent.insert ?? 0) === 0;
}

/** Slots for keys that a workload needs, for `entries` entries at the beginning; see CommandSource. */
export function slotsFor(mix: Mix, entries: number): number {
  if ((mix.percent.insert ?? 0) > 0) return 16 * entries;
  return keepsKeys(mix) ? entries : 2 * entries;
}
