/**
 * Splits and merges of slotted nodes. As in structure.ts one call makes one change and the caller begins again at the
 * root, and latches are tried, never waited for. What is split or merged is copied first, into private memory, and
 * validated; all that is computed, is computed from copies; and the latches then prove that nothing has changed since.
 *
 * Splits are by bytes, not by keys, and a split may need more room for its separator than the branch above has: then that
 * one is split first. Merges only save room. Nothing depends on them, so they are made where they are easy: a node less than
 * a quarter full goes together with a neighbour if both then fill at most three quarters (an empty one, if it fits at all).
 * A leaf may be empty and a branch may have a single child, if they cannot be merged.
 */
import { STATUS_BUSY, STATUS_CORRUPT, STATUS_FALSE, STATUS_NO_MEMORY, STATUS_TRUE } from "../../layout/operation.ts";
import { KEY_BYTES, KEY_LENGTH, KEY_PLACE, PLACE_SEPARATOR } from "../../layout/slotted.ts";
import { THREAD_BRANCHES, THREAD_LEAVES, THREAD_MERGES, THREAD_SPLITS } from "../../layout/tree-memory.ts";
import { allocateNode, freeNode, keepSpare } from "./allocator.ts";
import { reachable } from "./descent.ts";
import {
  SPIN_LIMIT, isLatched, noteRestart, readVersion, release, releaseUnchanged, tryLatch, validate,
} from "./latch.ts";
import {
  buildNode, bytesOf, childOf, childOfItem, copyKey, countOf, cutItems, hasRoom, insertKey, keyOfItem,
  markSlottedFree, removeKey, search, seek, seekBytes, separatorBefore, setItem, setRebuildCopy, slottedLevel, takeItems, usedBytes,
  wanted, wantedLength,
} from "./slotted-node.ts";
import { TO_KEY, childIndex, foundVersion, goDown, isFirst, isLast, parent, parentVersion } from "./slotted-point.ts";
import { copies, keyPlaces, nodeSize, root, slot } from "./state.ts";

function note(counter: usize, by: i64): void {
  store<i64>(slot + counter, load<i64>(slot + counter) + by);
}

function noteNodes(level: i32, by: i64): void {
  note(level > 0 ? THREAD_BRANCHES : THREAD_LEAVES, by);
}

/** Room for copies of the nodes at hand; a third one is for rebuilding (slotted-node.ts). */
// @ts-ignore: decorator
@inline
function copyOf(which: i32): usize {
  return copies + <usize>which * nodeSize;
}

/** Tells slotted-node.ts where to rebuild; once the work block is known. */
export function takeCopies(): void {
  setRebuildCopy(copyOf(2));
}

/** Copies a node and says whether the copy is what it was at `version`. */
function copyIf(which: i32, node: usize, version: u64): bool {
  memory.copy(copyOf(which), node, nodeSize);
  return validate(node, version);
}

/** Out of 256: how much a split leaves on the left. Keys that arrive in order fill nodes to three quarters, not to half. */
const HALF: i32 = 128;
const MOST: i32 = 192;
const LEAST: i32 = 64;

/**
 * Makes room for the wanted key in the node of `level` on its way: splits it, or first what is above it. TRUE: something
 * was split, or nothing needs it any more; begin again. NO_MEMORY, BUSY: nothing was changed.
 */
export function makeRoomIn(level: i32): i32 {
  const key = wanted;
  const length = wantedLength;
  const separator = keyPlaces + <usize>(PLACE_SEPARATOR + (level & 1)) * KEY_PLACE;
  for (let tries = 0; tries < SPIN_LIMIT; tries++) {
    const node = goDown(level, TO_KEY, 0, false);
    if (node == 0) return STATUS_BUSY;
    const version = foundVersion;
    const above = parent;
    const aboveVersion = parentVersion;
    const index = childIndex;
    if (!copyIf(0, node, version)) {
      noteRestart();
      continue;
    }
    const copy = copyOf(0);
    // The root may have grown or shrunk meanwhile.
    const at = slottedLevel(copy);
    if (at != level) return STATUS_TRUE;
    const isLeaf = level == 0;
    const n = countOf(copy, isLeaf);
    if (hasRoom(copy, isLeaf)) return STATUS_TRUE;
    const fewest = isLeaf ? 2 : 1;
    if (n < fewest) return STATUS_CORRUPT;
    const i = search(copy, n, isLeaf, true);
    takeItems(0, copy, n, isLeaf);
    const part = isLast && i == n ? MOST : isFirst && i == 0 ? LEAST : HALF;
    // A branch of one separator gives both halves one child and none.
    let cut = n == 1 ? 0 : cutItems(n, isLeaf, part);
    if (isLeaf) separatorBefore(cut, separator);
    else keyOfItem(cut, separator);
    let status: i32;
    if (node == root) {
      status = splitRoot(version, level, n, cut, separator);
    } else {
      seek(separator);
      if (!hasRoom(above, false)) {
        // Also if that was only how it looked while somebody changed it: then there is nothing to do above.
        status = makeRoomIn(level + 1);
        seekBytes(key, length);
        return status;
      }
      status = splitNode(above, aboveVersion, index, node, version, level, n, cut);
    }
    seekBytes(key, length);
    if (status != STATUS_FALSE) return status;
    noteRestart();
  }
  return STATUS_BUSY;
}

/** Builds the two halves of what was copied: items [0, cut) and those behind. A branch's item at the cut moves up. */
function buildHalves(left: usize, right: usize, level: i32, n: i32, cut: i32): void {
  const first: u32 = level > 0 ? <u32>childOf(copyOf(0), 0) : 0;
  if (level > 0) buildNode(right, cut + 1, n, level, childOfItem(cut));
  else buildNode(right, cut, n, level, 0);
  buildNode(left, 0, cut, level, first);
}

