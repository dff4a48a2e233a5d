/**
 * A thread's own connection to a store: it encodes commands, appends them to the groups' rings, and takes the replies out
 * of its reply rings. One claim carries as many commands as are at hand.
 *
 * When the home replica is lost, it waits for the next one and sends what is unanswered again, under the same numbers.
 *
 * It is a state machine that never waits; `drive` (blocking) and `pump` (asynchronous) move it on.
 */

import { keepAlive, threadToken, waitAsync } from '#platform';
import { fail } from '../engine/attachment.ts';
import { canBlock } from '../engine/backoff.ts';
import { SabtreeError } from '../engine/errors.ts';
import { type KeyOrder, keyOrder } from '../engine/key-order.ts';
import { keySize, keyView, writeKey } from '../engine/keys.ts';
import type { Range } from '../engine/range.ts';
import { ByteViews, type ValueCodec } from '../engine/values.ts';
import {
  KEPT_PLACES,
  MANY_KEYS,
  OP_ADD,
  OP_CALL,
  OP_COMPARE_AND_SET,
  OP_COUNT,
  OP_DELETE,
  OP_DIGEST,
  OP_FIRST,
  OP_GET,
  OP_GET_ALL,
  OP_HAS,
  OP_LAST,
  OP_LAST_POINT,
  OP_MARKER,
  OP_PUT,
  OP_PUT_ALL,
  OP_QUERY,
  OP_RANGE,
  OP_READ,
  OPERATION_CLIENT,
  OPERATION_COUNTED,
  OPERATION_FLAGS,
  OPERATION_GROUPS,
  OPERATION_KEY,
  OPERATION_RESENT,
  OPERATION_SEQUENCE,
  OPERATION_VALUE,
  RANGE_LIMIT,
  RANGE_UPPER,
  REPLY_LENGTH_SHIFT,
  REPLY_PAYLOAD,
  SLOT,
  STATUS_COMMAND_FAILED,
  STATUS_TRUE,
} from '../layout/operation.ts';
import {
  CLIENT_ANSWERED,
  CLIENT_FREE,
  CLIENT_GENERATION,
  CLIENT_LEAVING,
  CLIENT_SEQUENCE,
  CLIENT_SIGNAL,
  CLIENT_SLEEPING,
  CLIENT_STATE,
  CLIENT_THREAD,
  CLIENT_TREE_THREADS,
  CLIENT_USED,
  MANIFEST_MOST,
  STATE_OPEN,
  STATE_READ_ONLY,
  STREAMS_EPOCH,
  STREAMS_RESENT,
  STREAMS_STATE,
} from '../layout/streams.ts';
import { callBytes, decodeFailure, FAILURE_BYTES, type Invocation, writeCall, writeKeys } from './call-record.ts';
import { failOrphan, orphanWatch, stateError } from './failure.ts';
import { turn } from './in-turns.ts';
import { Sampler } from './latency.ts';
import type { ExecutionModel } from './models/model.ts';
import { type GroupRun, Multicast } from './multicast.ts';
import { RangePiece } from './range-piece.ts';
import { replySize, writtenWord } from './replies.ts';
import { announcementOf, FULL } from './ring.ts';
import { groupOf, type Streams } from './streams.ts';
import { VariableCalls } from './variable-calls.ts';
import { MOST_ENTRIES, varies } from './variable-commands.ts';
import type { WaitStrategy } from './waiting.ts';

/** Most commands a client has under way: each has a place of its own among the kept answers. */
export const WINDOW = KEPT_PLACES;

/** Commands that are encoded before what there is is sent. */
const EAGER = 64;
/** Times in succession that answers were there without the event loop, before other work of the thread has its turn. */
const TOGETHER = 64;

/** Takes the results of commands as they come. */
export interface Sink {
  /** Result of the command that was added with this index. */
  settle(index: number, result: unknown): void;
  /** Its error instead. */
  refuse(index: number, error: SabtreeError): void;
}

/** Keys, or values, of a command on several keys; they stand in the call's `key` and `value`. */
type Column = ArrayLike<unknown>;

/** One command, ready to be encoded. */
export interface Call {
  readonly op: number;
  readonly key: unknown;
  readonly value: unknown;
  readonly expected: unknown;
  readonly range: Range | undefined;
  readonly sink: Sink;
  readonly index: number;
}

/** Records of one group that wait to be sent. */
class Outbox extends ByteViews implements GroupRun {
  slots = 0;
  lastMarker = -1;
  get bytes(): Uint8Array {
    return this.u8;
  }
  get words(): Int32Array {
    return this.i32;
  }
}

/** What a store's client needs of whoever carries its commands out. */
export interface CommandClient {
  /** Number of this client in the store. */
  readonly id: number;
  /** Most entries that one ordered range answers. */
  readonly rangeLimit: number;
  /** Most keys of one getAll or putAll. */
  readonly manyLimit: number;
  /** The call as it is sent, checked: what `submit` and `drive` would make of it. @throws ERR_VALUE, ERR_TOO_LARGE */
  prepare<C extends Omit<Call, 'sink'>>(call: C): C;
  /** Takes a command. */
  submit(call: Call): void;
  /** Carries out the commands that `calls` gives, blocking, until `done`. */
  drive(calls: () => Call | undefined, done: () => boolean): void;
  /** Resolves when nothing is under way any more. */
  whenIdle(): Promise<void>;
  /** Ends this client. */
  close(): void;
  /** Called again and again while this thread waits for answers. */
  whileWaiting: (() => void) | undefined;
}

