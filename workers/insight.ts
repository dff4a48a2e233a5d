/** What can be seen of a running store from outside, beyond the executors' own counters: queues, memory, splits. */
import { threadSlot } from '../engine/attachment.ts';
import { PAGE } from '../layout/bits.ts';
import { EXECUTOR_TREE_THREAD, RING_CLAIM } from '../layout/streams.ts';
import {
  BLOB_OWNER,
  BLOCK_NEXT,
  BLOCK_OWNER,
  BLOCK_PREFIX,
  BLOCK_SIZE,
  HEADER_BLOCKS,
  HEADER_BUMP,
  HEADER_MAX_PAGES,
  HEADER_NODE_SIZE,
  MAX_THREADS,
  NODES,
  THREAD_BRANCHES,
  THREAD_LEAVES,
  THREAD_MERGES,
  THREAD_RESTARTS,
  THREAD_SPLITS,
} from '../layout/tree-memory.ts';
import { WATCH_ACTIVE } from '../layout/watch.ts';
import type { Streams } from './streams.ts';

/** One group's stream. */
export interface GroupStats {
  /** Number of the group. */
  readonly group: number;
  /** The executor of each replica that executes it. */
  readonly executor: number;
  /** Slots of 64 bytes that were ever written into its ring, modulo 2^32. */
  readonly slots: number;
  /** Slots that the home replica has not taken yet. */
  readonly depth: number;
  /** The same of the slowest living replica. */
  readonly deepest: number;
  /** Slots of the ring. */
  readonly capacity: number;
}

/** Where one replica's memory goes, bytes. */
export interface ReplicaMemory {
  /** Number of the replica. */
  readonly replica: number;
  /** Nodes in the tree. */
  readonly leaves: number;
  /** Inner nodes. */
  readonly branches: number;
  /** Values that vary in length; what was freed of them, to be used again for others, is not told apart. */
  readonly values: number;
  /** Areas of executors and work blocks of attached threads. */
  readonly areas: number;
  /** Taken before and not in use now: nodes to be used again, and what threads keep at hand. */
  readonly free: number;
  /** Taken so far. */
  readonly used: number;
  /** What the memory has grown to. */
  readonly reserved: number;
  /** What it may grow to. */
  readonly maximum: number;
}

/** Where the memory of a store goes, bytes. */
export interface MemoryStats {
  /** One by one. */
  readonly replicas: readonly ReplicaMemory[];
  /** The memory shared by all of them. */
  readonly streams: {
    /** The groups' rings. */
    readonly rings: number;
    /** The clients' reply rings. */
    readonly replies: number;
    /** The log of changes and its tags. */
    readonly watchers: number;
    /** All else. */
    readonly other: number;
    /** Sum of these. */
    readonly total: number;
  };
}

/** What one thread of a replica did to its tree since the thread's place was first used. */
export interface TreeWork {
  readonly splits: number;
  readonly merges: number;
  /** Searches begun again because a node had changed under them. */
  readonly restarts: number;
}

/** Slots that a replica has not taken out of a group's ring yet. */
function depthOf(streams: Streams, group: number, replica: number): number {
  const { words } = streams;
  // The cursor first: it never passes the claim.
  const cursor = Atomics.load(words, streams.ringCursor(group, replica));
  return (Atomics.load(words, (streams.ring(group) + RING_CLAIM) >> 2) - cursor) | 0;
}

/** All groups. */
export function groupStats(streams: Streams, home: number): GroupStats[] {
  const { words, shape, alive } = streams;
  return Array.from({ length: shape.groups }, (_, group) => {
    let deepest = 0;
    for (let replica = 0; replica < shape.replicas; replica++) {
      if (((alive >>> replica) & 1) === 1) deepest = Math.max(deepest, depthOf(streams, group, replica));
    }
    const claim = Atomics.load(words, (streams.ring(group) + RING_CLAIM) >> 2);
    return {
      group,
      executor: shape.executors === 0 ? 0 : streams.executorOf(group),
      slots: (claim - shape.start) >>> 0,
      depth: home < 0 || shape.executors === 0 ? 0 : depthOf(streams, group, home),
      deepest: shape.executors === 0 ? 0 : deepest,
      capacity: shape.ringSlots,
    };
  });
}

