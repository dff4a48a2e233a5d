import { type Remote, releaseProxy, wrap } from 'comlink';
import { availableParallelism, keepAlive, publish, startSupervisorThread } from '#platform';
import { Attachment, createTreeMemory, DEFAULT_LATCH_TIMEOUT } from '../engine/attachment.ts';
import { SabtreeError, show } from '../engine/errors.ts';
import { requireSharedMemory } from '../engine/isolation.ts';
import { isVariable, type KeyOf, type KeyType } from '../engine/keys.ts';
import { keyCode, pagesOf, shapeOf } from '../engine/shape.ts';
import { attachReader, type TreeReader } from '../engine/shared-tree.ts';
import type { TreeStats } from '../engine/stats.ts';
import { ValueCodec, type ValueOf, type ValueType } from '../engine/values.ts';
import {
  LOG_BEHIND,
  LOG_COMMANDS,
  LOG_COUNTER_COUNT,
  LOG_COUNTERS,
  LOG_FRAMES,
  LOG_LAST_SYNC,
  LOG_LONGEST_SYNC,
  LOG_SEGMENT,
  LOG_SYNCS,
  LOG_WRITTEN,
} from '../layout/durable.ts';
import { MAX_GROUPS, OP_DIGEST, SLOT } from '../layout/operation.ts';
import { MAX_KEY_BYTES } from '../layout/slotted.ts';
import {
  CLIENT_FREE,
  CLIENT_STATE,
  COUNTER_BATCHES,
  COUNTER_COMMANDS,
  COUNTER_DEFERRED,
  COUNTER_PARKS,
  COUNTER_REFUSED,
  COUNTER_RETRIED,
  COUNTER_SUPPRESSED,
  COUNTER_SYNC_POINTS,
  COUNTERS,
  EXECUTOR_COUNTERS,
  EXECUTOR_DIGEST_COUNT,
  EXECUTOR_DIGEST_HIGH,
  EXECUTOR_DIGEST_LOW,
  EXECUTOR_DIGEST_NUMBER,
  FAILURE_EXECUTOR,
  MAX_REPLICAS,
  STATE_OPEN,
  STATE_READ_ONLY,
  STREAMS_ALIVE,
  STREAMS_COMPARED,
  STREAMS_DIVERGED,
  STREAMS_FAILOVERS,
  STREAMS_HOME,
  STREAMS_LONGEST_PAUSE,
  STREAMS_LOSSES,
  STREAMS_PAUSE,
  STREAMS_READY,
  STREAMS_REAPED,
  STREAMS_REBUILDS,
  STREAMS_RESENT,
  STREAMS_STATE,
} from '../layout/streams.ts';
import { LAYOUT_VERSION, MAX_BLOB_BYTES } from '../layout/tree-memory.ts';
import { checkCommands, importCommands } from './command-table.ts';
import { reapDirect } from './dead-clients.ts';
import type { Schema } from './durable/frames.ts';
import { loadSnapshot, snapshotSource } from './durable/load.ts';
import type { FsyncPolicy } from './durable/log.ts';
import {
  type LogOptions,
  logConfig,
  pathOf,
  restoreFrom,
  type SnapshotSource,
  type SnapshotTarget,
  writerTo,
} from './durable/options.ts';
import type { LoadPlan, Recovery, TornTail } from './durable/recovery.ts';
import type { SnapshotInfo } from './durable/snapshot.ts';
import { closeStreams, type Failure, failStreams, failureError, failureOf, isFailure, stateError } from './failure.ts';
import {
  executorDepth,
  type GroupStats,
  groupStats,
  type MemoryStats,
  memoryStats,
  treeWork,
  watcherCount,
} from './insight.ts';
import { type LatencyStats, latencies } from './latency.ts';
import { modelOf } from './models/index.ts';
import type { MixerName, ModelName } from './models/model.ts';
import type { ChildThread } from './platform.ts';
import { type StatsServer, serveOpened, serveStats } from './stats-server.ts';
import { StoreClient, type StoreHandle } from './store-client.ts';
import { Streams } from './streams.ts';
import type { StoreEvent, SupervisorConfig } from './supervisor.ts';
import type { EventMessage, SupervisorControl } from './supervisor-worker.ts';
import { replyBytesFor } from './variable-calls.ts';
import { type WaitName, waitStrategy } from './waiting.ts';
import { refuseWatchers } from './watch-memory.ts';