/** Most entries of a range in one reply, and most keys of a command on several keys. (Of what varies in length, as many fit.) */
export function limitsOf(streams: Streams, keyCode: number, values: ValueCodec): { range: number; many: number } {
  if (varies(keyCode, values)) return { range: MOST_ENTRIES, many: MOST_ENTRIES };
  const keyBytes = keySize(keyCode);
  const { stride } = values;
  const { replyBytes } = streams.shape;
  const reply = Math.min(replyBytes >> 1, 32768) - 64;
  const record = Math.min(reply, streams.maxRun * SLOT) - OPERATION_VALUE;
  return {
    range: Math.floor(reply / (keyBytes + stride)),
    many: Math.floor(record / (8 + ((stride + 7) & ~7))),
  };
}

/** What a client is made with. */
export interface ClientParts {
  readonly streams: Streams;
  readonly model: ExecutionModel;
  readonly keyCode: number;
  readonly values: ValueCodec;
  /** Bytes of the longest value. */
  readonly longest: number;
  readonly wait: WaitStrategy;
}

/** A thread's connection to a store. */
export class Client implements CommandClient {
  /** Number of this client in the store. */
  readonly id: number;
  /** Most entries that one ordered range answers. */
  readonly rangeLimit: number;
  readonly manyLimit: number;
  private readonly streams: Streams;
  private readonly words: Int32Array;
  private readonly model: ExecutionModel;
  private readonly keyCode: number;
  private readonly keyBytes: number;
  private readonly order: KeyOrder;
  private readonly values: ValueCodec;
  private readonly wait: WaitStrategy;
  private readonly multicast: Multicast;
  private readonly boxes: readonly Outbox[];
  /** For each many-group command in the boxes: its index, group and byte offset, flattened. */
  private readonly numbered: number[] = [];
  private many = 0;
  private readonly announcement: number;
  private readonly allGroups: number;
  private readonly localBits: number;
  /** For each group, the groups of its executor, as a bit set. */
  private readonly beside: readonly number[];

  private sequence: number;
  /** All commands before it are answered. */
  private answered: number;
  private readonly sinks: (Sink | undefined)[] = new Array(WINDOW);
  private readonly indices = new Uint32Array(WINDOW);
  private readonly ops = new Uint8Array(WINDOW);
  private readonly bounds = new Uint32Array(WINDOW);
  private readonly sequences = new Uint32Array(WINDOW);
  /** Keys of a command on several keys. */
  private readonly counts = new Uint32Array(WINDOW);
  /** User-defined commands under way. */
  private readonly invocations: (Invocation | undefined)[] = [];
  /** What it takes to send each command again: its groups and its key, or, if it has no one key, its record. */
  private readonly own = new Uint8Array(WINDOW);
  private readonly groups = new Int32Array(WINDOW);
  private readonly lows = new Int32Array(WINDOW);
  private readonly highs = new Int32Array(WINDOW);
  private readonly records: (Uint8Array | undefined)[] = [];
  /** Whether the store survives the loss of its home replica. */
  private readonly survives: boolean;
  /** The home replica's epoch that all commands under way were sent in, or again in. */
  private epoch: number;
  /** Numbers of the commands that have yet to be sent again: from the first up to the second. */
  private againFrom = 0;
  private againTo = 0;
  /** Commands under way: in a box or without a reply. */
  outstanding = 0;
  /** Bytes of replies that may still come from each executor. */
  private readonly expected: Float64Array;
  /** Position up to which each reply ring has been read. */
  private readonly taken: Int32Array;
  private readonly written: readonly number[];
  private readonly inbox: ByteViews;
  private readonly rawKey: ByteViews;
  private readonly sampler: Sampler;
  /** Makes the commands of a store whose keys or values vary in length. */
  private readonly variable: VariableCalls | undefined;

  private readonly overflow: Call[] = [];
  /** Commands that `encodeAndSend` has encoded. */
  private encoded = 0;
  private pumping = false;
  private together = 0;
  private readonly lookAfterStore: () => void;
  private release: (() => void) | undefined;
  whileWaiting: (() => void) | undefined;
  private closed = false;
  private idlers: (() => void)[] = [];

  constructor(parts: ClientParts) {
    const { streams, keyCode, values } = parts;
    this.streams = streams;
    this.words = streams.words;
    this.model = parts.model;
    this.keyCode = keyCode;
    this.keyBytes = keySize(keyCode);
    this.order = keyOrder(keyCode);
    this.values = values;
    this.wait = parts.wait;
    this.lookAfterStore = orphanWatch(streams);
    this.id = claimClient(streams);
    this.sampler = new Sampler(streams, this.id);
    const { groups, executors, replyBytes } = streams.shape;
    this.multicast = new Multicast(streams, this.id + 1);
    const { maxRun } = this.multicast.rings[0];
    this.boxes = this.multicast.rings.map(() => new Outbox(maxRun * SLOT));
    this.announcement = announcementOf(streams, this.id);
    this.localBits = streams.shape.localBits ?? 0;
    this.allGroups = groups === 32 ? -1 : (1 << groups) - 1;
    const all = Array.from({ length: groups }, (_, group) => group);
    this.beside = all.map((one) => {
      const same = all.filter((other) => streams.executorOf(other) === streams.executorOf(one));
      return same.reduce((mask, other) => mask | (1 << other), 0);
    });
    this.expected = new Float64Array(executors);
    this.written = Array.from({ length: executors }, (_, e) => writtenWord(streams, this.id, e));
    this.taken = Int32Array.from(this.written, (word) => Atomics.load(this.words, word));
    this.inbox = new ByteViews(replyBytes);
    this.rawKey = new ByteViews(8);
    // The slot's next client counts on where the last one ended, so that nothing of that one is mistaken.
    this.sequence = Atomics.load(this.words, (streams.client(this.id) + CLIENT_SEQUENCE) >> 2);
    this.answered = this.sequence;
    Atomics.store(this.words, (streams.client(this.id) + CLIENT_ANSWERED) >> 2, this.answered);
    this.survives = streams.shape.replicas > 1;
    this.epoch = Atomics.load(this.words, STREAMS_EPOCH >> 2) & ~1;
    const limits = limitsOf(streams, keyCode, values);
    this.rangeLimit = limits.range;
    this.manyLimit = limits.many;
    this.variable = varies(keyCode, values) ? new VariableCalls(streams, keyCode, values, parts.longest) : undefined;
  }

