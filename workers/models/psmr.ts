import { OP_ADD, OP_DELETE, OP_INSERT, OP_PUT } from '../../layout/operation.ts';
import { Executor } from '../executor.ts';
import type { ExecutionModel } from './model.ts';

/**
 * Parallel state-machine replication with its conservative mapping (the paper's introduction): what may change the
 * tree's structure is declared dependent on everything and goes to all groups, whether or not it will; the rest goes to
 * its key's group. put and add may insert, so they count as inserts.
 */
export const psmr: ExecutionModel = {
  name: 'psmr',
  title: 'P-SMR: reads and updates in parallel, inserts and deletes alone',
  replicated: true,
  oneStream: false,
  oneExecutor: false,
  toAllGroups: (op) => op === OP_PUT || op === OP_INSERT || op === OP_DELETE || op === OP_ADD,
  parallelFlags: 0,
  threads: (executors) => executors,
  thread: (parts) => new Executor(parts),
};
