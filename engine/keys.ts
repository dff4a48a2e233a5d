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
 * which is the order of its UTF-8 bytes), 'bytes' (Uint8Array, ordered byte by byte), 'tuple' (see `Tuple`).
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