  /** True while the store takes commands and this client was not closed. */
  private get open(): boolean {
    if (this.closed) return false;
    const { state } = this.streams;
    return state === STATE_OPEN || state === STATE_READ_ONLY;
  }

  /** Refuses what the store does not take now. @throws ERR_CLOSED, ERR_REPLICAS_LOST, ERR_DIVERGED and the like */
  private admit(op: number): void {
    if (!this.open) throw this.closedError();
    this.refuseWrite(op);
  }

  /** Refuses writes while the store only answers reads. @throws ERR_DIVERGED */
  private refuseWrite(op: number): void {
    if (this.words[STREAMS_STATE >> 2] === STATE_READ_ONLY && writes(op)) throw stateError(this.streams);
  }

  /** The error that a call gets now. */
  private closedError(): SabtreeError {
    return this.closed ? new SabtreeError('ERR_CLOSED', 'the client was closed') : stateError(this.streams);
  }

  // --- encoding -----------------------------------------------------------------------------------------------------

  /**
   * Encodes one command into the boxes. False if there is no room right now (window, reply rings or a box); nothing was
   * done then. @throws ERR_KEY, ERR_VALUE, ERR_UNSUPPORTED; nothing was done then either.
   */
  private encode(call: Call): boolean {
    // Replies come in any order, so the place of the next command may still be taken although the window is not full.
    if (this.sinks[this.sequence & (WINDOW - 1)] !== undefined) return false;
    const { op, range } = call;
    const { values, streams, boxes } = this;
    const point = op <= OP_LAST_POINT;
    const called = op === OP_CALL || op === OP_QUERY ? (call.value as Invocation) : undefined;
    const many = op === OP_GET_ALL || op === OP_PUT_ALL;
    let to = this.allGroups;
    let group = 0;
    if (point) {
      this.order.take(call.key);
      group = this.groupOf(this.order.low, this.order.high);
      if (!this.model.toAllGroups(op)) to = 0;
    } else if ((many || called) && call.key !== 'all' && !this.model.toAllGroups(writes(op) ? OP_PUT : OP_GET)) {
      const own = called ? this.groupsOfWords(called.keys as readonly number[]) : this.groupsOf(call.key as Column);
      to = this.besides(own);
      group = lowestOf(to);
      // A user-defined command with keys of one group: its executor carries it out alone, in its place of that stream.
      if (called && (own & (own - 1)) === 0 && to !== this.allGroups) {
        group = lowestOf(own);
        to = 0;
      }
    }
    // With one group, everything is a one-group command.
    if (streams.shape.groups === 1) to = 0;
    const executor = streams.executorOf(group);
    const valueRoom = (values.stride + 7) & ~7;
    const bytes = called
      ? callBytes(called)
      : many
        ? MANY_KEYS + (call.key as Column).length * (op === OP_PUT_ALL ? 8 + valueRoom : 8)
        : op === OP_GET || op === OP_HAS || op === OP_DELETE
          ? OPERATION_VALUE
          : OPERATION_VALUE + (op === OP_COMPARE_AND_SET ? 2 * valueRoom : op === OP_RANGE || !point ? 16 : valueRoom);
    const slots = (bytes + SLOT - 1) >> 6;
    const bound = this.replyBound(call);
    if (this.expected[executor] + bound > streams.shape.replyBytes) return false;
    const box = boxes[group];
    const most = box.u8.length / SLOT;
    if (box.slots + slots > most) return false;
    if (to !== 0 && !this.takesMarkers(most)) return false;

    const at = box.slots * SLOT;
    const word = at >> 2;
    const { i32 } = box;
    // A box is used again and again: clear the header's words that are not set below.
    i32[word] = op | (slots << 16);
    i32[(at + OPERATION_CLIENT) >> 2] = this.id;
    i32[(at + OPERATION_SEQUENCE) >> 2] = this.sequence;
    i32[(at + OPERATION_GROUPS) >> 2] = to;
    if (point) {
      i32[(at + OPERATION_KEY) >> 2] = this.order.low;
      i32[(at + OPERATION_KEY + 4) >> 2] = this.order.high;
      if (op > OP_HAS && op !== OP_DELETE) {
        values.encode(box, at + OPERATION_VALUE, call.value);
        if (op === OP_COMPARE_AND_SET) values.encode(box, at + OPERATION_VALUE + valueRoom, call.expected);
      }
    } else if (called) {
      writeCall(box, at, called);
    } else if (many) {
      this.putColumns(box, at, call.key as Column, op === OP_PUT_ALL ? (call.value as Column) : undefined);
    } else if (op === OP_RANGE || (op === OP_COUNT && range !== undefined)) {
      const { flags, lower, upper, limit } = range as Range;
      this.putRawKey(box, at + OPERATION_KEY, lower);
      this.putRawKey(box, at + RANGE_UPPER, upper);
      box.u8[at + 1] = op === OP_COUNT ? flags | OPERATION_COUNTED : flags;
      i32[(at + RANGE_LIMIT) >> 2] = Math.min(limit, op === OP_COUNT ? 0xffffffff : this.rangeLimit);
    } else if (op === OP_DIGEST) {
      i32[(at + OPERATION_KEY) >> 2] = call.key as number;
    } else if (op !== OP_COUNT && op !== OP_FIRST && op !== OP_LAST) {
      this.putRawKey(box, at + OPERATION_KEY, call.key);
    }

    // Nothing can fail from here on.
    if (to !== 0) this.addMarkers(group, at, to, this.sequence);
    box.slots += slots;
    const place = this.sequence & (WINDOW - 1);
    this.sinks[place] = call.sink;
    this.indices[place] = call.index;
    this.ops[place] = op;
    this.bounds[place] = bound;
    this.sequences[place] = this.sequence;
    if (many) this.counts[place] = (call.key as Column).length;
    if (called) this.invocations[place] = called;
    if (this.survives) {
      this.own[place] = group;
      this.groups[place] = to;
      this.lows[place] = i32[(at + OPERATION_KEY) >> 2];
      this.highs[place] = i32[(at + OPERATION_KEY + 4) >> 2];
      // An operation on one key is made again; the time and the seed of other commands have to stay.
      this.records[place] = point || called?.command.point ? undefined : box.u8.slice(at, at + slots * SLOT);
    }
    this.sampler.begin(this.sequence);
    this.sequence = (this.sequence + 1) | 0;
    this.expected[executor] += bound;
    this.outstanding++;
    return true;
  }

