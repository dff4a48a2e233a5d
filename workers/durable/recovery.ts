/**
 * What is in a log's directory: which snapshot and which segments make up the content, and where the log goes on.
 *
 * What was promised must be there: every segment but the last one is followed by one that tells its length, and every
 * frame tells up to where the file was on the disk when it was written. So a place that cannot be read was either
 * promised, and then it is refused, or it is the end of what came through when the process or the machine stopped, and is
 * cut off.
 */
import { SabtreeError } from '../../engine/errors.ts';
import {
  OP_CALL,
  OPERATION_CODE,
  OPERATION_FLAGS,
  OPERATION_RUN,
  OPERATION_SLOTS,
  OPERATION_WATCHED_GROUP,
  SLOT,
} from '../../layout/operation.ts';
import type { Piece } from '../entries.ts';
import { FileSource, type Files, type Source } from './files.ts';
import {
  checkFormat,
  FRAME_CLOSED,
  FRAME_COMMANDS,
  FRAME_GIVEN_UP,
  FRAME_SEGMENT,
  type Frame,
  findFrame,
  GIVEN_UP_ENTRY,
  readFrame,
  type Schema,
  textOf,
} from './frames.ts';
import { type LogStart, parseName, segmentName, snapshotName } from './log.ts';
import { type SnapshotInfo, SnapshotReader, writeSnapshot } from './snapshot.ts';

/** The end of a log that did not come through. */
export interface TornTail {
  /** Name of the file. */
  readonly file: string;
  /** Offset from which it was cut off. */
  readonly offset: number;
  /** Bytes cut off. */
  readonly bytes: number;
}

/** A segment as far as it counts. */
export interface SegmentPart {
  readonly file: string;
  readonly bytes: number;
}

/** What a replica is loaded with before it begins. */
export interface LoadPlan {
  /** A snapshot, in a file or in memory. */
  readonly snapshot?: { readonly file: string } | { readonly bytes: Uint8Array };
  /** Segments to carry out behind it, in order. */
  readonly segments: readonly SegmentPart[];
  /** Bytes of the largest command in them. */
  readonly largest: number;
  /** Numbers of the commands in them that were given up: they changed nothing. */
  readonly givenUp: readonly number[];
}

/** What recovery found. */
export interface Recovery {
  readonly plan: LoadPlan;
  readonly start: LogStart;
  /** Commands to carry out behind the snapshot. */
  readonly replayed: number;
  readonly torn: TornTail | undefined;
}

/** A refusal of what should be there. */
export function logCorrupt(file: string, offset: number, what: string): SabtreeError {
  return new SabtreeError('ERR_LOG_CORRUPT', `${file}: ${what} at offset ${offset}`, { file, offset });
}

/** Calls back with each record of a frame of commands: its offset in the body and its bytes. False if they do not fill it. */
export function eachRecord(body: Uint8Array, visit: (at: number, bytes: number) => void): boolean {
  let at = 0;
  while (at < body.length) {
    const bytes = (body[at + OPERATION_SLOTS] | (body[at + OPERATION_SLOTS + 1] << 8)) * SLOT;
    if (bytes === 0 || at + bytes > body.length) return false;
    visit(at, bytes);
    at += bytes;
  }
  return true;
}

/** What a segment is found to hold. */
export interface SegmentReport {
  readonly header: Record<string, unknown>;
  /** Commands before it, and in it. */
  readonly first: number;
  readonly commands: number;
  readonly frames: number;
  /** Bytes that are whole frames in order. */
  readonly bytes: number;
  /** It ends with the mark of a log that was closed in order. */
  readonly closed: boolean;
  readonly largest: number;
  /** Notes of commands that were given up. */
  readonly givenUp: number;
}

/**
 * Reads a segment as far as it is whole.
 * @param visit called with each frame of commands, and with each of those that were given up.
 * @returns undefined if it has no header.
 * @throws ERR_LAYOUT_VERSION, ERR_SCHEMA_MISMATCH; ERR_LOG_CORRUPT if whole frames do not belong together.
 */
