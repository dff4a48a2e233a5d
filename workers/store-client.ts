import { ownThread } from '#platform';
import type { Attachment } from '../engine/attachment.ts';
import { SabtreeError, show } from '../engine/errors.ts';
import { checkKey, type KeyOrder, keyOrder } from '../engine/key-order.ts';
import { isVariable, type KeyType } from '../engine/keys.ts';
import { type Range, type RangeOptions, rangeOf } from '../engine/range.ts';
import { keyCode } from '../engine/shape.ts';
import { attachReader, attachWriter, type Column, type TreeReader } from '../engine/shared-tree.ts';
import { ByteViews, type ScalarType, ValueCodec, type ValueType } from '../engine/values.ts';
import { prefixRange } from '../engine/variable-keys.ts';
import type { VariableType } from '../engine/variable-values.ts';
import {
  OP_ADD,
  OP_CALL,
  OP_CEILING,
  OP_COMPARE_AND_SET,
  OP_COUNT,
  OP_DELETE,
  OP_FIRST,
  OP_FLOOR,
  OP_GET,
  OP_GET_ALL,
  OP_HAS,
  OP_HIGHER,
  OP_INSERT,
  OP_LAST,
  OP_LAST_POINT,
  OP_LOWER,
  OP_PUT,
  OP_PUT_ALL,
  OP_QUERY,
  OP_RANGE,
  OP_READ,
  OP_UPDATE,
  SLOT,
} from '../layout/operation.ts';
import { STATE_READ_ONLY } from '../layout/streams.ts';
import { LAYOUT_VERSION } from '../layout/tree-memory.ts';
import { atomicCommand, compareAndSetAllCommand, isNumeric } from './built-in-commands.ts';
import { callBytes, type Invocation, invocation, isCommandError, MOST_RESULT, refuseLong } from './call-record.ts';
import { type Call, Client, type CommandClient, limitsOf, noteTreeThread, type Sink } from './client.ts';
import { isCommand, type KnownCommand, type RunnableCommand } from './command-table.ts';
import { type Command, commandCode, type PointCommand, type Result } from './commands.ts';
import { readerOf, reapDeadClients, reapWhileWaiting } from './dead-clients.ts';
import type { CallArguments, DefinedCommand } from './define-command.ts';
import { DirectClient } from './direct-client.ts';
import { stateError } from './failure.ts';
import { HomeReader } from './home-reader.ts';
import { inTurns } from './in-turns.ts';
import { modelOf } from './models/index.ts';
import type { ExecutionModel, ModelName } from './models/model.ts';
import { RangePiece } from './range-piece.ts';
import { epochOf, readStanding } from './reading.ts';
import { Streams } from './streams.ts';
import { type WaitName, waitStrategy } from './waiting.ts';
import { type Change, Changes, Watch, type WatchOptions, type WatchRange } from './watch.ts';

/** What another thread needs to connect to a store. Structured-cloneable. */
export interface StoreHandle {
  /** Says what the handle is of. */
  readonly sabtree: 'store';
  /** Version of the memory layout. */
  readonly layout: number;
  /** The streams' memory: rings, clients, counters. */
  readonly streams: SharedArrayBuffer;
  /** The replicas' memories. */
  readonly memories: readonly WebAssembly.Memory[];
  /** The key type's name. */
  readonly key: KeyType;
  /** The value type's name; 'record' if it is a schema, which then has to be given to `connect` as well. */
  readonly value: ScalarType | VariableType | 'record';
  /** Most bytes of a value. */
  readonly maxValue: number;
  /** The execution model's name. */
  readonly model: ModelName;
  /** Executors of each replica. */
  readonly executors: number;
  /** How the store's threads wait, and its clients unless they say otherwise. */
  readonly wait: WaitName;
  /** The user-defined commands that the store knows. */
  readonly commands: readonly KnownCommand[];
}

/** Options of `connect`. */
export interface ConnectOptions<V extends ValueType = ValueType> {
  /** The value type; needed for records, whose schema cannot travel between threads. */
  readonly value?: V;
  /** How this client's blocking calls wait: 'spin', 'yield' or 'park' (default: the store's). */
  readonly wait?: WaitName;
}

/** One awaited command. */
class PromiseSink implements Sink {
  private readonly resolve: (value: never) => void;
  private readonly reject: (error: SabtreeError) => void;

  constructor(resolve: (value: never) => void, reject: (error: SabtreeError) => void) {
    this.resolve = resolve;
    this.reject = reject;
  }

  settle(_index: number, result: unknown): void {
    this.resolve(result as never);
  }

  refuse(_index: number, error: SabtreeError): void {
    this.reject(error);
  }
}

/** Gathers the results of a batch in its order. */
class BatchSink implements Sink {
  readonly results: unknown[];
  left: number;
  /** Called when the last result is there. */
  whenDone: (() => void) | undefined;
  /** Set if the store itself failed. */
  lost: SabtreeError | undefined;

  constructor(size: number) {
    this.results = new Array(size);
    this.left = size;
  }

  settle(index: number, result: unknown): void {
    this.results[index] = result;
    if (--this.left === 0) this.whenDone?.();
  }

  refuse(index: number, error: SabtreeError): void {
    const own = error.code === 'ERR_UNSUPPORTED' || error.code === 'ERR_UNKNOWN_COMMAND' || isCommandError(error.code);
    if (!own) this.lost ??= error;
    this.settle(index, error);
  }
}

