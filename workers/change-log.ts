/**
 * The log of changes that watchers read, as the replicas' threads write it.
 *
 * *Every* replica produces the changes of every command, and whichever executes a command first enters them, all at once and
 * under the log's lock; the others find that they stand there. So nothing has to be carried over when a replica is lost: the
 * others go through the same streams anyway. A command is known by its place, the group and the position in its stream. Its
 * changes stand in the log if some replica's *progress* is beyond it, or if the *tag* of its place says so.
 *
 * A thread answers a command only when its changes stand in the log. So the log is an order in which the commands may be
 * thought to have been executed: on one key that of the stream, across groups that of the sync points, and what was answered
 * before something else was given stands before it.
 *
 * A watcher that is slow and must not miss anything keeps the threads that execute waiting here; then the rings fill, and the
 * writers wait. This is the one place where an executor waits for somebody outside its replica.
 */
import type { Attachment } from '../engine/attachment.ts';
import { pauseBefore } from '../engine/backoff.ts';
import { SabtreeError } from '../engine/errors.ts';
import {
  OP_ADD,
  OP_CALL,
  OP_PUT,
  OP_PUT_ALL,
  OPERATION_CODE,
  OPERATION_FLAGS,
  OPERATION_RUN,
  OPERATION_WATCHED,
  OPERATION_WATCHED_GROUP,
  SLOT,
} from '../layout/operation.ts';
import { CLIENT_SIGNAL, EXECUTOR_BEAT, STATE_READ_ONLY, STREAMS_HOME } from '../layout/streams.ts';
import {
  CHANGE_BYTES,
  CHANGE_DELETE,
  CHANGE_GROUP,
  CHANGE_KEY,
  CHANGE_KEY_LENGTH,
  CHANGE_POSITION,
  CHANGE_PUT,
  CHANGE_TYPE,
  CHANGE_VALUE_LENGTH,
  WATCH_ACTIVE,
  WATCH_BLOCKED,
  WATCH_HEAD,
  WATCH_LOCK,
  WATCH_MARKED,
  WATCHER_CLIENT,
  WATCHER_CURSOR,
  WATCHER_WAITS,
} from '../layout/watch.ts';
import type { Streams } from './streams.ts';
import { holderOf, logAt, logBytes, progressWord, tagWord, wakeWatchers, watcherAt } from './watch-memory.ts';

/** Bytes of a thread's list of changes that it has not entered yet: at least so many of the largest. */
const LIST_CHANGES = 256;
const LIST = 65536;
/** Looks at a taken lock before the thread gives its processor away. */
const LOOKS = 100;

/** Whether an operation may change something that watchers are told of. */
function tells(op: number): boolean {
  return (op >= OP_PUT && op <= OP_ADD) || op === OP_PUT_ALL || op === OP_CALL;
}

/** One thread's way to tell watchers what it changes. */
export class ChangeWriter {
  /**
   * Set where commands are executed one after the other in the order of the stream: then what stands in the log is as far
   * as this replica has got.
   */
  sequential = false;
  private readonly streams: Streams;
  private readonly attachment: Attachment;
  private readonly replica: number;
  private readonly thread: number;
  private readonly words: Int32Array;
  private readonly active: number;
  private readonly lock: number;
  private readonly head: number;
  private readonly marked: number;
  private readonly log: number;
  private readonly capacity: number;
  /** The core's list, once there is one. */
  private listAt = 0;
  private listBytes = new Uint8Array(0);
  private listWords = new Int32Array(0);

  constructor(streams: Streams, attachment: Attachment, replica: number, thread: number) {
    const { watchAt, words } = streams;
    this.streams = streams;
    this.attachment = attachment;
    this.replica = replica;
    this.thread = thread;
    this.words = words;
    this.active = (watchAt + WATCH_ACTIVE) >> 2;
    this.lock = (watchAt + WATCH_LOCK) >> 2;
    this.head = (watchAt + WATCH_HEAD) >> 2;
    this.marked = (watchAt + WATCH_MARKED) >> 2;
    this.log = logAt(streams);
    this.capacity = logBytes(streams.shape.ringSlots);
  }

  /** Whether this thread has a list, so that there may be something to publish. */
  get listening(): boolean {
    return this.listAt !== 0;
  }

