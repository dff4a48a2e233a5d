/**
 * Where the watchers' part of the streams' memory has what (layout/watch.ts), and what threads of all kinds do with it: waking
 * watchers, taking them out, mending what dead threads left.
 */
import { SLOT } from '../layout/operation.ts';
import { RING_CLAIM } from '../layout/streams.ts';
import {
  MAX_WATCHERS,
  WATCH_ACTIVE,
  WATCH_BLOCKED,
  WATCH_LOCK,
  WATCH_PROGRESS,
  WATCH_PROGRESS_SIZE,
  WATCH_REFUSED,
  WATCH_SLEEPERS,
  WATCH_SWEPT,
  WATCH_TAG_RINGS,
  WATCH_TAGS,
  WATCHER_CLIENT,
  WATCHER_SIGNAL,
  WATCHER_SIZE,
  WATCHERS,
} from '../layout/watch.ts';
import type { Streams } from './streams.ts';

/** Least bytes of the log. */
const LOG = 1 << 20;
/** Bytes of the log of a store: a power of two, and several times what the largest command can change. */
export function logBytes(ringSlots: number): number {
  return Math.max(LOG, ringSlots * SLOT);
}

/** Bytes of the watchers' part of the streams. */
export function watchBytes(groups: number, ringSlots: number): number {
  return WATCH_TAGS + groups * ringSlots * WATCH_TAG_RINGS * 4 + logBytes(ringSlots);
}

/** What a new store's part begins with: no tag may look as if it stood for a position. */
export function initWatch(streams: Streams): void {
  const { words, watchAt, shape } = streams;
  for (let group = 0; group < shape.groups; group++) words[tagWord(streams, group, 0)] = shape.start - 1;
  for (let replica = 0; replica < shape.replicas; replica++) {
    for (let group = 0; group < shape.groups; group++) words[progressWord(streams, replica, group)] = shape.start;
  }
  for (let group = 0; group < shape.groups; group++) words[sweptWord(streams, group)] = shape.start;
  words[(watchAt + WATCH_REFUSED) >> 2] = 0;
}

/** Says that nobody can watch this store. */
export function refuseWatchers({ words, watchAt }: Streams): void {
  Atomics.store(words, (watchAt + WATCH_REFUSED) >> 2, 1);
}

/** Word index of how far a replica has got in a group's stream. */
export function progressWord({ watchAt }: Streams, replica: number, group: number): number {
  return (watchAt + WATCH_PROGRESS + replica * WATCH_PROGRESS_SIZE + group * 4) >> 2;
}

/** Word index of the tag of a position. */
export function tagWord({ watchAt, shape }: Streams, group: number, position: number): number {
  const tags = shape.ringSlots * WATCH_TAG_RINGS;
  return ((watchAt + WATCH_TAGS) >> 2) + group * tags + (position & (tags - 1));
}

/** Word index of where old tags of a group were last looked for. */
export function sweptWord({ watchAt }: Streams, group: number): number {
  return (watchAt + WATCH_SWEPT + group * 4) >> 2;
}

/** Slots after which tags are looked at again, and beyond which one is old. */
const OLD = 2 ** 28;
/** Tags looked at together: well below a millisecond. */
const SLICE = 16384;

/**
 * Keeps the tags from growing old. One stays as it is until a command stands at its place again that changes something while
 * somebody watches, and positions wrap: half a round later it would look as if it stood for a command to come, and be left as it
 * is when that one's changes are entered, so that they are entered twice; a whole round later as if they were entered already.
 */
export class TagSweeper {
  private readonly streams: Streams;
  /** By group: the tag that a sweep has come to; -1 while there is none. */
  private readonly at: number[];

  constructor(streams: Streams) {
    this.streams = streams;
    this.at = Array(streams.shape.groups).fill(-1);
  }

  /** Looks at some tags, if it is time; for one thread, which calls it often enough: many times while 2^28 slots go by. */
  step(): void {
    const { streams, at } = this;
    const { words } = streams;
    for (let group = 0; group < at.length; group++) {
      const claimed = Atomics.load(words, (streams.ring(group) + RING_CLAIM) >> 2);
      const swept = sweptWord(streams, group);
      if (at[group] < 0) {
        if ((claimed - Atomics.load(words, swept)) >>> 0 < OLD) continue;
        Atomics.store(words, swept, claimed);
        at[group] = 0;
      }
      at[group] = this.sweep(group, at[group], claimed);
    }
  }

