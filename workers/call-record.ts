/**
 * User-defined commands as bytes: their records, their arguments and results, and why one failed. A client writes records,
 * every replica reads them; they know nothing of what a command does.
 */
import { type ErrorCode, SabtreeError, show } from '../engine/errors.ts';
import type { KeyOrder } from '../engine/key-order.ts';
import { ByteViews, ValueCodec, type ValueType } from '../engine/values.ts';
import {
  CALL_ALL_KEYS,
  CALL_ARGUMENTS,
  CALL_COMMAND,
  CALL_LENGTH,
  CALL_SEED,
  CALL_TIME,
  MANY_COUNT,
  MANY_KEYS,
  SLOT,
} from '../layout/operation.ts';
import { Bytes, BytesReader, ownBytes } from './bytes.ts';
import type { RunnableCommand } from './command-table.ts';

/** Most bytes that the description of a failure takes in a reply. */
export const FAILURE_BYTES = 512;
/** Most bytes of the result of a command that writes: it is kept in two bytes' worth of length. */
export const MOST_RESULT = 32768;

/** Most bytes of the result of one that only reads, in stores with reply rings of so many bytes. */
export function mostAnswer(replyBytes: number): number {
  return Math.max(MOST_RESULT, (replyBytes >> 1) - SLOT);
}

/** How arguments, or results, of one type become bytes. */
export interface Payload {
  /** Says what the bytes mean. */
  readonly signature: string;
  /** Bytes of every value; undefined if they differ. */
  readonly size: number | undefined;
  /** A value's bytes; valid until the next call. @throws ERR_VALUE */
  encode(value: unknown): Uint8Array;
  /** The value of bytes, which are private. */
  decode(bytes: Uint8Array): unknown;
}

/** Nothing at all. */
class VoidPayload implements Payload {
  readonly signature = 'void';
  readonly size = 0;
  private readonly none = new Uint8Array(0);

  encode(value: unknown): Uint8Array {
    if (value !== undefined) throw new SabtreeError('ERR_VALUE', `value must be undefined, got ${show(value)}`, value);
    return this.none;
  }

  decode(): undefined {
    return undefined;
  }
}

class BooleanPayload implements Payload {
  readonly signature = 'boolean';
  readonly size = 1;
  private readonly byte = new Uint8Array(1);

  encode(value: unknown): Uint8Array {
    if (typeof value !== 'boolean') {
      throw new SabtreeError('ERR_VALUE', `value must be a boolean, got ${show(value)}`, value);
    }
    this.byte[0] = value ? 1 : 0;
    return this.byte;
  }

  decode(bytes: Uint8Array): boolean {
    return bytes[0] === 1;
  }
}

/** Refuses a value that is longer than a store takes. @throws ERR_TOO_LARGE */
export function refuseLong(bytes: Uint8Array, longest: number): void {
  if (bytes.length <= longest) return;
  throw new SabtreeError(
    'ERR_TOO_LARGE',
    `a value of ${bytes.length} bytes, at most ${longest} are taken: see the option maxValue`,
    bytes.length,
  );
}

/** What the values of a tree are, whatever their length. */
export class ValuePayload implements Payload {
  readonly signature: string;
  readonly size: number | undefined;
  private readonly codec: ValueCodec;
  private readonly longest: number;
  private readonly views = new ByteViews(1024);

  /** @param longest most bytes of a value that varies in length. */
  constructor(codec: ValueCodec, longest = Number.POSITIVE_INFINITY) {
    this.codec = codec;
    this.longest = longest;
    this.signature = codec.signature;
    this.size = codec.variable === undefined ? codec.stride : undefined;
  }

  encode(value: unknown): Uint8Array {
    const { codec, views } = this;
    if (codec.variable !== undefined) {
      const bytes = codec.variable.encode(value);
      refuseLong(bytes, this.longest);
      return bytes;
    }
    codec.encode(views, 0, value);
    return views.u8.subarray(0, codec.stride);
  }

  decode(bytes: Uint8Array): unknown {
    const { codec, views } = this;
    if (codec.variable !== undefined) return codec.variable.decode(bytes, 0, bytes.length);
    views.u8.set(bytes);
    return codec.decode(views, 0);
  }
}

