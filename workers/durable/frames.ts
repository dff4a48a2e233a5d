/**
 * What snapshots and the log consist of on disk: frames, each with a checksum, one behind the other.
 *
 * ```
 *   0       4      8       12      16         24       32
 *   +-------+------+-------+-------+----------+--------+----------------------------
 *   | magic | kind | bytes | crc   | sequence | safe   | body, padded to 32 bytes
 *   +-------+------+-------+-------+----------+--------+----------------------------
 * ```
 *
 * `bytes` is the body's length. `crc` is CRC-32C of the header without itself, and of the body with its padding. `sequence`
 * counts what stands in the frames before (commands of the log, entries of a snapshot). `safe` says up to which offset of
 * the file everything was on the disk when the frame was written: so it can be told whether a place that cannot be read
 * had ever been promised. Words are little-endian; frames begin at multiples of 32.
 */
import { SabtreeError } from '../../engine/errors.ts';
import type { KeyType } from '../../engine/keys.ts';
import { crc32c } from './crc32c.ts';
import type { Source } from './files.ts';

/** "sbf1". */
const MAGIC = 0x31666273;
export const FRAME_HEADER = 32;
/** Frames begin at multiples of this. */
const ALIGN = 32;
const KIND = 4;
const BYTES = 8;
const CRC = 12;
const SEQUENCE = 16;
const SAFE = 24;
/** No body is longer: a length that says so is wrong. */
const MOST = 1 << 30;

/** Kinds of frames. The header of a snapshot and of a segment of the log: JSON. */
export const FRAME_SNAPSHOT = 1;
export const FRAME_SEGMENT = 2;
/** Entries: their count and the bytes of all keys (u32 each), the keys, padding to 8, the values. */
export const FRAME_ENTRIES = 3;
/** The last one of a snapshot: JSON. */
export const FRAME_FOOTER = 4;
/** Commands: records of layout/operation.ts, one behind the other. */
export const FRAME_COMMANDS = 5;
/** The log was closed in order. */
export const FRAME_CLOSED = 6;
/** User-defined commands before it that were given up: for each its group and its position, u32, as its record has them. */
export const FRAME_GIVEN_UP = 7;
/** Bytes of one. */
export const GIVEN_UP_ENTRY = 8;

/** Version of the formats of snapshots and the log, the records in it included. */
export const FORMAT = 1;

/** Bytes a frame takes in the file. */
export function frameSize(bytes: number): number {
  return (FRAME_HEADER + bytes + ALIGN - 1) & ~(ALIGN - 1);
}

function putLong(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 4294967296, true);
  view.setUint32(at + 4, Math.floor(value / 4294967296), true);
}

function getLong(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 4294967296;
}

/** The checksum of a whole frame. */
function checksum(frame: Uint8Array): number {
  return crc32c(frame.subarray(SEQUENCE), crc32c(frame.subarray(0, CRC)));
}

/**
 * Makes a frame of a body that stands in `room` behind the place of the header.
 * @returns the frame.
 */
export function sealFrame(room: Uint8Array, kind: number, bytes: number, sequence: number, safe: number): Uint8Array {
  const frame = room.subarray(0, frameSize(bytes));
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  frame.fill(0, FRAME_HEADER + bytes);
  view.setUint32(0, MAGIC, true);
  view.setUint32(KIND, kind, true);
  view.setUint32(BYTES, bytes, true);
  putLong(view, SEQUENCE, sequence);
  putLong(view, SAFE, safe);
  view.setUint32(CRC, checksum(frame), true);
  return frame;
}

/** A frame of a JSON text. */
export function textFrame(kind: number, content: object, sequence: number, safe: number): Uint8Array {
  const text = new TextEncoder().encode(JSON.stringify(content));
  const room = new Uint8Array(frameSize(text.length));
  room.set(text, FRAME_HEADER);
  return sealFrame(room, kind, text.length, sequence, safe);
}

/** A frame as it was read. */
export interface Frame {
  readonly kind: number;
  readonly sequence: number;
  readonly safe: number;
  /** Offsets of the frame and of what stands behind it. */
  readonly at: number;
  readonly end: number;
  /** To be used before the source is read again. */
  readonly body: Uint8Array;
}

/** The frame at an offset; undefined if there is no whole one. */
export function readFrame(source: Source, at: number): Frame | undefined {
  if (at + FRAME_HEADER > source.size) return undefined;
  const head = source.bytes(at, FRAME_HEADER);
  const bytes = new DataView(head.buffer, head.byteOffset, FRAME_HEADER).getUint32(BYTES, true);
  if (new DataView(head.buffer, head.byteOffset, 4).getUint32(0, true) !== MAGIC || bytes > MOST) return undefined;
  const size = frameSize(bytes);
  if (at + size > source.size) return undefined;
  const frame = source.bytes(at, size);
  const view = new DataView(frame.buffer, frame.byteOffset, size);
  if (view.getUint32(CRC, true) !== checksum(frame)) return undefined;
  return {
    kind: view.getUint32(KIND, true),
    sequence: getLong(view, SEQUENCE),
    safe: getLong(view, SAFE),
    at,
    end: at + size,
    body: frame.subarray(FRAME_HEADER, FRAME_HEADER + bytes),
  };
}

/** The first whole frame at or behind an offset that fits; undefined if there is none. */
export function findFrame(source: Source, from: number, fits: (frame: Frame) => boolean): Frame | undefined {
  for (let at = Math.ceil(from / ALIGN) * ALIGN; at + FRAME_HEADER <= source.size; at += ALIGN) {
    const word = source.bytes(at, 4);
    if ((word[0] | (word[1] << 8) | (word[2] << 16) | (word[3] << 24)) !== MAGIC) continue;
    const frame = readFrame(source, at);
    if (frame !== undefined && fits(frame)) return frame;
  }
  return undefined;
}

/** The JSON of a frame; undefined if it has none. */
export function textOf(frame: Frame): Record<string, unknown> | undefined {
  try {
    // A copy: TextDecoder takes no shared memory.
    const content: unknown = JSON.parse(new TextDecoder().decode(frame.body.slice()));
    return typeof content === 'object' && content !== null ? (content as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** What keys and values are, as files say it. */
export interface Schema {
  readonly key: KeyType;
  /** A scalar's name, or the signature of records. */
  readonly value: string;
  /** Bytes of a value. */
  readonly valueSize: number;
}

/** What people call a type of values, of which files have the signature. */
export function valueName(signature: string): string {
  return signature.replace(/^blob:/, '');
}

/**
 * Compares what a file says of itself with what is wanted.
 * @throws ERR_LAYOUT_VERSION: another format; ERR_SCHEMA_MISMATCH: other keys or values.
 */
export function checkFormat(name: string, found: Record<string, unknown>, wanted: Schema | undefined): void {
  if (found.format !== FORMAT) {
    throw new SabtreeError(
      'ERR_LAYOUT_VERSION',
      `${name} has format ${String(found.format)}, this version of sabtree reads format ${FORMAT}`,
      found.format,
    );
  }
  if (wanted === undefined) return;
  for (const part of ['key', 'value', 'valueSize'] as const) {
    if (found[part] === wanted[part]) continue;
    throw new SabtreeError(
      'ERR_SCHEMA_MISMATCH',
      `${name} has ${part} ${valueName(String(found[part]))}, the store ${valueName(String(wanted[part]))}`,
      found[part],
    );
  }
}
