/**
 * Sequential delivery, parallel execution (CBASE; the survey's section on it): the commands come in one total order; a
 * scheduler in each replica keeps those that are not done in a conflict-ordered set, and a pool of workers executes what
 * has no predecessor in it. The scheduler is the only one to touch the set; workers get commands, and show that they are
 * done with them, through a queue each.
 */
import { OP_CALL, SLOT } from '../../layout/operation.ts';
import { COUNTER_BATCHES, COUNTER_PARKS, EXECUTOR_AREA } from '../../layout/streams.ts';
import { WATCH_TAG_RINGS } from '../../layout/watch.ts';
import { Applier, allocate } from '../applier.ts';
import { ConflictOrderedSet } from '../conflict-ordered-set.ts';
import { Handover, handoverSize } from '../handover.ts';
import { DirectReplies, REPLY_RUNS, replyArea, replyRoom } from '../replies.ts';
import { RingReader } from '../ring.ts';
import { Signals } from '../signals.ts';
import type { ExecutionModel, ModelName, ModelThread, ThreadParts } from './model.ts';

/** Most commands in the set: it bounds what a pairwise search costs. */
export const SET_SIZE = 150;

/** Commands that are watched, or may have to be agreed on, and are not known to be done, at most; a power of two. */
const UNDONE = 1024;

/** Slots a worker does before it shows that they are done. */
const WORKER_STEP = 32;

function model(name: ModelName, title: string): ExecutionModel {
  return {
    name,
    title,
    replicated: true,
    oneStream: true,
    oneExecutor: false,
    toAllGroups: () => false,
    parallelFlags: 0,
    threads: (executors) => 1 + executors,
    thread: (parts) => (parts.thread === 0 ? new Scheduler(parts) : new Worker(parts)),
  };
}

export const sdpe = model('sdpe', 'CBASE: one order, a scheduler, a pool of workers; dependencies found by key');
export const sdpePairwise = model(
  'sdpe-pairwise',
  'CBASE as first published: dependencies found by comparing with each pending command',
);

/** Slots of the queue to a worker: room for what the set holds, and for two of the longest runs. */
function queueSlots({ streams }: ThreadParts): number {
  return Math.max(1024, 4 * streams.maxRun);
}

/** Commands in the order of the stream, of which any may be done first. */
class Undone {
  private readonly positions = new Int32Array(UNDONE);
  private readonly done = new Uint8Array(UNDONE);
  /** By id, its place here; -1 for one that was never added. */
  private readonly places = new Int32Array(SET_SIZE).fill(-1);
  private first = 0;
  private last = 0;

  get full(): boolean {
    return this.last - this.first === UNDONE;
  }

  get empty(): boolean {
    return this.last === this.first;
  }

  add(id: number, position: number): void {
    const place = this.last++ & (UNDONE - 1);
    this.positions[place] = position;
    this.done[place] = 0;
    this.places[id] = place;
  }

  remove(id: number): void {
    const place = this.places[id];
    if (place < 0) return;
    this.places[id] = -1;
    this.done[place] = 1;
    while (this.first !== this.last && this.done[this.first & (UNDONE - 1)] === 1) this.first++;
  }

  /** Position of the oldest one; `none` if all are done. */
  oldest(none: number): number {
    return this.empty ? none : this.positions[this.first & (UNDONE - 1)];
  }
}

/** One worker, as the scheduler sees it. */
interface Lane {
  readonly queue: Handover;
  /** Commands given and not yet known to be done, oldest first, and where each ends in the queue. */
  readonly ids: Int32Array;
  readonly ends: Int32Array;
  first: number;
  given: number;
}

/** Takes commands in their order, and gives to workers what has no predecessor. */
class Scheduler implements ModelThread {
  readonly readers: readonly RingReader[];
  private readonly parts: ThreadParts;
  private readonly signals: Signals;
  private readonly reader: RingReader;
  private readonly applier: Applier;
  private readonly set: ConflictOrderedSet;
  /** Copied out of the ring and not yet in the set. */
  private readonly stage: Int32Array;
  private readonly stageBytes: Uint8Array;
  private at = 0;
  private end = 0;
  private lanes: readonly Lane[] = [];
  /** A command that is ready, and found no room in any queue. */
  private held = -1;
  /** Place in the stream of the stage's first record. */
  private position = 0;
  /** Whether there were watchers when the stage was filled. */
  private watched = false;
  private readonly undone = new Undone();

  constructor(parts: ThreadParts) {
    const { streams, replica, thread } = parts;
    this.parts = parts;
    this.signals = new Signals(streams, replica, thread, parts.wait);
    this.reader = new RingReader(streams, 0, replica);
    this.readers = [this.reader];
    this.applier = new Applier(streams, parts.attachment, replica, thread);
    this.set = new ConflictOrderedSet(SET_SIZE, parts.model.name === 'sdpe' ? 'keys' : 'pairwise');
    this.stageBytes = new Uint8Array(streams.maxRun * SLOT);
    this.stage = new Int32Array(this.stageBytes.buffer);
  }

  run(): void {
    const { parts, signals, applier, reader } = this;
    const { streams, replica } = parts;
    applier.renew();
    this.lanes = Array.from({ length: streams.shape.executors - 1 }, (_, i) => {
      const area = Atomics.load(streams.words, (streams.executor(replica, i + 1) + EXECUTOR_AREA) >> 2);
      return {
        queue: new Handover(applier.words, area, queueSlots(parts), signals, i + 1),
        ids: new Int32Array(256),
        ends: new Int32Array(256),
        first: 0,
        given: 0,
      };
    });
    while (signals.until(this.work, [reader])) applier.counters[COUNTER_PARKS] = signals.parks;
  }

