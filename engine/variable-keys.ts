/** Keys that vary in length as bytes, in the order of their bytes; and their places in a thread's work block. */
import { KEY_BYTES, KEY_LENGTH, KEY_PLACE, MAX_KEY_BYTES } from '../layout/slotted.ts';
import { KEY_STRING, KEY_TUPLE, SCAN_BYTES } from '../layout/tree-memory.ts';
import { SabtreeError, show } from './errors.ts';
import type { KeyView } from './key-views.ts';
import { decodeTuple, encodeTuple } from './tuple.ts';

/** A key as the bytes that are stored, whatever its type: where a walk goes on, or the end of a prefix. */
export class StoredKey {
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
/** Up to so many bytes a string is put together by hand. */
const SHORT = 64;

function refuseLength(key: unknown): never {
  throw new SabtreeError('ERR_KEY', `key must take at most ${MAX_KEY_BYTES} bytes, got ${show(key)}`, key);
}

/** Writes a string as UTF-8 at `at`; how many bytes. @throws ERR_KEY for lone surrogates and what is too long */
function encodeString(key: unknown, to: Uint8Array, at: number): number {
  if (typeof key !== 'string') throw new SabtreeError('ERR_KEY', `key must be a string, got ${show(key)}`, key);
  const { length } = key;
  if (length > MAX_KEY_BYTES) refuseLength(key);
  let end = at;
  for (let i = 0; i < length; i++) {
    const unit = key.charCodeAt(i);
    if (unit < 0x80) {
      to[end++] = unit;
      continue;
    }
    // Where it is not all ASCII there is room for the longest encoding of a unit, three bytes, or it is refused.
    if (end - at + 4 > MAX_KEY_BYTES && end - at + widthOf(key, i) > MAX_KEY_BYTES) refuseLength(key);
    if (unit < 0x800) {
      to[end++] = 0xc0 | (unit >> 6);
    } else {
      let point = unit;
      if (unit >= 0xd800 && unit < 0xe000) {
        const low = key.charCodeAt(i + 1);
        if (unit >= 0xdc00 || !(low >= 0xdc00 && low < 0xe000)) {
          throw new SabtreeError('ERR_KEY', `key must not have lone surrogates, got ${show(key)}`, key);
        }
        i++;
        point = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        to[end++] = 0xf0 | (point >> 18);
        to[end++] = 0x80 | ((point >> 12) & 0x3f);
      } else {
        to[end++] = 0xe0 | (point >> 12);
      }
      to[end++] = 0x80 | ((point >> 6) & 0x3f);
      to[end++] = 0x80 | (point & 0x3f);
      continue;
    }
    to[end++] = 0x80 | (unit & 0x3f);
  }
  if (end - at > MAX_KEY_BYTES) refuseLength(key);
  return end - at;
}

/** Bytes of UTF-8 that the character at a place takes. */
function widthOf(text: string, i: number): number {
  const unit = text.charCodeAt(i);
  return unit < 0x800 ? 2 : unit >= 0xd800 && unit < 0xe000 ? 4 : 3;
}

/** Bytes of UTF-8 as a string. They may be shared, which decoders do not take. */
export function decodeString(bytes: Uint8Array, from: number, to: number): string {
  if (to - from > SHORT) return decoder.decode(bytes.slice(from, to));
  let text = '';
  let i = from;
  for (; i + 8 <= to; i += 8) {
    const a = bytes[i];
    const b = bytes[i + 1];
    const c = bytes[i + 2];
    const d = bytes[i + 3];
    const e = bytes[i + 4];
    const f = bytes[i + 5];
    const g = bytes[i + 6];
    const h = bytes[i + 7];
    if ((a | b | c | d | e | f | g | h) >= 0x80) return decoder.decode(bytes.slice(from, to));
    text += String.fromCharCode(a, b, c, d, e, f, g, h);
  }
  for (; i < to; i++) {
    const byte = bytes[i];
    if (byte >= 0x80) return decoder.decode(bytes.slice(from, to));
    text += String.fromCharCode(byte);
  }
  return text;
}

/** Writes a key of the type at `at`, where there is room for the longest one; how many bytes. @throws ERR_KEY */
export function encodeKey(code: number, key: unknown, to: Uint8Array, at: number): number {
  if (code === KEY_STRING && typeof key === 'string') return encodeString(key, to, at);
  if (key instanceof StoredKey) {
    to.set(key.bytes, at);
    return key.bytes.length;
  }
  if (code === KEY_STRING) return encodeString(key, to, at);
  if (code !== KEY_TUPLE && !(key instanceof Uint8Array)) {
    throw new SabtreeError('ERR_KEY', `key must be a Uint8Array, got ${show(key)}`, key);
  }
  const bytes = code === KEY_TUPLE ? encodeTuple(key) : (key as Uint8Array);
  if (bytes.length > MAX_KEY_BYTES) refuseLength(key);
  to.set(bytes, at);
  return bytes.length;
}

/** The key of the type whose bytes stand there. */
export function decodeKey(code: number, bytes: Uint8Array, from: number, to: number): unknown {
  if (code === KEY_STRING) return decodeString(bytes, from, to);
  // Bytes of their own: those that stand there belong to the tree.
  const own = new Uint8Array(bytes.subarray(from, to));
  return code === KEY_TUPLE ? decodeTuple(own) : own;
}

const scratch = new Uint8Array(KEY_PLACE);

/**
 * The range of all keys that begin with `prefix` (for tuples: with these elements): from it on, and below the end that is
 * returned with it; undefined if there is no end. @throws ERR_KEY
 */
export function prefixRange(code: number, prefix: unknown): { from: StoredKey; end: StoredKey | undefined } {
  const length = encodeKey(code, prefix, scratch, 0);
  const from = new StoredKey(scratch.slice(0, length));
  if (code === KEY_TUPLE && length < MAX_KEY_BYTES) {
    // Behind a whole element stands a tag. Behind a string that only begins like it, the rest of an escaped zero: ff.
    const end = scratch.slice(0, length + 1);
    end[length] = 0xff;
    return { from, end: new StoredKey(end) };
  }
  let last = length - 1;
  while (last >= 0 && scratch[last] === 0xff) last--;
  if (last < 0) return { from, end: undefined };
  const end = scratch.slice(0, last + 1);
  end[last]++;
  return { from, end: new StoredKey(end) };
}

/** A place for one key: its length, then its bytes. */
export class KeyPlace implements KeyView {
  private readonly code: number;
  private readonly bytes: Uint8Array;
  private readonly length: Uint32Array;