/**
 * A client of a store: every method comes twice, asynchronous (`put`) and blocking (`putSync`, where the thread may block:
 * everywhere but on a browser's main thread).
 *
 * Promise: commands are linearizable. A command's answer is given after the home replica has executed it, and every
 * replica executes it at the same place of the order. Commands of one client on the same key take effect in the order
 * in which they were given, but for reads that are under way when the home replica is lost: they are executed anew, and may
 * see writes that were given after them and were under way too.
 *
 * `tree` reads the home replica directly, with no message: also linearizable, key by key, and far cheaper; but what a
 * direct range sees is one state of the home replica's tree, not a place in the order.
 *
 * Asynchronous calls of one turn of the event loop travel together. A call that cannot be sent yet, because a ring is full,
 * waits; nothing is lost. All methods throw (or reject with) ERR_KEY and ERR_VALUE for wrong arguments, ERR_CLOSED after
 * `close`, and ERR_REPLICAS_LOST, ERR_MEMORY_EXHAUSTED or ERR_LATCH_LOST when the store has failed.
 */
export class StoreClient<K = number, V = number> {
  /** The home replica's tree, for direct reads in this thread. */
  readonly tree: TreeReader<K, V>;
  /** The handle this client was made from. */
  readonly handle: StoreHandle;
  /** @internal */
  readonly client: CommandClient;
  /** @internal */
  readonly streams: Streams;
  private readonly keyType: number;
  private readonly order: KeyOrder;
  private readonly codec: ValueCodec;
  private readonly probe = new ByteViews(1024);
  private left = false;

  /** @internal */
  constructor(handle: StoreHandle, streams: Streams, options: ConnectOptions) {
    const type = options.value ?? handle.value;
    if (type === 'record') {
      throw new SabtreeError(
        'ERR_SCHEMA_MISMATCH',
        'a store of records is connected to with its schema: connect(handle, { value: schema })',
        type,
      );
    }
    this.handle = handle;
    this.streams = streams;
    this.keyType = keyCode(handle.key);
    this.order = keyOrder(this.keyType);
    this.codec = new ValueCodec(type as ValueType);
    if (!Array.isArray(handle.memories) || handle.memories.length !== streams.shape.replicas) {
      throw new SabtreeError('ERR_NOT_A_TREE', "the handle lacks the replicas' memories", handle.memories);
    }
    const { layout, memories, key, value } = handle;
    // The client first: should this thread be ended meanwhile, its slots in the trees are found through it.
    const model = modelOf(handle.model);
    const client = this.makeClient(model, type as ValueType, options.wait ?? handle.wait);
    const attach = (replica: number) =>
      attachReader<K, V>(
        { sabtree: 'tree', layout, memory: memories[replica], key, value },
        { value: type as ValueType },
        (thread) => noteTreeThread(streams, client.id, replica, thread),
        readerOf(client.id),
      ).attachment;
    try {
      this.tree = new HomeReader<K, V>(streams, attach, key, value);
    } catch (error) {
      client.close();
      throw error;
    }
    if (!model.replicated) reapWhileWaiting(this.attachment, streams);
    this.client = client;
  }

  private makeClient(model: ExecutionModel, type: ValueType, wait: WaitName): CommandClient {
    const { streams, codec: values, keyType: keyCode, handle } = this;
    if (model.replicated) {
      const { maxValue: longest } = handle;
      return new Client({ streams, model, keyCode, values, longest, wait: waitStrategy(wait, streams.roomy) });
    }
    const { layout, memories, key, value } = handle;
    const [memory] = memories;
    reapDeadClients(streams, memory);
    const attach = (owner: number) =>
      attachWriter<unknown, unknown>({ sabtree: 'tree', layout, memory, key, value }, { value: type }, owner);
    const limits = limitsOf(streams, keyCode, values);
    return new DirectClient(streams, attach, limits.range, limits.many);
  }

  /** Number of this client in the store, 0 to `clients` - 1: what `Store.clientExited` takes. */
  get id(): number {
    return this.client.id;
  }

  /** @internal */
  protected get attachment(): Attachment {
    return this.tree.attachment;
  }

  // --- one command --------------------------------------------------------------------------------------------------

  /** Sends one command and promises its result. */
  protected ask<R>(op: number, key: unknown, value?: unknown, expected?: unknown, range?: Range): Promise<R> {
    return new Promise<R>((resolve, reject) => {
      this.client.submit({ op, key, value, expected, range, sink: new PromiseSink(resolve, reject), index: 0 });
    });
  }

  /** Sends one command and blocks for its result. */
  protected askSync<R>(op: number, key: unknown, value?: unknown, expected?: unknown, range?: Range): R {
    const sink = new BatchSink(1);
    let call: Call | undefined = { op, key, value, expected, range, sink, index: 0 };
    this.client.drive(
      () => {
        const next = call;
        call = undefined;
        return next;
      },
      () => sink.left === 0,
    );
    const [result] = sink.results;
    if (result instanceof SabtreeError) throw result;
    return result as R;
  }