export function scanSegment(
  source: Source,
  wanted: Schema | undefined,
  visit?: (frame: Frame) => void,
): SegmentReport | undefined {
  const head = readFrame(source, 0);
  const header = head?.kind === FRAME_SEGMENT ? textOf(head) : undefined;
  if (head === undefined || header === undefined) return undefined;
  checkFormat(source.name, header, wanted);
  const first = head.sequence;
  let commands = 0;
  let frames = 0;
  let largest = 0;
  let givenUp = 0;
  let closed = false;
  let at = head.end;
  for (let frame = readFrame(source, at); frame !== undefined; frame = readFrame(source, at)) {
    const expected = first + commands;
    if (frame.sequence !== expected) {
      throw logCorrupt(source.name, at, `command ${frame.sequence} instead of ${expected}`);
    }
    if (closed) throw logCorrupt(source.name, at, 'something behind the end');
    if (frame.kind === FRAME_COMMANDS) {
      const whole = eachRecord(frame.body, (_, bytes) => {
        commands++;
        largest = Math.max(largest, bytes);
      });
      if (!whole) throw logCorrupt(source.name, at, 'records that cannot be');
      frames++;
      visit?.(frame);
    } else if (frame.kind === FRAME_GIVEN_UP) {
      givenUp += frame.body.length / GIVEN_UP_ENTRY;
      visit?.(frame);
    } else if (frame.kind === FRAME_CLOSED) closed = true;
    else throw logCorrupt(source.name, at, 'a frame that cannot be');
    at = frame.end;
  }
  return { header, first, commands, frames, bytes: at, closed, largest, givenUp };
}

/** A command's place in the order of the store that it was given to, as its record has it in the log: a number of its own. */
function placeOf(group: number, position: number): number {
  return group * 2 ** 32 + (position >>> 0);
}

/** Calls back with the places of the commands that a frame says were given up. */
function eachGivenUp({ body }: Frame, visit: (place: number) => void): void {
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  for (let at = 0; at + GIVEN_UP_ENTRY <= body.length; at += GIVEN_UP_ENTRY) {
    visit(placeOf(view.getUint32(at, true), view.getInt32(at + 4, true)));
  }
}

/**
 * Numbers of the commands that were given up. A note stands behind its command, and names its place; of several commands that
 * had it, in different lives of the store, the last one before the note is meant.
 */
function findGivenUp(files: Files, parts: readonly SegmentPart[]): number[] {
  const scan = (visit: (frame: Frame) => void) => {
    for (const { file, bytes } of parts) {
      const source = new FileSource(files, file, bytes);
      try {
        scanSegment(source, undefined, visit);
      } finally {
        source.close();
      }
    }
  };
  /** For each place that is named, the last command that had it. */
  const last = new Map<number, number>();
  scan((frame) => {
    if (frame.kind === FRAME_GIVEN_UP) eachGivenUp(frame, (place) => last.set(place, -1));
  });
  const found = new Set<number>();
  scan((frame) => {
    const { body } = frame;
    if (frame.kind === FRAME_GIVEN_UP) eachGivenUp(frame, (place) => found.add(last.get(place) as number));
    if (frame.kind !== FRAME_COMMANDS) return;
    const view = new DataView(body.buffer, body.byteOffset, body.length);
    let number = frame.sequence;
    eachRecord(body, (at) => {
      if (body[at + OPERATION_CODE] === OP_CALL) {
        const group = body[at + OPERATION_FLAGS] & OPERATION_WATCHED_GROUP;
        const place = placeOf(group, view.getInt32(at + OPERATION_RUN, true));
        if (last.has(place)) last.set(place, number);
      }
      number++;
    });
  });
  // What stood before the snapshot needs no note.
  found.delete(-1);
  return [...found];
}

