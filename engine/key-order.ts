/** Keys as commands carry them: two words that stand for a key, and its bytes as they are stored. */

import { KEY_PLACE } from '../layout/slotted.ts';
import { KEY_F64, KEY_I32, KEY_STRING, KEY_U32, KEY_U64 } from '../layout/tree-memory.ts';
import { isKey, isVariable, type KeyArray, keySize, keyView, refuseKey, writeKey } from './keys.ts';
import { decodeKey, encodeKey } from './variable-keys.ts';

/**
 * What is needed to carry keys of one type. The two words are what `groupOf` hashes, and what executors look at to tell
 * what depends on what: equal keys have equal words.
 */
export interface KeyOrder {
  /** Whether keys vary in length: then the words are a hash, and the key's bytes have to be carried beside it. */
  readonly varies: boolean;
  /** Low word of the last key taken. */
  readonly low: number;
  /** High word of the last key taken. */
  readonly high: number;
  /** Checks a key and takes it into `low` and `high`. @throws ERR_KEY */
  take(key: unknown): void;
  /** The key of the two words; only of keys that do not vary in length. */
  restore(low: number, high: number): number | bigint;
  /** The bytes of the last key taken, as they are stored; valid until the next call. */
  readonly bytes: Uint8Array;
  /** A key's bytes as they are stored; valid until the next call. @throws ERR_KEY */
  stored(key: unknown): Uint8Array;
  /** The key of such bytes. */
  keyOf(bytes: Uint8Array): unknown;
}

/** What carries keys of a type. */
export function keyOrder(code: number): KeyOrder {
  return isVariable(code) ? new HashedKeys(code) : new FixedOrder(code);
}

/**
 * A key of fixed size in stored order, low word first. 4-byte keys compare as unsigned integers, 8-byte keys as signed ones
 * (engine/core/state.ts has the same rule for the core); 4-byte keys are the low word, and the high one is 0.
 */
class FixedOrder implements KeyOrder {
  private readonly code: number;
  private readonly raw: KeyArray;
  private readonly words: Uint32Array;
  readonly varies = false;
  low = 0;
  high = 0;

  constructor(code: number) {
    const bytes = new ArrayBuffer(8);
    this.code = code;
    this.raw = keyView(code, bytes, 0, 1);
    this.words = new Uint32Array(bytes);
  }

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

  get bytes(): Uint8Array {
    return new Uint8Array(Uint32Array.of(this.low, this.high).buffer, 0, keySize(this.code));
  }

  stored(key: unknown): Uint8Array {
    this.take(key);
    return this.bytes;
  }

  keyOf(bytes: Uint8Array): number | bigint {
    const low = bytes[0] | (bytes[1] << 8) | (bytes[2] << 16) | (bytes[3] << 24);
    const high = bytes.length === 8 ? bytes[4] | (bytes[5] << 8) | (bytes[6] << 16) | (bytes[7] << 24) : 0;
    return this.restore(low >>> 0, high >>> 0);
  }
}

/** Keys that vary in length: the words are a hash of their bytes. */
class HashedKeys implements KeyOrder {
  readonly varies = true;
  low = 0;
  high = 0;
  private readonly code: number;
  private readonly own = new Uint8Array(KEY_PLACE);
  private length = 0;

  constructor(code: number) {
    this.code = code;
  }

  get bytes(): Uint8Array {
    return this.own.subarray(0, this.length);
  }

  take(key: unknown): void {
    const { own: bytes } = this;
    const length = encodeKey(this.code, key, bytes, 0);
    this.length = length;
    let a = 0x9e3779b9 ^ length;
    let b = 0x85ebca6b;
    for (let i = 0; i < length; i++) {
      const byte = bytes[i];
      a = Math.imul(a ^ byte, 0x01000193);
      b = Math.imul(b ^ byte, 0xcc9e2d51);
      b = (b << 15) | (b >>> 17);
    }
    this.low = mixed(a ^ (b >>> 1));
    this.high = mixed(b ^ (a >>> 3));
  }

  restore(): never {
    throw new Error('a hash does not tell its key');
  }

  stored(key: unknown): Uint8Array {
    this.length = encodeKey(this.code, key, this.own, 0);
    return this.bytes;
  }

  keyOf(bytes: Uint8Array): unknown {
    return decodeKey(this.code, bytes, 0, bytes.length);
  }
}

/** The last step of MurmurHash3 (Appleby): every bit in has a part in every bit out. */
function mixed(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

const one = new Uint8Array(KEY_PLACE);
const other = new Uint8Array(KEY_PLACE);

/** Checks a key of any type. @throws ERR_KEY */
export function checkKey(code: number, key: unknown): void {
  if (isVariable(code)) encodeKey(code, key, one, 0);
  else if (!isKey(code, key)) refuseKey(code, key);
}

/** Bytes that a key takes as it is stored. @throws ERR_KEY */
export function storedLength(code: number, key: unknown): number {
  return isVariable(code) ? encodeKey(code, key, one, 0) : keySize(code);
}

/** An equal key that nobody can change any more. @throws ERR_KEY */
export function ownKey(code: number, key: unknown): unknown {
  if (!isVariable(code) || typeof key === 'string') return key;
  return decodeKey(code, one, 0, encodeKey(code, key, one, 0));
}

/** Which of two keys comes first: negative, zero or positive. */
export function compareKeys(code: number, a: unknown, b: unknown): number {
  if (!isVariable(code)) return (a as number) < (b as number) ? -1 : (a as number) > (b as number) ? 1 : 0;
  const length = encodeKey(code, a, one, 0);
  const otherLength = encodeKey(code, b, other, 0);
  const least = Math.min(length, otherLength);
  for (let i = 0; i < least; i++) if (one[i] !== other[i]) return one[i] - other[i];
  return length - otherLength;
}

/** What a key is known by in a Map: equal keys have equal ones. */
export function keyIdentity(code: number, key: unknown): unknown {
  if (!isVariable(code) || (code === KEY_STRING && typeof key === 'string')) return key;
  const length = encodeKey(code, key, one, 0);
  if (code === KEY_STRING) return decodeKey(code, one, 0, length);
  let text = '';
  for (let i = 0; i < length; i++) text += String.fromCharCode(one[i]);
  return text;
}
