/**
 * Lookups overlapped. A lookup in a large tree mostly waits for memory: one after another they pay the latency of every
 * level in turn, while sixteen that go down level by level together pay it about once.
 *
 * The processor overlaps what it can see at a time, a few hundred instructions. So the work of a level is cut in two:
 * all searches first, in nodes that have arrived by then; then a loop that does little more than ask for the next
 * sixteen nodes, so that all their misses are under way at once. More than sixteen are no gain: nodes stand at multiples
 * of their size, and lines at the same offset in more nodes than that drive each other out of a first-level cache.
 */
import { CACHE_LINE } from "../../layout/bits.ts";
import { MAX_LEVELS } from "../../layout/node.ts";
import { STATUS_FALSE, STATUS_TRUE } from "../../layout/operation.ts";
import { BLOCK_COUNT, OVERLAP } from "../../layout/tree-memory.ts";
import { reachable } from "./descent.ts";
import { isLatched, readVersion, validate } from "./latch.ts";
import { branchCount, childAt, copyValue, keyAt, leafCount, levelOf, lowerBound, upperBound, valueAt } from "./node.ts";
import { read, write } from "./point.ts";
import {
  area, areaFound, areaValues, block, branchCapacity, leafCapacity, leafValues, lookups, narrowOrder,
  nodeSize, root, valueSize, wideOrder,
} from "./state.ts";

/** A lookup under way: key (8 bytes), version of the node it has reached, that node, the place it goes on to, a note. */
const LOOKUP: usize = 32;
const KEY: usize = 0;
const VERSION: usize = 8;
const NODE: usize = 16;
const PLACE: usize = 20;
const NOTE: usize = 24;

/** Bytes of keys compared one by one at the end of a search: one line, since here waiting overlaps, and work does not. */
const WINDOW: usize = CACHE_LINE;

/** Most bytes of a leaf's keys that are fetched as a whole; a search in a larger leaf needs few of its lines. */
const FETCH_BYTES: usize = 1024;

/** Keeps loads that only fetch from being removed. */
export let touched: u32 = 0;

// @ts-ignore: decorator
@inline
function lookupAt(j: i32): usize {
  return lookups + <usize>j * LOOKUP;
}

// @ts-ignore: decorator
@inline
export function setLookup<K>(j: i32, key: K): void {
  store<K>(lookupAt(j), key, KEY);
}

/** Leaf found for lookup j; 0 if it has to be searched for again. */
// @ts-ignore: decorator
@inline
export function foundLeaf(j: i32): usize {
  return <usize>load<u32>(lookupAt(j), NODE);
}

// @ts-ignore: decorator
@inline
export function foundVersion(j: i32): u64 {
  return load<u64>(lookupAt(j), VERSION);
}

/** Four bytes that a caller may keep with lookup j. */
// @ts-ignore: decorator
@inline
export function notePlace(j: i32): usize {
  return lookupAt(j) + NOTE;
}

/**
 * Takes n <= OVERLAP lookups, whose keys were set by `setLookup`, down to their leaves together. Never waits: a lookup
 * that meets a latched or changed node is given up.
 *
 * Searches go over the capacity, not over the count: keys beyond the count are the largest there are, and a number of
 * steps that never varies is one the processor predicts.
 */
export function locate<K>(n: i32): void {
  const version = readVersion(root);
  let level = levelOf(root);
  const lost = isLatched(version) || level > MAX_LEVELS;
  const end = lookupAt(n);
  for (let p = lookups; p < end; p += LOOKUP) {
    store<u32>(p, lost ? 0 : <u32>root, NODE);
    store<u64>(p, version, VERSION);
  }
  if (lost) return;
  // The root is the same for all, and often has few keys.
  let keys = branchCount(root);
  const fetchEnd: usize = leafValues <= FETCH_BYTES && leafValues + 2 * CACHE_LINE <= <usize>nodeSize ? leafValues : 0;
  for (; level > 0; level--) {
    for (let p = lookups; p < end; p += LOOKUP) {
      const node = <usize>load<u32>(p, NODE);
      if (node == 0) continue;
      const i = upperBound<K>(node, keys, load<K>(p, KEY), WINDOW);
      store<u32>(p, <u32>childAt(node, min<i32>(i, branchCount(node))), PLACE);
    }
    keys = branchCapacity;
    // Of a branch only the line of the version: branches are few, and stay in the caches. Of a leaf all that hold keys;
    // in a loop of its own, and a short one, so that the processor sees all of these loads at a time.
    let sum: u32 = 0;
    if (level == 1 && fetchEnd != 0) {
      for (let p = lookups; p < end; p += LOOKUP) {
        const child = <usize>load<u32>(p, PLACE);
        if (!reachable(child)) continue;
        sum += load<u8>(child);
        for (let line = child + CACHE_LINE, stop = child + fetchEnd; line < stop; line += 3 * CACHE_LINE) {
          sum += load<u8>(line) + load<u8>(line, CACHE_LINE) + load<u8>(line, 2 * CACHE_LINE);
        }
      }
    }
    for (let p = lookups; p < end; p += LOOKUP) {
      const node = <usize>load<u32>(p, NODE);
      if (node == 0) continue;
      const child = <usize>load<u32>(p, PLACE);
      let next: usize = 0;
      if (reachable(child)) {
        const childVersion = readVersion(child);
        if (validate(node, load<u64>(p, VERSION)) && !isLatched(childVersion)) {
          next = child;
          store<u64>(p, childVersion, VERSION);
        }
      }
      store<u32>(p, <u32>next, NODE);
    }
    touched += sum;
  }
}

