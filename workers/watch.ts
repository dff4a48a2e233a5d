/**
 * Watching a store: the changes of a range of keys, read out of the log that the replicas write (change-log.ts).
 *
 * A watcher filters in its own thread, so any number of ranges costs the executors nothing. It tells of a change only when the
 * home replica has executed it too, so that who hears of it finds it with a direct read.
 */
import { keepAlive, publish, waitAsync } from '#platform';
import { SabtreeError, show } from '../engine/errors.ts';
import { checkKey, compareKeys, type KeyOrder, keyOrder } from '../engine/key-order.ts';
import { isVariable } from '../engine/keys.ts';
import { type RangeOptions, rangeOf } from '../engine/range.ts';
import { ByteViews, type ValueCodec } from '../engine/values.ts';
import { prefixRange } from '../engine/variable-keys.ts';
import { RING_CLAIM, STATE_FAILED, STATE_READ_ONLY, STREAMS_HOME } from '../layout/streams.ts';
import { SCAN_LOWER_EXCLUSIVE, SCAN_UPPER_EXCLUSIVE } from '../layout/tree-memory.ts';
import {
  CHANGE_BYTES,
  CHANGE_GROUP,
  CHANGE_KEY,
  CHANGE_KEY_LENGTH,
  CHANGE_POSITION,
  CHANGE_PUT,
  CHANGE_TYPE,
  CHANGE_VALUE_LENGTH,
  MAX_WATCHERS,
  WATCH_ACTIVE,
  WATCH_BLOCKED,
  WATCH_HEAD,
  WATCH_REFUSED,
  WATCH_SLEEPERS,
  WATCHER_CLIENT,
  WATCHER_CURSOR,
  WATCHER_SIGNAL,
  WATCHER_WAITS,
} from '../layout/watch.ts';
import { type Payload, ValuePayload } from './call-record.ts';
import { orphanWatch, stateError } from './failure.ts';
import { turn } from './in-turns.ts';
import type { Streams } from './streams.ts';
import { freeWatcher, logAt, logBytes, progressWord, wakeWatcher, watcherAt } from './watch-memory.ts';

/** Bytes that a watcher takes out of the log at a time. */
const PIECE = 65536;
/** Most bytes of changes that a thread takes aside while it waits for commands of its own. */
const ASIDE = 1 << 26;

/**
 * One change of a store's content. `group` is the number of the stream that its command came in, `position` its place there, in
 * slots of 64 bytes, modulo 2^32; a command to several groups has one place, in one of their streams.
 */
export type Change<K = number, V = number> =
  | {
      readonly type: 'put';
      readonly key: K;
      /** The value that the key has from here on. */
      readonly value: V;
      readonly group: number;
      readonly position: number;
    }
  | { readonly type: 'delete'; readonly key: K; readonly group: number; readonly position: number };

/** The keys to be watched: all of them without bounds. */
export type WatchRange<K> = Pick<RangeOptions<K>, 'gt' | 'gte' | 'lt' | 'lte' | 'prefix'>;

/** Options of `watch` and `changes`. */
export interface WatchOptions {
  /**
   * What happens when the watcher is slower than the writers: 'wait' (default) makes them wait, once about a megabyte of
   * changes lies unread; 'error' ends the watch with ERR_OVERFLOW instead, and nobody waits.
   */
  readonly overflow?: 'wait' | 'error';
}

const WATCH_OPTIONS = new Set(['overflow']);

/** What watchers need of the client they belong to. */
export interface WatchParts {
  readonly streams: Streams;
  /** Number of the client. */
  readonly client: number;
  readonly keyCode: number;
  readonly values: ValueCodec;
}

/** Takes the changes of a range out of the log, in this thread. */
class ChangeReader<K, V> {
  private readonly streams: Streams;
  private readonly words: Int32Array;
  private readonly payload: Payload;
  private readonly keyCode: number;
  private readonly order: KeyOrder;
  private readonly watcher: number;
  private readonly log: number;
  private readonly capacity: number;
  private readonly cursorWord: number;
  private readonly lower: unknown;
  private readonly upper: unknown;
  private readonly lowerExclusive: boolean;
  private readonly upperExclusive: boolean;
  /** By group, where its ring was claimed when this watcher came: nothing before is told of. */
  private readonly from: Int32Array;
  private cursor: number;
  private inbox = new ByteViews(PIECE);
  /** Changes taken, and how many of them were given out. */
  private taken: Change<K, V>[] = [];
  private given = 0;
  private freed = false;
  private readonly lookAfterStore: () => void;

