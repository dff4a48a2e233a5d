/**
 * Tuples as keys: lists of strings, numbers, bigints, booleans, null, dates, bytes and tuples, as bytes that compare the way
 * the tuples do. Tuples compare element by element, and one that is the beginning of another is the smaller; elements of
 * different types in the order null, false, true, number, bigint, date, string, bytes, tuple (so 2 and 2n are different
 * keys). The encoding is in the manner of FoundationDB's tuple layer. (The package ordered-binary would do for flat keys; it
 * knows no nesting and no dates, and merges bigints with numbers.)
 *
 * Each element is a tag and then: a number its eight bytes, the sign bit turned over, all bits for a negative one; a bigint
 * the number of its bytes (complemented for a negative one) and these, big-endian; a string or bytes its bytes, zero written
 * as 00 ff, ended by 00; a tuple its elements, ended by 00, which is no tag.
 */
import { SabtreeError, show } from './errors.ts';

/** An element of a tuple key. */
export type TupleElement = null | boolean | number | bigint | Date | string | Uint8Array | Tuple;
/**
 * A tuple key. Tuples compare element by element, and one that is the beginning of another is the smaller; elements of different
 * types in the order null, false, true, number, bigint, date, string, bytes, tuple. So 2 and 2n are different keys. Numbers are
 * not NaN, and -0 is 0; bigints have at most 120 bytes, strings no lone surrogates; tuples stand in one another 32 deep at most.
 */
export type Tuple = readonly TupleElement[];

const END = 0x00;
const NULL = 0x01;
const FALSE = 0x02;
const TRUE = 0x03;
const NUMBER = 0x05;
const BIGINT = 0x06;
const DATE = 0x07;
const STRING = 0x08;
const BYTES = 0x09;
const TUPLE = 0x0a;
/** Stands for a zero byte within a string, behind it. */
const ESCAPE = 0xff;

/** Tuples in tuples, at most. */
const MAX_DEPTH = 32;
/** Bytes of the largest bigint. */
const MAX_BIGINT_BYTES = 120;
const NEGATIVE = 0x80;

const number = new DataView(new ArrayBuffer(8));
const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Grows one tuple after the other; private to a thread. */
const bytes = { list: new Uint8Array(256), length: 0 };

function push(byte: number): void {
  if (bytes.length === bytes.list.length) {
    const more = new Uint8Array(2 * bytes.length);
    more.set(bytes.list);
    bytes.list = more;
  }
  bytes.list[bytes.length++] = byte;
}

function refuse(value: unknown, why: string): never {
  throw new SabtreeError('ERR_KEY', `a tuple key ${why}, got ${show(value)}`, value);
}

function pushNumber(value: number): void {
  number.setFloat64(0, value + 0);
  const negative = number.getUint8(0) >= 0x80;
  for (let i = 0; i < 8; i++) {
    const byte = number.getUint8(i);
    push(negative ? ~byte & 0xff : i === 0 ? byte | 0x80 : byte);
  }
}

function pushBigInt(value: bigint): void {
  const negative = value < 0n;
  let hex = (negative ? -value : value).toString(16);
  if (hex.length % 2 === 1) hex = `0${hex}`;
  const length = value === 0n ? 0 : hex.length / 2;
  if (length > MAX_BIGINT_BYTES) refuse(value, `takes bigints of at most ${MAX_BIGINT_BYTES} bytes`);
  push(negative ? NEGATIVE - 1 - length : NEGATIVE + length);
  for (let i = 0; i < length; i++) {
    const byte = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
    push(negative ? ~byte & 0xff : byte);
  }
}

function pushEscaped(source: Uint8Array): void {
  for (const byte of source) {
    push(byte);
    if (byte === 0) push(ESCAPE);
  }
  push(END);
}

