/** A client's side of stores whose keys or values vary in length: it makes commands (variable-commands.ts) of operations. */
import { SabtreeError } from '../engine/errors.ts';
import { type KeyOrder, keyOrder } from '../engine/key-order.ts';
import type { Range } from '../engine/range.ts';
import type { ValueCodec } from '../engine/values.ts';
import { prefixRange, StoredKey } from '../engine/variable-keys.ts';
import {
  OP_ADD,
  OP_CALL,
  OP_COMPARE_AND_SET,
  OP_COUNT,
  OP_DELETE,
  OP_FLOOR,
  OP_GET,
  OP_GET_ALL,
  OP_HAS,
  OP_LAST,
  OP_LAST_POINT,
  OP_PUT,
  OP_PUT_ALL,
  OP_QUERY,
  OP_RANGE,
  POINT_ABSENT,
  POINT_TRUE,
  POINT_VALUE,
  SLOT,
} from '../layout/operation.ts';
import { MAX_KEY_BYTES } from '../layout/slotted.ts';
import { SCAN_HAS_LOWER, SCAN_HAS_UPPER, SCAN_UPPER_EXCLUSIVE } from '../layout/tree-memory.ts';
import { isNumeric, type Step, writeStep } from './built-in-commands.ts';
import { Bytes } from './bytes.ts';
import {
  callBytes,
  type Invocation,
  invocation,
  mostAnswer,
  type Payload,
  refuseLong,
  ValuePayload,
} from './call-record.ts';
import type { Call } from './client.ts';
import type { RunnableCommand } from './command-table.ts';
import type { Streams } from './streams.ts';
import { MOST_ENTRIES, type RangeCall, type VariableCommands, variableCommands } from './variable-commands.ts';

/** What an answer has beside an entry's value: lengths, and the key. */
const ENTRY = MAX_KEY_BYTES + 16;

const scratch = new Bytes();

/** Bytes of the reply rings of a store with values up to that length: so that some tens of answers have room at a time. */
export function replyBytesFor(longest: number): number {
  let bytes = 65536;
  while (bytes < 4 * 1024 * 1024 && bytes < 32 * longest) bytes *= 2;
  while (mostAnswer(bytes) < ENTRY + longest) bytes *= 2;
  return bytes;
}

/** Makes the commands of one client. */
export class VariableCalls {
  private readonly commands: VariableCommands;
  private readonly order: KeyOrder;
  private readonly keyCode: number;
  private readonly values: ValueCodec;
  private readonly payload: Payload;
  /** Most bytes of a record, of an answer, and of a value. */
  private readonly mostRecord: number;
  private readonly mostAnswer: number;
  private readonly longest: number;

  /** @param longest bytes of the longest value. */
  constructor(streams: Streams, keyCode: number, values: ValueCodec, longest: number) {
    const { replyBytes } = streams.shape;
    this.commands = variableCommands(keyCode, values);
    this.order = keyOrder(keyCode);
    this.keyCode = keyCode;
    this.values = values;
    this.payload = new ValuePayload(values);
    this.mostRecord = streams.maxRun * SLOT;
    this.mostAnswer = mostAnswer(replyBytes);
    this.longest = longest;
  }

  /** Whether values of the store's type have that operation. */
  knows(op: number): boolean {
    return op !== OP_ADD || isNumeric(this.values.code);
  }

  /** The command of an operation; what needs no key or value is left as it is. @throws ERR_KEY, ERR_VALUE, ERR_TOO_LARGE */
  callOf(call: Call): Call {
    const { commands, longest } = this;
    const { op, key, value, range, sink, index } = call;
    let given: Invocation | undefined;
    if (op <= OP_LAST_POINT) {
      given = this.pointCall(call);
    } else if (op === OP_GET_ALL || op === OP_PUT_ALL) {
      const keys = Array.from(key as ArrayLike<unknown>);
      const values = value as ArrayLike<unknown> | undefined;
      const steps = keys.map((_, i): Step => {
        return values === undefined
          ? { op: OP_GET, value: undefined, expected: undefined }
          : { op: OP_PUT, value: values[i], expected: undefined };
      });
      const gets = op === OP_GET_ALL;
      const bound = gets ? Math.min(this.mostAnswer, keys.length * (5 + longest)) : keys.length;
      given = this.invocation(gets ? commands.getAll : commands.putAll, keys, steps, bound);
    } else if (op >= OP_FLOOR && op <= OP_LAST) {
      given = this.invocation(commands.near, 'all', { op, key }, ENTRY + longest);
    } else if (op === OP_RANGE || (op === OP_COUNT && range !== undefined)) {
      given = this.rangeCall(op, range as Range);
    }
    if (given === undefined) return call;
    const code = given.command.readOnly ? OP_QUERY : OP_CALL;
    return { op: code, key: given.keys, value: given, expected: undefined, range: undefined, sink, index };
  }