/** Options of `open`. */
export interface StoreOptions<K extends KeyType = KeyType, V extends ValueType = ValueType> {
  /** Type of the keys. */
  readonly key: K;
  /** Type of the values: a scalar's name, 'string', 'bytes', 'json', or a typed-binary schema. */
  readonly value: V;
  /**
   * Most bytes of a value that varies in length, 64 to 1040000. Default 16384, less with a `ring` below 2048: a value, and a key
   * beside it, have to fit into a quarter of the ring, and into 1 MiB. Every client keeps room for some tens of answers of that
   * length for each executor (see `stats().memory`).
   */
  readonly maxValue?: number;
  /** Execution model. Default 'opt-psmr'. */
  readonly model?: ModelName;
  /** Executors (threads) of each replica, 1 to 32. Default: one per core but one, which is left to clients. smr and pipelined always have one; direct has none. */
  readonly executors?: number;
  /** Replicas, 1 to 8: f + 1 survive the loss of f. All run in this process. Default 2; the model direct has 1. */
  readonly replicas?: number;
  /** Groups (streams), from `executors` to 32. Default: as many as executors. */
  readonly groups?: number;
  /**
   * Neighbouring integer keys that share a group, a power of two from 1 to 65536. Default 1: every key is placed by itself,
   * so that hot neighbours spread over the executors. Blocks of some hundred let executors work on leaves of their own, for
   * keys that are dense and evenly used.
   */
  readonly locality?: number;
  /** Most memory of each replica, in bytes or like '256MB'. Default 1GB, at most 4GB. */
  readonly memory?: number | string;
  /** Bytes of a node; see `TreeOptions.nodeSize`. */
  readonly nodeSize?: number;
  /** Most entries of a leaf and children of a branch; see `TreeOptions.fanout`. */
  readonly fanout?: number;
  /** Slots (of 64 bytes) of each group's ring, a power of two from 256 to 1048576. Default 4096. */
  readonly ring?: number;
  /** Most clients connected at a time, this store's own one included, 1 to 200. Default 64. */
  readonly clients?: number;
  /** How executors and clients wait: 'park' (default), 'yield' or 'spin'; see `WaitName`. */
  readonly wait?: WaitName;
  /** Milliseconds after which the owner of a node's latch is taken for dead. Default 2000. */
  readonly latchTimeout?: number;
  /**
   * How execute-verify guesses what is independent: 'keys' (default) looks at the keys; 'blind' takes all for
   * independent, which shows what wrong guesses cost. Commands stay linearizable then, but those of one client on one key may
   * take effect in another order than given, if all replicas happen to agree on it; and direct reads see what is undone.
   */
  readonly mixer?: MixerName;
  /**
   * Modules that export commands made by `defineCommand`: their URLs, which every executor imports (`new URL('./commands.js',
   * import.meta.url)`). Not with the model direct.
   */
  readonly commands?: string | URL | readonly (string | URL)[];
  /**
   * Milliseconds that a user-defined command may take before it is stopped, less than `stallTimeout`. Default 1000. 0: no limit;
   * commands are some 100 us faster then, but an endless one takes the store out. In browsers nothing can stop one.
   */
  readonly commandTimeout?: number;
  /** Whether lost replicas are rebuilt from the others. Default true. */
  readonly rebuild?: boolean;
  /** Milliseconds without progress after which a replica is taken for lost, at least 100. Default 10000. */
  readonly stallTimeout?: number;
  /** Milliseconds between comparisons of the replicas' contents, while there are writes; 0: never. Default 1000. */
  readonly compareEvery?: number;
  /**
   * A snapshot to begin with: a file, its bytes, or a stream of them (see `Store.snapshot`). It may come from a store of
   * another model, with other executors, replicas and node sizes; key and value types must be the same, and no value longer
   * than `maxValue`.
   */
  readonly restore?: SnapshotSource;
  /** A log on disk of every command that changes something: the store begins with what is in it. Not with the model direct. */
  readonly log?: LogOptions;
  /** Position at which the rings begin, 0 to 4294967295; for tests of the wrap-around. Default 0. */
  readonly ringStart?: number;
}

const OPTIONS = new Set([
  'key',
  'value',
  'maxValue',
  'model',
  'executors',
  'replicas',
  'groups',
  'locality',
  'memory',
  'nodeSize',
  'fanout',
  'ring',
  'clients',
  'wait',
  'latchTimeout',
  'mixer',
  'commands',
  'commandTimeout',
  'rebuild',
  'stallTimeout',
  'compareEvery',
  'restore',
  'log',
  'ringStart',
]);

/** Every client takes a thread slot of the home replica's tree, and so does every executor. */
const MAX_CLIENTS = 200;
/** Bytes of a client's reply ring for one executor, where answers are short. */
const REPLY_BYTES = 65536;
/** Bytes of the longest value, unless it is said. */
const MAX_VALUE = 16384;
/** Milliseconds the executors may take to start. */
const START_LIMIT = 30_000;
/** The same if they have something to load first. */
const LOAD_LIMIT = 86_400_000;
/** Milliseconds the supervisor may take to stop everything; with a log, whose end has to come to the disk, more. */
const STOP_LIMIT = 5_000;
const LOG_STOP_LIMIT = 90_000;

/** Counters of one thread of a replica, since the store was opened. */
export interface ExecutorStats {
  /** Number of its replica. */
  readonly replica: number;
  /** Number of the thread in its replica. */
  readonly executor: number;
  /** Commands executed. */
  readonly commands: number;
  /** Commands that did not fit into their leaf (opt-psmr). */
  readonly refused: number;
  /** Commands put off because they came after a refused one on the same key. */
  readonly deferred: number;
  /** Retries multicast (opt-psmr); batches undone and repeated in order (execute-verify). */
  readonly retried: number;
  /** Sync points this executor led; batches verified (execute-verify). */
  readonly syncPoints: number;
  /** Pieces of stream taken from the rings. */
  readonly batches: number;
  /** Times it slept for lack of work. */
  readonly parks: number;
  /** Writes that came a second time, after a failover, and were not carried out again. */
  readonly suppressed: number;
  /** Slots of its groups' rings that it has not taken yet (in a one-stream model: thread 0). */
  readonly depth: number;
  /** Node splits it made in its replica's tree. */
  readonly splits: number;
  /** Node merges. */
  readonly merges: number;
  /** Searches begun again because a node had changed under them. */
  readonly restarts: number;
}