/** The payload of a type's name or schema. @throws ERR_OPTION */
export function payloadOf(type: ValueType | 'void' | 'boolean'): Payload {
  if (type === 'void') return new VoidPayload();
  return type === 'boolean' ? new BooleanPayload() : new ValuePayload(new ValueCodec(type));
}

/** A number that stands for a command's name in records: 32 bits of FNV-1a over its UTF-16 units. */
export function commandHash(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash | 0;
}

/** A command as its caller gives it. `invocation` makes it. */
export interface Invocation {
  readonly command: Pick<RunnableCommand, 'name' | 'hash' | 'readOnly' | 'result'> & { readonly point?: boolean };
  /** The keys that it may touch: two words of each (KeyOrder), as the keys were when the command was given. */
  readonly keys: readonly number[] | 'all';
  /** The keys' own bytes, if keys vary in length; then those of the arguments. */
  readonly bytes: Uint8Array;
  /** Most bytes of its result. */
  readonly bound: number;
}

const scratch = new Bytes();

/**
 * A command with keys and arguments. (Where keys vary in length, their bytes go before the arguments; what stands in the keys'
 * place of the record is then a hash of each.) Neither is looked at any more once this returns.
 * @throws ERR_KEY
 */
export function invocation(
  order: KeyOrder,
  command: Invocation['command'],
  keys: ArrayLike<unknown> | 'all',
  args: Uint8Array,
  bound: number,
): Invocation {
  if (keys === 'all') return { command, keys: 'all', bytes: ownBytes(args), bound };
  // Looking at the keys may run code of the caller's, which may give other commands: so it comes first.
  const all = Array.from(keys);
  const words: number[] = [];
  scratch.clear();
  for (const key of all) {
    order.take(key);
    words.push(order.low, order.high);
    if (order.varies) scratch.block(order.bytes);
  }
  if (!order.varies) return { command, keys: words, bytes: ownBytes(args), bound };
  scratch.rest(args);
  return { command, keys: words, bytes: ownBytes(scratch.written), bound };
}

/** Bytes of its record. */
export function callBytes({ keys, bytes }: Invocation): number {
  return MANY_KEYS + 4 * (keys === 'all' ? 0 : keys.length) + CALL_ARGUMENTS + bytes.length;
}

/** Writes keys in stored order, as the operations on several keys have them. @throws ERR_KEY */
export function writeKeys(words: Int32Array, record: number, order: KeyOrder, keys: ArrayLike<unknown>): void {
  words[(record + MANY_COUNT) >> 2] = keys.length;
  for (let i = 0; i < keys.length; i++) {
    order.take(keys[i]);
    words[(record + MANY_KEYS + i * 8) >> 2] = order.low;
    words[(record + MANY_KEYS + i * 8 + 4) >> 2] = order.high;
  }
}

/** Writes all of a record but its header. */
export function writeCall(views: ByteViews, record: number, call: Invocation): void {
  const { command, keys, bytes } = call;
  const { i32, f64, u8 } = views;
  const words = keys === 'all' ? [] : keys;
  i32[(record + MANY_COUNT) >> 2] = keys === 'all' ? CALL_ALL_KEYS : words.length / 2;
  i32[(record + CALL_COMMAND) >> 2] = command.hash;
  for (let i = 0; i < words.length; i++) i32[((record + MANY_KEYS) >> 2) + i] = words[i];
  const tail = record + MANY_KEYS + words.length * 4;
  // One operation on one key asks for neither time nor chance.
  const asks = command.point !== true;
  f64[(tail + CALL_TIME) >> 3] = asks ? Date.now() : 0;
  i32[(tail + CALL_SEED) >> 2] = asks ? Math.random() * 4294967296 : 0;
  i32[(tail + CALL_SEED + 4) >> 2] = asks ? Math.random() * 4294967296 : 0;
  i32[(tail + CALL_LENGTH) >> 2] = bytes.length;
  i32[(tail + CALL_LENGTH + 4) >> 2] = 0;
  u8.set(bytes, tail + CALL_ARGUMENTS);
}

