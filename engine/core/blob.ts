/**
 * Values of varying length: *blobs*, outside the nodes. What a leaf holds for one is a reference (8 bytes: address and
 * length); the blob itself is a hash of its content (8 bytes) and the content. Blobs come in size classes, two to each
 * doubling; freed ones go to a list of their class, a lock-free stack like that of the free nodes. They are cut from slabs, which
 * are blocks of their own among the nodes.
 *
 * A blob never changes while it is referred to: a new value is a new blob, and the old one is freed behind the change of
 * the leaf. So a reader that copies the content and then finds its leaf unchanged has what stood there; whatever it may
 * have read from a blob that was freed and used again meanwhile is thrown away. References themselves may be torn, so
 * every read looks first whether there is any memory.
 */
import { PAGE } from "../../layout/bits.ts";
import {
  BLOB_BYTES, BLOB_HASH, BLOB_OWNER, BLOB_SLAB_BYTES, HEADER_BLOB_FREE, HEADER_BLOB_SLAB, NODES, SCAN_BYTES,
} from "../../layout/tree-memory.ts";
import { takeBlock } from "./allocator.ts";
import { blobArea, learnMemorySize } from "./state.ts";

const SMALLEST: u32 = 32;
const SLAB: u32 = BLOB_SLAB_BYTES;
const AREA: u32 = SCAN_BYTES;

// @ts-ignore: decorator
@inline
function classSize(c: u32): u32 {
  const base = SMALLEST << (c >> 1);
  return (c & 1) != 0 ? base + (base >> 1) : base;
}

/** The smallest class that holds so many bytes. */
function classOf(bytes: u32): u32 {
  if (bytes <= SMALLEST) return 0;
  const doublings = 31 - clz<u32>((bytes - 1) / SMALLEST);
  const base = SMALLEST << doublings;
  const c = doublings << 1;
  return bytes <= base ? c : bytes <= base + (base >> 1) ? c + 1 : c + 2;
}

// @ts-ignore: decorator
@inline
function freeList(c: u32): usize {
  return <usize>HEADER_BLOB_FREE + (<usize>c << 3);
}

// @ts-ignore: decorator
@inline
function addressOf(reference: u64): usize {
  return <usize>(<u32>reference & ~7);
}

// @ts-ignore: decorator
@inline
function lengthOf(reference: u64): u32 {
  return <u32>(reference >> 32);
}

function push(address: usize, c: u32): void {
  while (true) {
    const head = atomic.load<u64>(freeList(c));
    store<u32>(address, <u32>head);
    if (atomic.cmpxchg<u64>(freeList(c), head, (head & 0xffffffff00000000) | <u64>address) == head) return;
  }
}

/** Takes a blob for `length` bytes of content; 0 if the memory is exhausted. The content is undefined. */
export function allocateBlob(length: u32): u32 {
  const c = classOf(length + BLOB_BYTES);
  const size = classSize(c);
  while (true) {
    const head = atomic.load<u64>(freeList(c));
    const address = <u32>head;
    if (address == 0) break;
    // See `allocateNode`: the count of pops makes the swap fail if somebody else has it by now.
    const popped = (((head >> 32) + 1) << 32) | <u64>load<u32>(<usize>address);
    if (atomic.cmpxchg<u64>(freeList(c), head, popped) == head) return address;
  }
  while (true) {
    const slab = atomic.load<u64>(HEADER_BLOB_SLAB);
    const next = <u32>slab;
    const end = <u32>(slab >> 32);
    if (<u64>next + size <= <u64>end) {
      if (atomic.cmpxchg<u64>(HEADER_BLOB_SLAB, slab, (slab & 0xffffffff00000000) | <u64>(next + size)) == slab) return next;
      continue;
    }
    const bytes = max<u32>(size, SLAB);
    const fresh = <u32>takeBlock(<usize>bytes, BLOB_OWNER);
    if (fresh == 0) return 0;
    learnMemorySize();
    // Large blobs have a slab to themselves; of a new common slab this thread takes the first piece.
    if (size >= SLAB) return fresh;
    const rest = (<u64>(fresh + bytes) << 32) | <u64>(fresh + size);
    if (atomic.cmpxchg<u64>(HEADER_BLOB_SLAB, slab, rest) == slab) scrap(next, end);
    else scrap(fresh + size, fresh + bytes);
    return fresh;
  }
}

