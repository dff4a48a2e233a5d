/**
 * What commands came to is kept, so that one which comes again is answered and not carried out again: engine/core/kept.ts,
 * as a replica's executor uses it.
 */
import { describe, expect, it } from 'vitest';
import { Attachment, createTreeMemory } from '../dist/engine/attachment.js';
import { keyCode, shapeOf } from '../dist/engine/shape.js';
import { ByteViews, ValueCodec } from '../dist/engine/values.js';
import type { FixedValueType } from '../dist/index.js';
import {
  APPLY_ANSWER,
  APPLY_REPLY,
  APPLY_WITHIN_LEAF,
  DEFERRAL_COUNT,
  KEPT_PLACES,
  OP_ADD,
  OP_COMPARE_AND_SET,
  OP_DELETE,
  OP_GET,
  OP_HAS,
  OP_INSERT,
  OP_PUT,
  OP_PUT_ALL,
  OP_UPDATE,
  OPERATION_CLIENT,
  OPERATION_KEY,
  OPERATION_RESENT,
  OPERATION_SEQUENCE,
  OPERATION_VALUE,
  REPLY_LENGTH_SHIFT,
  REPLY_PAYLOAD,
  SLOT,
  STATUS_FALSE,
  STATUS_TRUE,
  STATUS_UNSUPPORTED,
  STOP_DONE,
  STOP_NO_MEMORY,
} from '../dist/layout/operation.js';
import { type Random, seeded } from './support/random.ts';
import { RECORDS, SCALARS, type ValueKind } from './support/values.ts';

const CLIENTS = 8;
const AREA = 65536;
const RUNS = 64;

interface Command {
  readonly op: number;
  readonly key: number;
  readonly value?: unknown;
  readonly expected?: unknown;
  readonly client: number;
  readonly sequence: number;
  /** It comes a second time. */
  readonly again?: boolean;
}

interface Reply {
  readonly client: number;
  readonly sequence: number;
  readonly status: number;
  readonly value: unknown;
}

/** One replica's tree, with everything that its executor has. */
class Replica {
  readonly attachment: Attachment;
  private readonly codec: ValueCodec;
  private readonly records: number;
  private readonly area: number;
  private readonly list: number;
  private readonly bytes: Uint8Array;
  private readonly words: Int32Array;
  private readonly room: ByteViews;
  /** Whether it answers. */
  home: boolean;

  constructor(type: FixedValueType = 'f64', { home = true, keeps = true, within = false, pages = 64 } = {}) {
    const codec = new ValueCodec(type);
    const code = keyCode('u32');
    const memory = createTreeMemory(code, codec, shapeOf(code, codec.stride, undefined, 4), pages, 1000);
    this.attachment = new Attachment(memory, code, codec);
    const { core } = this.attachment;
    this.codec = codec;
    this.home = home;
    this.room = new ByteViews(1024);
    this.records = core.allocateBlock(256 * SLOT);
    this.area = core.allocateBlock(AREA + RUNS * 12);
    this.list = core.allocateBlock(core.deferralSize(256));
    core.deferralInit(this.list, 256);
    const directory = core.allocateBlock(CLIENTS * 4);
    for (const address of [this.records, this.area, this.list, directory]) expect(address).toBeGreaterThan(0);
    core.setReplyArea(this.area, AREA, this.area + AREA, RUNS);
    if (keeps) core.setKept(directory);
    this.within = within;
    memory.grow(0);
    this.bytes = new Uint8Array(memory.buffer);
    this.words = new Int32Array(memory.buffer);
  }

  private readonly within: boolean;

  private get flags(): number {
    return this.home ? APPLY_REPLY | APPLY_ANSWER : 0;
  }

  /** Writes records one behind the other; slots. */
  private write(commands: readonly Command[]): number {
    let slots = 0;
    for (const { op, key, value, expected, client, sequence, again } of commands) {
      const at = this.records + slots * SLOT;
      const room = (this.codec.stride + 7) & ~7;
      // One that comes again has no value: none is needed.
      const size = again ? 1 : Math.ceil((OPERATION_VALUE + 2 * room) / SLOT);
      this.bytes.fill(0xee, at, at + size * SLOT);
      this.words[at >> 2] = op | (size << 16);
      if (again) this.bytes[at + 1] = OPERATION_RESENT;
      this.words[(at + 16) >> 2] = this.words[(at + 20) >> 2] = 0;
      this.words[(at + OPERATION_CLIENT) >> 2] = client;
      this.words[(at + OPERATION_SEQUENCE) >> 2] = sequence;
      this.words[(at + OPERATION_KEY) >> 2] = key;
      for (const [i, one] of [value, expected].entries()) {
        if (one === undefined || again) continue;
        this.codec.encode(this.room, 0, one);
        this.bytes.set(this.room.u8.subarray(0, this.codec.stride), at + OPERATION_VALUE + i * room);
      }
      slots += size;
    }
    return slots;
  }