  /**
   * Whether anybody watches. If so, this thread gets a list. @throws ERR_MEMORY_EXHAUSTED
   *
   * Ask it after a command was taken out of the ring: a watcher says that it is there and then looks at where the rings are
   * claimed; so what it may expect to be told of is taken by somebody who sees it here.
   */
  look(): boolean {
    if (Atomics.load(this.words, this.active) === 0) return false;
    if (this.listAt === 0) this.makeList();
    return true;
  }

  private makeList(): void {
    const { attachment } = this;
    const bytes = Math.max(LIST, LIST_CHANGES * (CHANGE_KEY + 8 + ((attachment.values.stride + 7) & ~7)));
    const list = attachment.core.allocateBlock(bytes);
    if (list === 0) {
      throw new SabtreeError('ERR_MEMORY_EXHAUSTED', `the replica's memory has no room for a list of changes`, bytes);
    }
    attachment.memory.grow(0);
    const { buffer } = attachment.memory;
    this.listAt = list;
    this.listBytes = new Uint8Array(buffer, list, bytes);
    this.listWords = new Int32Array(buffer, list, bytes >> 2);
    attachment.core.setChangeArea(list, bytes);
  }

  /** Address of the list, 0 if there is none: for threads that publish what others have executed. */
  get list(): number {
    return this.listAt;
  }

  /** Bytes of changes in the list. */
  get pending(): number {
    return this.listAt === 0 ? 0 : this.attachment.core.changeBytes();
  }

  /** Forgets what is in the list: it was undone, or somebody else publishes it. */
  clear(): void {
    if (this.listAt !== 0) this.attachment.core.clearChanges();
  }

  /**
   * Marks the writes among records just taken out of a ring, if anybody watches, with their place; user-defined commands also
   * if the replicas have to agree on them.
   * @param words the copy. @param at byte offset of the first record in it. @param position its place in the stream.
   * @returns whether anybody watches.
   */
  stamp(words: Int32Array, at: number, slots: number, position: number, group: number): boolean {
    const watched = this.look();
    const { calls } = this.streams.shape;
    if (!watched && !calls) return false;
    const flags = ((watched ? OPERATION_WATCHED : 0) | group) << (8 * OPERATION_FLAGS);
    for (let slot = 0; slot < slots; ) {
      const record = (at + slot * SLOT) >> 2;
      const word = words[record];
      const op = (word >>> (8 * OPERATION_CODE)) & 0xff;
      if (watched ? tells(op) : op === OP_CALL) {
        words[record] = word | flags;
        words[record + (OPERATION_RUN >> 2)] = position + slot;
      }
      slot += word >>> 16 || 1;
    }
    return watched;
  }

  /** Publishes what the core has noted, before anything of it is answered. */
  publish(): void {
    const bytes = this.attachment.core.changeBytes();
    if (bytes === 0) return;
    this.append(this.listBytes, this.listWords, bytes);
    this.attachment.core.clearChanges();
  }

  /**
   * Publishes what a command on several keys has changed.
   * @param address of its record, which is marked (OPERATION_WATCHED). @param words the same memory. @param changed keys in stored
   *   order, and values' bytes or none.
   */
  publishMany(
    memory: Uint8Array,
    words: Int32Array,
    address: number,
    changed: readonly { readonly key: Uint8Array; readonly bytes: Uint8Array | undefined }[],
  ): void {
    const flags = memory[address + OPERATION_FLAGS];
    const padded = (length: number) => (length + 7) & ~7;
    let total = 0;
    for (const { key, bytes } of changed) total += CHANGE_KEY + padded(key.length) + padded(bytes?.length ?? 0);
    const u8 = new Uint8Array(total);
    const list = new Int32Array(u8.buffer);
    let at = 0;
    for (const { key, bytes } of changed) {
      const valueAt = at + CHANGE_KEY + padded(key.length);
      const end = valueAt + padded(bytes?.length ?? 0);
      list[(at + CHANGE_BYTES) >> 2] = end - at;
      list[(at + CHANGE_TYPE) >> 2] = bytes === undefined ? CHANGE_DELETE : CHANGE_PUT;
      list[(at + CHANGE_GROUP) >> 2] = flags & OPERATION_WATCHED_GROUP;
      list[(at + CHANGE_POSITION) >> 2] = words[(address + OPERATION_RUN) >> 2];
      list[(at + CHANGE_KEY_LENGTH) >> 2] = key.length;
      list[(at + CHANGE_VALUE_LENGTH) >> 2] = bytes?.length ?? 0;
      u8.set(key, at + CHANGE_KEY);
      if (bytes !== undefined) u8.set(bytes, valueAt);
      at = end;
    }
    this.append(u8, list, total);
  }