  /** Does what there is to do now; false if there was nothing. */
  private readonly work = (): boolean => {
    const { set } = this;
    let worked = this.collect();
    if (this.at === this.end && !set.full) this.refill();
    const { calls } = this.parts.streams.shape;
    while (this.at < this.end && !set.full && !((this.watched || calls) && this.tooFar())) {
      const word = this.stage[(this.at * SLOT) >> 2];
      const slots = word >>> 16;
      const id = set.insert(this.stage, this.at * SLOT, slots);
      if (this.watched || (calls && (word & 0xff) === OP_CALL)) this.undone.add(id, (this.position + this.at) | 0);
      this.at += slots;
      worked = true;
    }
    if (this.dispatch()) worked = true;
    if (this.watched && worked) {
      this.applier.changes.reached(0, this.undone.oldest((this.position + this.at) | 0));
    }
    return worked;
  };

  /**
   * Whether the oldest command that is not done is too far behind for watchers to be told of more, or for what replicas agree on
   * (WATCH_TAG_RINGS, Verdicts.decide).
   */
  private tooFar(): boolean {
    const { undone, applier, parts } = this;
    if (undone.empty || undone.full) return undone.full;
    const { ringSlots, calls } = parts.streams.shape;
    const most = ringSlots * (WATCH_TAG_RINGS / 2);
    const here = (this.position + this.at) | 0;
    if (calls && ((here - undone.oldest(here)) | 0) > most) return true;
    return this.watched && applier.changes.distance(0, here) > most;
  }

  /** Takes out of the set what workers have done. */
  private collect(): boolean {
    let some = false;
    for (const lane of this.lanes) {
      if (lane.first === lane.given) continue;
      const { done } = lane.queue;
      while (lane.first !== lane.given && ((done - lane.ends[lane.first & 255]) | 0) >= 0) {
        this.set.remove(lane.ids[lane.first & 255]);
        this.undone.remove(lane.ids[lane.first & 255]);
        lane.first++;
        some = true;
      }
    }
    return some;
  }

  private refill(): void {
    const { reader, stageBytes } = this;
    const slots = reader.poll(stageBytes.length / SLOT);
    if (slots === 0) return;
    this.position = reader.position;
    reader.copyTo(stageBytes, 0, slots);
    reader.advance(slots);
    this.watched = this.applier.changes.stamp(this.stage, 0, slots, this.position, 0);
    this.at = 0;
    this.end = slots;
    this.applier.counters[COUNTER_BATCHES]++;
  }

  /** Gives everything ready to the least busy workers. */
  private dispatch(): boolean {
    const { set, lanes } = this;
    const { words } = this.applier;
    let some = false;
    for (let id = this.held >= 0 ? this.held : set.get(); id >= 0; id = set.get()) {
      let lane = lanes[0];
      for (const other of lanes) if (other.given - other.first < lane.given - lane.first) lane = other;
      const record = set.records[id];
      const slots = record[0] >>> 16;
      const address = lane.queue.reserve(slots);
      if (address < 0) {
        this.held = id;
        break;
      }
      this.held = -1;
      const to = address >> 2;
      for (let i = 0, n = slots << 4; i < n; i++) words[to + i] = record[i];
      lane.queue.wrote(slots);
      lane.ids[lane.given & 255] = id;
      lane.ends[lane.given & 255] = lane.queue.written;
      lane.given++;
      some = true;
    }
    if (some) for (const { queue } of lanes) queue.publish();
    return some;
  }
}

/** Executes what the scheduler gives it. */
class Worker implements ModelThread {
  readonly readers = [];
  private readonly parts: ThreadParts;
  private readonly signals: Signals;
  private readonly applier: Applier;
  private readonly area: number;
  private readonly room: number;

  constructor(parts: ThreadParts) {
    const { streams, replica, thread, attachment } = parts;
    this.parts = parts;
    this.signals = new Signals(streams, replica, thread, parts.wait);
    this.area = allocate(attachment, handoverSize(queueSlots(parts)));
    this.room = allocate(attachment, replyRoom(parts.streams));
    this.applier = new Applier(streams, attachment, replica, thread, parts.calls);
    const area = replyArea(parts.streams);
    attachment.core.setReplyArea(this.room, area, this.room + area, REPLY_RUNS);
    Atomics.store(streams.words, (streams.executor(replica, thread) + EXECUTOR_AREA) >> 2, this.area);
  }

  run(): void {
    const { parts, signals, applier } = this;
    applier.renew();
    const { words, memory } = applier;
    const queue = new Handover(words, this.area, queueSlots(parts), signals, 0);
    const { core } = parts.attachment;
    const replies = new DirectReplies(parts.streams, core, memory, this.room, parts.replica, parts.thread);
    let slots = 0;
    const arrived = () => {
      slots = queue.available(queueSlots(parts));
      return slots > 0;
    };
    while (signals.until(arrived)) {
      const { address } = queue;
      applier.changes.look();
      for (let at = 0; at < slots; ) {
        // Whole records, a few at a time.
        let end = at;
        while (end < slots && end - at < WORKER_STEP) end += words[(address + end * SLOT) >> 2] >>> 16;
        let done = applier.apply(address + at * SLOT, end - at, applier.replying, 0, replies);
        if (done < end - at) {
          done += applier.alone(address + (at + done) * SLOT, end - at - done, 0, replies);
        }
        at += done;
        queue.advance(done);
      }
      applier.counters[COUNTER_BATCHES]++;
      applier.counters[COUNTER_PARKS] = signals.parks;
    }
  }
}
