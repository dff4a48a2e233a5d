/** What one thread can measure by itself, with the classes that executors, schedulers and multicasts are made of. */
import { Attachment } from '../../engine/attachment.ts';
import { ValueCodec } from '../../engine/values.ts';
import {
  APPLY_REPLY,
  APPLY_UNDO,
  APPLY_UNDO_READS,
  APPLY_WITHIN_LEAF,
  DEFERRAL_COUNT,
  OP_DELETE,
  OP_GET,
  OP_INSERT,
  OP_RETRY,
  OP_UPDATE,
  OPERATION_CODE,
  OPERATION_GROUPS,
  OPERATION_KEY,
  OPERATION_SLOTS,
  SLOT,
} from '../../layout/operation.ts';
import { Applier, allocate } from '../../workers/applier.ts';
import { Barrier } from '../../workers/barrier.ts';
import { ConflictOrderedSet, type IndexName } from '../../workers/conflict-ordered-set.ts';
import { Handover, handoverSize } from '../../workers/handover.ts';
import { SET_SIZE } from '../../workers/models/sdpe.ts';
import { Multicast } from '../../workers/multicast.ts';
import { DirectReplies, REPLY_RUNS, type ReplySink, replyArea, replyRoom } from '../../workers/replies.ts';
import { RingReader } from '../../workers/ring.ts';
import { Signals } from '../../workers/signals.ts';
import { Streams } from '../../workers/streams.ts';
import { spin } from '../../workers/waiting.ts';
import { type Mix, WORKLOADS } from '../models/workloads.ts';
import { FilledStore, ringFor } from '../support/drain.ts';
import { type CommandList, drawCommands } from '../support/draw.ts';
import { randomWords } from '../support/random.ts';

const clock = () => Number(process.hrtime.bigint());

/** Nanoseconds that `work` takes for each of its `count` pieces: the least of some attempts, for nothing makes a machine faster. */
export function least(attempts: number, count: number, work: () => void): number {
  let found = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < attempts; attempt++) {
    const begin = clock();
    work();
    found = Math.min(found, (clock() - begin) / count);
  }
  return found;
}

/** Executors' threads that stand still, and this thread doing their work. */
class LoneExecutor {
  readonly commands: number;
  readonly attachment: Attachment;
  readonly applier: Applier;
  readonly replies: DirectReplies;
  /** Nanoseconds of taking one command out of the ring. */
  readonly receive: number;
  /** All commands, as they stood in the ring. */
  private readonly records: number;
  private readonly filled: FilledStore;

  private constructor(filled: FilledStore, list: CommandList) {
    const { handle } = filled;
    const streams = Streams.attach(handle.streams);
    this.filled = filled;
    this.commands = list.ops.length;
    this.attachment = new Attachment(handle.memories[0], undefined, new ValueCodec('f64'));
    const { core } = this.attachment;
    this.records = allocate(this.attachment, this.commands * SLOT);
    const room = allocate(this.attachment, replyRoom(streams));
    this.applier = new Applier(streams, this.attachment, 0, 0);
    this.applier.renew();
    const area = replyArea(streams);
    core.setReplyArea(room, area, room + area, REPLY_RUNS);
    this.replies = new DirectReplies(streams, core, this.applier.memory, room, 0, 0);
    const reader = new RingReader(streams, 0, 0);
    const { memory } = this.applier;
    // The pages are touched before, as an executor's stage soon is.
    memory.fill(0, this.records, this.records + this.commands * SLOT);
    this.receive = least(1, this.commands, () => {
      for (let taken = 0; taken < this.commands; ) {
        const slots = reader.poll(streams.maxRun);
        reader.copyTo(memory, this.records + taken * SLOT, slots);
        reader.advance(slots);
        taken += slots;
      }
    });
  }

  static async open(list: CommandList, fill: number): Promise<LoneExecutor> {
    const ring = ringFor(list.ops.length);
    return new LoneExecutor(await FilledStore.open({ model: 'keyed', executors: 1, commands: list, ring, fill }), list);
  }

  /** Nanoseconds of a command, executed in runs of `run`. */
  apply(run: number, flags: number, sink: ReplySink = this.replies, list = 0, before?: () => void): number {
    const { applier, commands, records } = this;
    return least(1, commands, () => {
      for (let at = 0; at < commands; at += run) {
        before?.();
        applier.apply(records + at * SLOT, Math.min(run, commands - at), flags, list, sink);
      }
    });
  }

  /** Makes all commands such ones. */
  become(op: number): void {
    const { memory } = this.applier;
    for (let i = 0; i < this.commands; i++) memory[this.records + i * SLOT + OPERATION_CODE] = op;
  }

  allocate(bytes: number): number {
    const address = allocate(this.attachment, bytes);
    this.applier.renew();
    return address;
  }

  /** An empty deferral list. */
  deferralList(slots: number): number {
    const { core } = this.attachment;
    const list = this.allocate(core.deferralSize(slots));
    core.deferralInit(list, slots);
    return list;
  }