  /** The replies there are. */
  private take(): Reply[] {
    const { core } = this.attachment;
    const replies: Reply[] = [];
    for (let run = 0; run < core.replyRuns(); run++) {
      const [client, start, end] = this.words.subarray((this.area + AREA + run * 12) >> 2);
      for (let at = start; at < end; ) {
        const head = this.words[(at + 4) >> 2];
        const length = head >>> REPLY_LENGTH_SHIFT;
        expect([0, this.codec.stride]).toContain(length);
        this.room.u8.set(this.bytes.subarray(at + REPLY_PAYLOAD, at + REPLY_PAYLOAD + length));
        const value = length === 0 ? undefined : this.codec.decode(this.room, 0);
        replies.push({ client, sequence: this.words[at >> 2] >>> 0, status: head & 0xff, value });
        at += REPLY_PAYLOAD + ((length + 7) & ~7);
      }
    }
    core.clearReplies();
    return replies;
  }

  /** Carries commands out as an executor does; the answers. */
  apply(...commands: Command[]): Reply[] {
    const { core } = this.attachment;
    const replies: Reply[] = [];
    for (let done = 0; done < commands.length; ) {
      const some = commands.slice(done, done + 12);
      const slots = this.write(some);
      const flags = this.flags | (this.within ? APPLY_WITHIN_LEAF : 0);
      expect(core.apply(this.records, slots, flags, this.list)).toBe(slots);
      expect(core.stopReason()).toBe(STOP_DONE);
      replies.push(...this.take());
      done += some.length;
    }
    return replies;
  }

  /** Why a command cannot be carried out. */
  stopOf(command: Command): number {
    const { core } = this.attachment;
    expect(core.apply(this.records, this.write([command]), this.flags, this.list)).toBe(0);
    expect(core.replyRuns()).toBe(0);
    return core.stopReason();
  }

  /** Commands that wait for a sync point. */
  get deferred(): number {
    return this.words[(this.list + DEFERRAL_COUNT) >> 2];
  }

  /** A sync point. */
  sync(): Reply[] {
    const { core } = this.attachment;
    core.runDeferred(this.list, this.flags);
    expect(core.stopReason()).toBe(STOP_DONE);
    return this.take();
  }

  get suppressed(): number {
    return this.attachment.core.suppressedCount();
  }

  get(key: number): unknown {
    const { attachment } = this;
    attachment.key.set(0, key);
    return attachment.core.get() === STATUS_TRUE ? attachment.value.get(0) : undefined;
  }

  get digest(): bigint {
    return this.attachment.core.contentDigest();
  }

  /** Writes a record of a command on several keys, for the calls that such commands are kept with. */
  many(client: number, sequence: number): number {
    this.write([{ op: OP_PUT_ALL, key: 0, client, sequence }]);
    return this.records;
  }
}

const same = (command: Command): Command => ({ ...command, again: true });
const ended = (command: Command, status: number, value?: unknown): Reply => ({
  client: command.client,
  sequence: command.sequence >>> 0,
  status,
  value,
});

/** A number of these value types, as a value of a kind. */
const KINDS: readonly ValueKind[] = [...SCALARS, RECORDS[0], RECORDS[3], RECORDS[8]];

