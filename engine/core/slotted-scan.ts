/**
 * Scans of a slotted tree, and the search for neighbours: the protocol of scan.ts. A scan goes on where the range of the
 * last leaf ended, a key that the descent has left in a place of its own.
 */
import { STATUS_BUSY, STATUS_FALSE, STATUS_TRUE } from "../../layout/operation.ts";
import {
  KEY_BYTES, KEY_LENGTH, KEY_PLACE, PLACE_BOUND, PLACE_CURSOR, PLACE_FOUND, PLACE_KEY, PLACE_KEY2,
} from "../../layout/slotted.ts";
import {
  BLOCK_COUNT, BLOCK_MORE, BLOCK_VALUE, SCAN_BYTES, SCAN_HAS_LOWER, SCAN_HAS_UPPER, SCAN_LEAVES, SCAN_LOWER_EXCLUSIVE, SCAN_REVERSE,
  SCAN_UPPER_EXCLUSIVE,
} from "../../layout/tree-memory.ts";
import { noteRestart, tryLatch, validate } from "./latch.ts";
import { copyValue } from "./node.ts";
import { OPTIMISTIC_TRIES, TRIES, noteLast, noteLeaf, unlatchAll, validateAll } from "./scan.ts";
import { compareBytes, copyKeyBytes, countOf, entryValue, keyLength, roomOf, search, seek } from "./slotted-node.ts";
import { BELOW_KEY, TO_FIRST, TO_KEY, TO_LAST, bounded, foundVersion, goDown } from "./slotted-point.ts";
import { beginBlobs, collectBlobs, filledBlobs, isLarge, resumeBlobs } from "./blob.ts";
import { align, area, blobs, block, keyPlaces, scanEntries, scanValues, valueSize } from "./state.ts";

// @ts-ignore: decorator
@inline
export function keyPlace(which: i32): usize {
  return keyPlaces + <usize>which * KEY_PLACE;
}

function comparePlaces(a: usize, b: usize): i32 {
  return compareBytes(a + KEY_BYTES, load<u32>(a, KEY_LENGTH), b + KEY_BYTES, load<u32>(b, KEY_LENGTH));
}

/** Where the bytes of the keys of a scan stand: behind the table of their ends. */
// @ts-ignore: decorator
@inline
export function scanBytes(): usize {
  return area + align(<usize>scanEntries * 4, 8);
}

/** An atomic scan between the two key places into the area. TRUE: see `scan` in scan.ts. BUSY otherwise. */
export function scanSlotted(flags: i32, limit: i32): i32 {
  return scanInto(flags, limit, keyPlace(PLACE_KEY), keyPlace(PLACE_KEY2), area, scanBytes(), scanValues(), true);
}

/**
 * Copies entries of a range, at most `limit`: where each key ends (u32, counted from the first one's beginning) to
 * `ends`, the keys' bytes to `bytes`, at most SCAN_BYTES of them, the values to `values`.
 */
