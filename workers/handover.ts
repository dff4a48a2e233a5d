/**
 * A queue of records from one thread of a replica to another, in the replica's memory: one writer, one reader. A record
 * is never broken by the ring's end (what is left there is skipped), so the reader executes records where they stand.
 *
 * ```
 *   0        64       128
 *   +--------+--------+--------------------
 *   | head   | tail   | slots[capacity]
 *   +--------+--------+--------------------
 * ```
 */
import { OP_SKIP, SLOT } from '../layout/operation.ts';
import type { Signals } from './signals.ts';

const TAIL = 64;
const SLOTS = 128;

/** Bytes of a queue of `capacity` slots. */
export function handoverSize(capacity: number): number {
  return SLOTS + capacity * SLOT;
}

/** Both ends of a queue; a thread uses one of them. Positions count slots and wrap modulo 2^32. */
export class Handover {
  private readonly words: Int32Array;
  private readonly headWord: number;
  private readonly tailWord: number;
  private readonly slotsAt: number;
  private readonly capacity: number;
  private readonly signals: Signals;
  /** The other end's thread. */
  private readonly partner: number;
  private head: number;
  private tail: number;
  /** The other end's position when it was last looked at. */
  private seen: number;

  /**
   * @param words the replica's memory as words. @param base where the queue stands. @param capacity slots, a power of two.
   * @param partner the thread at the other end.
   */
  constructor(words: Int32Array, base: number, capacity: number, signals: Signals, partner: number) {
    this.words = words;
    this.headWord = base >> 2;
    this.tailWord = (base + TAIL) >> 2;
    this.slotsAt = base + SLOTS;
    this.capacity = capacity;
    this.signals = signals;
    this.partner = partner;
    this.head = Atomics.load(words, this.headWord);
    this.tail = Atomics.load(words, this.tailWord);
    this.seen = this.tail;
  }

  // --- the writer's end ---------------------------------------------------------------------------------------------

  /** Address of `slots` slots in a row to write into, at most half the capacity; -1 if there is no room yet. */
  reserve(slots: number): number {
    const { capacity, words } = this;
    const first = this.head & (capacity - 1);
    const gap = first + slots <= capacity ? 0 : capacity - first;
    if (((this.head + gap + slots - this.seen) | 0) > capacity) {
      this.seen = Atomics.load(words, this.tailWord);
      if (((this.head + gap + slots - this.seen) | 0) > capacity) return -1;
    }
    if (gap === 0) return this.slotsAt + first * SLOT;
    words[(this.slotsAt + first * SLOT) >> 2] = OP_SKIP | (gap << 16);
    this.head = (this.head + gap) | 0;
    return this.slotsAt;
  }

  /** Counts slots that were written behind the reserved address; the reader sees them at the next `publish`. */
  wrote(slots: number): void {
    this.head = (this.head + slots) | 0;
  }

  /** Position behind everything written. */
  get written(): number {
    return this.head;
  }

  /** Shows the reader what was written, and wakes it. */
  publish(): void {
    if (Atomics.load(this.words, this.headWord) === this.head) return;
    Atomics.store(this.words, this.headWord, this.head);
    this.signals.wake(this.partner);
  }

  /** Position up to which the reader is done. */
  get done(): number {
    return Atomics.load(this.words, this.tailWord);
  }

  // --- the reader's end ---------------------------------------------------------------------------------------------

  /** Slots in a row at `address`, at most `most`; records are whole if `most` is as large as any run written at once. */
  available(most: number): number {
    const { capacity } = this;
    const slots = (Atomics.load(this.words, this.headWord) - this.tail) | 0;
    return Math.min(slots, capacity - (this.tail & (capacity - 1)), most);
  }

  /** Where the next slots stand. */
  get address(): number {
    return this.slotsAt + (this.tail & (this.capacity - 1)) * SLOT;
  }

  /** Gives slots back to the writer, whom it wakes. */
  advance(slots: number): void {
    this.tail = (this.tail + slots) | 0;
    Atomics.store(this.words, this.tailWord, this.tail);
    this.signals.wake(this.partner);
  }
}
