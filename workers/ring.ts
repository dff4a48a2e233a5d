/**
 * A group's stream: a ring of slots with many writers and one reader per replica, each of which reads everything.
 *
 * A writer *claims* a run of slots by moving `claim` with a compare-and-swap, copies its records there, and *publishes*
 * the run. Publication is one word per slot, in an array of its own, that holds the lap number of the position: a reader
 * at position p waits until the word of p's slot holds p's lap. The words of a run are written last to first, the first
 * one atomically; a reader always stands at the start of a run, so by loading that word (an acquire) it sees the whole
 * run, and learns its length from the first record. The other words are kept up to date so that a word is never older
 * than one lap, and a lap number that comes round again after 2^32 slots cannot be mistaken.
 *
 * A slot may be overwritten once every living replica's reader has passed it: the slowest one gates the writers, and
 * nothing is lost. Positions are compared by their difference, which is right across the wrap because a ring is far
 * shorter than 2^31 slots.
 *
 * In a store with a log that is one more reader, and the replicas' readers stay behind the ring's gate, which the log
 * moves on: they take what it has, and it wakes them.
 */
import { SabtreeError } from '../engine/errors.ts';
import { LOG_SIGNAL, LOG_SLEEPING } from '../layout/durable.ts';
import { NOBODY, OPERATION_CLIENT, OPERATION_KEY, OPERATION_RUN, SLOT } from '../layout/operation.ts';
import {
  CLAIM_MADE,
  CLIENT_CLAIM_GROUP,
  EXECUTOR_SIGNAL,
  HOARD_SLOTS,
  RING_CLAIM,
  RING_LAST_MARKER,
  RING_ROOM_SIGNAL,
  RING_ROOM_WAITERS,
  RING_SLEEPERS,
} from '../layout/streams.ts';
import type { Streams } from './streams.ts';

/** What `tryClaim` returns when the ring is full; positions are never negative. */
export const FULL = -1;

/** The writers' side of a ring. One per thread; any number of threads may write. */
export class GroupRing {
  readonly group: number;
  /** Slots in the ring. */
  readonly capacity: number;
  /** Most slots that may be published together; see Streams. */
  readonly maxRun: number;
  private readonly streams: Streams;
  private readonly words: Int32Array;
  private readonly bytes: Uint8Array;
  private readonly claimWord: number;
  private readonly control: number;
  private readonly publications: number;
  private readonly slots: number;
  private readonly mask: number;
  private readonly lapShift: number;
  /** The slowest reader's position when it was last looked at; never ahead of the truth. */
  private gate: number;

  constructor(streams: Streams, group: number) {
    const { ringSlots, start } = streams.shape;
    this.streams = streams;
    this.group = group;
    this.capacity = ringSlots;
    this.maxRun = streams.maxRun;
    this.words = streams.words;
    this.bytes = streams.bytes;
    this.control = streams.ring(group);
    this.claimWord = (this.control + RING_CLAIM) >> 2;
    this.publications = streams.publications(group);
    this.slots = streams.slots(group);
    this.mask = ringSlots - 1;
    this.lapShift = 31 - Math.clz32(ringSlots);
    this.gate = start | 0;
    this.gate = this.slowest();
  }

  /** The slowest living reader's position; the claim position itself if there is no reader left. */
  private slowest(): number {
    const { streams, words, group } = this;
    for (;;) {
      const { alive } = streams;
      const head = Atomics.load(words, this.claimWord);
      let furthest = 0;
      for (let replica = 0; replica < streams.shape.replicas; replica++) {
        if ((alive >>> replica) & 1) {
          const behind = (head - Atomics.load(words, streams.ringCursor(group, replica))) | 0;
          if (behind > furthest) furthest = behind;
        }
      }
      if (streams.shape.logged) {
        const behind = (head - Atomics.load(words, streams.ringCursor(group, streams.shape.replicas))) | 0;
        if (behind > furthest) furthest = behind;
      }
      // A replica that is being rebuilt joins while this runs: see Supervisor.gate.
      if (streams.alive === alive) return (head - furthest) | 0;
    }
  }

  /** True if `slots` more fit while `keep` slots stay free. Looks at the readers only when the last look does not suffice. */
  hasRoom(slots: number, keep: number): boolean {
    const head = Atomics.load(this.words, this.claimWord);
    const limit = this.capacity - keep;
    if (((head + slots - this.gate) | 0) <= limit) return true;
    this.gate = this.slowest();
    return ((head + slots - this.gate) | 0) <= limit;
  }

