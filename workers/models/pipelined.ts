/**
 * Pipelined state-machine replication (the survey's staging): one stream, executed sequentially, but what surrounds the
 * execution is done by other threads. The receiver takes commands out of the ring, the executor carries them out, the
 * replier hands the answers to the clients and wakes them; queues in the replica's memory stand between the stages.
 *
 * What the executor is spared is copying commands out of the ring and replies into the clients' rings, and above all
 * waking clients. Execution itself stays sequential, so more cores than three are of no use.
 */
import { REPLY_RUN_SIZE, SLOT } from '../../layout/operation.ts';
import { COUNTER_BATCHES, COUNTER_PARKS, EXECUTOR_AREA } from '../../layout/streams.ts';
import { Applier, allocate } from '../applier.ts';
import { Handover, handoverSize } from '../handover.ts';
import { appendRuns, REPLY_RUNS, type ReplySink, ReplyWriter, replyArea, replyRoom, writeReply } from '../replies.ts';
import { RingReader } from '../ring.ts';
import { Signals } from '../signals.ts';
import type { ExecutionModel, ModelThread, ThreadParts } from './model.ts';

const RECEIVER = 0;
const EXECUTOR = 1;
const REPLIER = 2;

/** Reply areas in turn: one being filled, the others on their way. A power of two. */
const AREAS = 8;

export const pipelined: ExecutionModel = {
  name: 'pipelined',
  title: 'pipelined: receiving, executing and replying on a thread each; execution is sequential',
  replicated: true,
  oneStream: true,
  oneExecutor: true,
  toAllGroups: () => false,
  parallelFlags: 0,
  threads: () => 3,
  thread(parts) {
    if (parts.thread === RECEIVER) return new Receiver(parts);
    return parts.thread === EXECUTOR ? new Execution(parts) : new Replier(parts);
  },
};

/** Address of what a thread of this replica shares with the others. */
function areaOf({ streams, replica }: ThreadParts, thread: number): number {
  return Atomics.load(streams.words, (streams.executor(replica, thread) + EXECUTOR_AREA) >> 2);
}

function shareArea({ streams, replica, thread }: ThreadParts, address: number): void {
  Atomics.store(streams.words, (streams.executor(replica, thread) + EXECUTOR_AREA) >> 2, address);
}

/** Slots of the queue from the receiver to the executor: two of the longest runs. */
function queueSlots({ streams }: ThreadParts): number {
  return 2 * streams.maxRun;
}

/** Takes runs out of the ring. */
class Receiver implements ModelThread {
  readonly readers: readonly RingReader[];
  private readonly parts: ThreadParts;
  private readonly signals: Signals;
  private readonly reader: RingReader;
  private readonly area: number;
  private readonly applier: Applier;

  constructor(parts: ThreadParts) {
    const { streams, replica, thread } = parts;
    this.parts = parts;
    this.signals = new Signals(streams, replica, thread, parts.wait);
    this.reader = new RingReader(streams, 0, replica);
    this.readers = [this.reader];
    this.area = allocate(parts.attachment, handoverSize(queueSlots(parts)));
    this.applier = new Applier(streams, parts.attachment, replica, thread);
    shareArea(parts, this.area);
  }

  run(): void {
    const { signals, reader, applier } = this;
    applier.renew();
    const { memory, counters } = applier;
    const queue = new Handover(applier.words, this.area, queueSlots(this.parts), signals, EXECUTOR);
    const { maxRun } = this.parts.streams;
    let slots = 0;
    let address = -1;
    const arrived = () => {
      slots = reader.poll(maxRun);
      return slots > 0;
    };
    const room = () => {
      address = queue.reserve(slots);
      return address >= 0;
    };
    while (signals.until(arrived, [reader])) {
      if (!signals.until(room)) return;
      const { position } = reader;
      reader.copyTo(memory, address, slots);
      reader.advance(slots);
      if (applier.changes.stamp(applier.words, address, slots, position, 0)) {
        // The queue holds half a ring at most, so all before was taken out of it. (Reads alone tell of no progress.)
        applier.changes.reached(0, (position - this.parts.streams.shape.ringSlots) | 0);
      }
      queue.wrote(slots);
      queue.publish();
      counters[COUNTER_BATCHES]++;
      counters[COUNTER_PARKS] = signals.parks;
    }
  }
}

/** Executes what the receiver took. */
class Execution implements ModelThread {
  readonly readers = [];
  private readonly parts: ThreadParts;
  private readonly signals: Signals;
  private readonly areas: number;
  private readonly applier: Applier;

