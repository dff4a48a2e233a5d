/**
 * Scans and the search for neighbours.
 *
 * A scan goes from leaf to leaf by descending to the key where the last leaf's range ended; there are no links between
 * leaves to keep. It notes every leaf with its version. At the end it validates them all: if none has changed, then all
 * of them held what was copied at the instant of the first of those checks, and since a leaf's range changes only under
 * its own latch, no key can have stood between them either. So the result is one state of the tree. If some leaf has
 * changed, the scan begins again; after a few such tries it takes the latches of the leaves as it goes (tried, never
 * waited for), and so ends under any load of writers.
 */
import { KEY_F64, KEY_I32, KEY_U64, SCAN_LEAF_SIZE, SCAN_LEAVES } from "../../layout/tree-memory.ts";
import { BLOCK_COUNT, BLOCK_MORE } from "../../layout/tree-memory.ts";
import { STATUS_BUSY, STATUS_FALSE, STATUS_TRUE } from "../../layout/operation.ts";
import { descend, descendWithin, hasLower, hasUpper, leafVersion, lowerKey, upperKey } from "./descent.ts";
import { SPIN_LIMIT, noteRestart, releaseUnchanged, tryLatch, validate } from "./latch.ts";
import { copyValue, copyWords, keyAt, leafCount, lowerBound, padding, upperBound, valueAt } from "./node.ts";
import { beginBlobs, collectBlobs, filledBlobs, isLarge, resumeBlobs } from "./blob.ts";
import { noteRead } from "./point.ts";
import { blobs, block, keyType, narrowOrder, scanLeaves, valueSize, wideOrder } from "./state.ts";

/** Tries without latches before a scan of several leaves takes them. */
export const OPTIMISTIC_TRIES: i32 = 8;
/** Tries in all. */
export const TRIES: i32 = 64;

/** The key as the caller knows it, written to `to`. */
// @ts-ignore: decorator
@inline
export function putRawKey<K>(to: usize, key: K): void {
  if (sizeof<K>() == 4) store<u32>(to, narrowOrder(<u32>key));
  else store<i64>(to, wideOrder(<i64>key));
}

/** Copies n entries from index i of a leaf on, keys and values to two arrays. */
function copyOut<K>(leaf: usize, i: i32, n: i32, reverse: bool, keys: usize, values: usize): void {
  const asIs = keyType != KEY_I32 && keyType != KEY_F64 && keyType != KEY_U64;
  if (!reverse && asIs) {
    // Keys may be half a word long in sum only for 4-byte ones; copyWords takes any multiple of 4.
    copyWords(keys, leaf + 16 + <usize>i * sizeof<K>(), <usize>n * sizeof<K>());
    copyWords(values, valueAt(leaf, i), <usize>n * valueSize);
    return;
  }
  for (let j = 0; j < n; j++) {
    const at = reverse ? i + n - 1 - j : i + j;
    putRawKey<K>(keys + <usize>j * sizeof<K>(), keyAt<K>(leaf, at));
    copyValue(values + <usize>j * valueSize, valueAt(leaf, at));
  }
}

// @ts-ignore: decorator
@inline
function notedLeaf(i: i32): usize {
  return scanLeaves + <usize>i * SCAN_LEAF_SIZE;
}

/** Notes a leaf before it is latched: if this thread dies, what it held can be found here (engine/reset.ts). */
// @ts-ignore: decorator
@inline
export function noteLeaf(i: i32, leaf: usize, version: u64): void {
  store<u64>(notedLeaf(i), version);
  store<u32>(notedLeaf(i), <u32>leaf, 8);
}

/** Says that the last of n noted leaves is the one that was read (point.ts). */
export function noteLast(n: i32): void {
  if (n > 0) noteRead(<usize>load<u32>(notedLeaf(n - 1), 8), load<u64>(notedLeaf(n - 1)));
}

/** Gives back the latches of the noted leaves. */
export function unlatchAll(n: i32): void {
  for (let i = 0; i < n; i++) {
    releaseUnchanged(<usize>load<u32>(notedLeaf(i), 8), load<u64>(notedLeaf(i)));
  }
}

/** True if no noted leaf has changed. */
export function validateAll(n: i32): bool {
  for (let i = 0; i < n; i++) {
    if (!validate(<usize>load<u32>(notedLeaf(i), 8), load<u64>(notedLeaf(i)))) return false;
  }
  return true;
}

/**
 * Copies the entries with lo <= key <= hi, at most `limit`, ascending or descending, to the arrays at `keys` and
 * `values`; the contents of blobs too, if they are wanted (blob.ts). TRUE: BLOCK_COUNT entries, all from one instant; BLOCK_MORE tells whether the range goes on. BUSY otherwise.
 */
