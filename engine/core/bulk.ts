/**
 * Bulk load of ascending entries into an empty tree. Nodes are built from the left, full to a stated number of entries,
 * aside from the tree; only the last step, under the root's latch, puts them in. Until then readers and writers go on,
 * and a load that fails gives every node back.
 *
 * While it runs, the rightmost node of each level is open: `open[level]`, in the work room, with its count in the node.
 */
import { MAX_LEVELS } from "../../layout/node.ts";
import { STATUS_BUSY, STATUS_NOT_ASCENDING, STATUS_NOT_EMPTY, STATUS_NO_MEMORY, STATUS_TRUE } from "../../layout/operation.ts";
import { BLOCK_COUNT, OVERLAP, THREAD_BRANCHES, THREAD_LEAVES } from "../../layout/tree-memory.ts";
import { allocateNode, freeNode, keepSpare } from "./allocator.ts";
import { entryHash, noteChange } from "./digest.ts";
import { isLatched, noteBlocked, readVersion, release, tryLatch } from "./latch.ts";
import {
  branchCount, childAt, childSlot, copyChildren, copyEntries, copyNode, copySeparators, copyValue, keyAt, leafCount, levelOf,
  markFree, padKeys, setCount, setHead, setKey, valueAt,
} from "./node.ts";
import { freeBlob } from "./blob.ts";
import { childOf, countOf, entryValue, roomOf } from "./slotted-node.ts";
import {
  area, areaValues, blobs, block, branchMinimum, leafMinimum, lookups, narrowOrder, root, slot, slotted, valueSize, wideOrder,
} from "./state.ts";

/** Height of what was built so far: number of open nodes. 0 when no load is under way. */
export let height: i32 = 0;
let leafTarget: i32 = 0;
let branchTarget: i32 = 0;
let entries: i64 = 0;
let digest: u64 = 0;
let leaves: i64 = 0;
let branches: i64 = 0;

/** The table of open nodes stands in the block's lookup part, behind the places a batch uses. */
const OPEN_NODES: usize = 32 * OVERLAP;

/** The open node of a level. */
// @ts-ignore: decorator
@inline
export function openNode(level: i32): usize {
  return <usize>load<u32>(lookups + OPEN_NODES + (<usize>level << 2));
}

export function setOpen(level: i32, node: usize): void {
  store<u32>(lookups + OPEN_NODES + (<usize>level << 2), <u32>node);
}

function newNode<K>(level: i32): usize {
  const node = allocateNode();
  if (node == 0) return 0;
  setHead(node, 0, level);
  padKeys<K>(node, 0, level);
  countNode(level);
  return node;
}

/** Counts a node that was made. */
export function countNode(level: i32): void {
  if (level > 0) branches++;
  else leaves++;
}

/** Counts an entry that was loaded. */
export function countEntry(hash: u64): void {
  entries++;
  digest += hash;
}

/** Makes `node` the first one of a level that there was not before. */
export function openLevel(node: usize): void {
  setOpen(height, node);
  height++;
}

/** Forgets what an earlier load counted. */
export function resetCounts(): void {
  entries = 0;
  digest = 0;
  leaves = 0;
  branches = 0;
  height = 0;
}

/** Begins a load that fills leaves and branches to the given numbers of keys. */
export function bulkBegin<K>(leafFill: i32, branchFill: i32): i32 {
  leafTarget = leafFill;
  branchTarget = branchFill;
  resetCounts();
  const leaf = newNode<K>(0);
  if (leaf == 0) return STATUS_NO_MEMORY;
  openLevel(leaf);
  return STATUS_TRUE;
}

/** Hangs `node`, the new open node of `level`, behind `separator` into the level above. */
function hang<K>(level: i32, separator: K, node: usize): i32 {
  const above = level + 1;
  if (above == height) {
    const branch = newNode<K>(above);
    if (branch == 0) return STATUS_NO_MEMORY;
    store<u32>(childSlot(branch, 0), <u32>openNode(level));
    openLevel(branch);
  }
  const branch = openNode(above);
  const n = branchCount(branch);
  if (n < branchTarget) {
    setKey<K>(branch, n, separator);
    store<u32>(childSlot(branch, n + 1), <u32>node);
    setCount(branch, n + 1);
    setOpen(level, node);
    return STATUS_TRUE;
  }
  const next = newNode<K>(above);
  if (next == 0) return STATUS_NO_MEMORY;
  store<u32>(childSlot(next, 0), <u32>node);
  const status = hang<K>(above, separator, next);
  if (status != STATUS_TRUE) {
    // `next` hangs nowhere yet: give it back by itself, the caller gives back `node`.
    dropNode(next, above);
    return status;
  }
  setOpen(level, node);
  return STATUS_TRUE;
}

export function dropNode(node: usize, level: i32): void {
  markFree(node);
  keepSpare(node);
  if (level > 0) branches--;
  else leaves--;
}