describe.each(KINDS)('values of $name', ({ type, random: draw, zero, plus }) => {
  it(
    'every operation: a write that comes again is answered as before and not carried out, a read is carried out again',
    seeded(`kept ${JSON.stringify(zero, () => 0)}`, (random) => {
      const [a, b, c] = [draw(random), draw(random), draw(random)];
      const before = new Replica(type, { home: false });
      const replica = new Replica(type);
      let sequence = 0;
      const next = (op: number, key: number, value?: unknown, expected?: unknown): Command => ({
        ...{ op, key, value, expected, client: 3, sequence: sequence++ },
      });
      const writes: Command[] = [
        next(OP_PUT, 1, a),
        next(OP_PUT, 1, b),
        next(OP_INSERT, 1, a),
        next(OP_INSERT, 2, c),
        next(OP_UPDATE, 2, a),
        next(OP_UPDATE, 99, a),
        next(OP_COMPARE_AND_SET, 2, b, a),
        next(OP_COMPARE_AND_SET, 99, b, a),
        next(OP_DELETE, 1),
        next(OP_DELETE, 1),
        ...(plus === undefined ? [next(OP_ADD, 5, a)] : [next(OP_ADD, 5, a), next(OP_ADD, 5, b), next(OP_ADD, 5, c)]),
      ];
      const reads = [next(OP_GET, 2), next(OP_HAS, 1), next(OP_GET, 77)];
      const first = replica.apply(...writes, ...reads);
      expect(first.length).toBe(writes.length + reads.length);
      if (plus === undefined) expect(first[writes.length - 1].status).toBe(STATUS_UNSUPPORTED);
      // The same in a replica that does not answer, which then becomes home.
      expect(before.apply(...writes, ...reads)).toEqual([]);
      before.home = true;
      const { digest } = before;
      expect(digest).toBe(replica.digest);
      // In any order.
      const answers = before.apply(...random.shuffled(writes.map(same)));
      answers.sort((x, y) => x.sequence - y.sequence);
      expect(answers).toEqual(first.slice(0, writes.length));
      expect(before.suppressed).toBe(writes.length);
      expect(before.digest).toBe(digest);
      // Reads see what is there now.
      const change = next(OP_PUT, 77, b);
      expect(before.apply(change)).toEqual([ended(change, STATUS_TRUE)]);
      const [got, had, later] = before.apply(...reads.map(same));
      expect([got, had]).toEqual(first.slice(writes.length, -1));
      expect(later).toEqual(ended(reads[2], STATUS_TRUE, b));
      expect(before.suppressed).toBe(writes.length);
      // A second time, and where all was answered already: no answer, and nothing done.
      for (const one of [before, replica]) {
        const content = one.digest;
        expect(one.apply(...writes.map(same), ...reads.map(same))).toEqual([]);
        expect(one.digest).toBe(content);
      }
    }),
  );
});

