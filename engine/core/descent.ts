/**
 * The way from the root to a leaf, without writing a byte of shared memory.
 *
 * At each step the child's version is read *before* the parent is validated. So the child was a child of that parent,
 * for that key, at an instant when it had that version; from then on whatever moves the key elsewhere, or frees the
 * child, changes the child's version. Nodes can therefore be freed and used again at once.
 */
import { MAX_LEVELS } from "../../layout/node.ts";
import { SPIN_LIMIT, isLatched, noteBlocked, noteRestart, readVersion, validate } from "./latch.ts";
import { branchCount, childAt, keyAt, levelOf, upperBound } from "./node.ts";
import { lastNode, learnMemorySize, root } from "./state.ts";

/** Version of the leaf that `descend` found. */
export let leafVersion: u64 = 0;

/** Waits, for a bounded time, until the node is not latched. `spins` is what is left of the caller's patience. */
// @ts-ignore: decorator
@inline
export function spinWhileLatched(node: usize, spins: i32): i32 {
  while (--spins > 0) {
    if (!isLatched(readVersion(node))) return spins;
  }
  noteBlocked(node);
  return 0;
}

/** False if `node` is not an address where a node can be: the bytes it came from were torn. */
// @ts-ignore: decorator
@inline
export function reachable(node: usize): bool {
  if (node <= lastNode) return true;
  learnMemorySize();
  return node <= lastNode;
}

/**
 * The leaf whose range holds `key`, its version in `leafVersion`; 0 if it was kept from it beyond the spin limit
 * (BUSY). What the caller then reads from the leaf counts only once it is validated against that version.
 */
export function descend<K>(key: K): usize {
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
      const child = childAt(node, upperBound<K>(node, branchCount(node), key));
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
      node = child;
      version = childVersion;
      level--;
    }
    if (!torn) {
      leafVersion = version;
      return node;
    }
    noteRestart();
    spins--;
  }
  return 0;
}

/** What `descendWithin` found beside the leaf: the bounds of its range as far as there are any, widened to 64 bits. */
export let hasLower: bool = false;
export let hasUpper: bool = false;
/** Smallest key the leaf may hold. */
export let lowerKey: i64 = 0;
/** Smallest key beyond the leaf. */
export let upperKey: i64 = 0;

/** Like `descend`, and tells the range of keys the leaf is responsible for. */
export function descendWithin<K>(key: K): usize {
  let spins = SPIN_LIMIT;
  while (spins > 0) {
    let node = root;
    let version = readVersion(node);
    if (isLatched(version)) {
      spins = spinWhileLatched(node, spins);
      continue;
    }
    hasLower = false;
    hasUpper = false;
    let level = levelOf(node);
    let torn = level > MAX_LEVELS;
    while (level > 0 && !torn) {
      const n = branchCount(node);
      const i = upperBound<K>(node, n, key);
      const child = childAt(node, i);
      if (i > 0) {
        hasLower = true;
        lowerKey = <i64>keyAt<K>(node, i - 1);
      }
      if (i < n) {
        hasUpper = true;
        upperKey = <i64>keyAt<K>(node, i);
      }
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
      node = child;
      version = childVersion;
      level--;
    }
    if (!torn) {
      leafVersion = version;
      return node;
    }
    noteRestart();
    spins--;
  }
  return 0;
}
