import { APPLY_WITHIN_LEAF } from '../../layout/operation.ts';
import { Executor } from '../executor.ts';
import type { ExecutionModel } from './model.ts';

/**
 * Optimistic parallel state-machine replication: inserts and deletes go to their key's group too. An executor carries one
 * out if it stays within its leaf; otherwise nothing is written, the command waits in the executor's deferral list, and a
 * retry is multicast to all groups, which brings a sync point about.
 *
 * Which commands are refused depends on how the executors' work interleaves, and differs between replicas. The *outcome*
 * does not: a refused command, and every later one of its stream on the same key, runs at the next sync point, whichever
 * that is, before the synchronous command itself. In between, its stream goes on only with commands on other keys, which
 * commute with it. So in effect every command takes its first place in the order, in every replica.
 */
export const optPsmr: ExecutionModel = {
  name: 'opt-psmr',
  title: 'opt-PSMR: inserts and deletes in parallel too, what needs a split or merge retried alone',
  replicated: true,
  oneStream: false,
  oneExecutor: false,
  toAllGroups: () => false,
  parallelFlags: APPLY_WITHIN_LEAF,
  threads: (executors) => executors,
  thread: (parts) => new Executor(parts),
};
