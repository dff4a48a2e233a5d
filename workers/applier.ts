/**
 * One thread's hands on its replica's tree: it carries out records where they stand in the replica's memory, with
 * patience for latched nodes, and hands the replies on. All models execute through it.
 */
import { type Attachment, Patience } from '../engine/attachment.ts';
import type { Core } from '../engine/core.ts';
import { SabtreeError } from '../engine/errors.ts';
import { type KeyOrder, keyOrder } from '../engine/key-order.ts';
import type { FixedKeys } from '../engine/key-views.ts';
import { treeDigest, treeSize } from '../engine/stats.ts';
import {
  APPLY_ANSWER,
  APPLY_REPLY,
  APPLY_SYNCHRONOUS,
  DEFERRAL_COUNT,
  MANY_COUNT,
  MANY_KEYS,
  OP_CALL,
  OP_COMPARE,
  OP_COUNT,
  OP_CUT,
  OP_DIGEST,
  OP_FENCE,
  OP_FLOOR,
  OP_GET_ALL,
  OP_LAST,
  OP_LAST_POINT,
  OP_MARKER,
  OP_PUT_ALL,
  OP_QUERY,
  OP_RANGE,
  OP_READ,
  OP_SKIP,
  OP_SNAPSHOT,
  OP_TAKEOVER,
  OPERATION_CLIENT,
  OPERATION_CODE,
  OPERATION_COUNTED,
  OPERATION_FLAGS,
  OPERATION_KEY,
  OPERATION_RESENT,
  OPERATION_SEQUENCE,
  OPERATION_WATCHED,
  RANGE_LIMIT,
  RANGE_UPPER,
  SLOT,
  STATUS_FALSE,
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
  CLIENT_ANSWERED,
  COUNTER_COMMANDS,
  COUNTER_SUPPRESSED,
  COUNTERS,
  EXECUTOR_COMPARE_NUMBER,
  EXECUTOR_COUNTERS,
  EXECUTOR_DIGEST_NUMBER,
  EXECUTOR_KEPT,
  STREAMS_HOME,
} from '../layout/streams.ts';
import {
  BLOCK_KEY,
  BLOCK_KEY2,
  BLOCK_VALUE,
  SCAN_HAS_LOWER,
  SCAN_HAS_UPPER,
  SCAN_LOWER_EXCLUSIVE,
  SCAN_UPPER_EXCLUSIVE,
} from '../layout/tree-memory.ts';
import type { Write } from './call-context.ts';
import type { CallRunner, Outcome } from './call-runner.ts';
import { ChangeWriter } from './change-log.ts';
import { freeClient, standForCopy, standForSnapshot, takeOver } from './failover.ts';
import { beginStanding, standForReader } from './reading.ts';
import type { ReplySink } from './replies.ts';
import type { Streams } from './streams.ts';
import { READ_HASH, WRITE_HASH } from './variable-commands.ts';

/** Most bytes of the payload of one reply. */
const PAYLOAD = 65536;
/** Most user-defined commands that are run together. */
const MOST_TOGETHER = 64;

/** Carries records out in one replica. */
export class Applier {
  readonly attachment: Attachment;
  /** The replica's memory, as far as it reached at the last `renew`: all areas of all threads stand there. */
  memory: Uint8Array;
  words: Int32Array;
  readonly counters: Float64Array;
  /** False while what `apply` does may still be undone. */
  counting = true;
  /** Tells watchers what this thread changes. */
  readonly changes: ChangeWriter;
  /** Whether the core carries out what it can of operations on one key that come as commands. */
  pointsInCore = true;
  /** Whether answers are kept for the case that the home replica is lost. */
  private keeps = false;
  private readonly streams: Streams;
  private readonly replica: number;
  private readonly order: KeyOrder;
  private readonly payload = new Uint8Array(PAYLOAD);
  private readonly calls: CallRunner | undefined;
  /** By client, numbers of its commands whose long results this thread keeps, oldest first. */
  private readonly long = new Map<number, number[]>();

