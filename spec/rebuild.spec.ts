/**
 * How a lost replica comes back: its tree is emptied whatever its dead writers left there, its readers begin again behind
 * a cut and take aside what comes, and it holds what the others hold.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { Attachment, createTreeMemory, threadSlot } from '../dist/engine/attachment.js';
import { resetTree } from '../dist/engine/reset.js';
import { keyCode, shapeOf } from '../dist/engine/shape.js';
import { ValueCodec } from '../dist/engine/values.js';
import { type ModelName, SharedTree, type StoreEvent, type TreeHandle } from '../dist/index.js';
import { NODE_COUNT, NODE_KEYS, VERSION_COUNT_SHIFT, VERSION_OWNER_SHIFT } from '../dist/layout/node.js';
import { NOBODY, OPERATION_CLIENT, OPERATION_KEY, SLOT, STATUS_TRUE } from '../dist/layout/operation.js';
import {
  CUT_COPIED,
  CUT_NUMBER,
  CUT_REACHED,
  CUT_TARGET,
  RING_CLAIM,
  STATE_OPEN,
  STREAMS_ALIVE,
  STREAMS_STATE,
} from '../dist/layout/streams.js';
import {
  BLOCK_PREFIX,
  BLOCK_SIZE,
  HEADER_BRANCH_CHILDREN,
  HEADER_BUMP,
  HEADER_NODE_SIZE,
  HEADER_ROOT,
  THREAD_ALIVE,
  THREAD_STATE,
} from '../dist/layout/tree-memory.js';
import { FULL, GroupRing, RingReader } from '../dist/workers/ring.js';
import { Streams } from '../dist/workers/streams.js';
import { Supervisor } from '../dist/workers/supervisor.js';
import { Witnesses } from './support/drills.ts';
import { SEED, seeded } from './support/random.ts';
import {
  type AnyStore,
  agreeOnReplicas,
  codeOf,
  inTime,
  SOME_MODELS,
  stall,
  until,
  withStore,
} from './support/stores.ts';

/** A thread of fault-thread.mjs. */
class FaultThread {
  readonly worker: Worker;
  /** What it says first. */
  readonly begun: Promise<number>;
  readonly result: Promise<number>;

  constructor(role: string, number: number, data: object) {
    this.worker = new Worker(new URL('./support/fault-thread.mjs', import.meta.url), {
      workerData: { role, number, seed: SEED, ...data },
    });
    this.begun = once(this.worker, 'message').then(([message]) => message);
    this.result = new Promise((resolve, reject) => {
      this.worker.on('message', (message) => message.result !== undefined && resolve(message.result));
      this.worker.on('error', reject);
    });
    this.begun.catch(() => {});
    this.result.catch(() => {});
  }
}

const tripled = (key: number) => key * 3 + 1;