/** Counters of a store. */
export interface StoreStats {
  /** The execution model's name. */
  readonly model: ModelName;
  /** Groups (streams). */
  readonly groups: number;
  /** Executors of each replica. */
  readonly executors: number;
  /** Threads of each replica: more than executors where a model has others besides. */
  readonly threads: number;
  /** Replicas, lost ones included. */
  readonly replicas: number;
  /** Replicas that are not lost. */
  readonly alive: number;
  /** The replica that answers. */
  readonly home: number;
  /** Commands executed by the home replica's executors, as the following counts are sums over them. */
  readonly commands: number;
  /** Commands that did not fit into their leaf. */
  readonly refused: number;
  /** Commands put off because they came after a refused one on the same key. */
  readonly deferred: number;
  /** Retries multicast; batches undone and repeated in order. */
  readonly retried: number;
  /** Sync points led; batches verified. */
  readonly syncPoints: number;
  /** All executors of all replicas. */
  readonly perExecutor: readonly ExecutorStats[];
  /** All groups: what waits in their rings. */
  readonly perGroup: readonly GroupStats[];
  /** How long commands took in the last minute, as all clients sampled it. */
  readonly latency: LatencyStats;
  /** Where the memory goes. */
  readonly memory: MemoryStats;
  /** Watchers there are now. */
  readonly watchers: number;
  /** The home replica's tree. */
  readonly tree: TreeStats;
}

/** One replica's content at one place of the order. */
export interface ReplicaDigest {
  /** Number of the replica. */
  readonly replica: number;
  /** Digest of its content, 64 bits; see `TreeReader.digest`. */
  readonly digest: bigint;
  /** Entries it has. */
  readonly entries: number;
}

function isInteger(value: unknown, least: number, most: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most;
}

function integerOption(name: string, value: unknown, least: number, most: number): number {
  if (isInteger(value, least, most)) return value;
  throw new SabtreeError(
    'ERR_OPTION',
    `option ${name} must be an integer from ${least} to ${most}, got ${show(value)}`,
    value,
  );
}

/** Refuses an argument that is not the number of one of `count` things. */
function checkNumber(name: string, value: unknown, count: number): void {
  if (isInteger(value, 0, count - 1)) return;
  const wanted = count === 0 ? 'there is none' : `it must be an integer from 0 to ${count - 1}`;
  throw new SabtreeError('ERR_ARGUMENT', `${name}: ${wanted}, got ${show(value)}`, value);
}

/** What a supervisor may do for its store. */
interface Supervision {
  readonly thread: ChildThread;
  /** Resolves with why, once it has ended. */
  readonly ended: Promise<Failure>;
  readonly control: Remote<SupervisorControl>;
  /** Whether it is not to be asked any more. */
  over: boolean;
}

/** One replica, in `StoreStatus`. */
export interface ReplicaStatus {
  /** Number of the replica. */
  readonly replica: number;
  /** 'home' answers; 'ready' executes the same and can take over; 'rebuilding' is being loaded; 'lost' executes nothing. */
  readonly state: 'home' | 'ready' | 'rebuilding' | 'lost';
}

/** How a store's log is. */
export interface LogStatus {
  /** The log's directory. */
  readonly path: string;
  /** When it is brought to the disk. */
  readonly fsync: FsyncPolicy;
  /** Commands in the log, since there is one. */
  readonly commands: number;
  /** Commands carried out from it when the store was opened, those in its snapshot left out. */
  readonly replayed: number;
  /** The end that had not come through when the store was last ended, and was cut off; undefined if there was none. */
  readonly torn: TornTail | undefined;
  /** Number of the segment that is written. */
  readonly segment: number;
  /** Bytes behind the newest snapshot. */
  readonly behind: number;
  /** Bytes written since the store was opened. */
  readonly written: number;
  /** Writes since then. */
  readonly writes: number;
  /** Fsyncs since then. */
  readonly syncs: number;
  /** Milliseconds that the last fsync took. */
  readonly lastSyncMs: number;
  /** Milliseconds of the longest one. */
  readonly longestSyncMs: number;
}

/** How a store is. */
export interface StoreStatus {
  /** 'open'; 'read-only' after a divergence; 'closed'; 'failed' once the last replica is lost. */
  readonly state: 'open' | 'read-only' | 'closed' | 'failed';
  /** The replica that answers; -1 during a failover. */
  readonly home: number;
  /** All replicas, by number. */
  readonly replicas: readonly ReplicaStatus[];
  /** Replicas lost since the store was opened. */
  readonly losses: number;
  /** Takeovers since the store was opened. */
  readonly failovers: number;
  /** Replicas rebuilt since the store was opened. */
  readonly rebuilds: number;
  /** Milliseconds from the sight of the home replica's loss to the takeover, the last time. */
  readonly lastPauseMs: number;
  /** The same, the longest time. */
  readonly longestPauseMs: number;
  /** Commands that clients sent again after a failover. */
  readonly resent: number;
  /** Commands that came a second time, and were not carried out again. */
  readonly suppressed: number;
  /** Client slots in use, those of ended threads included until they are cleared; this store is one of them. */
  readonly clients: number;
  /** Clients whose threads ended without closing them. */
  readonly clientsLost: number;
  /** Comparisons of the replicas that found them equal. */
  readonly comparisons: number;
  /** The place in the order at which the replicas first differed, if they did. */
  readonly divergedAt: number | undefined;
  /** The log; undefined in a store without one. */
  readonly log: LogStatus | undefined;
}

/** What a store knows of its log: how it was opened, and what was found. */
interface OpenedLog extends Pick<Recovery, 'replayed' | 'torn'> {
  readonly path: string;
  readonly fsync: FsyncPolicy;
}

/**
 * A replicated state machine: commands ordered in group streams and executed in parallel, identically, by every replica.
 * The thread that opened it owns the executors' threads; it is a client like any other besides. Other threads `connect` to its
 * `handle`. The store's threads do not keep the process alive; `close` ends them, and so does the end of the thread that opened it.
 */
