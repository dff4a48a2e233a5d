import {
  BLOCK_NEXT,
  BLOCK_OWNER,
  BLOCK_PREFIX,
  BLOCK_SIZE,
  HEADER_BLOCKS,
  HEADER_BUMP,
  HEADER_FREE,
  HEADER_NODE_SIZE,
  MAX_THREADS,
  NODES,
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
    if (!work && dead.includes(words[owner])) Atomics.store(words, owner, 0);
  }
  blocks.sort((a, b) => a.from - b.from);

  // The stack of free nodes is made anew; its count of pops goes on.
  header[HEADER_FREE >> 2] = 0;
  header[(HEADER_FREE >> 2) + 1]++;
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