  /**
   * Make it after everything of this thread was allocated: allocating may move the memory's end.
   * @param calls runs user-defined commands; threads that execute nothing have none.
   */
  constructor(streams: Streams, attachment: Attachment, replica: number, thread: number, calls?: CallRunner) {
    this.calls = calls;
    this.streams = streams;
    this.attachment = attachment;
    this.replica = replica;
    this.order = keyOrder(attachment.keyCode);
    const { buffer } = attachment.memory;
    this.memory = new Uint8Array(buffer, 0, buffer.byteLength);
    this.words = new Int32Array(buffer, 0, buffer.byteLength >> 2);
    this.counters = new Float64Array(streams.memory, streams.executor(replica, thread) + EXECUTOR_COUNTERS, COUNTERS);
    this.changes = new ChangeWriter(streams, attachment, replica, thread);
    attachment.core.setPointCommands(READ_HASH, WRITE_HASH);
  }

  /** Looks at the whole memory again. Call it when all threads of the replica have allocated what they need. */
  renew(): void {
    this.look();
    const { core } = this.attachment;
    const { words, shape } = this.streams;
    this.keeps = shape.replicas > 1;
    if (this.keeps) core.setKept(Atomics.load(words, (this.streams.executor(this.replica, 0) + EXECUTOR_KEPT) >> 2));
  }

  /** Brings the views up to the memory's end. */
  private look(): void {
    const { memory } = this.attachment;
    // Growing by nothing brings the buffer up to date with what other threads did.
    memory.grow(0);
    const { buffer } = memory;
    this.memory = new Uint8Array(buffer, 0, buffer.byteLength);
    this.words = new Int32Array(buffer, 0, buffer.byteLength >> 2);
  }

  /** Whether this replica answers. */
  get home(): boolean {
    return Atomics.load(this.streams.words, STREAMS_HOME >> 2) === this.replica;
  }

  /** The flag of `core.apply` for whether to reply. */
  get replying(): number {
    return this.home ? APPLY_REPLY | APPLY_ANSWER : 0;
  }

  /**
   * Applies the records in `slots` slots from `address` on, up to the first one that is not for `core.apply`.
   * @param list the deferral list, 0 without one.
   * @returns slots done.
   * @throws ERR_MEMORY_EXHAUSTED, ERR_CORRUPT, ERR_LATCH_LOST: this replica cannot go on.
   */
  apply(address: number, slots: number, flags: number, list: number, sink: ReplySink): number {
    const { core } = this.attachment;
    const done = this.applyBy(core.apply, address, slots, flags, list, sink);
    if (this.keeps) this.counters[COUNTER_SUPPRESSED] = core.suppressedCount();
    return done;
  }

  /** Has the core apply records as `run` does, up to the first one that is not for it. @returns slots done */
  private applyBy(
    run: Core['apply'],
    address: number,
    slots: number,
    flags: number,
    list: number,
    sink: ReplySink,
  ): number {
    const { core } = this.attachment;
    let patience: Patience | undefined;
    let at = 0;
    while (at < slots) {
      at += run(address + at * SLOT, slots - at, flags, list);
      const reason = core.stopReason();
      // Counted before it is answered: who has an answer finds it in the counters.
      if (this.counting) this.counters[COUNTER_COMMANDS] += core.appliedCount();
      if (this.counting && this.changes.listening) this.changes.publish();
      sink.flush();
      if (reason === STOP_BUSY) {
        patience ??= new Patience(this.attachment);
        patience.pause();
      } else if (reason === STOP_OTHER) break;
      else this.refuseStop(reason);
    }
    return at;
  }

  /** Throws what a stop for good stands for. */
  private refuseStop(reason: number): void {
    const { replica } = this;
    if (reason === STOP_NO_MEMORY) {
      throw new SabtreeError('ERR_MEMORY_EXHAUSTED', `replica ${replica} has no memory left`, replica);
    }
    if (reason === STOP_CORRUPT || reason === STOP_DEFERRED) {
      throw new SabtreeError('ERR_CORRUPT', `replica ${replica} met a record or node that cannot be`, replica);
    }
  }

  /** Runs a deferral list, free to split and merge. Everybody who could touch its keys stands. */
  runDeferrals(list: number, sink: ReplySink): void {
    const { core } = this.attachment;
    if (list === 0 || this.words[(list + DEFERRAL_COUNT) >> 2] === 0) return;
    // They may be another executor's, so this one may not have seen the watchers yet.
    this.changes.look();
    const flags = this.replying;
    const patience = new Patience(this.attachment);
    for (;;) {
      core.runDeferred(list, flags);
      const reason = core.stopReason();
      this.counters[COUNTER_COMMANDS] += core.appliedCount();
      if (this.changes.listening) this.changes.publish();
      sink.flush();
      if (reason === STOP_DONE) break;
      if (reason === STOP_BUSY) patience.pause();
      else this.refuseStop(reason);
    }
  }