describe('emptying a tree', () => {
  const KEYS = 3000;

  const fill = (tree: SharedTree<number, number>, keys: number) => {
    for (let key = 0; key < keys; key++) tree.put(key, tripled(key));
  };

  it(
    'whose writers died anywhere, 50 times: it is empty and whole, its readers go on, and it takes no more memory',
    seeded('emptying', async (random) => {
      const tree = SharedTree.create({ key: 'u32', value: 'f64', fanout: 4, memory: '32MB', latchTimeout: 20 });
      const handle = tree.handle as TreeHandle;
      fill(tree, KEYS);
      tree.close();
      const watch = SharedTree.attach<number, number>(handle);
      const stop = new Int32Array(new SharedArrayBuffer(4));
      const reader = new FaultThread('tree-reader', 99, { handle, keys: KEYS, stop });
      await inTime('the reader', reader.begun);
      const used: number[] = [];
      let deaths = 0;
      for (let round = 0; round < 50; round++) {
        const writer = new FaultThread('tree-writer', round, { handle, keys: KEYS });
        const thread = await inTime('the writer', writer.begun);
        const end = performance.now() + random.below(8);
        while (performance.now() < end);
        await writer.worker.terminate();
        deaths++;
        resetTree(handle.memory, [thread, 0]);
        expect(watch.check()).toMatchObject({ entries: 0, leaves: 1, branches: 0, height: 1, quiet: true });
        expect([watch.size, watch.digest(), watch.first(), watch.get(random.below(KEYS))]).toEqual([
          0,
          0n,
          undefined,
          undefined,
        ]);
        expect([...watch.range()]).toEqual([]);
        // A thread of the next life has a slot of the dead, and loads what belongs there.
        const next = SharedTree.attach<number, number>(handle);
        expect(next.thread).toBe(thread);
        fill(next, KEYS);
        expect(next.check()).toMatchObject({ entries: KEYS, quiet: true });
        expect(watch.get(17)).toBe(tripled(17));
        used.push(next.stats().bytesUsed);
        next.close();
      }
      Atomics.store(stop, 0, 1);
      expect(await inTime('the reader', reader.result)).toBeGreaterThan(0);
      expect(deaths).toBe(50);
      // A block that was being taken when its thread died may be lost, a node in the same way; no more.
      const growth = used[used.length - 1] - used[4];
      expect(growth, `from ${used[4]} bytes`).toBeLessThan(used[4] / 10);
      await reader.worker.terminate();
      watch.close();
    }),
  );

  it(
    'with nodes latched and half written: they are given back, and nobody who read there is misled',
    seeded('half written', (random) => {
      for (let round = 0; round < 30; round++) {
        const tree = SharedTree.create({ key: 'u32', value: 'f64', fanout: random.pick([4, 8, 16]), memory: '16MB' });
        fill(tree, 1 + random.below(1500));
        const { memory } = tree.handle as TreeHandle;
        const words = new Uint32Array(memory.buffer);
        const versions = new BigUint64Array(memory.buffer);
        const size = words[HEADER_NODE_SIZE >> 2];
        const root = words[HEADER_ROOT >> 2];
        const nodes: number[] = [];
        const visit = (node: number): void => {
          nodes.push(node);
          for (const child of childrenOf(words, node)) visit(child);
        };
        visit(root);
        const before = nodes.map((node) => versions[node >> 3]);
        const dead = BigInt(tree.thread);
        const count = BigInt(VERSION_COUNT_SHIFT);
        for (const node of random.shuffled(nodes).slice(0, 1 + random.below(5))) {
          versions[node >> 3] |= 1n | (dead << BigInt(VERSION_OWNER_SHIFT));
          for (let at = (node + NODE_KEYS) >> 2; at < (node + size) >> 2; at++)
            if (random.chance(0.3)) words[at] = random.u32();
        }
        const other = SharedTree.attach<number, number>(tree.handle as TreeHandle);
        resetTree(memory, [tree.thread]);
        // Versions have moved on, and none is latched.
        for (const [i, node] of nodes.entries()) {
          expect(versions[node >> 3] & 1n).toBe(0n);
          expect(versions[node >> 3] >> count).toBeGreaterThan(before[i] >> count);
        }
        expect(other.check()).toMatchObject({ entries: 0, quiet: true });
        const bump = words[HEADER_BUMP >> 2];
        fill(other, 200);
        expect(other.check()).toMatchObject({ entries: 200, quiet: true });
        if (nodes.length > 300) expect(words[HEADER_BUMP >> 2]).toBe(bump);
      }
    }),
  );

  it('blocks of dead threads go to their successors, those of living ones stay as they are', () => {
    const codec = new ValueCodec('f64');
    const code = keyCode('u32');
    const memory = createTreeMemory(code, codec, shapeOf(code, 8, undefined, 4), 256, 1000);
    const attach = () => new Attachment(memory, code, codec);
    const [dead, alive] = [attach(), attach()];
    const sizes = [64, 4096, 4096, 100_000, 300];
    const theirs = sizes.map((size) => dead.core.allocateBlock(size));
    const kept = sizes.map((size) => alive.core.allocateBlock(size));
    const bytes = () => new Uint8Array(memory.buffer);
    memory.grow(0);
    for (const [i, at] of theirs.entries()) bytes().fill(0xaa, at, at + sizes[i]);
    for (const [i, at] of kept.entries()) bytes().fill(0xbb, at, at + sizes[i]);
    let another = 0;
    for (let life = 0; life < 20; life++) {
      const bump = new Uint32Array(memory.buffer)[HEADER_BUMP >> 2];
      resetTree(memory, [dead.thread]);
      const next = attach();
      expect(next.thread).toBe(dead.thread);
      // Its work block stays with the slot, and is nobody's area.
      const work = next.core.blockAddress();
      const own = next.core.allocateBlock(new Uint32Array(memory.buffer)[(work - BLOCK_PREFIX + BLOCK_SIZE) >> 2]);
      expect(work).toBe(dead.core.blockAddress());
      expect(own).not.toBe(work);
      if (life > 0) expect(own).toBe(another);
      another = own;
      // All of them again, in whatever order, and clean.
      const again = sizes.toReversed().map((size) => next.core.allocateBlock(size));
      expect([...again].sort()).toEqual([...theirs].sort());
      for (const [i, at] of again.entries()) {
        const block = bytes().subarray(at, at + sizes[sizes.length - 1 - i]);
        expect(block.every((byte) => byte === 0)).toBe(true);
        block.fill(0xcc);
      }
      if (life > 0) expect(new Uint32Array(memory.buffer)[HEADER_BUMP >> 2]).toBe(bump);
      for (const [i, at] of kept.entries()) {
        expect(
          bytes()
            .subarray(at, at + sizes[i])
            .every((byte) => byte === 0xbb),
        ).toBe(true);
      }
      expect(new Uint32Array(memory.buffer)[(threadSlot(alive.thread) + THREAD_STATE) >> 2]).toBe(THREAD_ALIVE);
    }
    // The living one's registers work as before.
    alive.key.set(0, 5);
    alive.value.set(0, 7);
    expect(alive.core.put()).toBe(STATUS_TRUE);
    expect(alive.core.get()).toBe(STATUS_TRUE);
    expect(alive.value.get(0)).toBe(7);
  });
});

