/**
 * The operations of stores whose keys or values vary in length. Such stores have them as commands that are carried out one
 * by one in JavaScript, like those of the user; only keys and values of fixed size have operations that the core carries out
 * in batches (engine/core/apply.ts).
 */
import type { Attachment } from '../engine/attachment.ts';
import { type KeyOrder, keyOrder } from '../engine/key-order.ts';
import { isVariable } from '../engine/keys.ts';
import { type Range, RangeWalk } from '../engine/range.ts';
import type { ValueCodec } from '../engine/values.ts';
import { StoredKey } from '../engine/variable-keys.ts';
import {
  OP_ADD,
  OP_DELETE,
  OP_FIRST,
  OP_GET,
  OP_HAS,
  OP_LAST,
  OP_PUT,
  POINT_ABSENT,
  POINT_FALSE,
  POINT_TRUE,
  POINT_VALUE,
  STATUS_TRUE,
} from '../layout/operation.ts';
import { builtIn, type Step, stepResultsPayload, steps, stepsPayload, sumOf } from './built-in-commands.ts';
import { Bytes, BytesReader } from './bytes.ts';
import type { CallContext, Write } from './call-context.ts';
import { commandHash, type Payload, payloadOf, ValuePayload } from './call-record.ts';
import type { RunnableCommand } from './command-table.ts';
import { RangePiece } from './range-piece.ts';
import { bytesIn, hasKey, modifyBytes, readBytes, scannedBytes } from './tree-bytes.ts';

/** Whether the operations of a store are such commands. */
export function varies(key: number, values: ValueCodec): boolean {
  return isVariable(key) || values.variable !== undefined;
}

/** The commands. */
export interface VariableCommands {
  /** One operation on one key: `get` and `has`, and those that write. */
  readonly read: RunnableCommand;
  readonly write: RunnableCommand;
  /** `floor` and the like. */
  readonly near: RunnableCommand;
  readonly range: RunnableCommand;
  /** Entries of a range. */
  readonly count: RunnableCommand;
  readonly getAll: RunnableCommand;
  readonly putAll: RunnableCommand;
}

/** What stands for `read` and `write` in records: the core carries them out too (engine/core/calls.ts). */
export const READ_HASH = commandHash('sabtree:read');
export const WRITE_HASH = commandHash('sabtree:write');

/** What `near` looks for. */
export interface Near {
  readonly op: number;
  /** Not with OP_FIRST and OP_LAST. */
  readonly key: unknown;
}

/** A range as a command has it. */
export interface RangeCall {
  readonly range: Range;
  /** Most entries, and most bytes, of the answer. */
  readonly entries: number;
  readonly bytes: number;
}

/** Most entries that one `range` answers. */
export const MOST_ENTRIES = 4096;

// --- one key ----------------------------------------------------------------------------------------------------------

const ANSWERS = [POINT_ABSENT, POINT_FALSE, POINT_TRUE].map((kind) => Uint8Array.of(kind));
const NOTHING: readonly Write[] = [];

/** What an operation on one key came to. */
export interface PointOutcome {
  readonly payload: Uint8Array;
  readonly changed: readonly Write[];
}

function answer(done: boolean): Uint8Array {
  return ANSWERS[done ? POINT_TRUE : POINT_FALSE];
}

function valueAnswer(bytes: Uint8Array | undefined): Uint8Array {
  if (bytes === undefined) return ANSWERS[POINT_ABSENT];
  const payload = new Uint8Array(1 + bytes.length);
  payload[0] = POINT_VALUE;
  payload.set(bytes, 1);
  return payload;
}

/**
 * Carries an operation on one key out.
 * @param key a StoredKey, or a key of fixed size. @param watched whether to tell what has changed.
 */
export function pointStep(
  attachment: Attachment,
  key: unknown,
  { op, value, expected }: Step<Uint8Array>,
  watched: boolean,
): PointOutcome {
  if (op === OP_GET) return { payload: valueAnswer(readBytes(attachment, key)), changed: NOTHING };
  if (op === OP_HAS) return { payload: answer(hasKey(attachment, key)), changed: NOTHING };
  const done = modifyBytes(attachment, op, key, value, expected);
  if (op === OP_ADD) {
    const before = done ? bytesIn(attachment, attachment.expected) : undefined;
    const changed = watched ? [{ key, bytes: sumOf(attachment.values.code, before, value as Uint8Array) }] : NOTHING;
    return { payload: valueAnswer(before), changed };
  }
  const changes = watched && (done || op === OP_PUT);
  return {
    payload: answer(done),
    changed: changes ? [{ key, bytes: op === OP_DELETE ? undefined : value }] : NOTHING,
  };
}

/** What an operation on one key is given (VariableCalls.pointCall, writeStep), or comes to: bytes on both sides. */
const AS_BYTES: Payload = {
  signature: 'bytes',
  size: undefined,
  encode: (bytes) => bytes as Uint8Array,
  decode: (bytes) => bytes,
};

// --- ordered ----------------------------------------------------------------------------------------------------------

const nearArguments = (order: KeyOrder): Payload => ({
  signature: 'near',
  size: undefined,
  encode(given) {
    const { op, key } = given as Near;
    const bytes = new Bytes();
    bytes.byte(op);
    if (op !== OP_FIRST && op !== OP_LAST) bytes.rest(order.stored(key));
    return bytes.written;
  },
  decode(source) {
    const op = source[0];
    return { op, key: op === OP_FIRST || op === OP_LAST ? undefined : treeKey(order, source.subarray(1)) };
  },
});

