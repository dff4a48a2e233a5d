/**
 * What user-defined commands came to, where that may differ between replicas because time does: done, or given up. It is said
 * once for each command, named by its place in its group's stream, and holds for all replicas.
 *
 * With a log it also holds for those who read the log later: a command that was given up stands in it before, so nobody goes
 * on behind it until the log has that it was.
 */
import { SabtreeError } from '../engine/errors.ts';
import { LOG_SIGNAL, LOG_SLEEPING } from '../layout/durable.ts';
import {
  GIVEN_UP_FIRST,
  GIVEN_UP_GROUP,
  GIVEN_UP_LOGGED,
  GIVEN_UP_PLACE,
  GIVEN_UP_PLACES,
  GIVEN_UP_POSITION,
  HOARD_SLOTS,
  VERDICT_DONE,
  VERDICT_GIVEN_UP,
} from '../layout/streams.ts';
import { WATCH_TAG_RINGS } from '../layout/watch.ts';
import type { Signals } from './signals.ts';
import type { Streams } from './streams.ts';

/** Slots that a replica may be behind in a stream beside a ring or two: what one that is rebuilt has taken aside, and more. */
const FAR_BEHIND = 4 * HOARD_SLOTS;

/** Milliseconds between two looks whether the log has it. It wakes who waits; this is for the end of the store. */
const LOOK = 20;

/** A command that was given up: its place in the order, and the number of its note. */
export interface GivenUp {
  readonly group: number;
  readonly position: number;
  readonly note: number;
}

/** One thread's view of what was said. */
export class Verdicts {
  private readonly streams: Streams;
  private readonly words: Int32Array;
  /** As the log: notes before this one are in it. */
  private seen = 0;

  constructor(streams: Streams) {
    this.streams = streams;
    this.words = streams.words;
  }

  /**
   * Says what a command came to; what was said of it first holds, however late somebody else comes. (Positions come again after
   * 2^32 slots; the word of a command that took effect, as good as all, then tells the next one nothing wrong.)
   * @param position of its record in the group's stream. @returns VERDICT_DONE or VERDICT_GIVEN_UP
   */
  decide(group: number, position: number, verdict: number): number {
    const { words, streams } = this;
    const places = streams.shape.ringSlots * WATCH_TAG_RINGS;
    const word = (streams.verdictsAt >> 2) + group * places + (position & (places - 1));
    const round = ((position >>> 0) / places + 1) << 1;
    for (;;) {
      const said = Atomics.load(words, word);
      let agreed = said & 1;
      if ((said & ~1) !== round) {
        if (isLater(said, round, places)) return this.noteOf(group, position) < 0 ? VERDICT_DONE : VERDICT_GIVEN_UP;
        if (Atomics.compareExchange(words, word, said, round | verdict) !== said) continue;
        agreed = verdict;
      }
      // Whoever goes on behind it has noted it before: so it is noted when the word passes on to a later command.
      if (agreed === VERDICT_GIVEN_UP && this.noteOf(group, position) < 0) this.note(group, position);
      return agreed;
    }
  }

  /** Notes that a command was given up. */
  note(group: number, position: number): void {
    const { words, streams } = this;
    const at = this.placeOf(Atomics.add(words, streams.givenUpAt >> 2, 1));
    // It counts when its group stands there.
    Atomics.store(words, at + (GIVEN_UP_GROUP >> 2), 0);
    Atomics.store(words, at + (GIVEN_UP_POSITION >> 2), position);
    Atomics.store(words, at + (GIVEN_UP_LOGGED >> 2), 0);
    Atomics.store(words, at + (GIVEN_UP_GROUP >> 2), group + 1);
  }

  /** Word index of a note. */
  private placeOf(note: number): number {
    return (this.streams.givenUpAt + GIVEN_UP_FIRST + (note & (GIVEN_UP_PLACES - 1)) * GIVEN_UP_PLACE) >> 2;
  }