  constructor(code: number, buffer: ArrayBufferLike, address: number) {
    this.code = code;
    this.bytes = new Uint8Array(buffer, address + KEY_BYTES, KEY_PLACE - KEY_BYTES);
    this.length = new Uint32Array(buffer, address + KEY_LENGTH, 1);
  }

  set(_i: number, key: unknown): void {
    this.length[0] = encodeKey(this.code, key, this.bytes, 0);
  }

  get(_i: number): unknown {
    return decodeKey(this.code, this.bytes, 0, this.length[0]);
  }

  stored(_i: number): unknown {
    return new StoredKey(new Uint8Array(this.bytes.subarray(0, this.length[0])));
  }

  hasRoomFor(_i: number): boolean {
    return true;
  }

  copy(_n: number): KeyPlace {
    const copy = new KeyPlace(this.code, new ArrayBuffer(KEY_PLACE), 0);
    copy.bytes.set(this.bytes);
    copy.length[0] = this.length[0];
    return copy;
  }

  own(): KeyPlace {
    return this.copy(1);
  }
}

/** Many keys: where each one ends, then their bytes one after another. They are written in order. */
export class KeyTable implements KeyView {
  private readonly code: number;
  private readonly ends: Uint32Array;
  private readonly bytes: Uint8Array;

  constructor(code: number, ends: Uint32Array, bytes: Uint8Array) {
    this.code = code;
    this.ends = ends;
    this.bytes = bytes;
  }

  /** A table of n keys in a thread's area. */
  static at(code: number, buffer: ArrayBufferLike, ends: number, n: number, bytes: number): KeyTable {
    return new KeyTable(code, new Uint32Array(buffer, ends, n), new Uint8Array(buffer, bytes, SCAN_BYTES));
  }

  private begin(i: number): number {
    return i === 0 ? 0 : this.ends[i - 1];
  }

  set(i: number, key: unknown): void {
    const begin = this.begin(i);
    this.ends[i] = begin + encodeKey(this.code, key, this.bytes, begin);
  }

  hasRoomFor(i: number): boolean {
    return this.begin(i) + MAX_KEY_BYTES <= SCAN_BYTES;
  }

  get(i: number): unknown {
    return decodeKey(this.code, this.bytes, this.begin(i), this.ends[i]);
  }

  stored(i: number): unknown {
    return new StoredKey(new Uint8Array(this.bytes.subarray(this.begin(i), this.ends[i])));
  }

  copy(n: number): KeyTable {
    const ends = this.ends.slice(0, n);
    return new KeyTable(this.code, ends, this.bytes.slice(0, n === 0 ? 0 : ends[n - 1]));
  }

  own(): KeyTable {
    return new KeyTable(this.code, this.ends.slice(), this.bytes.slice());
  }
}
