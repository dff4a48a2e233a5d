/**
 * Replies, from an executor of the home replica to the clients. A client has a ring of bytes per executor, with that
 * executor as its only writer. The client keeps the sum of the replies it may still get below the ring's size, so there
 * is always room, and the executor never waits.
 */

import type { Core } from '../engine/core.ts';
import { CACHE_LINE } from '../layout/bits.ts';
import {
  REPLY_LENGTH_SHIFT,
  REPLY_PAYLOAD,
  REPLY_RUN_CLIENT,
  REPLY_RUN_END,
  REPLY_RUN_SIZE,
  REPLY_RUN_START,
} from '../layout/operation.ts';
import { CLIENT_SIGNAL, CLIENT_SLEEPING, CLIENT_WRITTEN, STREAMS_HOME } from '../layout/streams.ts';
import { mostAnswer } from './call-record.ts';
import type { Streams } from './streams.ts';

/** Bytes of replies that the core gathers before they are handed on. */
const REPLY_AREA = 65536;
/** Most clients whose replies are gathered at a time. */
export const REPLY_RUNS = 256;
/** Bytes of an area in a store: it also holds the largest single reply. */
export function replyArea({ shape }: Streams): number {
  return Math.max(REPLY_AREA, replySize(mostAnswer(shape.replyBytes)));
}

/** Bytes of an area and its table. */
export function replyRoom(streams: Streams): number {
  return replyArea(streams) + REPLY_RUNS * REPLY_RUN_SIZE;
}

/** Takes the replies of an Applier. */
export interface ReplySink {
  /** Whether operations on several keys are to be answered. (For those on one key, a flag of `core.apply` says so.) */
  readonly answers: boolean;
  /** Takes what the core has gathered. */
  flush(): void;
  /** Takes one reply of an operation on several keys. */
  reply(client: number, sequence: number, status: number, payload: Uint8Array): void;
}

/** Hands replies straight to the clients, from the core's area of this thread. */
export class DirectReplies implements ReplySink {
  private readonly streams: Streams;
  private readonly core: Core;
  private readonly memory: Uint8Array;
  private readonly table: Uint32Array;
  private readonly replica: number;
  private readonly writer: ReplyWriter;

  /**
   * @param room address of `replyRoom` bytes, which the core must know as its area (`setReplyArea`).
   * @param executor whose reply rings to write.
   */
  constructor(streams: Streams, core: Core, memory: Uint8Array, room: number, replica: number, executor: number) {
    this.streams = streams;
    this.core = core;
    this.memory = memory;
    this.table = new Uint32Array(memory.buffer, room + replyArea(streams), (REPLY_RUNS * REPLY_RUN_SIZE) / 4);
    this.replica = replica;
    this.writer = new ReplyWriter(streams, executor);
  }

  get answers(): boolean {
    return Atomics.load(this.streams.words, STREAMS_HOME >> 2) === this.replica;
  }

  flush(): void {
    const { core } = this;
    const runs = core.replyRuns();
    if (runs === 0) return;
    appendRuns(this.writer, this.memory, this.table, runs);
    core.clearReplies();
  }

  reply(client: number, sequence: number, status: number, payload: Uint8Array): void {
    this.writer.reply(client, sequence, status, payload);
  }
}

/** Hands the runs of a table to their clients. */
export function appendRuns(writer: ReplyWriter, memory: Uint8Array, table: Uint32Array, runs: number): void {
  for (let i = 0; i < runs; i++) {
    const at = (i * REPLY_RUN_SIZE) >> 2;
    const start = table[at + (REPLY_RUN_START >> 2)];
    writer.append(table[at + (REPLY_RUN_CLIENT >> 2)], memory, start, table[at + (REPLY_RUN_END >> 2)] - start);
  }
}

/** Writes one reply at `at` of a replica's memory, and the run that says whose it is at `table`. */
export function writeReply(
  { memory, words }: { readonly memory: Uint8Array; readonly words: Int32Array },
  at: number,
  table: number,
  client: number,
  sequence: number,
  status: number,
  payload: Uint8Array,
): void {
  words[at >> 2] = sequence;
  words[(at >> 2) + 1] = status | (payload.length << REPLY_LENGTH_SHIFT);
  memory.set(payload, at + REPLY_PAYLOAD);
  const run = table >> 2;
  words[run + (REPLY_RUN_CLIENT >> 2)] = client;
  words[run + (REPLY_RUN_START >> 2)] = at;
  words[run + (REPLY_RUN_END >> 2)] = at + replySize(payload.length);
}

/** Bytes of a reply with that many bytes of payload. */
export function replySize(payload: number): number {
  return REPLY_PAYLOAD + ((payload + 7) & ~7);
}

/** Word index of the position up to which an executor has written a client's reply ring. */
export function writtenWord(streams: Streams, client: number, executor: number): number {
  return (streams.client(client) + CLIENT_WRITTEN + executor * CACHE_LINE) >> 2;
}

/** Writes replies as executor `executor`. Also used by a sync point's leader for executors that stand there. */
export class ReplyWriter {
  private readonly streams: Streams;
  private readonly words: Int32Array;
  private readonly executor: number;
  private readonly mask: number;
  private readonly single: Uint8Array;
  private readonly singleWords: Uint32Array;

  constructor(streams: Streams, executor: number) {
    this.streams = streams;
    this.words = streams.words;
    this.executor = executor;
    this.mask = streams.shape.replyBytes - 1;
    this.single = new Uint8Array(replyArea(streams));
    this.singleWords = new Uint32Array(this.single.buffer);
  }

  /** Appends `length` bytes of whole replies to a client's ring and wakes the client if it sleeps. */
  append(client: number, source: Uint8Array, from: number, length: number): void {
    const { streams, words, mask } = this;
    const written = writtenWord(streams, client, this.executor);
    // Only this thread moves it (or did, before it handed over at a sync point).
    const position = Atomics.load(words, written);
    const first = position & mask;
    const untilEnd = mask + 1 - first;
    const ring = streams.replies(client, this.executor);
    if (length <= untilEnd) {
      streams.bytes.set(source.subarray(from, from + length), ring + first);
    } else {
      streams.bytes.set(source.subarray(from, from + untilEnd), ring + first);
      streams.bytes.set(source.subarray(from + untilEnd, from + length), ring);
    }
    Atomics.store(words, written, (position + length) | 0);
    this.wake(client);
  }

  /** Appends one reply with `payload`. */
  reply(client: number, sequence: number, status: number, payload: Uint8Array): void {
    const { single, singleWords } = this;
    singleWords[0] = sequence;
    singleWords[1] = status | (payload.length << REPLY_LENGTH_SHIFT);
    single.set(payload, REPLY_PAYLOAD);
    this.append(client, single, 0, replySize(payload.length));
  }

  /**
   * Wakes the client if it sleeps. No wake-up is lost: the client sets `sleeping`, then looks at the positions, then
   * sleeps if its signal has not moved; this stores a position, then looks at `sleeping`, then moves the signal.
   */
  private wake(client: number): void {
    const { words, streams } = this;
    const base = streams.client(client);
    const sleeping = (base + CLIENT_SLEEPING) >> 2;
    if (Atomics.load(words, sleeping) === 0 || Atomics.exchange(words, sleeping, 0) === 0) return;
    const signal = (base + CLIENT_SIGNAL) >> 2;
    Atomics.add(words, signal, 1);
    Atomics.notify(words, signal);
  }
}