  /**
   * Claims `slots` slots in a row, leaving at least `keep` free; the caller must write and publish them.
   * @param announce word index of the claimer's announcement (CLIENT_CLAIM_GROUP), or 0. It is written before the claim,
   *   so that a claim left open by a thread that died can be found and turned into a skip.
   * @returns the first position, or FULL.
   */
  tryClaim(slots: number, keep: number, announce: number): number {
    const { words, claimWord } = this;
    for (;;) {
      const head = Atomics.load(words, claimWord);
      if (((head + slots - this.gate) | 0) > this.capacity - keep) {
        this.gate = this.slowest();
        // The gate may be ahead of a head that is out of date by now; then the difference is small or negative, and the
        // compare-and-swap fails.
        if (((head + slots - this.gate) | 0) > this.capacity - keep) {
          // What an earlier try announced was claimed by somebody else.
          if (announce !== 0) Atomics.store(words, announce, 0);
          return FULL;
        }
      }
      if (announce !== 0) {
        Atomics.store(words, announce + 1, head);
        Atomics.store(words, announce + 2, slots);
        Atomics.store(words, announce, this.group + 1);
      }
      if (Atomics.compareExchange(words, claimWord, head, (head + slots) | 0) === head) {
        if (announce !== 0) Atomics.store(words, announce, (this.group + 1) | CLAIM_MADE);
        return head >>> 0;
      }
    }
  }

  /** Copies records into claimed slots. The run's length is stamped into the first record. */
  write(position: number, records: Uint8Array, slots: number): void {
    const first = position & this.mask;
    const untilEnd = this.capacity - first;
    const at = this.slots + first * SLOT;
    if (slots <= untilEnd) {
      this.bytes.set(records.length === slots * SLOT ? records : records.subarray(0, slots * SLOT), at);
    } else {
      this.bytes.set(records.subarray(0, untilEnd * SLOT), at);
      this.bytes.set(records.subarray(untilEnd * SLOT, slots * SLOT), this.slots);
    }
    this.words[(at + OPERATION_RUN) >> 2] = slots;
  }

  /** Makes written slots visible to every reader, and wakes those that sleep. */
  publish(position: number, slots: number): void {
    const { words, publications, mask, lapShift } = this;
    for (let i = slots - 1; i > 0; i--) {
      const p = position + i;
      words[publications + (p & mask)] = lapOf(p, lapShift);
    }
    // A release: whoever sees this word sees the records and the other words.
    Atomics.store(words, publications + (position & mask), lapOf(position, lapShift));
    if (this.streams.shape.logged) this.wakeLog();
    else this.wakeReaders();
  }

  /** Wakes the log's thread if it sleeps, by the same argument as for readers: it sets its flag, then looks at the rings. */
  private wakeLog(): void {
    const { words, streams } = this;
    const sleeping = (streams.durableAt + LOG_SLEEPING) >> 2;
    if (Atomics.load(words, sleeping) === 0 || Atomics.exchange(words, sleeping, 0) === 0) return;
    const signal = (streams.durableAt + LOG_SIGNAL) >> 2;
    Atomics.add(words, signal, 1);
    Atomics.notify(words, signal);
  }

  /** As the log: lets the replicas take everything before a position, at which a run begins. */
  release(position: number): void {
    Atomics.store(this.words, this.streams.gate(this.group), position | 0);
    this.wakeReaders();
  }

  /**
   * Wakes the readers that sleep. No wake-up is lost: a reader sets its bit, then looks at the publication word, then
   * sleeps if its signal is still what it was before; a writer stores the publication word (with a log: the log stores the
   * gate, and readers look at both), then looks at the bits.
   * All four are sequentially consistent, so either the reader sees the record or the writer sees the bit; in the second
   * case the signal moves, and the reader's wait returns at once, or is ended.
   */
  private wakeReaders(): void {
    const { words, streams } = this;
    const sleepers = (this.control + RING_SLEEPERS) >> 2;
    if (Atomics.load(words, sleepers) === 0) return;
    const bits = Atomics.exchange(words, sleepers, 0);
    for (let replica = 0; replica < streams.shape.replicas; replica++) {
      if ((bits >>> replica) & 1) {
        const signal = (streams.executor(replica, streams.executorOf(this.group)) + EXECUTOR_SIGNAL) >> 2;
        Atomics.add(words, signal, 1);
        Atomics.notify(words, signal);
      }
    }
  }

  /**
   * Claims, writes and publishes records in one go.
   * @returns the first position, or FULL, and then nothing was done.
   * @throws ERR_TOO_LARGE if the run is longer than `maxRun`.
   */
  tryAppend(records: Uint8Array, slots: number, keep: number, announce = 0): number {
    if (slots > this.maxRun) {
      throw new SabtreeError('ERR_TOO_LARGE', `${slots} slots in one run, at most ${this.maxRun} fit`, slots);
    }
    const position = this.tryClaim(slots, keep, announce);
    if (position === FULL) return FULL;
    this.write(position, records, slots);
    this.publish(position, slots);
    if (announce !== 0) Atomics.store(this.words, announce, 0);
    return position;
  }

