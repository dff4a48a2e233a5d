/**
 * Execute, then verify (Eve; the survey's section on it). Commands are cut into batches, the same in every replica. A
 * mixer guesses which commands of a batch are independent and makes parts of them; the executors carry a part out all at
 * once and in no order. Then the replicas compare what came out: a digest of the content and one of all answers. If they
 * agree, the answers go out; if not, every replica writes back what stood there before the batch (see
 * engine/core/undo.ts) and executes it in the order of the stream, which no guess can spoil.
 *
 * A guess that looks at the keys is right, so what a direct read sees of a batch under way stays. After a wrong one it may be
 * undone; and several replicas may agree on an order that is not the stream's: still linearizable, since all commands of a
 * batch are concurrent, but not always in the order in which one client gave its commands on one key.
 *
 * A single replica has nobody to compare with, so it watches for conflicts instead: two threads on one key in one part,
 * one of them writing.
 *
 * Thread 0 of each replica is the primary: it reads the stream, mixes, verifies and answers, and executes its share.
 * Where the stream is cut the home replica decides, for it depends on how much is there; the others follow.
 */
import { Patience } from '../../engine/attachment.ts';
import { SabtreeError } from '../../engine/errors.ts';
import {
  APPLY_REPLY,
  APPLY_UNDO,
  APPLY_UNDO_READS,
  OP_CUT,
  OP_HAS,
  OP_LAST_POINT,
  OP_SKIP,
  OPERATION_KEY,
  OPERATION_RESENT,
  OPERATION_VALUE,
  REPLY_PAYLOAD,
  REPLY_RUN_SIZE,
  SLOT,
  STATUS_BUSY,
  STATUS_TRUE,
  UNDO_CONFLICT,
} from '../../layout/operation.ts';
import {
  COUNTER_BATCHES,
  COUNTER_COMMANDS,
  COUNTER_PARKS,
  COUNTER_RETRIED,
  COUNTER_SYNC_POINTS,
  CUT_TAKEN,
  CUT_TOKEN,
  EXECUTOR_AREA,
  STREAMS_CUTTER,
  TOKEN_ANSWERS,
  TOKEN_NUMBER,
  TOKEN_SIZE,
  TOKEN_STATE,
  VERIFY_CUTS,
  VERIFY_MADE,
  VERIFY_PLACES,
  VERIFY_TAKEN,
  VERIFY_TOKENS,
} from '../../layout/streams.ts';
import { Applier, allocate } from '../applier.ts';
import { appendRuns, type ReplySink, ReplyWriter, replyArea, writeReply } from '../replies.ts';
import { RingReader } from '../ring.ts';
import { Signals } from '../signals.ts';
import type { ExecutionModel, ModelThread, ThreadParts } from './model.ts';

/** Most commands of a batch. */
const BATCH = 256;
/** A part of no more commands than this is not worth sharing out. */
const SMALL = 12;
/** Entries of the undo table. */
const UNDO = 4 * BATCH;

export const executeVerify: ExecutionModel = {
  name: 'execute-verify',
  title: 'Eve: batches executed without order, compared between replicas, repeated in order where they differ',
  replicated: true,
  oneStream: true,
  oneExecutor: false,
  toAllGroups: () => false,
  parallelFlags: 0,
  threads: (executors) => executors,
  thread: (parts) => (parts.thread === 0 ? new Primary(parts) : new Helper(parts)),
};

/**
 * What a thread shares with the primary: the last job it has done, runs of replies in its table, digest of these
 * replies; for a helper also its next job. Behind it the table and the replies.
 */
const DONE = 0;
const RUNS = 4;
const ANSWERS = 8;
const JOB = 64;
const JOB_BATCH = 68;
const JOB_PART = 72;
const JOB_FLAGS = 76;
const JOB_TABLE = 80;
const JOB_ADDRESS = 84;
const JOB_SLOTS = 88;
/** Address and bytes of the changes that its share of a part has made, for the primary to publish. */
const CHANGES = 92;
const CHANGES_BYTES = 96;
const TABLE = 128;
const REPLIES = TABLE + BATCH * REPLY_RUN_SIZE;

/** Bytes for the replies of a whole batch, or of one large answer. */
function replyBytes({ attachment, streams }: ThreadParts): number {
  return Math.max(replyArea(streams), BATCH * (REPLY_PAYLOAD + ((attachment.values.stride + 7) & ~7)));
}

