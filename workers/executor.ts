/**
 * One executor: it reads the rings of its groups, applies their commands to its replica's tree in batches, and, if its
 * replica is home, answers. It runs in a thread of its own and returns only when the store closes or its replica is lost.
 */
import { type Attachment, Patience } from '../engine/attachment.ts';
import { pauseBefore } from '../engine/backoff.ts';
import { SabtreeError } from '../engine/errors.ts';
import { treeDigest, treeSize } from '../engine/stats.ts';
import {
  APPLY_REPLY,
  APPLY_SYNCHRONOUS,
  DEFERRAL_BYTES,
  DEFERRAL_COUNT,
  DEFERRAL_DEFERRED,
  DEFERRAL_REFUSED,
  OP_CEILING,
  OP_COUNT,
  OP_DIGEST,
  OP_FIRST,
  OP_FLOOR,
  OP_HIGHER,
  OP_LAST,
  OP_LAST_POINT,
  OP_LOWER,
  OP_MARKER,
  OP_RANGE,
  OP_RETRY,
  OP_SKIP,
  OPERATION_CLIENT,
  OPERATION_CODE,
  OPERATION_FLAGS,
  OPERATION_GROUPS,
  OPERATION_KEY,
  OPERATION_NUMBER,
  OPERATION_SEQUENCE,
  OPERATION_SLOTS,
  RANGE_LIMIT,
  RANGE_UPPER,
  REPLY_RUN_CLIENT,
  REPLY_RUN_END,
  REPLY_RUN_SIZE,
  REPLY_RUN_START,
  SLOT,
  STATUS_TRUE,
  STATUS_UNKNOWN_COMMAND,
  STOP_BUSY,
  STOP_CORRUPT,
  STOP_DEFERRED,
  STOP_DONE,
  STOP_NO_MEMORY,
  STOP_OTHER,
} from '../layout/operation.ts';
import {
  COUNTER_BATCHES,
  COUNTER_COMMANDS,
  COUNTER_DEFERRED,
  COUNTER_PARKS,
  COUNTER_REFUSED,
  COUNTER_RETRIED,
  COUNTER_SYNC_POINTS,
  COUNTERS,
  EXECUTOR_COUNTERS,
  EXECUTOR_DEFERRALS,
  EXECUTOR_DIGEST_COUNT,
  EXECUTOR_DIGEST_HIGH,
  EXECUTOR_DIGEST_LOW,
  EXECUTOR_DIGEST_NUMBER,
  EXECUTOR_SIGNAL,
  STATE_OPEN,
  STREAMS_HOME,
} from '../layout/streams.ts';
import { BLOCK_KEY, BLOCK_KEY2, BLOCK_VALUE } from '../layout/tree-memory.ts';
import { Barrier } from './barrier.ts';
import { defers, type ExecutionModel } from './models/model.ts';
import { Multicast } from './multicast.ts';
import { ReplyWriter } from './replies.ts';
import { RingReader } from './ring.ts';
import type { Streams } from './streams.ts';
import type { WaitStrategy } from './waiting.ts';

/** Bytes of replies gathered before they are handed to the clients. */
const REPLY_AREA = 65536;
/** Most clients whose replies are gathered at a time. */
const REPLY_RUNS = 256;
/** What stands in the multicast lock while an executor holds it: above all clients. */
const HOLDER_BASE = 1 << 16;

/** One of the executor's groups: its ring, and the piece of it that was copied out last. */
interface Stream {
  readonly group: number;
  readonly reader: RingReader;
  /** Where the copy stands in the replica's memory. */
  readonly stage: number;
  /** The copy as bytes and as words. */
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  /** Slots of the copy done, and slots in it. */
  at: number;
  end: number;
  /** Multicast number of the command this stream stands at; 0 if it does not stand. */
  standing: number;
}

/** Everything an executor needs. */
export interface ExecutorParts {
  readonly streams: Streams;
  readonly attachment: Attachment;
  readonly model: ExecutionModel;
  readonly replica: number;
  readonly executor: number;
  readonly wait: WaitStrategy;
}

/** The loop of one executor. */
export class Executor {
  private readonly streams: Streams;
  private readonly words: Int32Array;
  private readonly attachment: Attachment;
  private readonly model: ExecutionModel;
  private readonly replica: number;
  private readonly executor: number;
  private readonly wait: WaitStrategy;
  private readonly own: readonly Stream[];
  private readonly barrier: Barrier;
  private readonly multicast: Multicast;
  private readonly writers: readonly ReplyWriter[];
  private readonly counters: Float64Array;
  private readonly memory: Uint8Array;
  private readonly replyArea: number;
  private readonly replyTable: Uint32Array;
  private readonly deferral: number;
  private readonly deferralWords: Uint32Array;
  private readonly deferralCounts: BigUint64Array;
  private readonly retryRecord: Uint8Array;
  private readonly retryWords: Int32Array;
  /** True from the publication of this executor's retry until its deferral list is empty again. */
  private retryUnderWay = false;
  private readonly payload: Uint8Array;

