/** What the group rings hold, read out of the streams' memory: nothing is taken, nobody is told. */
import { MAX_GROUPS, OPERATION_GROUPS, OPERATION_NUMBER, SLOT } from '../../layout/operation.ts';
import {
  EXECUTOR_PARKED,
  EXECUTOR_RELEASED,
  EXECUTOR_STANDING,
  MULTICAST_NUMBER,
  RING_CLAIM,
  RING_ROOM_WAITERS,
  RING_SLEEPERS,
  STREAMS_HOME,
  STREAMS_READY,
} from '../../layout/streams.ts';
import type { StoreHandle } from '../../workers/store-client.ts';
import { Streams } from '../../workers/streams.ts';
import { threadName } from './writers.ts';

/** Slots of a ring that are kept for the store's own commands, beside one retry per executor (workers/multicast.ts). */
const CONTROLS = 4;
/** Records that one look goes over, in all rings together. */
const RECORDS = 6000;
/** Sync points that are kept of one ring. */
const MAX_MARKERS = 32;
/** Milliseconds over which rates are measured. */
const RATE_TIME = 500;

/** How a replica is. */
export type ReplicaState = 'home' | 'ready' | 'rebuilding' | 'lost';

/** One reader of a ring. */
export interface Reader {
  /** Number of the replica; -1 for the log. */
  readonly replica: number;
  state: ReplicaState;
  cursor: number;
  /** Slots that it has not taken yet. */
  depth: number;
}

/** A command of several groups that waits in a ring. */
export interface Marker {
  readonly number: number;
  /** Bit set. */
  readonly groups: number;
  /** Slots from the record to the ring's end. */
  readonly behind: number;
}

/** One group's ring. */
export interface Ring {
  readonly group: number;
  readonly executor: number;
  /** Next position to be claimed, modulo 2^32. */
  claim: number;
  readonly readers: readonly Reader[];
  /** Depth of the slowest living reader. */
  deepest: number;
  readonly markers: Marker[];
  /** Whether commands to this group alone find no room. */
  full: boolean;
  /** Whether some client waits for room. */
  waited: boolean;
  /** Slots a second. */
  rate: number;
}

/** What a thread of a replica is doing. */
export type ThreadState = 'running' | 'waiting' | 'asleep' | 'lost';

/** A thread of a replica. */
export interface Thread {
  readonly replica: number;
  readonly thread: number;
  readonly name: string;
  state: ThreadState;
  /** Number of the sync point at which it waits. */
  standing: number;
}

/** The rings of one store. */
export class RingsModel {
  readonly streams: Streams;
  readonly capacity: number;
  /** Slots that commands to one group may fill; the rest is for those of several groups, and for retries. */
  readonly singles: number;
  /** Slots that commands of several groups may fill. */
  readonly many: number;
  readonly rings: readonly Ring[];
  readonly threads: readonly Thread[];
  home = -1;
  /** Commands of several groups and retries a second. */
  syncRate = 0;
  /** Number of the newest one. */
  syncNumber = 0;
  private readonly claims: Uint32Array;
  private ratedAt = -1;
  private ratedNumber = 0;

  constructor(handle: StoreHandle) {
    const streams = Streams.attach(handle.streams);
    const { groups, replicas, executors, ringSlots, logged } = streams.shape;
    this.streams = streams;
    this.capacity = ringSlots;
    this.many = ringSlots - executors * replicas - CONTROLS;
    this.singles = this.many - streams.maxRun;
    this.claims = new Uint32Array(groups);
    const readers = (): Reader[] =>
      Array.from({ length: replicas + (logged ? 1 : 0) }, (_, i) => ({
        replica: i < replicas ? i : -1,
        state: 'ready',
        cursor: 0,
        depth: 0,
      }));
    // Without executors the clients work on the tree themselves, and nothing goes through a ring.
    this.rings = Array.from({ length: executors === 0 ? 0 : Math.min(groups, MAX_GROUPS) }, (_, group) => ({
      group,
      executor: streams.executorOf(group),
      claim: 0,
      readers: readers(),
      deepest: 0,
      markers: [],
      full: false,
      waited: false,
      rate: 0,
    }));
    this.threads = Array.from({ length: replicas * executors }, (_, i) => ({
      replica: Math.floor(i / executors),
      thread: i % executors,
      name: threadName(handle.model, i % executors),
      state: 'asleep' as ThreadState,
      standing: 0,
    }));
  }

  /** Looks at all rings and threads. Costs some microseconds for each, and up to half a millisecond where rings are full. */
  look(now: number): void {
    const { streams, rings } = this;
    const { words } = streams;
    this.home = Atomics.load(words, STREAMS_HOME >> 2);
    const { alive } = streams;
    const ready = Atomics.load(words, STREAMS_READY >> 2);
    const stateOf = (replica: number): ReplicaState => {
      if (((alive >>> replica) & 1) === 0) return 'lost';
      if (replica === this.home) return 'home';
      return ((ready >>> replica) & 1) === 1 ? 'ready' : 'rebuilding';
    };
    let records = RECORDS;
    for (const ring of rings) {
      records -= this.lookAtRing(ring, stateOf, Math.ceil(records / (rings.length - ring.group)));
    }
    for (const thread of this.threads) this.lookAtThread(thread, stateOf(thread.replica));
    this.rateAll(now);
  }

