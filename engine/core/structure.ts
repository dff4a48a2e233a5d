/**
 * Changes of the tree's structure: splits, merges, evening out. One call makes one change, high up first, and the
 * caller begins again at the root; so a change touches a parent and at most two of its children, and latches nothing
 * else. Latches are only ever tried, never waited for, while one is held: no order of threads can deadlock.
 *
 * The root keeps its address for ever. It splits by moving its content into two new children, and shrinks by taking the
 * content of its last two children back.
 */
import { MAX_LEVELS, NODE_KEYS } from "../../layout/node.ts";
import {
  STATUS_BUSY, STATUS_CORRUPT, STATUS_FALSE, STATUS_NO_MEMORY, STATUS_TRUE,
} from "../../layout/operation.ts";
import { THREAD_BRANCHES, THREAD_LEAVES, THREAD_MERGES, THREAD_SPLITS } from "../../layout/tree-memory.ts";
import { allocateNode, freeNode, keepSpare } from "./allocator.ts";
import { reachable, spinWhileLatched } from "./descent.ts";
import {
  SPIN_LIMIT, isLatched, noteBlocked, noteRestart, readVersion, release, releaseUnchanged, tryLatch, validate,
} from "./latch.ts";
import {
  branchCount, childAt, childSlot, copyChildren, copyEntries, copyNode, copySeparators, insertChild, keyAt, leafCount,
  levelOf, markFree, padKeys, removeChild, setHead, setKey, upperBound, valueAt,
} from "./node.ts";
import { branchCapacity, branchMinimum, leafCapacity, leafMinimum, root, slot, valueSize, workNodes } from "./state.ts";

// @ts-ignore: decorator
@inline
function note(counter: usize, by: i64): void {
  store<i64>(slot + counter, load<i64>(slot + counter) + by);
}

// @ts-ignore: decorator
@inline
function noteNodes(level: i32, by: i64): void {
  note(level > 0 ? THREAD_BRANCHES : THREAD_LEAVES, by);
}

/**
 * Splits the first full node on the way to `key`'s leaf. TRUE: one was split, or none is full any more; begin again.
 * NO_MEMORY, BUSY: nothing was changed.
 */
export function makeRoom<K>(key: K): i32 {
  let spins = SPIN_LIMIT;
  while (spins > 0) {
    let parent: usize = 0;
    let parentVersion: u64 = 0;
    let parentCount = 0;
    let index = 0;
    let first = true;
    let last = true;
    let node = root;
    let version = readVersion(node);
    if (isLatched(version)) {
      spins = spinWhileLatched(node, spins);
      continue;
    }
    let level = levelOf(node);
    let torn = level > MAX_LEVELS;
    while (!torn) {
      const n = level > 0 ? branchCount(node) : leafCount(node);
      if (n >= (level > 0 ? branchCapacity : leafCapacity)) {
        const status = node == root
          ? splitRoot<K>(version, level, n, key)
          : splitChild<K>(parent, parentVersion, parentCount, index, node, version, level, n, key, first, last);
        if (status != STATUS_FALSE) return status;
        torn = true;
        break;
      }
      if (level == 0) {
        if (validate(node, version)) return STATUS_TRUE;
        torn = true;
        break;
      }
      const i = upperBound<K>(node, n, key);
      const child = childAt(node, i);
      if (!reachable(child)) {
        torn = true;
        break;
      }
      const childVersion = readVersion(child);
      if (!validate(node, version)) {
        torn = true;
        break;
      }
      if (isLatched(childVersion)) {
        spins = spinWhileLatched(child, spins);
        torn = true;
        break;
      }
      if (i > 0) first = false;
      if (i < n) last = false;
      parent = node;
      parentVersion = version;
      parentCount = n;
      index = i;
      node = child;
      version = childVersion;
      level--;
    }
    noteRestart();
    spins--;
  }
  return STATUS_BUSY;
}

/**
 * How many entries (separators) the left half keeps. Half of them, but at either end of the tree, when keys arrive in
 * order, as many as the other half can do without: sequential loading then fills nodes to three quarters, not to half.
 */
function splitPoint<K>(node: usize, level: i32, n: i32, key: K, first: bool, last: bool): i32 {
  const fewest = level > 0 ? branchMinimum : leafMinimum;
  if (last && key > keyAt<K>(node, n - 1)) return level > 0 ? n - 1 - fewest : n - fewest;
  if (first && key < keyAt<K>(node, 0)) return fewest;
  return n >> 1;
}