/** Keeps replies where they are until they are known to be right. */
const KEEP: ReplySink = {
  answers: true,
  flush() {},
  reply() {
    throw new Error('commands on several keys are not executed in parts');
  },
};

/** One thread's area, its replies, and what it does with a share of a part. */
class Share {
  readonly area: number;
  readonly applier: Applier;
  private readonly parts: ThreadParts;
  private batch = 0;

  constructor(parts: ThreadParts) {
    this.parts = parts;
    const { attachment, streams, replica, thread } = parts;
    const bytes = replyBytes(parts);
    this.area = allocate(attachment, REPLIES + bytes);
    this.applier = new Applier(streams, attachment, replica, thread, parts.calls);
    this.applier.counting = false;
    attachment.core.setReplyArea(this.area + REPLIES, bytes, this.area + TABLE, BATCH);
    Atomics.store(streams.words, (streams.executor(replica, thread) + EXECUTOR_AREA) >> 2, this.area);
  }

  /** Executes records of a part of a batch; the replies stay in the area. */
  execute(table: number, batch: number, part: number, flags: number, address: number, slots: number): void {
    const { core } = this.parts.attachment;
    if (batch !== this.batch) core.clearReplies();
    this.batch = batch;
    const { changes } = this.applier;
    changes.look();
    // The primary has taken those of the part before, or the batch was undone.
    changes.clear();
    core.undoBegin(table, batch, this.parts.thread, part);
    const done = this.applier.apply(address, slots, flags, 0, KEEP);
    if (done !== slots) throw new SabtreeError('ERR_CORRUPT', 'a part of a batch holds a command on several keys');
  }

  /** Tells the primary which changes the part has made. */
  accountChanges(): void {
    const { words, changes } = this.applier;
    words[(this.area + CHANGES) >> 2] = changes.list;
    words[(this.area + CHANGES_BYTES) >> 2] = changes.pending;
  }

  /** Tells the primary what the batch has come to so far. */
  account(): void {
    const { core } = this.parts.attachment;
    const { words } = this.applier;
    words[(this.area + RUNS) >> 2] = core.replyRuns();
    const digest = core.replyDigest();
    words[(this.area + ANSWERS) >> 2] = Number(BigInt.asIntN(32, digest));
    words[(this.area + ANSWERS + 4) >> 2] = Number(BigInt.asIntN(32, digest >> 32n));
  }
}

/** Executes shares that the primary gives it. */
class Helper implements ModelThread {
  readonly readers = [];
  private readonly signals: Signals;
  private readonly share: Share;

  constructor(parts: ThreadParts) {
    this.signals = new Signals(parts.streams, parts.replica, parts.thread, parts.wait);
    this.share = new Share(parts);
  }

  run(): void {
    const { signals, share } = this;
    const { applier, area } = share;
    applier.renew();
    const { words } = applier;
    const at = (offset: number) => words[(area + offset) >> 2];
    let job = 0;
    while (signals.until(() => Atomics.load(words, (area + JOB) >> 2) !== job)) {
      job = Atomics.load(words, (area + JOB) >> 2);
      share.execute(at(JOB_TABLE), at(JOB_BATCH), at(JOB_PART), at(JOB_FLAGS), at(JOB_ADDRESS), at(JOB_SLOTS));
      share.account();
      share.accountChanges();
      Atomics.store(words, (area + DONE) >> 2, job);
      signals.wake(0);
      applier.counters[COUNTER_BATCHES]++;
      applier.counters[COUNTER_PARKS] = signals.parks;
    }
  }
}

/** Executed alone, in the order of the stream: replies go straight out. */
class OrderedReplies implements ReplySink {
  private readonly applier: Applier;
  private readonly area: number;
  private readonly table: Uint32Array;
  private readonly writer: ReplyWriter;

  constructor(applier: Applier, area: number, writer: ReplyWriter) {
    this.applier = applier;
    this.area = area;
    this.table = new Uint32Array(applier.memory.buffer, area + TABLE, (BATCH * REPLY_RUN_SIZE) / 4);
    this.writer = writer;
  }

  get answers(): boolean {
    return this.applier.home;
  }

  flush(): void {
    const { core } = this.applier.attachment;
    appendRuns(this.writer, this.applier.memory, this.table, core.replyRuns());
    core.clearReplies();
  }

  reply(client: number, sequence: number, status: number, payload: Uint8Array): void {
    writeReply(this.applier, this.area + REPLIES, this.area + TABLE, client, sequence, status, payload);
    appendRuns(this.writer, this.applier.memory, this.table, 1);
  }
}