  constructor(parts: WatchParts, range: WatchRange<K> | undefined, waits: boolean) {
    const { streams, keyCode, values } = parts;
    const { flags, lower, upper } = boundsOf(keyCode, range);
    const { words, watchAt, shape } = streams;
    this.streams = streams;
    this.lookAfterStore = orphanWatch(streams);
    this.words = words;
    this.order = keyOrder(keyCode);
    this.lower = lower;
    this.upper = upper;
    this.lowerExclusive = (flags & SCAN_LOWER_EXCLUSIVE) !== 0;
    this.upperExclusive = (flags & SCAN_UPPER_EXCLUSIVE) !== 0;
    this.log = logAt(streams);
    this.capacity = logBytes(shape.ringSlots);
    this.payload = new ValuePayload(values);
    this.keyCode = keyCode;
    this.watcher = claimWatcher(parts, waits);
    this.cursorWord = (watcherAt(streams, this.watcher) + WATCHER_CURSOR) >> 2;
    const head = (watchAt + WATCH_HEAD) >> 2;
    refreshProgress(streams);
    Atomics.store(words, this.cursorWord, Atomics.load(words, head));
    // From here on executors tell of what they take out of the rings (ChangeWriter.look)...
    Atomics.or(words, (watchAt + WATCH_ACTIVE) >> 2, 1 << this.watcher);
    this.cursor = Atomics.load(words, head);
    Atomics.store(words, this.cursorWord, this.cursor);
    // ...so of everything that is claimed behind these places.
    this.from = Int32Array.from({ length: shape.groups }, (_, group) =>
      Atomics.load(words, (streams.ring(group) + RING_CLAIM) >> 2),
    );
  }

  /** The next change, if there is one at hand. */
  next(): Change<K, V> | undefined {
    if (this.given === this.taken.length) return undefined;
    const change = this.taken[this.given++];
    if (this.given === this.taken.length) {
      this.taken.length = 0;
      this.given = 0;
    }
    return change;
  }

  /**
   * Takes a piece of the log, as far as the home replica has executed it.
   * @param all also what it has not: the store is closing, and nobody will wait for it.
   * @returns bytes taken. @throws ERR_OVERFLOW if the log has overtaken this watcher.
   */
  take(all = false): number {
    if (this.freed) return 0;
    const { words, streams, cursor } = this;
    this.refuseOvertaken();
    const head = Atomics.load(words, (streams.watchAt + WATCH_HEAD) >> 2);
    const length = (head - cursor) | 0;
    if (length === 0) return 0;
    const here = this.copy(Math.min(length, this.inbox.u8.length));
    const first = this.inbox.i32[CHANGE_BYTES >> 2];
    // A single change that is larger than a piece.
    if (first > here) {
      this.inbox = new ByteViews(first);
      this.copy(first);
    }
    const used = this.parse(Math.min(length, this.inbox.u8.length), all);
    this.cursor = (cursor + used) | 0;
    if (used > 0) Atomics.store(words, this.cursorWord, this.cursor);
    return used;
  }

  /** Copies from the cursor on, and makes sure that it was not overwritten meanwhile. */
  private copy(length: number): number {
    const { streams, inbox, log, capacity, cursor } = this;
    const first = cursor & (capacity - 1);
    const untilEnd = capacity - first;
    if (length <= untilEnd) inbox.u8.set(streams.bytes.subarray(log + first, log + first + length));
    else {
      inbox.u8.set(streams.bytes.subarray(log + first, log + capacity));
      inbox.u8.set(streams.bytes.subarray(log, log + length - untilEnd), untilEnd);
    }
    this.refuseOvertaken();
    return length;
  }

  private refuseOvertaken(): void {
    // A read-modify-write: on arm64 a plain load may not pass it downwards, as it might a later atomic load.
    if (Atomics.or(this.words, (watcherAt(this.streams, this.watcher) + WATCHER_WAITS) >> 2, 0) !== 2) return;
    throw new SabtreeError('ERR_OVERFLOW', 'the watcher was too slow: changes were overwritten before it read them');
  }

