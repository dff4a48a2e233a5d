/** All entries of a tree as bytes, for those who copy a replica or save it: taken out in order, and loaded into an empty tree. */
import { Attachment } from '../engine/attachment.ts';
import type { BlobRegister } from '../engine/blobs.ts';
import { SabtreeError } from '../engine/errors.ts';
import { FixedKeys } from '../engine/key-views.ts';
import { isVariable } from '../engine/keys.ts';
import { RangeWalk, rangeOf } from '../engine/range.ts';
import { treeDigest } from '../engine/stats.ts';
import { StoredKey } from '../engine/variable-keys.ts';
import { STATUS_BUSY, STATUS_NO_MEMORY, STATUS_TRUE } from '../layout/operation.ts';
import { BATCH } from '../layout/tree-memory.ts';
import { Bytes, BytesReader } from './bytes.ts';

/** Part of a full node that a loaded one fills: as after random inserts, so that the next ones need no splits. */
const FILL = 0.7;

/** Entries: a column of keys and one of values, each as it stands in nodes; what varies in length has its length before it. */
export interface Piece {
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
  readonly count: number;
}

/**
 * All entries of a tree that nobody changes, copied piece by piece. If its values vary in length, the attachment has to be one
 * that only moves them.
 */
function* piecesOf(from: Attachment): Generator<Piece> {
  const walk = new RangeWalk(from, rangeOf());
  while (walk.advance()) yield { keys: keyColumn(from, walk), values: valueColumn(from, walk), count: walk.count };
}

/** Copies all of them. @param follow called after each piece. */
export function copyEntries(from: Attachment, follow: () => void): Piece[] {
  const pieces: Piece[] = [];
  for (const piece of piecesOf(from)) {
    pieces.push(piece);
    follow();
  }
  return pieces;
}

/**
 * Loads an empty tree with the content of another one, which nobody changes meanwhile.
 * @param replica whose tree it is. @throws ERR_MEMORY_EXHAUSTED; ERR_CORRUPT if something else came of it
 */
export function copyReplica(attachment: Attachment, source: WebAssembly.Memory, replica: number): void {
  const from = new Attachment(source, undefined, attachment.values);
  try {
    loadEntries(attachment, piecesOf(from), () => {});
    checkCopy(attachment, treeDigest(from), replica);
  } finally {
    from.detach();
  }
}

/** Compares what a replica was loaded with to what was copied. @throws ERR_CORRUPT if it differs */
export function checkCopy(attachment: Attachment, digest: bigint, replica: number): void {
  if (treeDigest(attachment) === digest) return;
  throw new SabtreeError('ERR_CORRUPT', `replica ${replica} was loaded with other content than was copied`, replica);
}

function keyColumn(from: Attachment, { keys, count }: RangeWalk): Uint8Array {
  if (keys instanceof FixedKeys) return rawColumn(keys.raw, count * from.keySize);
  const bytes = new Bytes();
  for (let i = 0; i < count; i++) bytes.block((keys.stored(i) as StoredKey).bytes);
  return bytes.written;
}

function valueColumn(from: Attachment, { values, count }: RangeWalk): Uint8Array {
  if (from.values.variable === undefined) return rawColumn(values.raw, count * from.values.stride);
  const bytes = new Bytes();
  for (let i = 0; i < count; i++) bytes.block(values.get(i) as Uint8Array);
  return bytes.written;
}

function rawColumn(raw: ArrayBufferView, bytes: number): Uint8Array {
  return new Uint8Array(raw.buffer, raw.byteOffset, bytes).slice();
}

/**
 * Loads entries, in the order of their keys, into an empty tree that nobody else writes to.
 * @throws ERR_MEMORY_EXHAUSTED; ERR_CORRUPT if they are not in order.
 */
export function loadEntries(attachment: Attachment, pieces: Iterable<Piece>, follow: () => void): void {
  const { core, keyCode, values } = attachment;
  const { leafCapacity, branchCapacity, leafMinimum, branchMinimum, nodeSize } = attachment.shape();
  const fill = (capacity: number, least: number) => Math.max(least, Math.ceil(capacity * FILL));
  accept(
    isVariable(keyCode)
      ? core.bulkBegin(Math.floor(nodeSize * FILL), 0)
      : core.bulkBegin(fill(leafCapacity, leafMinimum), fill(branchCapacity, branchMinimum)),
  );
  for (const piece of pieces) {
    const keys = keyLoader(attachment, piece.keys);
    const take =
      values.variable === undefined ? rawLoader(attachment, piece.values) : blobLoader(attachment, piece.values);
    for (let at = 0; at < piece.count; ) {
      const n = keys(at, Math.min(piece.count, at + BATCH));
      take(at, n);
      accept(core.bulkAppend(n));
      at += n;
    }
    follow();
  }
  accept(core.bulkEnd());
}

/** Puts keys of a column into the batch area, from one on and as far as there is room; how many. */
function keyLoader({ batchKeys, keySize }: Attachment, column: Uint8Array): (from: number, to: number) => number {
  if (batchKeys instanceof FixedKeys) {
    const { raw } = batchKeys;
    const bytes = new Uint8Array(raw.buffer, raw.byteOffset, BATCH * keySize);
    return (from, to) => {
      bytes.set(column.subarray(from * keySize, to * keySize));
      return to - from;
    };
  }
  const reader = new BytesReader(column);
  return (from, to) => {
    let n = 0;
    while (from + n < to && batchKeys.hasRoomFor(n)) batchKeys.set(n++, new StoredKey(reader.block()));
    return n;
  };
}

/** Puts n values of a column into the batch area. */
function rawLoader({ batchValues, values }: Attachment, column: Uint8Array): (from: number, n: number) => void {
  const { raw } = batchValues;
  const { stride } = values;
  const bytes = new Uint8Array(raw.buffer, raw.byteOffset, BATCH * stride);
  return (from, n) => bytes.set(column.subarray(from * stride, (from + n) * stride));
}

/** The same with values of varying length: makes blobs of them. */
function blobLoader({ batchValues, value }: Attachment, column: Uint8Array): (from: number, n: number) => void {
  const reader = new BytesReader(column);
  const references = batchValues.raw as Uint32Array;
  const register = value as BlobRegister;
  return (_from, n) => {
    for (let i = 0; i < n; i++) {
      register.store(reader.block());
      references.set(register.raw as Uint32Array, 2 * i);
    }
  };
}

function accept(status: number): void {
  if (status === STATUS_TRUE) return;
  if (status === STATUS_NO_MEMORY) {
    throw new SabtreeError('ERR_MEMORY_EXHAUSTED', 'the replica cannot be loaded: its memory is too small', status);
  }
  if (status === STATUS_BUSY) throw new SabtreeError('ERR_CORRUPT', 'somebody else writes into a tree being loaded');
  throw new SabtreeError('ERR_CORRUPT', 'the replica cannot be loaded: entries are not in order', status);
}