  /** Whether nothing was published yet at a position that was claimed: its word is that of the lap before. */
  isOpen(position: number): boolean {
    const word = Atomics.load(this.words, this.publications + (position & this.mask));
    return word === 0 || word === lapOf(position - this.capacity, this.lapShift);
  }

  /** Whether the run that begins at a position is published, and not overwritten since. */
  isPublished(position: number): boolean {
    return Atomics.load(this.words, this.publications + (position & this.mask)) === lapOf(position, this.lapShift);
  }

  /** Notes where the newest marker for all groups stands. Called by the multicast lock's holder, after publishing. */
  noteMarker(position: number): void {
    Atomics.store(this.words, (this.control + RING_LAST_MARKER) >> 2, position);
  }

  /** Position of the newest marker for all groups. */
  lastMarker(): number {
    return Atomics.load(this.words, (this.control + RING_LAST_MARKER) >> 2);
  }

  /** The value to wait from: take it before the last look for room. */
  roomTicket(): number {
    const { words, control } = this;
    const ticket = Atomics.load(words, (control + RING_ROOM_SIGNAL) >> 2);
    Atomics.store(words, (control + RING_ROOM_WAITERS) >> 2, 1);
    return ticket;
  }

  /** Word index of the futex on which a writer waits for room. */
  get roomSignal(): number {
    return (this.control + RING_ROOM_SIGNAL) >> 2;
  }
}

/** Lap number of a position, from 1 to 2^(32 - shift): 0, which fresh memory holds, is no lap. */
function lapOf(position: number, shift: number): number {
  return ((position >>> shift) + 1) | 0;
}

/**
 * One replica's reading of a ring. Only one thread may use it.
 *
 * A replica that is being rebuilt cannot execute yet what comes, and must not keep writers waiting either. So its reader
 * begins behind the cut, and takes runs aside into memory of its own (`hoard`); they are read from there first, and while
 * there are any, newer ones are taken aside too.
 */
export class RingReader {
  readonly group: number;
  private readonly words: Int32Array;
  private readonly bytes: Uint8Array;
  private readonly cursorWord: number;
  private readonly control: number;
  private readonly publications: number;
  private readonly slots: number;
  private readonly mask: number;
  private readonly lapShift: number;
  private readonly bit: number;
  /** Word index of the gate that this reader stays behind, 0 if there is none. */
  private readonly gate: number;
  /** Next position to take out of the ring. */
  private cursor: number;
  private hoarded: Uint8Array | undefined;
  private hoardedWords: Int32Array | undefined;
  /** Slots of the hoard read, and in it. */
  private hoardAt = 0;
  private hoardEnd = 0;

  /** @param replica whose reading it is; as many as there are replicas: the log's. */
  constructor(streams: Streams, group: number, replica: number) {
    this.group = group;
    this.words = streams.words;
    this.bytes = streams.bytes;
    this.gate = streams.shape.logged && replica < streams.shape.replicas ? streams.gate(group) : 0;
    this.cursorWord = streams.ringCursor(group, replica);
    this.control = streams.ring(group);
    this.publications = streams.publications(group);
    this.slots = streams.slots(group);
    this.mask = streams.shape.ringSlots - 1;
    this.lapShift = 31 - Math.clz32(streams.shape.ringSlots);
    this.bit = 1 << replica;
    this.cursor = Atomics.load(this.words, this.cursorWord);
  }

  /** Next position to read. */
  get position(): number {
    return (this.cursor - (this.hoardEnd - this.hoardAt)) >>> 0;
  }

  /** Slots of whole published runs from the position on, at most `most` (which is at least the longest run); 0 if none. */
  poll(most: number): number {
    if (this.hoarded !== undefined) return this.pollHoard(most);
    return this.pollRing(most);
  }

  private pollRing(most: number): number {
    const { words, publications, mask, lapShift, slots, gate } = this;
    const released = gate === 0 ? 0 : Atomics.load(words, gate);
    let found = 0;
    for (;;) {
      const p = (this.cursor + found) | 0;
      if (gate !== 0 && ((released - p) | 0) <= 0) return found;
      if (Atomics.load(words, publications + (p & mask)) !== lapOf(p, lapShift)) return found;
      const run = words[(slots + (p & mask) * SLOT + OPERATION_RUN) >> 2];
      if (found + run > most) return found;
      found += run;
    }
  }

