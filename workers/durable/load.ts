/**
 * Loading a replica before it begins: a snapshot goes into its empty tree, and what the log has behind it is carried out
 * as the replica's threads would carry it out, one command after the other.
 */
import { files } from '#platform';
import type { Attachment } from '../../engine/attachment.ts';
import { SabtreeError } from '../../engine/errors.ts';
import { treeDigest, treeSize } from '../../engine/stats.ts';
import { OP_LAST_POINT, OPERATION_CODE, OPERATION_GROUPS } from '../../layout/operation.ts';
import { Applier, allocate } from '../applier.ts';
import type { CallRunner } from '../call-runner.ts';
import { loadEntries } from '../entries.ts';
import type { ReplySink } from '../replies.ts';
import type { Streams } from '../streams.ts';
import { FileSource, MemorySource, type Source } from './files.ts';
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

/** Loads a replica. @param calls runs the user-defined commands of the log. @throws ERR_SNAPSHOT_CORRUPT, ERR_LOG_CORRUPT, ERR_MEMORY_EXHAUSTED, ERR_IO */
export function loadReplica(
  streams: Streams,
  attachment: Attachment,
  replica: number,
  plan: LoadPlan,
  calls: CallRunner,
): void {
  if (plan.snapshot !== undefined) {
    const source = snapshotSource(plan.snapshot);
    try {
      loadSnapshot(attachment, source);
    } finally {
      source.close();
    }
  }
  if (plan.largest === 0) return;
  const room = Math.max(PIECE, plan.largest);
  const area = allocate(attachment, room);
  const applier = new Applier(streams, attachment, replica, 0, calls);
  for (const { file, bytes } of plan.segments) {
    const source = new FileSource(files, file, bytes);
    try {
      const report = scanSegment(source, undefined, ({ body }) => carryOut(applier, area, room, body));
      if (report?.bytes !== bytes) throw logCorrupt(file, report?.bytes ?? 0, 'it was changed while it was read');
    } finally {
      source.close();
    }
  }
  applier.counters.fill(0);
}

/** Carries a frame's commands out. */
function carryOut(applier: Applier, area: number, room: number, body: Uint8Array): void {
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
  eachRecord(body, (at, bytes) => {
    if (filled + bytes > room) run();
    memory.set(body.subarray(at, at + bytes), area + filled);
    // One thread carries everything out, so it need not stop where others would have to be waited for.
    if (memory[area + filled + OPERATION_CODE] <= OP_LAST_POINT) words[(area + filled + OPERATION_GROUPS) >> 2] = 0;
    filled += bytes;
  });
  run();
}
