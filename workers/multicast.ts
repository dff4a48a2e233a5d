/**
 * Commands to several groups. They are appended to the rings of all their groups in one atomic step, under one lock, with
 * one increasing number: so any two of them stand in the same order in every ring they share, and the delivery order
 * has no cycle. (Two that were appended in different orders in two rings would deadlock the barriers for ever.) An executor
 * of several groups is no way around it: such a command goes to all of them (see groupsOf in client.ts).
 *
 * Who holds the lock never waits: it first looks whether every ring has room, and if one has not, it gives up. What it
 * found cannot be taken away before it claims, because of how the rings' slots are shared out:
 *
 * ```
 *   |<------------------------------- capacity ------------------------------->|
 *   |  one-group commands                  |  one multicast (a quarter) | retries |
 * ```
 *
 * One-group writers may fill only the first part, a multicast also the second, a retry also the third. Only the holder
 * of the lock writes into the second and third, and a multicast needs at most a quarter in each ring. If a one-group
 * writer claims between the look and the claim, then the ring was not filled beyond the first part, and the second
 * part is still whole.
 */
import {
  NOBODY,
  OP_MARKER,
  OPERATION_CLIENT,
  OPERATION_CODE,
  OPERATION_GROUPS,
  OPERATION_KEY,
  OPERATION_NUMBER,
  SLOT,
} from '../layout/operation.ts';
import {
  CLAIM_MADE,
  CLAIM_PUBLISHED,
  MANIFEST,
  MANIFEST_COUNT,
  MANIFEST_ENTRY,
  MANIFEST_RETRY,
  MULTICAST_CLAIM_SIZE,
  MULTICAST_CLAIMS,
  MULTICAST_LOCK,
  MULTICAST_NUMBER,
} from '../layout/streams.ts';
import { FULL, GroupRing } from './ring.ts';
import type { Streams } from './streams.ts';

/** Slots of each ring kept for control commands of the store itself. */
const CONTROLS = 4;

/** Records for one group: as many slots at the start of `bytes`. */
export interface GroupRun {
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  slots: number;
  /** Slot of the last marker for all groups among them, -1 if there is none. */
  lastMarker: number;
}

/** One thread's way to append to all rings. */
export class Multicast {
  readonly rings: readonly GroupRing[];
  /** Slots that one-group writers leave free. */
  readonly keepFromSingles: number;
  /** Slots that multicasts leave free: one retry per executor of every replica, and some control commands. */
  readonly keepFromMany: number;
  private readonly words: Int32Array;
  /** What stands in the lock while this thread holds it. */
  private readonly holder: number;

  constructor(streams: Streams, holder: number) {
    const { groups, executors, replicas } = streams.shape;
    this.rings = Array.from({ length: groups }, (_, group) => new GroupRing(streams, group));
    this.keepFromMany = executors * replicas + CONTROLS;
    this.keepFromSingles = this.keepFromMany + this.rings[0].maxRun;
    this.words = streams.words;
    this.holder = holder;
  }

  /** Takes the lock if it is free. */
  private tryLock(): boolean {
    return Atomics.compareExchange(this.words, MULTICAST_LOCK >> 2, 0, this.holder) === 0;
  }

  private unlock(): void {
    // First, so that whoever finds claims left over knows that all commands stand.
    Atomics.store(this.words, MANIFEST_COUNT >> 2, 0);
    for (let group = 0; group < this.rings.length; group++) Atomics.store(this.words, claimsWord(group), 0);
    Atomics.store(this.words, MULTICAST_LOCK >> 2, 0);
  }

  /**
   * Appends each group's run to its ring, all of them or none.
   * @param runs by group; a group without slots takes no part.
   * @param numbered for each many-group command in order, the places (group, byte offset of its record) where its number
   *   belongs, flattened as [command, group, offset, ...].
   * @param commands number of many-group commands among the records, at most MANIFEST_MOST.
   * @returns false if the lock was held or a ring had no room; nothing was done then.
   */
  tryAppend(runs: readonly GroupRun[], numbered: readonly number[], commands: number): boolean {
    const { rings } = this;
    // A first look without the lock, so that a full ring does not keep others from theirs.
    if (!this.roomFor(runs, this.keepFromMany) || !this.tryLock()) return false;
    if (!this.roomFor(runs, this.keepFromMany)) {
      this.unlock();
      return false;
    }
    const first = this.takeNumbers(commands);
    for (let i = 0; i < numbered.length; i += 3) {
      const group = numbered[i + 1];
      const { words } = runs[group];
      const record = numbered[i + 2] >> 2;
      const number = numberAfter(first, numbered[i]);
      words[record + (OPERATION_NUMBER >> 2)] = number;
      const isMarker = (words[record] & 0xff) === OP_MARKER;
      this.declare(numbered[i], number, words[record + (OPERATION_GROUPS >> 2)], isMarker ? -1 : group);
    }
    Atomics.store(this.words, MANIFEST_COUNT >> 2, commands);
    for (let group = 0; group < rings.length; group++) {
      const { slots, bytes, lastMarker } = runs[group];
      if (slots > 0) this.appendUnderLock(rings[group], bytes, slots, this.keepFromMany, lastMarker);
    }
    this.unlock();
    return true;
  }