  /** `encode`, and now and then `send`: executors begin while this thread encodes the rest. */
  private encodeAndSend(call: Call): boolean {
    if (!this.encode(call)) return false;
    if (++this.encoded % EAGER === 0) this.send();
    return true;
  }

  private putRawKey(box: ByteViews, at: number, key: unknown): void {
    if (key === undefined) return;
    writeKey(this.keyCode, keyView(this.keyCode, box.u8.buffer, at, 1), 0, key);
  }

  /** The groups of keys, as a bit set. @throws ERR_KEY */
  private groupsOf(keys: Column): number {
    const { order } = this;
    // Without any key a command still needs a place.
    let own = keys.length === 0 ? 1 : 0;
    for (let i = 0; i < keys.length; i++) {
      order.take(keys[i]);
      own |= 1 << this.groupOf(order.low, order.high);
    }
    return own;
  }

  /** The same of their words. */
  private groupsOfWords(words: readonly number[]): number {
    let own = words.length === 0 ? 1 : 0;
    for (let i = 0; i < words.length; i += 2) own |= 1 << this.groupOf(words[i], words[i + 1]);
    return own;
  }

  /** The group of a key, by its two words. */
  private groupOf(low: number, high: number): number {
    return groupOf(low, high, this.streams.shape.groups, this.localBits);
  }

  /**
   * Where a command on several keys goes: to all groups of every executor that has one of the keys' groups. An executor of
   * several groups reads their rings one after the other. If two commands stood in different ones of its rings it could come
   * to the later one first, and wait there for an executor that waits for it at the earlier one. So each of its rings has all
   * of its many-group commands, in one order.
   */
  private besides(own: number): number {
    let mask = 0;
    for (let left = own; left !== 0; left &= left - 1) mask |= this.beside[lowestOf(left)];
    return mask;
  }

  /** Writes the keys in stored order, and the values. @throws ERR_VALUE */
  private putColumns(box: Outbox, at: number, keys: Column, values: Column | undefined): void {
    const valueRoom = (this.values.stride + 7) & ~7;
    const valuesAt = at + MANY_KEYS + keys.length * 8;
    if (values !== undefined) {
      for (let i = 0; i < keys.length; i++) this.values.encode(box, valuesAt + i * valueRoom, values[i]);
    }
    writeKeys(box.i32, at, this.order, keys);
  }

  /** Whether one more many-group command has room in all boxes. */
  private takesMarkers(most: number): boolean {
    if (this.many === MANIFEST_MOST) return false;
    for (const box of this.boxes) if (box.slots + 1 > most) return false;
    return true;
  }

  /** Puts markers for the command at `at` of `group` into the boxes of its other groups, and notes where its number belongs. */
  private addMarkers(group: number, at: number, to: number, sequence: number): void {
    const command = this.many++;
    const { boxes, numbered } = this;
    for (let g = 0; g < boxes.length; g++) {
      if (((to >>> g) & 1) === 0) continue;
      const box = boxes[g];
      const place = box.slots * SLOT;
      if (to === this.allGroups) box.lastMarker = box.slots;
      if (g === group) {
        numbered.push(command, g, at);
        continue;
      }
      numbered.push(command, g, place);
      const { i32 } = box;
      i32[place >> 2] = OP_MARKER | (1 << 16);
      i32[(place + OPERATION_CLIENT) >> 2] = this.id;
      i32[(place + OPERATION_SEQUENCE) >> 2] = sequence;
      i32[(place + OPERATION_GROUPS) >> 2] = to;
      i32[(place + OPERATION_KEY) >> 2] = group;
      i32[(place + OPERATION_KEY + 4) >> 2] = 0;
      box.slots++;
    }
  }

  /** Most bytes a command's reply can take. */
  private replyBound({ op, key, value, range }: Call): number {
    const { values, keyBytes } = this;
    if (op === OP_CALL || op === OP_QUERY) return replySize(Math.max((value as Invocation).bound, FAILURE_BYTES));
    if (op === OP_GET_ALL) {
      const count = (key as Column).length;
      return replySize(((count + 7) & ~7) + count * ((values.stride + 7) & ~7));
    }
    if (op === OP_PUT_ALL) return replySize(8);
    if (op === OP_GET || op === OP_ADD) return replySize(values.stride);
    if (op <= OP_LAST_POINT) return REPLY_PAYLOAD;
    if (op === OP_RANGE) {
      const entries = Math.min((range as Range).limit, this.rangeLimit);
      return replySize(16 + entries * (keyBytes + values.stride));
    }
    if (op === OP_COUNT || op === OP_DIGEST) return replySize(16);
    return replySize(8 + values.stride);
  }

  // --- sending ------------------------------------------------------------------------------------------------------