  constructor(parts: ThreadParts) {
    const { streams, replica, thread, attachment } = parts;
    this.parts = parts;
    this.signals = new Signals(streams, replica, thread, parts.wait);
    // The queue to the replier, and the reply areas behind it.
    this.areas = allocate(attachment, handoverSize(AREAS) + AREAS * replyRoom(streams));
    this.applier = new Applier(streams, attachment, replica, thread, parts.calls);
    shareArea(parts, this.areas);
  }

  run(): void {
    const { parts, signals, applier } = this;
    applier.renew();
    applier.changes.sequential = true;
    const queue = new Handover(applier.words, areaOf(parts, RECEIVER), queueSlots(parts), signals, RECEIVER);
    const replies = new StagedReplies(parts, applier, this.areas, signals);
    let slots = 0;
    const arrived = () => {
      slots = queue.available(queueSlots(parts));
      return slots > 0;
    };
    while (signals.until(arrived)) {
      const { address } = queue;
      applier.changes.look();
      for (let at = 0; at < slots; ) {
        at += applier.apply(address + at * SLOT, slots - at, applier.replying, 0, replies);
        if (at === slots) break;
        at += applier.alone(address + at * SLOT, slots - at, 0, replies);
      }
      queue.advance(slots);
      applier.counters[COUNTER_BATCHES]++;
      applier.counters[COUNTER_PARKS] = signals.parks;
    }
  }
}

/** Hands filled reply areas to the replier, and goes on with the next one. */
class StagedReplies implements ReplySink {
  private readonly applier: Applier;
  private readonly signals: Signals;
  private readonly queue: Handover;
  private readonly first: number;
  /** Bytes of the replies of an area, and of all of it. */
  private readonly area: number;
  private readonly room: number;
  private current = 0;

  constructor({ streams }: ThreadParts, applier: Applier, areas: number, signals: Signals) {
    this.applier = applier;
    this.signals = signals;
    this.queue = new Handover(applier.words, areas, AREAS, signals, REPLIER);
    this.first = areas + handoverSize(AREAS);
    this.area = replyArea(streams);
    this.room = replyRoom(streams);
    this.fill();
  }

  /** Where the area begins that is filled now. */
  private get at(): number {
    return this.first + this.current * this.room;
  }

  /** Gives the core the area that is filled now. */
  private fill(): void {
    const { at, area } = this;
    this.applier.attachment.core.setReplyArea(at, area, at + area, REPLY_RUNS);
  }

  get answers(): boolean {
    return this.applier.home;
  }

  flush(): void {
    const { core } = this.applier.attachment;
    const runs = core.replyRuns();
    if (runs > 0) this.handOn(runs);
  }

  reply(client: number, sequence: number, status: number, payload: Uint8Array): void {
    // The core has nothing gathered: whoever replies has flushed.
    writeReply(this.applier, this.at, this.at + this.area, client, sequence, status, payload);
    this.handOn(1);
  }

  private handOn(runs: number): void {
    const { queue, signals, applier } = this;
    // As many areas as slots: a free slot means a free area, once the one being filled is left out.
    let slot = -1;
    const room = () => {
      slot = queue.reserve(1);
      return slot >= 0;
    };
    if (!signals.until(room)) return;
    applier.words[slot >> 2] = this.current;
    applier.words[(slot >> 2) + 1] = runs;
    queue.wrote(1);
    queue.publish();
    this.current = (this.current + 1) & (AREAS - 1);
    // The next area is free once what was handed on AREAS - 1 places ago is done.
    signals.until(() => ((queue.written - queue.done) | 0) < AREAS);
    this.fill();
  }
}

/** Hands replies to the clients. */
class Replier implements ModelThread {
  readonly readers = [];
  private readonly parts: ThreadParts;
  private readonly signals: Signals;
  private readonly applier: Applier;

  constructor(parts: ThreadParts) {
    const { streams, replica, thread } = parts;
    this.parts = parts;
    this.signals = new Signals(streams, replica, thread, parts.wait);
    this.applier = new Applier(streams, parts.attachment, replica, thread);
  }

  run(): void {
    const { parts, signals, applier } = this;
    applier.renew();
    const { words, memory } = applier;
    const areas = areaOf(parts, EXECUTOR);
    const queue = new Handover(words, areas, AREAS, signals, EXECUTOR);
    const writer = new ReplyWriter(parts.streams, REPLIER);
    const room = replyRoom(parts.streams);
    const tables = Array.from({ length: AREAS }, (_, i) => {
      const table = areas + handoverSize(AREAS) + i * room + replyArea(parts.streams);
      return new Uint32Array(memory.buffer, table, (REPLY_RUNS * REPLY_RUN_SIZE) / 4);
    });
    while (signals.until(() => queue.available(1) > 0)) {
      const slot = queue.address >> 2;
      appendRuns(writer, memory, tables[words[slot]], words[slot + 1]);
      queue.advance(1);
      applier.counters[COUNTER_PARKS] = signals.parks;
    }
  }
}