  async close(): Promise<void> {
    this.attachment.detach();
    await this.filled.close();
  }
}

/** Commands, as many as a fraction of a second executes. */
export interface Size {
  readonly commands: number;
  readonly entries: number;
  readonly attempts: number;
}

export interface Execution {
  /** What an insert, and a delete, takes longer than an update. */
  readonly insertMore: number;
  readonly deleteMore: number;
  readonly receive: number;
  readonly call: number;
  readonly append: number;
  readonly undo: number;
}

/** Slots of a batch with an undo table. */
const BATCH = 256;
const KEEP: ReplySink = { answers: true, flush() {}, reply() {} };

/**
 * Inserts and deletes of the same keys by turns, and updates between them: so the tree stays as large as it is. They are
 * a tenth of the entries, so that leaves seldom split.
 */
async function measureChanges(
  entries: number,
  attempts: number,
): Promise<Pick<Execution, 'insertMore' | 'deleteMore'>> {
  const count = Math.ceil(entries / 10);
  const inserts = drawCommands(WORKLOADS.inserts as Mix, 'uniform', entries, count, 1);
  const lone = await LoneExecutor.open(inserts, 0.7);
  try {
    const best = {
      insert: Number.POSITIVE_INFINITY,
      update: Number.POSITIVE_INFINITY,
      delete: Number.POSITIVE_INFINITY,
    };
    for (let attempt = 0; attempt < 2 * attempts; attempt++) {
      lone.become(OP_INSERT);
      best.insert = Math.min(best.insert, lone.apply(count, APPLY_REPLY));
      lone.become(OP_UPDATE);
      best.update = Math.min(best.update, lone.apply(count, APPLY_REPLY));
      lone.become(OP_DELETE);
      best.delete = Math.min(best.delete, lone.apply(count, APPLY_REPLY));
    }
    return { insertMore: best.insert - best.update, deleteMore: best.delete - best.update };
  } finally {
    await lone.close();
  }
}

/** What an executor does beside executing long runs. */
export async function measureExecution({ commands, entries, attempts }: Size): Promise<Execution> {
  const list = drawCommands(WORKLOADS['ycsb-a'] as Mix, 'uniform', entries, commands, 1);
  const lone = await LoneExecutor.open(list, 0.7);
  const { core } = lone.attachment;
  try {
    const undoEntries = 4 * BATCH;
    const undo = lone.allocate(core.undoSize(undoEntries));
    core.undoInit(undo, undoEntries);
    let batch = 0;
    const long = BATCH * 16;
    const best = { long: Number.POSITIVE_INFINITY, short: Number.POSITIVE_INFINITY, undone: Number.POSITIVE_INFINITY };
    for (let attempt = 0; attempt < attempts; attempt++) {
      best.long = Math.min(best.long, lone.apply(long, APPLY_REPLY));
      best.short = Math.min(best.short, lone.apply(4, APPLY_REPLY));
      const undone = lone.apply(BATCH, APPLY_REPLY | APPLY_UNDO | APPLY_UNDO_READS, KEEP, 0, () => {
        core.clearReplies();
        core.undoBegin(undo, ++batch, 0, 0);
      });
      best.undone = Math.min(best.undone, undone);
    }
    // One reply in the core's area, handed to the client.
    const append = least(attempts, 1000, () => {
      for (let i = 0; i < 1000; i++) lone.replies.reply(0, i, 1, NOTHING);
    });
    return {
      ...(await measureChanges(entries, attempts)),
      receive: lone.receive,
      call: Math.max(0, (best.short - best.long) * 4),
      undo: Math.max(0, best.undone - best.long),
      append,
    };
  } finally {
    await lone.close();
  }
}

const NOTHING = new Uint8Array(8);

export interface Deferring {
  readonly refuse: number;
  readonly deferralLook: number;
  readonly deferred: number;
}

/** Commands that are refused, and most that look whether their keys are deferred. */
const REFUSED = 4096;
const MOST_LOOKS = 200_000;

/** What deferring costs with rings of so many slots. All leaves are full, so every insert is refused. */
export async function measureDeferring({ commands, entries, attempts }: Size, ring: number): Promise<Deferring> {
  const slots = 2 * ring;
  const flags = APPLY_REPLY | APPLY_WITHIN_LEAF;
  const inserts = drawCommands(WORKLOADS.inserts as Mix, 'uniform', entries, REFUSED, 1);
  const full = await LoneExecutor.open(inserts, 1);
  let refuse: number;
  let deferred: number;
  try {
    const list = full.deferralList(slots);
    refuse = full.apply(REFUSED, flags, full.replies, list);
    const count = full.applier.words[(list + DEFERRAL_COUNT) >> 2];
    deferred = least(1, count, () => full.applier.runDeferrals(list, full.replies));
  } finally {
    await full.close();
  }
  const updates = drawCommands(WORKLOADS.updates as Mix, 'uniform', entries, Math.min(commands, MOST_LOOKS), 1);
  const lone = await LoneExecutor.open(updates, 0.7);
  try {
    const list = lone.deferralList(slots);
    const apply = () => {
      let best = Number.POSITIVE_INFINITY;
      for (let i = 0; i < attempts; i++) best = Math.min(best, lone.apply(REFUSED, flags, lone.replies, list));
      return best;
    };
    const free = apply();
    // One is enough: from then on every command looks whether its key is deferred.
    lone.applier.words[(list + DEFERRAL_COUNT) >> 2] = 1;
    return { refuse, deferred, deferralLook: Math.max(0, apply() - free) };
  } finally {
    await lone.close();
  }
}