describe('answers', () => {
  const put = (key: number, sequence: number, client = 0): Command => ({
    op: OP_PUT,
    key,
    value: key,
    client,
    sequence,
  });

  it('are given once by each home replica, and never by another one', () => {
    const replica = new Replica('f64', { home: false });
    const one = put(1, 0);
    expect(replica.apply(one)).toEqual([]);
    // It came again while this replica was not home.
    expect(replica.apply(same(one))).toEqual([]);
    replica.home = true;
    expect(replica.apply(same(one))).toEqual([ended(one, STATUS_TRUE)]);
    expect(replica.apply(same(one))).toEqual([]);
    const two = put(2, 1);
    expect(replica.apply(two, same(two), same(two))).toEqual([ended(two, STATUS_TRUE)]);
    expect(replica.suppressed).toBe(5);
  });

  it('a read is answered once too', () => {
    const replica = new Replica('f64');
    const get: Command = { op: OP_GET, key: 1, client: 0, sequence: 7 };
    expect(replica.apply(get)).toEqual([ended(get, STATUS_FALSE)]);
    expect(replica.apply(same(get))).toEqual([]);
    const has: Command = { op: OP_HAS, key: 1, client: 0, sequence: 8 };
    expect(replica.apply(same(has), same(has), has)).toEqual([
      ended(has, STATUS_FALSE),
      // Where it stands first it is always carried out: a client sends it once.
      ended(has, STATUS_FALSE),
    ]);
    expect(replica.suppressed).toBe(0);
  });

  it('whose place belongs to a later command are not given, and the command is not carried out', () => {
    const replica = new Replica('f64');
    const old = put(1, 5);
    const later = put(2, 5 + KEPT_PLACES);
    replica.apply(old, later, { op: OP_DELETE, key: 1, client: 0, sequence: 6 });
    expect(replica.apply(same(old))).toEqual([]);
    expect(replica.get(1)).toBeUndefined();
    // The read that has the place does not give it back.
    const get: Command = { op: OP_GET, key: 2, client: 0, sequence: 5 + 2 * KEPT_PLACES };
    replica.home = false;
    replica.apply(get);
    replica.home = true;
    expect(replica.apply(same(later))).toEqual([]);
    expect(replica.apply(same(get))).toEqual([ended(get, STATUS_TRUE, 2)]);
  });

  it('of a write that never stood in the stream there are none', () => {
    const replica = new Replica('f64');
    expect(replica.apply(same(put(1, 0)), same(put(2, KEPT_PLACES)), same(put(3, 17)))).toEqual([]);
    expect(replica.get(1)).toBeUndefined();
    // Fresh tables are full of zeros, and so is the first sequence number.
    expect(replica.apply(same({ op: OP_DELETE, key: 1, client: 1, sequence: 0 }))).toEqual([]);
    expect(replica.suppressed).toBe(4);
  });

  it('are kept for each client by itself, and across the wrap of the sequence numbers', () => {
    const replica = new Replica('f64', { home: false });
    const commands: Command[] = [];
    for (let i = -100; i < 100; i++) {
      for (let client = 0; client < CLIENTS; client++) {
        const key = client * 1000 + 100 + i;
        commands.push({ op: OP_ADD, key: key % 50, value: client + 1, client, sequence: i | 0 });
      }
    }
    replica.apply(...commands);
    const witness = new Replica('f64');
    const wanted = witness.apply(...commands);
    replica.home = true;
    const { digest } = replica;
    expect(replica.apply(...commands.map(same))).toEqual(wanted);
    expect(replica.digest).toBe(digest);
    expect(replica.apply(...commands.map(same))).toEqual([]);
  });

  it('where nothing is kept, a command is carried out each time', () => {
    const replica = new Replica('f64', { keeps: false });
    const add: Command = { op: OP_ADD, key: 1, value: 0, client: 0, sequence: 0 };
    expect(replica.apply(add)).toEqual([ended(add, STATUS_FALSE)]);
    const del: Command = { op: OP_DELETE, key: 1, client: 0, sequence: 1 };
    expect(replica.apply(del, same(del))).toEqual([ended(del, STATUS_TRUE), ended(del, STATUS_FALSE)]);
  });

  it('of which there is no memory to keep them: nothing is done', () => {
    const replica = new Replica('f64', { pages: 6 });
    const one = put(1, 0);
    replica.apply(one);
    const { core } = replica.attachment;
    while (core.allocateBlock(1024) !== 0);
    // The first client's table is there, the second one's cannot be.
    const { digest } = replica;
    expect(replica.stopOf(put(2, 0, 1))).toBe(STOP_NO_MEMORY);
    expect(replica.stopOf({ op: OP_GET, key: 1, client: 1, sequence: 0 })).toBe(STOP_NO_MEMORY);
    expect(replica.stopOf(same(put(2, 0, 1)))).toBe(STOP_NO_MEMORY);
    expect(replica.digest).toBe(digest);
    const change: Command = { op: OP_UPDATE, key: 1, value: 5, client: 0, sequence: 1 };
    expect(replica.apply(change)).toEqual([ended(change, STATUS_TRUE)]);
  });

  it('of commands on several keys: a number, or nothing', () => {
    const replica = new Replica('f64', { home: false });
    const { core } = replica.attachment;
    for (const [sequence, number] of [
      [0, 0],
      [1, 3],
      [KEPT_PLACES - 1, 2 ** 40 + 0.5],
    ]) {
      const record = replica.many(2, sequence);
      expect(core.keepable(record)).toBe(STATUS_TRUE);
      // Not there yet: a write is not answered, a read is.
      expect(core.answerable(record, 1, 1)).toBe(STATUS_FALSE);
      expect(core.answerable(record, 0, 1)).toBe(STATUS_TRUE);
      core.keepNumber(record, 0, number, 8);
      expect(core.answerable(record, 1, 0)).toBe(STATUS_FALSE);
      expect(core.answerable(record, 1, 1)).toBe(STATUS_TRUE);
      expect(core.keptNumber(record)).toBe(number);
      expect(core.answerable(record, 1, 1)).toBe(STATUS_FALSE);
      expect(core.answerable(record, 0, 1)).toBe(STATUS_FALSE);
    }
    const record = replica.many(2, 9);
    core.keepNumber(record, 1, 0, 0);
    expect(core.answerable(record, 0, 1)).toBe(STATUS_FALSE);
  });
});

