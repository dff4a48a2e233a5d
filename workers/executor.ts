/**
 * One executor of a model with groups: it reads the rings of its groups, applies their commands to its replica's tree in
 * batches, and, if its replica is home, answers. It returns only when the store closes or its replica is lost.
 */
import { pauseBefore } from '../engine/backoff.ts';
import {
  DEFERRAL_BYTES,
  DEFERRAL_COUNT,
  DEFERRAL_DEFERRED,
  DEFERRAL_REFUSED,
  OP_MARKER,
  OP_RETRY,
  OP_TAKEOVER,
  OPERATION_CODE,
  OPERATION_GROUPS,
  OPERATION_KEY,
  OPERATION_NUMBER,
  OPERATION_SLOTS,
  SLOT,
} from '../layout/operation.ts';
import {
  COUNTER_BATCHES,
  COUNTER_DEFERRED,
  COUNTER_PARKS,
  COUNTER_REFUSED,
  COUNTER_RETRIED,
  COUNTER_SYNC_POINTS,
  EXECUTOR_AREA,
  EXECUTOR_SIGNAL,
} from '../layout/streams.ts';
import { WATCH_TAG_RINGS } from '../layout/watch.ts';
import { Applier, allocate } from './applier.ts';
import { Barrier } from './barrier.ts';
import { defers, type ExecutionModel, type ModelThread, type ThreadParts } from './models/model.ts';
import { Multicast } from './multicast.ts';
import { DirectReplies, REPLY_RUNS, replyArea, replyRoom } from './replies.ts';
import { RingReader } from './ring.ts';
import { Signals } from './signals.ts';
import type { Streams } from './streams.ts';
import type { WaitStrategy } from './waiting.ts';

/** What stands in the multicast lock while an executor holds it: above all clients. */
export const HOLDER_BASE = 1 << 16;

/** Milliseconds after which watchers are told how far an executor has got, also within a piece of the stream. */
const NOTED_EVERY = 1;

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
  /** Where the records end that no other executor takes part in; looked for anew once `at` is there. */
  ownEnd: number;
  /** Multicast number of the command this stream stands at; 0 if it does not stand. */
  standing: number;
  /** Whether there were watchers when the copy was made. */
  watched: boolean;
}

/** The loop of one executor. */
export class Executor implements ModelThread {
  private readonly streams: Streams;
  private readonly words: Int32Array;
  private readonly model: ExecutionModel;
  private readonly replica: number;
  private readonly executor: number;
  private readonly wait: WaitStrategy;
  private readonly signals: Signals;
  private readonly applier: Applier;
  private readonly own: readonly Stream[];
  private readonly barrier: Barrier;
  private readonly multicast: Multicast;
  /** By executor: a sync point's leader answers for the others too. */
  private readonly replies: readonly DirectReplies[];
  private readonly allGroups: number;
  private readonly deferral: number;
  private readonly deferralWords: Uint32Array;
  private readonly deferralCounts: BigUint64Array;
  private readonly retryRecord: Uint8Array;
  private readonly retryWords: Int32Array;
  /** True from the publication of this executor's retry until its deferral list is empty again. */
  private retryUnderWay = false;
  /** When this executor said last how far it has got. */
  private notedAt = 0;

