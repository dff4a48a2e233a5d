/**
 * Snapshots as bytes: a header with everything that can be said beforehand, the entries in the order of their keys, and a
 * footer. Nothing in it depends on how nodes are laid out. (frames.ts has the frames.)
 */
import { SabtreeError } from '../../engine/errors.ts';
import { LAYOUT_VERSION } from '../../layout/tree-memory.ts';
import type { Piece } from '../entries.ts';
import type { Files, Source } from './files.ts';
import {
  checkFormat,
  FORMAT,
  FRAME_ENTRIES,
  FRAME_FOOTER,
  FRAME_HEADER,
  FRAME_SNAPSHOT,
  type Frame,
  findFrame,
  frameSize,
  readFrame,
  type Schema,
  sealFrame,
  textFrame,
  textOf,
} from './frames.ts';

/** What a snapshot says of itself. */
export interface SnapshotInfo {
  /** Version of the file format. */
  readonly format: number;
  /** Version of the memory layout of the store that made it; nothing in the file depends on it. */
  readonly layout: number;
  /** Type of the keys. */
  readonly key: string;
  /** A scalar's name, or the signature of a schema; `blob:` stands before types that vary in length. */
  readonly value: string;
  /** Bytes of a value in a leaf; 0 if they vary in length. */
  readonly valueSize: number;
  /** Number of entries. */
  readonly entries: number;
  /** What `SharedTree.digest` answers for this content. */
  readonly digest: bigint;
  /** Its place in the order: number of the multicast that cut it. */
  readonly cut: number;
  /** Commands of the store's log that it contains; undefined in a store without a log. */
  readonly position: number | undefined;
  /** When it was made, as an ISO time. */
  readonly created: string;
}

/** Content at a cut, copied. */
export interface Content {
  readonly pieces: readonly Piece[];
  readonly entries: number;
  readonly digest: bigint;
}

/** Describes a snapshot that is made now. */
export function describe(
  schema: Schema,
  { entries, digest }: Content,
  cut: number,
  position: number | undefined,
): SnapshotInfo {
  const created = new Date().toISOString();
  return { format: FORMAT, layout: LAYOUT_VERSION, ...schema, entries, digest, cut, position, created };
}

/** The bytes of a snapshot, frame by frame; each is to be used before the next one is asked for. */
export function* snapshotFrames(info: SnapshotInfo, pieces: readonly Piece[]): Generator<Uint8Array> {
  yield textFrame(
    FRAME_SNAPSHOT,
    { kind: 'snapshot', ...info, digest: info.digest.toString(16).padStart(16, '0') },
    0,
    0,
  );
  let room = new Uint8Array(0);
  let entries = 0;
  for (const { keys, values, count } of pieces) {
    if (count === 0) continue;
    const valuesAt = 8 + ((keys.length + 7) & ~7);
    const bytes = valuesAt + values.length;
    if (room.length < frameSize(bytes)) room = new Uint8Array(frameSize(bytes));
    const body = room.subarray(FRAME_HEADER, FRAME_HEADER + bytes);
    const view = new DataView(body.buffer, body.byteOffset, 8);
    view.setUint32(0, count, true);
    view.setUint32(4, keys.length, true);
    body.set(keys, 8);
    body.fill(0, 8 + keys.length, valuesAt);
    body.set(values, valuesAt);
    yield sealFrame(room, FRAME_ENTRIES, bytes, entries, 0);
    entries += count;
  }
  yield textFrame(FRAME_FOOTER, { kind: 'end', entries }, entries, 0);
}

/**
 * Writes a snapshot into a file that nobody sees before it is whole and on the disk.
 * @returns its bytes. @throws ERR_IO, and then nothing has changed
 */
export function writeSnapshot(files: Files, path: string, info: SnapshotInfo, pieces: readonly Piece[]): number {
  const aside = `${path}-${Math.random().toString(36).slice(2)}.tmp`;
  const file = files.create(aside);
  if (file === undefined) throw new SabtreeError('ERR_IO', `${aside} is there already`, { file: aside });
  let bytes = 0;
  try {
    try {
      for (const frame of snapshotFrames(info, pieces)) {
        file.write(frame);
        bytes += frame.length;
      }
      file.sync();
    } finally {
      file.close();
    }
    if (!files.rename(aside, path)) throw new SabtreeError('ERR_IO', `${aside} is gone`, { file: aside });
  } catch (error) {
    files.remove(aside);
    throw error;
  }
  files.syncDirectory(files.parent(path));
  return bytes;
}

function corrupt(source: Source, offset: number, what: string): SabtreeError {
  const value = { file: source.name, offset };
  return new SabtreeError('ERR_SNAPSHOT_CORRUPT', `${source.name}: ${what} at offset ${offset}`, value);
}

/** Reads a snapshot. */
export class SnapshotReader {
  readonly info: SnapshotInfo;
  private readonly source: Source;
  private readonly from: number;

  /**
   * Reads the header.
   * @param wanted what the store's keys and values are; undefined: whatever they are.
   * @throws ERR_SNAPSHOT_CORRUPT, ERR_LAYOUT_VERSION, ERR_SCHEMA_MISMATCH, ERR_IO
   */
  constructor(source: Source, wanted: Schema | undefined) {
    this.source = source;
    const frame = readFrame(source, 0);
    if (frame === undefined || frame.kind !== FRAME_SNAPSHOT) {
      const damaged = findFrame(source, 0, ({ kind }) => kind === FRAME_ENTRIES || kind === FRAME_FOOTER) !== undefined;
      throw corrupt(source, 0, damaged ? 'the header is damaged' : 'this is not a snapshot: no header');
    }
    const text = textOf(frame);
    if (text === undefined) throw corrupt(source, 0, 'the header is not readable');
    checkFormat(source.name, text, wanted);
    this.info = {
      ...(text as unknown as SnapshotInfo),
      digest: BigInt(`0x${String(text.digest)}`),
      position: text.position as number | undefined,
    };
    this.from = frame.end;
  }

  /**
   * The entries, in the order of their keys; each piece is to be used before the next one is asked for.
   * @throws ERR_SNAPSHOT_CORRUPT if anything is missing or changed; ERR_IO
   */
  *pieces(): Generator<Piece> {
    const { source, info } = this;
    let entries = 0;
    for (let at = this.from; ; ) {
      const frame = readFrame(source, at);
      if (frame === undefined) {
        throw corrupt(source, at, at >= source.size ? 'the end is missing' : 'what stands there is damaged');
      }
      if (frame.sequence !== entries) throw corrupt(source, at, `entry ${frame.sequence} instead of ${entries}`);
      if (frame.kind === FRAME_FOOTER) {
        if (entries !== info.entries) throw corrupt(source, at, `${entries} entries instead of ${info.entries}`);
        if (frame.end !== source.size) throw corrupt(source, frame.end, 'something stands behind the end');
        return;
      }
      const piece = frame.kind === FRAME_ENTRIES ? pieceOf(frame) : undefined;
      if (piece === undefined) throw corrupt(source, at, 'a frame that cannot be');
      entries += piece.count;
      at = frame.end;
      yield piece;
    }
  }
}

function pieceOf({ body }: Frame): Piece | undefined {
  if (body.length < 8) return undefined;
  const view = new DataView(body.buffer, body.byteOffset, 8);
  const count = view.getUint32(0, true);
  const bytes = view.getUint32(4, true);
  const valuesAt = 8 + ((bytes + 7) & ~7);
  if (valuesAt > body.length) return undefined;
  return { keys: body.subarray(8, 8 + bytes), values: body.subarray(valuesAt), count };
}