  /**
   * Executes one command alone, of whatever kind: nothing that it depends on is under way. User-defined commands that stand
   * behind one another are executed together, as far as that saves time.
   * @param address where its record stands; @param slots slots of records, from there on, that can be executed alone one
   *   after the other.
   * @returns slots done: those of the first record at least.
   */
  alone(address: number, slots: number, list: number, sink: ReplySink): number {
    const op = this.memory[address + OPERATION_CODE];
    const own = this.slotsAt(address);
    if (op === OP_SKIP || op === OP_MARKER) return own;
    if (op >= OP_TAKEOVER) {
      this.control(op, address);
    } else if (op > OP_LAST_POINT) {
      const done = this.points(address, slots, sink);
      if (done > 0) return done;
      const records = this.together(address, slots, sink);
      if (records.length > 1) return this.answerCalls(records, sink);
      this.counters[COUNTER_COMMANDS]++;
      this.answer(address, sink);
    } else {
      this.apply(address, own, APPLY_SYNCHRONOUS | this.replying, list, sink);
    }
    return own;
  }

  private slotsAt(address: number): number {
    return this.words[address >> 2] >>> 16;
  }

  /**
   * Applies the operations on one key that stand in `slots` slots from `address` on as commands, up to the first one that the
   * core leaves to `answer`. @returns slots done
   */
  private points(address: number, slots: number, sink: ReplySink): number {
    if (!this.pointsInCore) return 0;
    const flags = sink.answers ? APPLY_REPLY | APPLY_ANSWER : 0;
    return this.applyBy(this.attachment.core.applyCalls, address, slots, flags, 0, sink);
  }

  /** The user-defined commands that stand in `slots` slots from `address` on, as many as run under one guard. */
  private together(address: number, slots: number, sink: ReplySink): number[] {
    const { memory, words, calls } = this;
    const records: number[] = [];
    for (
      let at = address;
      at < address + slots * SLOT && records.length < MOST_TOGETHER;
      at += this.slotsAt(at) * SLOT
    ) {
      const op = memory[at + OPERATION_CODE];
      const runs = op === OP_CALL || (op === OP_QUERY && sink.answers);
      if (!runs || (memory[at + OPERATION_FLAGS] & OPERATION_RESENT) !== 0 || !calls?.isGuarded(words, at)) break;
      records.push(at);
    }
    return records;
  }

  /** Executes a control command: everything before it has been executed in this replica. */
  private control(op: number, address: number): void {
    const { streams, words, replica } = this;
    const target = words[(address + OPERATION_KEY) >> 2];
    if (op === OP_TAKEOVER) {
      if (target === replica) takeOver(streams, replica);
    } else if (op === OP_CUT) {
      if (target === replica) standForCopy(streams, replica, words[(address + OPERATION_KEY + 4) >> 2]);
    } else if (op === OP_SNAPSHOT) {
      if (target === replica) standForSnapshot(streams, replica, words[(address + OPERATION_KEY + 4) >> 2]);
    } else if (op === OP_FENCE) {
      if (target >= 0 && this.home) freeClient(streams, target);
    } else if (op === OP_COMPARE) {
      this.leaveDigest(EXECUTOR_COMPARE_NUMBER, target);
    }
  }