// @ts-ignore: decorator
@inline
function areaKey<K>(i: i32): K {
  if (sizeof<K>() == 4) return <K>narrowOrder(load<u32>(area + (<usize>i << 2)));
  return <K>wideOrder(load<i64>(area + (<usize>i << 3)));
}

/**
 * Looks up the n <= BATCH keys in the area; values and found flags go to the area too. Returns how many were done (fewer
 * than n only when one was BUSY); BLOCK_COUNT tells how many were found.
 */
export function readMany<K>(n: i32): i32 {
  let found = 0;
  for (let done = 0; done < n; done += OVERLAP) {
    const group = min<i32>(OVERLAP, n - done);
    const end = lookupAt(group);
    for (let j = 0; j < group; j++) setLookup<K>(j, areaKey<K>(done + j));
    locate<K>(group);
    // In two passes again: where the values stand (0: nowhere), then the values.
    for (let p = lookups; p < end; p += LOOKUP) {
      const leaf = <usize>load<u32>(p, NODE);
      if (leaf == 0) continue;
      const key = load<K>(p, KEY);
      const i = lowerBound<K>(leaf, leafCapacity, key, WINDOW);
      store<u32>(p, i < leafCount(leaf) && keyAt<K>(leaf, i) == key ? <u32>valueAt(leaf, i) : 0, PLACE);
    }
    let i = done;
    for (let p = lookups; p < end; p += LOOKUP) {
      const leaf = <usize>load<u32>(p, NODE);
      const value = <usize>load<u32>(p, PLACE);
      const out = areaValues + <usize>i * valueSize;
      let status: i32 = value != 0 ? STATUS_TRUE : STATUS_FALSE;
      if (leaf != 0 && value != 0) copyValue(out, value);
      if (leaf == 0 || !validate(leaf, load<u64>(p, VERSION))) {
        status = read<K>(load<K>(p, KEY), out, 0, 0);
        if (status > STATUS_TRUE) {
          store<u32>(block, found, BLOCK_COUNT);
          return i;
        }
      }
      store<u8>(areaFound + <usize>i, <u8>status);
      found += status;
      i++;
    }
  }
  store<u32>(block, found, BLOCK_COUNT);
  return n;
}

/** Status that ended `writeMany` early. */
export let lastStatus: i32 = 0;

/**
 * Applies `op` to the n <= BATCH keys (and values) in the area, in order. Returns how many were done (fewer than n only
 * when one could not be: `lastStatus` says why); their outcomes stand in the found flags, and BLOCK_COUNT counts the
 * TRUE ones.
 */
export function writeMany<K>(op: i32, n: i32): i32 {
  let count = 0;
  let done = 0;
  while (done < n) {
    const group = min<i32>(OVERLAP, n - done);
    for (let j = 0; j < group; j++) setLookup<K>(j, areaKey<K>(done + j));
    locate<K>(group);
    for (let j = 0; j < group; j++) {
      const i = done + j;
      const status = write<K>(
        op, load<K>(lookupAt(j), KEY), areaValues + <usize>i * valueSize, 0, 0, false, foundLeaf(j), foundVersion(j),
      );
      if (status > STATUS_TRUE) {
        lastStatus = status;
        store<u32>(block, count, BLOCK_COUNT);
        return i;
      }
      store<u8>(areaFound + <usize>i, <u8>status);
      count += status;
    }
    done += group;
  }
  store<u32>(block, count, BLOCK_COUNT);
  return done;
}
