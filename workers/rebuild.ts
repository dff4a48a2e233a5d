/**
 * The rebuilding of a replica, in its own threads: they begin behind a cut, at which another replica stands still; thread 0
 * copies that one's content, lets it go on, and loads the copy. What comes meanwhile is taken aside (RingReader.hoard),
 * so that neither the other replicas nor the writers wait for the load.
 */
import { Attachment } from '../engine/attachment.ts';
import { SabtreeError } from '../engine/errors.ts';
import type { FixedKeys } from '../engine/key-views.ts';
import { treeDigest } from '../engine/stats.ts';
import type { ValueCodec } from '../engine/values.ts';
import {
  KEPT_ANSWERED,
  KEPT_PLACES,
  KEPT_SIZE,
  KEPT_STATUS,
  STATUS_BUSY,
  STATUS_NO_MEMORY,
  STATUS_TRUE,
} from '../layout/operation.ts';
import { CUT_COPIED, CUT_LOADED, CUT_REACHED, CUT_SOURCE, EXECUTOR_KEPT, STATE_READ_ONLY } from '../layout/streams.ts';
import { BATCH, SCAN_HAS_LOWER, SCAN_LOWER_EXCLUSIVE } from '../layout/tree-memory.ts';
import type { Rebuild } from './models/model.ts';
import type { RingReader } from './ring.ts';
import type { Streams } from './streams.ts';

/** Part of a full node that a loaded one fills: as after random inserts, so that the next ones need no splits. */
const FILL = 0.7;

/** What a thread that joins has. */
export interface JoinParts {
  readonly streams: Streams;
  readonly attachment: Attachment;
  readonly values: ValueCodec;
  readonly replica: number;
  readonly thread: number;
}

/** Entries as they stand in nodes: raw keys and values. */
export interface Piece {
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
  readonly count: number;
}

/**
 * Makes a thread of a replica that is rebuilt ready to execute what stands behind the cut.
 * @returns false if the store is closing or the replica was lost again.
 * @throws ERR_MEMORY_EXHAUSTED, ERR_CORRUPT
 */
export function joinStreams(parts: JoinParts, rebuild: Rebuild, readers: readonly RingReader[]): boolean {
  const { streams, replica, thread } = parts;
  const { words } = streams;
  const { number } = rebuild;
  const going = () => streams.state <= STATE_READ_ONLY && ((streams.alive >>> replica) & 1) !== 0;
  const skipping = new Set(readers);
  for (const reader of readers) reader.rewind();
  const follow = () => {
    for (const reader of skipping) if (reader.skipPast(number)) skipping.delete(reader);
    for (const reader of readers) if (!skipping.has(reader)) reader.hoard();
  };
  const waitFor = (word: number): boolean => {
    for (;;) {
      follow();
      const value = Atomics.load(words, word >> 2);
      if (value === number && skipping.size === 0) return true;
      if (!going()) return false;
      Atomics.wait(words, word >> 2, value, value === number ? 0.2 : 1);
    }
  };
  if (thread !== 0) return waitFor(CUT_LOADED);
  if (!waitFor(CUT_REACHED)) return false;
  const copy = copySource(parts, rebuild, follow);
  Atomics.store(words, CUT_COPIED >> 2, number);
  Atomics.notify(words, CUT_COPIED >> 2);
  loadEntries(parts.attachment, copy.pieces, follow);
  if (treeDigest(parts.attachment) !== copy.digest) {
    throw new SabtreeError('ERR_CORRUPT', `replica ${replica} was loaded with other content than was copied`, replica);
  }
  Atomics.store(words, CUT_LOADED >> 2, number);
  Atomics.notify(words, CUT_LOADED >> 2);
  return going();
}

/** Copies the entries and kept answers of the replica that stands at the cut. */
function copySource(parts: JoinParts, { source }: Rebuild, follow: () => void): { pieces: Piece[]; digest: bigint } {
  const from = new Attachment(source, undefined, parts.values);
  try {
    const pieces = copyEntries(from, follow);
    copyKept(parts, source);
    return { pieces, digest: treeDigest(from) };
  } finally {
    from.detach();
  }
}