  constructor(parts: ExecutorParts) {
    const { streams, attachment, replica, executor } = parts;
    const { core } = attachment;
    this.streams = streams;
    this.words = streams.words;
    this.attachment = attachment;
    this.model = parts.model;
    this.replica = replica;
    this.executor = executor;
    this.wait = parts.wait;
    const { groups, executors, ringSlots } = streams.shape;
    this.multicast = new Multicast(streams, HOLDER_BASE + replica * executors + executor);
    const { maxRun } = this.multicast.rings[0];
    const mine = Array.from({ length: groups }, (_, group) => group).filter((g) => streams.executorOf(g) === executor);
    const stages = mine.map(() => allocate(attachment, maxRun * SLOT));
    this.replyArea = allocate(attachment, REPLY_AREA);
    const table = allocate(attachment, REPLY_RUNS * REPLY_RUN_SIZE);
    // What a stream holds between two sync points is at most a ring; what an executor holds back comes from its streams.
    const deferred = defers(parts.model) ? 2 * ringSlots * mine.length : 1;
    this.deferral = allocate(attachment, core.deferralSize(deferred));
    core.deferralInit(this.deferral, deferred);
    // Views last: the allocations above may have grown the memory.
    const { buffer } = attachment.memory;
    this.memory = new Uint8Array(buffer, 0, buffer.byteLength);
    this.own = mine.map((group, i) => ({
      group,
      reader: new RingReader(streams, group, replica),
      stage: stages[i],
      bytes: new Uint8Array(buffer, stages[i], maxRun * SLOT),
      words: new Int32Array(buffer, stages[i], (maxRun * SLOT) / 4),
      at: 0,
      end: 0,
      standing: 0,
    }));
    this.replyTable = new Uint32Array(buffer, table, (REPLY_RUNS * REPLY_RUN_SIZE) / 4);
    core.setReplyArea(this.replyArea, REPLY_AREA, table, REPLY_RUNS);
    this.deferralWords = new Uint32Array(buffer, this.deferral, 16);
    this.deferralCounts = new BigUint64Array(buffer, this.deferral, 4);
    this.barrier = new Barrier(streams, replica, executor, parts.wait);
    this.writers = Array.from({ length: executors }, (_, e) => new ReplyWriter(streams, e));
    const base = streams.executor(replica, executor);
    this.counters = new Float64Array(streams.memory, base + EXECUTOR_COUNTERS, COUNTERS);
    this.retryRecord = new Uint8Array(SLOT);
    this.retryWords = new Int32Array(this.retryRecord.buffer);
    this.retryRecord[OPERATION_CODE] = OP_RETRY;
    this.retryRecord[OPERATION_SLOTS] = 1;
    this.retryWords[OPERATION_GROUPS >> 2] = groups === 32 ? -1 : (1 << groups) - 1;
    this.retryWords[OPERATION_KEY >> 2] = mine[0];
    this.payload = new Uint8Array(REPLY_AREA);
    Atomics.store(this.words, (base + EXECUTOR_DEFERRALS) >> 2, this.deferral);
  }

  private get home(): boolean {
    return Atomics.load(this.words, STREAMS_HOME >> 2) === this.replica;
  }

  /** Whether this executor should go on. */
  private get going(): boolean {
    const { state, alive } = this.streams;
    return state <= STATE_OPEN && ((alive >>> this.replica) & 1) !== 0;
  }

  /** Executes until the store closes or the replica is lost. Throws what makes this replica unable to go on. */
  run(): void {
    for (let looks = 0; this.going; ) {
      let worked = false;
      for (const stream of this.own) if (this.step(stream)) worked = true;
      if (this.wantsRetry()) this.tryRetry();
      if (worked) {
        looks = 0;
      } else if (!this.wait.idle(looks++)) {
        // Look again.
      } else if (this.wantsRetry()) {
        // A retry that found no room is tried again soon: nobody would wake this thread for it.
        pauseBefore(0);
      } else {
        this.park();
        looks = 0;
      }
    }
  }

