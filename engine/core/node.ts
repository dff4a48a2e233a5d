/**
 * Reading and rearranging the inside of one node. Nothing here latches or validates: callers do. Everything here ends
 * and stays inside the node on torn data too: counts are clamped to the capacity before they are used.
 */
import { KEY_VECTOR, LEVEL_FREE, NODE_COUNT, NODE_KEYS, NODE_LEVEL } from "../../layout/node.ts";
import {
  branchCapacity, branchChildren, keyBytes, leafCapacity, leafValues, nodeSize, valueSize,
} from "./state.ts";

/** Bytes of keys below which a search compares them all: independent loads overlap, a binary search's do not. */
const LINEAR_BYTES: usize = 512;

// @ts-ignore: decorator
@inline
export function keyShift<K>(): usize {
  return sizeof<K>() == 4 ? 2 : 3;
}

/** The largest key of its width, which fills unused key places. */
// @ts-ignore: decorator
@inline
export function padding<K>(): K {
  return sizeof<K>() == 4 ? <K>u32.MAX_VALUE : <K>i64.MAX_VALUE;
}

// @ts-ignore: decorator
@inline
export function keyAt<K>(node: usize, i: i32): K {
  return load<K>(node + (<usize>i << keyShift<K>()), NODE_KEYS);
}

// @ts-ignore: decorator
@inline
export function setKey<K>(node: usize, i: i32, key: K): void {
  store<K>(node + (<usize>i << keyShift<K>()), key, NODE_KEYS);
}

// @ts-ignore: decorator
@inline
export function valueAt(leaf: usize, i: i32): usize {
  return leaf + leafValues + <usize>i * valueSize;
}

// @ts-ignore: decorator
@inline
export function childSlot(branch: usize, i: i32): usize {
  return branch + branchChildren + (<usize>i << 2);
}

/** Child address, made a legal node address: on torn data any four bytes may stand here. */
// @ts-ignore: decorator
@inline
export function childAt(branch: usize, i: i32): usize {
  return <usize>(load<u32>(childSlot(branch, i)) & ~63);
}

// @ts-ignore: decorator
@inline
export function leafCount(leaf: usize): i32 {
  return min<i32>(load<u16>(leaf, NODE_COUNT), leafCapacity);
}

// @ts-ignore: decorator
@inline
export function branchCount(branch: usize): i32 {
  return min<i32>(load<u16>(branch, NODE_COUNT), branchCapacity);
}

// @ts-ignore: decorator
@inline
export function levelOf(node: usize): i32 {
  return load<u16>(node, NODE_LEVEL);
}

/** Writes count and level. */
export function setHead(node: usize, count: i32, level: i32): void {
  store<u16>(node, <u16>count, NODE_COUNT);
  store<u16>(node, <u16>level, NODE_LEVEL);
}

export function setCount(node: usize, count: i32): void {
  store<u16>(node, <u16>count, NODE_COUNT);
}

export function markFree(node: usize): void {
  setHead(node, 0, LEVEL_FREE);
}

/** Number of the first n keys that are < key, or (orEqual) <= key. */
// @ts-ignore: decorator
@inline
function countBelow<K>(node: usize, n: i32, key: K, orEqual: bool, window: usize): i32 {
  let p = node + NODE_KEYS;
  let bytes = <usize>n << keyShift<K>();
  let before: usize = 0;
  while (bytes > window) {
    // Halve the window; the new edge is rounded to a vector so that the loop below stays on whole ones.
    const half = (bytes >> 1) & ~(KEY_VECTOR - 1);
    const edge = load<K>(p + half - sizeof<K>());
    // Arithmetic, not `select`: engines may compile that to a branch, which random keys make a coin toss.
    const step = half & (0 - <usize>(orEqual ? edge <= key : edge < key));
    p += step;
    before += step;
    bytes -= half;
  }
  const end = p + ((bytes + KEY_VECTOR - 1) & ~(KEY_VECTOR - 1));
  const wanted = v128.splat<K>(key);
  let sum = v128.splat<K>(<K>0);
  for (; p < end; p += KEY_VECTOR) {
    const keys = v128.load(p);
    // A true lane is all ones, that is -1: subtracting it counts it.
    sum = v128.sub<K>(sum, orEqual ? v128.le<K>(keys, wanted) : v128.lt<K>(keys, wanted));
  }
  let count = <i32>(before >> keyShift<K>());
  if (sizeof<K>() == 4) {
    sum = v128.add<u32>(sum, v128.shuffle<u32>(sum, sum, 2, 3, 0, 1));
    sum = v128.add<u32>(sum, v128.shuffle<u32>(sum, sum, 1, 0, 3, 2));
    count += <i32>v128.extract_lane<u32>(sum, 0);
  } else {
    count += <i32>v128.extract_lane<i64>(sum, 0) + <i32>v128.extract_lane<i64>(sum, 1);
  }
  return min<i32>(count, n);
}

/** Index of the first of the first n keys that is >= key; n if there is none. */
// @ts-ignore: decorator
@inline
export function lowerBound<K>(node: usize, n: i32, key: K, window: usize = LINEAR_BYTES): i32 {
  return countBelow<K>(node, n, key, false, window);
}

/** Index of the first of the first n keys that is > key; n if there is none. In a branch: the child to go to. */
// @ts-ignore: decorator
@inline
export function upperBound<K>(node: usize, n: i32, key: K, window: usize = LINEAR_BYTES): i32 {
  return countBelow<K>(node, n, key, true, window);
}

