/** A group ring: exactly full, across the wrap of its positions, and with four producers and three readers at once. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { STREAMS_ALIVE } from '../dist/layout/streams.js';
import { Multicast } from '../dist/workers/multicast.js';
import { FULL, GroupRing, RingReader } from '../dist/workers/ring.js';
import { groupOf, Streams } from '../dist/workers/streams.js';

function streamsOf(ringSlots: number, start: number, replicas = 1, groups = 1): Streams {
  return Streams.create({
    groups,
    executors: groups,
    replicas,
    clients: 1,
    ringSlots,
    replyBytes: 4096,
    start: start | 0,
  });
}

/** A run of `slots` slots whose bytes all are `mark`. */
function run(slots: number, mark: number): Uint8Array {
  return new Uint8Array(slots * 64).fill(mark);
}

/** Reads everything there is; the marks of the slots. */
function drain(reader: RingReader, capacity: number): number[] {
  const marks: number[] = [];
  for (let slots = reader.poll(capacity); slots > 0; slots = reader.poll(capacity)) {
    const bytes = new Uint8Array(slots * 64);
    reader.copyTo(bytes, 0, slots);
    reader.advance(slots);
    for (let slot = 0; slot < slots; slot++) {
      const mark = bytes[slot * 64];
      // All but the run length, which the ring stamps into the first record.
      for (let i = 0; i < 64; i++) if (i < 12 || i > 15) expect(bytes[slot * 64 + i]).toBe(mark);
      marks.push(mark);
    }
  }
  return marks;
}

describe.each([0, 2 ** 31 - 21, 2 ** 32 - 21])('a ring that begins at position %d', (start) => {
  it('takes exactly its capacity, keeps it whole, and takes as much again', () => {
    const streams = streamsOf(16, start);
    const ring = new GroupRing(streams, 0);
    const reader = new RingReader(streams, 0, 0);
    for (let lap = 0; lap < 12; lap++) {
      expect(reader.poll(16)).toBe(0);
      for (let i = 0; i < 4; i++)
        expect(ring.tryAppend(run(4, i + 1), 4, 0)).toBe((start + lap * 16 + i * 4) % 2 ** 32);
      // Exactly full: nothing fits, and what was refused left no trace.
      expect(ring.hasRoom(1, 0)).toBe(false);
      expect(ring.tryAppend(run(1, 9), 1, 0)).toBe(FULL);
      expect(reader.poll(16)).toBe(16);
      expect(drain(reader, 16)).toEqual([1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4]);
    }
  });

  it('breaks a run at its end and gives it back whole', () => {
    const streams = streamsOf(16, start);
    const ring = new GroupRing(streams, 0);
    const reader = new RingReader(streams, 0, 0);
    for (let i = 0; i < 100; i++) {
      const slots = 1 + (i % 4);
      expect(ring.tryAppend(run(slots, (i % 200) + 1), slots, 0)).not.toBe(FULL);
      expect(drain(reader, 16)).toEqual(new Array(slots).fill((i % 200) + 1));
    }
  });

  it('is gated by the slowest living reader, and let go when that one is lost', () => {
    const streams = streamsOf(16, start, 2);
    const ring = new GroupRing(streams, 0);
    const [fast, slow] = [new RingReader(streams, 0, 0), new RingReader(streams, 0, 1)];
    for (let i = 0; i < 4; i++) ring.tryAppend(run(4, i + 1), 4, 0);
    expect(drain(fast, 16).length).toBe(16);
    expect(ring.tryAppend(run(1, 9), 1, 0)).toBe(FULL);
    slow.advance(4);
    expect(ring.tryAppend(run(4, 5), 4, 0)).not.toBe(FULL);
    expect(ring.tryAppend(run(1, 9), 1, 0)).toBe(FULL);
    Atomics.and(streams.words, STREAMS_ALIVE >> 2, ~2);
    expect(ring.tryAppend(run(4, 6), 4, 0)).not.toBe(FULL);
    expect(drain(fast, 16)).toEqual([5, 5, 5, 5, 6, 6, 6, 6]);
  });

  it('keeps slots free for whom they are kept', () => {
    const streams = streamsOf(16, start);
    const ring = new GroupRing(streams, 0);
    for (let i = 0; i < 3; i++) expect(ring.tryAppend(run(4, 1), 4, 4)).not.toBe(FULL);
    expect(ring.tryAppend(run(1, 2), 1, 4)).toBe(FULL);
    expect(ring.tryAppend(run(4, 3), 4, 0)).not.toBe(FULL);
  });

  it('refuses a run longer than a quarter, and shows nothing that was only claimed', () => {
    const streams = streamsOf(16, start);
    const ring = new GroupRing(streams, 0);
    const reader = new RingReader(streams, 0, 0);
    expect(() => ring.tryAppend(run(5, 1), 5, 0)).toThrow(expect.objectContaining({ code: 'ERR_TOO_LARGE', value: 5 }));
    const first = ring.tryClaim(2, 0, 0);
    const second = ring.tryClaim(2, 0, 0);
    ring.write(second, run(2, 2), 2);
    ring.publish(second, 2);
    // The later run is published, the earlier is not: the reader waits for it.
    expect(reader.poll(16)).toBe(0);
    ring.write(first, run(2, 1), 2);
    ring.publish(first, 2);
    expect(drain(reader, 16)).toEqual([1, 1, 2, 2]);
  });
});

