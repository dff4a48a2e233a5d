/** Commands on several keys that every store has: they are made and carried out like the user's. */
import { SabtreeError, show } from '../engine/errors.ts';
import { oneNaN } from '../engine/record.ts';
import type { ValueCodec } from '../engine/values.ts';
import {
  OP_ADD,
  OP_COMPARE_AND_SET,
  OP_DELETE,
  OP_GET,
  OP_HAS,
  OP_INSERT,
  OP_PUT,
  OP_UPDATE,
  POINT_ABSENT,
  POINT_FALSE,
  POINT_TRUE,
  POINT_VALUE,
} from '../layout/operation.ts';
import { VALUE_F64, VALUE_I32, VALUE_I64, VALUE_U32 } from '../layout/tree-memory.ts';
import { Bytes, BytesReader } from './bytes.ts';
import type { CallContext } from './call-context.ts';
import { commandHash, type Payload, payloadOf, ValuePayload } from './call-record.ts';
import type { RunnableCommand } from './command-table.ts';

/** One step of an atomic batch, as its caller gives it; or, where it is carried out, its values as bytes. */
export interface Step<T = unknown> {
  /** The operation's code: one on one key. */
  readonly op: number;
  readonly value: T | undefined;
  readonly expected: T | undefined;
}

/** What a step answers: nothing, a boolean, or a value's bytes. */
type StepResult = undefined | boolean | Uint8Array;

/** Writes a step, whose values are bytes. */
export function writeStep(bytes: Bytes, op: number, value: Uint8Array | undefined, expected?: Uint8Array): void {
  bytes.byte(op);
  bytes.byte((value === undefined ? 0 : 1) | (expected === undefined ? 0 : 2));
  if (value !== undefined) bytes.block(value);
  if (expected !== undefined) bytes.block(expected);
}

/** Reads one. */
export function readStep(reader: BytesReader): Step<Uint8Array> {
  const op = reader.byte();
  const has = reader.byte();
  const value = has & 1 ? reader.block() : undefined;
  const expected = has & 2 ? reader.block() : undefined;
  return { op, value, expected };
}

/** Steps as bytes: their values are encoded by whoever gives them, and stay bytes where they are carried out. */
export const stepsPayload = (values: Payload): Payload => ({
  signature: 'steps',
  size: undefined,
  encode(steps) {
    const bytes = new Bytes();
    for (const { op, value, expected } of steps as readonly Step[]) {
      // The expected value first: what is encoded is only valid until something else is.
      const wanted = expected === undefined ? undefined : values.encode(expected).slice();
      writeStep(bytes, op, value === undefined ? undefined : values.encode(value), wanted);
    }
    return bytes.written;
  },
  decode(source): Step<Uint8Array>[] {
    const reader = new BytesReader(source);
    const steps: Step<Uint8Array>[] = [];
    while (reader.more) steps.push(readStep(reader));
    return steps;
  },
});

/** What steps came to: bytes where they are carried out, values for the caller. */
export const stepResultsPayload = (values: Payload): Payload => ({
  signature: 'results',
  size: undefined,
  encode(results) {
    const bytes = new Bytes();
    for (const result of results as readonly StepResult[]) {
      bytes.byte(
        result === undefined
          ? POINT_ABSENT
          : typeof result === 'boolean'
            ? result
              ? POINT_TRUE
              : POINT_FALSE
            : POINT_VALUE,
      );
      if (typeof result === 'object') bytes.block(result);
    }
    return bytes.written;
  },
  decode(source) {
    const reader = new BytesReader(source);
    const results: unknown[] = [];
    while (reader.more) {
      const kind = reader.byte();
      results.push(
        kind === POINT_ABSENT ? undefined : kind === POINT_VALUE ? values.decode(reader.block()) : kind === POINT_TRUE,
      );
    }
    return results;
  },
});

function equal(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** The sum of two numeric values, as the core adds them (engine/core/point.ts, addTo). */
export function sumOf(code: number, before: Uint8Array | undefined, by: Uint8Array): Uint8Array {
  const sum = by.slice();
  if (before === undefined) return sum;
  const a = new DataView(before.buffer, before.byteOffset, before.length);
  const b = new DataView(sum.buffer);
  if (code === VALUE_F64) {
    const total = a.getFloat64(0, true) + b.getFloat64(0, true);
    b.setFloat64(0, oneNaN(total), true);
  } else if (code === VALUE_I64) b.setBigInt64(0, a.getBigInt64(0, true) + b.getBigInt64(0, true), true);
  else b.setUint32(0, a.getUint32(0, true) + b.getUint32(0, true), true);
  return sum;
}

/** Whether values of a code can be added to. */
export function isNumeric(code: number): boolean {
  return code === VALUE_F64 || code === VALUE_I64 || code === VALUE_U32 || code === VALUE_I32;
}

/** Carries one step out. */
function step(context: CallContext, key: unknown, { op, value, expected }: Step<Uint8Array>, code: number): StepResult {
  const before = context.bytesOf(key);
  const there = before !== undefined;
  const bytes = value as Uint8Array;
  switch (op) {
    case OP_GET:
      return before;
    case OP_HAS:
      return there;
    case OP_PUT:
      context.write(key, bytes);
      return !there;
    case OP_INSERT:
      if (!there) context.write(key, bytes);
      return !there;
    case OP_UPDATE:
      if (there) context.write(key, bytes);
      return there;
    case OP_DELETE:
      if (there) context.write(key, undefined);
      return there;
    case OP_COMPARE_AND_SET: {
      const same = there && equal(before, expected);
      if (same) context.write(key, bytes);
      return same;
    }
    case OP_ADD:
      context.write(key, sumOf(code, before, bytes));
      return before;
    default:
      throw new SabtreeError('ERR_UNKNOWN_COMMAND', `an atomic batch has no command ${show(op)}`, op);
  }
}

/** A command that every store has. */
export function builtIn<A>(
  name: string,
  args: Payload,
  result: Payload,
  execute: (context: CallContext, args: A) => unknown,
  readOnly = false,
): RunnableCommand {
  return {
    ...{ name: `sabtree:${name}`, hash: commandHash(`sabtree:${name}`), args, result, readOnly },
    ...{ maxResult: result.size ?? 0, foreign: false, point: false },
    execute: execute as (context: CallContext, args: unknown) => unknown,
  };
}

/** Carries the steps of an atomic batch out, each on the key of its place. */
export function steps(code: number) {
  return (context: CallContext, all: readonly Step<Uint8Array>[]): StepResult[] =>
    all.map((one, i) => step(context, context.keys[i], one, code));
}

/** Several commands on one key each, one after the other and with nothing between them. */
export function atomicCommand(values: ValueCodec): RunnableCommand {
  const value = new ValuePayload(values);
  return builtIn('atomic', stepsPayload(value), stepResultsPayload(value), steps(values.code));
}

/** Writes, or removes, several entries if all of them are as expected; an expected value that is missing: not there. */
export function compareAndSetAllCommand(values: ValueCodec): RunnableCommand {
  return builtIn(
    'compareAndSetAll',
    stepsPayload(new ValuePayload(values)),
    payloadOf('boolean'),
    (context, steps: readonly Step<Uint8Array>[]) => {
      const { keys: all } = context;
      if (!steps.every(({ expected }, i) => equal(context.bytesOf(all[i]), expected))) return false;
      for (const [i, { value }] of steps.entries()) {
        if (value !== undefined || context.has(all[i])) context.write(all[i], value);
      }
      return true;
    },
  );
}