/** Nanoseconds of inserting, getting and removing a command while `pending` others are in the set. */
function setTime(index: IndexName, op: number, pending: number, attempts: number): number {
  const set = new ConflictOrderedSet(SET_SIZE, index);
  const record = new Int32Array(SLOT / 4);
  record[0] = op | (1 << 16);
  const next = randomWords(7);
  const given: number[] = [];
  let oldest = 0;
  const step = () => {
    record[OPERATION_KEY >> 2] = next() % 1_000_000;
    given.push(set.insert(record, 0, 1));
    set.get();
  };
  for (let i = 0; i < pending; i++) step();
  const count = 5000;
  return least(attempts, count, () => {
    for (let i = 0; i < count; i++) {
      step();
      set.remove(given[oldest++]);
    }
  });
}

export interface Scheduling {
  readonly set: number;
  readonly pairwiseSet: number;
  readonly compareRead: number;
  readonly compareWrite: number;
  readonly lane: number;
  readonly choose: number;
}

/** Workers of the scheduler that is measured. */
const LANES = 64;

/** What a scheduler does. Several attempts warm the compiler up. */
export function measureScheduling(attempts: number): Scheduling {
  const most = SET_SIZE - 1;
  const pairwiseSet = setTime('pairwise', OP_UPDATE, 0, attempts);
  const compare = (op: number) => Math.max(0, (setTime('pairwise', op, most, attempts) - pairwiseSet) / most);
  const signals = new Signals(looseStreams(LANES), 0, 0, spin);
  const size = handoverSize(64);
  const words = new Int32Array(new SharedArrayBuffer(LANES * size));
  const lanes = Array.from({ length: LANES }, (_, i) => {
    return { queue: new Handover(words, i * size, 64, signals, 1), given: i, first: 0 };
  });
  let sum = 0;
  const rounds = 500;
  const lane = least(attempts, rounds * LANES, () => {
    for (let round = 0; round < rounds; round++) {
      for (const { queue } of lanes) {
        queue.publish();
        sum += queue.done;
      }
    }
  });
  const choose = least(attempts, rounds * LANES, () => {
    for (let round = 0; round < rounds; round++) {
      let best = lanes[0];
      for (const other of lanes) if (other.given - other.first < best.given - best.first) best = other;
      best.given++;
    }
  });
  if (sum !== 0) throw new Error('an empty queue is done with something');
  return {
    set: setTime('keys', OP_UPDATE, 50, attempts),
    pairwiseSet,
    compareRead: compare(OP_GET),
    compareWrite: compare(OP_UPDATE),
    lane,
    choose,
  };
}

/** Streams of a store that has no threads. */
function looseStreams(executors: number): Streams {
  const groups = Math.min(32, executors);
  return Streams.create({ groups, executors, replicas: 1, clients: 1, ringSlots: 4096, replyBytes: 4096, start: 0 });
}

export interface Meeting {
  readonly look: number;
  /** Without the transfers between cores. */
  readonly member: number;
  readonly retry: number;
}

/** What waiting, sync points and retries cost those who bring them about. */
export function measureMeeting(attempts: number): Meeting {
  const executors = 32;
  const streams = looseStreams(executors);
  const signals = new Signals(streams, 0, 0, spin);
  const looks = 5000;
  const look = least(attempts, looks, () => {
    let seen = 0;
    signals.until(() => ++seen > looks);
  });
  const leader = new Barrier(streams, 0, 0, signals);
  const others = Array.from({ length: executors - 1 }, (_, i) => i + 1);
  const barriers = others.map((other) => new Barrier(streams, 0, other, signals));
  const rounds = 200;
  let number = 0;
  let member = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < attempts; attempt++) {
    let time = 0;
    for (let round = 0; round < rounds; round++) {
      number++;
      for (const barrier of barriers) barrier.stand(number, 0);
      const begin = clock();
      leader.gather(number, others);
      leader.release(number, others);
      time += clock() - begin;
    }
    member = Math.min(member, time / rounds / others.length);
  }
  const multicast = new Multicast(streams, 1);
  const record = new Uint8Array(SLOT);
  const words = new Int32Array(record.buffer);
  record[OPERATION_CODE] = OP_RETRY;
  record[OPERATION_SLOTS] = 1;
  words[OPERATION_GROUPS >> 2] = -1;
  const retry = least(attempts, rounds * executors, () => {
    for (let round = 0; round < rounds; round++) {
      if (!multicast.tryRetry(record, words)) throw new Error('a retry found no room');
    }
  });
  return { look, member, retry };
}
