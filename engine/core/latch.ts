/**
 * Version words: latches for writers, validation for readers.
 *
 * A reader loads the version, reads the node with plain loads, and validates: if the version is the same, what it read
 * was the node's content at one instant. That needs two orders kept.
 *
 * 1. *The plain reads stay behind the first load.* WebAssembly's atomic loads are sequentially consistent, on arm64
 *    load-acquire: nothing later moves before them.
 * 2. *The plain reads stay before the second load.* A later load-acquire does not stop an earlier plain load from being
 *    performed after it: arm64 may do so, x86-64 may not (loads are not reordered with loads, and the engines do not
 *    move memory accesses across atomic ones). So a fence stands before the second load, unless the processor is known
 *    to be x86-64, where it would cost a full barrier (some 30 cycles a level) for nothing.
 *
 * A writer takes the latch by compare-and-swap and writes with plain stores. They must not become visible before the
 * latch bit does: on x86-64 the locked instruction is a full barrier; on arm64 the store half of a compare-and-swap is a
 * release, which later stores may overtake, hence the fence behind it. The latch is given back by an atomic store: a
 * release, which no earlier store can pass. ARCHITECTURE.md, decision 3, has the whole argument.
 */
import { VERSION_COUNT_SHIFT, VERSION_LATCHED } from "../../layout/node.ts";
import { THREAD_BLOCKED_NODE, THREAD_RESTARTS } from "../../layout/tree-memory.ts";
import { fences, ownerBits, slot } from "./state.ts";

/** Loads of a latched version word before a call gives up with BUSY; JavaScript then backs off politely. */
export const SPIN_LIMIT: i32 = 512;

const COUNT_ONE: u64 = 1 << VERSION_COUNT_SHIFT;
const COUNT_MASK: u64 = ~(COUNT_ONE - 1);

// @ts-ignore: decorator
@inline
export function readVersion(node: usize): u64 {
  return atomic.load<u64>(node);
}

// @ts-ignore: decorator
@inline
export function isLatched(version: u64): bool {
  return <bool>(<i32>version & VERSION_LATCHED);
}

/** True if the node has not changed since `version` was read: everything read from it in between was true at one instant. */
// @ts-ignore: decorator
@inline
export function validate(node: usize, version: u64): bool {
  if (fences) atomic.fence();
  return atomic.load<u64>(node) == version;
}

/** Takes the node's latch if it has not changed since `version` was read. Never waits. */
// @ts-ignore: decorator
@inline
export function tryLatch(node: usize, version: u64): bool {
  const taken = atomic.cmpxchg<u64>(node, version, (version & COUNT_MASK) | ownerBits | VERSION_LATCHED) == version;
  if (fences) atomic.fence();
  return taken;
}

/** Gives back a latch taken at `version`, and makes the changes to the node known. */
// @ts-ignore: decorator
@inline
export function release(node: usize, version: u64): void {
  atomic.store<u64>(node, ((version & COUNT_MASK) + COUNT_ONE) | ownerBits);
}

/** Gives back a latch under which nothing was changed: readers that hold `version` stay valid. */
// @ts-ignore: decorator
@inline
export function releaseUnchanged(node: usize, version: u64): void {
  atomic.store<u64>(node, version);
}

/** Notes where a call gave up waiting, so that the caller can see who holds that latch. */
export function noteBlocked(node: usize): void {
  store<u32>(slot, <u32>node, THREAD_BLOCKED_NODE);
}

/** Counts a search begun again. */
export function noteRestart(): void {
  store<u64>(slot, load<u64>(slot, THREAD_RESTARTS) + 1, THREAD_RESTARTS);
}