/** Slots that wait for one executor. */
export function executorDepth(streams: Streams, replica: number, executor: number): number {
  const { groups } = streams.shape;
  if (((streams.alive >>> replica) & 1) === 0) return 0;
  let depth = 0;
  for (let group = 0; group < groups; group++) {
    if (streams.executorOf(group) === executor) depth += depthOf(streams, group, replica);
  }
  return depth;
}

/** What an executor's thread did to its replica's tree. */
export function treeWork(streams: Streams, memory: WebAssembly.Memory, replica: number, executor: number): TreeWork {
  const thread = Atomics.load(streams.words, (streams.executor(replica, executor) + EXECUTOR_TREE_THREAD) >> 2);
  if (thread === 0) return { splits: 0, merges: 0, restarts: 0 };
  const counters = new BigInt64Array(memory.buffer, threadSlot(thread), (threadSlot(1) - threadSlot(0)) >> 3);
  const at = (counter: number) => Number(Atomics.load(counters, counter >> 3));
  return { splits: at(THREAD_SPLITS), merges: at(THREAD_MERGES), restarts: at(THREAD_RESTARTS) };
}

function replicaMemory(memory: WebAssembly.Memory, replica: number): ReplicaMemory {
  // The list first: whatever is in it stands in memory that there is. Growing by nothing shows what others have grown it to.
  const first = Atomics.load(new Uint32Array(memory.buffer, 0, NODES >> 2), HEADER_BLOCKS >> 2);
  memory.grow(0);
  const words = new Uint32Array(memory.buffer);
  const counters = new BigInt64Array(memory.buffer);
  const nodeSize = words[HEADER_NODE_SIZE >> 2];
  let leaves = 0;
  let branches = 0;
  for (let thread = 0; thread < MAX_THREADS; thread++) {
    leaves += Number(Atomics.load(counters, (threadSlot(thread) + THREAD_LEAVES) >> 3));
    branches += Number(Atomics.load(counters, (threadSlot(thread) + THREAD_BRANCHES) >> 3));
  }
  let areas = 0;
  let values = 0;
  for (let block = first; block !== 0; block = words[(block + BLOCK_NEXT) >> 2]) {
    const bytes = BLOCK_PREFIX + words[(block + BLOCK_SIZE) >> 2];
    if (words[(block + BLOCK_OWNER) >> 2] === BLOB_OWNER) values += bytes;
    else areas += bytes;
  }
  const used = Atomics.load(words, HEADER_BUMP >> 2);
  return {
    replica,
    leaves: leaves * nodeSize,
    branches: branches * nodeSize,
    values,
    areas,
    free: Math.max(0, used - NODES - values - areas - (leaves + branches) * nodeSize),
    used,
    reserved: memory.buffer.byteLength,
    maximum: words[HEADER_MAX_PAGES >> 2] * PAGE,
  };
}

/** Where the memory goes. Costs some microseconds per replica. */
export function memoryStats(streams: Streams, memories: readonly WebAssembly.Memory[]): MemoryStats {
  const { rings, replies, watchers, total } = streams.parts;
  return {
    replicas: memories.map(replicaMemory),
    streams: { rings, replies, watchers, other: total - rings - replies - watchers, total },
  };
}

/** Watchers there are now. */
export function watcherCount({ words, watchAt }: Streams): number {
  let count = 0;
  for (let bits = Atomics.load(words, (watchAt + WATCH_ACTIVE) >> 2); bits !== 0; bits &= bits - 1) count++;
  return count;
}
