/**
 * Reading and rearranging the inside of one slotted node (layout/slotted.ts). Nothing here latches or validates: callers
 * do. Everything that readers use ends and stays inside the node on torn data too: counts, lengths and offsets are
 * clamped before they are used.
 *
 * Whatever changes more than one entry goes through *items*: a list of keys in the work room, each as two pieces of bytes
 * (a prefix and a suffix, wherever they stand) with what belongs to it. A node is built from a run of items.
 */
import { LEVEL_FREE, NODE_COUNT, NODE_KEYS, NODE_LEVEL } from "../../layout/node.ts";
import {
  KEY_BYTES, KEY_LENGTH, MAX_KEY_BYTES, SLOTTED_DEAD, SLOTTED_HEADS, SLOTTED_HEAP, SLOTTED_PREFIX, SLOTTED_ROOM,
} from "../../layout/slotted.ts";
import { copyValue, lowerBound, setCount, setHead, upperBound } from "./node.ts";
import { items, mostLeafRoom, mostBranchRoom, nodeSize, valueSize } from "./state.ts";

/** The key that a search is for: where its bytes stand, and how many there are. */
export let wanted: usize = 0;
export let wantedLength: i32 = 0;

// @ts-ignore: decorator
@inline
export function seek(key: usize): void {
  wanted = key + KEY_BYTES;
  wantedLength = min<i32>(load<u32>(key, KEY_LENGTH), MAX_KEY_BYTES);
}

/** The same for a key that stands anywhere, and to go back to an earlier one. */
// @ts-ignore: decorator
@inline
export function seekBytes(bytes: usize, length: i32): void {
  wanted = bytes;
  wantedLength = length;
}

// @ts-ignore: decorator
@inline
export function roomOf(node: usize, isLeaf: bool): i32 {
  return min<i32>(<i32>load<u16>(node, SLOTTED_ROOM) & ~3, isLeaf ? mostLeafRoom : mostBranchRoom);
}

/** Number of keys. */
// @ts-ignore: decorator
@inline
export function countOf(node: usize, isLeaf: bool): i32 {
  return min<i32>(load<u16>(node, NODE_COUNT), roomOf(node, isLeaf));
}

// @ts-ignore: decorator
@inline
export function prefixLength(node: usize): i32 {
  return min<i32>(load<u16>(node, SLOTTED_PREFIX), MAX_KEY_BYTES);
}

// @ts-ignore: decorator
@inline
export function prefixAt(node: usize): usize {
  return node + nodeSize - <usize>prefixLength(node);
}

// @ts-ignore: decorator
@inline
function headPlace(node: usize, i: i32): usize {
  return node + SLOTTED_HEADS + (<usize>i << 2);
}

// @ts-ignore: decorator
@inline
function slotPlace(node: usize, room: i32, i: i32): usize {
  return node + SLOTTED_HEADS + (<usize>(room + i) << 2);
}

/** Where the value of entry i of a leaf stands. */
// @ts-ignore: decorator
@inline
export function entryValue(leaf: usize, room: i32, i: i32): usize {
  return leaf + SLOTTED_HEADS + (<usize>room << 3) + <usize>i * valueSize;
}

// @ts-ignore: decorator
@inline
export function childPlace(branch: usize, room: i32, i: i32): usize {
  return branch + SLOTTED_HEADS + (<usize>room << 3) + (<usize>i << 2);
}

/** Child address, made a legal node address: on torn data any four bytes may stand here. */
// @ts-ignore: decorator
@inline
export function childOf(branch: usize, i: i32): usize {
  return <usize>(load<u32>(childPlace(branch, roomOf(branch, false), i)) & ~63);
}

/** First byte behind the arrays. */
// @ts-ignore: decorator
@inline
function arraysEnd(room: i32, isLeaf: bool): usize {
  return <usize>SLOTTED_HEADS + (<usize>room << 3) + (isLeaf ? <usize>room * valueSize : (<usize>room + 1) << 2);
}

/** Suffix of key i: its offset, clamped. */
// @ts-ignore: decorator
@inline
function suffixOffset(slot: u32): usize {
  return min<usize>(<usize>(slot & 0xffff), nodeSize);
}