  /** The value of `key`, or undefined. */
  get(key: K): Promise<V | undefined> {
    return this.ask(OP_GET, key);
  }
  /** Like `get`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  getSync(key: K): V | undefined {
    return this.askSync(OP_GET, key);
  }

  /** Whether `key` is there. */
  has(key: K): Promise<boolean> {
    return this.ask(OP_HAS, key);
  }
  /** Like `has`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  hasSync(key: K): boolean {
    return this.askSync(OP_HAS, key);
  }

  /** Writes an entry, present or not. Answers true if the key is new. */
  put(key: K, value: V): Promise<boolean> {
    return this.ask(OP_PUT, key, value);
  }
  /** Like `put`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  putSync(key: K, value: V): boolean {
    return this.askSync(OP_PUT, key, value);
  }

  /** Writes an entry only if the key is absent. Answers whether it did. */
  insert(key: K, value: V): Promise<boolean> {
    return this.ask(OP_INSERT, key, value);
  }
  /** Like `insert`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  insertSync(key: K, value: V): boolean {
    return this.askSync(OP_INSERT, key, value);
  }

  /** Writes an entry only if the key is present. Answers whether it did. */
  update(key: K, value: V): Promise<boolean> {
    return this.ask(OP_UPDATE, key, value);
  }
  /** Like `update`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  updateSync(key: K, value: V): boolean {
    return this.askSync(OP_UPDATE, key, value);
  }

  /** Removes an entry. Answers whether it was there. */
  delete(key: K): Promise<boolean> {
    return this.ask(OP_DELETE, key);
  }
  /** Like `delete`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  deleteSync(key: K): boolean {
    return this.askSync(OP_DELETE, key);
  }

  /** Writes `value` only if the present value is `expected`, byte for byte. Answers whether it did. */
  compareAndSet(key: K, expected: V, value: V): Promise<boolean> {
    return this.ask(OP_COMPARE_AND_SET, key, value, expected);
  }
  /** Like `compareAndSet`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  compareAndSetSync(key: K, expected: V, value: V): boolean {
    return this.askSync(OP_COMPARE_AND_SET, key, value, expected);
  }

  /** Adds to a numeric value; an absent key counts as 0. Answers the value before, undefined if there was none. */
  add(key: K, by: V): Promise<V | undefined> {
    return this.ask(OP_ADD, key, by);
  }
  /** Like `add`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  addSync(key: K, by: V): V | undefined {
    return this.askSync(OP_ADD, key, by);
  }

  /** The entry with the greatest key <= `key`, in the order of commands. */
  floor(key: K): Promise<[K, V] | undefined> {
    return this.ask(OP_FLOOR, this.checked(key));
  }
  /** Like `floor`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  floorSync(key: K): [K, V] | undefined {
    return this.askSync(OP_FLOOR, this.checked(key));
  }

  /** The entry with the smallest key >= `key`. */
  ceiling(key: K): Promise<[K, V] | undefined> {
    return this.ask(OP_CEILING, this.checked(key));
  }
  /** Like `ceiling`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  ceilingSync(key: K): [K, V] | undefined {
    return this.askSync(OP_CEILING, this.checked(key));
  }

  /** The entry with the greatest key < `key`. */
  lower(key: K): Promise<[K, V] | undefined> {
    return this.ask(OP_LOWER, this.checked(key));
  }
  /** Like `lower`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  lowerSync(key: K): [K, V] | undefined {
    return this.askSync(OP_LOWER, this.checked(key));
  }

  /** The entry with the smallest key > `key`. */
  higher(key: K): Promise<[K, V] | undefined> {
    return this.ask(OP_HIGHER, this.checked(key));
  }
  /** Like `higher`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  higherSync(key: K): [K, V] | undefined {
    return this.askSync(OP_HIGHER, this.checked(key));
  }

  /** The entry with the smallest key. */
  first(): Promise<[K, V] | undefined> {
    return this.ask(OP_FIRST, undefined);
  }
  /** Like `first`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  firstSync(): [K, V] | undefined {
    return this.askSync(OP_FIRST, undefined);
  }

  /** The entry with the greatest key. */
  last(): Promise<[K, V] | undefined> {
    return this.ask(OP_LAST, undefined);
  }
  /** Like `last`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  lastSync(): [K, V] | undefined {
    return this.askSync(OP_LAST, undefined);
  }

  /**
   * Number of entries, or of those of a range, at this command's place in the order: one state, however long the range. It
   * costs the executors, who stand meanwhile, some 5 ns for each entry of the range; all entries are counted at once.
   */
  async count(range?: RangeOptions<K>): Promise<number> {
    return this.ask(OP_COUNT, undefined, undefined, undefined, this.countedRange(range));
  }
  /** Like `count`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  countSync(range?: RangeOptions<K>): number {
    return this.askSync(OP_COUNT, undefined, undefined, undefined, this.countedRange(range));
  }

  private countedRange(range: RangeOptions<K> | undefined): Range | undefined {
    return range === undefined ? undefined : this.checkedRange(range);
  }

  /**
   * The entries of a range, in key order or from the greatest down, for `for await`; direct reads of the home replica, so it
   * costs the executors nothing. They are read in pieces of some thousand entries (see `TreeReader.range`), each one state of
   * the home replica, each later than the one before; between two entries, other work of this thread has its turn. Writers
   * may go on: keys never repeat and never go back; an entry that is there all the time is given, one that is written or deleted
   * meanwhile may be or not. For one state of a whole range use `range`, or `read`.
   */
  entries(range?: RangeOptions<K>): AsyncIterableIterator<[K, V], undefined> {
    return inTurns(this.tree.range(range));
  }

  /** The keys of a range; see `entries`. */
  keys(range?: RangeOptions<K>): AsyncIterableIterator<K, undefined> {
    return inTurns(this.tree.keys(range));
  }

  /** The values of a range, in the order of their keys; see `entries`. (`tree.values` gives them at once.) */
  values(range?: RangeOptions<K>): AsyncIterableIterator<V, undefined> {
    return inTurns(this.tree.values(range));
  }

