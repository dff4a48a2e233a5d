/**
 * What one thread's instance of the core knows: the tree's shape, copied from the header once, and the thread's own
 * slot and work block. Every thread has an instance of its own over the one shared memory, so module variables are
 * private to a thread, and the memory is what threads share.
 */
import { PAGE } from "../../layout/bits.ts";
import { KEY_VECTOR, VERSION_OWNER_SHIFT } from "../../layout/node.ts";
import { KEY_PLACE, KEY_PLACES, SLOTTED_HEADS } from "../../layout/slotted.ts";
import {
  BATCH, BLOB_COPY_BYTES, BLOCK_VALUE, HEADER_BRANCH_CAPACITY, HEADER_BRANCH_CHILDREN, HEADER_BRANCH_MINIMUM, HEADER_KEY_TYPE,
  HEADER_LEAF_CAPACITY, HEADER_LEAF_MINIMUM, HEADER_LEAF_VALUES, HEADER_NODE_SIZE, HEADER_ROOT, HEADER_VALUE_SIZE,
  HEADER_VALUE_TYPE, KEY_F64, KEY_I32, KEY_SLOTTED, KEY_U32, KEY_U64, OVERLAP, SCAN_BYTES, SCAN_LEAF_SIZE, SCAN_LEAVES,
  SCAN_MIN_ENTRIES, THREADS, THREAD_BLOCK, THREAD_SIZE, VALUE_BLOB,
} from "../../layout/tree-memory.ts";

/** Whether a fence must stand between reading a node and reading its version again. False only on x86-64 (see latch.ts). */
export let fences: bool = true;

export let root: usize = 0;
export let nodeSize: usize = 0;
export let leafCapacity: i32 = 0;
export let branchCapacity: i32 = 0;
export let leafMinimum: i32 = 0;
export let branchMinimum: i32 = 0;
export let leafValues: usize = 0;
export let branchChildren: usize = 0;
export let valueSize: usize = 0;
export let valueType: i32 = 0;
export let keyType: i32 = 0;
/** Keys are 4 bytes wide (else 8). */
export let narrow: bool = false;
/** Keys vary in length, and nodes are slotted (layout/slotted.ts). */
export let slotted: bool = false;
/** Most keys that the arrays of a slotted leaf, or branch, can have places for. */
export let mostLeafRoom: i32 = 0;
export let mostBranchRoom: i32 = 0;

/** This thread's slot, and its id in place in a version word. */
export let slot: usize = 0;
export let ownerBits: u64 = 0;

/** This thread's work block and the areas in it. */
export let block: usize = 0;
export let expectedRegister: usize = 0;
/** (leaf, version) pairs of a scan. */
export let scanLeaves: usize = 0;
/** Two nodes' worth of room for evening out. */
export let workNodes: usize = 0;
/** Places for keys of slotted trees, room for copies of three nodes, and for the items of two (slotted-node.ts). */
export let keyPlaces: usize = 0;
export let copies: usize = 0;
export let items: usize = 0;
/** Whether values are references to blobs (blob.ts); then the contents of a scan's values, and of the value that was read. */
export let blobs: bool = false;
export let blobArea: usize = 0;
export let blobCopy: usize = 0;
/** Keys, versions and leaves of the lookups under way in a batch. */
export let lookups: usize = 0;
/** Entries of a scan, or keys and values of a batch. */
export let area: usize = 0;
export let areaValues: usize = 0;
export let areaFound: usize = 0;
/** Entries one atomic scan can hold. */
export let scanEntries: i32 = 0;

/** The last address at which a whole node fits into the memory as this instance knows it. */
export let lastNode: usize = 0;

// @ts-ignore: decorator
@inline
export function align(n: usize, to: usize): usize {
  return (n + to - 1) & ~(to - 1);
}

/** Learns how far the memory reaches now. `memory.grow(0)` also brings this instance's own idea of it up to date. */
export function learnMemorySize(): void {
  memory.grow(0);
  lastNode = <usize>((<u64>memory.size() * PAGE) - nodeSize);
}

/** Reads the tree's shape from the header. */
export function loadShape(withFences: bool): void {
  fences = withFences;
  root = load<u32>(HEADER_ROOT);
  nodeSize = load<u32>(HEADER_NODE_SIZE);
  leafCapacity = load<u32>(HEADER_LEAF_CAPACITY);
  branchCapacity = load<u32>(HEADER_BRANCH_CAPACITY);
  leafMinimum = load<u32>(HEADER_LEAF_MINIMUM);
  branchMinimum = load<u32>(HEADER_BRANCH_MINIMUM);
  leafValues = load<u32>(HEADER_LEAF_VALUES);
  branchChildren = load<u32>(HEADER_BRANCH_CHILDREN);
  valueSize = load<u32>(HEADER_VALUE_SIZE);
  valueType = load<u32>(HEADER_VALUE_TYPE);
  keyType = load<u32>(HEADER_KEY_TYPE);
  narrow = keyType == KEY_U32 || keyType == KEY_I32;
  slotted = keyType >= KEY_SLOTTED;
  blobs = valueType == VALUE_BLOB;
  mostLeafRoom = <i32>((nodeSize - SLOTTED_HEADS) / (8 + valueSize)) & ~3;
  mostBranchRoom = <i32>((nodeSize - SLOTTED_HEADS - 4) / 12) & ~3;
  learnMemorySize();
}