// @ts-ignore: decorator
@inline
function suffixLength(slot: u32): i32 {
  return <i32>min<usize>(<usize>(slot >> 16), nodeSize - suffixOffset(slot));
}

/** The first four of `length` bytes as an integer that compares as they do. */
// @ts-ignore: decorator
@inline
function headOf(bytes: usize, length: i32): u32 {
  return length >= 4 ? bswap<u32>(load<u32>(bytes)) : shortHead(bytes, length);
}

function shortHead(bytes: usize, length: i32): u32 {
  let head: u32 = 0;
  for (let i = 0; i < length; i++) head |= <u32>load<u8>(bytes + <usize>i) << (24 - (i << 3));
  return head;
}

/** Compares two runs of bytes; where one is the beginning of the other it is the smaller. Negative, 0 or positive. */
export function compareBytes(a: usize, aLength: i32, b: usize, bLength: i32): i32 {
  const n = min<i32>(aLength, bLength);
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    const x = load<u64>(a + <usize>i);
    const y = load<u64>(b + <usize>i);
    if (x != y) return bswap<u64>(x) < bswap<u64>(y) ? -1 : 1;
  }
  for (; i < n; i++) {
    const x = <i32>load<u8>(a + <usize>i);
    const y = <i32>load<u8>(b + <usize>i);
    if (x != y) return x - y;
  }
  return aLength - bLength;
}

/** How many bytes two runs have in common at their beginning. */
export function commonBytes(a: usize, aLength: i32, b: usize, bLength: i32): i32 {
  const n = min<i32>(aLength, bLength);
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    const difference = load<u64>(a + <usize>i) ^ load<u64>(b + <usize>i);
    if (difference != 0) return i + <i32>(ctz<u64>(difference) >> 3);
  }
  while (i < n && load<u8>(a + <usize>i) == load<u8>(b + <usize>i)) i++;
  return i;
}

/** Whether the last `search` met the wanted key itself. */
export let met: bool = false;

/**
 * Index of the first of a node's n keys that is not below the wanted one (`after`: that is above it); `met` tells whether
 * the wanted key is there.
 */
export function search(node: usize, n: i32, isLeaf: bool, after: bool): i32 {
  met = false;
  const prefix = prefixLength(node);
  let key = wanted;
  let length = wantedLength;
  if (prefix > 0) {
    const order = compareBytes(key, min<i32>(length, prefix), node + nodeSize - <usize>prefix, prefix);
    if (order != 0) return order < 0 ? 0 : n;
    key += <usize>prefix;
    length -= prefix;
  }
  const head = headOf(key, length);
  // The heads stand where `lowerBound` looks for the keys of a node that begins that much further on.
  const heads = node + (SLOTTED_HEADS - NODE_KEYS);
  let low = lowerBound<u32>(heads, n, head);
  if (low >= n || load<u32>(headPlace(node, low)) != head) return low;
  // Heads are equal from here on up to `high`: now the rest of the suffixes decides.
  let high = low + 1 < n && load<u32>(headPlace(node, low + 1)) == head ? upperBound<u32>(heads, n, head) : low + 1;
  const room = roomOf(node, isLeaf);
  const end = high;
  while (low < high) {
    const middle = (low + high) >> 1;
    const slot = load<u32>(slotPlace(node, room, middle));
    const order = compareBytes(key, length, node + suffixOffset(slot), suffixLength(slot));
    if (order == 0) {
      met = true;
      return after ? middle + 1 : middle;
    }
    if (order < 0) high = middle;
    else low = middle + 1;
  }
  return min<i32>(low, end);
}

/** Writes key i to a place for keys (layout/slotted.ts). */
export function copyKey(node: usize, i: i32, isLeaf: bool, to: usize): void {
  const prefix = prefixLength(node);
  const slot = load<u32>(slotPlace(node, roomOf(node, isLeaf), i));
  const length = min<i32>(suffixLength(slot), MAX_KEY_BYTES - prefix);
  memory.copy(to + KEY_BYTES, node + nodeSize - <usize>prefix, <usize>prefix);
  memory.copy(to + KEY_BYTES + <usize>prefix, node + suffixOffset(slot), <usize>length);
  store<u32>(to, <u32>(prefix + length), KEY_LENGTH);
}

