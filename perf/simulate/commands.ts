/** The commands of a simulation: those of the experiment over the models (perf/models), as the simulator looks at them. */
import { OP_DELETE, OP_GET, OP_INSERT } from '../../layout/operation.ts';
import { groupOf } from '../../workers/streams.ts';
import type { DistributionName, WorkloadName } from '../models/types.ts';
import { type Mix, workloadOf } from '../models/workloads.ts';
import { drawCommands } from '../support/draw.ts';

/** Kinds of commands: which parameter says what one costs. */
export const READ = 0;
export const UPDATE = 1;
export const INSERT = 2;
export const DELETE = 3;

/** What is drawn. */
export interface Drawing {
  readonly workload: WorkloadName;
  readonly distribution: DistributionName;
  readonly commands: number;
  readonly entries: number;
  /** Commands before those that are simulated: they have only changed the content. */
  readonly warmUp?: number;
}

/** Commands in their total order. */
export interface Commands {
  readonly count: number;
  /** Codes of layout/operation.ts. */
  readonly ops: Uint8Array;
  readonly kinds: Uint8Array;
  readonly keys: Uint32Array;
  /** Keys that are there at the very beginning, ascending; and what was done since. */
  readonly before: readonly number[];
  readonly earlier: { readonly kinds: Uint8Array; readonly keys: Uint32Array };
  /** Keys are below it. */
  readonly slots: number;
  /** Share of the commands that write. */
  readonly writes: number;
}

function kindOf(op: number): number {
  if (op === OP_GET) return READ;
  if (op === OP_INSERT) return INSERT;
  return op === OP_DELETE ? DELETE : UPDATE;
}

/** The same arguments give the same commands, those that a drain with this seed gets. @throws if one has many keys. */
export function draw({ workload, distribution, commands, entries, warmUp = 0 }: Drawing, seed: number): Commands {
  const mix = workloadOf(workload) as Mix;
  const all = drawCommands(mix, mix.distribution ?? distribution, entries, commands, seed);
  const allKinds = all.ops.map(kindOf);
  const kinds = allKinds.subarray(warmUp);
  return {
    count: commands - warmUp,
    ops: all.ops.subarray(warmUp),
    kinds,
    keys: all.keys.subarray(warmUp),
    before: all.before.map(([key]) => key),
    earlier: { kinds: allKinds.subarray(0, warmUp), keys: all.keys.subarray(0, warmUp) },
    slots: all.after.length,
    writes: kinds.reduce((sum, kind) => sum + (kind === READ ? 0 : 1), 0) / Math.max(1, kinds.length),
  };
}

/** The commands of each group, as their places in the total order. */
export function byGroup({ count, keys }: Commands, groups: number): Uint32Array[] {
  const sizes = new Uint32Array(groups);
  const group = new Uint16Array(count);
  for (let i = 0; i < count; i++) {
    group[i] = groupOf(keys[i], 0, groups);
    sizes[group[i]]++;
  }
  const lists = Array.from(sizes, (size) => new Uint32Array(size));
  sizes.fill(0);
  for (let i = 0; i < count; i++) lists[group[i]][sizes[group[i]]++] = i;
  return lists;
}