/** Moves [from, from + bytes) up by `by` bytes, bytes and by being multiples of 4; the ranges may overlap. */
function moveUp(from: usize, bytes: usize, by: usize): void {
  let p = from + bytes;
  while (p >= from + 16) {
    p -= 16;
    v128.store(p + by, v128.load(p));
  }
  while (p > from) {
    p -= 4;
    store<u32>(p + by, load<u32>(p));
  }
}

/** Moves [from, from + bytes) down by `by` bytes, bytes and by being multiples of 4; the ranges may overlap. */
function moveDown(from: usize, bytes: usize, by: usize): void {
  let p = from;
  const end = from + bytes;
  while (p + 16 <= end) {
    v128.store(p - by, v128.load(p));
    p += 16;
  }
  while (p < end) {
    store<u32>(p - by, load<u32>(p));
    p += 4;
  }
}

/** Copies a value; sizes are multiples of 4. */
// @ts-ignore: decorator
@inline
export function copyValue(to: usize, from: usize): void {
  if (valueSize == 8) store<u64>(to, load<u64>(from));
  else if (valueSize == 4) store<u32>(to, load<u32>(from));
  else copyWords(to, from, valueSize);
}

/** Copies bytes, a multiple of 4, upwards. */
export function copyWords(to: usize, from: usize, bytes: usize): void {
  let i: usize = 0;
  for (; i + 16 <= bytes; i += 16) v128.store(to + i, v128.load(from + i));
  for (; i < bytes; i += 4) store<u32>(to + i, load<u32>(from + i));
}

export function equalValues(a: usize, b: usize): bool {
  let i: usize = 0;
  for (; i + 8 <= valueSize; i += 8) if (load<u64>(a + i) != load<u64>(b + i)) return false;
  for (; i < valueSize; i += 4) if (load<u32>(a + i) != load<u32>(b + i)) return false;
  return true;
}

/** Makes room for an entry at index i of a leaf of n entries and writes its key; the caller writes the value. */
export function insertEntry<K>(leaf: usize, n: i32, i: i32, key: K): void {
  const keys = leaf + NODE_KEYS + (<usize>i << keyShift<K>());
  moveUp(keys, <usize>(n - i) << keyShift<K>(), sizeof<K>());
  store<K>(keys, key);
  moveUp(valueAt(leaf, i), <usize>(n - i) * valueSize, valueSize);
  setCount(leaf, n + 1);
}

/** Closes the gap at index i of a leaf of n entries. */
export function removeEntry<K>(leaf: usize, n: i32, i: i32): void {
  const keys = leaf + NODE_KEYS + (<usize>(i + 1) << keyShift<K>());
  moveDown(keys, <usize>(n - 1 - i) << keyShift<K>(), sizeof<K>());
  setKey<K>(leaf, n - 1, padding<K>());
  moveDown(valueAt(leaf, i + 1), <usize>(n - 1 - i) * valueSize, valueSize);
  setCount(leaf, n - 1);
}

/** Puts a separator at index i and the child right of it at i + 1 into a branch of n separators. */
export function insertChild<K>(branch: usize, n: i32, i: i32, separator: K, child: usize): void {
  const keys = branch + NODE_KEYS + (<usize>i << keyShift<K>());
  moveUp(keys, <usize>(n - i) << keyShift<K>(), sizeof<K>());
  store<K>(keys, separator);
  moveUp(childSlot(branch, i + 1), <usize>(n - i) << 2, 4);
  store<u32>(childSlot(branch, i + 1), <u32>child);
  setCount(branch, n + 1);
}

/** Takes the separator at index i and the child right of it out of a branch of n separators. */
export function removeChild<K>(branch: usize, n: i32, i: i32): void {
  const keys = branch + NODE_KEYS + (<usize>(i + 1) << keyShift<K>());
  moveDown(keys, <usize>(n - 1 - i) << keyShift<K>(), sizeof<K>());
  setKey<K>(branch, n - 1, padding<K>());
  moveDown(childSlot(branch, i + 2), <usize>(n - 1 - i) << 2, 4);
  setCount(branch, n - 1);
}

/** Fills the key places from index `from` on with padding. */
export function padKeys<K>(node: usize, from: i32, level: i32): void {
  const end = node + NODE_KEYS + keyBytes(level > 0 ? branchCapacity : leafCapacity);
  for (let p = node + NODE_KEYS + (<usize>from << keyShift<K>()); p < end; p += sizeof<K>()) store<K>(p, padding<K>());
}

/** Copies n entries between leaves (or into work room that is laid out like one). */
export function copyEntries<K>(to: usize, toIndex: i32, from: usize, fromIndex: i32, n: i32): void {
  memory.copy(
    to + NODE_KEYS + (<usize>toIndex << keyShift<K>()),
    from + NODE_KEYS + (<usize>fromIndex << keyShift<K>()),
    <usize>n << keyShift<K>(),
  );
  memory.copy(valueAt(to, toIndex), valueAt(from, fromIndex), <usize>n * valueSize);
}

/** Copies n separators between branches. */
export function copySeparators<K>(to: usize, toIndex: i32, from: usize, fromIndex: i32, n: i32): void {
  memory.copy(
    to + NODE_KEYS + (<usize>toIndex << keyShift<K>()),
    from + NODE_KEYS + (<usize>fromIndex << keyShift<K>()),
    <usize>n << keyShift<K>(),
  );
}

/** Copies n children between branches. */
export function copyChildren(to: usize, toIndex: i32, from: usize, fromIndex: i32, n: i32): void {
  memory.copy(childSlot(to, toIndex), childSlot(from, fromIndex), <usize>n << 2);
}

/** Copies everything but the version word. */
export function copyNode(to: usize, from: usize): void {
  memory.copy(to + NODE_COUNT, from + NODE_COUNT, nodeSize - NODE_COUNT);
}