/** A command of the batch at hand. */
interface Item {
  /** Byte address of its record. */
  address: number;
  slots: number;
}

/** Reads the stream, mixes, executes its share, verifies, answers. */
class Primary implements ModelThread {
  readonly readers: readonly RingReader[];
  private readonly parts: ThreadParts;
  private readonly signals: Signals;
  private readonly share: Share;
  private readonly reader: RingReader;
  private readonly maxRun: number;
  /** Runs taken out of the ring: two of the longest fit. */
  private readonly stage: number;
  /** The batch at hand, part by part. */
  private readonly mixed: number;
  private readonly undo: number;
  private at = 0;
  private end = 0;
  /** Stream position of the stage's first slot that is not done. */
  private position = 0;
  /** By replica, which building of it takes part in the verification, at this place of the stream. */
  private readonly members: Int32Array;
  private taken = 0;
  private batch = 0;
  /** Number of the next token, the same in all replicas: only batches that are verified count. */
  private token = 0;
  private job = 0;
  private helpers: readonly { readonly thread: number; readonly area: number; readonly writer: ReplyWriter }[] = [];
  private ordered: OrderedReplies | undefined;
  /** Whether there were watchers when the stage was filled last; the changes of the batch at hand. */
  private watched = false;
  private changed = new Uint8Array(0);
  private changedBytes = 0;

  constructor(parts: ThreadParts) {
    const { streams, replica, thread, attachment } = parts;
    const { core } = attachment;
    this.parts = parts;
    this.signals = new Signals(streams, replica, thread, parts.wait);
    this.reader = new RingReader(streams, 0, replica);
    this.readers = [this.reader];
    this.members = new Int32Array(streams.shape.replicas);
    this.maxRun = streams.maxRun;
    this.stage = allocate(attachment, 2 * this.maxRun * SLOT);
    this.mixed = allocate(attachment, 2 * this.maxRun * SLOT);
    this.undo = allocate(attachment, core.undoSize(UNDO));
    core.undoInit(this.undo, UNDO);
    this.share = new Share(parts);
  }

  run(): void {
    const { parts, share, signals } = this;
    const { streams, replica } = parts;
    const { applier } = share;
    applier.renew();
    this.begin();
    this.ordered = new OrderedReplies(applier, share.area, new ReplyWriter(streams, 0));
    this.helpers = Array.from({ length: streams.shape.executors - 1 }, (_, i) => ({
      thread: i + 1,
      area: Atomics.load(streams.words, (streams.executor(replica, i + 1) + EXECUTOR_AREA) >> 2),
      writer: new ReplyWriter(streams, i + 1),
    }));
    for (;;) {
      const slots = this.nextCut();
      if (slots === 0) return;
      const items = this.itemsOf(slots);
      applier.counters[COUNTER_BATCHES]++;
      if (items.length < 2 || !this.speculate(items)) {
        if (!signals.going) return;
        for (const { address, slots: length } of items) this.inOrder(address, length);
      }
      this.at += slots;
      this.position = (this.position + slots) | 0;
      if (this.watched) applier.changes.reached(0, this.position);
      applier.counters[COUNTER_PARKS] = signals.parks;
    }
  }

  /** Where the stream begins for this replica: at its start, or behind the cut from which it was rebuilt. */
  private begin(): void {
    const { streams, replica, rebuild } = this.parts;
    const { words, verifyAt } = streams;
    this.position = this.reader.position | 0;
    for (let other = 0; other < this.members.length; other++) this.members[other] = streams.generation(other);
    if (rebuild === undefined) return;
    this.taken = words[CUT_TAKEN >> 2];
    this.token = words[CUT_TOKEN >> 2];
    Atomics.store(words, (verifyAt + VERIFY_TAKEN + replica * 64) >> 2, this.taken);
  }

  // --- batches ------------------------------------------------------------------------------------------------------