/** Adds the n <= BATCH entries in the area. Otherwise BLOCK_COUNT tells at which one it ended. */
export function bulkAppend<K>(n: i32): i32 {
  for (let i = 0; i < n; i++) {
    store<u32>(block, i, BLOCK_COUNT);
    let key: K;
    if (sizeof<K>() == 4) key = <K>narrowOrder(load<u32>(area + (<usize>i << 2)));
    else key = <K>wideOrder(load<i64>(area + (<usize>i << 3)));
    let leaf = openNode(0);
    let count = leafCount(leaf);
    if (count > 0 && keyAt<K>(leaf, count - 1) >= key) return STATUS_NOT_ASCENDING;
    if (count == leafTarget) {
      const next = newNode<K>(0);
      if (next == 0) return STATUS_NO_MEMORY;
      const status = hang<K>(0, key, next);
      if (status != STATUS_TRUE) {
        dropNode(next, 0);
        return status;
      }
      leaf = next;
      count = 0;
    }
    setKey<K>(leaf, count, key);
    copyValue(valueAt(leaf, count), areaValues + <usize>i * valueSize);
    setCount(leaf, count + 1);
    countEntry(entryHash<K>(key, valueAt(leaf, count)));
  }
  return STATUS_TRUE;
}

/** Gives back everything built so far. */
export function bulkAbort(): void {
  if (height > 0) freeBelow(openNode(height - 1), height - 1);
  height = 0;
}

function freeBelow(node: usize, level: i32): void {
  if (level > 0 && level < MAX_LEVELS) {
    const n = slotted ? countOf(node, false) : branchCount(node);
    for (let i = 0; i <= n; i++) freeBelow(slotted ? childOf(node, i) : childAt(node, i), level - 1);
  }
  if (level == 0 && blobs) {
    const n = slotted ? countOf(node, true) : leafCount(node);
    const room = slotted ? roomOf(node, true) : 0;
    for (let i = 0; i < n; i++) freeBlob(load<u64>(slotted ? entryValue(node, room, i) : valueAt(node, i)));
  }
  markFree(node);
  freeNode(node);
}

/** Lifts the last child of the rightmost branch of `level` to its minimum by taking from its left neighbour. */
function topUp<K>(level: i32): void {
  const parent = openNode(level);
  const n = branchCount(parent);
  const left = childAt(parent, n - 1);
  const right = childAt(parent, n);
  if (level == 1) {
    const need = leafMinimum - leafCount(right);
    if (need <= 0) return;
    const a = leafCount(left);
    const b = leafCount(right);
    for (let i = b - 1; i >= 0; i--) {
      setKey<K>(right, i + need, keyAt<K>(right, i));
      copyValue(valueAt(right, i + need), valueAt(right, i));
    }
    copyEntries<K>(right, 0, left, a - need, need);
    setCount(right, b + need);
    setCount(left, a - need);
    padKeys<K>(left, a - need, 0);
    setKey<K>(parent, n - 1, keyAt<K>(right, 0));
    return;
  }
  const need = branchMinimum - branchCount(right);
  if (need <= 0) return;
  const a = branchCount(left);
  const b = branchCount(right);
  for (let i = b; i >= 0; i--) {
    if (i < b) setKey<K>(right, i + need, keyAt<K>(right, i));
    store<u32>(childSlot(right, i + need), <u32>childAt(right, i));
  }
  setKey<K>(right, need - 1, keyAt<K>(parent, n - 1));
  copySeparators<K>(right, 0, left, a - need + 1, need - 1);
  copyChildren(right, 0, left, a - need + 1, need);
  setKey<K>(parent, n - 1, keyAt<K>(left, a - need));
  setCount(right, b + need);
  setCount(left, a - need);
  padKeys<K>(left, a - need, level - 1);
}

/**
 * Puts what was built into the tree. NOT_EMPTY, BUSY: nothing was done, and the load can still be ended or aborted. A slotted
 * tree's last nodes stay as they are.
 */
export function bulkEnd<K>(): i32 {
  const version = readVersion(root);
  if (isLatched(version)) {
    noteBlocked(root);
    return STATUS_BUSY;
  }
  if (levelOf(root) > 0 || (slotted ? countOf(root, true) : leafCount(root)) > 0) return STATUS_NOT_EMPTY;
  if (!tryLatch(root, version)) return STATUS_BUSY;
  // From the top down: a branch that was topped up may hand its new last child a neighbour.
  if (!slotted) for (let level = height - 1; level > 0; level--) topUp<K>(level);
  const top = openNode(height - 1);
  copyNode(root, top);
  if (height > 1) branches--;
  else leaves--;
  noteChange(entries, digest);
  store<i64>(slot, load<i64>(slot, THREAD_LEAVES) + leaves, THREAD_LEAVES);
  store<i64>(slot, load<i64>(slot, THREAD_BRANCHES) + branches, THREAD_BRANCHES);
  // The root was a leaf and may be a branch now.
  if (height > 1) {
    store<i64>(slot, load<i64>(slot, THREAD_LEAVES) - 1, THREAD_LEAVES);
    store<i64>(slot, load<i64>(slot, THREAD_BRANCHES) + 1, THREAD_BRANCHES);
  }
  release(root, version);
  markFree(top);
  freeNode(top);
  height = 0;
  return STATUS_TRUE;
}