  /**
   * Enters changes that do not stand in the log yet, and waits for room in it; those of one command at once.
   * @param bytes how many of `source`, which `words` sees too.
   */
  append(source: Uint8Array, words: Int32Array, bytes: number): void {
    let at = 0;
    let last = 0;
    let blocked = false;
    for (let tries = 0; ; tries++) {
      while (at < bytes && this.stands(words, at)) {
        last = at;
        at = this.behind(words, at, bytes);
      }
      if (at >= bytes) break;
      if (!this.takeLock()) return;
      const done = this.appendUnderLock(source, words, at, bytes);
      Atomics.store(this.words, this.lock, 0);
      if (done === at) {
        blocked = true;
        if (!this.waitForRoom(tries)) return;
      } else {
        at = done;
        tries = 0;
      }
    }
    if (blocked) Atomics.and(this.words, (this.streams.watchAt + WATCH_BLOCKED) >> 2, ~(1 << this.replica));
    if (!this.sequential) return;
    while (this.behind(words, last, bytes) < bytes) last = this.behind(words, last, bytes);
    const group = words[(last + CHANGE_GROUP) >> 2];
    this.reached(group, (words[(last + CHANGE_POSITION) >> 2] + 1) | 0);
  }

  /** Where the changes of the next command begin. */
  private behind(words: Int32Array, at: number, end: number): number {
    const group = words[(at + CHANGE_GROUP) >> 2];
    const position = words[(at + CHANGE_POSITION) >> 2];
    let next = at + words[at >> 2];
    while (
      next < end &&
      words[(next + CHANGE_POSITION) >> 2] === position &&
      words[(next + CHANGE_GROUP) >> 2] === group
    ) {
      next += words[next >> 2];
    }
    return next;
  }

  /** Whether the changes of the command at `at` stand in the log. Once true it stays true. */
  private stands(words: Int32Array, at: number): boolean {
    const group = words[(at + CHANGE_GROUP) >> 2];
    const position = words[(at + CHANGE_POSITION) >> 2];
    if (this.distance(group, position) < 0) return true;
    return Atomics.load(this.words, tagWord(this.streams, group, position)) === position;
  }

  /** By how much a position is ahead of the replica that has got furthest; negative if that one has passed it. */
  distance(group: number, position: number): number {
    const { streams, words } = this;
    let least = 0x7fffffff;
    for (let replica = 0; replica < streams.shape.replicas; replica++) {
      const ahead = (position - Atomics.load(words, progressWord(streams, replica, group))) | 0;
      if (ahead < least) least = ahead;
    }
    return least;
  }

  /** Copies what fits behind the head. @returns up to where it got. */
  private appendUnderLock(source: Uint8Array, list: Int32Array, from: number, to: number): number {
    const { words, head, capacity, log, streams } = this;
    this.mark();
    const start = Atomics.load(words, head);
    const room = this.room(start, to - from);
    let used = 0;
    let at = from;
    while (at < to) {
      const next = this.behind(list, at, to);
      if (!this.stands(list, at)) {
        const length = next - at;
        if (used + length > room) break;
        const first = (start + used) & (capacity - 1);
        const untilEnd = capacity - first;
        if (length <= untilEnd) streams.bytes.set(source.subarray(at, next), log + first);
        else {
          streams.bytes.set(source.subarray(at, at + untilEnd), log + first);
          streams.bytes.set(source.subarray(at + untilEnd, next), log);
        }
        used += length;
      }
      at = next;
    }
    if (used > 0) {
      Atomics.store(words, head, (start + used) | 0);
      this.mark();
    }
    return at;
  }

