/**
 * The core's exports. Arguments and results go through the thread's work block (layout/tree-memory.ts), so every call
 * takes and gives plain integers; the key's width is decided here, once per call.
 */
import { OP_CEILING, OP_FIRST, OP_FLOOR, OP_HIGHER, OP_LAST, OP_LOWER, OP_PUT, STATUS_BUSY, STATUS_FALSE, STATUS_TRUE } from "../../layout/operation.ts";
import { KEY_BYTES, KEY_LENGTH, PLACE_FOUND, PLACE_KEY } from "../../layout/slotted.ts";
import {
  BLOCK_KEY, BLOCK_KEY2, BLOCK_VALUE, HEADER_BUMP, HEADER_ROOT, NODES, SCAN_LOWER_EXCLUSIVE, SCAN_HAS_LOWER,
  SCAN_HAS_UPPER, SCAN_REVERSE, SCAN_UPPER_EXCLUSIVE, BLOB_COPY_BYTES, MAX_THREADS, THREADS, THREAD_BLOCK, THREAD_DIGEST, THREAD_SIZE,
} from "../../layout/tree-memory.ts";
import { bump, resetNodes, takeBlock } from "./allocator.ts";
import * as applying from "./apply.ts";
import * as batching from "./batch.ts";
import * as loading from "./bulk.ts";
import * as blobbing from "./blob.ts";
import * as calling from "./calls.ts";
import * as changing from "./changes.ts";
import * as deferring from "./deferral.ts";
import { bytesHash, entryHash } from "./digest.ts";
import * as keeping from "./kept.ts";
import { SPIN_LIMIT, readVersion, release, releaseUnchanged, tryLatch, validate } from "./latch.ts";
import { keyAt, leafCount, padKeys, padding, setHead, valueAt } from "./node.ts";
import { read, readAt, readLeaf, write } from "./point.ts";
import * as undoing from "./undo.ts";
import * as scanning from "./scan.ts";
import {
  bulkAppendSlotted, bulkBeginSlotted, lastSlottedStatus, readManySlotted, writeManySlotted,
} from "./slotted-batch.ts";
import { copyKey, countOf, emptyNode, entryValue, roomOf, seek } from "./slotted-node.ts";
import { readSlotted, writeSlotted } from "./slotted-point.ts";
import { keyPlace, nearestSlotted, scanBytes, scanSlotted } from "./slotted-scan.ts";
import { takeCopies } from "./slotted-structure.ts";
import {
  area, areaFound, areaValues, blobArea, blobCopy, blobs, block, blockSize, expectedRegister, learnMemorySize, loadShape, narrow, narrowOrder, nodeSize, root, scanEntries, scanValues, slot, slotted,
  takeSlot, wideOrder,
} from "./state.ts";


// @ts-ignore: decorator
@inline
function narrowKey(at: usize): u32 {
  return narrowOrder(load<u32>(block + at));
}

// @ts-ignore: decorator
@inline
function wideKey(at: usize): i64 {
  return wideOrder(load<i64>(block + at));
}

/** The sign of 0/0, which is set on x86-64 and clear everywhere else: an x86-64 processor keeps loads in order. */
export function quietNanSign(zero: f64): i32 {
  return <i32>(reinterpret<u64>(zero / zero) >> 63);
}

/** Writes the empty tree: the root, a leaf. The header's shape must be there. */
export function createTree(): i32 {
  loadShape(true);
  store<u32>(HEADER_BUMP, NODES);
  const node = bump(nodeSize);
  if (node == 0) return STATUS_FALSE;
  store<u32>(HEADER_ROOT, <u32>node);
  loadShape(true);
  emptyRoot();
  return STATUS_TRUE;
}

/** Makes the root an empty leaf. */
function emptyRoot(): void {
  if (slotted) {
    emptyNode(root, 0);
    return;
  }
  setHead(root, 0, 0);
  if (narrow) padKeys<u32>(root, 0, 0);
  else padKeys<i64>(root, 0, 0);
}