  /** Slots of the next batch, which then stand in the stage; 0 if the store is closing. */
  private nextCut(): number {
    const { parts, signals, reader } = this;
    const { streams, replica } = parts;
    const { words, verifyAt } = streams;
    const made = (verifyAt + VERIFY_MADE) >> 2;
    const cutWord = (n: number) => ((verifyAt + VERIFY_CUTS) >> 2) + (n & (VERIFY_PLACES - 1));
    const following = () => Atomics.load(words, made) !== this.taken;
    let slots = 0;
    for (;;) {
      if (following()) {
        const cut = Atomics.load(words, cutWord(this.taken));
        slots = (cut - this.position) | 0;
        if (!signals.until(() => this.fill(slots), [reader])) return 0;
        break;
      }
      const cutting = () => Atomics.load(words, STREAMS_CUTTER >> 2) === replica;
      if (!signals.until(() => following() || (cutting() && this.fill(1)), [reader])) return 0;
      if (following()) continue;
      slots = this.chooseCut();
      const room = () => this.slowest() < VERIFY_PLACES;
      if (!signals.until(room)) return 0;
      Atomics.store(words, cutWord(this.taken), (this.position + slots) | 0);
      Atomics.store(words, made, (this.taken + 1) | 0);
      for (let other = 0; other < streams.shape.replicas; other++) if (other !== replica) signals.wake(0, other);
      break;
    }
    this.taken = (this.taken + 1) | 0;
    Atomics.store(words, (verifyAt + VERIFY_TAKEN + replica * 64) >> 2, this.taken);
    for (let other = 0; other < streams.shape.replicas; other++) if (other !== replica) signals.wake(0, other);
    return slots;
  }

  /** By how many cuts the slowest living replica is behind. */
  private slowest(): number {
    const { words, verifyAt, alive, shape } = this.parts.streams;
    let most = 0;
    for (let replica = 0; replica < shape.replicas; replica++) {
      if (((alive >>> replica) & 1) === 0) continue;
      most = Math.max(most, (this.taken - Atomics.load(words, (verifyAt + VERIFY_TAKEN + replica * 64) >> 2)) | 0);
    }
    return most;
  }

  /** Takes runs out of the ring until `slots` stand in the stage; false if they are not there yet. */
  private fill(slots: number): boolean {
    const { reader, stage, maxRun } = this;
    const { memory } = this.share.applier;
    while (this.end - this.at < slots) {
      const found = reader.poll(maxRun);
      if (found === 0) return false;
      if (this.at > 0) {
        memory.copyWithin(stage, stage + this.at * SLOT, stage + this.end * SLOT);
        this.end -= this.at;
        this.at = 0;
      }
      const { position } = reader;
      const { changes, words } = this.share.applier;
      reader.copyTo(memory, stage + this.end * SLOT, found);
      reader.advance(found);
      this.watched = changes.stamp(words, stage + this.end * SLOT, found, position, 0);
      this.end += found;
    }
    return true;
  }

  /** How much of the stage makes the next batch: a command on several keys is one by itself. */
  private chooseCut(): number {
    const { words } = this.share.applier;
    let slots = 0;
    for (let n = 0; n < BATCH && this.at + slots < this.end; n++) {
      const word = words[(this.stage + (this.at + slots) * SLOT) >> 2];
      const op = word & 0xff;
      const single = (op <= OP_LAST_POINT && ((word >>> 8) & OPERATION_RESENT) === 0) || op === OP_SKIP;
      if (!single && slots > 0) break;
      slots += word >>> 16;
      if (!single) break;
    }
    return slots;
  }

  private itemsOf(slots: number): Item[] {
    const { words } = this.share.applier;
    const items: Item[] = [];
    for (let at = 0; at < slots; ) {
      const address = this.stage + (this.at + at) * SLOT;
      const length = words[address >> 2] >>> 16;
      if ((words[address >> 2] & 0xff) !== OP_SKIP) items.push({ address, slots: length });
      at += length;
    }
    return items;
  }

  /** Executes one command in its place of the stream, and answers. */
  private inOrder(address: number, slots: number): void {
    const { applier } = this.share;
    const { words } = applier;
    if ((words[address >> 2] & 0xff) === OP_CUT) {
      // The replica that is rebuilt takes part from here on; should it be copied from this one, it finds where we are.
      this.members[words[(address + OPERATION_VALUE) >> 2]] = words[(address + OPERATION_VALUE + 4) >> 2];
      if (words[(address + OPERATION_KEY) >> 2] === this.parts.replica) {
        this.parts.streams.words[CUT_TAKEN >> 2] = this.taken;
        this.parts.streams.words[CUT_TOKEN >> 2] = this.token;
      }
    }
    const { core } = this.parts.attachment;
    const sink = this.ordered as OrderedReplies;
    core.clearReplies();
    applier.changes.clear();
    applier.counting = true;
    applier.alone(address, slots, 0, sink);
    applier.counting = false;
  }