  /** Copies `count` slots from the position on to `target`. */
  copyTo(target: Uint8Array, offset: number, count: number): void {
    const { hoarded, hoardAt } = this;
    if (hoarded === undefined) this.copyFromRing(target, offset, count);
    else target.set(hoarded.subarray(hoardAt * SLOT, (hoardAt + count) * SLOT), offset);
  }

  private copyFromRing(target: Uint8Array, offset: number, count: number): void {
    const { bytes, slots } = this;
    const first = this.cursor & this.mask;
    const untilEnd = this.mask + 1 - first;
    const at = slots + first * SLOT;
    if (count <= untilEnd) {
      target.set(bytes.subarray(at, at + count * SLOT), offset);
    } else {
      target.set(bytes.subarray(at, at + untilEnd * SLOT), offset);
      target.set(bytes.subarray(slots, slots + (count - untilEnd) * SLOT), offset + untilEnd * SLOT);
    }
  }

  /**
   * Moves past `count` slots, which writers may overwrite from now on, and wakes writers that wait for room. No wake-up
   * is lost, by the same argument as for readers: a writer sets the flag, then looks at the cursors; this stores the
   * cursor, then looks at the flag.
   */
  advance(count: number): void {
    if (this.hoarded === undefined) {
      this.advanceRing(count);
      return;
    }
    this.hoardAt += count;
    this.hoard();
    // Nothing is left aside: from here on the ring itself is read.
    if (this.hoardAt === this.hoardEnd) this.hoarded = undefined;
  }

  private advanceRing(count: number): void {
    const { words, control } = this;
    this.cursor = (this.cursor + count) | 0;
    Atomics.store(words, this.cursorWord, this.cursor);
    const waiters = (control + RING_ROOM_WAITERS) >> 2;
    if (Atomics.load(words, waiters) !== 0 && Atomics.exchange(words, waiters, 0) !== 0) {
      const signal = (control + RING_ROOM_SIGNAL) >> 2;
      Atomics.add(words, signal, 1);
      Atomics.notify(words, signal);
    }
  }

  /**
   * Begins behind a control command: passes over everything up to it, as far as it is there.
   * @param number in the key's second word of the command.
   * @returns true once the command has been passed.
   */
  skipPast(number: number): boolean {
    const { words, mask, slots, publications, lapShift } = this;
    for (;;) {
      const p = this.cursor;
      if (Atomics.load(words, publications + (p & mask)) !== lapOf(p, lapShift)) return false;
      const record = (slots + (this.cursor & mask) * SLOT) >> 2;
      const first = words[record + (OPERATION_RUN >> 2)];
      const found =
        words[record + (OPERATION_CLIENT >> 2)] === NOBODY && words[record + ((OPERATION_KEY + 4) >> 2)] === number;
      this.advanceRing(first);
      if (found) return true;
    }
  }

  /** Begins where the replica's cursor stands now. */
  rewind(): void {
    this.cursor = Atomics.load(this.words, this.cursorWord);
  }

  /** Takes what there is aside, as far as there may be. */
  hoard(): void {
    for (;;) {
      const left = this.hoardEnd - this.hoardAt;
      const found = this.pollRing(this.mask + 1);
      if (found === 0 || left + found > HOARD_SLOTS) return;
      let room = this.hoarded;
      if (room === undefined || (this.hoardEnd + found) * SLOT > room.length) {
        const bytes = Math.max(2 * (left + found), 1024) * SLOT;
        const larger = new Uint8Array(bytes);
        if (room !== undefined) larger.set(room.subarray(this.hoardAt * SLOT, this.hoardEnd * SLOT));
        room = larger;
        this.hoarded = larger;
        this.hoardedWords = new Int32Array(larger.buffer);
        this.hoardAt = 0;
        this.hoardEnd = left;
      }
      this.copyFromRing(room, this.hoardEnd * SLOT, found);
      this.hoardEnd += found;
      this.advanceRing(found);
    }
  }

  private pollHoard(most: number): number {
    const { hoardedWords, hoardAt, hoardEnd } = this;
    let found = 0;
    while (hoardAt + found < hoardEnd) {
      const run = (hoardedWords as Int32Array)[((hoardAt + found) * SLOT + OPERATION_RUN) >> 2];
      if (found + run > most) break;
      found += run;
    }
    return found;
  }

  /** Says that this replica's reader is about to sleep; look again with `poll` before doing so. */
  announceSleep(): void {
    Atomics.or(this.words, (this.control + RING_SLEEPERS) >> 2, this.bit);
  }

  /** Takes that back. */
  awake(): void {
    Atomics.and(this.words, (this.control + RING_SLEEPERS) >> 2, ~this.bit);
  }
}

/** Word index of a client's claim announcement. */
export function announcementOf(streams: Streams, client: number): number {
  return (streams.client(client) + CLIENT_CLAIM_GROUP) >> 2;
}
