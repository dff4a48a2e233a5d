/**
 * Lookups overlapped. A lookup in a large tree mostly waits for memory: one after another they pay the latency of every
 * level in turn, while sixteen that go down level by level together pay it about once.
 */
import { CACHE_LINE } from "../../layout/bits.ts";
import { BATCH, OVERLAP } from "../../layout/tree-memory.ts";
import { MAX_LEVELS } from "../../layout/node.ts";
import { BLOCK_COUNT } from "../../layout/tree-memory.ts";
import { STATUS_FALSE, STATUS_TRUE } from "../../layout/operation.ts";
import { reachable } from "./descent.ts";
import { isLatched, readVersion, validate } from "./latch.ts";
import { branchCount, childAt, levelOf, upperBound } from "./node.ts";
import { read, write } from "./point.ts";
import {
  area, areaFound, areaValues, block, leafValues, lookups, narrowOrder, nodeSize, root, valueSize, wideOrder,
} from "./state.ts";

// Room for OVERLAP lookups: keys, versions, nodes.

// @ts-ignore: decorator
@inline
function keyPlace(j: i32): usize {
  return lookups + (<usize>j << 3);
}

// @ts-ignore: decorator
@inline
function versionPlace(j: i32): usize {
  return lookups + 8 * OVERLAP + (<usize>j << 3);
}

// @ts-ignore: decorator
@inline
function nodePlace(j: i32): usize {
  return lookups + 16 * OVERLAP + (<usize>j << 2);
}

/** Keeps loads that only fetch from being removed. */
export let touched: u64 = 0;

// @ts-ignore: decorator
@inline
export function setLookup<K>(j: i32, key: K): void {
  store<K>(keyPlace(j), key);
}

/** Leaf found for lookup j; 0 if it has to be searched for again. */
// @ts-ignore: decorator
@inline
export function foundLeaf(j: i32): usize {
  return <usize>load<u32>(nodePlace(j));
}

// @ts-ignore: decorator
@inline
export function foundVersion(j: i32): u64 {
  return load<u64>(versionPlace(j));
}

/** Takes n <= OVERLAP lookups, whose keys were set by `setLookup`, down to their leaves together. Never waits. */
export function locate<K>(n: i32): void {
  const version = readVersion(root);
  let level = levelOf(root);
  const lost = isLatched(version) || level > MAX_LEVELS;
  for (let j = 0; j < n; j++) {
    store<u32>(nodePlace(j), lost ? 0 : <u32>root);
    store<u64>(versionPlace(j), version);
  }
  if (lost) return;
  const keysEnd = leafValues;
  for (; level > 0; level--) {
    for (let j = 0; j < n; j++) {
      const node = <usize>load<u32>(nodePlace(j));
      if (node == 0) continue;
      const key = load<K>(keyPlace(j));
      const child = childAt(node, upperBound<K>(node, branchCount(node), key));
      let next: usize = 0;
      if (reachable(child)) {
        const childVersion = readVersion(child);
        if (validate(node, load<u64>(versionPlace(j))) && !isLatched(childVersion)) {
          next = child;
          store<u64>(versionPlace(j), childVersion);
        }
      }
      store<u32>(nodePlace(j), <u32>next);
    }
    // Fetch the keys of all nodes just found before the first of them is searched: plain loads that nothing waits for.
    let sum: u64 = 0;
    for (let j = 0; j < n; j++) {
      const node = <usize>load<u32>(nodePlace(j));
      if (node == 0) continue;
      for (let line: usize = CACHE_LINE; line < keysEnd; line += CACHE_LINE) sum += load<u64>(node + line);
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
  let done = 0;
  while (done < n) {
    const group = min<i32>(OVERLAP, n - done);
    for (let j = 0; j < group; j++) setLookup<K>(j, areaKey<K>(done + j));
    locate<K>(group);
    for (let j = 0; j < group; j++) {
      const i = done + j;
      const status = read<K>(
        load<K>(keyPlace(j)), areaValues + <usize>i * valueSize, foundLeaf(j), foundVersion(j),
      );
      if (status > STATUS_TRUE) {
        store<u32>(block, found, BLOCK_COUNT);
        return i;
      }
      store<u8>(areaFound + <usize>i, <u8>status);
      found += status;
    }
    done += group;
  }
  store<u32>(block, found, BLOCK_COUNT);
  return done;
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
        op, load<K>(keyPlace(j)), areaValues + <usize>i * valueSize, 0, 0, false, foundLeaf(j), foundVersion(j),
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