  /** Sleeps until one of its rings gets something (see GroupRing.wakeReaders for why no wake-up is lost). */
  private park(): void {
    const { words, streams, own } = this;
    const signal = (streams.executor(this.replica, this.executor) + EXECUTOR_SIGNAL) >> 2;
    const ticket = Atomics.load(words, signal);
    let empty = true;
    for (const { reader } of own) reader.announceSleep();
    for (const stream of own)
      if (stream.standing === 0 && stream.reader.poll(stream.bytes.length / SLOT) > 0) empty = false;
    if (empty && this.going) {
      this.counters[COUNTER_PARKS]++;
      Atomics.wait(words, signal, ticket);
    }
    for (const { reader } of own) reader.awake();
  }

  /** Does the next piece of one stream; false if there is nothing to do. */
  private step(stream: Stream): boolean {
    if (stream.standing !== 0) return false;
    if (stream.at === stream.end) {
      if (this.holdsBack()) return false;
      const { reader } = stream;
      const slots = reader.poll(stream.bytes.length / SLOT);
      if (slots === 0) return false;
      // From here on the ring's slots may be used again: this copy is the replica's own.
      reader.copyTo(stream.bytes, 0, slots);
      reader.advance(slots);
      stream.at = 0;
      stream.end = slots;
      this.counters[COUNTER_BATCHES]++;
    }
    this.applyStage(stream);
    return true;
  }

  /**
   * Whether to take nothing new because half a ring is deferred and no retry could be appended yet. That bounds the
   * deferral list: half a ring now, a quarter in the copy at hand, and at most a ring up to the marker, once it is
   * appended. It will be: no marker is on its way to this executor, so in its own rings the slots kept for markers are
   * free; and whoever is slow in another ring does not wait for this executor, which has passed every marker there is.
   */
  private holdsBack(): boolean {
    const half = (this.streams.shape.ringSlots * SLOT) >> 1;
    return this.deferralWords[DEFERRAL_BYTES >> 2] >= half && this.wantsRetry();
  }

  /** Applies the copied records up to the first one that has to wait. */
  private applyStage(stream: Stream): void {
    const { core } = this.attachment;
    const flags = this.model.parallelFlags | (this.home ? APPLY_REPLY : 0);
    const patience = new Patience(this.attachment);
    while (stream.at < stream.end) {
      const done = core.apply(stream.stage + stream.at * SLOT, stream.end - stream.at, flags, this.deferral);
      const reason = core.stopReason();
      // Counted before it is answered: who has an answer finds it in the counters.
      this.counters[COUNTER_COMMANDS] += core.appliedCount();
      this.flushReplies(this.executor);
      stream.at += done;
      if (reason === STOP_BUSY) patience.pause();
      else if (reason === STOP_OTHER) {
        if (!this.other(stream)) break;
      } else this.refuseStop(reason);
    }
    this.noteDeferrals();
  }

  /** Throws what a stop for good stands for. */
  private refuseStop(reason: number): void {
    if (reason === STOP_NO_MEMORY) {
      throw new SabtreeError('ERR_MEMORY_EXHAUSTED', `replica ${this.replica} has no memory left`, this.replica);
    }
    if (reason === STOP_CORRUPT || reason === STOP_DEFERRED) {
      throw new SabtreeError(
        'ERR_CORRUPT',
        `replica ${this.replica} met a record or node that cannot be`,
        this.replica,
      );
    }
  }

  /** Deals with the record at the head that is not an operation on one key in one group. False if it has to wait. */
  private other(stream: Stream): boolean {
    const record = stream.at * SLOT;
    if (stream.words[(record + OPERATION_GROUPS) >> 2] === 0) {
      // There is one group only, so one executor: it stands alone here, and what it deferred comes first, for this command
      // depends on every key.
      this.runDeferrals(this.executor, this.deferral);
      this.counters[COUNTER_COMMANDS]++;
      this.answer(stream, record);
      stream.at += this.slotsOf(stream);
      return true;
    }
    stream.standing = stream.words[(record + OPERATION_NUMBER) >> 2];
    this.noteDeferrals();
    return this.synchronise(stream);
  }

  private slotsOf(stream: Stream): number {
    return stream.words[(stream.at * SLOT) >> 2] >>> 16;
  }

