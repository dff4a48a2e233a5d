/**
 * The way to a leaf of a slotted tree, and operations on one key there. The protocol is that of descent.ts and point.ts;
 * what differs is the inside of the nodes. The key is the wanted one (slotted-node.ts).
 */
import { MAX_LEVELS } from "../../layout/node.ts";
import {
  OP_ADD, OP_COMPARE_AND_SET, OP_DELETE, OP_INSERT, OP_UPDATE, STATUS_BUSY, STATUS_FALSE, STATUS_REFUSED, STATUS_TRUE,
  STATUS_UNSUPPORTED,
} from "../../layout/operation.ts";
import { VALUE_RECORD } from "../../layout/tree-memory.ts";
import { freeBlob } from "./blob.ts";
import { reachable, spinWhileLatched } from "./descent.ts";
import { bytesHash, noteChange } from "./digest.ts";
import { SPIN_LIMIT, isLatched, noteRestart, readVersion, release, tryLatch, validate } from "./latch.ts";
import { copyValue } from "./node.ts";
import { addTo, isExpected, noteRead } from "./point.ts";
import {
  childOf, copyKey, countOf, entryValue, hasRoom, insertKey, met, removeKey, roomOf, search, slottedLevel, usedBytes, wanted,
  wantedLength,
} from "./slotted-node.ts";
import { makeRoomIn, mergeIn } from "./slotted-structure.ts";
import { blobs, nodeSize, root, valueType } from "./state.ts";

/** Where to go down: to the leaf of the wanted key, of the keys just below it, or to the first or last leaf. */
export const TO_KEY: i32 = 0;
export const BELOW_KEY: i32 = 1;
export const TO_FIRST: i32 = 2;
export const TO_LAST: i32 = 3;

/** Version of the node that `goDown` found; the branch above it, its version, and which of its children the node is. */
export let foundVersion: u64 = 0;
export let parent: usize = 0;
export let parentVersion: u64 = 0;
export let childIndex: i32 = 0;
/** Whether the node is the first, or the last, of its level. */
export let isFirst: bool = false;
export let isLast: bool = false;
/** Whether `goDown` met a bound of the node's range on the side that it was asked for, and so wrote it to `bound`. */
export let bounded: bool = false;

/**
 * The node of `level` on the way; the root if the tree is lower than that. 0: kept from it beyond the spin limit (BUSY).
 * @param bound a place for keys that takes the upper bound of the node's range (lower: the lower one); 0: none wanted.
 */
export function goDown(level: i32, where: i32, bound: usize, lower: bool): usize {
  let spins = SPIN_LIMIT;
  while (spins > 0) {
    let node = root;
    let version = readVersion(node);
    if (isLatched(version)) {
      spins = spinWhileLatched(node, spins);
      continue;
    }
    parent = 0;
    isFirst = true;
    isLast = true;
    bounded = false;
    let at = slottedLevel(node);
    let torn = at > MAX_LEVELS;
    while (at > level && !torn) {
      const n = countOf(node, false);
      const i = where == TO_FIRST ? 0 : where == TO_LAST ? n : search(node, n, false, where == TO_KEY);
      const child = childOf(node, i);
      if (bound != 0) {
        if (lower ? i > 0 : i < n) {
          copyKey(node, lower ? i - 1 : i, false, bound);
          bounded = true;
        }
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
      if (i > 0) isFirst = false;
      if (i < n) isLast = false;
      parent = node;
      parentVersion = version;
      childIndex = i;
      node = child;
      version = childVersion;
      at--;
    }
    if (!torn) {
      foundVersion = version;
      return node;
    }
    noteRestart();
    spins--;
  }
  return 0;
}

/** TRUE with the value copied to `out` (if not 0), FALSE if the wanted key is absent, BUSY. */
export function readSlotted(out: usize): i32 {
  for (let tries = 0; tries < SPIN_LIMIT; tries++) {
    const leaf = goDown(0, TO_KEY, 0, false);
    if (leaf == 0) return STATUS_BUSY;
    const version = foundVersion;
    const i = search(leaf, countOf(leaf, true), true, false);
    const found = met;
    if (found && out != 0) copyValue(out, entryValue(leaf, roomOf(leaf, true), i));
    if (validate(leaf, version)) {
      noteRead(leaf, version);
      return found ? STATUS_TRUE : STATUS_FALSE;
    }
    noteRestart();
  }
  return STATUS_BUSY;
}

/** A leaf with less in it than this is merged with a neighbour when one has room for it. */
// @ts-ignore: decorator
@inline
function isMeagre(node: usize): bool {
  return usedBytes(node, true) < <i32>(nodeSize >> 2);
}

/** One writing operation on the wanted key; see `write` in point.ts. */
export function writeSlotted(op: i32, value: usize, expected: usize, out: usize, within: bool): i32 {
  if (op == OP_ADD && valueType >= VALUE_RECORD) return STATUS_UNSUPPORTED;
  const key = wanted;
  const length = wantedLength;
  for (let tries = 0; tries < SPIN_LIMIT; tries++) {
    const leaf = goDown(0, TO_KEY, 0, false);
    if (leaf == 0) return STATUS_BUSY;
    const version = foundVersion;
    const n = countOf(leaf, true);
    const i = search(leaf, n, true, false);
    const found = met;
    const slot = entryValue(leaf, roomOf(leaf, true), i);
    if (found) {
      if (op == OP_INSERT || (op == OP_COMPARE_AND_SET && !isExpected(slot, expected))) {
        if (validate(leaf, version)) return STATUS_FALSE;
      } else if (op == OP_DELETE) {
        if (tryLatch(leaf, version)) {
          noteChange(-1, -bytesHash(key, length, slot));
          const old = blobs ? load<u64>(slot) : 0;
          removeKey(leaf, n, i, 0);
          const meagre = leaf != root && isMeagre(leaf);
          release(leaf, version);
          if (blobs) freeBlob(old);
          // Only to save room: whatever comes of it, the entry is gone.
          if (meagre && !within) mergeIn(0);
          return STATUS_TRUE;
        }
      } else if (tryLatch(leaf, version)) {
        const before = bytesHash(key, length, slot);
        const old = blobs ? load<u64>(slot) : 0;
        if (op == OP_ADD) {
          copyValue(out, slot);
          addTo(slot, slot, value);
        } else {
          copyValue(slot, value);
        }
        noteChange(0, bytesHash(key, length, slot) - before);
        release(leaf, version);
        if (blobs) freeBlob(old);
        return op == OP_UPDATE || op == OP_COMPARE_AND_SET || op == OP_ADD ? STATUS_TRUE : STATUS_FALSE;
      }
    } else if (op == OP_UPDATE || op == OP_DELETE || op == OP_COMPARE_AND_SET) {
      if (validate(leaf, version)) return STATUS_FALSE;
    } else if (!hasRoom(leaf, true)) {
      if (!validate(leaf, version)) {
        noteRestart();
        continue;
      }
      if (within) return STATUS_REFUSED;
      const status = makeRoomIn(0);
      if (status != STATUS_TRUE) return status;
    } else if (tryLatch(leaf, version)) {
      const place = insertKey(leaf, n, i, 0);
      if (op == OP_ADD) addTo(place, 0, value);
      else copyValue(place, value);
      noteChange(1, bytesHash(key, length, place));
      release(leaf, version);
      return op == OP_ADD ? STATUS_FALSE : STATUS_TRUE;
    }
    noteRestart();
  }
  return STATUS_BUSY;
}
