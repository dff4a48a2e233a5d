import { Executor } from '../executor.ts';
import type { ExecutionModel } from './model.ts';

/**
 * Classic state-machine replication (the survey's section III.B): all commands in one stream, executed one after another
 * by one thread of each replica.
 */
export const smr: ExecutionModel = {
  name: 'smr',
  title: 'sequential state-machine replication: one stream, one executor',
  replicated: true,
  oneStream: true,
  oneExecutor: true,
  toAllGroups: () => false,
  parallelFlags: 0,
  threads: (executors) => executors,
  thread: (parts) => new Executor(parts),
};
