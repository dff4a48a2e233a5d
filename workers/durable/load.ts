/**
 * Loading a replica before it begins: a snapshot goes into its empty tree, and what the log has behind it is carried out
 * as the replica's threads would carry it out, one command after the other.
 */
import { files } from '#platform';
import type { Attachment } from '../../engine/attachment.ts';
import { BlobRegister } from '../../engine/blobs.ts';
import { SabtreeError } from '../../engine/errors.ts';
import { RangeWalk, rangeOf } from '../../engine/range.ts';
import { treeDigest, treeSize } from '../../engine/stats.ts';
import { OP_LAST_POINT, OPERATION_CODE, OPERATION_GROUPS } from '../../layout/operation.ts';
import { Applier, allocate } from '../applier.ts';
import type { CallRunner } from '../call-runner.ts';
import { loadEntries } from '../entries.ts';
import type { ReplySink } from '../replies.ts';
import type { Streams } from '../streams.ts';
import { scannedBytes } from '../tree-bytes.ts';
import { FileSource, MemorySource, type Source } from './files.ts';
import { FRAME_COMMANDS, type Frame } from './frames.ts';
import { eachRecord, type LoadPlan, logCorrupt, scanSegment } from './recovery.ts';
import { SnapshotReader } from './snapshot.ts';

/** Bytes of commands carried out together, at least. */
const PIECE = 65536;

/** Nobody waits for answers to what was answered before. */
const NO_REPLIES: ReplySink = {
  answers: false,
  flush() {},
  reply() {},
};

/** Where a plan's snapshot is read from. */
export function snapshotSource(snapshot: NonNullable<LoadPlan['snapshot']>): Source {
  return 'file' in snapshot ? new FileSource(files, snapshot.file) : new MemorySource(snapshot.bytes);
}

/**
 * Loads a snapshot into an empty tree, and compares what came of it with what was saved.
 * @throws ERR_SNAPSHOT_CORRUPT, ERR_MEMORY_EXHAUSTED, ERR_IO
 */
export function loadSnapshot(attachment: Attachment, source: Source): void {
  const { info, pieces } = readerOf(source);
  loadEntries(attachment, pieces, () => {});
  const digest = treeDigest(attachment);
  if (digest === info.digest && treeSize(attachment) === info.entries) return;
  throw new SabtreeError('ERR_SNAPSHOT_CORRUPT', `${source.name}: its content has another digest than it had`, {
    file: source.name,
    offset: 0,
  });
}

function readerOf(source: Source) {
  const reader = new SnapshotReader(source, undefined);
  return { info: reader.info, pieces: reader.pieces() };
}

/**
 * Loads a replica.
 * @param calls runs the user-defined commands of the log. @param longest most bytes of a value.
 * @throws ERR_SNAPSHOT_CORRUPT, ERR_LOG_CORRUPT, ERR_MEMORY_EXHAUSTED, ERR_IO; ERR_TOO_LARGE for a value that is longer
 */
export function loadReplica(
  streams: Streams,
  attachment: Attachment,
  replica: number,
  plan: LoadPlan,
  calls: CallRunner,
  longest: number,
): void {
  if (plan.snapshot !== undefined) {
    const source = snapshotSource(plan.snapshot);
    try {
      loadSnapshot(attachment, source);
    } finally {
      source.close();
    }
  }
  if (plan.largest > 0) replay(streams, attachment, replica, plan, calls);
  refuseLonger(attachment, longest);
}

/** Carries out what stands in the segments. */
function replay(streams: Streams, attachment: Attachment, replica: number, plan: LoadPlan, calls: CallRunner): void {
  const room = Math.max(PIECE, plan.largest);
  const givenUp = new Set(plan.givenUp);
  const area = allocate(attachment, room);
  const applier = new Applier(streams, attachment, replica, 0, calls);
  // The register notes how long values are, for refuseLonger.
  applier.pointsInCore = !(attachment.value instanceof BlobRegister);
  for (const { file, bytes } of plan.segments) {
    const source = new FileSource(files, file, bytes);
    try {
      const report = scanSegment(source, undefined, (frame) => {
        if (frame.kind === FRAME_COMMANDS) carryOut(applier, area, room, frame, givenUp);
      });
      if (report?.bytes !== bytes) throw logCorrupt(file, report?.bytes ?? 0, 'it was changed while it was read');
    } finally {
      source.close();
    }
  }
  applier.counters.fill(0);
}

/**
 * Clients keep room for the longest value that may be answered, so none must be longer; what wrote the files may have taken
 * longer ones. (If it did and they are no more, that is well.)
 */
function refuseLonger(attachment: Attachment, longest: number): void {
  const { value } = attachment;
  if (!(value instanceof BlobRegister) || value.longest <= longest) return;
  const walk = new RangeWalk(attachment, rangeOf());
  while (walk.advance()) {
    for (let i = 0; i < walk.count; i++) {
      const { length } = scannedBytes(attachment, walk.values, i);
      if (length <= longest) continue;
      throw new SabtreeError(
        'ERR_TOO_LARGE',
        `what is loaded has a value of ${length} bytes, at most ${longest} are taken: see the option maxValue`,
        length,
      );
    }
  }
}

/** Carries a frame's commands out. @param givenUp numbers of those that are passed over. */
function carryOut(
  applier: Applier,
  area: number,
  room: number,
  { body, sequence }: Frame,
  givenUp: ReadonlySet<number>,
): void {
  const { memory, words } = applier;
  let filled = 0;
  const run = () => {
    for (let at = 0; at < filled; ) {
      at += applier.apply(area + at, (filled - at) >> 6, 0, 0, NO_REPLIES) << 6;
      if (at === filled) break;
      at += applier.alone(area + at, (filled - at) >> 6, 0, NO_REPLIES) << 6;
    }
    filled = 0;
  };
  let number = sequence;
  eachRecord(body, (at, bytes) => {
    if (givenUp.has(number++)) return;
    if (filled + bytes > room) run();
    memory.set(body.subarray(at, at + bytes), area + filled);
    // One thread carries everything out, so it need not stop where others would have to be waited for.
    if (memory[area + filled + OPERATION_CODE] <= OP_LAST_POINT) words[(area + filled + OPERATION_GROUPS) >> 2] = 0;
    filled += bytes;
  });
  run();
}