  /** Takes whole changes out of the inbox, up to the first that the home replica has not executed; bytes used. */
  private parse(length: number, all: boolean): number {
    const { inbox, streams, words, from, order, payload } = this;
    const { i32, u8 } = inbox;
    const home = Atomics.load(words, STREAMS_HOME >> 2);
    let at = 0;
    while (at + CHANGE_KEY <= length) {
      const bytes = i32[(at + CHANGE_BYTES) >> 2];
      if (at + bytes > length) break;
      const group = i32[(at + CHANGE_GROUP) >> 2];
      const position = i32[(at + CHANGE_POSITION) >> 2];
      if (((position - from[group]) | 0) >= 0) {
        if (!all) {
          if (home < 0) break;
          if (((Atomics.load(words, progressWord(streams, home, group)) - position) | 0) <= 0) break;
        }
        const keyLength = i32[(at + CHANGE_KEY_LENGTH) >> 2];
        const key = order.keyOf(u8.subarray(at + CHANGE_KEY, at + CHANGE_KEY + keyLength)) as K;
        if (this.includes(key)) {
          const place = { group, position: position >>> 0 };
          if (i32[(at + CHANGE_TYPE) >> 2] === CHANGE_PUT) {
            const value = at + CHANGE_KEY + ((keyLength + 7) & ~7);
            const bytes = u8.subarray(value, value + i32[(at + CHANGE_VALUE_LENGTH) >> 2]);
            this.taken.push({ type: 'put', key, value: payload.decode(bytes) as V, ...place });
          } else this.taken.push({ type: 'delete', key, ...place });
        }
      }
      at += bytes;
    }
    return at;
  }

  private includes(key: unknown): boolean {
    const { keyCode, lower, upper } = this;
    if (lower !== undefined) {
      const above = compareKeys(keyCode, key, lower);
      if (above < 0 || (above === 0 && this.lowerExclusive)) return false;
    }
    if (upper === undefined) return true;
    const above = compareKeys(keyCode, key, upper);
    return above < 0 || (above === 0 && !this.upperExclusive);
  }

  /** Whether executors wait for room in the log. */
  get blocking(): boolean {
    return Atomics.load(this.words, (this.streams.watchAt + WATCH_BLOCKED) >> 2) !== 0;
  }

  /** Resolves when there may be something to take, or soon. */
  async sleep(): Promise<void> {
    const { words, streams, watcher } = this;
    const signal = (watcherAt(streams, watcher) + WATCHER_SIGNAL) >> 2;
    const ticket = Atomics.load(words, signal);
    Atomics.or(words, (streams.watchAt + WATCH_SLEEPERS) >> 2, 1 << watcher);
    // The last look: see wakeWatchers.
    if (this.freed || streams.state > STATE_READ_ONLY || this.take() > 0) return;
    const waited = waitAsync(words, signal, ticket, 1000);
    if (waited.async) await waited.value;
    this.lookAfterStore();
  }

  wake(): void {
    wakeWatcher(this.streams, this.watcher);
  }

  /** Gives the watcher's place back. */
  free(): void {
    if (this.freed) return;
    this.freed = true;
    freeWatcher(this.streams, this.watcher);
    this.wake();
  }
}

/** Positions wrap after 2^32 slots; what says how far a replica has got must not be half as old. */
const STALE = 2 ** 29;

/**
 * Executors do not say how far they have got while nobody watches. What was said so long ago that positions have wrapped since
 * is put where the replica takes from its ring now: all before is older than the watcher that comes.
 */
function refreshProgress(streams: Streams): void {
  const { words, shape } = streams;
  for (let replica = 0; replica < shape.replicas; replica++) {
    for (let group = 0; group < shape.groups; group++) {
      const word = progressWord(streams, replica, group);
      const said = Atomics.load(words, word);
      const cursor = Atomics.load(words, streams.ringCursor(group, replica));
      if ((cursor - said) >>> 0 > STALE) Atomics.compareExchange(words, word, said, cursor);
    }
  }
}