/** Makes this instance work on the tree as thread `thread`, whose slot the caller has claimed. FALSE: no memory. */
export function attach(thread: u32, fences: bool): i32 {
  loadShape(fences);
  takeSlot(thread);
  if (load<u32>(slot, THREAD_BLOCK) == 0) {
    const bytes = takeBlock(blockSize(), thread);
    if (bytes == 0) return STATUS_FALSE;
    store<u32>(slot, <u32>bytes, THREAD_BLOCK);
    takeSlot(thread);
    learnMemorySize();
  }
  if (slotted) takeCopies();
  return STATUS_TRUE;
}

/** Takes bytes for an executor's areas, which stay with its thread slot; 0: no memory. */
export function allocateBlock(bytes: u32): usize {
  const address = takeBlock(<usize>bytes, (<u32>slot - THREADS) / THREAD_SIZE);
  learnMemorySize();
  return address;
}

/** Makes this instance know the tree's shape without being attached: for what follows. */
export function learnShape(): void {
  loadShape(true);
}

/** Part of emptying a tree whose writers are dead (see engine/reset.ts): gives back the nodes between two addresses. */
export function resetBetween(from: usize, to: usize): void {
  resetNodes(from, to);
}

/** The last part of it: the root becomes an empty leaf. */
export function resetRoot(): void {
  const version = readVersion(root);
  emptyRoot();
  release(root, version);
}

/** Kept answers (see kept.ts): the directory of the clients' tables, 0 for none. */
export function setKept(directory: usize): void {
  keeping.setKept(directory);
}

export function keepable(record: usize): i32 {
  return keeping.keepable(record) ? STATUS_TRUE : STATUS_FALSE;
}

export function keepNumber(record: usize, answered: i32, number: f64, length: usize): void {
  keeping.keepNumber(record, answered != 0, number, length);
}

export function keptNumber(record: usize): f64 {
  return keeping.keptNumber(record);
}

export function keepResult(record: usize, status: i32, answered: i32, length: u32, wanted: i32): usize {
  return keeping.keepResult(record, status, answered != 0, length, wanted != 0);
}

export function dropResult(client: u32, sequence: u32): void {
  keeping.dropResult(client, sequence);
}

export function keptResult(record: usize): i32 {
  return keeping.keptResult(record);
}

export function keptPayload(record: usize): usize {
  return keeping.keptPayload(record);
}

export function keepBlob(entry: usize, length: u32): usize {
  return keeping.keepBlob(entry, length);
}

export function answerable(record: usize, writes: i32, replying: i32): i32 {
  return keeping.answerable(record, writes != 0, replying != 0) ? STATUS_TRUE : STATUS_FALSE;
}

/** Commands that came a second time and were not carried out again. */
export function suppressedCount(): u32 {
  return keeping.suppressed;
}

/** The list of changes that watchers are told of (see changes.ts). */
export function setChangeArea(start: usize, bytes: usize): void {
  changing.setChangeArea(start, bytes);
}

export function changeBytes(): u32 {
  return <u32>changing.changeBytes();
}

export function clearChanges(): void {
  changing.clearChanges();
}

export function blockAddress(): usize {
  return block;
}

export function expectedAddress(): usize {
  return expectedRegister;
}

export function areaAddress(): usize {
  return area;
}

/** Where the values of a scan stand; its keys stand at the area's start. */
export function scanValuesAddress(): usize {
  return scanValues();
}

/** Where the values and the found flags of a batch stand; its keys stand at the area's start. */
export function batchValuesAddress(): usize {
  return areaValues;
}

export function batchFoundAddress(): usize {
  return areaFound;
}

export function scanCapacity(): i32 {
  return scanEntries;
}

/** The key places of a slotted tree (layout/slotted.ts), and where the bytes of a scan's keys begin. */
export function keyPlaceAddress(which: i32): usize {
  return keyPlace(which);
}

