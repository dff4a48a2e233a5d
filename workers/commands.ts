/**
 * Commands by name: what a caller writes in a batch, and how each becomes a record and its reply a result.
 */
import { SabtreeError, show } from '../engine/errors.ts';
import type { RangeOptions } from '../engine/range.ts';
import {
  OP_ADD,
  OP_CEILING,
  OP_COMPARE_AND_SET,
  OP_COUNT,
  OP_DELETE,
  OP_FIRST,
  OP_FLOOR,
  OP_GET,
  OP_GET_ALL,
  OP_HAS,
  OP_HIGHER,
  OP_INSERT,
  OP_LAST,
  OP_LOWER,
  OP_PUT,
  OP_PUT_ALL,
  OP_RANGE,
  OP_UPDATE,
} from '../layout/operation.ts';

/** Names of the built-in commands, with their codes. */
export const COMMANDS = {
  get: OP_GET,
  has: OP_HAS,
  put: OP_PUT,
  insert: OP_INSERT,
  update: OP_UPDATE,
  delete: OP_DELETE,
  compareAndSet: OP_COMPARE_AND_SET,
  add: OP_ADD,
  floor: OP_FLOOR,
  ceiling: OP_CEILING,
  lower: OP_LOWER,
  higher: OP_HIGHER,
  first: OP_FIRST,
  last: OP_LAST,
  range: OP_RANGE,
  count: OP_COUNT,
  getAll: OP_GET_ALL,
  putAll: OP_PUT_ALL,
} as const;

/** Names of the built-in commands. */
export type CommandName = keyof typeof COMMANDS;

/** A command on one key, as an atomic batch takes it. */
export type PointCommand<K, V> =
  | readonly ['get' | 'has' | 'delete', K]
  | readonly ['put' | 'insert' | 'update' | 'add', K, V]
  | readonly ['compareAndSet', K, V, V];

/** A command as a batch takes it: its name, then its arguments. */
export type Command<K, V> =
  | PointCommand<K, V>
  | readonly ['floor' | 'ceiling' | 'lower' | 'higher', K]
  | readonly ['first' | 'last']
  | readonly ['count', range?: RangeOptions<K>]
  | readonly ['range', RangeOptions<K>?]
  | readonly ['getAll', ArrayLike<K>]
  | readonly ['putAll', ArrayLike<K>, ArrayLike<V>];

/** What a command answers: a value, a boolean, an entry, entries or a count; see the methods of the same names. */
export type Result<K, V> = V | boolean | number | [K, V] | [K, V][] | (V | undefined)[] | undefined;

/** Number of arguments each command takes, beside its name. */
const ARGUMENTS: Readonly<Record<CommandName, readonly [least: number, most: number]>> = {
  get: [1, 1],
  has: [1, 1],
  put: [2, 2],
  insert: [2, 2],
  update: [2, 2],
  delete: [1, 1],
  compareAndSet: [3, 3],
  add: [2, 2],
  floor: [1, 1],
  ceiling: [1, 1],
  lower: [1, 1],
  higher: [1, 1],
  first: [0, 0],
  last: [0, 0],
  range: [0, 1],
  count: [0, 1],
  getAll: [1, 1],
  putAll: [2, 2],
};

/** The code of a command's name. ERR_UNKNOWN_COMMAND lists the right names; ERR_ARGUMENT: wrong number of arguments. */
export function commandCode(command: readonly unknown[]): number {
  if (!Array.isArray(command)) {
    throw new SabtreeError(
      'ERR_ARGUMENT',
      `a command must be an array like ['put', key, value], got ${show(command)}`,
      command,
    );
  }
  const name = command[0] as CommandName;
  if (typeof name !== 'string' || !Object.hasOwn(COMMANDS, name)) {
    throw new SabtreeError(
      'ERR_UNKNOWN_COMMAND',
      `commands are ${Object.keys(COMMANDS).join(', ')}; got ${show(name)}`,
      name,
    );
  }
  const given = command.length - 1;
  const [least, most] = ARGUMENTS[name];
  if (given < least || given > most) {
    throw new SabtreeError(
      'ERR_ARGUMENT',
      `${name} takes ${least === most ? least : `${least} or ${most}`} arguments, got ${given}`,
      command,
    );
  }
  return COMMANDS[name];
}