describe('many threads', () => {
  it.each([
    ['a tiny ring before the wrap', 32, 2 ** 32 - 5000],
    ['a larger ring', 256, 2 ** 31 - 3000],
  ])(
    '4 producers and 3 readers, %s: every reader gets every record once, in one order',
    async (_, ringSlots, start) => {
      const streams = streamsOf(ringSlots, start, 3);
      const records = 5000;
      const start1 = (role: string, number: number) =>
        new Worker(new URL('./support/ring-thread.mjs', import.meta.url), {
          workerData: { memory: streams.memory, role, number, records, producers: 4 },
        });
      const readers = [0, 1, 2].map((number) => start1('reader', number));
      const producers = [0, 1, 2, 3].map((number) => start1('producer', number));
      const orders = await Promise.all(readers.map(async (reader) => (await once(reader, 'message'))[0]));
      await Promise.all([...readers, ...producers].map((worker) => worker.terminate()));
      expect(typeof orders[0]).toBe('number');
      expect(new Set(orders).size).toBe(1);
    },
  );
});

describe('multicast', () => {
  const boxes = (slots: readonly number[], mark: number) =>
    slots.map((n) => {
      const bytes = new Uint8Array(16 * 64).fill(mark);
      return { bytes, words: new Int32Array(bytes.buffer), slots: n, lastMarker: n - 1 };
    });

  it('appends to all rings or to none', () => {
    const streams = streamsOf(64, -3, 1, 3);
    const multicast = new Multicast(streams, 1);
    const readers = [0, 1, 2].map((group) => new RingReader(streams, group, 0));
    expect(multicast.tryAppend(boxes([2, 1, 1], 1), [0, 0, 0, 0, 1, 0, 0, 2, 0], 1)).toBe(true);
    // Fill ring 1 as far as a one-group writer may.
    const { keepFromSingles } = multicast;
    while (multicast.rings[1].tryAppend(run(1, 7), 1, keepFromSingles) !== FULL);
    // The multicast's own part is still free, in all rings.
    expect(multicast.tryAppend(boxes([16, 16, 16], 2), [], 0)).toBe(true);
    expect(multicast.tryAppend(boxes([1, 1, 1], 3), [], 0)).toBe(false);
    expect(multicast.tryAppend(boxes([1, 0, 1], 4), [], 0)).toBe(true);
    // A retry fits even now.
    const retry = boxes([1], 5)[0];
    for (let i = 0; i < 3; i++) expect(multicast.tryRetry(retry.bytes.subarray(0, 64), retry.words)).toBe(true);
    expect(multicast.tryRetry(retry.bytes.subarray(0, 64), retry.words)).toBe(false);
    const marks = (reader: RingReader) => {
      const seen: number[] = [];
      for (let slots = reader.poll(64); slots > 0; slots = reader.poll(64)) {
        const bytes = new Uint8Array(slots * 64);
        reader.copyTo(bytes, 0, slots);
        reader.advance(slots);
        for (let slot = 0; slot < slots; slot++) seen.push(bytes[slot * 64]);
      }
      return seen.filter((mark) => mark !== 7);
    };
    const full = new Array(16).fill(2);
    expect(marks(readers[0])).toEqual([1, 1, ...full, 4, 5, 5, 5]);
    expect(marks(readers[1])).toEqual([1, ...full, 5, 5, 5]);
    expect(marks(readers[2])).toEqual([1, ...full, 4, 5, 5, 5]);
  });

  it('numbers increase, across the 32-bit wrap too, and 0 is left out', () => {
    const streams = streamsOf(64, 0, 1, 2);
    const multicast = new Multicast(streams, 1);
    streams.words[576 >> 2] = -3;
    const seen: number[] = [];
    for (let i = 0; i < 5; i++) {
      const parcel = boxes([1, 1], 1);
      expect(multicast.tryAppend(parcel, [0, 0, 0, 0, 1, 0], 1)).toBe(true);
      expect(parcel[0].words[4]).toBe(parcel[1].words[4]);
      seen.push(parcel[0].words[4]);
    }
    expect(seen).toEqual([-2, -1, 1, 2, 3]);
  });

  it('does nothing while somebody else holds the lock', () => {
    const streams = streamsOf(64, 0, 1, 2);
    const multicast = new Multicast(streams, 1);
    Atomics.store(streams.words, 512 >> 2, 99);
    expect(multicast.tryAppend(boxes([1, 1], 1), [], 0)).toBe(false);
    Atomics.store(streams.words, 512 >> 2, 0);
    expect(multicast.tryAppend(boxes([1, 1], 1), [], 0)).toBe(true);
  });
});

describe('groups', () => {
  it.each([2, 3, 7, 32])('%d groups get about equally many of neighbouring keys', (groups) => {
    const counts = new Array(groups).fill(0);
    for (let key = 0; key < 32_000; key++) counts[groupOf(key, 0, groups)]++;
    for (const count of counts) expect(Math.abs(count / (32_000 / groups) - 1)).toBeLessThan(0.25);
    for (let high = 0; high < 1000; high++) expect(groupOf(0, high, groups)).toBeLessThan(groups);
  });
});