/** A node's children, as they stand in the memory. */
function childrenOf(words: Uint32Array, node: number): number[] {
  const head = words[(node + NODE_COUNT) >> 2];
  if (head >>> 16 === 0) return [];
  const children = (node + words[HEADER_BRANCH_CHILDREN >> 2]) >> 2;
  return [...words.subarray(children, children + (head & 0xffff) + 1)];
}

const RING = 32;

function streamsOf(start: number, ringSlots = RING): Streams {
  return Streams.create({
    groups: 1,
    executors: 1,
    replicas: 2,
    clients: 1,
    ringSlots,
    replyBytes: 64,
    start: start | 0,
  });
}

/** A run whose slots hold consecutive serial numbers. */
function run(slots: number, serial: number): Uint8Array {
  const words = new Int32Array(slots * 16);
  for (let slot = 0; slot < slots; slot++) {
    words.fill(serial + slot, slot * 16, slot * 16 + 16);
    words[slot * 16] = 1 | (1 << 16);
  }
  return new Uint8Array(words.buffer);
}

/** Serial numbers of slots that a reader finds; advances by whole runs, or by as many slots as `part` says. */
function take(reader: RingReader, most: number, part = (found: number) => found): number[] {
  const found = part(reader.poll(most));
  const words = new Int32Array(found * 16);
  reader.copyTo(new Uint8Array(words.buffer), 0, found);
  reader.advance(found);
  return Array.from({ length: found }, (_, slot) => {
    for (let i = 4; i < 16; i++) if (words[slot * 16 + i] !== words[slot * 16 + 5]) throw new Error('a torn record');
    return words[slot * 16 + 5];
  });
}

