import { VERSION_COUNT_SHIFT, VERSION_LATCHED, VERSION_OWNER_SHIFT } from '../layout/node.ts';
import {
  BLOB_CLASSES,
  BLOB_OWNER,
  BLOCK_NEXT,
  BLOCK_OWNER,
  BLOCK_PREFIX,
  BLOCK_SIZE,
  BLOCK_VALUE,
  HEADER_BLOB_FREE,
  HEADER_BLOB_SLAB,
  HEADER_BLOCKS,
  HEADER_BUMP,
  HEADER_FREE,
  HEADER_NODE_SIZE,
  HEADER_VALUE_SIZE,
  MAX_THREADS,
  NODES,
  SCAN_LEAF_SIZE,
  SCAN_LEAVES,
  THREAD_BLOCK,
  THREAD_BLOCKED_NODE,
  THREAD_BRANCHES,
  THREAD_DIGEST,
  THREAD_ENTRIES,
  THREAD_FREE,
  THREAD_LEAVES,
  THREAD_SPARE,
  THREAD_STATE,
} from '../layout/tree-memory.ts';
import { threadSlot } from './attachment.ts';
import { instantiateCore } from './core.ts';

/**
 * Gives back the latches that a thread held for reading (a scan, or a long value) when it died or was stopped: it noted each
 * leaf, with the version at which it was latched, in its work block before it took the latch, and changed nothing.
 */
export function releaseScan(memory: WebAssembly.Memory, thread: number): void {
  memory.grow(0);
  const { buffer } = memory;
  const header = new Uint32Array(buffer, 0, NODES >> 2);
  const block = header[(threadSlot(thread) + THREAD_BLOCK) >> 2];
  if (block === 0) return;
  const nodeSize = header[HEADER_NODE_SIZE >> 2];
  const versions = new BigUint64Array(buffer, 0, buffer.byteLength >> 3);
  const words = new Uint32Array(buffer, 0, buffer.byteLength >> 2);
  const held = (BigInt(thread) << BigInt(VERSION_OWNER_SHIFT)) | BigInt(VERSION_LATCHED);
  const countShift = BigInt(VERSION_COUNT_SHIFT);
  const value = (header[HEADER_VALUE_SIZE >> 2] + 7) & ~7;
  const leaves = block + ((BLOCK_VALUE + 2 * value + 63) & ~63);
  for (let i = 0; i < SCAN_LEAVES; i++) {
    const version = versions[(leaves + i * SCAN_LEAF_SIZE) >> 3];
    const leaf = words[(leaves + i * SCAN_LEAF_SIZE + 8) >> 2];
    if (leaf < NODES || leaf % 64 !== 0 || leaf + nodeSize > buffer.byteLength) continue;
    // Only if it is this thread that has it still: places beyond the last scan's leaves are older.
    Atomics.compareExchange(versions, leaf >> 3, ((version >> countShift) << countShift) | held, version);
  }
}

/**
 * Empties a tree all of whose writers are dead, whatever state they left it in: latches held, nodes half written. What
 * stays is what living threads have there, their slots and work blocks; a read that is under way notices that its nodes
 * changed. Threads named as dead lose their slots, and the next ones get their blocks.
 * @param dead thread ids of the writers; 0 is passed over.
 */
export function resetTree(memory: WebAssembly.Memory, dead: readonly number[]): void {
  const core = instantiateCore(memory);
  core.learnShape();
  memory.grow(0);
  const { buffer } = memory;
  const header = new Uint32Array(buffer, 0, NODES >> 2);
  const end = Atomics.load(header, HEADER_BUMP >> 2);
  const words = new Uint32Array(buffer, 0, end >> 2);

  const blocks: { from: number; to: number }[] = [];
  for (let block = Atomics.load(header, HEADER_BLOCKS >> 2); block !== 0; block = words[(block + BLOCK_NEXT) >> 2]) {
    blocks.push({ from: block, to: block + BLOCK_PREFIX + words[(block + BLOCK_SIZE) >> 2] });
    const owner = (block + BLOCK_OWNER) >> 2;
    // A slot's work block stays with the slot.
    const work = words[(threadSlot(words[owner]) + THREAD_BLOCK) >> 2] === block + BLOCK_PREFIX;
    // No leaf refers to any blob now: their slabs are for whoever needs blocks of that size.
    const slab = words[owner] === BLOB_OWNER;
    if (slab || (!work && dead.includes(words[owner]))) Atomics.store(words, owner, 0);
  }
  blocks.sort((a, b) => a.from - b.from);

  // The stack of free nodes is made anew; its count of pops goes on.
  header[HEADER_FREE >> 2] = 0;
  header[(HEADER_FREE >> 2) + 1]++;
  // So are the lists of free blobs.
  for (let c = 0; c < BLOB_CLASSES; c++) {
    const list = (HEADER_BLOB_FREE + 8 * c) >> 2;
    header[list] = 0;
    header[list + 1]++;
  }
  header[HEADER_BLOB_SLAB >> 2] = 0;
  header[(HEADER_BLOB_SLAB >> 2) + 1] = 0;
  for (let thread = 0; thread < MAX_THREADS; thread++) {
    const slot = threadSlot(thread);
    for (const count of [THREAD_ENTRIES, THREAD_DIGEST, THREAD_LEAVES, THREAD_BRANCHES]) {
      words[(slot + count) >> 2] = 0;
      words[(slot + count + 4) >> 2] = 0;
    }
    words[(slot + THREAD_SPARE) >> 2] = 0;
    words[(slot + THREAD_BLOCKED_NODE) >> 2] = 0;
  }
  words[(threadSlot(0) + THREAD_LEAVES) >> 2] = 1;

  // Between the blocks stand nodes, the root first.
  const nodeSize = header[HEADER_NODE_SIZE >> 2];
  let from = NODES + nodeSize;
  for (const block of [...blocks, { from: end, to: end }]) {
    // A thread that died while it took a block left a gap that is no number of nodes: it stays unused.
    if ((block.from - from) % nodeSize === 0) core.resetBetween(from, block.from);
    from = block.to;
  }
  core.resetRoot();
  for (const thread of dead) {
    if (thread > 0) Atomics.store(header, (threadSlot(thread) + THREAD_STATE) >> 2, THREAD_FREE);
  }
}
