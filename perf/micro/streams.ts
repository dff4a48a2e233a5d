/** What the parts of the ordered path cost by themselves: rings, waiting, queues, codecs, the conflict-ordered set. */
import { Worker } from 'node:worker_threads';
import { chars, object, u32 } from 'typed-binary';
import { keyOrder } from '../../engine/key-order.ts';
import { ByteViews, ValueCodec, type ValueType } from '../../engine/values.ts';
import { f64 } from '../../index.ts';
import {
  OP_PUT,
  OPERATION_CODE,
  OPERATION_GROUPS,
  OPERATION_KEY,
  OPERATION_SLOTS,
  SLOT,
} from '../../layout/operation.ts';
import { STATE_OPEN, STREAMS_STATE } from '../../layout/streams.ts';
import { KEY_F64, KEY_I64, KEY_U32 } from '../../layout/tree-memory.ts';
import { Barrier } from '../../workers/barrier.ts';
import { ConflictOrderedSet, type IndexName } from '../../workers/conflict-ordered-set.ts';
import { Handover, handoverSize } from '../../workers/handover.ts';
import { Multicast } from '../../workers/multicast.ts';
import { GroupRing, RingReader } from '../../workers/ring.ts';
import { Signals } from '../../workers/signals.ts';
import { Streams } from '../../workers/streams.ts';
import { type WaitName, waitStrategy } from '../../workers/waiting.ts';
import type { Case } from './case.ts';

function openStreams(groups: number, executors: number): Streams {
  const streams = Streams.create({
    ...{ groups, executors, replicas: 1, clients: 4 },
    ...{ ringSlots: 4096, replyBytes: 65536, start: 0 },
  });
  Atomics.store(streams.words, STREAMS_STATE >> 2, STATE_OPEN);
  return streams;
}

/** Records of one slot: puts on different keys. */
function records(n: number, groups = 0): { bytes: Uint8Array; words: Int32Array } {
  const bytes = new Uint8Array(n * SLOT);
  const words = new Int32Array(bytes.buffer);
  for (let i = 0; i < n; i++) {
    bytes[i * SLOT + OPERATION_CODE] = OP_PUT;
    bytes[i * SLOT + OPERATION_SLOTS] = 1;
    words[(i * SLOT + OPERATION_GROUPS) >> 2] = groups;
    words[(i * SLOT + OPERATION_KEY) >> 2] = i * 7919;
  }
  return { bytes, words };
}

/** A ring: one writer, one reader, both in this thread, so without waiting. */
export function rings(): Case[] {
  const cases = [1, 16, 256].map((n): Case => {
    const streams = openStreams(1, 1);
    const ring = new GroupRing(streams, 0);
    const reader = new RingReader(streams, 0, 0);
    const { bytes } = records(n);
    const target = new Uint8Array(n * SLOT);
    return {
      name: `claim, write, publish, poll, copy, advance: runs of ${n}, per record`,
      operations: n,
      call() {
        if (ring.tryAppend(bytes, n, 0) < 0) throw new Error('the ring is full');
        const slots = reader.poll(4096);
        reader.copyTo(target, 0, slots);
        reader.advance(slots);
        return target[0];
      },
    };
  });
  for (const groups of [2, 8]) {
    const streams = openStreams(groups, groups);
    const multicast = new Multicast(streams, 1);
    const readers = Array.from({ length: groups }, (_, group) => new RingReader(streams, group, 0));
    const runs = readers.map(() => ({ ...records(1, (1 << groups) - 1), slots: 1, lastMarker: 0 }));
    const numbered = runs.flatMap((_, group) => [0, group, 0]);
    cases.push({
      name: `one command to ${groups} groups, appended under the lock, and read`,
      operations: 1,
      call() {
        if (!multicast.tryAppend(runs, numbered, 1)) throw new Error('a ring is full');
        for (const reader of readers) reader.advance(reader.poll(4096));
        return readers[0].position;
      },
    });
  }
  return cases;
}