  /** Sends what is in the boxes as far as there is room, and again what has to be; true if all of it went. */
  private send(): boolean {
    const all = this.sendBoxes();
    if (!this.behind) return all;
    this.followHome();
    return this.sendBoxes() && !this.behind;
  }

  private sendBoxes(): boolean {
    const { boxes, multicast } = this;
    Atomics.store(this.words, (this.streams.client(this.id) + CLIENT_SEQUENCE) >> 2, this.sequence);
    if (this.many > 0) {
      if (!multicast.tryAppend(boxes, this.numbered, this.many)) return false;
      for (const box of boxes) {
        box.slots = 0;
        box.lastMarker = -1;
      }
      this.many = 0;
      this.numbered.length = 0;
      return true;
    }
    let all = true;
    for (let group = 0; group < boxes.length; group++) {
      const box = boxes[group];
      if (box.slots === 0) continue;
      const ring = multicast.rings[group];
      if (ring.tryAppend(box.u8, box.slots, multicast.keepFromSingles, this.announcement) === FULL) all = false;
      else box.slots = 0;
    }
    return all;
  }

  /** Whether there is a new home replica to which something has yet to be sent again. */
  private get behind(): boolean {
    if (!this.survives) return false;
    const epoch = this.words[STREAMS_EPOCH >> 2];
    return (epoch !== this.epoch && (epoch & 1) === 0) || this.againFrom !== this.againTo;
  }

  /**
   * Sends again what the lost home replica left unanswered, in its order. The new one answers what stands in the streams
   * behind its takeover, whether sent before or after this; of what comes again, it answers what it has not answered yet
   * (engine/core/kept.ts). So every command gets one answer of it, and the replies stay within what is expected.
   */
  private followHome(): void {
    const { words } = this;
    const epoch = Atomics.load(words, STREAMS_EPOCH >> 2);
    if (epoch !== this.epoch && (epoch & 1) === 0) {
      // What never went goes first: it must stand in the streams before it comes again.
      if (this.unsent && !this.sendBoxes()) return;
      this.receive();
      this.epoch = epoch;
      this.againTo = this.sequence;
      this.againFrom = (this.sequence - WINDOW) | 0;
    }
    let sent = 0;
    while (this.againFrom !== this.againTo) {
      const place = this.againFrom & (WINDOW - 1);
      if (this.sinks[place] !== undefined && this.sequences[place] === this.againFrom >>> 0) {
        if (!this.encodeAgain(place) && !(this.sendBoxes() && this.encodeAgain(place))) break;
        sent++;
      }
      this.againFrom = (this.againFrom + 1) | 0;
    }
    if (sent > 0) Atomics.add(words, STREAMS_RESENT >> 2, sent);
  }

  /** Encodes a command that was sent before. A write's values are not needed: it is not carried out again. */
  private encodeAgain(place: number): boolean {
    const { boxes } = this;
    const to = this.groups[place];
    const group = this.own[place];
    const record = this.records[place];
    const called = record === undefined ? this.invocations[place] : undefined;
    const bytes = record?.length ?? (called === undefined ? SLOT : callBytes(called));
    const slots = (bytes + SLOT - 1) >> 6;
    const box = boxes[group];
    const most = box.u8.length / SLOT;
    if (box.slots + slots > most) return false;
    if (to !== 0 && !this.takesMarkers(most)) return false;
    const at = box.slots * SLOT;
    const { i32 } = box;
    if (record === undefined) {
      i32[at >> 2] = this.ops[place] | (slots << 16);
      i32[(at + OPERATION_CLIENT) >> 2] = this.id;
      i32[(at + OPERATION_SEQUENCE) >> 2] = this.sequences[place];
      i32[(at + OPERATION_GROUPS) >> 2] = to;
      i32[(at + OPERATION_KEY) >> 2] = this.lows[place];
      i32[(at + OPERATION_KEY + 4) >> 2] = this.highs[place];
      if (called !== undefined) writeCall(box, at, called);
    } else box.u8.set(record, at);
    box.u8[at + OPERATION_FLAGS] |= OPERATION_RESENT;
    if (to !== 0) this.addMarkers(group, at, to, this.sequences[place]);
    box.slots += slots;
    return true;
  }

  private get unsent(): boolean {
    for (const box of this.boxes) if (box.slots > 0) return true;
    return false;
  }

  // --- receiving ----------------------------------------------------------------------------------------------------

  /** Takes all replies there are; returns their number. */
  private receive(): number {
    const { words, written, taken, streams, inbox } = this;
    const mask = streams.shape.replyBytes - 1;
    let count = 0;
    for (let executor = 0; executor < written.length; executor++) {
      const end = Atomics.load(words, written[executor]);
      const length = (end - taken[executor]) | 0;
      if (length <= 0) continue;
      const ring = streams.replies(this.id, executor);
      const first = taken[executor] & mask;
      const untilEnd = mask + 1 - first;
      // One private copy, in which no reply is broken by the ring's end.
      if (length <= untilEnd) {
        inbox.u8.set(streams.bytes.subarray(ring + first, ring + first + length));
      } else {
        inbox.u8.set(streams.bytes.subarray(ring + first, ring + first + untilEnd));
        inbox.u8.set(streams.bytes.subarray(ring, ring + length - untilEnd), untilEnd);
      }
      taken[executor] = end;
      for (let at = 0; at < length; ) {
        const head = inbox.u32[(at >> 2) + 1];
        this.settle(executor, inbox.i32[at >> 2], head & 0xff, at + REPLY_PAYLOAD, head >>> REPLY_LENGTH_SHIFT);
        at += replySize(head >>> REPLY_LENGTH_SHIFT);
        count++;
      }
    }
    if (count > 0) this.tellAnswered();
    return count;
  }