export function scanBytesAddress(): usize {
  return scanBytes();
}

/** Blobs (see blob.ts). */
export function allocateBlob(length: u32): u32 {
  return blobbing.allocateBlob(length);
}

export function sealBlob(address: u32, length: u32): void {
  blobbing.sealBlob(address, length);
}

export function freeBlob(address: u32, length: u32): void {
  blobbing.freeBlob((<u64>length << 32) | <u64>address);
}

/** Where the contents of a scan's blobs stand, and that of the value that was read. */
export function blobAreaAddress(): usize {
  return blobArea;
}

export function blobCopyAddress(): usize {
  return blobCopy;
}

/** Whether the leaf that was read last is as it was: then what the caller has copied from its blob is the value. */
export function unchanged(): i32 {
  return validate(readLeaf, readAt) ? STATUS_TRUE : STATUS_FALSE;
}

/** Latches the leaf of the key in the key register, so that its value can be read in peace: TRUE, FALSE (then not latched), BUSY. */
export function hold(): i32 {
  for (let tries = 0; tries < SPIN_LIMIT; tries++) {
    const status = find(block + BLOCK_VALUE);
    if (status != STATUS_TRUE) return status;
    // Noted as a scan's: should this thread end before it lets go, or be stopped, the latch can be given back.
    scanning.noteLeaf(0, readLeaf, readAt);
    if (tryLatch(readLeaf, readAt)) return STATUS_TRUE;
  }
  return STATUS_BUSY;
}

export function letGo(): void {
  releaseUnchanged(readLeaf, readAt);
}

/** The content of the blob in the value register, if it is short: TRUE, or FALSE if the leaf has changed. */
function copyContent(): i32 {
  blobbing.copyBlob(block + BLOCK_VALUE, blobCopy, BLOB_COPY_BYTES);
  return unchanged();
}

function find(out: usize): i32 {
  if (slotted) {
    seek(keyPlace(PLACE_KEY));
    return readSlotted(out);
  }
  return narrow ? read<u32>(narrowKey(BLOCK_KEY), out, 0, 0) : read<i64>(wideKey(BLOCK_KEY), out, 0, 0);
}

/** TRUE and the value register (of a short blob also its content in the blob copy), or FALSE; BUSY. */
export function get(): i32 {
  if (!blobs) return find(block + BLOCK_VALUE);
  for (let tries = 0; tries < SPIN_LIMIT; tries++) {
    const status = find(block + BLOCK_VALUE);
    if (status != STATUS_TRUE || copyContent() == STATUS_TRUE) return status;
  }
  return STATUS_BUSY;
}

export function has(): i32 {
  return find(0);
}

/** The writing operations (see point.ts); value and expected value in their registers, an old value in the value register. */
export function modify(op: i32): i32 {
  const value = block + BLOCK_VALUE;
  if (slotted) {
    seek(keyPlace(PLACE_KEY));
    return writeSlotted(op, value, expectedRegister, expectedRegister, false);
  }
  return narrow
    ? write<u32>(op, narrowKey(BLOCK_KEY), value, expectedRegister, expectedRegister, false, 0, 0)
    : write<i64>(op, wideKey(BLOCK_KEY), value, expectedRegister, expectedRegister, false, 0, 0);
}

export function put(): i32 {
  return modify(OP_PUT);
}

/**
 * The nearest entry to the key register, into the key and value registers: TRUE, FALSE, BUSY. Of a short blob also the
 * content; if that changed meanwhile, BUSY, and the key register may have changed.
 */
export function neighbour(op: i32): i32 {
  const status = nearest(op);
  return blobs && status == STATUS_TRUE && copyContent() != STATUS_TRUE ? STATUS_BUSY : status;
}