describe.each([0, 2 ** 31 - 500, 2 ** 32 - 500])('a reader that takes aside, from position %d on', (start) => {
  it(
    'reads what it would have read, in whatever order it takes aside, reads and is written for',
    seeded(`hoard ${start}`, (random) => {
      let aside = 0;
      for (let round = 0; round < 20; round++) {
        const streams = streamsOf(start);
        const ring = new GroupRing(streams, 0);
        const [live, joining] = [0, 1].map((replica) => new RingReader(streams, 0, replica));
        let serial = 0;
        const seen: number[] = [];
        for (let step = 0; step < 600; step++) {
          const kind = random.below(10);
          if (kind < 5) {
            const slots = 1 + random.below(RING >> 2);
            if (ring.tryAppend(run(slots, serial), slots, 0) !== FULL) serial += slots;
          } else if (kind < 7) {
            take(live, RING);
          } else if (kind < 9 || round % 2 === 0) {
            joining.hoard();
            aside++;
            // Whatever there was is out of the writers' way.
            const claimed = Atomics.load(streams.words, (streams.ring(0) + RING_CLAIM) >> 2);
            expect(Atomics.load(streams.words, streams.ringCursor(0, 1))).toBe(claimed);
          }
          if (kind >= 8) {
            // Whole runs: of what was found, all, or the first ones.
            const most = (RING >> 2) + random.below(RING);
            seen.push(...take(joining, most));
          }
          expect(joining.position).toBe((start + seen.length) % 2 ** 32);
        }
        for (let before = -1; before !== seen.length; ) {
          before = seen.length;
          seen.push(...take(joining, RING));
        }
        expect(seen).toEqual(Array.from({ length: serial }, (_, i) => i));
        expect(joining.poll(RING)).toBe(0);
        // Behind it reads the ring itself again, without a copy.
        take(live, RING);
        expect(ring.tryAppend(run(3, serial), 3, 0)).not.toBe(FULL);
        expect(take(joining, RING)).toEqual([serial, serial + 1, serial + 2]);
      }
      expect(aside).toBeGreaterThan(500);
    }),
  );

  it('holds writers up only when it has taken aside all that it may', () => {
    const slots = 1 << 16;
    const streams = streamsOf(start, slots);
    const ring = new GroupRing(streams, 0);
    const [live, joining] = [0, 1].map((replica) => new RingReader(streams, 0, replica));
    const { maxRun } = ring;
    let serial = 0;
    const append = () => {
      const fits = ring.tryAppend(run(maxRun, serial), maxRun, 0) !== FULL;
      if (fits) serial += maxRun;
      return fits;
    };
    // Four rings fit aside, then the ring itself.
    while (append()) {
      live.advance(live.poll(slots));
      joining.hoard();
      if (serial > 6 * slots) break;
    }
    expect(serial).toBe(5 * slots);
    let seen = 0;
    while (seen < serial) {
      const found = take(joining, slots);
      for (const [i, one] of found.entries()) if (one !== seen + i) throw new Error(`slot ${seen + i} holds ${one}`);
      seen += found.length;
      if (append()) live.advance(live.poll(slots));
      if (seen > 20 * slots) break;
      if (serial > 8 * slots) break;
    }
    expect(serial).toBeGreaterThan(5 * slots);
  });

  it('begins behind its cut and nowhere else, as far as that is there', () => {
    for (const ahead of [0, 1, 5]) {
      const streams = streamsOf(start);
      const ring = new GroupRing(streams, 0);
      const joining = new RingReader(streams, 0, 1);
      const record = (client: number, high: number) => {
        const words = new Int32Array(SLOT >> 2);
        words[0] = 36 | (1 << 16);
        words[OPERATION_CLIENT >> 2] = client;
        words[(OPERATION_KEY + 4) >> 2] = high;
        return new Uint8Array(words.buffer);
      };
      const number = 7;
      expect(joining.skipPast(number)).toBe(false);
      for (let i = 0; i < ahead; i++) ring.tryAppend(run(2, 1000), 2, 0);
      // A client's record whose key looks like it, other control commands, an earlier cut.
      ring.tryAppend(record(3, number), 1, 0);
      ring.tryAppend(record(NOBODY, 0), 1, 0);
      ring.tryAppend(record(NOBODY, number - 1), 1, 0);
      expect(joining.skipPast(number)).toBe(false);
      // Not published yet.
      const position = ring.tryClaim(1, 0, 0);
      ring.tryAppend(run(4, 0), 4, 0);
      expect(joining.skipPast(number)).toBe(false);
      expect(joining.position).toBe(position);
      ring.write(position, record(NOBODY, number), 1);
      ring.publish(position, 1);
      ring.tryAppend(run(3, 4), 3, 0);
      expect(joining.skipPast(number)).toBe(true);
      joining.hoard();
      ring.tryAppend(run(2, 7), 2, 0);
      expect([...take(joining, RING), ...take(joining, RING)]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }
  });

  it('begins where its cursor was put', () => {
    const streams = streamsOf(start);
    const ring = new GroupRing(streams, 0);
    const reader = new RingReader(streams, 0, 1);
    ring.tryAppend(run(5, 0), 5, 0);
    Atomics.store(
      streams.words,
      streams.ringCursor(0, 1),
      Atomics.load(streams.words, (streams.ring(0) + RING_CLAIM) >> 2),
    );
    reader.rewind();
    ring.tryAppend(run(2, 5), 2, 0);
    expect(take(reader, RING)).toEqual([5, 6]);
  });
});

describe('a reader that joins while others write', () => {
  // What the supervisor does when a replica's threads are ready to join.
  const { gate } = Supervisor.prototype as unknown as { gate(this: object, replica: number): void };

  it('also those that were just looking at the readers when it joined', () => {
    for (const start of [0, 2 ** 31 - 20, 2 ** 32 - 20]) {
      const streams = streamsOf(start);
      const { words } = streams;
      const [ring, other] = [new GroupRing(streams, 0), new GroupRing(streams, 0)];
      const live = new RingReader(streams, 0, 0);
      Atomics.and(words, STREAMS_ALIVE >> 2, ~2);
      while (ring.tryAppend(run(1, 0), 1, 0) !== FULL);
      take(live, RING);
      // It has seen that replica 0 is the only one; then replica 1 joins, and others write as far as both have read.
      const { load } = Atomics;
      let joined = 0;
      Atomics.load = ((view: Int32Array, at: number) => {
        const value = load(view, at);
        if (at === STREAMS_ALIVE >> 2 && joined === 0) {
          Atomics.load = load;
          gate.call({ streams, words }, 1);
          joined = load(words, streams.ringCursor(0, 1));
          for (let i = 0; i < 20; i++) expect(other.tryAppend(run(1, i), 1, 0)).not.toBe(FULL);
          live.advance(live.poll(RING));
        }
        return value;
      }) as typeof load;
      try {
        ring.tryAppend(run(1, 20), 1, 0);
      } finally {
        Atomics.load = load;
      }
      let serial = 21;
      while (ring.tryAppend(run(1, serial), 1, 0) !== FULL) serial++;
      expect(serial).toBe(RING);
      const reader = new RingReader(streams, 0, 1);
      expect(take(reader, RING)).toEqual(Array.from({ length: RING }, (_, i) => i));
    }
  });

  it('gates the writers from there on: nothing that it has yet to read is overwritten', async () => {
    const streams = streamsOf(2 ** 32 - 20_000, 64);
    Atomics.and(streams.words, STREAMS_ALIVE >> 2, ~2);
    const stop = new Int32Array(new SharedArrayBuffer(4));
    const data = { memory: streams.memory, stop };
    const threads = [
      new FaultThread('ring-drain', 9, data),
      ...[0, 1, 2].map((number) => new FaultThread('ring-writer', number, data)),
    ];
    await inTime('threads', Promise.all(threads.map(({ begun }) => begun)));
    let joins = 0;
    let slots = 0;
    const room = new Int32Array(64 * 16);
    const bytes = new Uint8Array(room.buffer);
    for (; joins < 300; joins++) {
      const reader = new RingReader(streams, 0, 1);
      gate.call({ streams, words: streams.words }, 1);
      reader.rewind();
      const next = new Map<number, number>();
      const end = performance.now() + 5000;
      // So late that writers which did not look would have gone round.
      const dawdle = performance.now() + (joins % 3) * 0.5;
      while (performance.now() < dawdle);
      for (let read = 0; read < 100 + (joins % 7) * 40; ) {
        const found = reader.poll(64);
        if (found === 0) {
          if (performance.now() > end) throw new Error('nothing more comes');
          continue;
        }
        reader.copyTo(bytes, 0, found);
        reader.advance(found);
        for (let slot = 0; slot < found; slot++) {
          const [writer, serial] = room.subarray(slot * 16 + 1);
          const wanted = next.get(writer);
          if (wanted !== undefined && serial !== wanted)
            throw new Error(`writer ${writer}: ${serial} after ${wanted - 1}`);
          for (let i = 4; i < 16; i++) if (room[slot * 16 + i] !== serial) throw new Error('a torn record');
          next.set(writer, serial + 1);
        }
        read += found;
        slots += found;
      }
      Atomics.and(streams.words, STREAMS_ALIVE >> 2, ~2);
      // Without a reader to wait for, the writers run on.
      await new Promise((resolve) => setImmediate(resolve));
    }
    Atomics.store(stop, 0, 1);
    await inTime('threads', Promise.all(threads.map(({ result }) => result)));
    await Promise.all(threads.map(({ worker }) => worker.terminate()));
    expect(joins).toBe(300);
    expect(slots).toBeGreaterThan(30_000);
  });
});

/** Fills a store quickly, in every model. */
async function fillStore(store: AnyStore, entries: number): Promise<void> {
  const size = Math.min(1000, store.manyLimit);
  for (let first = 0; first < entries; first += size) {
    const keys = Array.from({ length: Math.min(size, entries - first) }, (_, i) => 1_000_000 + first + i);
    await store.putAll(keys, keys);
  }
}

const ENTRIES = 10_000;

describe('a replica that stands at a cut', () => {
  const NUMBER = 7;
  const shape = { groups: 1, executors: 1, replicas: 2, clients: 1, ringSlots: 256, replyBytes: 1024, start: 0 };

  /** Replica 0 comes to a cut at which replica 1 copies it. */
  async function atCut(
    act: (parts: {
      words: Int32Array;
      gone: () => boolean;
      reached: () => boolean;
      set(word: number, n: number): void;
    }) => Promise<void>,
    alive = 3,
  ): Promise<void> {
    const streams = Streams.create(shape);
    const { words } = streams;
    const set = (word: number, n: number) => {
      Atomics.store(words, word >> 2, n);
      Atomics.notify(words, word >> 2);
    };
    set(STREAMS_STATE, STATE_OPEN);
    set(STREAMS_ALIVE, alive);
    set(CUT_NUMBER, NUMBER);
    set(CUT_TARGET, 1);
    const thread = new FaultThread('stand', NUMBER, { memory: streams.memory });
    let done = false;
    void thread.result.then(() => {
      done = true;
    });
    try {
      await act({ words, gone: () => done, reached: () => Atomics.load(words, CUT_REACHED >> 2) === NUMBER, set });
      await inTime('it goes on', thread.result);
    } finally {
      await thread.worker.terminate();
    }
  }

  const aWhile = () => new Promise((resolve) => setTimeout(resolve, 100));

  it('goes on once it has been copied', () =>
    atCut(async ({ gone, reached, set }) => {
      await until('it stands', reached);
      await aWhile();
      expect(gone()).toBe(false);
      set(CUT_COPIED, NUMBER);
    }));

  it('goes on if the other one is lost', () =>
    atCut(async ({ gone, reached, set }) => {
      await until('it stands', reached);
      expect(gone()).toBe(false);
      set(STREAMS_ALIVE, 1);
    }));

  it('changes nothing under the copy if it is lost itself: it stands until it is ended', () =>
    atCut(async ({ gone, reached, set }) => {
      await until('it stands', reached);
      set(STREAMS_ALIVE, 2);
      await aWhile();
      expect(gone()).toBe(false);
      set(CUT_COPIED, NUMBER);
    }));

  it('is not copied if it was lost before', () =>
    atCut(async ({ gone, reached }) => {
      await until('it passes', gone);
      expect(reached()).toBe(false);
    }, 2));
});

describe('a store under load', () => {
  it('execute-verify: also if every command is a batch by itself', async () => {
    await withStore({ model: 'execute-verify', executors: 2, replicas: 2, memory: '64MB' }, async (store) => {
      await store.put(0, 0);
      const { home } = store.status();
      await store.digests();
      const release = stall(store, home);
      await store.kill(1 - home);
      await until('the loss', () => store.status().losses === 1);
      // Far more batches before the cut than replicas may be apart.
      const all = Array.from({ length: 600 }, (_, i) => store.atomic([['add', i % 50, 1]]));
      await until('the cut is on its way', () => store.status().replicas[1 - home].state === 'rebuilding');
      release();
      await until('a rebuilt replica', () => store.status().rebuilds === 1);
      await Promise.all(all);
      await agreeOnReplicas(store, [...store.tree.range()]);
    });
  });

  it.each(SOME_MODELS)(
    `%s: replicas with ${ENTRIES} entries are lost and rebuilt, and all of them hold the same`,
    async (model: ModelName) => {
      await withStore({ model, executors: 2, replicas: 2, ring: 1024, memory: '64MB' }, async (store) => {
        await fillStore(store, ENTRIES);
        const events: StoreEvent[] = [];
        store.onEvent((event) => events.push(event));
        const witnesses = await Witnesses.start(store, ['sync', 'async']);
        for (let round = 1; round <= 3; round++) {
          const { home } = store.status();
          // The other one, then the home replica, then a thread of the other one.
          const victim = round % 2 === 0 ? home : 1 - home;
          await store.kill(victim, round < 3 ? undefined : store.stats().threads - 1);
          await until(`rebuild ${round}`, () => store.status().rebuilds === round);
          const digests = await inTime('digests', store.digests());
          expect(digests.map(({ replica }) => replica)).toEqual([0, 1]);
          expect(digests[1]).toEqual({ ...digests[0], replica: 1 });
        }
        await witnesses.end(store);
        expect(store.status()).toMatchObject({
          state: 'open',
          losses: 3,
          failovers: 1,
          rebuilds: 3,
          divergedAt: undefined,
        });
        await agreeOnReplicas(store, [...store.tree.range()]);
        expect([...store.tree.range({ gte: 1_000_000 })].length).toBe(ENTRIES);
        for (const event of events) expect(['diverged', 'failed', 'rebuild-failed']).not.toContain(event.type);
      });
    },
  );

  it(
    'a replica that is copied is lost while it is copied: it is begun again from another one',
    seeded('source lost', async (random) => {
      await withStore({ executors: 2, replicas: 3, ring: 256, fanout: 8, memory: '64MB' }, async (store) => {
        await fillStore(store, 20_000);
        const witnesses = await Witnesses.start(store, ['async']);
        let rounds = 0;
        let met = 0;
        const events: unknown[] = [];
        store.onEvent((event) => events.push([Math.round(performance.now()), event]));
        for (; rounds < 5; rounds++) {
          events.length = 0;
          const { losses, rebuilds, home } = store.status();
          const others = [0, 1, 2].filter((replica) => replica !== home);
          const [victim, source] = random.shuffled(others);
          await store.kill(victim, 0);
          // Or it was, before anybody looked.
          await until('it is being rebuilt', () => {
            const { replicas, rebuilds: now } = store.status();
            return replicas[victim].state === 'rebuilding' || now > rebuilds;
          });
          // It is copied from the one that is not home.
          const wait = performance.now() + random.below(12);
          while (performance.now() < wait);
          if (store.status().replicas[victim].state === 'rebuilding') met++;
          await store.kill(source, random.below(2));
          const back = () => {
            const { replicas, losses: now } = store.status();
            return now >= losses + 2 && replicas.every(({ state }) => state === 'home' || state === 'ready');
          };
          const now = Math.round(performance.now());
          await until('all are back', back, 20_000, () => ({ now, victim, source, events, status: store.status() }));
          const digests = await inTime('digests', store.digests());
          expect(new Set(digests.map(({ digest, entries }) => `${digest} ${entries}`)).size).toBe(1);
          expect(digests.length).toBe(3);
        }
        await witnesses.end(store);
        expect(store.status()).toMatchObject({ state: 'open', failovers: 0, divergedAt: undefined });
        expect(met).toBeGreaterThan(0);
        await agreeOnReplicas(store, [...store.tree.range()]);
      });
    }),
  );

  it(
    'the only replica that is left is lost while it is copied: what was copied in time goes on, or all are told',
    seeded('last source lost', async (random) => {
      const ends = { saved: 0, failed: 0 };
      for (let round = 0; round < 6; round++) {
        await withStore({ executors: 2, replicas: 2, ring: 256, fanout: 8, memory: '64MB' }, async (store) => {
          await fillStore(store, 10_000);
          const witnesses = await Witnesses.start(store, ['sync'], { direct: false });
          const { home, losses: before } = store.status();
          await store.kill(1 - home);
          await until('it is lost', () => store.status().losses > before);
          await until('it is being rebuilt', () => store.status().replicas[1 - home].state !== 'lost');
          const wait = performance.now() + random.below(10);
          while (performance.now() < wait);
          await store.kill(home, random.below(2));
          await until('one of the two ends', () => {
            const { state, home: now, losses } = store.status();
            return state === 'failed' || (losses >= 2 && now === 1 - home);
          });
          if (store.status().state === 'failed') {
            ends.failed++;
            for (const failure of await witnesses.failures()) expect(failure).toMatch('the last replica was lost');
            expect(await codeOf(() => store.put(1, 1))).toBe('ERR_REPLICAS_LOST');
            return;
          }
          ends.saved++;
          await until('it is whole again', () =>
            store.status().replicas.every(({ state }) => state !== 'lost' && state !== 'rebuilding'),
          );
          await witnesses.end(store);
          expect([...store.tree.range({ gte: 1_000_000 })].length).toBe(10_000);
          await agreeOnReplicas(store, [...store.tree.range()]);
        });
      }
      expect(ends.saved + ends.failed).toBe(6);
    }),
  );
});