  /** Says up to where everything is answered: replicas need not keep long answers before it any longer. */
  private tellAnswered(): void {
    const { sinks, sequence } = this;
    const before = this.answered;
    while (this.answered !== sequence && sinks[this.answered & (WINDOW - 1)] === undefined) {
      this.answered = (this.answered + 1) | 0;
    }
    if (this.answered === before) return;
    Atomics.store(this.words, (this.streams.client(this.id) + CLIENT_ANSWERED) >> 2, this.answered);
  }

  /** Gives a reply to whoever waits for it. A reply that nobody waits for (a second one) is left aside. */
  private settle(executor: number, sequence: number, status: number, payload: number, length: number): void {
    const place = sequence & (WINDOW - 1);
    const sink = this.sinks[place];
    if (sink === undefined || this.sequences[place] !== sequence >>> 0) return;
    this.sinks[place] = undefined;
    // Nobody sends it again; some are large.
    this.records[place] = undefined;
    this.outstanding--;
    this.sampler.end(sequence);
    // In a one-stream model any thread may answer, so the sum over all of them is bounded instead of each.
    this.expected[this.model.oneStream ? 0 : executor] -= this.bounds[place];
    const op = this.ops[place];
    const index = this.indices[place];
    if (op === OP_CALL || op === OP_QUERY) {
      this.settleCall(sink, index, status, place, payload, length);
      return;
    }
    if (status > STATUS_TRUE) {
      try {
        fail(status);
      } catch (error) {
        sink.refuse(index, error as SabtreeError);
      }
      return;
    }
    sink.settle(index, this.result(op, status === STATUS_TRUE, payload, place));
  }

  /** Gives the result of a user-defined command, or why it failed. */
  private settleCall(sink: Sink, index: number, status: number, place: number, at: number, length: number): void {
    const { command } = this.invocations[place] as Invocation;
    const { name } = command;
    const { u8 } = this.inbox;
    this.invocations[place] = undefined;
    if (status === STATUS_TRUE) {
      let result: unknown;
      try {
        result = command.point
          ? (this.variable as VariableCalls).answerOf(u8, at, length)
          : command.result.decode(u8.slice(at, at + length));
      } catch (cause) {
        const why = `${name}: its answer cannot be decoded: ${(cause as Error).message}`;
        // Whoever else waits for an answer gets his.
        sink.refuse(index, new SabtreeError('ERR_VALUE', why, name, { cause }));
        return;
      }
      sink.settle(index, result);
    } else if (status === STATUS_COMMAND_FAILED) sink.refuse(index, decodeFailure(u8.slice(at, at + length)));
    else sink.refuse(index, new SabtreeError('ERR_UNKNOWN_COMMAND', `the store has no ${name}`, name));
  }

  /** What a reply's bytes stand for. */
  private result(op: number, yes: boolean, at: number, place: number): unknown {
    const { inbox, values } = this;
    if (op === OP_GET || op === OP_ADD) return yes ? values.decode(inbox, at) : undefined;
    if (op <= OP_LAST_POINT) return yes;
    if (op === OP_COUNT || op === OP_PUT_ALL) return inbox.f64[at >> 3];
    if (op === OP_DIGEST) return { digest: BigInt.asUintN(64, inbox.i64[at >> 3]), count: inbox.f64[(at >> 3) + 1] };
    if (op === OP_GET_ALL) {
      const count = this.counts[place];
      const room = (values.stride + 7) & ~7;
      const valuesAt = at + ((count + 7) & ~7);
      return Array.from({ length: count }, (_, i) =>
        inbox.u8[at + i] === 1 ? values.decode(inbox, valuesAt + i * room) : undefined,
      );
    }
    if (op === OP_RANGE) {
      const count = inbox.u32[at >> 2];
      const keysAt = at + 8;
      const valuesAt = keysAt + ((count * this.keyBytes + 7) & ~7);
      const keys = keyView(this.keyCode, inbox.u8.buffer, keysAt, count);
      const entries = new Array(count);
      for (let i = 0; i < count; i++) entries[i] = [keys[i], values.decode(inbox, valuesAt + i * values.stride)];
      return new RangePiece(entries, inbox.u32[(at >> 2) + 1] === 1);
    }
    if (op === OP_READ) return yes;
    if (!yes) return undefined;
    this.rawKey.u8.set(inbox.u8.subarray(at, at + 8));
    return [keyView(this.keyCode, this.rawKey.u8.buffer, 0, 1)[0], values.decode(inbox, at + 8)];
  }

  /** Gives every command under way its answer, if there is one, or the store's error. */
  private refuseAll(): void {
    this.receive();
    const error = this.closedError();
    for (const box of this.boxes) {
      box.slots = 0;
      box.lastMarker = -1;
    }
    this.many = 0;
    this.numbered.length = 0;
    for (let place = 0; place < WINDOW; place++) {
      const sink = this.sinks[place];
      if (sink === undefined) continue;
      this.sinks[place] = undefined;
      sink.refuse(this.indices[place], error);
    }
    this.records.length = 0;
    this.invocations.length = 0;
    this.outstanding = 0;
    this.sampler.drop();
    this.expected.fill(0);
    for (const call of this.overflow.splice(0)) call.sink.refuse(call.index, error);
    this.settleIdle();
  }

  // --- blocking -----------------------------------------------------------------------------------------------------