/** Bytes of key i. */
export function keyLength(node: usize, i: i32, isLeaf: bool): i32 {
  const slot = load<u32>(slotPlace(node, roomOf(node, isLeaf), i));
  return min<i32>(prefixLength(node) + suffixLength(slot), MAX_KEY_BYTES);
}

/** Writes the bytes of key i, `length` of them (see `keyLength`), to `to`. */
export function copyKeyBytes(node: usize, i: i32, isLeaf: bool, length: i32, to: usize): void {
  const prefix = min<i32>(prefixLength(node), length);
  const slot = load<u32>(slotPlace(node, roomOf(node, isLeaf), i));
  memory.copy(to, prefixAt(node), <usize>prefix);
  memory.copy(to + <usize>prefix, node + suffixOffset(slot), <usize>min<i32>(length - prefix, suffixLength(slot)));
}

/** Bytes of the node that are in use: arrays up to the count, live suffixes, prefix. */
export function usedBytes(node: usize, isLeaf: bool): i32 {
  const n = countOf(node, isLeaf);
  const heap = <i32>min<usize>(load<u16>(node, SLOTTED_HEAP), nodeSize);
  const live = <i32>nodeSize - heap - <i32>load<u16>(node, SLOTTED_DEAD);
  return SLOTTED_HEADS + n * 8 + (isLeaf ? n * <i32>valueSize : (n + 1) * 4) + max<i32>(live, 0);
}

/**
 * Whether the wanted key can be entered without a split. Below the last sixteenth a node is not rebuilt for one more key:
 * it would be rebuilt for the next one again.
 */
export function hasRoom(node: usize, isLeaf: bool): bool {
  const n = countOf(node, isLeaf);
  if (n == 0) return true;
  const prefix = prefixLength(node);
  const common = commonBytes(wanted, wantedLength, prefixAt(node), prefix);
  const entry = 8 + (isLeaf ? <i32>valueSize : 4);
  if (common == prefix && fitsAsItIs(node, n, isLeaf, wantedLength - prefix)) return true;
  const heap = <i32>min<usize>(load<u16>(node, SLOTTED_HEAP), nodeSize);
  const suffixes = <i32>nodeSize - heap - <i32>load<u16>(node, SLOTTED_DEAD) - prefix;
  const needed = SLOTTED_HEADS + ((n + 4) & ~3) * entry + 4 + common + suffixes + (prefix - common) * n + wantedLength - common;
  return needed <= <i32>nodeSize - (n >= 16 ? <i32>(nodeSize >> 4) : 0);
}

/** Whether there is a free place, and so many bytes between the arrays and the heap. */
// @ts-ignore: decorator
@inline
function fitsAsItIs(node: usize, n: i32, isLeaf: bool, suffix: i32): bool {
  const room = roomOf(node, isLeaf);
  return n < room && <i32>load<u16>(node, SLOTTED_HEAP) - <i32>arraysEnd(room, isLeaf) >= suffix;
}

/** Makes an empty node. */
export function emptyNode(node: usize, level: i32): void {
  setHead(node, 0, level);
  store<u16>(node, <u16>nodeSize, SLOTTED_HEAP);
  store<u16>(node, 0, SLOTTED_ROOM);
  store<u32>(node, 0, SLOTTED_PREFIX);
  if (level > 0) store<u32>(childPlace(node, 0, 0), 0);
}

/** Moves n words up by one place. */
// @ts-ignore: decorator
@inline
function shiftUp(from: usize, bytes: usize, by: usize): void {
  memory.copy(from + by, from, bytes);
}

/**
 * Enters the wanted key as number i of n, which `hasRoom` has said is possible; rebuilds the node if need be. The caller
 * writes the value or the child (right of the key, at i + 1): where it belongs is returned.
 */
