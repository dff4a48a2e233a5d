import { PAGE } from '../layout/bits.ts';
import { NODE_LEVEL } from '../layout/node.ts';
import {
  HEADER_BUMP,
  HEADER_MAX_PAGES,
  HEADER_ROOT,
  MAX_THREADS,
  THREAD_ALIVE,
  THREAD_BRANCHES,
  THREAD_DIGEST,
  THREAD_ENTRIES,
  THREAD_LEAVES,
  THREAD_MERGES,
  THREAD_RESTARTS,
  THREAD_SPLITS,
  THREAD_STATE,
  THREAD_STATE_MASK,
  THREADS,
} from '../layout/tree-memory.ts';
import { type Attachment, threadSlot } from './attachment.ts';

/** Counters and memory use of a tree. Counts are exact while nobody writes. */
export interface TreeStats {
  /** Entries. */
  readonly entries: number;
  /** Levels, 1 for a single leaf. */
  readonly height: number;
  /** Nodes with entries. */
  readonly leaves: number;
  /** Nodes above the leaves. */
  readonly branches: number;
  /** Entries over the room for entries in all leaves, 0 to 1. */
  readonly fill: number;
  /** Node splits so far. */
  readonly splits: number;
  /** Node merges and evenings-out so far. */
  readonly merges: number;
  /** Searches begun again because a node had changed under them. */
  readonly restarts: number;
  /** Threads attached now. */
  readonly threads: number;
  /** Bytes taken so far, work blocks and free nodes included. */
  readonly bytesUsed: number;
  /** Bytes the memory has grown to. */
  readonly bytesReserved: number;
  /** Bytes it may grow to. */
  readonly bytesMaximum: number;
  /** Bytes of leaves and branches per entry; 0 in an empty tree. */
  readonly bytesPerEntry: number;
}

/** Sum over all thread slots of one counter. */
function total(attachment: Attachment, counter: number): bigint {
  const counters = new BigInt64Array(attachment.memory.buffer, THREADS, (MAX_THREADS * (threadSlot(1) - THREADS)) / 8);
  let sum = 0n;
  for (let thread = 0; thread < MAX_THREADS; thread++) {
    sum += Atomics.load(counters, (threadSlot(thread) - THREADS + counter) / 8);
  }
  return sum;
}

/** Number of entries. */
export function treeSize(attachment: Attachment): number {
  return Number(total(attachment, THREAD_ENTRIES));
}

/** Content digest (see engine/core/digest.ts). */
export function treeDigest(attachment: Attachment): bigint {
  return BigInt.asUintN(64, total(attachment, THREAD_DIGEST));
}

/** Reads all counters. */
export function treeStats(attachment: Attachment): TreeStats {
  const { header, memory } = attachment;
  const shape = attachment.shape();
  const entries = treeSize(attachment);
  const leaves = Number(total(attachment, THREAD_LEAVES));
  const branches = Number(total(attachment, THREAD_BRANCHES));
  const level = new Uint16Array(memory.buffer, header[HEADER_ROOT >> 2] + NODE_LEVEL, 1)[0];
  let threads = 0;
  for (let thread = 1; thread < MAX_THREADS; thread++) {
    const state = Atomics.load(header, (threadSlot(thread) + THREAD_STATE) >> 2);
    if ((state & THREAD_STATE_MASK) === THREAD_ALIVE) threads++;
  }
  return {
    entries,
    height: level + 1,
    leaves,
    branches,
    fill: entries / (leaves * shape.leafCapacity),
    splits: Number(total(attachment, THREAD_SPLITS)),
    merges: Number(total(attachment, THREAD_MERGES)),
    restarts: Number(total(attachment, THREAD_RESTARTS)),
    threads,
    bytesUsed: Atomics.load(header, HEADER_BUMP >> 2),
    bytesReserved: memory.buffer.byteLength,
    bytesMaximum: header[HEADER_MAX_PAGES >> 2] * PAGE,
    bytesPerEntry: entries === 0 ? 0 : ((leaves + branches) * shape.nodeSize) / entries,
  };
}