describe('commands that wait for a sync point', () => {
  /** A leaf of four entries is full. */
  const full = (replica: Replica): void => {
    replica.apply(
      ...[10, 20, 30, 40].map((key, i): Command => ({ op: OP_PUT, key, value: key, client: 7, sequence: i })),
    );
  };

  it('and come again before it: they wait too, are carried out once and answered once', () => {
    const replica = new Replica('f64', { within: true });
    full(replica);
    const insert: Command = { op: OP_INSERT, key: 25, value: 1, client: 0, sequence: 0 };
    const add: Command = { op: OP_ADD, key: 25, value: 5, client: 0, sequence: 1 };
    const get: Command = { op: OP_GET, key: 25, client: 0, sequence: 2 };
    expect(replica.apply(insert, add, get, same(insert), same(add), same(get))).toEqual([]);
    expect(replica.deferred).toBe(6);
    expect(replica.sync()).toEqual([
      ended(insert, STATUS_TRUE),
      ended(add, STATUS_TRUE, 1),
      ended(get, STATUS_TRUE, 6),
    ]);
    expect(replica.get(25)).toBe(6);
    expect(replica.apply(same(insert), same(add), same(get))).toEqual([]);
  });

  it('at which the replica is home already, though it was not where they stood', () => {
    const replica = new Replica('f64', { within: true, home: false });
    full(replica);
    const insert: Command = { op: OP_INSERT, key: 25, value: 1, client: 0, sequence: 0 };
    const done: Command = { op: OP_ADD, key: 10, value: 1, client: 0, sequence: 1 };
    expect(replica.apply(insert, done)).toEqual([]);
    replica.home = true;
    // The one that waits is answered at the sync point, with or without having come again.
    expect(replica.apply(same(done))).toEqual([ended(done, STATUS_TRUE, 10)]);
    expect(replica.apply(same(insert))).toEqual([]);
    expect(replica.sync()).toEqual([ended(insert, STATUS_TRUE)]);
    expect(replica.apply(same(insert))).toEqual([]);
    expect(replica.get(25)).toBe(1);
  });

  it('that come again only after it are answered as they were carried out', () => {
    const replica = new Replica('f64', { within: true, home: false });
    full(replica);
    const insert: Command = { op: OP_INSERT, key: 25, value: 1, client: 0, sequence: 0 };
    const again: Command = { op: OP_INSERT, key: 25, value: 2, client: 0, sequence: 1 };
    replica.apply(insert, again);
    expect(replica.deferred).toBe(2);
    expect(replica.sync()).toEqual([]);
    replica.home = true;
    expect(replica.apply(same(again), same(insert))).toEqual([ended(again, STATUS_FALSE), ended(insert, STATUS_TRUE)]);
    expect(replica.get(25)).toBe(1);
  });
});

/** One client's commands and what they came to. */
interface Sent {
  readonly command: Command;
  answer: Reply | undefined;
  answers: number;
}

function randomCommand(random: Random, client: number, sequence: number): Command {
  const key = random.below(40);
  const kind = random.below(10);
  const op = [
    OP_PUT,
    OP_INSERT,
    OP_INSERT,
    OP_UPDATE,
    OP_DELETE,
    OP_DELETE,
    OP_COMPARE_AND_SET,
    OP_ADD,
    OP_GET,
    OP_HAS,
  ][kind];
  return { op, key, value: random.below(4), expected: random.below(4), client, sequence };
}