function scanInto(
  flags: i32, limit: i32, lower: usize, upper: usize, ends: usize, bytes: usize, values: usize, contents: bool,
): i32 {
  store<u32>(block, 0, BLOCK_COUNT);
  store<u32>(block, 0, BLOCK_MORE);
  if (limit <= 0) return STATUS_TRUE;
  const reverse = (flags & SCAN_REVERSE) != 0;
  const hasLower = (flags & SCAN_HAS_LOWER) != 0;
  const hasUpper = (flags & SCAN_HAS_UPPER) != 0;
  const lowerOut = (flags & SCAN_LOWER_EXCLUSIVE) != 0;
  const upperOut = (flags & SCAN_UPPER_EXCLUSIVE) != 0;
  if (hasLower && hasUpper) {
    const order = comparePlaces(lower, upper);
    if (order > 0 || (order == 0 && (lowerOut || upperOut))) return STATUS_TRUE;
  }
  for (let tries = 0; tries < TRIES; tries++) {
    const latching = tries >= OPTIMISTIC_TRIES;
    let out = 0;
    let length = 0;
    let leaves = 0;
    let cursor: usize = 0;
    let next = keyPlace(PLACE_BOUND);
    let more = false;
    let full = false;
    let failed = false;
    beginBlobs();
    while (true) {
      let where: i32;
      if (cursor != 0) {
        seek(cursor);
        where = reverse ? BELOW_KEY : TO_KEY;
      } else if (reverse) {
        if (hasUpper) seek(upper);
        where = hasUpper ? (upperOut ? BELOW_KEY : TO_KEY) : TO_LAST;
      } else {
        if (hasLower) seek(lower);
        where = hasLower ? TO_KEY : TO_FIRST;
      }
      const leaf = goDown(0, where, next, reverse);
      if (leaf == 0) {
        if (latching) unlatchAll(leaves);
        return STATUS_BUSY;
      }
      const version = foundVersion;
      const goesOn = bounded;
      noteLeaf(leaves, leaf, version);
      if (latching && !tryLatch(leaf, version)) {
        failed = true;
        break;
      }
      const n = countOf(leaf, true);
      let from = 0;
      let to = n;
      if (hasLower) {
        seek(lower);
        from = search(leaf, n, true, lowerOut);
      }
      if (hasUpper) {
        seek(upper);
        to = search(leaf, n, true, !upperOut);
      }
      const there = max<i32>(to - from, 0);
      const room = roomOf(leaf, true);
      const begun = length;
      const filled = filledBlobs();
      let take = 0;
      for (; take < there && out + take < limit; take++) {
        const i = reverse ? to - 1 - take : from + take;
        const key = keyLength(leaf, i, true);
        if (length + key > SCAN_BYTES) break;
        copyKeyBytes(leaf, i, true, key, bytes + <usize>length);
        length += key;
        store<u32>(ends + (<usize>(out + take) << 2), <u32>length);
        copyValue(values + <usize>(out + take) * valueSize, entryValue(leaf, room, i));
      }
      if (blobs && contents) {
        const fitting = collectBlobs(values + (<usize>out << 3), take, out == 0);
        full = fitting < take || (take > 0 && isLarge(values));
        take = fitting;
      }
      if (!latching && !validate(leaf, version)) {
        // Only this leaf's copy is lost; the ones before are judged at the end.
        resumeBlobs(filled);
        length = begun;
        noteRestart();
        if (++tries >= OPTIMISTIC_TRIES) {
          failed = true;
          break;
        }
        continue;
      }
      leaves++;
      out += take;
      // Beyond this leaf the range goes on if the leaf's own range ends within it.
      let beyond = goesOn;
      if (goesOn && (reverse ? hasLower : hasUpper)) {
        const order = comparePlaces(next, reverse ? lower : upper);
        beyond = reverse ? order > 0 : order < 0 || (order == 0 && !upperOut);
      }
      more = take < there || beyond;
      if (take < there || !beyond || full || out == limit || leaves == SCAN_LEAVES) break;
      const before = cursor == 0 ? keyPlace(PLACE_CURSOR) : cursor;
      cursor = next;
      next = before;
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

/**
 * The first entry of a range from either end: its key to the first key place, its value to the value register. TRUE,
 * FALSE, BUSY. The key that the range begins with is read from the first key place, which stays as it is when BUSY.
 */
export function nearestSlotted(flags: i32): i32 {
  const found = keyPlace(PLACE_FOUND);
  const key = keyPlace(PLACE_KEY);
  const status = scanInto(flags, 1, key, key, found, found + KEY_BYTES, block + BLOCK_VALUE, false);
  if (status != STATUS_TRUE) return status;
  if (load<u32>(block, BLOCK_COUNT) == 0) return STATUS_FALSE;
  memory.copy(key, found, <usize>KEY_BYTES + load<u32>(found, KEY_LENGTH));
  return STATUS_TRUE;
}
