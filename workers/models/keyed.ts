import { Executor } from '../executor.ts';
import type { ExecutionModel } from './model.ts';

/**
 * Parallel state-machine replication by keys, ours: two commands depend on each other only if they share a key. Splits
 * and merges are no business of the order: the executor that needs one makes it in place, under the latches of the nodes
 * it changes, while the others go on. So nothing is refused and nothing retried, and only commands on several groups
 * bring a sync point about, among the executors of just these groups.
 *
 * Replicas differ in shape, since splits fall where threads happen to meet, and never in content: commands on one key
 * run in the order of their stream, commands on different keys commute, and the tree is linearizable under its latches.
 */
export const keyed: ExecutionModel = {
  name: 'keyed',
  title: 'by keys: splits and merges in place under node latches, only equal keys are ordered',
  replicated: true,
  oneStream: false,
  oneExecutor: false,
  toAllGroups: () => false,
  parallelFlags: 0,
  threads: (executors) => executors,
  thread: (parts) => new Executor(parts),
};