  constructor(parts: ThreadParts) {
    const { streams, attachment, replica, thread: executor } = parts;
    const { core } = attachment;
    this.streams = streams;
    this.words = streams.words;
    this.model = parts.model;
    this.replica = replica;
    this.executor = executor;
    this.wait = parts.wait;
    const { groups, executors, ringSlots } = streams.shape;
    this.multicast = new Multicast(streams, HOLDER_BASE + replica * executors + executor);
    const { maxRun } = this.multicast.rings[0];
    const mine = Array.from({ length: groups }, (_, group) => group).filter((g) => streams.executorOf(g) === executor);
    const stages = mine.map(() => allocate(attachment, maxRun * SLOT));
    const room = allocate(attachment, replyRoom(streams));
    // What a stream holds between two sync points is at most a ring; what an executor holds back comes from its streams.
    const deferred = defers(parts.model) ? 2 * ringSlots * mine.length : 1;
    this.deferral = allocate(attachment, core.deferralSize(deferred));
    core.deferralInit(this.deferral, deferred);
    // Views last: the allocations above may have grown the memory.
    this.applier = new Applier(streams, attachment, replica, executor, parts.calls);
    const { memory } = this.applier;
    const { buffer } = memory;
    this.own = mine.map((group, i) => ({
      group,
      reader: new RingReader(streams, group, replica),
      stage: stages[i],
      bytes: new Uint8Array(buffer, stages[i], maxRun * SLOT),
      words: new Int32Array(buffer, stages[i], (maxRun * SLOT) / 4),
      at: 0,
      end: 0,
      ownEnd: 0,
      standing: 0,
      watched: false,
    }));
    const area = replyArea(streams);
    core.setReplyArea(room, area, room + area, REPLY_RUNS);
    this.replies = Array.from(
      { length: executors },
      (_, e) => new DirectReplies(streams, core, memory, room, replica, e),
    );
    this.deferralWords = new Uint32Array(buffer, this.deferral, 16);
    this.deferralCounts = new BigUint64Array(buffer, this.deferral, 4);
    this.signals = new Signals(streams, replica, executor, parts.wait);
    this.barrier = new Barrier(streams, replica, executor, this.signals);
    this.allGroups = groups === 32 ? -1 : (1 << groups) - 1;
    this.retryRecord = new Uint8Array(SLOT);
    this.retryWords = new Int32Array(this.retryRecord.buffer);
    this.retryRecord[OPERATION_CODE] = OP_RETRY;
    this.retryRecord[OPERATION_SLOTS] = 1;
    this.retryWords[OPERATION_GROUPS >> 2] = this.allGroups;
    this.retryWords[OPERATION_KEY >> 2] = mine[0];
    Atomics.store(this.words, (streams.executor(replica, executor) + EXECUTOR_AREA) >> 2, this.deferral);
  }

  get readers(): readonly RingReader[] {
    return this.own.map(({ reader }) => reader);
  }

