import { availableParallelism } from '#platform';
import { SabtreeError } from '../engine/errors.ts';
import { requireSharedMemory } from '../engine/isolation.ts';
import { CACHE_LINE } from '../layout/bits.ts';
import { DURABLE_SIZE } from '../layout/durable.ts';
import { LATENCY_SIZE } from '../layout/latency.ts';
import { SLOT } from '../layout/operation.ts';
import {
  CLIENT_WRITTEN,
  CURSOR_GATE,
  EXECUTOR_SIZE,
  GENERATIONS,
  GIVEN_UP_SIZE,
  RING_CLAIM,
  RING_CURSORS,
  RING_LAST_MARKER,
  RINGS,
  STATE_STARTING,
  STREAMS_ALIVE,
  STREAMS_CALLS,
  STREAMS_CLIENTS,
  STREAMS_EXECUTORS,
  STREAMS_GROUPS,
  STREAMS_LAYOUT_VERSION,
  STREAMS_LOCAL_BITS,
  STREAMS_LOGGED,
  STREAMS_MAGIC,
  STREAMS_MAGIC_WORD,
  STREAMS_READY,
  STREAMS_REPLICAS,
  STREAMS_REPLY_BYTES,
  STREAMS_RING_SLOTS,
  STREAMS_START,
  STREAMS_STATE,
  TOKEN_SIZE,
  VERIFY_PLACES,
  VERIFY_TOKENS,
} from '../layout/streams.ts';
import { LAYOUT_VERSION } from '../layout/tree-memory.ts';
import { WATCH_TAG_RINGS } from '../layout/watch.ts';
import { initWatch, watchBytes } from './watch-memory.ts';

/** Most bytes of the streams' memory: what an index of 32 bits with its sign can address. */
const MOST_BYTES = 2 ** 31 - 64;

/** Sizes that fix where everything stands in the streams' memory. */
export interface StreamsShape {
  readonly groups: number;
  /** Threads of each replica: its executors, and whoever schedules for them. */
  readonly executors: number;
  readonly replicas: number;
  /** Most clients connected at the same time. */
  readonly clients: number;
  /** Slots of each group's ring, a power of two. */
  readonly ringSlots: number;
  /** Bytes of each client's reply ring per executor, a power of two. */
  readonly replyBytes: number;
  /** Position at which the rings begin. */
  readonly start: number;
  /** Keys that differ only in so many of their low bits share a group; 0 if it is not given. */
  readonly localBits?: number;
  /** Whether a log reads the streams too, and replicas only what it has. */
  readonly logged?: boolean;
  /** Whether replicas, or whoever reads the log, have to agree on what user-defined commands come to. */
  readonly calls?: boolean;
}

const SMALLER = 'less with fewer groups, executors or clients, a smaller ring or maxValue';

/** Makes the memory. @throws ERR_OPTION, ERR_MEMORY_EXHAUSTED */
function reserve(size: number): SharedArrayBuffer {
  if (size > MOST_BYTES) {
    const what = `the streams would take ${size} bytes, at most ${MOST_BYTES} can be (${SMALLER})`;
    throw new SabtreeError('ERR_OPTION', what, size);
  }
  try {
    return new SharedArrayBuffer(size);
  } catch (cause) {
    const what = `there is no room for the ${size} bytes of the streams (${SMALLER})`;
    throw new SabtreeError('ERR_MEMORY_EXHAUSTED', what, size, { cause });
  }
}

/** The streams' memory of one store, as one thread sees it: offsets, and views with explicit lengths. */
export class Streams {
  readonly memory: SharedArrayBuffer;
  readonly shape: StreamsShape;
  /** Whether there is a core for every executor and one client. */
  readonly roomy: boolean;
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
  private readonly executorsAt: number;
  private readonly clientsAt: number;
  private readonly clientSize: number;
  private readonly publicationsAt: number;
  private readonly slotsAt: number;
  private readonly repliesAt: number;
  /** First byte of what execute-verify's replicas tell each other. */
  readonly verifyAt: number;
  /** First byte of what watchers and replicas share (layout/watch.ts). */
  readonly watchAt: number;
  /** First byte of the clients' samples of latency (layout/latency.ts). */
  readonly latencyAt: number;
  /** First byte of what snapshots and the log tell (layout/durable.ts). */
  readonly durableAt: number;
  /** First byte of what was said of user-defined commands, and of the notes of those given up (verdicts.ts). */
  readonly verdictsAt: number;
  readonly givenUpAt: number;