  /** Appends one retry marker to every ring, into the slots kept for it. False if the lock was held or a ring was full. */
  tryRetry(record: Uint8Array, words: Int32Array): boolean {
    const { rings } = this;
    if (!this.tryLock()) return false;
    for (const ring of rings) {
      if (!ring.hasRoom(1, 0)) {
        this.unlock();
        return false;
      }
    }
    words[OPERATION_NUMBER >> 2] = this.takeNumbers(1);
    const own = words[OPERATION_KEY >> 2] | MANIFEST_RETRY;
    this.declare(0, words[OPERATION_NUMBER >> 2], words[OPERATION_GROUPS >> 2], own);
    Atomics.store(this.words, MANIFEST_COUNT >> 2, 1);
    for (const ring of rings) this.appendUnderLock(ring, record, 1, 0, 0);
    this.unlock();
    return true;
  }

  /**
   * Appends a control command of one slot to all rings: the record to group 0's, markers to the others.
   * @returns its number; 0 if the lock was held or a ring was full.
   */
  tryControl(record: Uint8Array, words: Int32Array): number {
    const { rings } = this;
    if (!this.tryLock()) return 0;
    for (const ring of rings) {
      if (!ring.hasRoom(1, 0)) {
        this.unlock();
        return 0;
      }
    }
    const number = this.takeNumbers(1);
    words[OPERATION_CLIENT >> 2] = NOBODY;
    const all = rings.length === 32 ? -1 : (1 << rings.length) - 1;
    words[OPERATION_NUMBER >> 2] = number;
    words[OPERATION_GROUPS >> 2] = rings.length === 1 ? 0 : all;
    this.appendUnderLock(rings[0], record, 1, 0, 0);
    if (rings.length > 1) {
      const marker = new Int32Array(SLOT >> 2);
      marker[OPERATION_CODE >> 2] = OP_MARKER | (1 << 16);
      marker[OPERATION_NUMBER >> 2] = number;
      marker[OPERATION_GROUPS >> 2] = all;
      marker[OPERATION_CLIENT >> 2] = NOBODY;
      // Readers that have to find the command know it by this.
      marker[(OPERATION_KEY + 4) >> 2] = words[(OPERATION_KEY + 4) >> 2];
      const bytes = new Uint8Array(marker.buffer);
      for (let group = 1; group < rings.length; group++) this.appendUnderLock(rings[group], bytes, 1, 0, 0);
    }
    this.unlock();
    return number;
  }

  private roomFor(runs: readonly GroupRun[], keep: number): boolean {
    const { rings } = this;
    for (let group = 0; group < rings.length; group++) {
      const { slots } = runs[group];
      if (slots > 0 && !rings[group].hasRoom(slots, keep)) return false;
    }
    return true;
  }

  /** Claims, writes and publishes where there is room for sure. */
  private appendUnderLock(ring: GroupRing, bytes: Uint8Array, slots: number, keep: number, lastMarker: number): void {
    const position = ring.tryClaim(slots, keep, claimsWord(ring.group));
    if (position === FULL) throw new Error(`ring ${ring.group} lost the room it was found to have`);
    ring.write(position, bytes, slots);
    ring.publish(position, slots);
    Atomics.store(this.words, claimsWord(ring.group), (ring.group + 1) | CLAIM_MADE | CLAIM_PUBLISHED);
    if (lastMarker >= 0) ring.noteMarker(position + lastMarker);
  }

  /** Says what is being appended; -1 for a marker, which tells nothing of the command's own group. */
  private declare(command: number, number: number, groups: number, own: number): void {
    const entry = (MANIFEST + command * MANIFEST_ENTRY) >> 2;
    this.words[entry] = number;
    this.words[entry + 1] = groups;
    if (own >= 0) this.words[entry + 2] = own;
  }

  /** Takes `n` consecutive numbers, none of which is 0. */
  private takeNumbers(n: number): number {
    const { words } = this;
    const first = numberAfter(words[MULTICAST_NUMBER >> 2], 1);
    words[MULTICAST_NUMBER >> 2] = numberAfter(first, n - 1);
    return first;
  }
}

/** Word index of what the lock's holder is about to claim in a group's ring. */
export function claimsWord(group: number): number {
  return (MULTICAST_CLAIMS + group * MULTICAST_CLAIM_SIZE) >> 2;
}

/** The number n places after `number`; 0 is left out. */
function numberAfter(number: number, n: number): number {
  const next = (number + n) | 0;
  // Crossing 0 upwards means that one number was left out.
  return (number < 0 && next >= 0) || next === 0 ? (next + 1) | 0 : next;
}