  /** All entries; see `entries`. */
  [Symbol.asyncIterator](): AsyncIterableIterator<[K, V], undefined> {
    return this.entries();
  }

  /** Most entries that `range` answers at one place of the order. */
  get rangeLimit(): number {
    return this.client.rangeLimit;
  }

  /**
   * The entries of a range at one place in the order of commands, up to `rangeLimit` entries; a longer range comes in
   * pieces of that size, each a command of its own. Every ordered range stops all executors of its groups for a moment:
   * where a state of the home replica is enough, `tree.range` costs no message.
   */
  async range(options?: RangeOptions<K>): Promise<[K, V][]> {
    const pieces = this.pieces(options);
    for (let range = pieces.next(undefined); ; ) {
      if (range.done) return range.value;
      range = pieces.next(await this.ask<RangePiece>(OP_RANGE, undefined, undefined, undefined, range.value));
    }
  }
  /** Like `range`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  rangeSync(options?: RangeOptions<K>): [K, V][] {
    const pieces = this.pieces(options);
    for (let range = pieces.next(undefined); ; ) {
      if (range.done) return range.value;
      range = pieces.next(this.askSync<RangePiece>(OP_RANGE, undefined, undefined, undefined, range.value));
    }
  }

  /** The commands a range takes, one after the other, each made from the reply to the last. */
  private *pieces(given: RangeOptions<K> | undefined): Generator<Range, [K, V][], RangePiece | undefined> {
    const options = this.plain(given);
    const { limit = Number.POSITIVE_INFINITY, reverse = false } = options ?? {};
    const all: [K, V][] = [];
    let next = this.checkedRange(options);
    while (next.limit > 0) {
      const reply = (yield next) as RangePiece;
      for (const entry of reply.entries) all.push(entry as [K, V]);
      if (!reply.more || all.length >= limit || reply.entries.length === 0) break;
      const edge = reply.entries[reply.entries.length - 1][0] as K;
      const { gt: _gt, gte: _gte, ...upper } = options ?? {};
      const { lt: _lt, lte: _lte, ...lower } = options ?? {};
      next = rangeOf({ ...(reverse ? { ...lower, lt: edge } : { ...upper, gt: edge }), limit: limit - all.length });
    }
    return all;
  }

  private checked(key: K): K {
    checkKey(this.keyType, key);
    return key;
  }

  /** A range whose prefix has become bounds. @throws ERR_ARGUMENT, ERR_KEY */
  private plain(options: RangeOptions<K> | undefined): RangeOptions<K> | undefined {
    if (options?.prefix === undefined) return options;
    const { prefix, ...rest } = options;
    // Together with bounds it is refused as it stands.
    rangeOf(options);
    if (!isVariable(this.keyType)) {
      throw new SabtreeError('ERR_ARGUMENT', 'a prefix is for keys that are strings, bytes or tuples', prefix);
    }
    const { from, end } = prefixRange(this.keyType, prefix);
    return { ...rest, gte: from as K, ...(end !== undefined && { lt: end as K }) };
  }

  private checkedRange(options: RangeOptions<K> | undefined): Range {
    const range = rangeOf(this.plain(options));
    if (range.lower !== undefined) this.checked(range.lower as K);
    if (range.upper !== undefined) this.checked(range.upper as K);
    return range;
  }

  // --- several reads of one state -----------------------------------------------------------------------------------

  /**
   * Several reads of one state: `view` gets the home replica's tree as it is at one place of the order, and may read whatever
   * it likes of it. It is linearizable, and cannot be starved: it is a command, at whose place all executors of the home
   * replica stand until `view` has returned. So keep it short; commands wait meanwhile. It has to be synchronous, and must give
   * no blocking command of its own. It is called again if the home replica is lost under it.
   * @returns what `view` returns. (Not an iterator: read what it gives within the view.)
   * @throws what `view` throws; ERR_TIMEOUT if it takes longer than a second; ERR_ARGUMENT if it is asynchronous;
   *   ERR_UNSUPPORTED with the model `direct`, whose clients write without order.
   */
  async read<R>(view: (tree: TreeReader<K, V>) => R): Promise<R> {
    this.checkView(view);
    for (;;) {
      const epoch = epochOf(this.streams);
      await this.ask(OP_READ, undefined);
      const done = readStanding(this.streams, this.id, epoch, () => view(this.tree));
      if (done !== undefined) return done.result;
    }
  }
  /** Like `read`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  readSync<R>(view: (tree: TreeReader<K, V>) => R): R {
    this.checkView(view);
    for (;;) {
      const epoch = epochOf(this.streams);
      this.askSync(OP_READ, undefined);
      const done = readStanding(this.streams, this.id, epoch, () => view(this.tree));
      if (done !== undefined) return done.result;
    }
  }

  private checkView(view: unknown): void {
    if (typeof view !== 'function') {
      throw new SabtreeError('ERR_ARGUMENT', `read takes a function, got ${show(view)}`, view);
    }
    if (!modelOf(this.handle.model).replicated) {
      throw new SabtreeError(
        'ERR_UNSUPPORTED',
        'with the model direct there is no place at which all writers stand',
        this.handle.model,
      );
    }
  }

  // --- several keys -------------------------------------------------------------------------------------------------

  /** Most keys of one `getAll` or `putAll`. */
  get manyLimit(): number {
    return this.client.manyLimit;
  }