/** Checks the keys of a range that is to be watched. @throws ERR_ARGUMENT, ERR_KEY */
function boundsOf(keyCode: number, range: WatchRange<unknown> | undefined) {
  const { reverse, limit } = (range ?? {}) as RangeOptions<unknown>;
  for (const [name, value] of Object.entries({ reverse, limit })) {
    if (value === undefined) continue;
    throw new SabtreeError('ERR_ARGUMENT', `a watched range has no ${name}: it is told of as changes come`, value);
  }
  const checked = rangeOf(range);
  for (const key of [checked.lower, checked.upper]) {
    if (key !== undefined) checkKey(keyCode, key);
  }
  if (checked.prefix === undefined) return checked;
  if (!isVariable(keyCode)) {
    throw new SabtreeError('ERR_ARGUMENT', 'a prefix is for keys that are strings, bytes or tuples', checked.prefix);
  }
  const { from, end } = prefixRange(keyCode, checked.prefix);
  return { flags: SCAN_UPPER_EXCLUSIVE, lower: from, upper: end };
}

/** Takes a free place among the watchers. @throws ERR_UNSUPPORTED, ERR_TOO_MANY_WATCHERS */
function claimWatcher({ streams, client }: WatchParts, waits: boolean): number {
  const { words, watchAt } = streams;
  if (Atomics.load(words, (watchAt + WATCH_REFUSED) >> 2) !== 0) {
    throw new SabtreeError(
      'ERR_UNSUPPORTED',
      'a store with a blind mixer cannot be watched: nobody knows the order of its changes',
      'blind',
    );
  }
  for (let watcher = 0; watcher < MAX_WATCHERS; watcher++) {
    const base = watcherAt(streams, watcher);
    if (Atomics.compareExchange(words, (base + WATCHER_CLIENT) >> 2, 0, client + 1) !== 0) continue;
    Atomics.store(words, (base + WATCHER_WAITS) >> 2, waits ? 1 : 0);
    return watcher;
  }
  throw new SabtreeError('ERR_TOO_MANY_WATCHERS', `the store has all of its ${MAX_WATCHERS} watchers`, MAX_WATCHERS);
}

/** The checked `overflow` of options: whether writers wait. @throws ERR_OPTION */
function waitsOf(options: WatchOptions): boolean {
  if (typeof options !== 'object' || options === null) {
    throw new SabtreeError('ERR_OPTION', `watch takes an object of options, got ${show(options)}`, options);
  }
  for (const name of Object.keys(options)) {
    if (!WATCH_OPTIONS.has(name)) throw new SabtreeError('ERR_OPTION', `unknown option ${show(name)}`, name);
  }
  const { overflow = 'wait' } = options;
  if (overflow !== 'wait' && overflow !== 'error') {
    throw new SabtreeError('ERR_OPTION', `option overflow must be wait or error, got ${show(overflow)}`, overflow);
  }
  return overflow === 'wait';
}

/**
 * The changes of a range as they come, in the order in which they were made. Ends when the store is closed (after the last
 * change), or when it is left. A watch that makes writers wait has to be read or ended: `return()`, or leave the loop.
 */
export class Changes<K = number, V = number> implements AsyncIterableIterator<Change<K, V>, undefined> {
  private readonly reader: ChangeReader<K, V>;
  private readonly streams: Streams;
  private readonly onEnd: (changes: Changes<never, never>) => void;
  private readonly release = keepAlive();
  /** What has to be told once everything at hand was given: the end, or an error. */
  private ended = false;
  private error: SabtreeError | undefined;
  /** What the store has failed with, if that ended it. @internal */
  storeFailure: SabtreeError | undefined;
  /** Calls of `next` are answered one after another. */
  private last: Promise<unknown> = Promise.resolve();
  private sinceTurn = 0;
  private asideBytes = 0;

  /** @internal */
  constructor(
    parts: WatchParts,
    range: WatchRange<K> | undefined,
    options: WatchOptions,
    onEnd: (changes: Changes<never, never>) => void,
  ) {
    try {
      this.reader = new ChangeReader<K, V>(parts, range, waitsOf(options));
    } catch (error) {
      this.release();
      throw error;
    }
    this.streams = parts.streams;
    this.onEnd = onEnd;
  }