export function scan<K>(lo: K, hi: K, limit: i32, reverse: bool, keys: usize, values: usize, contents: bool): i32 {
  store<u32>(block, 0, BLOCK_COUNT);
  store<u32>(block, 0, BLOCK_MORE);
  if (lo > hi || limit <= 0) return STATUS_TRUE;
  for (let tries = 0; tries < TRIES; tries++) {
    const latching = tries >= OPTIMISTIC_TRIES;
    let out = 0;
    let leaves = 0;
    let cursor: K = reverse ? hi : lo;
    let more = false;
    let full = false;
    let failed = false;
    beginBlobs();
    while (true) {
      const leaf = descendWithin<K>(cursor);
      if (leaf == 0) {
        if (latching) unlatchAll(leaves);
        return STATUS_BUSY;
      }
      const version = leafVersion;
      noteLeaf(leaves, leaf, version);
      if (latching && !tryLatch(leaf, version)) {
        failed = true;
        break;
      }
      const n = leafCount(leaf);
      const from = lowerBound<K>(leaf, n, reverse ? lo : cursor);
      const to = upperBound<K>(leaf, n, reverse ? cursor : hi);
      const there = max<i32>(to - from, 0);
      let take = min<i32>(there, limit - out);
      const filled = filledBlobs();
      copyOut<K>(
        leaf, reverse ? to - take : from, take, reverse, keys + <usize>out * sizeof<K>(), values + <usize>out * valueSize,
      );
      if (blobs && contents) {
        const fitting = collectBlobs(values + (<usize>out << 3), take, out == 0);
        full = fitting < take || (take > 0 && isLarge(values));
        take = fitting;
      }
      if (!latching && !validate(leaf, version)) {
        resumeBlobs(filled);
        // Only this leaf's copy is lost; the ones before are judged at the end.
        noteRestart();
        if (++tries >= OPTIMISTIC_TRIES) {
          failed = true;
          break;
        }
        continue;
      }
      leaves++;
      out += take;
      const beyond = reverse ? hasLower && lowerKey > <i64>lo : hasUpper && upperKey <= <i64>hi;
      more = take < there || beyond;
      if (!more || full || out == limit || leaves == SCAN_LEAVES) break;
      cursor = reverse ? <K>(lowerKey - 1) : <K>upperKey;
    }
    if (latching) unlatchAll(leaves);
    else if (!failed && leaves > 1 && !validateAll(leaves)) failed = true;
    if (!failed) {
      noteLast(leaves);
      store<u32>(block, out, BLOCK_COUNT);
      store<u32>(block, more ? 1 : 0, BLOCK_MORE);
      return STATUS_TRUE;
    }
    noteRestart();
  }
  return STATUS_BUSY;
}

/** The greatest entry with key <= `key` (not above: its key and value at the given places). TRUE, FALSE, BUSY. */
export function floor<K>(key: K, keyOut: usize, valueOut: usize): i32 {
  for (let tries = 0; tries < SPIN_LIMIT; tries++) {
    const leaf = descend<K>(key);
    if (leaf == 0) return STATUS_BUSY;
    const version = leafVersion;
    const i = upperBound<K>(leaf, leafCount(leaf), key) - 1;
    // Rarely the entry stands in the leaf before.
    if (i < 0) {
      const lowest: K = sizeof<K>() == 4 ? <K>0 : <K>i64.MIN_VALUE;
      return nearest<K>(lowest, key, true, keyOut, valueOut);
    }
    putRawKey<K>(keyOut, keyAt<K>(leaf, i));
    copyValue(valueOut, valueAt(leaf, i));
    if (validate(leaf, version)) {
      noteRead(leaf, version);
      return STATUS_TRUE;
    }
    noteRestart();
  }
  return STATUS_BUSY;
}

/** The smallest entry with key >= `key`. TRUE, FALSE, BUSY. */
export function ceiling<K>(key: K, keyOut: usize, valueOut: usize): i32 {
  for (let tries = 0; tries < SPIN_LIMIT; tries++) {
    const leaf = descend<K>(key);
    if (leaf == 0) return STATUS_BUSY;
    const version = leafVersion;
    const n = leafCount(leaf);
    const i = lowerBound<K>(leaf, n, key);
    if (i >= n) return nearest<K>(key, padding<K>(), false, keyOut, valueOut);
    putRawKey<K>(keyOut, keyAt<K>(leaf, i));
    copyValue(valueOut, valueAt(leaf, i));
    if (validate(leaf, version)) {
      noteRead(leaf, version);
      return STATUS_TRUE;
    }
    noteRestart();
  }
  return STATUS_BUSY;
}

/** The first entry of a range from either end. */
export function nearest<K>(lo: K, hi: K, reverse: bool, keyOut: usize, valueOut: usize): i32 {
  const status = scan<K>(lo, hi, 1, reverse, keyOut, valueOut, false);
  if (status != STATUS_TRUE) return status;
  return load<u32>(block, BLOCK_COUNT) > 0 ? STATUS_TRUE : STATUS_FALSE;
}