  /**
   * The values of several keys at one place of the order, undefined where there is none. Stops the executors of the keys'
   * groups for a moment. (With the model `direct` it is as many single reads.) @throws ERR_TOO_LARGE beyond `manyLimit` keys
   */
  async getAll(keys: Column<K>): Promise<(V | undefined)[]> {
    return this.ask(OP_GET_ALL, this.checkMany(keys));
  }
  /** Like `getAll`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  getAllSync(keys: Column<K>): (V | undefined)[] {
    return this.askSync(OP_GET_ALL, this.checkMany(keys));
  }

  /**
   * Writes several entries, all at one place of the order: no command sees some of them only (direct reads of `tree` may).
   * Answers how many keys were new. (With the model `direct` it is as many single writes.) @throws ERR_TOO_LARGE beyond `manyLimit` keys
   */
  async putAll(keys: Column<K>, values: Column<V>): Promise<number> {
    return this.ask(OP_PUT_ALL, this.checkMany(keys, values), values);
  }
  /** Like `putAll`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  putAllSync(keys: Column<K>, values: Column<V>): number {
    return this.askSync(OP_PUT_ALL, this.checkMany(keys, values), values);
  }

  private checkMany(keys: Column<K>, values?: Column<V>): Column<K> {
    for (const column of values === undefined ? [keys] : [keys, values]) {
      if (typeof column === 'object' && column !== null && Number.isInteger(column.length)) continue;
      throw new SabtreeError('ERR_ARGUMENT', `columns are arrays or typed arrays, got ${show(column)}`, column);
    }
    const n = this.checkColumns(keys, values);
    if (n > this.manyLimit) {
      throw new SabtreeError('ERR_TOO_LARGE', `${n} keys in one command, at most ${this.manyLimit} fit`, n);
    }
    return keys;
  }

  // --- commands that the user defined -------------------------------------------------------------------------------

  /**
   * Gives a command that the user defined: every replica carries it out as one step, at one place of the order, all or
   * nothing. If all its keys are of one group it costs that group's executor; if not, those of its groups stand for a moment
   * (with `keys: 'all'` all executors). Direct reads of `tree` may see some of its writes before the others.
   * @returns what it returns.
   * @throws ERR_VALUE, ERR_KEY for wrong arguments; ERR_COMMAND_FAILED with what it threw, ERR_UNDECLARED_KEY,
   *   ERR_COMMAND_TIMEOUT: nothing was written then; ERR_UNKNOWN_COMMAND if `open` did not name its module;
   *   ERR_SCHEMA_MISMATCH if it differs from that one; ERR_TOO_LARGE; ERR_UNSUPPORTED with the model direct
   */
  async call<A, R>(command: DefinedCommand<K, V, A, R>, ...[args]: CallArguments<A>): Promise<R> {
    return this.askCall(this.callOf(command as DefinedCommand, args)) as Promise<R>;
  }
  /** Like `call`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  callSync<A, R>(command: DefinedCommand<K, V, A, R>, ...[args]: CallArguments<A>): R {
    return this.askCallSync(this.callOf(command as DefinedCommand, args)) as R;
  }

  private callOf(command: DefinedCommand, args: unknown): Invocation {
    this.refuseDirect('user-defined commands');
    if (!isCommand(command)) {
      throw new SabtreeError(
        'ERR_ARGUMENT',
        `call takes a command made by defineCommand, got ${show(command)}`,
        command,
      );
    }
    const known = this.handle.commands.find(({ name }) => name === command.name);
    if (known === undefined) {
      const names = this.handle.commands.map(({ name }) => name).join(', ');
      throw new SabtreeError(
        'ERR_UNKNOWN_COMMAND',
        `the store has no command ${show(command.name)}${names === '' ? '' : `, but ${names}`}: see open's option commands`,
        command.name,
      );
    }
    if (known.signature !== command.signature) {
      throw new SabtreeError(
        'ERR_SCHEMA_MISMATCH',
        `${command.name} is ${command.signature} here, and ${known.signature} in the store`,
        command.name,
      );
    }
    // A copy: the bytes are the payload's until its next use.
    const bytes = command.args.encode(args).slice();
    const keys = command.keys(args);
    if (keys !== 'all') this.checkKeys(command, keys);
    return invocation(this.order, command, keys, bytes, command.maxResult);
  }

  /** Refuses what is no list of keys, and, before anybody looks at them, more than fit. */
  private checkKeys({ name }: DefinedCommand, keys: unknown): void {
    const length = typeof keys === 'object' && keys !== null ? (keys as Column<K>).length : undefined;
    if (!Number.isInteger(length)) {
      throw new SabtreeError('ERR_ARGUMENT', `keys are an array, a typed array or 'all', got ${show(keys)}`, keys);
    }
    const most = (this.streams.maxRun * SLOT) / 8;
    if ((length as number) <= most) return;
    throw new SabtreeError(
      'ERR_TOO_LARGE',
      `${name} with ${length} keys, at most ${most} fit into one command`,
      length,
    );
  }

  private refuseDirect(what: string): void {
    const { model } = this.handle;
    if (modelOf(model).replicated) return;
    throw new SabtreeError(
      'ERR_UNSUPPORTED',
      `the model direct has no order that ${what} could have a place in`,
      model,
    );
  }

  private askCall(invocation: Invocation): Promise<unknown> {
    this.checkRoom(invocation);
    return this.ask(invocation.command.readOnly ? OP_QUERY : OP_CALL, invocation.keys, invocation);
  }

  private askCallSync(invocation: Invocation): unknown {
    this.checkRoom(invocation);
    return this.askSync(invocation.command.readOnly ? OP_QUERY : OP_CALL, invocation.keys, invocation);
  }

