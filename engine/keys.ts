import {
  KEY_BYTE_STRING,
  KEY_F64,
  KEY_I32,
  KEY_I64,
  KEY_SLOTTED,
  KEY_STRING,
  KEY_TUPLE,
  KEY_U32,
  KEY_U64,
} from '../layout/tree-memory.ts';
import { SabtreeError, show } from './errors.ts';
import type { Tuple } from './tuple.ts';

/** Names of the key types of fixed size: 4 or 8 bytes. */
export type FixedKeyType = 'u32' | 'i32' | 'f64' | 'i64' | 'u64';

/**
 * Names of the key types whose keys vary in length, up to 1,024 bytes as they are stored: 'string' (ordered by code points,
 * which is the order of its UTF-8 bytes), 'bytes' (Uint8Array, ordered byte by byte), 'tuple' (see tuple.ts).
 */
export type VariableKeyType = 'string' | 'bytes' | 'tuple';

/** Names of the key types. */
export type KeyType = FixedKeyType | VariableKeyType;

/** The JavaScript type of a key. */
export type KeyOf<K extends KeyType> = K extends 'i64' | 'u64'
  ? bigint
  : K extends FixedKeyType
    ? number
    : K extends 'string'
      ? string
      : K extends 'bytes'
        ? Uint8Array
        : Tuple;

/** Key types by name. */
export const KEY_CODES: Readonly<Record<KeyType, number>> = {
  u32: KEY_U32,
  i32: KEY_I32,
  f64: KEY_F64,
  i64: KEY_I64,
  u64: KEY_U64,
  string: KEY_STRING,
  bytes: KEY_BYTE_STRING,
  tuple: KEY_TUPLE,
};

/** Whether keys of this type vary in length. */
export function isVariable(code: number): boolean {
  return code >= KEY_SLOTTED;
}

/** Bytes of a stored key of fixed size. */
export function keySize(code: number): 4 | 8 {
  return code === KEY_U32 || code === KEY_I32 ? 4 : 8;
}

/** Typed array whose elements are raw keys. */
export type KeyArray = Uint32Array | Int32Array | Float64Array | BigInt64Array | BigUint64Array;

/** A view of raw keys at a place in memory. */
export function keyView(code: number, buffer: ArrayBufferLike, offset: number, length: number): KeyArray {
  if (code === KEY_U32) return new Uint32Array(buffer, offset, length);
  if (code === KEY_I32) return new Int32Array(buffer, offset, length);
  if (code === KEY_F64) return new Float64Array(buffer, offset, length);
  if (code === KEY_I64) return new BigInt64Array(buffer, offset, length);
  return new BigUint64Array(buffer, offset, length);
}

/** Throws ERR_KEY: `key` is not a key of this type. */
export function refuseKey(code: number, key: unknown): never {
  const wanted =
    code === KEY_U32
      ? 'an integer from 0 to 4294967295'
      : code === KEY_I32
        ? 'an integer from -2147483648 to 2147483647'
        : code === KEY_F64
          ? 'a number that is not NaN'
          : code === KEY_I64
            ? 'a bigint from -2^63 to 2^63 - 1'
            : 'a bigint from 0 to 2^64 - 1';
  throw new SabtreeError('ERR_KEY', `key must be ${wanted}, got ${show(key)}`, key);
}

/** True if `key` is a key of this type. */
export function isKey(code: number, key: unknown): boolean {
  if (code === KEY_U32) return typeof key === 'number' && key >>> 0 === key;
  if (code === KEY_I32) return typeof key === 'number' && (key | 0) === key;
  // Only NaN differs from itself.
  // biome-ignore lint/suspicious/noSelfCompare: see above
  if (code === KEY_F64) return typeof key === 'number' && key === key;
  if (code === KEY_I64) return typeof key === 'bigint' && BigInt.asIntN(64, key) === key;
  return typeof key === 'bigint' && BigInt.asUintN(64, key) === key;
}

/**
 * Writes a key to element i of a view of its type; ERR_KEY if it is not one. -0 becomes 0: the two are one key.
 * Costs a few nanoseconds.
 */
export function writeKey(code: number, view: KeyArray, i: number, key: unknown): void {
  if (!isKey(code, key)) refuseKey(code, key);
  (view as Float64Array)[i] = code === KEY_F64 ? (key as number) + 0 : (key as number);
}

/**
 * A key in stored order, as two words, low first: what commands carry and `groupOf` hashes. 4-byte keys compare as
 * unsigned integers, 8-byte keys as signed ones (engine/core/state.ts has the same rule for the core).
 */
export class KeyOrder {
  private readonly code: number;
  private readonly raw: KeyArray;
  private readonly words: Uint32Array;
  /** Low word of the last key taken; the whole key if it is 4 bytes wide. */
  low = 0;
  /** High word of the last key taken; 0 if it is 4 bytes wide. */
  high = 0;

  constructor(code: number) {
    const bytes = new ArrayBuffer(8);
    this.code = code;
    this.raw = keyView(code, bytes, 0, 1);
    this.words = new Uint32Array(bytes);
  }

  /** Checks the key and takes it into `low` and `high`. */
  take(key: unknown): void {
    const { code, words } = this;
    writeKey(code, this.raw, 0, key);
    let low = words[0];
    let high = words[1];
    if (code === KEY_U32) high = 0;
    else if (code === KEY_I32) {
      low = (low ^ 0x80000000) >>> 0;
      high = 0;
    } else if (code === KEY_F64) {
      if (high >>> 31) {
        low = ~low >>> 0;
        high = (high ^ 0x7fffffff) >>> 0;
      }
    } else if (code === KEY_U64) high = (high ^ 0x80000000) >>> 0;
    this.low = low;
    this.high = high;
  }

  /** The raw key whose stored words are given. */
  restore(low: number, high: number): number | bigint {
    const { code, words } = this;
    if (code === KEY_I32) words[0] = low ^ 0x80000000;
    else if (code === KEY_F64 && high >>> 31) {
      words[0] = ~low;
      words[1] = high ^ 0x7fffffff;
    } else {
      words[0] = low;
      words[1] = code === KEY_U64 ? high ^ 0x80000000 : high;
    }
    return this.raw[0];
  }
}
