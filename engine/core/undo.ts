/**
 * The undo table of speculative batches: for every key that a batch touches, what stood there before the batch. It is
 * shared by all threads of a replica.
 *
 * A thread enters a key *before* it carries out its operation on it. Whoever enters a key first has read its value
 * before any thread of the batch could write it; so the table holds the content before the batch, whatever order the
 * operations ran in, and writing it back undoes them all.
 *
 * Entries are found by open addressing. An entry's state names the batch it belongs to, so nothing has to be cleared
 * between batches. The table is at least twice as large as the largest batch.
 */
import { OP_DELETE, OP_PUT, STATUS_BUSY, STATUS_TRUE, UNDO_CONFLICT, UNDO_ENTRIES, UNDO_MASK } from "../../layout/operation.ts";
import { SPIN_LIMIT } from "./latch.ts";
import { read, write } from "./point.ts";
import { align, block, valueSize } from "./state.ts";
import { BLOCK_VALUE } from "../../layout/tree-memory.ts";

/** An entry: state (batch, filled), who touched it last, key, whether it was there, its value. */
const STATE: usize = 0;
const ACCESS: usize = 4;
const KEY: usize = 8;
const PRESENT: usize = 16;
const VALUE: usize = 24;

/** Set in the state of an entry that is filled; the batch stands above. */
const FILLED: u32 = 1;

/** In an access word: it wrote. Above: the thread (8 bits; SEVERAL if more than one read it), then the part of the batch. */
const WROTE: u32 = 1;
const THREAD_SHIFT: u32 = 1;
const SEVERAL: u32 = 255;
const PART_SHIFT: u32 = 9;

let table: usize = 0;
let batch: u32 = 0;
let thread: u32 = 0;
let part: u32 = 0;

// @ts-ignore: decorator
@inline
function entrySize(): usize {
  return VALUE + align(valueSize, 8);
}

/** Bytes of a table with that many entries, a power of two. */
export function undoSize(entries: u32): usize {
  return <usize>UNDO_ENTRIES + <usize>entries * entrySize();
}

export function undoInit(address: usize, entries: u32): void {
  memory.fill(address, 0, undoSize(entries));
  store<u32>(address, entries - 1, UNDO_MASK);
}

/** Says for which batch (1 to 2^31 - 1), as which thread and for which part of the batch (below 2^23) operations follow. */
export function undoBegin(address: usize, batchNumber: u32, threadNumber: u32, partNumber: u32): void {
  table = address;
  batch = batchNumber;
  thread = threadNumber;
  part = partNumber;
}

// @ts-ignore: decorator
@inline
function entryAt(place: u32): usize {
  return table + UNDO_ENTRIES + <usize>place * entrySize();
}

/** Notes an access in an entry; in the same part of the batch, one by another thread is a conflict if either writes. */
function noteAccess(entry: usize, writes: bool): void {
  const mine = (part << PART_SHIFT) | (thread << THREAD_SHIFT) | <u32>writes;
  while (true) {
    const before = atomic.load<u32>(entry, ACCESS);
    let after = mine;
    if (before >> PART_SHIFT == part) {
      const other = (before >> THREAD_SHIFT) & 255;
      if (other != thread) {
        if (writes || (before & WROTE) != 0) atomic.store<u32>(table, 1, UNDO_CONFLICT);
        after = (part << PART_SHIFT) | (SEVERAL << THREAD_SHIFT) | (before & WROTE) | <u32>writes;
      } else after = before | <u32>writes;
    }
    if (atomic.cmpxchg<u32>(entry, before, after, ACCESS) == before) return;
  }
}

/** Enters `key` before an operation on it. TRUE; BUSY: nothing was done. */
export function undoNote<K>(key: K, writes: bool): i32 {
  const mask = load<u32>(table, UNDO_MASK);
  const filled = (batch << 1) | FILLED;
  let place = <u32>((<u64>key * 0x9e3779b97f4a7c15) >> 32) & mask;
  let spins = SPIN_LIMIT;
  while (true) {
    const entry = entryAt(place);
    const state = atomic.load<u32>(entry, STATE);
    if (state >> 1 != batch) {
      if (atomic.cmpxchg<u32>(entry, state, batch << 1, STATE) != state) continue;
      const status = read<K>(key, entry + VALUE, 0, 0);
      if (status == STATUS_BUSY) {
        atomic.store<u32>(entry, state, STATE);
        return STATUS_BUSY;
      }
      store<K>(entry, key, KEY);
      store<u32>(entry, <u32>status, PRESENT);
      store<u32>(entry, (part << PART_SHIFT) | (thread << THREAD_SHIFT) | <u32>writes, ACCESS);
      atomic.store<u32>(entry, filled, STATE);
      return STATUS_TRUE;
    }
    if (state != filled) {
      // Somebody is filling it; he may be gone for good, so this has an end.
      if (--spins == 0) return STATUS_BUSY;
      continue;
    }
    if (load<K>(entry, KEY) == key) {
      noteAccess(entry, writes);
      return STATUS_TRUE;
    }
    place = (place + 1) & mask;
  }
}

/** Writes back what stood in the tree before the batch. Called by one thread while no other one works. TRUE, or what failed. */
export function undoRollback<K>(): i32 {
  const mask = load<u32>(table, UNDO_MASK);
  const filled = (batch << 1) | FILLED;
  for (let place: u32 = 0; place <= mask; place++) {
    const entry = entryAt(place);
    if (atomic.load<u32>(entry, STATE) != filled) continue;
    const op = load<u32>(entry, PRESENT) == STATUS_TRUE ? OP_PUT : OP_DELETE;
    const status = write<K>(op, load<K>(entry, KEY), entry + VALUE, 0, block + BLOCK_VALUE, false, 0, 0);
    // What is written back stays written back if the rest is repeated.
    if (status > STATUS_TRUE) return status;
  }
  return STATUS_TRUE;
}