function nearest(op: i32): i32 {
  if (slotted) {
    if (op == OP_FLOOR) return nearestSlotted(SCAN_HAS_UPPER | SCAN_REVERSE);
    if (op == OP_LOWER) return nearestSlotted(SCAN_HAS_UPPER | SCAN_UPPER_EXCLUSIVE | SCAN_REVERSE);
    if (op == OP_CEILING) return nearestSlotted(SCAN_HAS_LOWER);
    if (op == OP_HIGHER) return nearestSlotted(SCAN_HAS_LOWER | SCAN_LOWER_EXCLUSIVE);
    return nearestSlotted(op == OP_FIRST ? 0 : SCAN_REVERSE);
  }
  return narrow ? neighbourOf<u32>(op, narrowKey(BLOCK_KEY)) : neighbourOf<i64>(op, wideKey(BLOCK_KEY));
}

function neighbourOf<K>(op: i32, key: K): i32 {
  const keyOut = block + BLOCK_KEY;
  const valueOut = block + BLOCK_VALUE;
  const lowest: K = sizeof<K>() == 4 ? <K>0 : <K>i64.MIN_VALUE;
  const highest = padding<K>();
  if (op == OP_FLOOR) return scanning.floor<K>(key, keyOut, valueOut);
  if (op == OP_CEILING) return scanning.ceiling<K>(key, keyOut, valueOut);
  if (op == OP_FIRST) return scanning.nearest<K>(lowest, highest, false, keyOut, valueOut);
  if (op == OP_LAST) return scanning.nearest<K>(lowest, highest, true, keyOut, valueOut);
  if (op == OP_LOWER) return key == lowest ? STATUS_FALSE : scanning.floor<K>(<K>(key - 1), keyOut, valueOut);
  return key == highest ? STATUS_FALSE : scanning.ceiling<K>(<K>(key + 1), keyOut, valueOut);
}

/** An atomic scan between the two key registers into the area (see scan.ts). */
export function scan(flags: i32, limit: i32): i32 {
  const most = min<i32>(limit, scanEntries);
  if (slotted) return scanSlotted(flags, most);
  return narrow
    ? scanBetween<u32>(flags, most, narrowKey(BLOCK_KEY), narrowKey(BLOCK_KEY2))
    : scanBetween<i64>(flags, most, wideKey(BLOCK_KEY), wideKey(BLOCK_KEY2));
}

function scanBetween<K>(flags: i32, limit: i32, lower: K, upper: K): i32 {
  const lowest: K = sizeof<K>() == 4 ? <K>0 : <K>i64.MIN_VALUE;
  const highest = padding<K>();
  let lo = (flags & SCAN_HAS_LOWER) != 0 ? lower : lowest;
  let hi = (flags & SCAN_HAS_UPPER) != 0 ? upper : highest;
  let empty = false;
  if ((flags & SCAN_LOWER_EXCLUSIVE) != 0) {
    if (lo == highest) empty = true;
    else lo = <K>(lo + 1);
  }
  if ((flags & SCAN_UPPER_EXCLUSIVE) != 0) {
    if (hi == lowest) empty = true;
    else hi = <K>(hi - 1);
  }
  return scanning.scan<K>(lo, hi, empty ? 0 : limit, (flags & SCAN_REVERSE) != 0, area, scanValues(), true);
}

/** Batches over the keys in the area (see batch.ts). */
export function getMany(n: i32): i32 {
  if (slotted) return readManySlotted(n);
  return narrow ? batching.readMany<u32>(n) : batching.readMany<i64>(n);
}

export function modifyMany(op: i32, n: i32): i32 {
  if (slotted) return writeManySlotted(op, n);
  return narrow ? batching.writeMany<u32>(op, n) : batching.writeMany<i64>(op, n);
}

/** Why `modifyMany` stopped early. */
export function batchStatus(): i32 {
  return slotted ? lastSlottedStatus : batching.lastStatus;
}

/** Bulk load (see bulk.ts): fills leaves and branches to so many keys, slotted nodes to so many bytes. */
export function bulkBegin(leafFill: i32, branchFill: i32): i32 {
  if (slotted) return bulkBeginSlotted(leafFill);
  return narrow ? loading.bulkBegin<u32>(leafFill, branchFill) : loading.bulkBegin<i64>(leafFill, branchFill);
}