  // --- speculation --------------------------------------------------------------------------------------------------

  /** Makes parts of commands that are probably independent; each command comes after those that it depends on. */
  private mix(items: readonly Item[]): Item[][] {
    if (this.parts.mixer === 'blind') return [[...items]];
    const { words } = this.share.applier;
    /** For each key, the part behind its last read and the one behind its last write. */
    const behind = new Map<number, [read: number, write: number]>();
    const parts: Item[][] = [];
    for (const item of items) {
      const op = words[item.address >> 2] & 0xff;
      const low = words[(item.address + OPERATION_KEY) >> 2];
      const high = words[(item.address + OPERATION_KEY + 4) >> 2];
      // Wide keys that round to the same number count as one: only a guess is at stake, and this one errs to be safe.
      const key = high === 0 ? low : high * 4294967296 + (low >>> 0);
      const last = behind.get(key);
      let part = 0;
      if (last === undefined) behind.set(key, op <= OP_HAS ? [1, 0] : [1, 1]);
      else if (op <= OP_HAS) {
        part = last[1];
        last[0] = Math.max(last[0], part + 1);
      } else {
        part = Math.max(last[0], last[1]);
        last[0] = part + 1;
        last[1] = part + 1;
      }
      parts[part] ??= [];
      parts[part].push(item);
    }
    return parts;
  }

  /** Executes a batch without order and verifies it. False: nothing of it was done, and it has to be done in order. */
  private speculate(items: readonly Item[]): boolean {
    const { share, undo, signals } = this;
    const { applier } = share;
    const { words, memory } = applier;
    const { streams } = this.parts;
    const alone = streams.shape.replicas === 1;
    this.batch = this.batch === 0x3fffffff ? 1 : this.batch + 1;
    if (this.batch === 1) this.parts.attachment.core.undoInit(undo, UNDO);
    Atomics.store(words, (undo + UNDO_CONFLICT) >> 2, 0);
    // All replicas need the answers: they are compared.
    const flags = APPLY_REPLY | applier.replying | APPLY_UNDO | (alone ? APPLY_UNDO_READS : 0);
    const used = new Set<number>();
    let address = this.mixed;
    let part = 0;
    this.changedBytes = 0;
    for (const commands of this.mix(items)) {
      const starts = [address];
      for (const { address: from, slots } of commands) {
        memory.copyWithin(address, from, from + slots * SLOT);
        address += slots * SLOT;
        starts.push(address);
      }
      if (!this.executePart(starts, part++, flags, used)) return false;
    }
    share.account();
    if (!this.agree(used)) {
      if (signals.going) this.rollBack();
      return false;
    }
    applier.counters[COUNTER_SYNC_POINTS]++;
    applier.counters[COUNTER_COMMANDS] += items.length;
    if (this.changedBytes > 0) {
      applier.changes.append(this.changed, new Int32Array(this.changed.buffer), this.changedBytes);
    }
    this.answer(used);
    return true;
  }

  /** Shares a part out, does the own share, waits for the others. False if the store is closing. */
  private executePart(starts: readonly number[], part: number, flags: number, used: Set<number>): boolean {
    const { share, undo, batch, signals } = this;
    const { words } = share.applier;
    const commands = starts.length - 1;
    const helpers = commands <= SMALL ? [] : this.helpers;
    const cut = (n: number) => starts[Math.floor((commands * n) / (helpers.length + 1))];
    const job = ++this.job;
    for (const [i, { thread, area }] of helpers.entries()) {
      const at = area >> 2;
      words[at + (JOB_BATCH >> 2)] = batch;
      words[at + (JOB_PART >> 2)] = part;
      words[at + (JOB_FLAGS >> 2)] = flags;
      words[at + (JOB_TABLE >> 2)] = undo;
      words[at + (JOB_ADDRESS >> 2)] = cut(i + 1);
      words[at + (JOB_SLOTS >> 2)] = (cut(i + 2) - cut(i + 1)) / SLOT;
      Atomics.store(words, at + (JOB >> 2), job);
      signals.wake(thread);
      used.add(i);
    }
    share.execute(undo, batch, part, flags, cut(0), (cut(1) - cut(0)) / SLOT);
    for (const { area } of helpers) {
      if (!signals.until(() => Atomics.load(words, (area + DONE) >> 2) === job)) return false;
    }
    if (this.watched) {
      share.accountChanges();
      this.gather(share.area);
      for (const { area } of helpers) this.gather(area);
    }
    return true;
  }