  /** Executes until the store closes or the replica is lost. Throws what makes this replica unable to go on. */
  run(): void {
    this.applier.renew();
    for (let looks = 0; this.signals.going; ) {
      this.signals.beat();
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
    if (empty && this.signals.going) {
      this.applier.counters[COUNTER_PARKS]++;
      this.signals.park(true);
      Atomics.wait(words, signal, ticket);
      this.signals.park(false);
    }
    for (const { reader } of own) reader.awake();
  }

  /** Does the next piece of one stream; false if there is nothing to do. */
  private step(stream: Stream): boolean {
    if (stream.standing !== 0) return false;
    if (stream.at === stream.end) {
      if (this.holdsBack(stream)) return false;
      const { reader } = stream;
      const slots = reader.poll(stream.bytes.length / SLOT);
      if (slots === 0) return false;
      // From here on the ring's slots may be used again: this copy is the replica's own.
      const { position } = reader;
      reader.copyTo(stream.bytes, 0, slots);
      reader.advance(slots);
      stream.watched = this.applier.changes.stamp(stream.words, 0, slots, position, stream.group);
      stream.at = 0;
      stream.end = slots;
      stream.ownEnd = 0;
      this.applier.counters[COUNTER_BATCHES]++;
    }
    this.applyStage(stream);
    if (stream.watched) this.noteProgress(stream);
    return true;
  }

  /**
   * Whether to take nothing new because half a ring is deferred and no retry could be appended yet. That bounds the
   * deferral list: half a ring now, a quarter in the copy at hand, and at most a ring up to the marker, once it is
   * appended (with watchers also because the stream has gone on too far behind what is deferred: see WATCH_TAG_RINGS). It
   * will be: no marker is on its way to this executor, so in its own rings the slots kept for markers are
   * free; and whoever is slow in another ring does not wait for this executor, which has passed every marker there is.
   */
  private holdsBack(stream: Stream): boolean {
    const { ringSlots } = this.streams.shape;
    const bytes = this.deferralWords[DEFERRAL_BYTES >> 2];
    const far =
      stream.watched &&
      bytes > 0 &&
      this.applier.changes.distance(stream.group, stream.reader.position) > ringSlots * (WATCH_TAG_RINGS / 2);
    return (far || bytes >= (ringSlots * SLOT) >> 1) && this.wantsRetry();
  }

  /** Says how far this executor has got, unless it has deferred something. */
  private noteProgress(stream: Stream): void {
    if (this.deferralWords[DEFERRAL_COUNT >> 2] !== 0) return;
    const { reader, end, at, group } = stream;
    this.notedAt = performance.now();
    this.applier.changes.reached(group, (reader.position - (end - at)) | 0);
  }

  /** Applies the copied records up to the first one that has to wait. */
  private applyStage(stream: Stream): void {
    const { applier, deferral } = this;
    const flags = this.model.parallelFlags | applier.replying;
    const replies = this.replies[this.executor];
    while (stream.at < stream.end) {
      stream.at += applier.apply(stream.stage + stream.at * SLOT, stream.end - stream.at, flags, deferral, replies);
      if (stream.at < stream.end && !this.other(stream)) break;
    }
    this.noteDeferrals();
  }

  /** Deals with the record at the head that is not an operation on one key in one group. False if it has to wait. */
  private other(stream: Stream): boolean {
    const record = stream.at * SLOT;
    if (stream.words[(record + OPERATION_GROUPS) >> 2] === 0) {
      // There is one group only, so one executor: it stands alone here, and what it deferred comes first, for this command
      // depends on every key.
      const replies = this.replies[this.executor];
      this.applier.runDeferrals(this.deferral, replies);
      stream.at += this.applier.alone(stream.stage + record, this.ownSlots(stream), this.deferral, replies);
      // Those behind it may take long, and watchers are told of it by then.
      if (stream.watched && performance.now() - this.notedAt >= NOTED_EVERY) this.noteProgress(stream);
      return true;
    }
    stream.standing = stream.words[(record + OPERATION_NUMBER) >> 2];
    this.noteDeferrals();
    return this.synchronise(stream);
  }

  private slotsOf(stream: Stream): number {
    return stream.words[(stream.at * SLOT) >> 2] >>> 16;
  }

  /** Slots up to the next record that other executors take part in. */
  private ownSlots(stream: Stream): number {
    const { words, at, end } = stream;
    if (stream.ownEnd <= at) {
      let slot = at;
      while (slot < end && words[(slot * SLOT + OPERATION_GROUPS) >> 2] === 0) slot += words[(slot * SLOT) >> 2] >>> 16;
      stream.ownEnd = slot;
    }
    return stream.ownEnd - at;
  }

  /**
   * Once all of this executor's streams that the command went to stand at it: goes through the sync point, and lets the
   * streams go on.
   */
  private synchronise(stream: Stream): boolean {
    const { own, streams, applier, replies } = this;
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
      if (op < OP_TAKEOVER) applier.counters[COUNTER_SYNC_POINTS]++;
      applier.runDeferrals(this.deferral, replies[this.executor]);
      for (const e of others) {
        // Into the rings of the executor whose commands they are: it stands here, so this thread may write for it.
        const list = this.words[(streams.executor(this.replica, e) + EXECUTOR_AREA) >> 2];
        applier.runDeferrals(list, replies[e]);
      }
      if (op !== OP_RETRY) {
        const payload = own.find(({ group }) => group === at) as Stream;
        applier.alone(payload.stage + payload.at * SLOT, this.slotsOf(payload), this.deferral, replies[this.executor]);
      }
      this.barrier.release(number, others);
    } else if (!this.barrier.standBy(number, leader)) {
      return false;
    }
    // A retry goes to all groups. What went to fewer has emptied the list too, but the retry is still on its way.
    if (groups === this.allGroups) this.retryUnderWay = false;
    for (const each of own) {
      if (each.standing === number) {
        each.at += this.slotsOf(each);
        each.standing = 0;
      }
      if (each.watched) this.noteProgress(each);
    }
    return true;
  }

  private takesPart(executor: number, groups: number): boolean {
    for (let group = executor; group < this.streams.shape.groups; group += this.streams.shape.executors) {
      if ((groups >>> group) & 1) return true;
    }
    return false;
  }

  /** Carries the deferral list's own counts over. */
  private noteDeferrals(): void {
    if (!defers(this.model)) return;
    const { counters } = this.applier;
    counters[COUNTER_REFUSED] = Number(this.deferralCounts[DEFERRAL_REFUSED >> 3]);
    counters[COUNTER_DEFERRED] = Number(this.deferralCounts[DEFERRAL_DEFERRED >> 3]);
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
    this.applier.counters[COUNTER_RETRIED]++;
  }
}