/** What such a record says. */
export interface CallRecord {
  /** The keys that the command may touch; undefined for all. */
  readonly keys: readonly unknown[] | undefined;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly seed: readonly [low: number, high: number];
  /** The arguments, in memory of their own. */
  readonly bytes: Uint8Array;
}

/** Reads one. @param words the same memory as `memory`. */
export function readCall(memory: Uint8Array, words: Int32Array, record: number, order: KeyOrder): CallRecord {
  const count = words[(record + MANY_COUNT) >> 2];
  const keysAt = record + MANY_KEYS;
  const tail = keysAt + 8 * Math.max(0, count);
  const view = new DataView(memory.buffer, memory.byteOffset + tail, CALL_ARGUMENTS);
  const from = tail + CALL_ARGUMENTS;
  const reader = new BytesReader(memory.slice(from, from + view.getUint32(CALL_LENGTH, true)));
  const keyAt = (at: number) =>
    order.varies ? order.keyOf(reader.block()) : order.restore(words[at] >>> 0, words[at + 1] >>> 0);
  return {
    keys: count === CALL_ALL_KEYS ? undefined : Array.from({ length: count }, (_, i) => keyAt((keysAt + 8 * i) >> 2)),
    time: view.getFloat64(CALL_TIME, true),
    seed: [view.getInt32(CALL_SEED, true), view.getInt32(CALL_SEED + 4, true)],
    bytes: reader.rest(),
  };
}

/** Why a command failed, as it crosses from the replica to the caller. */
export interface CommandFailure {
  readonly code: ErrorCode;
  readonly message: string;
  /** What was thrown: its name, and its code if it has one. */
  readonly thrown?: { readonly name: string; readonly code?: string | number };
  /** What was wrong, if nothing was thrown; a bigint as its digits in `digits`. */
  readonly value?: string | number;
  readonly digits?: string;
}

/** What was wrong, as a failure tells it: what JSON does not have, as a text. */
export function wrongValue(value: unknown): Pick<CommandFailure, 'value' | 'digits'> {
  if (value === undefined) return {};
  if (typeof value === 'bigint') return { digits: String(value) };
  return { value: typeof value === 'string' || Number.isFinite(value) ? (value as string | number) : show(value) };
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A failure as bytes, shortened to FAILURE_BYTES. */
export function encodeFailure(failure: CommandFailure): Uint8Array {
  // Every unit of a text takes six bytes at most ("\u0000"), so this ends.
  for (let most = FAILURE_BYTES; ; most >>= 1) {
    const short = (_: string, part: unknown) =>
      typeof part === 'string' && part.length > most && part !== failure.code ? `${part.slice(0, most)}…` : part;
    const bytes = encoder.encode(JSON.stringify(failure, short));
    if (bytes.length <= FAILURE_BYTES) return bytes;
  }
}

/** The error that a caller gets for such bytes. */
export function decodeFailure(bytes: Uint8Array): SabtreeError {
  const { code, message, thrown, value, digits } = JSON.parse(decoder.decode(bytes)) as CommandFailure;
  return new SabtreeError(code, message, thrown ?? (digits === undefined ? value : BigInt(digits)));
}

/** Whether an error is about one command only, and not about the store. */
export function isCommandError(code: ErrorCode): boolean {
  return (
    code === 'ERR_COMMAND_FAILED' ||
    code === 'ERR_COMMAND_TIMEOUT' ||
    code === 'ERR_UNDECLARED_KEY' ||
    code === 'ERR_TOO_LARGE'
  );
}

/** Random numbers from a seed of 64 bits: sfc32 (Doty-Humphrey, PractRand), the same everywhere. */
export function randomFrom(low: number, high: number): () => number {
  let a = low | 0;
  let b = high | 0;
  let c = 0x9e3779b9 | 0;
  let counter = 1;
  const next = () => {
    const t = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + t) | 0;
    return t >>> 0;
  };
  for (let i = 0; i < 12; i++) next();
  return () => ((next() >>> 5) * 67108864 + (next() >>> 6)) / 9007199254740992;
}