  /** The next change. @throws ERR_OVERFLOW, ERR_REPLICAS_LOST and the like once what came before was given. */
  next(): Promise<IteratorResult<Change<K, V>, undefined>> {
    const result = this.last.then(() => this.wait());
    this.last = result.catch(() => {});
    return result;
  }

  private async wait(): Promise<IteratorResult<Change<K, V>, undefined>> {
    const { reader } = this;
    for (;;) {
      const change = reader.next();
      if (change !== undefined) {
        // Changes that are at hand come without the event loop: now and then others have a turn.
        if (++this.sinceTurn >= 1024) {
          this.sinceTurn = 0;
          await turn();
        }
        return { done: false, value: change };
      }
      this.asideBytes = 0;
      const { error } = this;
      this.error = undefined;
      if (error !== undefined) throw error;
      if (this.ended) return { done: true, value: undefined };
      if (this.streams.state > STATE_READ_ONLY) this.finish();
      else if (!this.attempt(() => reader.take() > 0)) {
        this.sinceTurn = 0;
        await reader.sleep().catch((failure) => this.fail(failure));
      }
    }
  }

  /** Does something that may find the watcher overtaken; then it ends with that. */
  private attempt(act: () => boolean): boolean {
    try {
      return act();
    } catch (failure) {
      this.fail(failure as SabtreeError);
      return true;
    }
  }

  private fail(error: SabtreeError): void {
    if (this.ended) return;
    this.error = error;
    this.end();
    if (error.code === 'ERR_OVERFLOW') publish('sabtree:overflow', { error });
  }

  private end(): void {
    if (this.ended) return;
    this.ended = true;
    this.reader.free();
    this.release();
    this.onEnd(this as unknown as Changes<never, never>);
  }

  /** Takes what there still is, and ends: the store or the client is being closed. @internal */
  finish(): void {
    if (this.ended) return;
    while (this.attempt(() => this.reader.take(true) > 0) && !this.ended);
    if (!this.ended && this.streams.state === STATE_FAILED) {
      this.storeFailure = stateError(this.streams);
      this.error = this.storeFailure;
    }
    this.end();
  }

  /**
   * Called while this thread waits for commands of its own: if executors wait for room in the log, it is perhaps this
   * thread that they wait for. @internal
   */
  takeAside(): void {
    if (this.ended || !this.reader.blocking) return;
    this.attempt(() => {
      for (let bytes = this.reader.take(); bytes > 0; bytes = this.reader.take()) this.asideBytes += bytes;
      if (this.asideBytes > ASIDE) {
        const message = `${this.asideBytes} bytes of changes came while the thread waited for commands of its own`;
        throw new SabtreeError('ERR_OVERFLOW', message, this.asideBytes);
      }
      return true;
    });
  }

  /** Ends the watch now; what is at hand is dropped. */
  async return(): Promise<IteratorResult<Change<K, V>, undefined>> {
    this.stop();
    return { done: true, value: undefined };
  }

  /** @internal */
  stop(): void {
    while (this.reader.next() !== undefined);
    this.end();
  }

  /** Itself. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.stop();
  }
}

/** A listener's watch: see `StoreClient.watch`. */
export class Watch {
  /**
   * Resolves when the watch has ended and nothing more will be told; rejects with what ended it, also with what the listener
   * threw: that is an unhandled rejection if nobody looks. That the store has failed is none: every call tells it.
   */
  readonly closed: Promise<void>;
  private readonly stop: () => void;
  private stopped = false;

  /** @internal */
  constructor(
    changes: Pick<Changes, 'stop' | 'storeFailure'> & AsyncIterable<unknown>,
    listener: (change: unknown) => unknown,
  ) {
    this.stop = () => changes.stop();
    const tell = async () => {
      try {
        for await (const change of changes) {
          if (this.stopped) break;
          const result = listener(change);
          if (typeof (result as Promise<unknown> | undefined)?.then === 'function') await result;
        }
      } finally {
        changes.stop();
      }
    };
    this.closed = new Promise((resolve, reject) => {
      tell().then(resolve, (error) => {
        if (error === changes.storeFailure) this.closed.catch(() => {});
        reject(error);
      });
    });
  }

  /** Ends the watch; the listener is not called again. */
  close(): void {
    this.stopped = true;
    this.stop();
  }

  /** Ends it. */
  [Symbol.dispose](): void {
    this.close();
  }
}
