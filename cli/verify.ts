/** The two checks at the end of a run. Both compare entry by entry, after the last command was answered. */
import type { Store } from '../index.ts';
import { type ClientReport, expectedContent, firstDifference, inOrder, type Pause } from './oracle.ts';
import type { Ranges, RangeValue } from './ranges.ts';
import { WINDOW } from './workload.ts';

/** What the checks found. */
export interface Verdict {
  /** No replica is lost, every tree is sound, and all digests and contents are equal. */
  readonly replicasEqual: boolean;
  /** The home replica holds what the oracle says, and the commands answered what they had to. */
  readonly oracleEqual: boolean;
  /** In words, the first of each kind. Empty if all is well. */
  readonly differences: readonly string[];
}

/** How many steps `verify` will take at most. */
export function verifySteps(replicas: number, entries: number, reports: readonly ClientReport[]): number {
  return replicas * entries + reports.reduce((total, { windows }) => total + windows * WINDOW, 0);
}

/** Compares all replicas with each other, and the home replica with the oracle. Nobody may write meanwhile. */
export async function verify(
  store: Store<number, RangeValue>,
  ranges: Ranges,
  seed: number,
  reports: readonly ClientReport[],
  pause: Pause,
): Promise<Verdict> {
  const replicas = await compareReplicas(store, pause);
  const oracle = await compareWithOracle(store, ranges, seed, reports, pause);
  return {
    replicasEqual: replicas.length === 0,
    oracleEqual: oracle.length === 0,
    differences: [...replicas, ...oracle],
  };
}

async function compareReplicas(store: Store<number, RangeValue>, pause: Pause): Promise<string[]> {
  const differences: string[] = [];
  // The digests come from one place of the order, behind everything: each replica has reached it when they are here.
  const digests = await store.digests();
  const { replicas, home } = store.stats();
  const reference = digests.find(({ replica }) => replica === home);
  for (let replica = 0; replica < replicas; replica++) {
    const its = digests.find((one) => one.replica === replica);
    if (its === undefined || reference === undefined) {
      differences.push(`replica ${replica} is lost`);
      continue;
    }
    if (its.digest !== reference.digest || its.entries !== reference.entries) {
      differences.push(
        `replica ${replica}: digest ${its.digest} over ${its.entries} entries; ` +
          `replica ${home}: ${reference.digest} over ${reference.entries}`,
      );
    }
    const tree = store.replica(replica);
    try {
      const { entries } = tree.check();
      if (entries !== its.entries) {
        differences.push(`replica ${replica}: ${entries} entries in the tree, ${its.entries} were counted`);
      }
    } catch (error) {
      differences.push(`replica ${replica}: ${(error as Error).message}`);
    }
    if (replica === home) continue;
    const first = await firstDifference(tree.range(), store.tree.range(), pause);
    if (first !== undefined) differences.push(`replica ${replica} is not equal to replica ${home}: ${first}`);
  }
  return differences;
}

async function compareWithOracle(
  store: Store<number, RangeValue>,
  ranges: Ranges,
  seed: number,
  reports: readonly ClientReport[],
  pause: Pause,
): Promise<string[]> {
  const differences: string[] = [];
  const expected = await expectedContent(ranges, seed, reports, pause);
  const first = await firstDifference(store.tree.range(), inOrder(expected.content), pause);
  if (first !== undefined) differences.push(`not equal to the oracle: ${first}`);
  for (let client = 0; client < reports.length; client++) {
    const { changed } = reports[client];
    if (changed !== expected.changed[client]) {
      differences.push(
        `not equal to the oracle: ${changed} commands of client ${client} answered true, expected ${expected.changed[client]}`,
      );
    }
  }
  return differences;
}