  /**
   * Once all of this executor's streams that the command went to stand at it: goes through the sync point, and lets the
   * streams go on.
   */
  private synchronise(stream: Stream): boolean {
    const { own, streams } = this;
    const record = stream.at * SLOT;
    const number = stream.standing;
    const groups = stream.words[(record + OPERATION_GROUPS) >> 2];
    for (const { group, standing } of own) if ((groups >>> group) & 1 && standing !== number) return false;
    const op = stream.bytes[record + OPERATION_CODE];
    // The command's own group: the marker names it; the payload stands there.
    const at = op === OP_MARKER || op === OP_RETRY ? stream.words[(record + OPERATION_KEY) >> 2] : stream.group;
    const leader = streams.executorOf(at);
    if (leader === this.executor) {
      const others: number[] = [];
      for (let e = 0; e < streams.shape.executors; e++) if (e !== leader && this.takesPart(e, groups)) others.push(e);
      if (!this.barrier.gather(number, others)) return false;
      this.counters[COUNTER_SYNC_POINTS]++;
      this.runDeferrals(this.executor, this.deferral);
      for (const e of others)
        this.runDeferrals(e, this.words[(streams.executor(this.replica, e) + EXECUTOR_DEFERRALS) >> 2]);
      if (op !== OP_RETRY) {
        const payload = own.find(({ group }) => group === at) as Stream;
        this.counters[COUNTER_COMMANDS]++;
        this.executeAlone(payload);
      }
      this.barrier.release(number, others);
    } else if (!this.barrier.standBy(number, leader)) {
      return false;
    }
    this.retryUnderWay = false;
    for (const each of own) {
      if (each.standing === number) {
        each.at += this.slotsOf(each);
        each.standing = 0;
      }
    }
    return true;
  }

  private takesPart(executor: number, groups: number): boolean {
    for (let group = executor; group < this.streams.shape.groups; group += this.streams.shape.executors) {
      if ((groups >>> group) & 1) return true;
    }
    return false;
  }

  /** Runs an executor's deferral list, free to split and merge. All executors that could touch its keys stand. */
  private runDeferrals(executor: number, list: number): void {
    const { core, memory } = this.attachment;
    if (list === 0) return;
    const words = new Uint32Array(memory.buffer, list, 16);
    if (words[DEFERRAL_COUNT >> 2] === 0) return;
    const flags = this.home ? APPLY_REPLY : 0;
    const patience = new Patience(this.attachment);
    for (;;) {
      core.runDeferred(list, flags);
      const reason = core.stopReason();
      this.counters[COUNTER_COMMANDS] += core.appliedCount();
      // Into the rings of the executor whose commands they are: it stands here, so this thread may write for it.
      this.flushReplies(executor);
      if (reason === STOP_DONE) break;
      if (reason === STOP_BUSY) patience.pause();
      else this.refuseStop(reason);
    }
  }

  /** Executes the many-group command at the head of a stream, with everybody else standing. */
  private executeAlone(stream: Stream): void {
    const { core } = this.attachment;
    const record = stream.at * SLOT;
    const op = stream.bytes[record + OPERATION_CODE];
    if (op > OP_LAST_POINT) {
      this.answer(stream, record);
      return;
    }
    const flags = APPLY_SYNCHRONOUS | (this.home ? APPLY_REPLY : 0);
    const patience = new Patience(this.attachment);
    for (;;) {
      const done = core.apply(stream.stage + record, stream.end - stream.at, flags, this.deferral);
      const reason = core.stopReason();
      this.flushReplies(this.executor);
      if (done > 0) return;
      if (reason === STOP_BUSY) patience.pause();
      else this.refuseStop(reason);
    }
  }

  /** Executes an operation on more than one key, and replies. */
  private answer(stream: Stream, record: number): void {
    const { attachment, payload } = this;
    const { core, values, keySize } = attachment;
    const { bytes } = stream;
    const op = bytes[record + OPERATION_CODE];
    if (op === OP_SKIP || op === OP_MARKER) return;
    const block = core.blockAddress();
    const { memory } = this;
    let status = STATUS_TRUE;
    let length = 0;
    if (op === OP_DIGEST) {
      length = this.postDigest(stream.words[(record + OPERATION_KEY) >> 2]);
    } else if (!this.home) {
      // Reads change nothing.
      return;
    } else if (
      op === OP_FLOOR ||
      op === OP_CEILING ||
      op === OP_LOWER ||
      op === OP_HIGHER ||
      op === OP_FIRST ||
      op === OP_LAST
    ) {
      const call = () => {
        memory.set(bytes.subarray(record + OPERATION_KEY, record + OPERATION_KEY + 8), block + BLOCK_KEY);
        return core.neighbour(op);
      };
      status = attachment.settle(call(), call);
      if (status === STATUS_TRUE) {
        payload.set(memory.subarray(block + BLOCK_KEY, block + BLOCK_KEY + 8), 0);
        payload.set(memory.subarray(block + BLOCK_VALUE, block + BLOCK_VALUE + values.stride), 8);
        length = 8 + values.stride;
      }
    } else if (op === OP_RANGE) {
      const flags = bytes[record + OPERATION_FLAGS];
      const limit = stream.words[(record + RANGE_LIMIT) >> 2];
      const call = () => {
        memory.set(bytes.subarray(record + OPERATION_KEY, record + OPERATION_KEY + 8), block + BLOCK_KEY);
        memory.set(bytes.subarray(record + RANGE_UPPER, record + RANGE_UPPER + 8), block + BLOCK_KEY2);
        return core.scan(flags, limit);
      };
      attachment.settle(call(), call);
      const { count } = attachment;
      const head = new Uint32Array(payload.buffer, 0, 2);
      head[0] = count;
      head[1] = attachment.more ? 1 : 0;
      const keys = attachment.scanKeys;
      payload.set(new Uint8Array(keys.buffer, keys.byteOffset, count * keySize), 8);
      const valuesAt = 8 + ((count * keySize + 7) & ~7);
      const { raw } = attachment.scanValues;
      payload.set(new Uint8Array(raw.buffer, raw.byteOffset, count * values.stride), valuesAt);
      length = valuesAt + count * values.stride;
    } else if (op === OP_COUNT) {
      new Float64Array(payload.buffer, 0, 1)[0] = treeSize(attachment);
      length = 8;
    } else {
      status = STATUS_UNKNOWN_COMMAND;
    }
    if (!this.home) return;
    const client = stream.words[(record + OPERATION_CLIENT) >> 2];
    const sequence = stream.words[(record + OPERATION_SEQUENCE) >> 2];
    this.writers[this.executor].reply(client, sequence, status, payload.subarray(0, length));
  }

