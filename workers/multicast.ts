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
import { OPERATION_NUMBER } from '../layout/operation.ts';
import { MULTICAST_LOCK, MULTICAST_NUMBER } from '../layout/streams.ts';
import { FULL, GroupRing } from './ring.ts';
import type { Streams } from './streams.ts';

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
  /** Slots that multicasts leave free: one retry per executor of every replica. */
  readonly keepFromMany: number;
  private readonly words: Int32Array;
  /** What stands in the lock while this thread holds it. */
  private readonly holder: number;

  constructor(streams: Streams, holder: number) {
    const { groups, executors, replicas } = streams.shape;
    this.rings = Array.from({ length: groups }, (_, group) => new GroupRing(streams, group));
    this.keepFromMany = executors * replicas;
    this.keepFromSingles = this.keepFromMany + this.rings[0].maxRun;
    this.words = streams.words;
    this.holder = holder;
  }

  /** Takes the lock if it is free. */
  private tryLock(): boolean {
    return Atomics.compareExchange(this.words, MULTICAST_LOCK >> 2, 0, this.holder) === 0;
  }

  private unlock(): void {
    Atomics.store(this.words, MULTICAST_LOCK >> 2, 0);
  }

  /**
   * Appends each group's run to its ring, all of them or none.
   * @param runs by group; a group without slots takes no part.
   * @param numbered for each many-group command in order, the places (group, byte offset of its record) where its number
   *   belongs, flattened as [command, group, offset, ...].
   * @param commands number of many-group commands among the records.
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
      runs[numbered[i + 1]].words[(numbered[i + 2] + OPERATION_NUMBER) >> 2] = numberAfter(first, numbered[i]);
    }
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
    for (const ring of rings) this.appendUnderLock(ring, record, 1, 0, 0);
    this.unlock();
    return true;
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
    const position = ring.tryClaim(slots, keep, 0);
    if (position === FULL) throw new Error(`ring ${ring.group} lost the room it was found to have`);
    ring.write(position, bytes, slots);
    ring.publish(position, slots);
    if (lastMarker >= 0) ring.noteMarker(position + lastMarker);
  }

  /** Takes `n` consecutive numbers, none of which is 0. */
  private takeNumbers(n: number): number {
    const { words } = this;
    const first = numberAfter(words[MULTICAST_NUMBER >> 2], 1);
    words[MULTICAST_NUMBER >> 2] = numberAfter(first, n - 1);
    return first;
  }
}

/** The number n places after `number`; 0 is left out. */
function numberAfter(number: number, n: number): number {
  const next = (number + n) | 0;
  // Crossing 0 upwards means that one number was left out.
  return (number < 0 && next >= 0) || next === 0 ? (next + 1) | 0 : next;
}