/** Cuts what is left of a slab into free blobs. */
function scrap(from: u32, to: u32): void {
  let at = from;
  while (to - at >= SMALLEST) {
    let c = classOf(to - at);
    if (classSize(c) > to - at) c--;
    push(<usize>at, c);
    at += classSize(c);
  }
}

/** Makes a blob ready, once its content is written: hashes it. */
export function sealBlob(address: u32, length: u32): void {
  store<u64>(<usize>address, contentHash(<usize>address + BLOB_BYTES, length), BLOB_HASH);
}

function contentHash(at: usize, length: u32): u64 {
  let h = <u64>length * 0x9e3779b97f4a7c15 + 0x94d049bb133111eb;
  let i: u32 = 0;
  for (; i + 8 <= length; i += 8) {
    h = (h ^ load<u64>(at + <usize>i)) * 0xbf58476d1ce4e5b9;
    h ^= h >> 32;
  }
  for (; i < length; i++) {
    h = (h ^ <u64>load<u8>(at + <usize>i)) * 0xbf58476d1ce4e5b9;
    h ^= h >> 32;
  }
  return h;
}

/** Gives a blob back that no leaf refers to any more. */
export function freeBlob(reference: u64): void {
  push(addressOf(reference), classOf(lengthOf(reference) + BLOB_BYTES));
}

/** Whether there is memory where a reference points to: it may be torn. */
export function isBlob(reference: u64): bool {
  const address = addressOf(reference);
  if (address < <usize>NODES || lengthOf(reference) > u32.MAX_VALUE - BLOB_BYTES) return false;
  const end = <u64>address + BLOB_BYTES + lengthOf(reference);
  if (end <= <u64>memory.size() * PAGE) return true;
  learnMemorySize();
  return end <= <u64>memory.size() * PAGE;
}

/** Hash of the content of the blob whose reference stands at `value`; of a torn reference anything. */
export function blobHash(value: usize): u64 {
  const reference = load<u64>(value);
  return isBlob(reference) ? load<u64>(addressOf(reference), BLOB_HASH) : 0;
}

/** Whether the blobs of two references have the same content. The first may be torn. */
export function equalBlobs(a: usize, b: usize): bool {
  const one = load<u64>(a);
  const other = load<u64>(b);
  if (lengthOf(one) != lengthOf(other) || !isBlob(one)) return false;
  const x = addressOf(one);
  const y = addressOf(other);
  if (load<u64>(x, BLOB_HASH) != load<u64>(y, BLOB_HASH)) return false;
  return memory.compare(x + BLOB_BYTES, y + BLOB_BYTES, <usize>lengthOf(one)) == 0;
}

/** Copies the content of the blob whose reference stands at `value` to `to`, if it is at most `most` bytes. */
export function copyBlob(value: usize, to: usize, most: u32): void {
  const reference = load<u64>(value);
  const length = lengthOf(reference);
  if (length <= most && isBlob(reference)) memory.copy(to, addressOf(reference) + BLOB_BYTES, <usize>length);
}

/** Bytes of the blob area that a scan has filled. */
let filled: u32 = 0;

export function beginBlobs(): void {
  filled = 0;
}

export function filledBlobs(): u32 {
  return filled;
}

export function resumeBlobs(bytes: u32): void {
  filled = bytes;
}

/** Whether the first of a scan's references was left as it is. */
export function isLarge(values: usize): bool {
  return lengthOf(load<u64>(values)) > AREA;
}

/**
 * Copies the contents of the n blobs whose references stand at `values` into the blob area, and puts their places there in
 * the references' stead. How many fitted; of a single one that is larger than the area the reference stays.
 */
export function collectBlobs(values: usize, n: i32, first: bool): i32 {
  for (let i = 0; i < n; i++) {
    const at = values + (<usize>i << 3);
    const reference = load<u64>(at);
    const length = lengthOf(reference);
    if (length > AREA && first && i == 0) return 1;
    if (length > AREA || filled + length > AREA) return i;
    if (isBlob(reference)) memory.copy(blobArea + <usize>filled, addressOf(reference) + BLOB_BYTES, <usize>length);
    store<u64>(at, (<u64>length << 32) | <u64>filled);
    filled += length;
  }
  return n;
}