  /** Takes the changes that a thread has made in this part. Parts follow one another, so on each key they come in order. */
  private gather(area: number): void {
    const { words } = this.share.applier;
    const from = words[(area + CHANGES) >> 2];
    const bytes = words[(area + CHANGES_BYTES) >> 2];
    if (bytes === 0) return;
    if (this.changedBytes + bytes > this.changed.length) {
      const larger = new Uint8Array(2 * (this.changedBytes + bytes));
      larger.set(this.changed.subarray(0, this.changedBytes));
      this.changed = larger;
    }
    const { memory } = this.share.applier;
    // A helper may have got its list since the memory was looked at.
    if (from + bytes > memory.length) this.share.applier.renew();
    this.changed.set(this.share.applier.memory.subarray(from, from + bytes), this.changedBytes);
    this.changedBytes += bytes;
  }

  /** Compares what the batch came to. False: it has to be undone, or the store is closing. */
  private agree(used: ReadonlySet<number>): boolean {
    const { parts, share, helpers, signals } = this;
    const { streams, replica, attachment } = parts;
    const { words } = share.applier;
    if (streams.shape.replicas === 1) return Atomics.load(words, (this.undo + UNDO_CONFLICT) >> 2) === 0;
    let answers = digestAt(words, share.area + ANSWERS);
    for (const i of used) answers += digestAt(words, helpers[i].area + ANSWERS);
    const number = ++this.token;
    const shared = streams.words;
    const place = (r: number) =>
      (streams.verifyAt + VERIFY_TOKENS + (r * VERIFY_PLACES + (number & (VERIFY_PLACES - 1))) * TOKEN_SIZE) >> 2;
    const mine = place(replica);
    putDigest(shared, mine + (TOKEN_STATE >> 2), attachment.core.contentDigest());
    putDigest(shared, mine + (TOKEN_ANSWERS >> 2), answers);
    Atomics.store(shared, mine + (TOKEN_NUMBER >> 2), number);
    for (let other = 0; other < streams.shape.replicas; other++) if (other !== replica) signals.wake(0, other);
    let equal = true;
    for (let other = 0; other < streams.shape.replicas; other++) {
      const theirs = place(other);
      const lives = () => ((streams.alive >>> other) & 1) !== 0 && streams.generation(other) === this.members[other];
      const there = () => Atomics.load(shared, theirs + (TOKEN_NUMBER >> 2)) === number;
      if (!signals.until(() => there() || !lives())) return false;
      if (!there()) continue;
      for (let i = TOKEN_STATE >> 2; i < (TOKEN_ANSWERS >> 2) + 2; i++) {
        if (shared[theirs + i] !== shared[mine + i]) equal = false;
      }
    }
    return equal;
  }

  private rollBack(): void {
    const { attachment } = this.parts;
    const { core } = attachment;
    const patience = new Patience(attachment);
    core.undoBegin(this.undo, this.batch, 0, 0);
    for (let status = core.undoRollback(); status !== STATUS_TRUE; status = core.undoRollback()) {
      if (status !== STATUS_BUSY) {
        throw new SabtreeError(
          'ERR_MEMORY_EXHAUSTED',
          `replica ${this.parts.replica} has no memory left to undo a batch`,
        );
      }
      patience.pause();
    }
    this.share.applier.counters[COUNTER_RETRIED]++;
  }

  /** Sends the answers of all threads: the helpers stand still, so this one may write for them. */
  private answer(used: ReadonlySet<number>): void {
    const { applier } = this.share;
    if (!applier.home) {
      this.parts.attachment.core.clearReplies();
      return;
    }
    (this.ordered as OrderedReplies).flush();
    for (const i of used) {
      const { area, writer } = this.helpers[i];
      const table = new Uint32Array(applier.memory.buffer, area + TABLE, (BATCH * REPLY_RUN_SIZE) / 4);
      appendRuns(writer, applier.memory, table, applier.words[(area + RUNS) >> 2]);
    }
  }
}

function digestAt(words: Int32Array, address: number): bigint {
  return BigInt(words[address >> 2] >>> 0) | (BigInt(words[(address >> 2) + 1] >>> 0) << 32n);
}

function putDigest(words: Int32Array, at: number, digest: bigint): void {
  words[at] = Number(BigInt.asIntN(32, digest));
  words[at + 1] = Number(BigInt.asIntN(32, digest >> 32n));
}