/**
 * Whether what stands behind the whole frames of the last segment was ever promised: some frame behind it says so. (It may
 * also be part of a value: somebody's copy of a log. What such a frame says of itself does not fit its place.)
 * @throws ERR_LOG_CORRUPT if it was.
 */
export function checkTail(source: Source, { bytes, first, commands }: SegmentReport): void {
  const fits = ({ safe, at, sequence }: Frame) => safe > bytes && safe <= at && sequence >= first + commands;
  const proof = findFrame(source, bytes, fits);
  if (proof === undefined) return;
  throw logCorrupt(source.name, bytes, `something is damaged that was safe (by the frame at ${proof.at})`);
}

/**
 * Finds out what a log's directory holds, cuts off a torn tail, and removes what a newer snapshot covers. The caller has
 * the directory's lock.
 * @throws ERR_LOG_CORRUPT, ERR_SNAPSHOT_CORRUPT, ERR_LAYOUT_VERSION, ERR_SCHEMA_MISMATCH, and then nothing has changed; ERR_IO
 */
export function recover(files: Files, directory: string, schema: Schema): Recovery {
  const names = files.list(directory);
  const parsed = names.flatMap((name) => parseName(name) ?? []);
  const snapshots = parsed.filter(({ kind }) => kind === 'snapshot').map(({ segment }) => segment);
  const base = snapshots.length === 0 ? 1 : Math.max(...snapshots);
  const snapshot = snapshots.length === 0 ? undefined : files.join(directory, snapshotName(base));
  const position = snapshot === undefined ? 0 : positionOf(files, snapshot, schema);
  const segments = parsed
    .filter(({ kind, segment }) => kind === 'log' && segment >= base)
    .map(({ segment }) => segment)
    .sort((a, b) => a - b);
  const found = readSegments(files, directory, schema, segments);
  // Whatever is there must begin where the snapshot ends, or at the beginning of all.
  if ((snapshot !== undefined || found.first !== undefined) && found.first !== base) {
    const what = snapshot === undefined ? 'neither it nor a snapshot behind it is there' : 'it is missing';
    throw logCorrupt(files.join(directory, segmentName(base)), 0, what);
  }
  if (found.first !== undefined && found.from !== position) {
    throw logCorrupt(files.join(directory, segmentName(base)), 0, `command ${found.from} instead of ${position}`);
  }
  const covered = parsed.filter(({ segment }) => segment < base);
  // It was whole when it was named. If it is not any more, what it covers may be all that is left.
  if (snapshot !== undefined && covered.length > 0) checkSnapshot(files, snapshot);
  for (const name of names) if (name.endsWith('.tmp')) files.remove(files.join(directory, name));
  cutTail(files, found);
  // A snapshot that was named, but not for good yet, must not lose what it covers before.
  if (parsed.length > 0) files.syncDirectory(directory);
  for (const { kind, segment } of covered) {
    files.remove(files.join(directory, kind === 'log' ? segmentName(segment) : snapshotName(segment)));
  }
  const { parts, commands, largest, torn } = found;
  const givenUp = found.givenUp === 0 ? [] : findGivenUp(files, parts);
  return {
    plan: { ...(snapshot !== undefined && { snapshot: { file: snapshot } }), segments: parts, largest, givenUp },
    start: {
      directory,
      segment: base + parts.length,
      commands: position + commands,
      previous: parts.at(-1)?.bytes ?? -1,
      segments: parts.length,
      behind: parts.reduce((sum, { bytes }) => sum + bytes, 0),
    },
    replayed: commands,
    torn,
  };
}

/**
 * Puts a snapshot of everything before a segment into a log's directory, and removes what it covers.
 * @returns the snapshot's bytes. @throws ERR_IO
 */