  private constructor(memory: SharedArrayBuffer | undefined, shape: StreamsShape) {
    this.shape = shape;
    this.executorsAt = this.ring(shape.groups);
    this.clientsAt = this.executorsAt + shape.replicas * shape.executors * EXECUTOR_SIZE;
    this.clientSize = CLIENT_WRITTEN + shape.executors * CACHE_LINE;
    this.publicationsAt = this.clientsAt + shape.clients * this.clientSize;
    this.slotsAt = this.publicationsAt + Math.ceil((shape.groups * shape.ringSlots * 4) / CACHE_LINE) * CACHE_LINE;
    this.repliesAt = this.slotsAt + shape.groups * shape.ringSlots * SLOT;
    this.verifyAt = this.repliesAt + shape.clients * shape.executors * shape.replyBytes;
    this.watchAt = this.verifyAt + VERIFY_TOKENS + shape.replicas * VERIFY_PLACES * TOKEN_SIZE;
    this.latencyAt = this.watchAt + watchBytes(shape.groups, shape.ringSlots);
    this.durableAt = this.latencyAt + shape.clients * LATENCY_SIZE;
    this.verdictsAt = this.durableAt + Math.ceil(DURABLE_SIZE / CACHE_LINE) * CACHE_LINE;
    const verdicts = shape.calls ? shape.groups * shape.ringSlots * WATCH_TAG_RINGS * 4 : 0;
    this.givenUpAt = this.verdictsAt + verdicts;
    const size = this.givenUpAt + (shape.calls ? GIVEN_UP_SIZE : 0);
    this.roomy = shape.executors * shape.replicas < availableParallelism();
    if (memory !== undefined && memory.byteLength < size) {
      throw new SabtreeError(
        'ERR_NOT_A_TREE',
        `the streams take ${size} bytes, the memory has ${memory.byteLength}`,
        memory.byteLength,
      );
    }
    this.memory = memory ?? reserve(size);
    this.words = new Int32Array(this.memory, 0, size >> 2);
    this.bytes = new Uint8Array(this.memory, 0, size);
  }

  /** Makes the memory of a new store's streams. */
  static create(shape: StreamsShape): Streams {
    const streams = new Streams(undefined, shape);
    const { words } = streams;
    words[STREAMS_LAYOUT_VERSION >> 2] = LAYOUT_VERSION;
    words[STREAMS_GROUPS >> 2] = shape.groups;
    words[STREAMS_EXECUTORS >> 2] = shape.executors;
    words[STREAMS_REPLICAS >> 2] = shape.replicas;
    words[STREAMS_CLIENTS >> 2] = shape.clients;
    words[STREAMS_RING_SLOTS >> 2] = shape.ringSlots;
    words[STREAMS_REPLY_BYTES >> 2] = shape.replyBytes;
    words[STREAMS_START >> 2] = shape.start;
    words[STREAMS_LOCAL_BITS >> 2] = shape.localBits ?? 0;
    words[STREAMS_LOGGED >> 2] = shape.logged ? 1 : 0;
    words[STREAMS_CALLS >> 2] = shape.calls ? 1 : 0;
    words[STREAMS_ALIVE >> 2] = (1 << shape.replicas) - 1;
    words[STREAMS_READY >> 2] = (1 << shape.replicas) - 1;
    words[STREAMS_STATE >> 2] = STATE_STARTING;
    for (let group = 0; group < shape.groups; group++) {
      words[(streams.ring(group) + RING_CLAIM) >> 2] = shape.start;
      words[(streams.ring(group) + RING_LAST_MARKER) >> 2] = shape.start - 1;
      for (let reader = 0; reader < streams.readers; reader++) words[streams.ringCursor(group, reader)] = shape.start;
      if (shape.logged) words[streams.gate(group)] = shape.start;
    }
    initWatch(streams);
    Atomics.store(words, STREAMS_MAGIC_WORD >> 2, STREAMS_MAGIC);
    return streams;
  }