  /** Executes an operation on more than one key, and replies. */
  private answer(address: number, sink: ReplySink): void {
    const { memory, words, payload, attachment } = this;
    const { core } = attachment;
    const op = memory[address + OPERATION_CODE];
    const resent = (memory[address + OPERATION_FLAGS] & OPERATION_RESENT) !== 0;
    this.makeKeepable(address);
    if (op === OP_CALL || (op === OP_QUERY && sink.answers)) {
      this.call(address, resent, sink);
      return;
    }
    let status = STATUS_TRUE;
    let length = 0;
    if (resent && core.answerable(address, op === OP_PUT_ALL ? 1 : 0, sink.answers ? 1 : 0) !== STATUS_TRUE) return;
    if (op === OP_DIGEST) {
      length = this.leaveDigest(EXECUTOR_DIGEST_NUMBER, resent ? undefined : words[(address + OPERATION_KEY) >> 2]);
    } else if (op === OP_PUT_ALL) {
      const numbers = new Float64Array(payload.buffer, 0, 1);
      if (resent) numbers[0] = core.keptNumber(address);
      else {
        numbers[0] = this.putAll(address);
        if (this.keeps) core.keepNumber(address, sink.answers ? 1 : 0, numbers[0], 8);
      }
      length = 8;
    } else if (!sink.answers) {
      // Reads change nothing.
      return;
    } else if (op === OP_GET_ALL) {
      length = this.getAll(address);
    } else if (op >= OP_FLOOR && op <= OP_LAST) {
      length = this.neighbour(op, address);
      if (length === 0) status = STATUS_FALSE;
    } else if (op === OP_RANGE) {
      length = this.range(address);
    } else if (op === OP_COUNT) {
      const within = (memory[address + OPERATION_FLAGS] & OPERATION_COUNTED) !== 0;
      new Float64Array(payload.buffer, 0, 1)[0] = within ? this.countRange(address) : treeSize(this.attachment);
      length = 8;
    } else if (op !== OP_READ) {
      status = STATUS_UNKNOWN_COMMAND;
    }
    if (!sink.answers) return;
    if (this.keeps && op !== OP_PUT_ALL) core.keepNumber(address, 1, 0, 0);
    const client = words[(address + OPERATION_CLIENT) >> 2];
    if (op === OP_READ) beginStanding(this.streams, this.replica, client);
    this.reply(address, sink, status, payload.subarray(0, length));
    if (op === OP_READ) standForReader(this.streams, this.replica, client);
  }

  /** Runs a user-defined command, or finds what it came to before, and replies. */
  private call(address: number, resent: boolean, sink: ReplySink): void {
    const { memory, words } = this;
    const { core } = this.attachment;
    const writes = memory[address + OPERATION_CODE] === OP_CALL;
    if (resent && core.answerable(address, writes ? 1 : 0, sink.answers ? 1 : 0) !== STATUS_TRUE) return;
    if (!resent || !writes) {
      this.settle(address, sink, (this.calls as CallRunner).run(memory, words, address));
      return;
    }
    if (!sink.answers) return;
    const kept = core.keptResult(address);
    const at = core.keptPayload(address);
    const payload = this.upTo(at + (kept >>> 8)).slice(at, at + (kept >>> 8));
    this.reply(address, sink, kept & 0xff, payload);
  }

  /** Runs several user-defined commands, none of which comes again, under one guard. @returns slots done */
  private answerCalls(records: readonly number[], sink: ReplySink): number {
    let done = 0;
    for (const address of records) this.makeKeepable(address);
    (this.calls as CallRunner).runTogether(this.memory, this.words, records, (address, outcome) => {
      done += this.slotsAt(address);
      this.counters[COUNTER_COMMANDS]++;
      this.settle(address, sink, outcome);
    });
    return done;
  }

  /** Tells what a user-defined command came to: watchers, who may ask again, and its caller. */
  private settle(address: number, sink: ReplySink, { status, payload, changed }: Outcome): void {
    const writes = this.memory[address + OPERATION_CODE] === OP_CALL;
    if (this.isWatched(address) && changed.length > 0) this.tell(address, changed);
    if (this.keeps && writes) this.keepResult(address, status, sink.answers, payload);
    else if (this.keeps) this.attachment.core.keepNumber(address, 1, 0, 0);
    if (sink.answers) this.reply(address, sink, status, payload);
  }

  private reply(address: number, sink: ReplySink, status: number, payload: Uint8Array): void {
    const { words } = this;
    sink.reply(words[(address + OPERATION_CLIENT) >> 2], words[(address + OPERATION_SEQUENCE) >> 2], status, payload);
  }

  /** Makes sure that what the command comes to can be kept. @throws ERR_MEMORY_EXHAUSTED */
  private makeKeepable(address: number): void {
    if (this.keeps && this.attachment.core.keepable(address) !== STATUS_TRUE) this.refuseStop(STOP_NO_MEMORY);
  }

  private keepResult(address: number, status: number, answered: boolean, payload: Uint8Array): void {
    const { words, attachment } = this;
    const client = words[(address + OPERATION_CLIENT) >> 2];
    const sequence = words[(address + OPERATION_SEQUENCE) >> 2];
    const long = payload.length > 8;
    const wanted = !long || this.isAwaited(client, sequence);
    const { core } = attachment;
    const at = core.keepResult(address, status, answered ? 1 : 0, payload.length, wanted ? 1 : 0) >>> 0;
    if (at === 0) this.refuseStop(STOP_NO_MEMORY);
    if (at > 1) this.upTo(at + payload.length).set(payload, at);
    if (long) this.dropAnswered(client);
    if (long && at > 1) this.long.get(client)?.push(sequence) ?? this.long.set(client, [sequence]);
  }