export function insertKey(node: usize, n: i32, i: i32, level: i32): usize {
  const isLeaf = level == 0;
  const prefix = prefixLength(node);
  const room = roomOf(node, isLeaf);
  if (n == 0 || commonBytes(wanted, wantedLength, prefixAt(node), prefix) < prefix || !fitsAsItIs(node, n, isLeaf, wantedLength - prefix)) {
    return rebuildWith(node, n, i, level);
  }
  const suffix = wanted + <usize>prefix;
  const length = wantedLength - prefix;
  const heap = <usize>load<u16>(node, SLOTTED_HEAP) - <usize>length;
  memory.copy(node + heap, suffix, <usize>length);
  store<u16>(node, <u16>heap, SLOTTED_HEAP);
  shiftUp(headPlace(node, i), <usize>(n - i) << 2, 4);
  store<u32>(headPlace(node, i), headOf(suffix, length));
  shiftUp(slotPlace(node, room, i), <usize>(n - i) << 2, 4);
  store<u32>(slotPlace(node, room, i), <u32>heap | (<u32>length << 16));
  setCount(node, n + 1);
  if (isLeaf) {
    shiftUp(entryValue(node, room, i), <usize>(n - i) * valueSize, valueSize);
    return entryValue(node, room, i);
  }
  shiftUp(childPlace(node, room, i + 1), <usize>(n - i) << 2, 4);
  return childPlace(node, room, i + 1);
}

/** Takes key i of n out, with its value or the child right of it. */
export function removeKey(node: usize, n: i32, i: i32, level: i32): void {
  const isLeaf = level == 0;
  const room = roomOf(node, isLeaf);
  const length = load<u32>(slotPlace(node, room, i)) >> 16;
  store<u16>(node, <u16>(load<u16>(node, SLOTTED_DEAD) + length), SLOTTED_DEAD);
  const after = <usize>(n - 1 - i);
  memory.copy(headPlace(node, i), headPlace(node, i + 1), after << 2);
  store<u32>(headPlace(node, n - 1), u32.MAX_VALUE);
  memory.copy(slotPlace(node, room, i), slotPlace(node, room, i + 1), after << 2);
  if (isLeaf) memory.copy(entryValue(node, room, i), entryValue(node, room, i + 1), after * valueSize);
  else memory.copy(childPlace(node, room, i + 1), childPlace(node, room, i + 2), after << 2);
  setCount(node, n - 1);
}

// --- items ------------------------------------------------------------------------------------------------------------

/** An item: prefix and suffix (address, length), then its value's address or its child (right of it). */
const ITEM: usize = 20;
const PREFIX: usize = 0;
const PREFIX_LENGTH: usize = 4;
const SUFFIX: usize = 8;
const SUFFIX_LENGTH: usize = 12;
const PAYLOAD: usize = 16;

// @ts-ignore: decorator
@inline
function item(i: i32): usize {
  return items + <usize>i * ITEM;
}

// @ts-ignore: decorator
@inline
function itemLength(at: usize): i32 {
  return <i32>load<u32>(at, PREFIX_LENGTH) + <i32>load<u32>(at, SUFFIX_LENGTH);
}

/** Makes item i: a key in two pieces. */
export function setItem(i: i32, prefix: usize, prefixLength: i32, suffix: usize, suffixLength: i32, payload: u32): void {
  const at = item(i);
  store<u32>(at, <u32>prefix, PREFIX);
  store<u32>(at, <u32>prefixLength, PREFIX_LENGTH);
  store<u32>(at, <u32>suffix, SUFFIX);
  store<u32>(at, <u32>suffixLength, SUFFIX_LENGTH);
  store<u32>(at, payload, PAYLOAD);
}

/** Makes items from `first` on of the n keys of a node that nobody changes (a copy). */
export function takeItems(first: i32, node: usize, n: i32, isLeaf: bool): void {
  const prefix = prefixAt(node);
  const length = prefixLength(node);
  const room = roomOf(node, isLeaf);
  for (let i = 0; i < n; i++) {
    const slot = load<u32>(slotPlace(node, room, i));
    const payload = isLeaf ? <u32>entryValue(node, room, i) : load<u32>(childPlace(node, room, i + 1));
    setItem(first + i, prefix, length, node + suffixOffset(slot), suffixLength(slot), payload);
  }
}

