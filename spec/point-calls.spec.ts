/**
 * Operations on one key of stores whose keys or values vary in length are carried out twice over: in runs by the core
 * (engine/core/calls.ts), and one by one by the executor, where the core leaves them to it. Both come to the same.
 */
import { describe, expect, it } from 'vitest';
import { Attachment, createTreeMemory } from '../dist/engine/attachment.js';
import { keyCode, pagesOf, shapeOf } from '../dist/engine/shape.js';
import { treeDigest, treeSize } from '../dist/engine/stats.js';
import { ByteViews, ValueCodec, type ValueType } from '../dist/engine/values.js';
import type { KeyType } from '../dist/index.js';
import {
  OP_ADD,
  OP_COMPARE_AND_SET,
  OP_DELETE,
  OP_GET,
  OP_HAS,
  OP_INSERT,
  OP_PUT,
  OP_SKIP,
  OP_UPDATE,
  OPERATION_CLIENT,
  OPERATION_FLAGS,
  OPERATION_GROUPS,
  OPERATION_RESENT,
  OPERATION_SEQUENCE,
  REPLY_LENGTH_SHIFT,
  REPLY_PAYLOAD,
  REPLY_RUN_SIZE,
  SLOT,
} from '../dist/layout/operation.js';
import { EXECUTOR_KEPT } from '../dist/layout/streams.js';
import { HEADER_BUMP } from '../dist/layout/tree-memory.js';
import { Applier, allocate } from '../dist/workers/applier.js';
import { callBytes, type Invocation, writeCall } from '../dist/workers/call-record.js';
import { CallRunner } from '../dist/workers/call-runner.js';
import { CommandTable } from '../dist/workers/command-table.js';
import { REPLY_RUNS, type ReplySink, replyArea, replyRoom, replySize } from '../dist/workers/replies.js';
import { Signals } from '../dist/workers/signals.js';
import { Streams } from '../dist/workers/streams.js';
import { VariableCalls } from '../dist/workers/variable-calls.js';
import { waitStrategy } from '../dist/workers/waiting.js';
import { type Random, seeded } from './support/random.ts';

const STAGE = 2048;
const CLIENTS = 3;
const LONGEST = 20_000;

const shapeWith = (replicas: number) => ({
  ...{ groups: 2, executors: 1, replicas, clients: CLIENTS, ringSlots: 4096, replyBytes: 1 << 17 },
  ...{ calls: true, start: 0 },
});

/** One replica's hands on a tree of its own, and what they have answered. */
class Hands implements ReplySink {
  readonly replies: [client: number, sequence: number, status: number, payload: string][] = [];
  readonly attachment: Attachment;
  readonly applier: Applier;
  readonly stage: number;
  answers = true;
  /** Commands that were carried out one by one. */
  single = 0;
  private readonly area: number;
  private readonly table: number;

  constructor(key: KeyType, value: ValueType, replicas: number, inCore: boolean) {
    const values = new ValueCodec(value);
    const streams = Streams.create(shapeWith(replicas));
    const memory = createTreeMemory(keyCode(key), values, shapeOf(keyCode(key), values.stride), pagesOf('64MB'), 2000);
    const moved = values.variable === undefined ? values : ValueCodec.opaque(value as never);
    this.attachment = new Attachment(memory, undefined, moved);
    const { attachment } = this;
    const own = streams.executor(0, 0);
    Atomics.store(streams.words, (own + EXECUTOR_KEPT) >> 2, allocate(attachment, CLIENTS * 4));
    this.stage = allocate(attachment, STAGE * SLOT);
    const room = allocate(attachment, replyRoom(streams));
    this.area = replyArea(streams);
    this.table = room + this.area;
    attachment.core.setReplyArea(room, this.area, this.table, REPLY_RUNS);
    const table = new CommandTable([], attachment.keyCode, values);
    const signals = new Signals(streams, 0, 0, waitStrategy('park', true));
    const rules = { limit: 1000, longest: LONGEST, replayed: false };
    const calls = new CallRunner(streams, attachment, moved, table, signals, rules);
    this.applier = new Applier(streams, attachment, 0, 0, calls);
    this.applier.renew();
    this.applier.pointsInCore = inCore;
  }

  flush(): void {
    const { core } = this.attachment;
    const { memory, words } = this.applier;
    for (let run = 0; run < core.replyRuns(); run++) {
      const [client, start, end] = words.subarray(
        (this.table + run * REPLY_RUN_SIZE) >> 2,
        ((this.table + run * REPLY_RUN_SIZE) >> 2) + 3,
      );
      for (let at = start; at < end; ) {
        const head = words[(at >> 2) + 1];
        const length = head >>> REPLY_LENGTH_SHIFT;
        this.take(client, words[at >> 2], head & 0xff, memory.slice(at + REPLY_PAYLOAD, at + REPLY_PAYLOAD + length));
        at += replySize(length);
      }
    }
    core.clearReplies();
  }

  reply(client: number, sequence: number, status: number, payload: Uint8Array): void {
    this.single++;
    this.take(client, sequence, status, payload);
  }

  private take(client: number, sequence: number, status: number, payload: Uint8Array): void {
    this.replies.push([client, sequence, status, Buffer.from(payload).toString('hex')]);
  }