  /** Whether a client may still ask what a command came to. */
  private isAwaited(client: number, sequence: number): boolean {
    const { words } = this.streams;
    return ((sequence - Atomics.load(words, (this.streams.client(client) + CLIENT_ANSWERED) >> 2)) | 0) >= 0;
  }

  /**
   * Gives back what this thread keeps of a client's long results and the client has. What it has not fits into its reply rings;
   * so what all of them have kept stays small.
   */
  private dropAnswered(client: number): void {
    const kept = this.long.get(client);
    if (kept === undefined) return;
    let over = 0;
    while (over < kept.length && !this.isAwaited(client, kept[over]))
      this.attachment.core.dropResult(client, kept[over++]);
    if (over > 0) kept.splice(0, over);
  }

  /** The replica's memory, which must reach to `end`: blobs are made where it has grown. */
  private upTo(end: number): Uint8Array {
    if (end > this.memory.length) this.look();
    return this.memory;
  }

  /** Whether watchers are to be told what the command of a record changes. */
  private isWatched(address: number): boolean {
    return (this.memory[address + OPERATION_FLAGS] & OPERATION_WATCHED) !== 0;
  }

  /** Tells watchers what a user-defined command has changed. */
  private tell(address: number, changed: readonly Write[]): void {
    const { memory, words, order, changes } = this;
    const writes = changed.map(({ key, bytes }) => ({ key: order.stored(key).slice(), bytes }));
    changes.publishMany(memory, words, address, writes);
  }

  /** Runs a call of the core whose key and value registers `load` fills; a call that was BUSY is repeated with them. */
  private operate(load: () => void, run: () => number): number {
    const again = () => {
      load();
      return run();
    };
    return this.attachment.settle(again(), again);
  }

  /** floor, ceiling and the like; bytes of the payload, 0 if there is no such entry. */
  private neighbour(op: number, address: number): number {
    const { memory, payload, attachment } = this;
    const { core, values } = attachment;
    const block = core.blockAddress();
    const status = this.operate(
      () => memory.copyWithin(block + BLOCK_KEY, address + OPERATION_KEY, address + OPERATION_KEY + 8),
      () => core.neighbour(op),
    );
    if (status !== STATUS_TRUE) return 0;
    payload.set(memory.subarray(block + BLOCK_KEY, block + BLOCK_KEY + 8), 0);
    payload.set(memory.subarray(block + BLOCK_VALUE, block + BLOCK_VALUE + values.stride), 8);
    return 8 + values.stride;
  }

  private range(address: number): number {
    const { memory, words, payload, attachment } = this;
    const { core, values, keySize } = attachment;
    const block = core.blockAddress();
    const flags = memory[address + OPERATION_FLAGS] & ~OPERATION_RESENT;
    const limit = words[(address + RANGE_LIMIT) >> 2];
    this.operate(
      () => {
        memory.copyWithin(block + BLOCK_KEY, address + OPERATION_KEY, address + OPERATION_KEY + 8);
        memory.copyWithin(block + BLOCK_KEY2, address + RANGE_UPPER, address + RANGE_UPPER + 8);
      },
      () => core.scan(flags, limit),
    );
    const { count } = attachment;
    const head = new Uint32Array(payload.buffer, 0, 2);
    head[0] = count;
    head[1] = attachment.more ? 1 : 0;
    const keys = (attachment.scanKeys as FixedKeys).raw;
    payload.set(new Uint8Array(keys.buffer, keys.byteOffset, count * keySize), 8);
    const valuesAt = 8 + ((count * keySize + 7) & ~7);
    const { raw } = attachment.scanValues;
    payload.set(new Uint8Array(raw.buffer, raw.byteOffset, count * values.stride), valuesAt);
    return valuesAt + count * values.stride;
  }