/** An entry, or none. */
const entryResult = (order: KeyOrder, values: Payload): Payload => ({
  signature: 'entry',
  size: undefined,
  encode(entry) {
    const bytes = new Bytes();
    if (entry !== undefined) {
      const [key, value] = entry as [unknown, Uint8Array];
      bytes.block(order.stored(key));
      bytes.rest(value);
    }
    return bytes.written;
  },
  decode(source) {
    if (source.length === 0) return undefined;
    const reader = new BytesReader(source);
    return [order.keyOf(reader.block()), values.decode(reader.rest())];
  },
});

function nearest({ attachment }: CallContext, { op, key }: Near): [unknown, Uint8Array] | undefined {
  const { core } = attachment;
  // The call overwrites the key register with what it finds, so a repeated one needs the key again.
  const call = () => {
    if (key !== undefined) attachment.key.set(0, key);
    return core.neighbour(op);
  };
  if (attachment.settle(call(), call) !== STATUS_TRUE) return undefined;
  const found = attachment.key.stored(0);
  return [found, bytesIn(attachment, attachment.value) as Uint8Array];
}

const rangeArguments = (order: KeyOrder): Payload => ({
  signature: 'range',
  size: undefined,
  encode(given) {
    const { range, entries, bytes: most } = given as RangeCall;
    const bytes = new Bytes();
    bytes.byte(range.flags);
    bytes.byte((range.lower === undefined ? 0 : 1) | (range.upper === undefined ? 0 : 2));
    bytes.word(Math.min(entries, 0xffffffff));
    bytes.word(most);
    if (range.lower !== undefined) bytes.block(order.stored(range.lower));
    if (range.upper !== undefined) bytes.block(order.stored(range.upper));
    return bytes.written;
  },
  decode(source): RangeCall {
    const reader = new BytesReader(source);
    const flags = reader.byte();
    const has = reader.byte();
    const entries = reader.word();
    const bytes = reader.word();
    const lower = has & 1 ? treeKey(order, reader.block()) : undefined;
    const upper = has & 2 ? treeKey(order, reader.block()) : undefined;
    return { range: { flags, lower, upper, limit: entries, prefix: undefined }, entries, bytes };
  },
});

/** A key as the tree takes it, of the bytes that are stored. */
function treeKey(order: KeyOrder, bytes: Uint8Array): unknown {
  return order.varies ? new StoredKey(bytes) : order.keyOf(bytes);
}

/** The entries of a range as bytes, and before them whether it goes on. Nobody writes meanwhile, so they are one state. */
function collect(order: KeyOrder, { attachment }: CallContext, { range, entries, bytes: most }: RangeCall): Uint8Array {
  const bytes = new Bytes();
  bytes.byte(0);
  const walk = new RangeWalk(attachment, { ...range, limit: Number.POSITIVE_INFINITY });
  let count = 0;
  let more = false;
  while (!more && walk.advance()) {
    for (let i = 0; i < walk.count; i++) {
      const key = order.stored(walk.keys.stored(i));
      const value = scannedBytes(attachment, walk.values, i);
      if (count === entries || (count > 0 && bytes.length + 8 + key.length + value.length > most)) {
        more = true;
        break;
      }
      bytes.block(key);
      bytes.block(value);
      count++;
    }
  }
  walk.stop();
  bytes.written[0] = more ? 1 : 0;
  return bytes.written;
}

const pieceResult = (order: KeyOrder, values: Payload): Payload => ({
  signature: 'piece',
  size: undefined,
  encode: (bytes) => bytes as Uint8Array,
  decode(source): RangePiece {
    const reader = new BytesReader(source);
    const more = reader.byte() === 1;
    const entries: [unknown, unknown][] = [];
    while (reader.more) entries.push([order.keyOf(reader.block()), values.decode(reader.block())]);
    return new RangePiece(entries, more);
  },
});

function countOf({ attachment }: CallContext, { range }: RangeCall): number {
  const walk = new RangeWalk(attachment, range);
  let count = 0;
  while (walk.advance()) count += walk.count;
  return count;
}

// --- all of them ------------------------------------------------------------------------------------------------------

/** How many of the keys of a `putAll` were new. */
const freshResult = (results: Payload): Payload => ({
  ...results,
  encode: (given) => results.encode(given),
  decode: (bytes) => (results.decode(bytes) as boolean[]).filter((fresh) => fresh).length,
});

/** The commands, for clients and executors. @param values the store's; where they are carried out it may be opaque. */
export function variableCommands(key: number, values: ValueCodec): VariableCommands {
  const order = keyOrder(key);
  const value = new ValuePayload(values);
  const results = stepResultsPayload(value);
  const all = steps(values.code);
  const never = () => {
    throw new Error('it is carried out without a context');
  };
  const point = (name: string, readOnly: boolean): RunnableCommand => ({
    ...builtIn(name, AS_BYTES, AS_BYTES, never, readOnly),
    point: true,
  });
  return {
    read: point('read', true),
    write: point('write', false),
    near: builtIn('near', nearArguments(order), entryResult(order, value), nearest, true),
    range: builtIn(
      'range',
      rangeArguments(order),
      pieceResult(order, value),
      (context, call: RangeCall) => collect(order, context, call),
      true,
    ),
    count: builtIn('count', rangeArguments(order), payloadOf('f64'), countOf, true),
    getAll: builtIn('getAll', stepsPayload(value), results, all, true),
    putAll: builtIn('putAll', stepsPayload(value), freshResult(results), all),
  };
}