  /** Word index of the note that a command was given up: if it was, and not too long ago; otherwise -1. */
  private noteOf(group: number, position: number): number {
    const { words, streams } = this;
    const noted = Math.min(Atomics.load(words, streams.givenUpAt >> 2) >>> 0, GIVEN_UP_PLACES);
    for (let note = 0; note < noted; note++) {
      const at = this.placeOf(note);
      if (Atomics.load(words, at + (GIVEN_UP_GROUP >> 2)) !== group + 1) continue;
      if (Atomics.load(words, at + (GIVEN_UP_POSITION >> 2)) !== (position | 0)) continue;
      // Once more: another note may just be made there.
      if (Atomics.load(words, at + (GIVEN_UP_GROUP >> 2)) === group + 1) return at;
    }
    return -1;
  }

  // --- the log ------------------------------------------------------------------------------------------------------

  /**
   * As a replica: waits until the log has that a command was given up.
   * @throws ERR_CLOSED if the store ends before: then nobody may be told of it
   */
  untilLogged(group: number, position: number, signals: Signals): void {
    const { words, streams } = this;
    for (;;) {
      let at = this.noteOf(group, position);
      if (at < 0) {
        // So many were given up since that its note is gone. It may stand in the log twice.
        this.note(group, position);
        at = this.noteOf(group, position);
      }
      // Looked at before the log is woken, and again after each wait: see GroupRing.wakeLog.
      if (at >= 0 && Atomics.load(words, at + (GIVEN_UP_LOGGED >> 2)) === 1) return;
      if (!signals.going) throw new SabtreeError('ERR_CLOSED', 'the store ended');
      const signal = (streams.durableAt + LOG_SIGNAL) >> 2;
      if (Atomics.exchange(words, (streams.durableAt + LOG_SLEEPING) >> 2, 0) !== 0) {
        Atomics.add(words, signal, 1);
        Atomics.notify(words, signal);
      }
      if (at >= 0) Atomics.wait(words, at + (GIVEN_UP_LOGGED >> 2), 0, LOOK);
      signals.beat();
    }
  }

  /** As the log: what was given up and is not in it yet. */
  unlogged(): GivenUp[] {
    const { words, streams } = this;
    const noted = Atomics.load(words, streams.givenUpAt >> 2);
    const found: GivenUp[] = [];
    let whole = true;
    if (((noted - this.seen) | 0) > GIVEN_UP_PLACES) this.seen = (noted - GIVEN_UP_PLACES) | 0;
    for (let note = this.seen; note !== noted; note = (note + 1) | 0) {
      const at = this.placeOf(note);
      const group = Atomics.load(words, at + (GIVEN_UP_GROUP >> 2)) - 1;
      if (group < 0) {
        // It is about to be made; or whoever made it is dead, and somebody else notes it again.
        whole = false;
      } else if (Atomics.load(words, at + (GIVEN_UP_LOGGED >> 2)) === 0) {
        found.push({ group, position: Atomics.load(words, at + (GIVEN_UP_POSITION >> 2)), note });
      }
      if (whole) this.seen = (note + 1) | 0;
    }
    return found;
  }

  /** As the log: it has these. */
  logged(written: readonly GivenUp[]): void {
    const { words } = this;
    for (const { note } of written) {
      const logged = this.placeOf(note) + (GIVEN_UP_LOGGED >> 2);
      Atomics.store(words, logged, 1);
      Atomics.notify(words, logged);
    }
  }
}

/** Whether a word is that of a command some rounds of its positions later, as it is to a replica that is behind. */
function isLater(said: number, round: number, places: number): boolean {
  if (said === 0) return false;
  const rounds = 2 ** 32 / places;
  const later = ((said >>> 1) - (round >>> 1) + rounds) % rounds;
  return later > 0 && later * places <= FAR_BEHIND + 2 * places;
}