function pushElement(value: unknown, depth: number): void {
  if (value === null) push(NULL);
  else if (value === false) push(FALSE);
  else if (value === true) push(TRUE);
  else if (typeof value === 'number') {
    if (Number.isNaN(value)) refuse(value, 'takes numbers that are not NaN');
    push(NUMBER);
    pushNumber(value);
  } else if (typeof value === 'bigint') {
    push(BIGINT);
    pushBigInt(value);
  } else if (typeof value === 'string') {
    if (!isWellFormed(value)) refuse(value, 'takes strings without lone surrogates');
    push(STRING);
    pushEscaped(encoder.encode(value));
  } else if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) refuse(value, 'takes valid dates');
    push(DATE);
    pushNumber(value.getTime());
  } else if (value instanceof Uint8Array) {
    push(BYTES);
    pushEscaped(value);
  } else if (Array.isArray(value)) {
    if (depth === MAX_DEPTH) refuse(value, `is nested at most ${MAX_DEPTH} deep`);
    push(TUPLE);
    for (const element of value) pushElement(element, depth + 1);
    push(END);
  } else {
    refuse(value, 'holds null, booleans, numbers, bigints, dates, strings, Uint8Arrays and arrays of these');
  }
}

const LONE_SURROGATE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

/** Whether a string has no lone surrogates, which UTF-8 cannot hold. */
export function isWellFormed(text: string): boolean {
  return !LONE_SURROGATE.test(text);
}

/** A tuple's bytes; valid until the next call. @throws ERR_KEY */
export function encodeTuple(tuple: unknown): Uint8Array {
  if (!Array.isArray(tuple)) {
    throw new SabtreeError('ERR_KEY', `key must be an array, got ${show(tuple)}`, tuple);
  }
  bytes.length = 0;
  for (const element of tuple) pushElement(element, 1);
  return bytes.list.subarray(0, bytes.length);
}

/** Reads the elements of tuples from bytes. */
class Reader {
  private readonly source: Uint8Array;
  private at = 0;

  constructor(source: Uint8Array) {
    this.source = source;
  }

  /** Elements up to the end of the tuple or of the bytes. */
  elements(): TupleElement[] {
    const list: TupleElement[] = [];
    while (this.at < this.source.length && this.source[this.at] !== END) list.push(this.element());
    this.at++;
    return list;
  }

  private element(): TupleElement {
    const tag = this.source[this.at++];
    if (tag === NULL) return null;
    if (tag === FALSE) return false;
    if (tag === TRUE) return true;
    if (tag === NUMBER) return this.number();
    if (tag === DATE) return new Date(this.number());
    if (tag === BIGINT) return this.bigint();
    if (tag === STRING) return decoder.decode(this.escaped());
    if (tag === BYTES) return this.escaped();
    if (tag === TUPLE) return this.elements();
    throw new SabtreeError('ERR_CORRUPT', `no element of a tuple begins with byte ${tag}`, tag);
  }

  private number(): number {
    const positive = this.source[this.at] >= 0x80;
    for (let i = 0; i < 8; i++) {
      const byte = this.source[this.at++];
      number.setUint8(i, positive ? (i === 0 ? byte & 0x7f : byte) : ~byte & 0xff);
    }
    return number.getFloat64(0);
  }

  private bigint(): bigint {
    const head = this.source[this.at++];
    const negative = head < NEGATIVE;
    const length = negative ? NEGATIVE - 1 - head : head - NEGATIVE;
    let value = 0n;
    for (let i = 0; i < length; i++) {
      const byte = this.source[this.at++];
      value = (value << 8n) | BigInt(negative ? ~byte & 0xff : byte);
    }
    return negative ? -value : value;
  }

  private escaped(): Uint8Array {
    const { source } = this;
    const list: number[] = [];
    for (;;) {
      const byte = source[this.at++];
      if (byte === undefined) break;
      if (byte === END) {
        if (source[this.at] !== ESCAPE) break;
        this.at++;
      }
      list.push(byte);
    }
    return Uint8Array.from(list);
  }
}

/** The tuple of bytes that `encodeTuple` made. */
export function decodeTuple(source: Uint8Array): TupleElement[] {
  return new Reader(source).elements();
}
