/** Bytes that are written one part behind the other, and taken apart again in the same order. */

/** Bytes that grow as they are written. */
export class Bytes {
  private bytes = new Uint8Array(256);
  private end = 0;

  /** One byte. */
  byte(value: number): void {
    this.reserve(1);
    this.bytes[this.end++] = value;
  }

  /** Four bytes, the lowest first. */
  word(value: number): void {
    this.reserve(4);
    for (let shift = 0; shift < 32; shift += 8) this.bytes[this.end++] = value >>> shift;
  }

  /** A length of four bytes, then as many bytes. */
  block(content: Uint8Array): void {
    this.word(content.length);
    this.rest(content);
  }

  /** Bytes without their length: the reader has to know it. */
  rest(content: Uint8Array): void {
    this.reserve(content.length);
    this.bytes.set(content, this.end);
    this.end += content.length;
  }

  /** Bytes written so far. */
  get length(): number {
    return this.end;
  }

  /** Begins anew: what was written before is written over. */
  clear(): void {
    this.end = 0;
  }

  /** What was written so far. */
  get written(): Uint8Array {
    return this.bytes.subarray(0, this.end);
  }

  /** A copy of what was written so far, that nobody else writes to. */
  own(): Uint8Array {
    return ownBytes(this.bytes, this.end);
  }

  private reserve(more: number): void {
    if (this.end + more <= this.bytes.length) return;
    const larger = new Uint8Array(2 * (this.end + more));
    larger.set(this.bytes.subarray(0, this.end));
    this.bytes = larger;
  }
}

/** Bytes of a piece of memory that is cut into many small ones: making each by itself costs more than filling it. */
const SLAB = 65536;
let slab = new Uint8Array(0);
let cut = 0;

/** Up to so many bytes are copied one by one: a view of them costs more. */
const FEW = 64;

/** A copy of the first bytes, that nobody else writes to. */
export function ownBytes(bytes: Uint8Array, length = bytes.length): Uint8Array {
  if (length > SLAB >> 3) return bytes.slice(0, length);
  if (cut + length > slab.length) {
    slab = new Uint8Array(SLAB);
    cut = 0;
  }
  const own = slab.subarray(cut, cut + length);
  if (length > FEW) own.set(bytes.subarray(0, length));
  else for (let i = 0; i < length; i++) own[i] = bytes[i];
  cut += length;
  return own;
}

/** Takes such bytes apart again. */
export class BytesReader {
  private readonly bytes: Uint8Array;
  private at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  /** Whether anything is left. */
  get more(): boolean {
    return this.at < this.bytes.length;
  }

  /** One byte. */
  byte(): number {
    return this.bytes[this.at++];
  }

  /** Four bytes, as an unsigned number. */
  word(): number {
    const { bytes, at } = this;
    this.at += 4;
    return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;
  }

  /** As many bytes as a length before them says. */
  block(): Uint8Array {
    const length = this.word();
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  /** All that is left. */
  rest(): Uint8Array {
    return this.bytes.subarray(this.at);
  }
}