export class Store<K = number, V = number> extends StoreClient<K, V> {
  private readonly supervision: Supervision | undefined;
  private readonly listeners = new Set<(event: StoreEvent) => void>();
  private readonly trees: (TreeReader<K, V> | undefined)[] = [];
  private readonly valueType: ValueType;
  private closing: Promise<void> | undefined;
  private digestTag = 1;
  private digestTurn: Promise<unknown> = Promise.resolve();
  private readonly log: OpenedLog | undefined;

  /** @internal */
  constructor(
    handle: StoreHandle,
    streams: Streams,
    value: ValueType,
    supervision: Supervision | undefined,
    log?: OpenedLog,
  ) {
    super(handle, streams, { value });
    this.valueType = value;
    this.log = log;
    this.supervision = supervision;
    supervision?.thread.onMessage((message) => {
      if ((message as Partial<EventMessage> | null)?.sabtree === 'event') this.report((message as EventMessage).event);
    });
    // Without its supervisor nobody would notice a loss.
    void supervision?.ended.then(() => failStreams(streams, FAILURE_EXECUTOR));
  }

  private report(event: StoreEvent): void {
    publish(`sabtree:${event.type}`, { store: this, ...event });
    for (const listener of this.listeners) listener(event);
  }

  /**
   * Calls back with what happens to the store: losses, failovers, rebuilds, divergences. In Node the same goes to the
   * diagnostics channels `sabtree:lost`, `sabtree:failover`, `sabtree:rebuilt`, and so on by the event's type; besides there are
   * `sabtree:opened` and `sabtree:closed`, and `sabtree:overflow` for a watch that was cut off.
   *
   * Listeners are called in the thread that opened the store, when its event loop has its turn, one after another.
   * @returns a function that ends it. @throws ERR_ARGUMENT if it is no function
   */
  onEvent(listener: (event: StoreEvent) => void): () => void {
    if (typeof listener !== 'function') {
      throw new SabtreeError('ERR_ARGUMENT', `onEvent takes a listener, got ${show(listener)}`, listener);
    }
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** How the store is now. Costs a few microseconds; right also while the thread's event loop stands still. */
  status(): StoreStatus {
    const { words, shape, state } = this.streams;
    const load = (word: number) => Atomics.load(words, word >> 2);
    const home = load(STREAMS_HOME);
    const replicas = Array.from({ length: shape.replicas }, (_, replica): ReplicaStatus => {
      const is = (word: number) => ((load(word) >>> replica) & 1) === 1;
      const alive = is(STREAMS_READY) ? 'ready' : is(STREAMS_ALIVE) ? 'rebuilding' : 'lost';
      return { replica, state: replica === home ? 'home' : alive };
    });
    let suppressed = 0;
    for (const { replica, suppressed: count } of this.perExecutor()) if (replica === home) suppressed += count;
    let clients = 0;
    for (let client = 0; client < shape.clients; client++) {
      if (load(this.streams.client(client) + CLIENT_STATE) !== CLIENT_FREE) clients++;
    }
    const diverged = load(STREAMS_DIVERGED);
    const names = ['open', 'open', 'read-only', 'closed', 'failed'] as const;
    return {
      state: names[state],
      home,
      replicas,
      losses: load(STREAMS_LOSSES),
      failovers: load(STREAMS_FAILOVERS),
      rebuilds: load(STREAMS_REBUILDS),
      lastPauseMs: load(STREAMS_PAUSE) / 1000,
      longestPauseMs: load(STREAMS_LONGEST_PAUSE) / 1000,
      resent: load(STREAMS_RESENT),
      suppressed,
      clients,
      clientsLost: load(STREAMS_REAPED),
      comparisons: load(STREAMS_COMPARED),
      divergedAt: diverged === 0 ? undefined : diverged,
      log: this.logStatus(),
    };
  }

  private logStatus(): LogStatus | undefined {
    const { log, streams } = this;
    if (log === undefined) return undefined;
    const counters = new Float64Array(streams.memory, streams.durableAt + LOG_COUNTERS, LOG_COUNTER_COUNT);
    return {
      ...log,
      commands: counters[LOG_COMMANDS],
      segment: counters[LOG_SEGMENT],
      behind: counters[LOG_BEHIND],
      written: counters[LOG_WRITTEN],
      writes: counters[LOG_FRAMES],
      syncs: counters[LOG_SYNCS],
      lastSyncMs: counters[LOG_LAST_SYNC] / 1000,
      longestSyncMs: counters[LOG_LONGEST_SYNC] / 1000,
    };
  }

  /**
   * Saves the content at one place of the order, while commands go on: all that was answered before the call is in it, and
   * of a `putAll` all or nothing. A file is written aside, brought to the disk and then named, so under `target` there is
   * never half a snapshot; a stream gets the bytes and is not ended.
   *
   * One replica, another than the home one if there is one, stands still while it is copied (25 ms per million entries of
   * 12 bytes); the copy takes as much memory as the entries. `open({ restore })` begins with a snapshot, `sabtree inspect` shows one.
   * @returns what the snapshot says of itself.
   * @throws ERR_ARGUMENT; ERR_UNSUPPORTED with the model direct; ERR_IO, also if the stream is closed meanwhile; ERR_CLOSED, also
   *   while a stream still holds what it was given; what the stream fails with (its 'error' event needs no listener then)
   */
  async snapshot(target: SnapshotTarget): Promise<SnapshotInfo> {
    const writer = writerTo(target);
    const release = keepAlive();
    try {
      if (writer === undefined) return await this.ordered((control) => control.snapshot(pathOf(target) as string));
      const { id, info } = await this.ordered((control) => control.snapshotBegin());
      try {
        for (;;) {
          const chunk = await this.ordered((control) => control.snapshotNext(id));
          if (chunk === undefined) return info;
          // A stream may take as long as it likes, but the store does not wait for it when it ends.
          await this.ordered(() => writer.write(chunk));
        }
      } finally {
        if (this.streams.state <= STATE_READ_ONLY) await this.ordered((control) => control.snapshotEnd(id));
      }
    } finally {
      writer?.leave();
      release();
    }
  }

  /**
   * Replaces the log so far by a snapshot now, as `log.snapshotEvery` does by itself. Costs what `snapshot` costs.
   * @throws ERR_UNSUPPORTED in a store without a log; ERR_IO, and then the log goes on as it was; ERR_CLOSED
   */
  async replaceLog(): Promise<SnapshotInfo> {
    const release = keepAlive();
    try {
      return await this.ordered((control) => control.replaceLog());
    } finally {
      release();
    }
  }

  /** What the supervisor answers. @throws what it failed with; why there is none */
  private async ordered<P extends Promise<unknown>>(
    ask: (control: Remote<SupervisorControl>) => P,
  ): Promise<Exclude<Awaited<P>, Failure>> {
    const { supervision, streams } = this;
    if (supervision === undefined) {
      throw new SabtreeError(
        'ERR_UNSUPPORTED',
        'the model direct has no order in which a snapshot would have its place',
        this.model,
      );
    }
    if (streams.state > STATE_READ_ONLY) throw stateError(streams);
    const ended = supervision.ended.then(() => {
      throw stateError(streams);
    });
    const answer = await Promise.race([ask(supervision.control), ended]);
    if (isFailure(answer)) throw failureError(answer);
    return answer as Exclude<Awaited<P>, Failure>;
  }

  /**
   * Ends a replica's threads where they are, or one of them: a drill of what happens when they die. Resolves when they are told
   * to end; `onEvent` says what comes of it.
   * @param replica its number. @param thread the thread's number in it; all of them by default.
   * @throws ERR_ARGUMENT for a replica or thread that is not there; ERR_UNSUPPORTED with the model direct, which has no threads;
   *   ERR_CLOSED once the store has ended
   */
  async kill(replica: number, thread?: number): Promise<void> {
    const { supervision, streams } = this;
    checkNumber('replica', replica, streams.shape.replicas);
    if (supervision === undefined) {
      throw new SabtreeError('ERR_UNSUPPORTED', 'the model direct has no threads that could end', this.model);
    }
    if (thread !== undefined) checkNumber('thread', thread, streams.shape.executors);
    if (supervision.over) throw new SabtreeError('ERR_CLOSED', 'the store was closed');
    const release = keepAlive();
    try {
      await Promise.race([supervision.control.kill(replica, thread), supervision.ended]);
    } finally {
      release();
    }
  }

  /**
   * Tells the store that the thread of a client ended without closing it: what it had claimed is mended, and its place is free
   * again. On Linux and in browsers the store notices by itself (with the model direct, whoever connects or waits for a latch);
   * elsewhere, call it when a worker with a client exits. Does nothing where its thread is known to live, and once the store has
   * ended.
   * @param client what `StoreClient.id` was there. @throws ERR_ARGUMENT for a number that no client can have
   */
  async clientExited(client: number): Promise<void> {
    const { supervision, streams } = this;
    checkNumber('client', client, streams.shape.clients);
    if (!modelOf(this.model).replicated) reapDirect(streams, this.handle.memories[0], client, true);
    if (supervision === undefined || supervision.over) return;
    await Promise.race([supervision.control.clientExited(client), supervision.ended]);
  }

  /** The execution model's name. */
  get model(): ModelName {
    return this.handle.model;
  }

  /** Direct reads of one replica's tree; `tree` is that of the home replica. Only the home replica is sure to have executed what was answered. @throws ERR_ARGUMENT */
  replica(replica: number): TreeReader<K, V> {
    checkNumber('replica', replica, this.streams.shape.replicas);
    if (Atomics.load(this.streams.words, STREAMS_HOME >> 2) === replica) return this.tree;
    const { layout, memories, key, value } = this.handle;
    const tree =
      this.trees[replica] ??
      attachReader<K, V>({ sabtree: 'tree', layout, memory: memories[replica], key, value }, { value: this.valueType });
    this.trees[replica] = tree;
    return tree;
  }

  /**
   * The content digests of all living replicas at one place of the order: equal, or something is wrong. It is a command to
   * all groups, and its answer waits for the slowest replica.
   */
  digests(): Promise<ReplicaDigest[]> {
    // One after another: the replicas have one place each to leave theirs.
    const turn = this.digestTurn.then(() => this.askDigests());
    this.digestTurn = turn.catch(() => {});
    return turn;
  }

  private async askDigests(): Promise<ReplicaDigest[]> {
    const { streams } = this;
    const { words, shape } = streams;
    if (!modelOf(this.model).replicated) return [{ replica: 0, digest: this.tree.digest(), entries: this.tree.size }];
    const tag = this.digestTag++;
    const ready = Atomics.load(words, STREAMS_READY >> 2);
    const generations = Array.from({ length: shape.replicas }, (_, replica) => streams.generation(replica));
    await this.ask(OP_DIGEST, tag);
    const result: ReplicaDigest[] = [];
    for (let replica = 0; replica < shape.replicas; replica++) {
      const base = streams.executor(replica, 0);
      const posted = (base + EXECUTOR_DIGEST_NUMBER) >> 2;
      // One that was lost and rebuilt meanwhile has no part in it.
      const lives = () =>
        ((ready >>> replica) & 1) !== 0 &&
        ((streams.alive >>> replica) & 1) !== 0 &&
        streams.generation(replica) === generations[replica];
      while (lives() && Atomics.load(words, posted) !== tag) {
        if (streams.state > STATE_READ_ONLY) throw stateError(streams);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      if (!lives()) continue;
      const low = BigInt(words[(base + EXECUTOR_DIGEST_LOW) >> 2] >>> 0);
      const high = BigInt(words[(base + EXECUTOR_DIGEST_HIGH) >> 2] >>> 0);
      result.push({ replica, digest: (high << 32n) | low, entries: words[(base + EXECUTOR_DIGEST_COUNT) >> 2] });
    }
    return result;
  }

  private perExecutor(): ExecutorStats[] {
    const { streams } = this;
    const { executors: threads, replicas } = streams.shape;
    const perExecutor: ExecutorStats[] = [];
    for (let replica = 0; replica < replicas; replica++) {
      for (let executor = 0; executor < threads; executor++) {
        const counters = new Float64Array(
          streams.memory,
          streams.executor(replica, executor) + EXECUTOR_COUNTERS,
          COUNTERS,
        );
        perExecutor.push({
          replica,
          executor,
          commands: counters[COUNTER_COMMANDS],
          refused: counters[COUNTER_REFUSED],
          deferred: counters[COUNTER_DEFERRED],
          retried: counters[COUNTER_RETRIED],
          syncPoints: counters[COUNTER_SYNC_POINTS],
          batches: counters[COUNTER_BATCHES],
          parks: counters[COUNTER_PARKS],
          suppressed: counters[COUNTER_SUPPRESSED],
          depth: executorDepth(streams, replica, executor),
          ...treeWork(streams, this.handle.memories[replica], replica, executor),
        });
      }
    }
    return perExecutor;
  }

  /** Counters since the store was opened, and how it is now. Costs some ten microseconds, and the executors nothing. */
  stats(): StoreStats {
    const { streams } = this;
    const { groups, executors: threads, replicas } = streams.shape;
    const perExecutor = this.perExecutor();
    const home = Atomics.load(streams.words, STREAMS_HOME >> 2);
    const sum = (of: (one: ExecutorStats) => number) =>
      perExecutor.reduce((total, one) => (one.replica === home ? total + of(one) : total), 0);
    let alive = 0;
    for (let bits = streams.alive; bits !== 0; bits &= bits - 1) alive++;
    return {
      model: this.model,
      groups,
      executors: this.handle.executors,
      threads,
      replicas,
      alive,
      home,
      commands: sum((one) => one.commands),
      refused: sum((one) => one.refused),
      deferred: sum((one) => one.deferred),
      retried: sum((one) => one.retried),
      syncPoints: sum((one) => one.syncPoints),
      perExecutor,
      perGroup: groupStats(streams, home),
      latency: latencies(streams),
      memory: memoryStats(streams, this.handle.memories),
      watchers: watcherCount(streams),
      tree: this.tree.stats(),
    };
  }

  /**
   * Lets `sabtree top` look at this store: it finds it at `path`, a Unix domain socket that only this user may use. (Also
   * `SABTREE_TOP=path` in the environment does it for the stores that a process opens.) Costs nothing until somebody looks.
   * The process ends as if it were not there.
   * @returns what ends it; `close` does it too. @throws ERR_ARGUMENT if nothing can listen there.
   */
  async serveStats(path: string): Promise<StatsServer> {
    if (typeof path !== 'string' || path === '') {
      throw new SabtreeError('ERR_ARGUMENT', `serveStats takes a path, got ${show(path)}`, path);
    }
    if (this.closing !== undefined) throw new SabtreeError('ERR_CLOSED', 'the store was closed');
    const server = await serveStats(path, () => ({ status: this.status(), stats: this.stats() }));
    this.servers.add(server);
    return server;
  }

  private readonly servers = new Set<StatsServer>();

  /**
   * Ends the store and all of its threads, also under load. This client's calls given so far are answered first; calls of
   * other clients that are still under way get ERR_CLOSED.
   */
  override close(): Promise<void> {
    this.closing ??= this.shutDown();
    return this.closing;
  }

  private async shutDown(): Promise<void> {
    for (const server of this.servers) await server.close();
    await this.client.whenIdle();
    this.leave();
    publish('sabtree:closed', { store: this });
    for (const tree of this.trees) tree?.close();
    closeStreams(this.streams);
    if (this.supervision !== undefined) await stopSupervisor(this.supervision, this.streams);
  }
}

/** Has the supervisor end all threads, then ends it. */
async function stopSupervisor(supervision: Supervision, { shape }: Streams): Promise<void> {
  const { thread, control, ended } = supervision;
  const { promise: late, cancel } = timeLimit(shape.logged ? LOG_STOP_LIMIT : STOP_LIMIT);
  await Promise.race([control.stop(), ended, late]);
  cancel();
  supervision.over = true;
  control[releaseProxy]();
  await thread.terminate();
}

function timeLimit(ms: number): { promise: Promise<void>; cancel(): void } {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const promise = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  return { promise, cancel: () => clearTimeout(timer) };
}

/**
 * Opens a store: makes the replicas' memories and the streams, starts the executors, and loads what was restored or is in
 * the log.
 * @throws ERR_OPTION, ERR_MEMORY_EXHAUSTED, ERR_TIMEOUT; ERR_NOT_ISOLATED in a page without shared memory, ERR_UNSUPPORTED in a browser that lacks or
 *   refuses what a store needs; with a snapshot or a log also ERR_SNAPSHOT_CORRUPT, ERR_LOG_CORRUPT, ERR_LOG_IN_USE, ERR_LAYOUT_VERSION, ERR_SCHEMA_MISMATCH, ERR_IO
 */
export async function open<KT extends KeyType, const VT extends ValueType>(
  options: StoreOptions<KT, VT>,
): Promise<Store<KeyOf<KT>, ValueOf<VT>>> {
  const { store } = await openAs(options, true);
  publish('sabtree:opened', { store });
  await serveOpened(store);
  return store;
}

/** Like `open`, but the executors do nothing until `start` is called: for benchmarks that fill the rings first. @internal */
export function openStopped<KT extends KeyType, const VT extends ValueType>(
  options: StoreOptions<KT, VT>,
): Promise<{ store: Store<KeyOf<KT>, ValueOf<VT>>; start(): void }> {
  return openAs(options, false);
}

async function openAs<KT extends KeyType, const VT extends ValueType>(
  options: StoreOptions<KT, VT>,
  run: boolean,
): Promise<{ store: Store<KeyOf<KT>, ValueOf<VT>>; start(): void }> {
  if (typeof options !== 'object' || options === null) {
    throw new SabtreeError('ERR_OPTION', `open takes an object of options, got ${show(options)}`, options);
  }
  for (const name of Object.keys(options)) {
    if (!OPTIONS.has(name)) throw new SabtreeError('ERR_OPTION', `unknown option ${show(name)}`, name);
  }
  requireSharedMemory();
  const model = modelOf(options.model ?? 'opt-psmr');
  const wanted = integerOption(
    'executors',
    options.executors ?? Math.max(1, Math.min(MAX_GROUPS, availableParallelism() - 1)),
    1,
    MAX_GROUPS,
  );
  const executors = model.oneExecutor ? 1 : wanted;
  const replicas = integerOption('replicas', options.replicas ?? (model.replicated ? 2 : 1), 1, MAX_REPLICAS);
  if (!model.replicated && replicas > 1) {
    throw new SabtreeError(
      'ERR_OPTION',
      `option replicas: the model ${model.name} has one copy, got ${replicas}`,
      replicas,
    );
  }
  const threads = model.threads(executors);
  const mixer = options.mixer ?? 'keys';
  if (mixer !== 'keys' && mixer !== 'blind') {
    throw new SabtreeError('ERR_OPTION', `option mixer must be keys or blind, got ${show(mixer)}`, mixer);
  }
  const groups = integerOption(
    'groups',
    model.oneStream ? 1 : (options.groups ?? executors),
    model.oneStream ? 1 : executors,
    MAX_GROUPS,
  );
  const locality = integerOption('locality', options.locality ?? 1, 1, 65536);
  if ((locality & (locality - 1)) !== 0) {
    throw new SabtreeError('ERR_OPTION', `option locality must be a power of two, got ${locality}`, locality);
  }
  if (locality > 1 && options.key === 'f64') {
    throw new SabtreeError('ERR_OPTION', `option locality is for integer keys, got ${locality} with f64`, locality);
  }
  const ringSlots = integerOption('ring', options.ring ?? 4096, 256, 1 << 20);
  if ((ringSlots & (ringSlots - 1)) !== 0) {
    throw new SabtreeError('ERR_OPTION', `option ring must be a power of two, got ${ringSlots}`, ringSlots);
  }
  if (threads * replicas > ringSlots >> 2) {
    throw new SabtreeError(
      'ERR_OPTION',
      `option ring: ${ringSlots} slots are too few for ${executors} x ${replicas} executors`,
      ringSlots,
    );
  }
  const clients = integerOption('clients', options.clients ?? 64, 1, MAX_CLIENTS);
  const latchTimeout = integerOption('latchTimeout', options.latchTimeout ?? DEFAULT_LATCH_TIMEOUT, 1, 0x7fffffff);
  const stallTimeout = integerOption('stallTimeout', options.stallTimeout ?? 10_000, 100, 0x7fffffff);
  const compareEvery = integerOption('compareEvery', options.compareEvery ?? 1000, 0, 0x7fffffff);
  const { rebuild = true } = options;
  if (typeof rebuild !== 'boolean') {
    throw new SabtreeError('ERR_OPTION', `option rebuild must be a boolean, got ${show(rebuild)}`, rebuild);
  }
  const urls = commandUrls(options.commands);
  if (urls.length > 0 && !model.replicated) {
    throw new SabtreeError('ERR_OPTION', 'option commands: the model direct has no order to run them in', urls[0]);
  }
  const commandTimeout = integerOption('commandTimeout', options.commandTimeout ?? 1000, 0, 0x7fffffff);
  if (urls.length > 0 && commandTimeout >= stallTimeout) {
    throw new SabtreeError(
      'ERR_OPTION',
      `option commandTimeout must be less than stallTimeout (${stallTimeout} ms), got ${commandTimeout}`,
      commandTimeout,
    );
  }
  const start = integerOption('ringStart', options.ringStart ?? 0, 0, 0xffffffff);
  const wait = waitStrategy(options.wait ?? 'park').name;
  const code = keyCode(options.key);
  if (locality > 1 && isVariable(code)) {
    throw new SabtreeError(
      'ERR_OPTION',
      `option locality is for integer keys, got ${locality} with ${options.key}`,
      locality,
    );
  }
  const values = new ValueCodec(options.value);
  const maxValue = model.replicated ? longestValue(options, values, ringSlots) : MAX_BLOB_BYTES;
  const replyBytes = values.variable === undefined || !model.replicated ? REPLY_BYTES : replyBytesFor(maxValue);
  const shape = shapeOf(code, values.stride, options.nodeSize, options.fanout);
  const pages = pagesOf(options.memory ?? '1GB');
  const log = logConfig(options.log, model.replicated);
  const valueSize = values.variable === undefined ? values.stride : 0;
  const schema: Schema = { key: options.key, value: values.signature, valueSize };
  const commands = await importCommands(urls);
  checkCommands(commands, code, values.signature);
  const restore = options.restore === undefined ? undefined : await restoreFrom(options.restore, schema);

  const memories = Array.from({ length: replicas }, () => createTreeMemory(code, values, shape, pages, latchTimeout));
  const streams = Streams.create({
    groups,
    executors: threads,
    replicas,
    clients,
    ringSlots,
    replyBytes,
    start: start | 0,
    localBits: 31 - Math.clz32(locality),
    logged: log !== undefined,
    calls: commands.length > 0 && (replicas > 1 || log !== undefined),
  });
  if (model.name === 'execute-verify' && mixer === 'blind') refuseWatchers(streams);
  const handle: StoreHandle = {
    sabtree: 'store',
    layout: LAYOUT_VERSION,
    streams: streams.memory,
    memories,
    key: options.key,
    value: typeof options.value === 'string' ? options.value : 'record',
    maxValue,
    model: model.name,
    executors,
    wait,
    commands: commands.map(({ name, signature }) => ({ name, signature })),
  };
  const opaque = typeof options.value === 'string' ? options.value : ValueCodec.moved(options.value);
  // There is nothing to supervise where clients do all the work.
  if (threads === 0) {
    if (restore !== undefined) loadHere(memories[0], ValueCodec.opaque(opaque), restore);
    Atomics.store(streams.words, STREAMS_STATE >> 2, STATE_OPEN);
    const store = new Store<KeyOf<KT>, ValueOf<VT>>(handle, streams, options.value, undefined);
    return { store, start() {} };
  }
  const thread = startSupervisorThread('sabtree supervisor');
  const ended = new Promise<Failure>((resolve) => {
    thread.onEnd((error) => {
      if (error instanceof SabtreeError) resolve(failureOf(error));
      else resolve({ code: 'ERR_REPLICAS_LOST', message: `the supervisor ended: ${error}` });
    });
  });
  const supervision: Supervision = { thread, ended, control: wrap<SupervisorControl>(thread.endpoint), over: false };
  const config: SupervisorConfig = {
    streams: streams.memory,
    memories,
    value: opaque,
    model: model.name,
    wait,
    mixer,
    ...{ commands: urls, commandTimeout, maxValue },
    rebuild,
    stallTimeout,
    compareEvery,
    schema,
    ...(log && { log }),
    ...(restore && { restore }),
  };
  try {
    const failure = await withLimit(
      Promise.race([supervision.control.start(config, run), ended]),
      log === undefined && restore === undefined ? START_LIMIT : LOAD_LIMIT,
      'the executors did not start',
    );
    if (failure !== undefined) throw failureError(failure);
    if (!run) Atomics.store(streams.words, STREAMS_STATE >> 2, STATE_OPEN);
    const opened = log && {
      ...{ path: log.directory, fsync: log.fsync, replayed: 0, torn: undefined },
      ...(await supervision.control.recovered()),
    };
    const store = new Store<KeyOf<KT>, ValueOf<VT>>(handle, streams, options.value, supervision, opened);
    return { store, start: () => void supervision.control.run() };
  } catch (error) {
    closeStreams(streams);
    await stopSupervisor(supervision, streams);
    throw error;
  }
}

/** Most bytes of a value. @throws ERR_OPTION */
function longestValue({ maxValue }: StoreOptions, values: ValueCodec, ringSlots: number): number {
  if (values.variable === undefined) {
    if (maxValue === undefined) return values.stride;
    throw new SabtreeError('ERR_OPTION', 'option maxValue is for values that vary in length', maxValue);
  }
  const longest = integerOption('maxValue', maxValue ?? MAX_VALUE, 64, 1_040_000);
  // A record has its head, a key, and with compareAndSet two values.
  const most = Math.min(16384, ringSlots >> 2) * SLOT - MAX_KEY_BYTES - 256;
  if (maxValue !== undefined && longest > most) {
    throw new SabtreeError(
      'ERR_OPTION',
      `option maxValue: a ring of ${ringSlots} slots takes values of ${most} bytes at most, got ${longest}`,
      longest,
    );
  }
  return Math.min(longest, most);
}

/** The URLs of the option `commands`. @throws ERR_OPTION */
function commandUrls(option: StoreOptions['commands']): string[] {
  if (option === undefined) return [];
  const list = typeof option === 'string' || option instanceof URL ? [option] : option;
  if (!Array.isArray(list)) {
    throw new SabtreeError('ERR_OPTION', `option commands takes the URLs of modules, got ${show(option)}`, option);
  }
  return list.map((url: unknown) => {
    try {
      return new URL(url as string | URL).href;
    } catch (cause) {
      const hint = "a module's URL, like new URL('./commands.js', import.meta.url)";
      throw new SabtreeError('ERR_OPTION', `option commands takes ${hint}; got ${show(url)}`, url, { cause });
    }
  });
}

/** Loads a snapshot where there are no threads to do it. */
function loadHere(memory: WebAssembly.Memory, values: ValueCodec, snapshot: NonNullable<LoadPlan['snapshot']>): void {
  const attachment = new Attachment(memory, undefined, values);
  const source = snapshotSource(snapshot);
  try {
    loadSnapshot(attachment, source);
  } finally {
    source.close();
    attachment.detach();
  }
}

async function withLimit<T>(promise: Promise<T>, limit: number, what: string): Promise<T> {
  const { promise: late, cancel } = timeLimit(limit);
  const fail = late.then(() => {
    throw new SabtreeError('ERR_TIMEOUT', `${what} within ${limit} ms`, limit);
  });
  try {
    return await Promise.race([promise, fail]);
  } finally {
    cancel();
  }
}