  /** Looks at memory made by `create` in another thread. */
  static attach(memory: SharedArrayBuffer): Streams {
    requireSharedMemory();
    if (!(memory instanceof SharedArrayBuffer) || memory.byteLength < RINGS) {
      throw new SabtreeError('ERR_NOT_A_TREE', 'the handle holds no streams', memory);
    }
    const words = new Int32Array(memory, 0, RINGS >> 2);
    const magic = Atomics.load(words, STREAMS_MAGIC_WORD >> 2);
    if (magic !== STREAMS_MAGIC) {
      throw new SabtreeError('ERR_NOT_A_TREE', 'the memory does not hold the streams of a store', magic);
    }
    const version = words[STREAMS_LAYOUT_VERSION >> 2];
    if (version !== LAYOUT_VERSION) {
      throw new SabtreeError(
        'ERR_LAYOUT_VERSION',
        `the store was made with memory layout ${version}, this version of sabtree reads layout ${LAYOUT_VERSION}`,
        version,
      );
    }
    return new Streams(memory, {
      groups: words[STREAMS_GROUPS >> 2],
      executors: words[STREAMS_EXECUTORS >> 2],
      replicas: words[STREAMS_REPLICAS >> 2],
      clients: words[STREAMS_CLIENTS >> 2],
      ringSlots: words[STREAMS_RING_SLOTS >> 2],
      replyBytes: words[STREAMS_REPLY_BYTES >> 2],
      start: words[STREAMS_START >> 2],
      localBits: words[STREAMS_LOCAL_BITS >> 2],
      logged: words[STREAMS_LOGGED >> 2] === 1,
      calls: words[STREAMS_CALLS >> 2] === 1,
    });
  }

  /** Bytes of the large parts of this memory, and of all of it. */
  get parts(): { rings: number; replies: number; watchers: number; total: number } {
    const rings = this.repliesAt - this.publicationsAt;
    const watchers = this.latencyAt - this.watchAt;
    return { rings, replies: this.verifyAt - this.repliesAt, watchers, total: this.bytes.length };
  }

  /** First byte of a ring's control. */
  ring(group: number): number {
    return RINGS + group * (RING_CURSORS + this.readers * CACHE_LINE);
  }

  /** Readers of each ring: the replicas, and behind them the log if there is one. */
  get readers(): number {
    return this.shape.replicas + (this.shape.logged ? 1 : 0);
  }

  /** Word index of a reader's cursor. */
  ringCursor(group: number, reader: number): number {
    return (this.ring(group) + RING_CURSORS + reader * CACHE_LINE) >> 2;
  }

  /** Word index of a ring's gate: only in a store with a log. */
  gate(group: number): number {
    return this.ringCursor(group, this.shape.replicas) + (CURSOR_GATE >> 2);
  }

  /** Whether replicas may take what stands at a position. */
  isReleased(group: number, position: number): boolean {
    return !this.shape.logged || ((Atomics.load(this.words, this.gate(group)) - position) | 0) > 0;
  }

  /** Word index of a ring's first publication word. */
  publications(group: number): number {
    return (this.publicationsAt >> 2) + group * this.shape.ringSlots;
  }

  /** First byte of a ring's slots. */
  slots(group: number): number {
    return this.slotsAt + group * this.shape.ringSlots * SLOT;
  }

  /** First byte of an executor's words. */
  executor(replica: number, executor: number): number {
    return this.executorsAt + (replica * this.shape.executors + executor) * EXECUTOR_SIZE;
  }

  /** First byte of a client's words. */
  client(client: number): number {
    return this.clientsAt + client * this.clientSize;
  }

  /** First byte of a client's reply ring for an executor. */
  replies(client: number, executor: number): number {
    return this.repliesAt + (client * this.shape.executors + executor) * this.shape.replyBytes;
  }

  /** Most slots that may be published together: a quarter of a ring, and no more than a record's slot count can say. */
  get maxRun(): number {
    return Math.min(16384, Math.max(1, this.shape.ringSlots >> 2));
  }

  /** The executor that executes a group's stream. */
  executorOf(group: number): number {
    return group % this.shape.executors;
  }

  /** Life of the store: one of the STATE_ codes. */
  get state(): number {
    return Atomics.load(this.words, STREAMS_STATE >> 2);
  }

  /** How often a replica was rebuilt. */
  generation(replica: number): number {
    return Atomics.load(this.words, (GENERATIONS >> 2) + replica);
  }

  /** Bit set of the replicas that are not lost. */
  get alive(): number {
    return Atomics.load(this.words, STREAMS_ALIVE >> 2);
  }
}

/**
 * The group of a key, given in stored order as two words. Every replica and every client must agree on it: it depends on
 * nothing but the key and what the store was opened with. A multiplicative hash, so that neighbouring keys spread: each by
 * itself, or in blocks of those that differ only in their lowest `localBits` (0 to 16) bits.
 */
export function groupOf(low: number, high: number, groups: number, localBits = 0): number {
  if (localBits > 0) {
    low = (low >>> localBits) | (high << (32 - localBits));
    high >>>= localBits;
  }
  const mixed = Math.imul(low ^ Math.imul(high, 0x85ebca6b) ^ (low >>> 16), 0x9e3779b1);
  return ((((mixed ^ (mixed >>> 15)) >>> 0) * groups) / 4294967296) >>> 0;
}