  /** Carries records out that stand one behind the other. */
  run(records: readonly Uint8Array[]): void {
    let end = 0;
    for (const record of records) {
      this.applier.memory.set(record, this.stage + end);
      end += record.length;
    }
    for (let at = 0; at < end; ) at += this.applier.alone(this.stage + at, (end - at) / SLOT, 0, this) * SLOT;
  }
}

/** The record of a command. */
function recordOf(call: { op: number; value: unknown }, client: number, sequence: number): Uint8Array {
  const given = call.value as Invocation;
  const slots = Math.ceil(callBytes(given) / SLOT);
  const views = new ByteViews(slots * SLOT);
  views.i32[0] = call.op | (slots << 16);
  views.i32[OPERATION_CLIENT >> 2] = client;
  views.i32[OPERATION_SEQUENCE >> 2] = sequence;
  writeCall(views, 0, given);
  return views.u8;
}

const skip = (slots: number): Uint8Array => {
  const record = new Uint8Array(slots * SLOT);
  record.set([OP_SKIP, 0, slots]);
  return record;
};

/** A value that is mostly short, sometimes empty, and sometimes longer than what the core reads. */
const text = (random: Random) =>
  'x'.repeat([0, 1, 7, 8, 30, 300, 4096, 4097, 19_000][random.below(9)]) + random.below(3);

const KINDS: {
  key: KeyType;
  value: ValueType;
  keyOf: (n: number) => unknown;
  valueFrom: (random: Random) => unknown;
}[] = [
  { key: 'string', value: 'f64', keyOf: (n) => `key ${n}`, valueFrom: (random) => random.below(4) },
  { key: 'string', value: 'string', keyOf: (n) => `${'long '.repeat(n % 9)}${n}`, valueFrom: text },
  { key: 'tuple', value: 'i64', keyOf: (n) => [n % 3, `${n}`], valueFrom: (random) => BigInt(random.below(4)) },
  { key: 'u32', value: 'string', keyOf: (n) => n, valueFrom: text },
  { key: 'f64', value: 'string', keyOf: (n) => n / 2 - 20, valueFrom: text },
];

describe.each(KINDS)('operations on one key as commands: $key to $value', ({ key, value, keyOf, valueFrom }) => {
  it.each([
    ['what is answered, and what is kept', 2, true],
    ['by the only replica', 1, true],
    ['by a replica that does not answer', 2, false],
  ] as const)('%s is the same', async (_, replicas, answers) => {
    await seeded(`point calls ${key} ${String(value)} ${replicas} ${answers}`, async (random) => {
      const both = [true, false].map((inCore) => new Hands(key, value, replicas, inCore));
      for (const hands of both) hands.answers = answers;
      const numeric = value === 'f64' || value === 'i64';
      const calls = new VariableCalls(
        Streams.create(shapeWith(replicas)),
        keyCode(key),
        new ValueCodec(value),
        LONGEST,
      );
      const sequences = new Array<number>(CLIENTS).fill(0);
      const sent: Uint8Array[] = [];
      const ops = [
        OP_GET,
        OP_GET,
        OP_HAS,
        OP_PUT,
        OP_PUT,
        OP_INSERT,
        OP_UPDATE,
        OP_DELETE,
        OP_DELETE,
        OP_COMPARE_AND_SET,
      ];
      if (numeric) ops.push(OP_ADD);
      for (let round = 0; round < 200; round++) {
        const records: Uint8Array[] = [];
        let bytes = 0;
        while (bytes < (STAGE - 700) * SLOT && records.length < 40 && !random.chance(0.03)) {
          let record: Uint8Array;
          if (records.length > 0 && random.chance(0.05)) record = skip(1 + random.below(3));
          else if (replicas > 1 && sent.length > 0 && random.chance(0.1)) {
            record = sent[random.below(sent.length)].slice();
            record[OPERATION_FLAGS] |= OPERATION_RESENT;
          } else {
            const op = ops[random.below(ops.length)];
            const given = { op, key: keyOf(random.below(600)), value: valueFrom(random), expected: valueFrom(random) };
            const call = calls.callOf({ ...given, range: undefined, sink: undefined as never, index: 0 });
            const client = random.below(CLIENTS);
            record = recordOf(call, client, sequences[client]++);
            sent.push(record);
            if (sent.length > 50) sent.shift();
          }
          // Where its turn is another one: it is carried out when it stands first.
          if (random.chance(0.05)) record[OPERATION_GROUPS] = 3;
          records.push(record);
          bytes += record.length;
        }
        for (const hands of both) hands.run(records);
      }
      const [core, single] = both;
      expect(core.replies).toEqual(single.replies);
      expect(core.replies.length > 1000).toBe(answers);
      expect(treeSize(core.attachment)).toBe(treeSize(single.attachment));
      expect(treeSize(core.attachment)).toBeGreaterThan(10);
      expect(treeDigest(core.attachment)).toBe(treeDigest(single.attachment));
      // Nothing that was made and not taken is left behind.
      const taken = ({ applier }: Hands) => applier.words[HEADER_BUMP >> 2];
      expect(taken(core)).toBe(taken(single));
      expect(core.applier.counters).toEqual(single.applier.counters);
      // It was the core, but for what it leaves.
      if (answers) {
        expect(core.single).toBeLessThan(core.replies.length / 2);
        expect(core.single > 0).toBe(replicas > 1 || value === 'string');
        expect(single.single).toBe(single.replies.length);
      }
    })();
  });
});