describe('a failover, at any place of the stream, with some answers lost', () => {
  it.each([false, true])(
    'every command has one answer of each home replica, that of its first place; deferring: %s',
    async (within) => {
      await seeded(`failover of records ${within}`, (random) => {
        let lost = 0;
        for (let round = 0; round < 40; round++) {
          // One stream; the replicas have their sync points at the same places, and defer the same, having one executor.
          const replicas = [0, 1, 2].map((i) => new Replica('f64', { within, home: i === 0 }));
          const witness = new Replica('f64');
          const sequences = Array.from({ length: 4 }, () => random.u32());
          const sent: Sent[] = [];
          const wanted = new Map<string, Reply>();
          const name = ({ client, sequence }: { client: number; sequence: number }) => `${client}/${sequence >>> 0}`;
          /** Replies of the home replica that get through with a probability. */
          const receive = (replies: readonly Reply[], arrive: number) => {
            for (const reply of replies) {
              if (!random.chance(arrive)) {
                lost++;
                continue;
              }
              const one = sent.find(({ command }) => name(command) === name(reply)) as Sent;
              one.answers++;
              one.answer ??= reply;
            }
          };
          let stream: Command[] = [];
          const run = (arrive: number) => {
            for (const replica of replicas) {
              const replies = [...replica.apply(...stream), ...replica.sync()];
              if (replica.home) receive(replies, arrive);
              else expect(replies).toEqual([]);
            }
            stream = [];
          };
          for (let home = 0; home < 3; home++) {
            // Under the home replica's last words: commands without an answer, or whose answer is lost.
            for (let piece = 0; piece < 4; piece++) {
              for (let i = random.below(40); i > 0; i--) {
                const client = random.below(sequences.length);
                const command = randomCommand(random, client, sequences[client]++ | 0);
                sent.push({ command, answer: undefined, answers: 0 });
                stream.push(command);
                for (const reply of witness.apply(command)) wanted.set(name(reply), reply);
              }
              run(piece === 3 && home < 2 ? random.pick([0, 0.3, 0.7]) : 1);
            }
            if (home === 2) break;
            // What is sent between the loss and the takeover nobody answers.
            replicas[home].home = false;
            for (let i = random.below(30); i > 0; i--) {
              const client = random.below(sequences.length);
              const command = randomCommand(random, client, sequences[client]++ | 0);
              sent.push({ command, answer: undefined, answers: 0 });
              stream.push(command);
              for (const reply of witness.apply(command)) wanted.set(name(reply), reply);
            }
            const waiting = random.chance(0.5);
            if (!waiting) run(1);
            else {
              // Some of it is still deferred when the takeover comes.
              for (const replica of replicas) expect(replica.apply(...stream)).toEqual([]);
              stream = [];
            }
            replicas[home + 1].home = true;
            // Each client sends again, in its order, what it has no answer to; some of it twice.
            const before = new Map(sent.map((one) => [one, one.answers]));
            for (const client of sequences.keys()) {
              for (const one of sent) {
                if (one.command.client !== client || one.answer !== undefined) continue;
                stream.push(same(one.command));
                if (random.chance(0.1)) stream.push(same(one.command));
              }
            }
            run(1);
            for (const one of sent) {
              expect(one.answers, JSON.stringify(one)).toBe(Math.max(1, before.get(one) as number));
            }
          }
          for (const { command, answer } of sent) {
            const was = wanted.get(name(command)) as Reply;
            // A read may be later than it stood; it is compared where nobody wrote.
            if (command.op <= OP_HAS) expect(answer?.status).toBeLessThanOrEqual(STATUS_TRUE);
            else expect(answer, JSON.stringify(command)).toEqual(was);
          }
          for (const replica of replicas) expect(replica.digest).toBe(witness.digest);
        }
        expect(lost).toBeGreaterThan(100);
      })();
    },
  );
});

describe('long results', () => {
  it('are dropped once the client has them, each by its own number only', () => {
    const { attachment } = new Replica();
    const { core } = attachment;
    const record = core.allocateBlock(SLOT);
    const words = new Int32Array(attachment.memory.buffer, record, SLOT / 4);
    const take = (sequence: number) => {
      words[OPERATION_CLIENT >> 2] = 3;
      words[OPERATION_SEQUENCE >> 2] = sequence;
      expect(core.keepable(record)).toBe(STATUS_TRUE);
    };
    const isHere = () => core.answerable(record, 1, 1) === STATUS_TRUE;
    let place = 0;
    for (const first of [0, 5, -KEPT_PLACES - 1, 0x7fffffff]) {
      for (let lap = 0; lap < 3; lap++) {
        const sequence = (first + lap * KEPT_PLACES) | 0;
        take(sequence);
        const at = core.keepResult(record, STATUS_TRUE, 0, 5000, 1) >>> 0;
        // Where the last one stood: that is free, and nothing else is.
        if (place !== 0) expect(at).toBe(place);
        place = at;
        expect(core.keptPayload(record) >>> 0).toBe(at);
        expect(core.keptResult(record)).toBe(STATUS_TRUE | (5000 << 8));
        // It counts as answered now; one that comes too late for a command long before finds nothing of its own.
        take(sequence);
        core.keepResult(record, STATUS_TRUE, 0, 5000, 1);
        core.dropResult(3, (sequence - KEPT_PLACES) | 0);
        core.dropResult(2, sequence);
        expect(isHere()).toBe(true);
        core.dropResult(3, sequence);
        core.dropResult(3, sequence);
        expect(isHere()).toBe(false);
      }
    }
    // What is not wanted any more is not kept, but that it was carried out is.
    take(77);
    expect(core.keepResult(record, STATUS_TRUE, 0, 5000, 0)).toBe(1);
    expect(isHere()).toBe(false);
    take(78);
    expect(core.keepResult(record, STATUS_TRUE, 0, 8, 0)).toBeGreaterThan(1);
    expect(isHere()).toBe(true);
  });
});