/** Splits a node under a parent that has room for the separator, the wanted key. FALSE: somebody changed one of them first. */
function splitNode(
  above: usize, aboveVersion: u64, index: i32, node: usize, version: u64, level: i32, n: i32, cut: i32,
): i32 {
  const right = allocateNode();
  if (right == 0) return STATUS_NO_MEMORY;
  if (!tryLatch(above, aboveVersion)) {
    keepSpare(right);
    return STATUS_FALSE;
  }
  if (!tryLatch(node, version)) {
    releaseUnchanged(above, aboveVersion);
    keepSpare(right);
    return STATUS_FALSE;
  }
  buildHalves(node, right, level, n, cut);
  store<u32>(insertKey(above, countOf(above, false), index, level + 1), <u32>right);
  note(THREAD_SPLITS, 1);
  noteNodes(level, 1);
  release(node, version);
  release(above, aboveVersion);
  return STATUS_TRUE;
}

/** Splits the root: its content goes into two new children. */
function splitRoot(version: u64, level: i32, n: i32, cut: i32, separator: usize): i32 {
  const left = allocateNode();
  if (left == 0) return STATUS_NO_MEMORY;
  const right = allocateNode();
  if (right == 0) {
    keepSpare(left);
    return STATUS_NO_MEMORY;
  }
  if (!tryLatch(root, version)) {
    keepSpare(left);
    keepSpare(right);
    return STATUS_FALSE;
  }
  buildHalves(left, right, level, n, cut);
  setItem(0, separator, 0, separator + KEY_BYTES, load<u32>(separator, KEY_LENGTH), <u32>right);
  buildNode(root, 0, 1, level + 1, <u32>left);
  note(THREAD_SPLITS, 1);
  noteNodes(level, 1);
  note(THREAD_BRANCHES, 1);
  release(root, version);
  return STATUS_TRUE;
}

/**
 * Merges the node of `level` on the wanted key's way with a neighbour, if it is meagre and the two fit together; then looks
 * at the one above. Does what it can at once, and leaves the rest.
 */
export function mergeIn(level: i32): void {
  const key = wanted;
  const length = wantedLength;
  for (let tries = 0; tries < 8; tries++) {
    const node = goDown(level, TO_KEY, 0, false);
    if (node == 0 || parent == 0) return;
    const version = foundVersion;
    const above = parent;
    const aboveVersion = parentVersion;
    const index = childIndex;
    const n = countOf(above, false);
    if (n == 0) return;
    const li = index > 0 ? index - 1 : 0;
    const sibling = childOf(above, index > 0 ? li : 1);
    if (!reachable(sibling)) continue;
    const siblingVersion = readVersion(sibling);
    if (!validate(above, aboveVersion) || isLatched(siblingVersion)) continue;
    const nodeIsLeft = index == 0;
    if (!copyIf(nodeIsLeft ? 0 : 1, node, version) || !copyIf(nodeIsLeft ? 1 : 0, sibling, siblingVersion)) continue;
    const isLeaf = level == 0;
    const mine = nodeIsLeft ? copyOf(0) : copyOf(1);
    if (slottedLevel(mine) != level) return;
    if (usedBytes(mine, isLeaf) >= <i32>(nodeSize >> 2)) return;
    const a = countOf(copyOf(0), isLeaf);
    const b = countOf(copyOf(1), isLeaf);
    takeItems(0, copyOf(0), a, isLeaf);
    let total = a + b;
    if (isLeaf) {
      takeItems(a, copyOf(1), b, true);
    } else {
      // The separator between them comes down, with the right one's first child.
      const between = keyPlaces + <usize>(PLACE_SEPARATOR + (level & 1)) * KEY_PLACE;
      copyKey(above, li, false, between);
      setItem(a, between, 0, between + KEY_BYTES, load<u32>(between, KEY_LENGTH), <u32>childOf(copyOf(1), 0));
      takeItems(a + 1, copyOf(1), b, false);
      total++;
    }
    const limit = countOf(mine, isLeaf) == 0 ? <i32>nodeSize : <i32>((nodeSize * 3) >> 2);
    if (bytesOf(0, total, isLeaf) > limit) return;
    const left = nodeIsLeft ? node : sibling;
    const right = nodeIsLeft ? sibling : node;
    if (!tryLatch(above, aboveVersion)) continue;
    const leftVersion = nodeIsLeft ? version : siblingVersion;
    const rightVersion = nodeIsLeft ? siblingVersion : version;
    if (!tryLatch(left, leftVersion)) {
      releaseUnchanged(above, aboveVersion);
      continue;
    }
    if (!tryLatch(right, rightVersion)) {
      releaseUnchanged(left, leftVersion);
      releaseUnchanged(above, aboveVersion);
      continue;
    }
    note(THREAD_MERGES, 1);
    const first: u32 = isLeaf ? 0 : <u32>childOf(copyOf(0), 0);
    noteNodes(level, -1);
    const intoRoot = above == root && n == 1;
    if (intoRoot) {
      buildNode(root, 0, total, level, first);
      markSlottedFree(left);
      note(THREAD_BRANCHES, -1);
    } else {
      buildNode(left, 0, total, level, first);
      removeKey(above, n, li, level + 1);
    }
    markSlottedFree(right);
    release(left, leftVersion);
    release(right, rightVersion);
    release(above, aboveVersion);
    if (intoRoot) freeNode(left);
    freeNode(right);
    if (!intoRoot) mergeIn(level + 1);
    seekBytes(key, length);
    return;
  }
}