  /**
   * Enters the tags of what stands in the log. If a holder dies before it has, the next one does. A tag never goes back: what
   * a replica far behind enters (one that is rebuilt, and has not seen that all of it is old) nobody is told of any more.
   */
  private mark(): void {
    const { words, head, marked, log, capacity, streams } = this;
    const end = Atomics.load(words, head);
    let at = Atomics.load(words, marked);
    if (at === end) return;
    const word = (offset: number) => words[(log + ((at + offset) & (capacity - 1))) >> 2];
    while (at !== end) {
      const position = word(CHANGE_POSITION);
      const tag = tagWord(streams, word(CHANGE_GROUP), position);
      const there = Atomics.load(words, tag);
      if (there === 0 || ((position - there) | 0) > 0) Atomics.store(words, tag, position);
      at = (at + word(CHANGE_BYTES)) | 0;
    }
    Atomics.store(words, marked, end);
  }

  /**
   * Bytes that may be written behind the head: nothing that a watcher has yet to read that must not miss anything. Those that
   * may be overtaken, and would be by `bytes` more, are told so first: who reads meanwhile looks for that afterwards.
   */
  private room(head: number, bytes: number): number {
    const { words, streams, capacity } = this;
    let furthest = 0;
    for (let bits = Atomics.load(words, this.active); bits !== 0; bits &= bits - 1) {
      const base = watcherAt(streams, 31 - Math.clz32(bits & -bits));
      const unread = (head - Atomics.load(words, (base + WATCHER_CURSOR) >> 2)) | 0;
      const waits = (base + WATCHER_WAITS) >> 2;
      if (words[waits] === 1) furthest = Math.max(furthest, unread);
      else if (unread + bytes > capacity) Atomics.compareExchange(words, waits, 0, 2);
    }
    return capacity - furthest;
  }

  /** Whether this thread should go on. */
  private get going(): boolean {
    const { state, alive } = this.streams;
    return state <= STATE_READ_ONLY && ((alive >>> this.replica) & 1) !== 0;
  }

  private beat(): void {
    this.words[(this.streams.executor(this.replica, this.thread) + EXECUTOR_BEAT) >> 2]++;
  }

  /** False if the store is closing or the replica is lost. A holder that dies is found by the supervisor (`mendLog`). */
  private takeLock(): boolean {
    const { words, lock } = this;
    const holder = holderOf(this.streams, this.replica, this.thread);
    for (let tries = 0; Atomics.compareExchange(words, lock, 0, holder) !== 0; tries++) {
      if (!this.going) return false;
      this.beat();
      if (tries >= LOOKS) pauseBefore(tries - LOOKS);
    }
    return true;
  }

  /** Waits a little for the slowest watchers. False if the store is closing or the replica is lost. */
  private waitForRoom(tries: number): boolean {
    const { words, streams } = this;
    // Also the bit that another thread of the replica has taken back meanwhile.
    Atomics.or(words, (streams.watchAt + WATCH_BLOCKED) >> 2, 1 << this.replica);
    if (!this.going) return false;
    for (let bits = Atomics.load(words, this.active); bits !== 0; bits &= bits - 1) {
      const base = watcherAt(streams, 31 - Math.clz32(bits & -bits));
      if (words[(base + WATCHER_WAITS) >> 2] !== 1) continue;
      // A thread that waits for commands of its own takes its changes aside, so that it never waits for itself.
      const client = Atomics.load(words, (base + WATCHER_CLIENT) >> 2) - 1;
      if (client < 0) continue;
      const signal = (streams.client(client) + CLIENT_SIGNAL) >> 2;
      Atomics.add(words, signal, 1);
      Atomics.notify(words, signal);
    }
    wakeWatchers(streams);
    this.beat();
    pauseBefore(tries);
    return true;
  }

  /** Says that everything before a position of a group's stream has been executed in this replica, and stands in the log. */
  reached(group: number, position: number): void {
    const { words, streams, replica } = this;
    const progress = progressWord(streams, replica, group);
    if (((position - words[progress]) | 0) <= 0) return;
    Atomics.store(words, progress, position);
    if (Atomics.load(words, STREAMS_HOME >> 2) === replica) wakeWatchers(streams);
  }
}