  /** Refuses what fits into no ring, or whose answer into no reply. */
  private checkRoom(invocation: Invocation): void {
    const { command, keys, bytes, bound } = invocation;
    const size = callBytes(invocation);
    const most = this.streams.maxRun * SLOT;
    if (size > most) {
      const what = `${command.name} with ${keys === 'all' ? 0 : keys.length / 2} keys and ${bytes.length} bytes of arguments`;
      throw new SabtreeError(
        'ERR_TOO_LARGE',
        `${what} takes ${size} bytes, at most ${most} fit into one command`,
        size,
      );
    }
    if (bound > MOST_RESULT) {
      throw new SabtreeError(
        'ERR_TOO_LARGE',
        `${command.name} may answer ${bound} bytes, at most ${MOST_RESULT} fit`,
        bound,
      );
    }
  }

  private built: { atomic: RunnableCommand; compareAndSetAll: RunnableCommand } | undefined;

  private get builtIn(): { atomic: RunnableCommand; compareAndSetAll: RunnableCommand } {
    this.built ??= { atomic: atomicCommand(this.codec), compareAndSetAll: compareAndSetAllCommand(this.codec) };
    return this.built;
  }

  /**
   * Several commands on one key each as one step, one after the other and with nothing between them: no command sees some of
   * their writes only. (Direct reads of `tree` may.) Each sees what those before it have done; a conditional one that does
   * nothing (an `insert` of what is there) does not keep the others from what they do: see `compareAndSetAll` for that.
   * @returns the results in order.
   * @throws ERR_UNSUPPORTED for `add` on values that are no numbers, and with the model direct; ERR_TOO_LARGE
   */
  async atomic(commands: readonly PointCommand<K, V>[]): Promise<Result<K, V>[]> {
    return (await this.askCall(this.atomicOf(commands))) as Result<K, V>[];
  }
  /** Like `atomic`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  atomicSync(commands: readonly PointCommand<K, V>[]): Result<K, V>[] {
    return this.askCallSync(this.atomicOf(commands)) as Result<K, V>[];
  }

  private atomicOf(commands: readonly PointCommand<K, V>[]): Invocation {
    this.refuseDirect('an atomic batch');
    const calls = this.calls(commands, 'atomic');
    const wrong = calls.find(({ op }) => op > OP_LAST_POINT);
    if (wrong !== undefined) {
      const command = commands[wrong.index];
      throw new SabtreeError('ERR_ARGUMENT', `atomic takes commands on one key, got ${show(command[0])}`, command);
    }
    if (!isNumeric(this.codec.code) && calls.some(({ op }) => op === OP_ADD)) {
      const { value: type } = this.handle;
      throw new SabtreeError('ERR_UNSUPPORTED', `add works on numeric values only, these are of type ${type}`, type);
    }
    const keys = calls.map(({ key }) => key);
    const command = this.builtIn.atomic;
    const bound = Math.min(MOST_RESULT, calls.length * (5 + this.handle.maxValue));
    return invocation(this.order, command, keys, command.args.encode(calls), bound);
  }

  /**
   * Writes several entries if all of them are as expected, byte for byte; otherwise none. An `expected` of undefined means that
   * the key must be absent, a `value` of undefined removes it.
   * @returns whether it did. @throws ERR_ARGUMENT, ERR_TOO_LARGE; ERR_UNSUPPORTED with the model direct
   */
  async compareAndSetAll(
    entries: readonly (readonly [key: K, expected: V | undefined, value: V | undefined])[],
  ): Promise<boolean> {
    return (await this.askCall(this.compareOf(entries))) as boolean;
  }
  /** Like `compareAndSetAll`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  compareAndSetAllSync(
    entries: readonly (readonly [key: K, expected: V | undefined, value: V | undefined])[],
  ): boolean {
    return this.askCallSync(this.compareOf(entries)) as boolean;
  }

  private compareOf(
    entries: readonly (readonly [key: K, expected: V | undefined, value: V | undefined])[],
  ): Invocation {
    this.refuseDirect('compareAndSetAll');
    if (!Array.isArray(entries) || !entries.every((entry) => Array.isArray(entry) && entry.length === 3)) {
      throw new SabtreeError('ERR_ARGUMENT', 'compareAndSetAll takes arrays of key, expected and value', entries);
    }
    const keys = entries.map(([key]) => this.checked(key));
    const command = this.builtIn.compareAndSetAll;
    for (const [, , value] of entries) if (value !== undefined) this.checkValue(value);
    const steps = entries.map(([, expected, value]) => ({ op: OP_COMPARE_AND_SET, expected, value }));
    return invocation(this.order, command, keys, command.args.encode(steps), 1);
  }

  // --- many commands ------------------------------------------------------------------------------------------------

  /**
   * Sends many commands in as few claims as possible. They are concurrent with each other as far as their keys differ; on
   * one key they take effect in the order given. All are checked before the first is sent. A range answers its first
   * `rangeLimit` entries at most.
   * @returns the results in order; a command that failed by itself has its SabtreeError in its place.
   */
  async batch(commands: readonly Command<K, V>[]): Promise<Result<K, V>[]> {
    const calls = this.calls(commands).map((call) => this.client.prepare(call));
    return (await this.submitAll(calls.length, (i, sink) => withSink(calls[i], sink))) as Result<K, V>[];
  }
  /** Like `batch`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  batchSync(commands: readonly Command<K, V>[]): Result<K, V>[] {
    const calls = this.calls(commands).map((call) => this.client.prepare(call));
    return this.driveAll(calls.length, (i, sink) => withSink(calls[i], sink)) as Result<K, V>[];
  }

  /** Writes many entries. Answers how many keys were new. */
  async putMany(keys: Column<K>, values: Column<V>): Promise<number> {
    return countTrue(
      await this.submitAll(this.checkColumns(keys, values), (index, sink) =>
        pointCall(OP_PUT, keys[index], values[index], sink, index),
      ),
    );
  }
  /** Like `putMany`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  putManySync(keys: Column<K>, values: Column<V>): number {
    return countTrue(
      this.driveAll(this.checkColumns(keys, values), (index, sink) =>
        pointCall(OP_PUT, keys[index], values[index], sink, index),
      ),
    );
  }

  /** The values of many keys, undefined where there is none. */
  async getMany(keys: Column<K>): Promise<(V | undefined)[]> {
    return (await this.submitAll(this.checkColumns(keys), (index, sink) =>
      pointCall(OP_GET, keys[index], undefined, sink, index),
    )) as (V | undefined)[];
  }
  /** Like `getMany`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  getManySync(keys: Column<K>): (V | undefined)[] {
    return this.driveAll(this.checkColumns(keys), (index, sink) =>
      pointCall(OP_GET, keys[index], undefined, sink, index),
    ) as (V | undefined)[];
  }

  /** Removes many entries. Answers how many were there. */
  async deleteMany(keys: Column<K>): Promise<number> {
    return countTrue(
      await this.submitAll(this.checkColumns(keys), (index, sink) =>
        pointCall(OP_DELETE, keys[index], undefined, sink, index),
      ),
    );
  }
  /** Like `deleteMany`; blocks this thread until the answer is there. @throws ERR_WOULD_BLOCK where it may not block. */
  deleteManySync(keys: Column<K>): number {
    return countTrue(
      this.driveAll(this.checkColumns(keys), (index, sink) =>
        pointCall(OP_DELETE, keys[index], undefined, sink, index),
      ),
    );
  }