  /** Sweeps a slice of a group's tags from one on. @returns the next one; -1 behind the last */
  private sweep(group: number, from: number, claimed: number): number {
    const { words, shape } = this.streams;
    const tags = shape.ringSlots * WATCH_TAG_RINGS;
    const first = tagWord(this.streams, group, 0);
    const to = Math.min(tags, from + SLICE);
    // Before every command that is still to be executed, after those of the last sweeps, and not the position of its place.
    const young = (claimed - OLD / 2) | 0;
    for (let tag = from; tag < to; tag++) {
      const there = Atomics.load(words, first + tag);
      const age = (claimed - there) >>> 0;
      // Those that look as if they were far ahead are not: they are new, and the ring was claimed further meanwhile.
      if (age < OLD || age >= 2 ** 32 - OLD) continue;
      const own = (young & (tags - 1)) === tag;
      Atomics.compareExchange(words, first + tag, there, own ? (young - 1) | 0 : young);
    }
    return to === tags ? -1 : to;
  }
}

/** First byte of the log. */
export function logAt({ watchAt, shape }: Streams): number {
  return watchAt + WATCH_TAGS + shape.groups * shape.ringSlots * WATCH_TAG_RINGS * 4;
}

/** First byte of a watcher's words. */
export function watcherAt({ watchAt }: Streams, watcher: number): number {
  return watchAt + WATCHERS + watcher * WATCHER_SIZE;
}

/**
 * Wakes the watchers that sleep. No wake-up is lost: a watcher sets its bit, then looks at the log and the progress, then
 * sleeps if its signal has not moved; who calls this has moved one of these, then looks at the bits.
 */
export function wakeWatchers(streams: Streams): void {
  const { words, watchAt } = streams;
  const sleepers = (watchAt + WATCH_SLEEPERS) >> 2;
  if (Atomics.load(words, sleepers) === 0) return;
  for (let bits = Atomics.exchange(words, sleepers, 0); bits !== 0; bits &= bits - 1) {
    wakeWatcher(streams, 31 - Math.clz32(bits & -bits));
  }
}

/** Moves a watcher's futex. */
export function wakeWatcher(streams: Streams, watcher: number): void {
  const signal = (watcherAt(streams, watcher) + WATCHER_SIGNAL) >> 2;
  Atomics.add(streams.words, signal, 1);
  Atomics.notify(streams.words, signal);
}

/** Takes a watcher out: nobody waits for it any more. */
export function freeWatcher(streams: Streams, watcher: number): void {
  const { words, watchAt } = streams;
  Atomics.and(words, (watchAt + WATCH_ACTIVE) >> 2, ~(1 << watcher));
  Atomics.and(words, (watchAt + WATCH_SLEEPERS) >> 2, ~(1 << watcher));
  Atomics.store(words, (watcherAt(streams, watcher) + WATCHER_CLIENT) >> 2, 0);
}

/** Takes the watchers of a client out whose thread is gone. */
export function freeWatchersOf(streams: Streams, client: number): void {
  const { words } = streams;
  for (let watcher = 0; watcher < MAX_WATCHERS; watcher++) {
    const owner = Atomics.load(words, (watcherAt(streams, watcher) + WATCHER_CLIENT) >> 2);
    if (owner === client + 1) freeWatcher(streams, watcher);
  }
}

/**
 * Whether a thread of some replica waits for a watcher. Then that replica stands still through no fault of its own, and so
 * may another one that waits for it (execute-verify).
 */
export function waitsForWatcher({ words, watchAt }: Streams): boolean {
  return Atomics.load(words, (watchAt + WATCH_BLOCKED) >> 2) !== 0;
}

/** Mends what the threads of a lost replica left, which have ended: the lock, and the word that they wait. */
export function mendLog(streams: Streams, replica: number): void {
  const { words, watchAt, shape } = streams;
  for (let thread = 0; thread < shape.executors; thread++) {
    const holder = holderOf(streams, replica, thread);
    // What is not behind the head was not entered; what is gets its tags from the next holder.
    Atomics.compareExchange(words, (watchAt + WATCH_LOCK) >> 2, holder, 0);
  }
  Atomics.and(words, (watchAt + WATCH_BLOCKED) >> 2, ~(1 << replica));
}

/** What stands in the log's lock while a thread holds it. */
export function holderOf({ shape }: Streams, replica: number, thread: number): number {
  return 1 + replica * shape.executors + thread;
}