/** Moves the upper part of `node` (n keys) into the empty node `right`; returns the key that separates the two. */
function moveUpper<K>(node: usize, level: i32, n: i32, keep: i32, right: usize): K {
  if (level > 0) {
    const separator = keyAt<K>(node, keep);
    copySeparators<K>(right, 0, node, keep + 1, n - keep - 1);
    copyChildren(right, 0, node, keep + 1, n - keep);
    setHead(right, n - keep - 1, level);
    padKeys<K>(right, n - keep - 1, level);
    setHead(node, keep, level);
    padKeys<K>(node, keep, level);
    return separator;
  }
  copyEntries<K>(right, 0, node, keep, n - keep);
  setHead(right, n - keep, 0);
  padKeys<K>(right, n - keep, 0);
  setHead(node, keep, 0);
  padKeys<K>(node, keep, 0);
  return keyAt<K>(right, 0);
}

/** Splits a full child of a parent that has room. FALSE: somebody changed one of them first. */
function splitChild<K>(
  parent: usize, parentVersion: u64, parentCount: i32, index: i32,
  node: usize, version: u64, level: i32, n: i32, key: K, first: bool, last: bool,
): i32 {
  const right = allocateNode();
  if (right == 0) return STATUS_NO_MEMORY;
  if (!tryLatch(parent, parentVersion)) {
    keepSpare(right);
    return STATUS_FALSE;
  }
  if (!tryLatch(node, version)) {
    releaseUnchanged(parent, parentVersion);
    keepSpare(right);
    return STATUS_FALSE;
  }
  const keep = splitPoint<K>(node, level, n, key, first, last);
  const separator = moveUpper<K>(node, level, n, keep, right);
  insertChild<K>(parent, parentCount, index, separator, right);
  note(THREAD_SPLITS, 1);
  noteNodes(level, 1);
  release(node, version);
  release(parent, parentVersion);
  return STATUS_TRUE;
}

/** Splits the full root: its content goes into two new children. */
function splitRoot<K>(version: u64, level: i32, n: i32, key: K): i32 {
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
  const keep = splitPoint<K>(root, level, n, key, true, true);
  copyNode(left, root);
  const separator = moveUpper<K>(left, level, n, keep, right);
  setHead(root, 1, level + 1);
  setKey<K>(root, 0, separator);
  padKeys<K>(root, 1, level + 1);
  store<u32>(childSlot(root, 0), <u32>left);
  store<u32>(childSlot(root, 1), <u32>right);
  note(THREAD_SPLITS, 1);
  noteNodes(level, 1);
  note(THREAD_BRANCHES, 1);
  release(root, version);
  return STATUS_TRUE;
}

/**
 * Refills the first node at its minimum on the way to `key`'s leaf, so that the leaf can lose an entry. TRUE: one was
 * refilled, or none needs it any more; begin again. BUSY: nothing was changed.
 */
export function makeSlack<K>(key: K): i32 {
  let spins = SPIN_LIMIT;
  while (spins > 0) {
    let node = root;
    let version = readVersion(node);
    if (isLatched(version)) {
      spins = spinWhileLatched(node, spins);
      continue;
    }
    let level = levelOf(node);
    let torn = level > MAX_LEVELS;
    while (level > 0 && !torn) {
      const n = branchCount(node);
      const i = upperBound<K>(node, n, key);
      const child = childAt(node, i);
      if (!reachable(child)) {
        torn = true;
        break;
      }
      const childVersion = readVersion(child);
      const few = level > 1 ? branchCount(child) <= branchMinimum : leafCount(child) <= leafMinimum;
      if (!validate(node, version)) {
        torn = true;
        break;
      }
      if (isLatched(childVersion)) {
        spins = spinWhileLatched(child, spins);
        torn = true;
        break;
      }
      if (few) {
        const status = refill<K>(node, version, level, n, i, child, childVersion);
        if (status != STATUS_FALSE) return status;
        torn = true;
        break;
      }
      node = child;
      version = childVersion;
      level--;
    }
    if (!torn && validate(node, version)) return STATUS_TRUE;
    noteRestart();
    spins--;
  }
  return STATUS_BUSY;
}

