/** Batches and bulk loads of a slotted tree, over the keys in the area: where each one ends (u32), then their bytes. */
import { STATUS_NOT_ASCENDING, STATUS_NO_MEMORY, STATUS_TRUE } from "../../layout/operation.ts";
import { KEY_BYTES, KEY_LENGTH, KEY_PLACE, PLACE_BOUND, PLACE_CURSOR } from "../../layout/slotted.ts";
import { BATCH, BLOCK_COUNT } from "../../layout/tree-memory.ts";
import { allocateNode } from "./allocator.ts";
import { countEntry, countNode, dropNode, height, openLevel, openNode, resetCounts, setOpen } from "./bulk.ts";
import { bytesHash } from "./digest.ts";
import { copyValue } from "./node.ts";
import {
  buildNode, commonBytes, compareBytes, countOf, hasRoom, insertKey, seek, seekBytes, usedBytes, wanted, wantedLength,
} from "./slotted-node.ts";
import { readSlotted, writeSlotted } from "./slotted-point.ts";
import { area, areaFound, areaValues, block, keyPlaces, nodeSize, valueSize } from "./state.ts";

/** Makes key i of the batch the wanted one. */
// @ts-ignore: decorator
@inline
function seekKey(i: i32): void {
  const begin = i == 0 ? 0 : load<u32>(area + (<usize>(i - 1) << 2));
  seekBytes(area + BATCH * 4 + <usize>begin, <i32>(load<u32>(area + (<usize>i << 2)) - begin));
}

/** See `readMany` in batch.ts. */
export function readManySlotted(n: i32): i32 {
  let found = 0;
  let i = 0;
  for (; i < n; i++) {
    seekKey(i);
    const status = readSlotted(areaValues + <usize>i * valueSize);
    if (status > STATUS_TRUE) break;
    store<u8>(areaFound + <usize>i, <u8>status);
    found += status;
  }
  store<u32>(block, found, BLOCK_COUNT);
  return i;
}

/** See `writeMany` in batch.ts. */
export let lastSlottedStatus: i32 = 0;

export function writeManySlotted(op: i32, n: i32): i32 {
  let count = 0;
  let i = 0;
  for (; i < n; i++) {
    seekKey(i);
    const status = writeSlotted(op, areaValues + <usize>i * valueSize, 0, 0, false);
    if (status > STATUS_TRUE) {
      lastSlottedStatus = status;
      break;
    }
    store<u8>(areaFound + <usize>i, <u8>status);
    count += status;
  }
  store<u32>(block, count, BLOCK_COUNT);
  return i;
}

// --- bulk load: see bulk.ts -------------------------------------------------------------------------------------------

/** Bytes to which nodes are filled. */
let target: i32 = 0;

function newNode(level: i32, firstChild: u32): usize {
  const node = allocateNode();
  if (node == 0) return 0;
  buildNode(node, 0, 0, level, firstChild);
  countNode(level);
  return node;
}

/** Begins a load that fills nodes to so many bytes. */
export function bulkBeginSlotted(fill: i32): i32 {
  target = fill;
  resetCounts();
  const leaf = newNode(0, 0);
  if (leaf == 0) return STATUS_NO_MEMORY;
  openLevel(leaf);
  return STATUS_TRUE;
}

// @ts-ignore: decorator
@inline
function hasRoomLeft(node: usize, isLeaf: bool): bool {
  return usedBytes(node, isLeaf) + wantedLength + 16 <= target && hasRoom(node, isLeaf);
}

/** Hangs `node`, the new open node of `level`, behind the wanted key into the level above. */
function hang(level: i32, node: usize): i32 {
  const above = level + 1;
  if (above == height) {
    const branch = newNode(above, <u32>openNode(level));
    if (branch == 0) return STATUS_NO_MEMORY;
    openLevel(branch);
  }
  const branch = openNode(above);
  if (hasRoomLeft(branch, false)) {
    const n = countOf(branch, false);
    store<u32>(insertKey(branch, n, n, above), <u32>node);
  } else {
    const next = newNode(above, <u32>node);
    if (next == 0) return STATUS_NO_MEMORY;
    const status = hang(above, next);
    if (status != STATUS_TRUE) {
      // `next` hangs nowhere yet: give it back by itself, the caller gives back `node`.
      dropNode(next, above);
      return status;
    }
  }
  setOpen(level, node);
  return STATUS_TRUE;
}

/** Adds the n <= BATCH entries in the area. */
export function bulkAppendSlotted(n: i32): i32 {
  const last = keyPlaces + PLACE_CURSOR * KEY_PLACE;
  const separator = keyPlaces + PLACE_BOUND * KEY_PLACE;
  for (let i = 0; i < n; i++) {
    store<u32>(block, i, BLOCK_COUNT);
    seekKey(i);
    let leaf = openNode(0);
    let count = countOf(leaf, true);
    const lastLength = load<u32>(last, KEY_LENGTH);
    if (count > 0) {
      if (compareBytes(last + KEY_BYTES, lastLength, wanted, wantedLength) >= 0) return STATUS_NOT_ASCENDING;
      if (!hasRoomLeft(leaf, true)) {
        const next = newNode(0, 0);
        if (next == 0) return STATUS_NO_MEMORY;
        // The shortest key above the last one that is not above this one.
        const length = commonBytes(last + KEY_BYTES, lastLength, wanted, wantedLength) + 1;
        memory.copy(separator + KEY_BYTES, wanted, <usize>length);
        store<u32>(separator, <u32>length, KEY_LENGTH);
        seek(separator);
        const status = hang(0, next);
        if (status != STATUS_TRUE) {
          dropNode(next, 0);
          return status;
        }
        seekKey(i);
        leaf = next;
        count = 0;
      }
    }
    const value = insertKey(leaf, count, count, 0);
    copyValue(value, areaValues + <usize>i * valueSize);
    countEntry(bytesHash(wanted, wantedLength, value));
    memory.copy(last + KEY_BYTES, wanted, <usize>wantedLength);
    store<u32>(last, <u32>wantedLength, KEY_LENGTH);
  }
  return STATUS_TRUE;
}
