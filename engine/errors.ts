/**
 * Every error sabtree throws on purpose. Programs branch on `code`, which is stable; the message is for people. `value` is
 * the offending value, if there is one.
 */

/** Codes of `SabtreeError`. */
export type ErrorCode =
  /** A key of the wrong type, NaN, or outside the range of the key type. */
  | 'ERR_KEY'
  /** A value of the wrong type or range, one that would come back as another, or a record that does not fit its schema. */
  | 'ERR_VALUE'
  /** An option that is missing, unknown or out of range. */
  | 'ERR_OPTION'
  /** An argument of another kind is wrong (a range's bounds, lengths that differ, the number of a replica). */
  | 'ERR_ARGUMENT'
  /** The tree's memory is at its maximum; nothing was written. From a store: so is its last replica's, and it takes no more commands. */
  | 'ERR_MEMORY_EXHAUSTED'
  /** The memory attached to does not hold a sabtree tree or store. */
  | 'ERR_NOT_A_TREE'
  /** The memory was made by a version of sabtree with another layout. */
  | 'ERR_LAYOUT_VERSION'
  /** Key type, value type or node shape differ from the ones the memory was made with. */
  | 'ERR_SCHEMA_MISMATCH'
  /** More threads want to attach, or more clients to connect, than there are places: `value` says how many. */
  | 'ERR_TOO_MANY_THREADS'
  /** The tree, store or client was closed. */
  | 'ERR_CLOSED'
  /** A node's latch was never given back: its owner died or was stopped in the middle of a change. */
  | 'ERR_LATCH_LOST'
  /** A structure was met that no correct run can make. */
  | 'ERR_CORRUPT'
  /** Bulk load into a tree that has entries. */
  | 'ERR_NOT_EMPTY'
  /** Keys that had to be strictly ascending were not. */
  | 'ERR_NOT_ASCENDING'
  /**
   * There is no such thing here: `add` on values that are no numbers, order with the model direct, files in a browser; a browser
   * lacks what a store needs.
   */
  | 'ERR_UNSUPPORTED'
  /** A page that has no shared memory, because it is not cross-origin isolated; the message names the headers it lacks. */
  | 'ERR_NOT_ISOLATED'
  /** This thread may not block (a browser's main thread), and the call would have to. */
  | 'ERR_WOULD_BLOCK'
  /** A watcher was too slow: changes were lost to it, and its watch has ended. */
  | 'ERR_OVERFLOW'
  /** More watchers want to watch a store than there are places for. */
  | 'ERR_TOO_MANY_WATCHERS'
  /** A command, a value or an answer larger than the rings take. */
  | 'ERR_TOO_LARGE'
  /** The command is not one the store knows. */
  | 'ERR_UNKNOWN_COMMAND'
  /** A user-defined command threw, or gave a value of the wrong type; nothing was written. `value` says what it threw. */
  | 'ERR_COMMAND_FAILED'
  /** A user-defined command ran longer than the store's `commandTimeout`; nothing was written. */
  | 'ERR_COMMAND_TIMEOUT'
  /** A user-defined command touched a key that it had not declared; nothing was written. */
  | 'ERR_UNDECLARED_KEY'
  /** The store's last replica is lost: no command can be executed any more. */
  | 'ERR_REPLICAS_LOST'
  /** The store did not start within its limit, or the view of a `read` took too long; `value` is the limit in milliseconds. */
  | 'ERR_TIMEOUT'
  /** The replicas' contents differ: the store answers reads and refuses writes. */
  | 'ERR_DIVERGED'
  /** A file could not be read or written; `value` has its name and the system's code. */
  | 'ERR_IO'
  /** A snapshot is not whole, or not one; `value` has the file and the offset of the first fault. */
  | 'ERR_SNAPSHOT_CORRUPT'
  /** The log was changed or lost where it had been safe; `value` has the file and the offset of the first fault. */
  | 'ERR_LOG_CORRUPT'
  /** Somebody else has the log's directory. */
  | 'ERR_LOG_IN_USE'
  /** The log could not be written while the store was open: it carries out nothing more. */
  | 'ERR_LOG_FAILED';

/** An error with a stable `code`. */
export class SabtreeError extends Error {
  /** Always 'SabtreeError'. */
  override readonly name = 'SabtreeError';
  /** What went wrong, for programs. */
  readonly code: ErrorCode;
  /** The offending value, if there is one. */
  readonly value: unknown;

  constructor(code: ErrorCode, message: string, value?: unknown, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.value = value;
  }
}

/** A value as it reads in a message: short, whatever it is. */
export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  if (typeof value === 'bigint') return `${value}n`;
  if (Object.is(value, -0)) return '-0';
  if (typeof value === 'object' && value !== null) {
    const name = value.constructor?.name ?? 'object';
    return Array.isArray(value) ? `an array of ${value.length}` : `${/^[AEIO]/.test(name) ? 'an' : 'a'} ${name}`;
  }
  return String(value);
}