/** Copies the bytes of an item's key from byte `from` on to `to`. */
// @ts-ignore: decorator
@inline
function copyItem(at: usize, from: i32, to: usize): void {
  const prefix = <i32>load<u32>(at, PREFIX_LENGTH);
  const suffix = <usize>load<u32>(at, SUFFIX);
  const length = <i32>load<u32>(at, SUFFIX_LENGTH);
  if (from < prefix) {
    const part = <usize>(prefix - from);
    memory.copy(to, <usize>load<u32>(at, PREFIX) + <usize>from, part);
    memory.copy(to + part, suffix, <usize>length);
  } else {
    memory.copy(to, suffix + <usize>(from - prefix), <usize>(length - (from - prefix)));
  }
}

/** Byte `i` of an item's key. */
// @ts-ignore: decorator
@inline
function itemByte(at: usize, i: i32): u8 {
  const prefix = <i32>load<u32>(at, PREFIX_LENGTH);
  return i < prefix ? load<u8>(<usize>load<u32>(at, PREFIX) + <usize>i) : load<u8>(<usize>load<u32>(at, SUFFIX) + <usize>(i - prefix));
}

/** Bytes that the keys of two items have in common. */
function commonOf(a: i32, b: i32): i32 {
  const x = item(a);
  const y = item(b);
  const n = min<i32>(itemLength(x), itemLength(y));
  let i = 0;
  // Keys of one node share its prefix.
  if (load<u32>(x, PREFIX) == load<u32>(y, PREFIX)) i = min<i32>(<i32>load<u32>(x, PREFIX_LENGTH), <i32>load<u32>(y, PREFIX_LENGTH));
  while (i < n && itemByte(x, i) == itemByte(y, i)) i++;
  return i;
}

/** Bytes of the prefix that a node of items [from, to) has: with one key none, for the next one would end it. */
// @ts-ignore: decorator
@inline
function prefixOf(from: i32, to: i32): i32 {
  return to - from < 2 ? 0 : commonOf(from, to - 1);
}

/** Bytes of the keys of items [from, to). */
function keyBytesOf(from: i32, to: i32): i32 {
  let sum = 0;
  for (let i = from; i < to; i++) sum += itemLength(item(i));
  return sum;
}

/** Bytes that a node of items [from, to) takes at least. */
export function bytesOf(from: i32, to: i32, isLeaf: bool): i32 {
  const n = to - from;
  const prefix = prefixOf(from, to);
  const entry = 8 + (isLeaf ? <i32>valueSize : 4);
  return SLOTTED_HEADS + ((n + 3) & ~3) * entry + 4 + prefix + keyBytesOf(from, to) - prefix * n;
}

/**
 * Where to cut items [0, n) in two, so that the bytes of the keys and entries before it are about `part` of 256. Between
 * 1 and n - 1.
 */
export function cutItems(n: i32, isLeaf: bool, part: i32): i32 {
  const entry = 8 + (isLeaf ? <i32>valueSize : 4);
  let total = 0;
  for (let i = 0; i < n; i++) total += <i32>load<u32>(item(i), SUFFIX_LENGTH) + entry;
  const goal = <i32>((<i64>total * part) >> 8);
  let sum = 0;
  let i = 0;
  for (; i < n && sum < goal; i++) sum += <i32>load<u32>(item(i), SUFFIX_LENGTH) + entry;
  return max<i32>(1, min<i32>(n - 1, i));
}

/** Writes the key of item i to a place for keys. */
export function keyOfItem(i: i32, to: usize): void {
  const at = item(i);
  store<u32>(to, <u32>itemLength(at), KEY_LENGTH);
  copyItem(at, 0, to + KEY_BYTES);
}

/** Writes the shortest key that is greater than item i - 1 and not greater than item i to a place for keys. */
export function separatorBefore(i: i32, to: usize): void {
  keyOfItem(i, to);
  store<u32>(to, <u32>min<i32>(commonOf(i - 1, i) + 1, itemLength(item(i))), KEY_LENGTH);
}