  /**
   * Runs commands to their end, blocking this thread. Commands given before are sent first.
   * @param given gives the next command, or undefined when there is none left.
   * @throws ERR_WOULD_BLOCK where the thread may not block; ERR_CLOSED and the like.
   */
  drive(given: () => Call | undefined, done: () => boolean): void {
    const calls = () => {
      for (;;) {
        const next = given();
        if (next === undefined) return undefined;
        this.refuseWrite(next.op);
        const call = this.translate(next);
        if (call !== undefined) return call;
      }
    };
    if (!canBlock())
      throw new SabtreeError('ERR_WOULD_BLOCK', 'this thread may not block: use the asynchronous methods');
    if (!this.open) throw this.closedError();
    try {
      this.carryOut(calls, done);
    } catch (error) {
      // What was encoded before a wrong command still goes, and somebody has to see to it.
      if (error instanceof SabtreeError && this.open) this.startPump();
      throw error;
    }
    // The asynchronous side may be asleep on the flag that this one has cleared: it has to look again.
    if (this.pumping) this.signal();
  }

  private carryOut(calls: () => Call | undefined, done: () => boolean): void {
    let next = calls();
    if (next !== undefined) this.admit(next.op);
    while (next !== undefined || !done()) {
      while (this.overflow.length > 0 && this.encode(this.overflow[0])) this.overflow.shift();
      while (next !== undefined && this.overflow.length === 0 && this.encodeAndSend(next)) next = calls();
      this.send();
      if (next === undefined && done()) break;
      this.waitForReplies();
      if (!this.open) {
        // What was answered before the end is answered.
        this.receive();
        if (next === undefined && done()) break;
        const error = this.closedError();
        this.refuseAll();
        throw error;
      }
    }
  }

  /** Moves this client's futex. */
  private signal(): void {
    const word = (this.streams.client(this.id) + CLIENT_SIGNAL) >> 2;
    Atomics.add(this.words, word, 1);
    Atomics.notify(this.words, word);
  }

  /** Blocks until something came in, or there may be room again. */
  private waitForReplies(): void {
    const { words, wait } = this;
    const base = this.streams.client(this.id);
    const signal = (base + CLIENT_SIGNAL) >> 2;
    const sleeping = (base + CLIENT_SLEEPING) >> 2;
    for (let looks = 0; ; looks++) {
      if (this.receive() > 0 || !this.open) return;
      this.whileWaiting?.();
      if ((this.unsent || this.behind) && this.send()) return;
      if (!wait.idle(looks)) {
        if (looks % 1024 === 1023) this.lookAfterStore();
        continue;
      }
      const ticket = Atomics.load(words, signal);
      Atomics.store(words, sleeping, 1);
      // The last look: see ReplyWriter.wake.
      if (this.receive() === 0 && this.open && !this.behind) {
        // Room in a ring is not told to this signal, so a thread with unsent records looks again soon.
        Atomics.wait(words, signal, ticket, this.unsent ? 0.2 : 1000);
        this.lookAfterStore();
      } else {
        Atomics.store(words, sleeping, 0);
        return;
      }
      Atomics.store(words, sleeping, 0);
    }
  }

  // --- asynchronous -------------------------------------------------------------------------------------------------

  /** Takes a command; it is sent by the end of this turn of the event loop, with others. @throws ERR_KEY, ERR_VALUE, ERR_CLOSED */
  submit(given: Call): void {
    this.admit(given.op);
    const call = this.translate(given);
    if (call === undefined) return;
    if (this.overflow.length > 0 || !this.encodeAndSend(call)) this.overflow.push(this.kept(call));
    this.startPump();
  }

  private startPump(): void {
    if (this.pumping) return;
    this.pumping = true;
    this.release ??= keepAlive();
    // Where every answer comes at once, whoever awaits one command after the other would never come back to the event loop.
    if (++this.together < TOGETHER) queueMicrotask(this.pump);
    else void turn().then(this.pumpInTurn);
  }

  /** The same after the event loop has gone round. */
  private readonly pumpInTurn = (): void => {
    this.together = 0;
    this.lookAfterStore();
    this.pump();
  };

  /**
   * A command that could not be encoded yet for lack of room, checked, with values of its own: the caller may change its
   * record once the call has returned.
   */
  private kept(call: Call): Call {
    const { op, key, range, sink, index } = call;
    if (op === OP_PUT_ALL) {
      const columns = {
        key: Array.from(key as Column),
        value: Array.from(call.value as Column, (v) => this.copyOf(v)),
      };
      return { op, ...columns, expected: undefined, range, sink, index };
    }
    if (op === OP_GET_ALL) return { ...call, key: Array.from(key as Column) };
    // A user-defined command's keys and arguments are its own.
    if (op > OP_LAST_POINT) return call;
    this.order.take(key);
    if (op <= OP_HAS || op === OP_DELETE) return call;
    const value = this.copyOf(call.value);
    const expected = op === OP_COMPARE_AND_SET ? this.copyOf(call.expected) : undefined;
    return { op, key, value, expected, range, sink, index };
  }

  private copyOf(value: unknown): unknown {
    this.values.encode(this.copyRoom, 0, value);
    return this.values.decode(this.copyRoom, 0);
  }

  prepare<C extends Omit<Call, 'sink'>>(call: C): C {
    return this.variable?.knows(call.op) ? (this.variable.callOf(call as never) as never) : call;
  }

  /** The call as it is sent; undefined if it was answered here: the store's values do not have that operation. */
  private translate(call: Call): Call | undefined {
    if (this.variable === undefined) return call;
    if (this.variable.knows(call.op)) return this.variable.callOf(call);
    call.sink.refuse(call.index, new SabtreeError('ERR_UNSUPPORTED', 'add works on numeric values only'));
    return undefined;
  }

  private readonly copyRoom = new ByteViews(1024);

  /**
   * Sends a command whose answer nobody waits for, as soon as it fits; false if there is no room. For filling rings while
   * no executor runs: answers may overwrite each other in the reply rings. Call `forget` before anything else is sent.
   * @internal
   */
  post(call: Call): boolean {
    const place = this.sequence & (WINDOW - 1);
    if (!this.encode(call) && (!this.send() || !this.encode(call))) return false;
    this.sinks[place] = undefined;
    this.outstanding--;
    this.sampler.drop();
    this.expected.fill(0);
    return true;
  }

