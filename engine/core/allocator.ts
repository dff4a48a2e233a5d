/**
 * Nodes and blocks. Free nodes form a lock-free stack; its head carries a count of pops beside the address, so that a
 * compare-and-swap cannot succeed on a head that was popped and pushed again in between. When the stack is empty the
 * memory's next unused bytes are taken, and the memory grown in steps.
 */
import { PAGE } from "../../layout/bits.ts";
import { NODE_NEXT_FREE } from "../../layout/node.ts";
import {
  BLOCK_NEXT, BLOCK_OWNER, BLOCK_PREFIX, BLOCK_SIZE, HEADER_BLOCKS, HEADER_BUMP, HEADER_FREE, HEADER_MAX_PAGES, THREAD_SPARE,
} from "../../layout/tree-memory.ts";
import { readVersion, release } from "./latch.ts";
import { markFree } from "./node.ts";
import { align, lastNode, learnMemorySize, nodeSize, slot } from "./state.ts";

/** Pages the memory grows by at least: growing stops every thread for a moment, so it is done in steps of a megabyte. */
const GROW_PAGES: u32 = 16;

/** Takes `bytes` never used before, on a cache line; 0 if the memory is at its maximum. */
export function bump(bytes: usize): usize {
  const size = <u64>align(bytes, 64);
  while (true) {
    const start = atomic.load<u32>(HEADER_BUMP);
    const end = <u64>start + size;
    if (end > <u64>memory.size() * PAGE && !growTo(end)) return 0;
    if (atomic.cmpxchg<u32>(HEADER_BUMP, start, <u32>end) == start) return <usize>start;
  }
}

/** Makes the memory reach to `end`; false if it may not. */
function growTo(end: u64): bool {
  const limit = load<u32>(HEADER_MAX_PAGES);
  const needed = <u32>((end + PAGE - 1) / PAGE);
  if (needed > limit) return false;
  while (true) {
    learnMemorySize();
    const pages = <u32>memory.size();
    if (pages >= needed) return true;
    // An eighth of what is there, so that a large tree grows rarely; several threads may grow at once, which is harmless.
    const step = max<u32>(needed - pages, min<u32>(max<u32>(GROW_PAGES, pages >> 3), limit - pages));
    if (memory.grow(step) < 0 && memory.grow(needed - pages) < 0) {
      learnMemorySize();
      return <u32>memory.size() >= needed;
    }
  }
}

/** A node for this thread to use; 0 if the memory is exhausted. Its content is undefined, its version word is not. */
export function allocateNode(): usize {
  const spare = load<u32>(slot, THREAD_SPARE);
  if (spare != 0) {
    store<u32>(slot, 0, THREAD_SPARE);
    return <usize>spare;
  }
  while (true) {
    const head = atomic.load<u64>(HEADER_FREE);
    const node = <u32>head;
    if (node == 0) break;
    // Another thread may pop and use this node right now; then `next` is rubbish, and the count makes the swap fail.
    const next = load<u32>(<usize>node, NODE_NEXT_FREE);
    const popped = (((head >> 32) + 1) << 32) | <u64>next;
    if (atomic.cmpxchg<u64>(HEADER_FREE, head, popped) == head) {
      if (<usize>node > lastNode) learnMemorySize();
      return <usize>node;
    }
  }
  const node = bump(nodeSize);
  if (node > lastNode) learnMemorySize();
  return node;
}

/** Gives a node back that no tree node refers to any more. Its version has moved on, so nobody mistakes it. */
export function freeNode(node: usize): void {
  while (true) {
    const head = atomic.load<u64>(HEADER_FREE);
    store<u32>(node, <u32>head, NODE_NEXT_FREE);
    const pushed = (head & 0xffffffff00000000) | <u64>node;
    if (atomic.cmpxchg<u64>(HEADER_FREE, head, pushed) == head) return;
  }
}

/** Keeps a node that was allocated but not used for this slot's next allocation. */
export function keepSpare(node: usize): void {
  if (load<u32>(slot, THREAD_SPARE) == 0) store<u32>(slot, <u32>node, THREAD_SPARE);
  else freeNode(node);
}

/** Bytes for thread `owner`, aside from the nodes: those of a block that nobody has any more, or new ones. 0: no memory. */
export function takeBlock(bytes: usize, owner: u32): usize {
  const size = <u32>align(bytes, 64);
  for (let block = <usize>atomic.load<u32>(HEADER_BLOCKS); block != 0; block = <usize>load<u32>(block, BLOCK_NEXT)) {
    if (load<u32>(block, BLOCK_SIZE) == size && atomic.cmpxchg<u32>(block, 0, owner, BLOCK_OWNER) == 0) {
      memory.fill(block + BLOCK_PREFIX, 0, size);
      return block + BLOCK_PREFIX;
    }
  }
  const block = bump(<usize>size + BLOCK_PREFIX);
  if (block == 0) return 0;
  store<u32>(block, size, BLOCK_SIZE);
  store<u32>(block, owner, BLOCK_OWNER);
  while (true) {
    const next = atomic.load<u32>(HEADER_BLOCKS);
    store<u32>(block, next, BLOCK_NEXT);
    if (atomic.cmpxchg<u32>(HEADER_BLOCKS, next, <u32>block) == next) return block + BLOCK_PREFIX;
  }
}

/** Gives a block back to whoever needs one of its size. */
export function leaveBlock(address: usize): void {
  atomic.store<u32>(address - BLOCK_PREFIX, 0, BLOCK_OWNER);
}

/**
 * Gives back all nodes between two addresses, latched or not: their owners are dead. Versions move on, so that a reader
 * still under way notices.
 */
export function resetNodes(from: usize, to: usize): void {
  for (let node = from; node + nodeSize <= to; node += nodeSize) {
    release(node, readVersion(node));
    markFree(node);
    freeNode(node);
  }
}