  /** Checks all keys and values before any is sent; returns how many there are. */
  private checkColumns(keys: Column<K>, values?: Column<V>): number {
    const n = keys.length;
    if (values !== undefined && values.length !== n) {
      throw new SabtreeError('ERR_ARGUMENT', `${n} keys but ${values.length} values`, values.length);
    }
    for (let i = 0; i < n; i++) checkKey(this.keyType, keys[i]);
    if (values !== undefined) for (let i = 0; i < n; i++) this.checkValue(values[i]);
    return n;
  }

  /** @throws ERR_VALUE, ERR_TOO_LARGE */
  private checkValue(value: unknown): void {
    const { codec } = this;
    if (codec.variable === undefined) codec.encode(this.probe, 0, value);
    else refuseLong(codec.variable.encode(value), this.handle.maxValue);
  }

  /** Turns a batch's commands into calls, checking each. */
  private calls(commands: readonly Command<K, V>[], by = 'batch'): Omit<Call, 'sink'>[] {
    if (!Array.isArray(commands)) {
      throw new SabtreeError('ERR_ARGUMENT', `${by} takes an array of commands, got ${show(commands)}`, commands);
    }
    return commands.map((command, index) => this.callFor(command, index));
  }

  /** @throws ERR_UNKNOWN_COMMAND, ERR_ARGUMENT, ERR_KEY, ERR_VALUE, ERR_TOO_LARGE */
  private callFor(command: Command<K, V>, index: number): Omit<Call, 'sink'> {
    const op = commandCode(command);
    const parts = command as readonly [string, K, V, V];
    const first = parts[1];
    const second = parts[2];
    const third = parts[3];
    if (op === OP_RANGE) {
      const range = this.checkedRange(first as RangeOptions<K> | undefined);
      return { op, key: undefined, value: undefined, expected: undefined, range, index };
    }
    if (op === OP_GET_ALL || op === OP_PUT_ALL) {
      const value = op === OP_PUT_ALL ? second : undefined;
      const key = this.checkMany(first as Column<K>, value as Column<V> | undefined);
      return { op, key, value, expected: undefined, range: undefined, index };
    }
    if (op === OP_COUNT) {
      const range = this.countedRange(first as RangeOptions<K> | undefined);
      return { op, key: undefined, value: undefined, expected: undefined, range, index };
    }
    if (op !== OP_FIRST && op !== OP_LAST) this.checked(first);
    if (op === OP_COMPARE_AND_SET) {
      this.checkValue(second);
      this.checkValue(third);
      return { op, key: first, value: third, expected: second, range: undefined, index };
    }
    if (op <= OP_LAST_POINT && (op === OP_ADD || (op >= OP_PUT && op <= OP_UPDATE))) this.checkValue(second);
    return { op, key: first, value: second, expected: undefined, range: undefined, index };
  }

  private submitAll(size: number, call: (index: number, sink: Sink) => Call): Promise<unknown[]> {
    if (size === 0) return Promise.resolve([]);
    return new Promise((resolve, reject) => {
      const sink = new BatchSink(size);
      sink.whenDone = () => (sink.lost === undefined ? resolve(unwrapRanges(sink.results)) : reject(sink.lost));
      for (let index = 0; index < size; index++) this.client.submit(call(index, sink));
    });
  }

  private driveAll(size: number, call: (index: number, sink: Sink) => Call): unknown[] {
    const sink = new BatchSink(size);
    let index = 0;
    this.client.drive(
      () => (index < size ? call(index++, sink) : undefined),
      () => sink.left === 0,
    );
    if (sink.lost !== undefined) throw sink.lost;
    return unwrapRanges(sink.results);
  }