export function bulkAppend(n: i32): i32 {
  if (slotted) return bulkAppendSlotted(n);
  return narrow ? loading.bulkAppend<u32>(n) : loading.bulkAppend<i64>(n);
}

export function bulkEnd(): i32 {
  return narrow ? loading.bulkEnd<u32>() : loading.bulkEnd<i64>();
}

export function bulkAbort(): void {
  loading.bulkAbort();
}

/** The content digest: the sum over all threads' slots. Exact while nobody writes. */
export function contentDigest(): u64 {
  let sum: u64 = 0;
  for (let thread = 0; thread < MAX_THREADS; thread++) {
    sum += atomic.load<u64>(<usize>(THREADS + thread * THREAD_SIZE), THREAD_DIGEST);
  }
  return sum;
}

/** Sum of the hashes of a leaf's entries: what the checker compares the kept digest with. */
export function leafDigest(leaf: usize): u64 {
  let sum: u64 = 0;
  if (slotted) {
    const n = countOf(leaf, true);
    const place = keyPlace(PLACE_FOUND);
    for (let i = 0; i < n; i++) {
      copyKey(leaf, i, true, place);
      sum += bytesHash(place + KEY_BYTES, load<u32>(place, KEY_LENGTH), entryValue(leaf, roomOf(leaf, true), i));
    }
    return sum;
  }
  const n = leafCount(leaf);
  for (let i = 0; i < n; i++) {
    sum += narrow
      ? entryHash<u32>(keyAt<u32>(leaf, i), valueAt(leaf, i))
      : entryHash<i64>(keyAt<i64>(leaf, i), valueAt(leaf, i));
  }
  return sum;
}

/** Operations as records (see apply.ts and deferral.ts). */
export function setReplyArea(start: usize, bytes: usize, table: usize, tableEntries: i32): void {
  applying.setReplyArea(start, bytes, table, tableEntries);
}

export function clearReplies(): void {
  applying.clearReplies();
}

export function apply(records: usize, slots: i32, flags: i32, list: usize): i32 {
  return narrow
    ? applying.apply<u32>(records, slots, flags, list)
    : applying.apply<i64>(records, slots, flags, list);
}

/** Operations on one key as commands (see calls.ts). */
export function setPointCommands(reads: u32, writes: u32): void {
  calling.setPointCommands(reads, writes);
}

export function applyCalls(records: usize, slots: i32, flags: i32): i32 {
  return narrow ? calling.applyCalls<u32>(records, slots, flags) : calling.applyCalls<i64>(records, slots, flags);
}

export function runDeferred(list: usize, flags: i32): void {
  if (narrow) applying.runDeferred<u32>(list, flags);
  else applying.runDeferred<i64>(list, flags);
}

/** Undo tables of speculative batches (see undo.ts). */
export function undoSize(entries: u32): usize {
  return undoing.undoSize(entries);
}

export function undoInit(table: usize, entries: u32): void {
  undoing.undoInit(table, entries);
}

export function undoBegin(table: usize, batch: u32, thread: u32, part: u32): void {
  undoing.undoBegin(table, batch, thread, part);
}

export function undoRollback(): i32 {
  return narrow ? undoing.undoRollback<u32>() : undoing.undoRollback<i64>();
}

export function replyDigest(): u64 {
  return applying.replyDigest();
}

export function stopReason(): i32 {
  return applying.stopReason;
}

/** Operations that the last `apply` or `runDeferred` carried out. */
export function appliedCount(): i32 {
  return applying.appliedCount;
}

export function replyRuns(): i32 {
  return applying.replyRuns;
}

export function deferralSize(slots: u32): usize {
  return deferring.deferralSize(slots);
}

export function deferralInit(list: usize, slots: u32): void {
  deferring.deferralInit(list, slots);
}