  /** Sends the rest of what was posted; false if there is no room. @internal */
  flushPosted(): boolean {
    return this.send();
  }

  /** Passes over the answers to what was posted, once it has been executed. @internal */
  forget(): void {
    for (const [executor, word] of this.written.entries()) this.taken[executor] = Atomics.load(this.words, word);
  }

  /** Moves everything on as far as it goes now, and comes back when there is more to do. */
  private readonly pump = (): void => {
    const { words, overflow } = this;
    const base = this.streams.client(this.id);
    const signal = (base + CLIENT_SIGNAL) >> 2;
    const sleeping = (base + CLIENT_SLEEPING) >> 2;
    for (;;) {
      if (!this.open) {
        this.refuseAll();
        break;
      }
      let moved = 0;
      while (moved < overflow.length && this.encode(overflow[moved])) moved++;
      if (moved > 0) overflow.splice(0, moved);
      this.send();
      if (this.receive() > 0) {
        if (++this.together < TOGETHER) continue;
        void turn().then(this.pumpInTurn);
        return;
      }
      if (this.outstanding === 0 && overflow.length === 0) break;
      this.whileWaiting?.();
      if (this.soon()) continue;
      const ticket = Atomics.load(words, signal);
      Atomics.store(words, sleeping, 1);
      // The last look before sleeping: see ReplyWriter.wake.
      if (this.receive() > 0 || this.behind) {
        Atomics.store(words, sleeping, 0);
        continue;
      }
      // Room in a ring is not told to this signal, so with unsent records it is looked at again soon.
      const waited = waitAsync(words, signal, ticket, this.unsent ? 1 : 1000);
      if (waited.async) {
        void waited.value.then(this.pumpInTurn);
        return;
      }
      Atomics.store(words, sleeping, 0);
    }
    Atomics.store(words, sleeping, 0);
    this.pumping = false;
    this.release?.();
    this.release = undefined;
    this.settleIdle();
  };

  /**
   * Looks for replies a little longer before going back to the event loop, which costs more than an executor takes for
   * a batch: some 0.1 ms at most, and only where there is a core for every thread.
   */
  private soon(): boolean {
    if (!this.streams.roomy) return false;
    for (let looks = 0; looks < 2000; looks++) if (this.receive() > 0) return true;
    return false;
  }

  private settleIdle(): void {
    for (const idler of this.idlers.splice(0)) idler();
  }

  /** Resolves when nothing is under way any more. */
  whenIdle(): Promise<void> {
    if (this.outstanding === 0 && this.overflow.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.idlers.push(resolve));
  }

  /** Ends this client. Commands under way get ERR_CLOSED; await `whenIdle` first to have them answered. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    const clean = this.outstanding === 0;
    if (!clean) this.refuseAll();
    Atomics.store(this.words, (this.streams.client(this.id) + CLIENT_SEQUENCE) >> 2, this.sequence);
    // Replies may still be on their way into the rings of a client that left early: the supervisor frees its slot.
    leaveClient(this.streams, this.id, clean ? CLIENT_FREE : CLIENT_LEAVING);
    this.signal();
  }
}

/** The lowest member of a bit set. */
function lowestOf(set: number): number {
  return 31 - Math.clz32(set & -set);
}

/** Whether an operation changes anything. */
function writes(op: number): boolean {
  return (op > OP_HAS && op <= OP_LAST_POINT) || op === OP_PUT_ALL || op === OP_CALL;
}

/** Gives a client's slot back. */
export function leaveClient(streams: Streams, client: number, state = CLIENT_FREE): void {
  const { words } = streams;
  const base = streams.client(client);
  const thread = (base + CLIENT_THREAD) >> 2;
  const token = Atomics.load(words, thread);
  words[(base + CLIENT_TREE_THREADS) >> 2] = 0;
  words[(base + CLIENT_TREE_THREADS + 4) >> 2] = 0;
  Atomics.store(words, (base + CLIENT_STATE) >> 2, state);
  // Last: nobody claims the slot before, and should this thread die here, the supervisor does it.
  Atomics.compareExchange(words, thread, token, 0);
}

/** Claims a free client slot. @throws ERR_CLOSED, ERR_TOO_MANY_THREADS */
export function claimClient(streams: Streams): number {
  failOrphan(streams);
  const { words, shape } = streams;
  if (streams.state !== STATE_OPEN && streams.state !== STATE_READ_ONLY) throw stateError(streams);
  const token = threadToken();
  for (let client = 0; client < shape.clients; client++) {
    const base = streams.client(client);
    const state = (base + CLIENT_STATE) >> 2;
    const thread = (base + CLIENT_THREAD) >> 2;
    if (Atomics.load(words, state) !== CLIENT_FREE) continue;
    // Whose it is comes first, so that it is known whenever this thread may die; where nobody could tell, the state decides.
    if (Atomics.compareExchange(words, thread, 0, token) !== 0) continue;
    if (Atomics.compareExchange(words, state, CLIENT_FREE, CLIENT_USED) === CLIENT_FREE) {
      Atomics.add(words, (base + CLIENT_GENERATION) >> 2, 1);
      return client;
    }
    if (token !== 0) Atomics.compareExchange(words, thread, token, 0);
  }
  throw new SabtreeError(
    'ERR_TOO_MANY_THREADS',
    `the store has all of its ${shape.clients} clients; see the option clients`,
    shape.clients,
  );
}

/** Notes under which id a client's thread reads a replica's tree: its slot there is freed should the thread die. */
export function noteTreeThread(streams: Streams, client: number, replica: number, thread: number): void {
  if (replica >= 0) streams.bytes[streams.client(client) + CLIENT_TREE_THREADS + replica] = thread;
}
