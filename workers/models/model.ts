import { APPLY_WITHIN_LEAF } from '../../layout/operation.ts';

/** Names of the execution models. */
export type ModelName = 'smr' | 'psmr' | 'opt-psmr';

/**
 * How commands are ordered and executed. Clients ask it where a command goes, executors how to apply what they read;
 * tree, rings, codecs and clients are the same for all models.
 */
export interface ExecutionModel {
  readonly name: ModelName;
  /** One line for people. */
  readonly title: string;
  /** True if commands go through one stream only, read by one executor. */
  readonly oneStream: boolean;
  /**
   * Whether an operation on one key must go to all groups, so that it is executed alone. Operations that name no one
   * key (floor, range, count, ...) always do.
   */
  toAllGroups(op: number): boolean;
  /** APPLY_ flags for one-group commands. */
  readonly parallelFlags: number;
}

/** Whether the model defers what does not fit into a leaf. */
export function defers(model: ExecutionModel): boolean {
  return (model.parallelFlags & APPLY_WITHIN_LEAF) !== 0;
}