  /** Makes this replica's digest and count at this position of the order known, under the asker's tag. */
  private postDigest(tag: number): number {
    const { words, attachment, payload } = this;
    const base = this.streams.executor(this.replica, 0);
    const digest = treeDigest(attachment);
    const count = treeSize(attachment);
    words[(base + EXECUTOR_DIGEST_LOW) >> 2] = Number(digest & 0xffffffffn) | 0;
    words[(base + EXECUTOR_DIGEST_HIGH) >> 2] = Number(digest >> 32n) | 0;
    words[(base + EXECUTOR_DIGEST_COUNT) >> 2] = count;
    Atomics.store(words, (base + EXECUTOR_DIGEST_NUMBER) >> 2, tag);
    new BigUint64Array(payload.buffer, 0, 1)[0] = digest;
    new Float64Array(payload.buffer, 8, 1)[0] = count;
    return 16;
  }

  /** Hands the gathered replies to their clients, as executor `executor`. */
  private flushReplies(executor: number): void {
    const { core } = this.attachment;
    const runs = core.replyRuns();
    if (runs === 0) return;
    const { replyTable, memory } = this;
    const writer = this.writers[executor];
    for (let i = 0; i < runs; i++) {
      const at = (i * REPLY_RUN_SIZE) >> 2;
      const start = replyTable[at + (REPLY_RUN_START >> 2)];
      writer.append(
        replyTable[at + (REPLY_RUN_CLIENT >> 2)],
        memory,
        start,
        replyTable[at + (REPLY_RUN_END >> 2)] - start,
      );
    }
    core.clearReplies();
  }

  /** Carries the deferral list's own counts over. */
  private noteDeferrals(): void {
    if (!defers(this.model)) return;
    this.counters[COUNTER_REFUSED] = Number(this.deferralCounts[DEFERRAL_REFUSED >> 3]);
    this.counters[COUNTER_DEFERRED] = Number(this.deferralCounts[DEFERRAL_DEFERRED >> 3]);
  }

  /** Whether a retry has to be sent: something is deferred, and no sync point is on its way to this executor. */
  private wantsRetry(): boolean {
    if (this.retryUnderWay || this.deferralWords[DEFERRAL_COUNT >> 2] === 0) return false;
    const { group, reader, at, end } = this.own[0];
    // A marker at or behind the next record of the stream will bring one.
    const next = (reader.position - (end - at)) | 0;
    return ((this.multicast.rings[group].lastMarker() - next) | 0) < 0;
  }

  private tryRetry(): void {
    this.noteDeferrals();
    if (!this.multicast.tryRetry(this.retryRecord, this.retryWords)) return;
    this.retryUnderWay = true;
    this.counters[COUNTER_RETRIED]++;
  }
}

/** Bytes in the replica's memory for an executor's own use. */
function allocate(attachment: Attachment, bytes: number): number {
  const address = attachment.core.allocateBlock(bytes);
  if (address === 0) {
    throw new SabtreeError(
      'ERR_MEMORY_EXHAUSTED',
      `the replica's memory has no room for an executor's ${bytes} bytes`,
      bytes,
    );
  }
  return address;
}