/** A queue between two threads of a replica, both ends in this thread. */
export function queues(): Case[] {
  const words = new Int32Array(new SharedArrayBuffer(handoverSize(1024)));
  const signals = new Signals(openStreams(1, 2), 0, 0, waitStrategy('spin'));
  const writer = new Handover(words, 0, 1024, signals, 1);
  const reader = new Handover(words, 0, 1024, signals, 1);
  return [
    {
      name: 'a record through a queue between threads, both ends here',
      operations: 1,
      call() {
        words[writer.reserve(1) >> 2] = OP_PUT | (1 << 16);
        writer.wrote(1);
        writer.publish();
        const slots = reader.available(1024);
        const word = words[reader.address >> 2];
        reader.advance(slots);
        return word;
      },
    },
  ];
}

/** What a partner thread does over and over. */
export interface PartnerOrders {
  readonly streams: SharedArrayBuffer;
  readonly wait: WaitName;
}

/** Sync points of two executors, the other one in a thread of its own; `close` ends it. */
export async function barriers(): Promise<{ cases: Case[]; close(): Promise<void> }> {
  const partners: Worker[] = [];
  const cases = await Promise.all(
    (['spin', 'park'] as const).map(async (wait): Promise<Case> => {
      const streams = openStreams(2, 2);
      const orders: PartnerOrders = { streams: streams.memory, wait };
      const partner = new Worker(new URL('./partner.js', import.meta.url), { workerData: orders });
      partners.push(partner);
      await new Promise((resolve) => partner.once('message', resolve));
      const signals = new Signals(streams, 0, 0, waitStrategy(wait));
      const barrier = new Barrier(streams, 0, 0, signals);
      let number = 0;
      return {
        name:
          wait === 'spin'
            ? 'sync point of two executors that spin'
            : 'sync point of two executors that park: two wake-ups',
        operations: 1,
        call() {
          number++;
          // Nothing wakes the partner while it waits for its own release but this.
          if (!barrier.gather(number, [1])) throw new Error('the partner is gone');
          barrier.release(number, [1]);
          return number;
        },
      };
    }),
  );
  return {
    cases,
    async close() {
      await Promise.all(partners.map((partner) => partner.terminate()));
    },
  };
}

/** Values into records and out of replies; keys into stored order. */
export function codecs(): Case[] {
  const Quote = object({ symbol: chars(4), price: f64, size: u32 });
  const views = new ByteViews(1024);
  const value = (name: string, type: ValueType, sample: unknown): Case[] => {
    const codec = new ValueCodec(type);
    codec.encode(views, 0, sample);
    return [
      { name: `encode ${name}`, operations: 1, call: () => codec.encode(views, 0, sample) },
      { name: `decode ${name}`, operations: 1, call: () => codec.decode(views, 0) },
    ];
  };
  const key = (name: string, code: number, sample: unknown): Case => {
    const order = keyOrder(code);
    return {
      name: `key ${name} into stored order`,
      operations: 1,
      call() {
        order.take(sample);
        return order.low;
      },
    };
  };
  return [
    ...value('u32', 'u32', 7),
    ...value('f64', 'f64', 7.5),
    ...value('i64', 'i64', 7n),
    ...value('a record of 16 bytes', Quote, { symbol: 'ABCD', price: 1.5, size: 9 }),
    key('u32', KEY_U32, 7),
    key('f64', KEY_F64, -7.5),
    key('i64', KEY_I64, -7n),
  ];
}

/** The set of `sdpe` and its twin, with so many commands pending. */
export function conflictSets(): Case[] {
  return [16, 50, 150].flatMap((pending) =>
    (['keys', 'pairwise'] as const).map((index: IndexName): Case => {
      const set = new ConflictOrderedSet(pending + 1, index);
      const { words } = records(4096);
      const oldest: number[] = [];
      let next = 0;
      const insert = () => {
        oldest.push(set.insert(words, (next++ & 4095) * SLOT, 1));
      };
      for (let i = 0; i < pending; i++) insert();
      for (let i = 0; i < pending; i++) set.get();
      return {
        name: `insert, get, remove with ${pending} pending, by ${index === 'keys' ? 'key' : 'pairs'}`,
        operations: 1,
        call() {
          insert();
          const id = set.get();
          set.remove(oldest.shift() as number);
          return id;
        },
      };
    }),
  );
}