  /**
   * The command of an operation on one key. What keys and values run of the caller's (a tuple's, or an object's getters) may give
   * other commands: so everything is looked at before anything is written.
   */
  private pointCall({ op, key, value, expected }: Call): Invocation {
    const { order, commands, longest } = this;
    const own = Array.isArray(key) ? new StoredKey(order.stored(key).slice()) : key;
    const wanted = op === OP_COMPARE_AND_SET ? this.bytesOf(expected).slice() : undefined;
    const content = op >= OP_PUT && op !== OP_DELETE ? this.bytesOf(value) : undefined;
    order.take(own);
    scratch.clear();
    if (order.varies) scratch.block(order.bytes);
    writeStep(scratch, op, content, wanted);
    const made = {
      command: op === OP_GET || op === OP_HAS ? commands.read : commands.write,
      keys: [order.low, order.high],
      bytes: scratch.own(),
      bound: op === OP_GET || op === OP_ADD ? 1 + longest : 1,
    };
    this.refuseLarge(made);
    return made;
  }

  /** What the answer to an operation on one key says. */
  answerOf(bytes: Uint8Array, at: number, length: number): unknown {
    const kind = bytes[at];
    if (kind !== POINT_VALUE) return kind === POINT_ABSENT ? undefined : kind === POINT_TRUE;
    return this.payload.decode(bytes.slice(at + 1, at + length));
  }

  /** A value's bytes; valid until the next call. @throws ERR_VALUE, ERR_TOO_LARGE */
  private bytesOf(value: unknown): Uint8Array {
    const bytes = this.payload.encode(value);
    refuseLong(bytes, this.longest);
    return bytes;
  }

  private rangeCall(op: number, range: Range): Invocation {
    const { commands, longest } = this;
    const counts = op === OP_COUNT;
    const entries = counts ? range.limit : Math.min(range.limit, MOST_ENTRIES);
    const bytes = this.mostAnswer;
    const given: RangeCall = { range: this.bounds(range), entries, bytes };
    if (counts) return this.invocation(commands.count, 'all', given, 8);
    return this.invocation(commands.range, 'all', given, Math.min(bytes, 1 + entries * (ENTRY + longest)));
  }

  /** A range whose prefix has become bounds. */
  private bounds(range: Range): Range {
    if (range.prefix === undefined) return range;
    if (!this.order.varies) {
      throw new SabtreeError('ERR_ARGUMENT', 'a prefix is for keys that are strings, bytes or tuples', range.prefix);
    }
    const { from, end } = prefixRange(this.keyCode, range.prefix);
    const upper = end === undefined ? 0 : SCAN_HAS_UPPER | SCAN_UPPER_EXCLUSIVE;
    return { ...range, flags: range.flags | SCAN_HAS_LOWER | upper, lower: from, upper: end, prefix: undefined };
  }

  private invocation(
    command: RunnableCommand,
    keys: readonly unknown[] | 'all',
    args: unknown,
    bound: number,
  ): Invocation {
    const made = invocation(this.order, command, keys, command.args.encode(args), bound);
    this.refuseLarge(made);
    return made;
  }

  /** Refuses what fits into no ring. @throws ERR_TOO_LARGE */
  private refuseLarge(made: Invocation): void {
    const size = callBytes(made);
    if (size <= this.mostRecord) return;
    throw new SabtreeError(
      'ERR_TOO_LARGE',
      `a command of ${size} bytes, keys and values included; at most ${this.mostRecord} fit into one (see the option ring)`,
      size,
    );
  }
}