export function replaceBy(
  files: Files,
  directory: string,
  segment: number,
  info: SnapshotInfo,
  pieces: readonly Piece[],
): number {
  const bytes = writeSnapshot(files, files.join(directory, snapshotName(segment)), info, pieces);
  for (const name of files.list(directory)) {
    const old = parseName(name);
    if (old !== undefined && old.segment < segment) files.remove(files.join(directory, name));
  }
  return bytes;
}

/** Commands in a snapshot of the log's own. */
function positionOf(files: Files, file: string, schema: Schema): number {
  const source = new FileSource(files, file);
  try {
    return new SnapshotReader(source, schema).info.position ?? 0;
  } finally {
    source.close();
  }
}

/** Reads all of a snapshot. @throws ERR_SNAPSHOT_CORRUPT, ERR_IO */
function checkSnapshot(files: Files, file: string): void {
  const source = new FileSource(files, file);
  try {
    for (const _ of new SnapshotReader(source, undefined).pieces());
  } finally {
    source.close();
  }
}

/** Cuts off what did not come through; what is left is on the disk then. */
function cutTail(files: Files, { parts, torn }: FoundSegments): void {
  const last = parts.at(-1);
  // A segment of which not even the header came through: the one before is whole, and on the disk, since it was begun.
  if (torn !== undefined && torn.file !== last?.file) files.remove(torn.file);
  // Also if nothing is cut off: what is found, and shown to anybody, must be on the disk from then on.
  else if (last !== undefined) files.truncate(last.file, last.bytes);
}

interface FoundSegments {
  /** Number of the first one, and commands before it. */
  readonly first: number | undefined;
  readonly from: number;
  readonly parts: readonly SegmentPart[];
  readonly commands: number;
  readonly largest: number;
  /** Notes of commands that were given up. */
  readonly givenUp: number;
  readonly torn: TornTail | undefined;
}

/** Reads all segments, in order; the last one as far as it came through. */
function readSegments(files: Files, directory: string, schema: Schema, segments: readonly number[]): FoundSegments {
  const parts: SegmentPart[] = [];
  let from = 0;
  let commands = 0;
  let largest = 0;
  let givenUp = 0;
  let torn: TornTail | undefined;
  const last = segments.length - 1;
  for (let i = 0; i <= last; i++) {
    const file = files.join(directory, segmentName(segments[i]));
    if (i > 0 && segments[i] !== segments[i - 1] + 1) {
      throw logCorrupt(files.join(directory, segmentName(segments[i - 1] + 1)), 0, 'it is missing');
    }
    const source = new FileSource(files, file);
    let report: SegmentReport | undefined;
    let size: number;
    try {
      size = source.size;
      report = scanSegment(source, schema);
      if (report === undefined) {
        // The last thing that was done was to begin it; nothing can be in it.
        if (i < last || findFrame(source, 0, () => true) !== undefined) {
          throw logCorrupt(file, 0, 'the header is damaged');
        }
        torn = { file, offset: 0, bytes: size };
      } else if (i === last) checkTail(source, report);
    } finally {
      source.close();
    }
    if (report === undefined) break;
    if (i > 0) {
      const before = parts[i - 1];
      if (report.header.previous !== before.bytes) {
        // What it tells of the one before is the promise: that one was whole when this one began.
        throw logCorrupt(
          before.file,
          before.bytes,
          `${String(report.header.previous)} bytes were safe, but there is damage`,
        );
      }
      if (report.first !== from + commands) {
        throw logCorrupt(file, 0, `command ${report.first} instead of ${from + commands}`);
      }
    } else from = report.first;
    if (i === last) {
      if (report.bytes < size) torn = { file, offset: report.bytes, bytes: size - report.bytes };
    } else if (report.bytes < size) throw logCorrupt(file, report.bytes, 'what stands there is damaged');
    parts.push({ file, bytes: report.bytes });
    commands += report.commands;
    largest = Math.max(largest, report.largest);
    givenUp += report.givenUp;
  }
  return { first: parts.length === 0 ? undefined : segments[0], from, parts, commands, largest, givenUp, torn };
}