/** Bytes of the part of a work block that stands before the area. */
function blockHead(): usize {
  const value = align(valueSize, 8);
  return align(<usize>BLOCK_VALUE + 2 * value, 64) + <usize>(SCAN_LEAVES * SCAN_LEAF_SIZE) + 2 * nodeSize + 64 * OVERLAP;
}

/** Bytes for slotted nodes alone: key places, copies of three nodes, items of two full ones. */
function slottedBytes(): usize {
  if (!slotted) return 0;
  return <usize>(KEY_PLACES * KEY_PLACE) + 3 * nodeSize + align(<usize>(2 * max<i32>(mostLeafRoom, mostBranchRoom) + 8) * 20, 64);
}

/** Bytes for the contents of blobs. */
function blobRoom(): usize {
  return blobs ? <usize>(SCAN_BYTES + BLOB_COPY_BYTES) : 0;
}

/** Entries that fit into one atomic scan. */
function scanLimit(): i32 {
  if (slotted) return <i32>max<usize>(SCAN_MIN_ENTRIES, <usize>SCAN_BYTES / (16 + valueSize));
  const entry = <usize>(narrow ? 4 : 8) + valueSize;
  return <i32>max<usize>(SCAN_MIN_ENTRIES, <usize>SCAN_BYTES / entry);
}

/** Bytes of a work block. */
export function blockSize(): usize {
  const batch = (slotted ? batchKeyBytes() : <usize>BATCH * 8) + <usize>BATCH * valueSize + BATCH;
  const scan = scanKeyBytes() + <usize>scanLimit() * valueSize;
  return align(blockHead() + max<usize>(batch, scan), 64) + slottedBytes() + blobRoom();
}

/** Takes thread slot `thread`, whose work block is at hand, as this instance's own. */
export function takeSlot(thread: u32): void {
  slot = THREADS + thread * THREAD_SIZE;
  ownerBits = <u64>thread << VERSION_OWNER_SHIFT;
  block = load<u32>(slot, THREAD_BLOCK);
  const value = align(valueSize, 8);
  expectedRegister = block + BLOCK_VALUE + value;
  scanLeaves = block + align(<usize>BLOCK_VALUE + 2 * value, 64);
  workNodes = scanLeaves + SCAN_LEAVES * SCAN_LEAF_SIZE;
  lookups = workNodes + 2 * nodeSize;
  area = block + blockHead();
  scanEntries = scanLimit();
  areaValues = area + (slotted ? batchKeyBytes() : BATCH * 8);
  areaFound = areaValues + <usize>BATCH * valueSize;
  blobArea = block + blockSize() - blobRoom();
  blobCopy = blobArea + SCAN_BYTES;
  keyPlaces = blobArea - slottedBytes();
  copies = keyPlaces + KEY_PLACES * KEY_PLACE;
  items = copies + 3 * nodeSize;
}

/** Bytes of the keys of a batch of a slotted tree: the table of their ends, then the keys. */
function batchKeyBytes(): usize {
  return BATCH * 4 + SCAN_BYTES;
}

/** Bytes of the keys of a full scan: in a slotted tree their places (u32, where each one ends), then the keys themselves. */
function scanKeyBytes(): usize {
  if (slotted) return align(<usize>scanLimit() * 4, 8) + SCAN_BYTES;
  return align(<usize>scanLimit() * (narrow ? 4 : 8), 8);
}

/** Where the values of a scan stand: behind the keys of a full one. */
export function scanValues(): usize {
  return area + scanKeyBytes();
}

/** A 4-byte key in stored order: unsigned order is the key's order. */
// @ts-ignore: decorator
@inline
export function narrowOrder(raw: u32): u32 {
  return keyType == KEY_I32 ? raw ^ 0x80000000 : raw;
}

/** An 8-byte key in stored order: signed order is the key's order. Its own inverse. */
// @ts-ignore: decorator
@inline
export function wideOrder(raw: i64): i64 {
  if (keyType == KEY_F64) return raw ^ ((raw >> 63) & i64.MAX_VALUE);
  return keyType == KEY_U64 ? raw ^ i64.MIN_VALUE : raw;
}

/** Bytes of the key array of a node of that many keys, padded to whole vectors. */
export function keyBytes(capacity: i32): usize {
  return align(<usize>capacity << (narrow ? 2 : 3), KEY_VECTOR);
}