/** The child of item i. */
// @ts-ignore: decorator
@inline
export function childOfItem(i: i32): u32 {
  return load<u32>(item(i), PAYLOAD);
}

/** Builds a node of items [from, to), which fit; of a branch also its first child. The items must not point into it. */
export function buildNode(node: usize, from: i32, to: i32, level: i32, firstChild: u32): void {
  const isLeaf = level == 0;
  const n = to - from;
  const prefix = prefixOf(from, to);
  const suffixes = keyBytesOf(from, to) - prefix * n;
  const entry = 8 + (isLeaf ? <i32>valueSize : 4);
  // What is left over is divided between arrays and heap as the keys at hand need it.
  const free = <i32>nodeSize - SLOTTED_HEADS - 4 - prefix;
  const average = n == 0 ? 16 : (suffixes + n - 1) / n;
  const most = isLeaf ? mostLeafRoom : mostBranchRoom;
  let room = min<i32>(free / (entry + average), most) & ~3;
  if (room < n) room = (n + 3) & ~3;
  while (room - 4 >= n && room * entry + suffixes > free) room -= 4;
  setHead(node, n, level);
  store<u16>(node, <u16>room, SLOTTED_ROOM);
  store<u16>(node, <u16>prefix, SLOTTED_PREFIX);
  store<u16>(node, 0, SLOTTED_DEAD);
  let heap = nodeSize - <usize>prefix;
  // The prefix is the beginning of any of the keys.
  if (prefix > 0) {
    const at = item(from);
    const part = min<i32>(prefix, <i32>load<u32>(at, PREFIX_LENGTH));
    memory.copy(node + heap, <usize>load<u32>(at, PREFIX), <usize>part);
    if (part < prefix) memory.copy(node + heap + <usize>part, <usize>load<u32>(at, SUFFIX), <usize>(prefix - part));
  }
  if (!isLeaf) store<u32>(childPlace(node, room, 0), firstChild);
  for (let i = 0; i < n; i++) {
    const at = item(from + i);
    const length = itemLength(at) - prefix;
    heap -= <usize>length;
    copyItem(at, prefix, node + heap);
    store<u32>(headPlace(node, i), headOf(node + heap, length));
    store<u32>(slotPlace(node, room, i), <u32>heap | (<u32>length << 16));
    if (isLeaf) copyValue(entryValue(node, room, i), <usize>load<u32>(at, PAYLOAD));
    else store<u32>(childPlace(node, room, i + 1), load<u32>(at, PAYLOAD));
  }
  for (let i = n; i < room; i++) store<u32>(headPlace(node, i), u32.MAX_VALUE);
  store<u16>(node, <u16>heap, SLOTTED_HEAP);
}

/** Builds the node anew with the wanted key as number i. */
function rebuildWith(node: usize, n: i32, i: i32, level: i32): usize {
  const isLeaf = level == 0;
  memory.copy(rebuildCopy, node, nodeSize);
  takeItems(0, rebuildCopy, n, isLeaf);
  memory.copy(item(i + 1), item(i), <usize>(n - i) * ITEM);
  // Its payload is rubbish that the caller overwrites; a leaf's must be readable.
  setItem(i, wanted, 0, wanted, wantedLength, isLeaf ? <u32>rebuildCopy : 0);
  buildNode(node, 0, n + 1, level, isLeaf ? 0 : <u32>childOf(rebuildCopy, 0));
  const room = roomOf(node, isLeaf);
  return isLeaf ? entryValue(node, room, i) : childPlace(node, room, i + 1);
}

/** Room for a copy of a node that is rebuilt. */
let rebuildCopy: usize = 0;

export function setRebuildCopy(address: usize): void {
  rebuildCopy = address;
}

export function markSlottedFree(node: usize): void {
  setHead(node, 0, LEVEL_FREE);
}

/** Level of a node. */
// @ts-ignore: decorator
@inline
export function slottedLevel(node: usize): i32 {
  return load<u16>(node, NODE_LEVEL);
}