  /** Entries of a range, scan by scan: nobody writes meanwhile, so together they are one state. */
  private countRange(address: number): number {
    const { memory, words, attachment } = this;
    const { core } = attachment;
    const block = core.blockAddress();
    let flags =
      memory[address + OPERATION_FLAGS] &
      (SCAN_HAS_LOWER | SCAN_LOWER_EXCLUSIVE | SCAN_HAS_UPPER | SCAN_UPPER_EXCLUSIVE);
    let left = words[(address + RANGE_LIMIT) >> 2] >>> 0;
    let count = 0;
    let lower = memory.slice(address + OPERATION_KEY, address + OPERATION_KEY + 8);
    while (left > 0) {
      const limit = Math.min(left, attachment.scanCapacity);
      this.operate(
        () => {
          memory.set(lower, block + BLOCK_KEY);
          memory.copyWithin(block + BLOCK_KEY2, address + RANGE_UPPER, address + RANGE_UPPER + 8);
        },
        () => core.scan(flags, limit),
      );
      count += attachment.count;
      left -= attachment.count;
      if (!attachment.more || attachment.count === 0) break;
      const { keySize } = attachment;
      const { raw: scanKeys } = attachment.scanKeys as FixedKeys;
      lower = new Uint8Array(8);
      lower.set(new Uint8Array(scanKeys.buffer, scanKeys.byteOffset + (attachment.count - 1) * keySize, keySize));
      flags |= SCAN_HAS_LOWER | SCAN_LOWER_EXCLUSIVE;
    }
    return count;
  }

  /** Puts the key that stands in stored order at `address` into the key register. */
  private loadKey(address: number): void {
    const { words, attachment } = this;
    attachment.key.set(0, this.order.restore(words[address >> 2] >>> 0, words[(address >> 2) + 1] >>> 0));
  }

  /** A found flag for each key, padded to 8 bytes, then a value for each. */
  private getAll(address: number): number {
    const { memory, words, payload, attachment } = this;
    const { core, values } = attachment;
    const block = core.blockAddress();
    const count = words[(address + MANY_COUNT) >> 2];
    const room = (values.stride + 7) & ~7;
    const valuesAt = (count + 7) & ~7;
    payload.fill(0, 0, valuesAt + count * room);
    for (let i = 0; i < count; i++) {
      const key = address + MANY_KEYS + i * 8;
      const status = this.operate(
        () => this.loadKey(key),
        () => core.get(),
      );
      payload[i] = status;
      if (status !== STATUS_TRUE) continue;
      payload.set(memory.subarray(block + BLOCK_VALUE, block + BLOCK_VALUE + values.stride), valuesAt + i * room);
    }
    return valuesAt + count * room;
  }

  /** Writes all entries; the number of keys that were new. */
  private putAll(address: number): number {
    const { memory, words, attachment } = this;
    const { core, values, keySize } = attachment;
    const block = core.blockAddress();
    const count = words[(address + MANY_COUNT) >> 2];
    const room = (values.stride + 7) & ~7;
    const valuesAt = address + MANY_KEYS + count * 8;
    let added = 0;
    for (let i = 0; i < count; i++) {
      const key = address + MANY_KEYS + i * 8;
      const value = valuesAt + i * room;
      added += this.operate(
        () => {
          this.loadKey(key);
          memory.copyWithin(block + BLOCK_VALUE, value, value + values.stride);
        },
        () => core.put(),
      );
    }
    if (this.isWatched(address) && count > 0) {
      const changed = Array.from({ length: count }, (_, i) => {
        const key = address + MANY_KEYS + i * 8;
        const value = valuesAt + i * room;
        return { key: memory.subarray(key, key + keySize), bytes: memory.subarray(value, value + values.stride) };
      });
      this.changes.publishMany(memory, words, address, changed);
    }
    return added;
  }

  /** Makes this replica's digest and count at this position of the order known, under a tag if one is given. */
  private leaveDigest(at: number, tag: number | undefined): number {
    const { attachment, payload } = this;
    const digest = treeDigest(attachment);
    const count = treeSize(attachment);
    new BigUint64Array(payload.buffer, 0, 1)[0] = digest;
    new Float64Array(payload.buffer, 8, 1)[0] = count;
    if (tag === undefined) return 16;
    const { words } = this.streams;
    const base = (this.streams.executor(this.replica, 0) + at) >> 2;
    words[base + 1] = Number(digest & 0xffffffffn) | 0;
    words[base + 2] = Number(digest >> 32n) | 0;
    words[base + 3] = count;
    Atomics.store(words, base, tag);
    return 16;
  }
}

/** Bytes in the replica's memory for a thread's own use. @throws ERR_MEMORY_EXHAUSTED */
export function allocate(attachment: Attachment, bytes: number): number {
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