  // --- watching -----------------------------------------------------------------------------------------------------

  private readonly watches = new Set<Changes<never, never>>();

  /**
   * Every change of the keys of a range, in the order in which they were made, for `for await`. Changes of commands given
   * after this call all come; none comes of a command that was answered before it; each comes once, whatever happens to
   * replicas. Every write that changes something is a change: also one that writes the value that was there, and each entry
   * of a `putAll`.
   *
   * The order is one in which the commands may be thought to have been executed: on one key that of its stream; commands on
   * several keys between everything before and behind them; and a write that was answered before another was given comes
   * before it. Who has got a change finds it, or a later one, with a direct read.
   *
   * With the default `overflow: 'wait'` writers wait for a watcher that is about a megabyte of changes behind, all of them,
   * until it goes on or ends. A thread does not wait for itself: while it waits for commands of its own, its changes are
   * put aside, up to 64 MiB. The process stays alive while there is a watch.
   * @param range the keys; all by default. (Bounds only: it has no `reverse` and no `limit`.)
   * @throws ERR_UNSUPPORTED with the model `direct` and with a blind mixer, where changes have no order; ERR_ARGUMENT,
   *   ERR_KEY, ERR_OPTION, ERR_TOO_MANY_WATCHERS (a store has 32), ERR_CLOSED
   */
  changes(range?: WatchRange<K>, options: WatchOptions = {}): Changes<K, V> {
    const { streams, keyType: keyCode, codec: values, watches, client, handle } = this;
    if (!modelOf(handle.model).replicated) {
      throw new SabtreeError(
        'ERR_UNSUPPORTED',
        'with the model direct changes have no order, so nobody can watch them',
        handle.model,
      );
    }
    if (this.left || streams.state > STATE_READ_ONLY) {
      throw this.left ? new SabtreeError('ERR_CLOSED', 'the client was closed') : stateError(streams);
    }
    const changes = new Changes<K, V>({ streams, client: client.id, keyCode, values }, range, options, (ended) => {
      watches.delete(ended);
      if (watches.size === 0) client.whileWaiting = undefined;
    });
    watches.add(changes as unknown as Changes<never, never>);
    client.whileWaiting = this.takeAside;
    return changes;
  }

  private readonly takeAside = () => {
    for (const changes of this.watches) changes.takeAside();
  };

  /**
   * Calls `listener` with every change of the keys of a range, one after another; if it returns a promise, the next one
   * waits for it. See `changes` for what is promised. What the listener throws ends the watch, and `closed` rejects with it.
   * Changes still at hand when the store is closed are told after that: a listener cannot read the store then.
   */
  watch(
    range: WatchRange<K> | undefined,
    listener: (change: Change<K, V>) => unknown,
    options: WatchOptions = {},
  ): Watch {
    if (typeof listener !== 'function') {
      throw new SabtreeError('ERR_ARGUMENT', `watch takes a listener, got ${show(listener)}`, listener);
    }
    return new Watch(this.changes(range, options), listener as (change: unknown) => unknown);
  }

  // --- end ----------------------------------------------------------------------------------------------------------

  /** Waits for the answers to the calls given so far, then leaves the store. */
  async close(): Promise<void> {
    await this.client.whenIdle();
    this.leave();
  }

  /** `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Leaves the store now; calls under way get ERR_CLOSED. */
  protected leave(): void {
    this.left = true;
    // What the answered calls have changed is told before the end.
    for (const changes of this.watches) changes.finish();
    this.client.close();
    this.tree.close();
  }
}

/** A batch's ranges answer their first piece; what callers see are its entries. */
function unwrapRanges(results: unknown[]): unknown[] {
  for (let i = 0; i < results.length; i++) {
    const result = results[i];
    if (result instanceof RangePiece) results[i] = result.entries;
  }
  return results;
}

function pointCall(op: number, key: unknown, value: unknown, sink: Sink, index: number): Call {
  return { op, key, value, expected: undefined, range: undefined, sink, index };
}

/** Written out: a spread makes objects of another shape than `pointCall`, and the client an order of magnitude slower. */
function withSink({ op, key, value, expected, range, index }: Omit<Call, 'sink'>, sink: Sink): Call {
  return { op, key, value, expected, range, sink, index };
}

function countTrue(results: readonly unknown[]): number {
  let count = 0;
  for (const result of results) if (result === true) count++;
  return count;
}

/**
 * Connects this thread to a store opened in another one.
 * @throws ERR_NOT_A_TREE, ERR_LAYOUT_VERSION, ERR_SCHEMA_MISMATCH, ERR_TOO_MANY_THREADS, ERR_CLOSED
 */
export async function connect<K = number, V = number>(
  handle: StoreHandle,
  options: ConnectOptions = {},
): Promise<StoreClient<K, V>> {
  if (typeof handle !== 'object' || handle === null || handle.sabtree !== 'store') {
    throw new SabtreeError('ERR_NOT_A_TREE', `connect takes the handle of a store, got ${show(handle)}`, handle);
  }
  if (handle.layout !== LAYOUT_VERSION) {
    throw new SabtreeError(
      'ERR_LAYOUT_VERSION',
      `the store was made with memory layout ${handle.layout}, this version of sabtree reads layout ${LAYOUT_VERSION}`,
      handle.layout,
    );
  }
  // So that others can see whether this thread lives, should it end without closing its client.
  const known = ownThread();
  if (known !== undefined) await known;
  return new StoreClient<K, V>(handle, Streams.attach(handle.streams), options);
}