/** Copies all entries of a tree that nobody changes. @param follow called after each piece. */
export function copyEntries(from: Attachment, follow: () => void): Piece[] {
  const pieces: Piece[] = [];
  let flags = 0;
  for (;;) {
    const scan = () => from.core.scan(flags, from.scanCapacity);
    from.settle(scan(), scan);
    const { count, scanValues } = from;
    const { raw: keys } = from.scanKeys as FixedKeys;
    const { raw } = scanValues;
    pieces.push({
      keys: new Uint8Array(keys.buffer, keys.byteOffset, count * from.keySize).slice(),
      values: new Uint8Array(raw.buffer, raw.byteOffset, count * from.values.stride).slice(),
      count,
    });
    if (!from.more) return pieces;
    from.key.set(0, keys[count - 1]);
    flags = SCAN_HAS_LOWER | SCAN_LOWER_EXCLUSIVE;
    follow();
  }
}

/** Copies the kept answers; here they count as not answered. */
function copyKept({ streams, attachment, replica }: JoinParts, source: WebAssembly.Memory): void {
  const { words, shape } = streams;
  const { core, memory } = attachment;
  const from = Atomics.load(words, (streams.executor(words[CUT_SOURCE >> 2], 0) + EXECUTOR_KEPT) >> 2);
  const to = Atomics.load(words, (streams.executor(replica, 0) + EXECUTOR_KEPT) >> 2);
  source.grow(0);
  const theirs = new Uint32Array(source.buffer);
  for (let client = 0; client < shape.clients; client++) {
    const table = theirs[(from >> 2) + client];
    if (table === 0) continue;
    const mine = core.allocateBlock(KEPT_PLACES * KEPT_SIZE);
    if (mine === 0) throw new SabtreeError('ERR_MEMORY_EXHAUSTED', `replica ${replica} has no memory for kept answers`);
    memory.grow(0);
    const own = new Uint32Array(memory.buffer);
    own.set(theirs.subarray(table >> 2, (table + KEPT_PLACES * KEPT_SIZE) >> 2), mine >> 2);
    for (let place = 0; place < KEPT_PLACES; place++) {
      own[(mine + place * KEPT_SIZE + KEPT_STATUS) >> 2] &= ~KEPT_ANSWERED;
    }
    own[(to >> 2) + client] = mine;
  }
}

/**
 * Loads entries, in the order of their keys, into an empty tree that nobody else writes to.
 * @throws ERR_MEMORY_EXHAUSTED; ERR_CORRUPT if they are not in order.
 */
export function loadEntries(attachment: Attachment, pieces: Iterable<Piece>, follow: () => void): void {
  const { core, keySize, values } = attachment;
  const { leafCapacity, branchCapacity, leafMinimum, branchMinimum } = attachment.shape();
  const fill = (capacity: number, least: number) => Math.max(least, Math.ceil(capacity * FILL));
  accept(core.bulkBegin(fill(leafCapacity, leafMinimum), fill(branchCapacity, branchMinimum)));
  const { batchValues } = attachment;
  const { raw: batchKeys } = attachment.batchKeys as FixedKeys;
  const keyBytes = new Uint8Array(batchKeys.buffer, batchKeys.byteOffset, BATCH * keySize);
  const { raw } = batchValues;
  const valueBytes = new Uint8Array(raw.buffer, raw.byteOffset, BATCH * values.stride);
  for (const { keys, values: stored, count } of pieces) {
    for (let at = 0; at < count; at += BATCH) {
      const end = Math.min(count, at + BATCH);
      keyBytes.set(keys.subarray(at * keySize, end * keySize));
      valueBytes.set(stored.subarray(at * values.stride, end * values.stride));
      accept(core.bulkAppend(end - at));
    }
    follow();
  }
  accept(core.bulkEnd());
}

function accept(status: number): void {
  if (status === STATUS_TRUE) return;
  if (status === STATUS_NO_MEMORY) {
    throw new SabtreeError('ERR_MEMORY_EXHAUSTED', 'the replica cannot be loaded: its memory is too small', status);
  }
  if (status === STATUS_BUSY) throw new SabtreeError('ERR_CORRUPT', 'somebody else writes into a tree being loaded');
  throw new SabtreeError('ERR_CORRUPT', 'the replica cannot be loaded: entries are not in order', status);
}