/** Merges the child at `index` with a neighbour, or evens the two out. FALSE: somebody changed one of them first. */
function refill<K>(
  parent: usize, parentVersion: u64, level: i32, n: i32, index: i32, child: usize, childVersion: u64,
): i32 {
  if (n == 0) return STATUS_CORRUPT;
  const li = index > 0 ? index - 1 : 0;
  const sibling = childAt(parent, index > 0 ? li : 1);
  if (!reachable(sibling)) return STATUS_FALSE;
  const siblingVersion = readVersion(sibling);
  if (isLatched(siblingVersion)) {
    // The caller gives up in the end if this goes on, and then has to know whose latch it was.
    noteBlocked(sibling);
    return STATUS_FALSE;
  }
  if (!tryLatch(parent, parentVersion)) return STATUS_FALSE;
  if (!tryLatch(child, childVersion)) {
    releaseUnchanged(parent, parentVersion);
    return STATUS_FALSE;
  }
  if (!tryLatch(sibling, siblingVersion)) {
    releaseUnchanged(child, childVersion);
    releaseUnchanged(parent, parentVersion);
    return STATUS_FALSE;
  }
  const left = index > 0 ? sibling : child;
  const right = index > 0 ? child : sibling;
  const leftVersion = index > 0 ? siblingVersion : childVersion;
  const rightVersion = index > 0 ? childVersion : siblingVersion;
  const isLeaf = level == 1;
  const a = isLeaf ? leafCount(left) : branchCount(left);
  const b = isLeaf ? leafCount(right) : branchCount(right);
  // A merge of branches takes the separator between them down.
  const total = isLeaf ? a + b : a + b + 1;
  const capacity = isLeaf ? leafCapacity : branchCapacity;
  const fewest = isLeaf ? leafMinimum : branchMinimum;
  // Merge up to three quarters full, so that a merged node is not split by the next insert; but always when evening out
  // could not lift the child above its minimum.
  const mergeLimit = max<i32>((capacity * 3) >> 2, isLeaf ? 2 * fewest : 2 * fewest + 1);
  note(THREAD_MERGES, 1);
  gather<K>(parent, li, left, right, isLeaf, a, b);
  if (total > mergeLimit) {
    // The child gets the larger half.
    const spread = isLeaf ? total : total - 1;
    const half = spread >> 1;
    const keep = child == left ? spread - half : half;
    scatter<K>(left, 0, keep, level - 1);
    if (isLeaf) {
      scatter<K>(right, keep, spread - keep, 0);
      setKey<K>(parent, li, keyAt<K>(right, 0));
    } else {
      setKey<K>(parent, li, load<K>(workKey<K>(keep)));
      scatter<K>(right, keep + 1, spread - keep, level - 1);
    }
    release(left, leftVersion);
    release(right, rightVersion);
    release(parent, parentVersion);
    return STATUS_TRUE;
  }
  const intoRoot = parent == root && n == 1;
  if (intoRoot) {
    scatter<K>(root, 0, total, level - 1);
    markFree(left);
    noteNodes(level - 1, -1);
    note(THREAD_BRANCHES, -1);
  } else {
    scatter<K>(left, 0, total, level - 1);
    removeChild<K>(parent, n, li);
    noteNodes(level - 1, -1);
  }
  markFree(right);
  release(left, leftVersion);
  release(right, rightVersion);
  release(parent, parentVersion);
  if (intoRoot) freeNode(left);
  freeNode(right);
  return STATUS_TRUE;
}

/** Where the values or children gathered by `gather` stand in the work room, behind the keys. */
let gathered: usize = 0;

// @ts-ignore: decorator
@inline
function workKey<K>(i: i32): usize {
  return workNodes + <usize>i * sizeof<K>();
}

/** Copies the keys of both nodes, and their values or children, into the work room in one row each. */
function gather<K>(parent: usize, li: i32, left: usize, right: usize, isLeaf: bool, a: i32, b: i32): void {
  const leftKeys = <usize>a * sizeof<K>();
  const rightKeys = <usize>b * sizeof<K>();
  memory.copy(workKey<K>(0), left + NODE_KEYS, leftKeys);
  if (isLeaf) {
    memory.copy(workKey<K>(a), right + NODE_KEYS, rightKeys);
    gathered = workKey<K>(a + b);
    memory.copy(gathered, valueAt(left, 0), <usize>a * valueSize);
    memory.copy(gathered + <usize>a * valueSize, valueAt(right, 0), <usize>b * valueSize);
    return;
  }
  store<K>(workKey<K>(a), keyAt<K>(parent, li));
  memory.copy(workKey<K>(a + 1), right + NODE_KEYS, rightKeys);
  gathered = workKey<K>(a + b + 1);
  memory.copy(gathered, childSlot(left, 0), <usize>(a + 1) << 2);
  memory.copy(gathered + (<usize>(a + 1) << 2), childSlot(right, 0), <usize>(b + 1) << 2);
}

/** Makes `node` hold n gathered keys from the given one on, with their values or children. */
function scatter<K>(node: usize, from: i32, n: i32, level: i32): void {
  memory.copy(node + NODE_KEYS, workKey<K>(from), <usize>n * sizeof<K>());
  if (level > 0) memory.copy(childSlot(node, 0), gathered + (<usize>from << 2), <usize>(n + 1) << 2);
  else memory.copy(valueAt(node, 0), gathered + <usize>from * valueSize, <usize>n * valueSize);
  setHead(node, n, level);
  padKeys<K>(node, n, level);
}
