import type { ExecutionModel } from './model.ts';

/**
 * No replication and no order (the paper's non-replicated set-up): every client works on the latched tree in its own
 * thread. What linearizability there is comes from the tree: operations on one key, neighbours and ranges up to
 * `rangeLimit` entries have it; `count` is exact only while nobody writes, and `getAll` and `putAll` are as many single
 * operations.
 */
export const direct: ExecutionModel = {
  name: 'direct',
  title: 'not replicated: client threads work on the latched tree',
  replicated: false,
  oneStream: true,
  oneExecutor: true,
  toAllGroups: () => false,
  parallelFlags: 0,
  threads: () => 0,
  thread: () => {
    throw new Error('the model direct has no threads');
  },
};