  private lookAtRing(ring: Ring, stateOf: (replica: number) => ReplicaState, records: number): number {
    const { streams, capacity } = this;
    const { words } = streams;
    const { group } = ring;
    const control = streams.ring(group);
    // The cursors first: none ever passes the claim.
    ring.readers.forEach((reader, i) => {
      reader.cursor = Atomics.load(words, streams.ringCursor(group, i)) >>> 0;
      reader.state = reader.replica < 0 ? 'ready' : stateOf(reader.replica);
    });
    ring.claim = Atomics.load(words, (control + RING_CLAIM) >> 2) >>> 0;
    ring.deepest = 0;
    for (const reader of ring.readers) {
      // The claim was read a moment later; and a lost replica's cursor stays behind for ever.
      reader.depth = Math.min(capacity, (ring.claim - reader.cursor) >>> 0);
      if (reader.state !== 'lost') ring.deepest = Math.max(ring.deepest, reader.depth);
    }
    ring.waited = Atomics.load(words, (control + RING_ROOM_WAITERS) >> 2) !== 0;
    ring.full = ring.deepest >= this.singles;
    return this.findMarkers(ring, records);
  }

  /** Goes over the records that some replica has not taken yet. @returns how many there were */
  private findMarkers(ring: Ring, most: number): number {
    const { streams, capacity } = this;
    const { words } = streams;
    const mask = capacity - 1;
    const lapShift = 31 - Math.clz32(capacity);
    const publications = streams.publications(ring.group);
    const slots = streams.slots(ring.group) >> 2;
    ring.markers.length = 0;
    let at = (ring.claim - ring.deepest) >>> 0;
    let left = ring.deepest;
    let looked = 0;
    while (left > 0 && looked < most) {
      looked++;
      const lap = ((at >>> lapShift) + 1) | 0;
      const word = publications + (at & mask);
      if (Atomics.load(words, word) !== lap) break;
      const record = slots + (at & mask) * (SLOT >> 2);
      const length = Atomics.load(words, record) >>> 16;
      const groups = Atomics.load(words, record + (OPERATION_GROUPS >> 2));
      const number = Atomics.load(words, record + (OPERATION_NUMBER >> 2));
      // Overwritten while it was read: the readers are far beyond.
      if (length === 0 || length > left || Atomics.load(words, word) !== lap) break;
      if (groups !== 0) {
        if (ring.markers.length === MAX_MARKERS) ring.markers.shift();
        ring.markers.push({ number, groups, behind: left });
      }
      at = (at + length) >>> 0;
      left -= length;
    }
    return looked;
  }

  private lookAtThread(thread: Thread, state: ReplicaState): void {
    const { streams } = this;
    const { words } = streams;
    const at = streams.executor(thread.replica, thread.thread);
    const released = Atomics.load(words, (at + EXECUTOR_RELEASED) >> 2);
    const standing = Atomics.load(words, (at + EXECUTOR_STANDING) >> 2);
    const parked = Atomics.load(words, (at + EXECUTOR_PARKED) >> 2) === 1;
    thread.standing = standing === released ? 0 : standing;
    if (state === 'lost') thread.state = 'lost';
    else if (thread.standing !== 0) thread.state = 'waiting';
    else thread.state = parked || this.sleeps(thread) ? 'asleep' : 'running';
  }

  /** Whether a thread sleeps until one of its rings gets something. */
  private sleeps({ replica, thread }: Thread): boolean {
    const { streams, rings } = this;
    for (const { group, executor } of rings) {
      if (executor !== thread) continue;
      const sleepers = Atomics.load(streams.words, (streams.ring(group) + RING_SLEEPERS) >> 2);
      if (((sleepers >>> replica) & 1) === 1) return true;
    }
    return false;
  }

  private rateAll(now: number): void {
    const { streams, rings, claims } = this;
    this.syncNumber = Atomics.load(streams.words, MULTICAST_NUMBER >> 2) >>> 0;
    const elapsed = now - this.ratedAt;
    if (this.ratedAt >= 0 && elapsed < RATE_TIME) return;
    for (const ring of rings) {
      ring.rate = this.ratedAt < 0 ? 0 : (((ring.claim - claims[ring.group]) >>> 0) * 1000) / elapsed;
      claims[ring.group] = ring.claim;
    }
    this.syncRate = this.ratedAt < 0 ? 0 : (((this.syncNumber - this.ratedNumber) >>> 0) * 1000) / elapsed;
    this.ratedNumber = this.syncNumber;
    this.ratedAt = now;
  }
}

/** Share of a track for so many slots: the square root, so that ten slots are seen beside four thousand. */
export function shareOf(slots: number, capacity: number): number {
  return Math.sqrt(Math.max(0, Math.min(1, slots / capacity)));
}

/** How groups are laid out: columns, rows, and the height of each. */
export function gridOf(groups: number, width: number, height: number): { columns: number; rows: number; cell: number } {
  if (groups === 0) return { columns: 1, rows: 0, cell: 0 };
  const most = Math.max(1, Math.min(groups, Math.floor(width / 240)));
  const comfortable = Math.max(1, Math.min(groups, Math.floor(width / 420)));
  let columns = comfortable;
  while (columns < most && height / Math.ceil(groups / columns) < MIN_CELL) columns++;
  const rows = Math.ceil(groups / columns);
  return { columns, rows, cell: Math.max(MIN_CELL, Math.min(MAX_CELL, height / rows)) };
}

/** Least and greatest height of one group's part. */
export const MIN_CELL = 54;
export const MAX_CELL = 128;
