import {
  OP_ADD,
  OP_CEILING,
  OP_COMPARE_AND_SET,
  OP_DELETE,
  OP_FIRST,
  OP_FLOOR,
  OP_HIGHER,
  OP_INSERT,
  OP_LAST,
  OP_LOWER,
  OP_PUT,
  OP_UPDATE,
  STATUS_BUSY,
  STATUS_NOT_ASCENDING,
  STATUS_NOT_EMPTY,
  STATUS_TRUE,
} from '../layout/operation.ts';
import { BATCH, LAYOUT_VERSION, MAX_THREADS, VALUE_BLOB, VALUE_F64, VALUE_RECORD } from '../layout/tree-memory.ts';
import {
  Attachment,
  CLOSED_CORE,
  createTreeMemory,
  DEFAULT_LATCH_TIMEOUT,
  fail,
  markThreadDead,
  Patience,
} from './attachment.ts';
import type { BlobRegister } from './blobs.ts';
import { type CheckReport, checkTree } from './check.ts';
import type { Core } from './core.ts';
import { SabtreeError, show } from './errors.ts';
import { FixedKeys } from './key-views.ts';
import { isVariable, type KeyOf, type KeyType, writeKey } from './keys.ts';
import { ColumnIterator, type Range, RangeIterator, type RangeOptions, RangeWalk, rangeOf } from './range.ts';
import { oneNaN } from './record.ts';
import { keyCode, pagesOf, shapeOf } from './shape.ts';
import { type TreeStats, treeDigest, treeSize, treeStats } from './stats.ts';
import { type ScalarType, ValueCodec, type ValueOf, type ValueType, type ValueView } from './values.ts';
import type { VariableCodec, VariableType } from './variable-values.ts';

/** Options of `SharedTree.create`. */
export interface TreeOptions<K extends KeyType = KeyType, V extends ValueType = ValueType> {
  /** Type of the keys. */
  readonly key: K;
  /**
   * Type of the values: a scalar's name, 'string', 'bytes', 'json', or a typed-binary schema. Scalars, and schemas whose values all
   * have the same size of up to 512 bytes, stand in the leaves; all others are kept beside the nodes, and have 16 MiB at most.
   */
  readonly value: V;
  /** Most memory the tree may take, in bytes or like '256MB' (units of 1024). It is reserved, and used as the tree grows. Default 1GB, at most 4GB. */
  readonly memory?: number | string;
  /** Bytes of a node, a multiple of 64, at most 65536. Default 1024, more for large values; 8192 for keys that vary in length. */
  readonly nodeSize?: number;
  /** Most entries of a leaf and children of a branch, 4 to 4096; for keys of fixed size. By default as many as a node has room for. */
  readonly fanout?: number;
  /** Milliseconds after which the owner of a latch is taken for dead. Default 2000. */
  readonly latchTimeout?: number;
}

/** What other threads need to attach to a tree. Structured-cloneable: send it with postMessage or as workerData. */
export interface TreeHandle {
  /** Says what the handle is of. */
  readonly sabtree: 'tree';
  /** Version of the memory layout. */
  readonly layout: number;
  /** The shared memory that holds the tree. */
  readonly memory: WebAssembly.Memory;
  /** The key type's name. */
  readonly key: KeyType;
  /** The value type's name; 'record' if it is a schema, which then has to be given to `attach` as well. */
  readonly value: ScalarType | VariableType | 'record';
}

/** Options of `SharedTree.attach`. */
export interface AttachOptions<V extends ValueType = ValueType> {
  /** The value type; needed for records, whose schema cannot travel between threads. */
  readonly value?: V;
}

const CREATE_OPTIONS = new Set(['key', 'value', 'memory', 'nodeSize', 'fanout', 'latchTimeout']);

/** A list of keys or values as a batch takes it. */
export type Column<T> = ArrayLike<T>;

/**
 * Reading a shared tree. Any thread may read at any time, also while others write: reads take no latch and copy no node. The
 * object itself belongs to the thread that made it; other threads make their own from `handle`.
 *
 * Promises: a read of one key sees that key's latest completed write (it is linearizable), and so does a floor, ceiling
 * or the like; a range is one state of the tree as far as one atomic scan reaches (see `range`). Every method throws
 * ERR_KEY for a wrong key, ERR_CLOSED after `close`, and ERR_LATCH_LOST if a writer died in the middle of a change of
 * the very node that has to be read.
 */
export class TreeReader<K = number, V = number> {
  /** @internal */
  attachment: Attachment;
  protected core: Core;
  protected readonly keyTypeName: KeyType;
  protected readonly valueTypeName: ScalarType | VariableType | 'record';

  /** @internal */
  constructor(attachment: Attachment, key: KeyType, value: ScalarType | VariableType | 'record') {
    this.attachment = attachment;
    this.core = attachment.core;
    this.keyTypeName = key;
    this.valueTypeName = value;
  }

  /** What another thread needs to attach to this tree. */
  get handle(): TreeHandle {
    return {
      sabtree: 'tree',
      layout: LAYOUT_VERSION,
      memory: this.attachment.memory,
      key: this.keyTypeName,
      value: this.valueTypeName,
    };
  }

  /** This thread's id in the tree, 1 to 255: what `threadExited` takes. */
  get thread(): number {
    return this.attachment.thread;
  }

  /** The value of `key`, or undefined. One descent; 0.1 to 0.4 us in a tree of a million entries. */
  get(key: K): V | undefined {
    const { attachment } = this;
    attachment.key.set(0, key);
    let status = this.core.get();
    if (status > STATUS_TRUE) status = attachment.settle(status, this.core.get);
    return status === STATUS_TRUE ? (attachment.value.get(0) as V) : undefined;
  }

  /** Whether `key` is there. One descent, like `get`. */
  has(key: K): boolean {
    const { attachment } = this;
    attachment.key.set(0, key);
    const status = this.core.has();
    return (status > STATUS_TRUE ? attachment.settle(status, this.core.has) : status) === STATUS_TRUE;
  }

  /** Number of entries. Exact while nobody writes; otherwise as of some moment during the call, for each writer. */
  get size(): number {
    this.alive();
    return treeSize(this.attachment);
  }

  /**
   * Number of entries of a range; of all, like `size`, without one. A range is counted leaf by leaf: some 5 ns per entry. It is
   * one state of the tree as far as one atomic scan reaches; a longer one is counted in pieces, like `range`.
   */
  count(range?: RangeOptions<K>): number {
    if (range === undefined) return this.size;
    const walk = this.walk(rangeOf(range));
    let count = 0;
    while (walk.advance()) count += walk.count;
    return count;
  }

  /** The entry with the greatest key <= `key`. */
  floor(key: K): [K, V] | undefined {
    return this.neighbour(OP_FLOOR, key);
  }

  /** The entry with the smallest key >= `key`. */
  ceiling(key: K): [K, V] | undefined {
    return this.neighbour(OP_CEILING, key);
  }

  /** The entry with the greatest key < `key`. */
  lower(key: K): [K, V] | undefined {
    return this.neighbour(OP_LOWER, key);
  }

  /** The entry with the smallest key > `key`. */
  higher(key: K): [K, V] | undefined {
    return this.neighbour(OP_HIGHER, key);
  }

  /** The entry with the smallest key. */
  first(): [K, V] | undefined {
    return this.nearest(OP_FIRST);
  }

  /** The entry with the greatest key. */
  last(): [K, V] | undefined {
    return this.nearest(OP_LAST);
  }

  protected neighbour(op: number, key: K): [K, V] | undefined {
    return this.nearest(op, key);
  }

  protected nearest(op: number, key?: K): [K, V] | undefined {
    const { attachment, core } = this;
    for (;;) {
      // The call overwrites the key register with what it finds, so a repeated one needs the key again.
      const call = () => {
        if (op !== OP_FIRST && op !== OP_LAST) attachment.key.set(0, key);
        return core.neighbour(op);
      };
      let status = call();
      if (status > STATUS_TRUE) status = attachment.settle(status, call);
      if (status !== STATUS_TRUE) return undefined;
      const found = attachment.key.get(0) as K;
      const value = attachment.value.get(0) as V | undefined;
      // A long value whose entry was deleted before it was copied: then another one is the nearest.
      if (value !== undefined) return [found, value];
    }
  }

  /**
   * The entries of a range, in key order (or from the greatest down with `reverse`).
   *
   * Atomic up to 64 KiB of entries (5,461 of u32 -> f64; at least 64 of the largest records) or 1,024 leaves, whichever
   * comes first: those are one state of the tree, at an instant during the first step. A longer range comes in pieces
   * of that size, each one state of its own, each later than the one before; keys never repeat or go back. The entries of
   * a piece are copied when its first one is asked for.
   */
  range(options?: RangeOptions<K>): RangeIterator<K, V> {
    return new RangeIterator<K, V>(this.walk(rangeOf(options)));
  }

  /** The entries of a range: another name of `range`, as a Map has it. */
  entries(options?: RangeOptions<K>): RangeIterator<K, V> {
    return this.range(options);
  }

  /** The keys of a range, in its order; see `range`. */
  keys(options?: RangeOptions<K>): IterableIterator<K, undefined> {
    return new ColumnIterator<K>(this.walk(rangeOf(options)), (walk, i) => walk.keys.get(i) as K);
  }

  /** The values of a range, in the order of their keys; see `range`. */
  values(options?: RangeOptions<K>): IterableIterator<V, undefined> {
    return new ColumnIterator<V>(this.walk(rangeOf(options)), (walk, i) => walk.values.get(i) as V);
  }

  /** Calls `visit` for each entry of a range: `range` without an array per entry. Stops early when it returns false. */
  forRange(options: RangeOptions<K>, visit: (key: K, value: V) => unknown): void {
    const walk = this.walk(rangeOf(options));
    while (walk.advance()) {
      const { count } = walk;
      for (let i = 0; i < count; i++) {
        if (visit(walk.keys.get(i) as K, walk.values.get(i) as V) === false) {
          walk.stop();
          return;
        }
      }
    }
  }

  /** All entries in key order; see `range`. */
  [Symbol.iterator](): RangeIterator<K, V> {
    return this.range();
  }

  protected walk(range: Range): RangeWalk {
    this.alive();
    return new RangeWalk(this.attachment, range);
  }

  /**
   * Looks many keys up, sixteen at a time side by side: in a tree larger than the processor's caches far cheaper than
   * one `get` after another. Each lookup is linearizable by itself.
   * @returns the values in the order of the keys; undefined for absent ones. @throws ERR_KEY
   */
  getMany(keys: Column<K>): (V | undefined)[];
  /**
   * The same into an array of the caller's, which costs no garbage.
   * @param out takes the values. Absent keys give undefined, in a Float64Array NaN, in an integer array 0.
   * @param found takes a 1 or 0 for each key, if given.
   * @returns `out`. @throws ERR_KEY; ERR_ARGUMENT if `out` or `found` has no room.
   */
  getMany<Out extends { [i: number]: unknown; length: number }>(keys: Column<K>, out: Out, found?: Uint8Array): Out;
  getMany(
    keys: Column<K>,
    out: { [i: number]: unknown; length: number } = new Array(keys.length),
    found?: Uint8Array,
  ): unknown {
    const { attachment, core } = this;
    const n = keys.length;
    needRoom('out', out.length, n);
    if (found !== undefined) needRoom('found', found.length, n);
    if (attachment.values.variable !== undefined) {
      for (let i = 0; i < n; i++) {
        out[i] = this.get(keys[i]);
        if (found !== undefined) found[i] = out[i] === undefined ? 0 : 1;
      }
      return out;
    }
    const typed = ArrayBuffer.isView(out);
    const wide = out instanceof BigInt64Array || out instanceof BigUint64Array;
    const absent = !typed ? undefined : wide ? 0n : out instanceof Float64Array ? Number.NaN : 0;
    const values = attachment.batchValues;
    const flags = attachment.batchFound;
    // Scalars of the array's own type go over in one copy.
    const whole = typed && out.constructor === values.raw.constructor && attachment.values.code !== VALUE_RECORD;
    let size = 0;
    for (let start = 0; start < n; start += size) {
      size = this.loadKeys(keys, start, Math.min(BATCH, n - start));
      const loaded = size;
      this.finishBatch(loaded, () => core.getMany(loaded), keys, start);
      if (found !== undefined) found.set(size === BATCH ? flags : flags.subarray(0, size), start);
      if (whole) {
        (out as Float64Array).set((values.raw as Float64Array).subarray(0, size), start);
        if (attachment.count < size) {
          for (let i = 0; i < size; i++) if (flags[i] === 0) out[start + i] = absent;
        }
      } else {
        for (let i = 0; i < size; i++) out[start + i] = flags[i] === 0 ? absent : values.get(i);
      }
    }
    return out;
  }

  /**
   * Puts up to `size` keys from `start` on into the batch area; ERR_KEY for the first wrong one.
   * @returns how many there was room for: all of them, if they are not uncommonly long.
   */
  protected loadKeys(keys: Column<K>, start: number, size: number): number {
    const { attachment } = this;
    attachment.takeArea();
    const { keyCode: code, batchKeys } = attachment;
    if (batchKeys instanceof FixedKeys) {
      const { raw } = batchKeys;
      if ((keys as object).constructor === raw.constructor && code !== KEY_NEEDS_CHECK) {
        const typed = keys as unknown as Uint32Array;
        (raw as Uint32Array).set(start === 0 && typed.length === size ? typed : typed.subarray(start, start + size));
        return size;
      }
      for (let i = 0; i < size; i++) writeKey(code, raw, i, keys[start + i]);
      return size;
    }
    let i = 0;
    for (; i < size && batchKeys.hasRoomFor(i); i++) batchKeys.set(i, keys[start + i]);
    return i;
  }

  /** Runs a batch to its end: where a call stopped early, backs off and goes on with the rest. */
  protected finishBatch(size: number, call: () => number, keys: Column<K>, start: number): number {
    this.alive();
    const done = call();
    if (done !== size) this.resumeBatch(done, size, keys, start);
    return this.attachment.count;
  }

  /** The rare way: the rest of a stopped batch, one by one. */
  protected resumeBatch(done: number, size: number, keys: Column<K>, start: number): void {
    const { attachment } = this;
    for (let i = done; i < size; i++) {
      const value = this.get(keys[start + i]);
      attachment.batchFound[i] = value === undefined ? 0 : 1;
      if (value !== undefined) attachment.batchValues.set(i, value);
    }
  }

  /**
   * Walks the whole tree and checks every invariant: order, bounds, fill, levels, node addresses, the kept count and
   * digest. Costs about 0.1 us per entry. Call it while nobody writes; a node that changes meanwhile is read again, but
   * counts are then not compared.
   * @throws ERR_CORRUPT naming the depth and slot of the first fault.
   */
  check(): CheckReport {
    this.alive();
    return checkTree(this.attachment);
  }

  /** Digest of the content: equal for equal content, whatever the tree's shape. Kept incrementally, costs nothing to ask. Exact while nobody writes. */
  digest(): bigint {
    this.alive();
    return treeDigest(this.attachment);
  }

  /** Counters and memory use, of all threads. Costs some microseconds, and the other threads nothing. */
  stats(): TreeStats {
    this.alive();
    return treeStats(this.attachment);
  }

  /**
   * Tells the tree that a thread died without closing it. Whoever waits for a latch it held then gets ERR_LATCH_LOST at
   * once instead of after `latchTimeout`, and its slot can be used again when no other is free.
   */
  threadExited(thread: number): void {
    this.alive();
    if (!Number.isInteger(thread) || thread < 1 || thread >= MAX_THREADS) {
      throw new SabtreeError(
        'ERR_ARGUMENT',
        `thread must be an integer from 1 to ${MAX_THREADS - 1}, got ${show(thread)}`,
        thread,
      );
    }
    markThreadDead(this.attachment.header, thread);
  }

  /** Gives this thread's slot back. The tree lives on in the other threads, and as long as anybody holds its handle. */
  close(): void {
    if (this.core === CLOSED_CORE) return;
    this.attachment.detach();
    this.core = CLOSED_CORE;
  }

  /** `close`, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  protected alive(): void {
    if (this.core === CLOSED_CORE) throw new SabtreeError('ERR_CLOSED', 'the tree was closed in this thread');
  }
}

/** f64 keys in a typed array may be NaN or -0, so they are looked at one by one. */
const KEY_NEEDS_CHECK = keyCode('f64');

function needRoom(name: string, length: number, n: number): void {
  if (length < n) throw new SabtreeError('ERR_ARGUMENT', `${name} has room for ${length} of ${n} keys`, length);
}

/**
 * A concurrent ordered map: a B+-tree in a SharedArrayBuffer that any number of threads read and write at once.
 *
 * Create it in one thread, send its `handle` to others, attach there. Every operation works directly on the shared
 * bytes. Operations on one key are linearizable; `getMany`, `putMany` and `deleteMany` are as many single operations;
 * nothing is atomic over several keys but ranges (see `range`). Writers latch only the nodes they change.
 *
 * The writing methods throw ERR_KEY and ERR_VALUE for wrong arguments and ERR_MEMORY_EXHAUSTED when the memory is at its
 * maximum; the tree is then as it was before the call (but for what `putMany` and `deleteMany` had done by then).
 */
export class SharedTree<K = number, V = number> extends TreeReader<K, V> {
  /** Makes an empty tree. @throws ERR_OPTION, ERR_MEMORY_EXHAUSTED */
  static create<KT extends KeyType, const VT extends ValueType>(
    options: TreeOptions<KT, VT>,
  ): SharedTree<KeyOf<KT>, ValueOf<VT>> {
    if (typeof options !== 'object' || options === null) {
      throw new SabtreeError('ERR_OPTION', `create takes an object of options, got ${show(options)}`, options);
    }
    for (const name of Object.keys(options)) {
      if (!CREATE_OPTIONS.has(name)) throw new SabtreeError('ERR_OPTION', `unknown option ${show(name)}`, name);
    }
    const code = keyCode(options.key);
    const values = new ValueCodec(options.value);
    const shape = shapeOf(code, values.stride, options.nodeSize, options.fanout);
    const maximum = pagesOf(options.memory === undefined ? '1GB' : options.memory);
    const { latchTimeout = DEFAULT_LATCH_TIMEOUT } = options;
    if (!Number.isInteger(latchTimeout) || latchTimeout < 1 || latchTimeout > 0x7fffffff) {
      throw new SabtreeError(
        'ERR_OPTION',
        `option latchTimeout must be an integer from 1 to 2147483647, got ${show(latchTimeout)}`,
        latchTimeout,
      );
    }
    const memory = createTreeMemory(code, values, shape, maximum, latchTimeout);
    return new SharedTree(new Attachment(memory, code, values), options.key, nameOf(options.value));
  }

  /**
   * Attaches this thread to a tree made in another one.
   * @throws ERR_NOT_A_TREE, ERR_LAYOUT_VERSION, ERR_SCHEMA_MISMATCH, ERR_TOO_MANY_THREADS, ERR_MEMORY_EXHAUSTED
   */
  static attach<K = number, V = number>(handle: TreeHandle, options: AttachOptions = {}): SharedTree<K, V> {
    const { attachment, value } = attach(handle, options);
    return new SharedTree<K, V>(attachment, handle.key, value);
  }

  /** Writes an entry, present or not. @returns true if the key is new. */
  put(key: K, value: V): boolean {
    const { attachment } = this;
    if (attachment.values.variable !== undefined) return this.modifyBlob(OP_PUT, key, value);
    attachment.key.set(0, key);
    attachment.value.set(0, value);
    const status = this.core.put();
    return (status > STATUS_TRUE ? attachment.settle(status, this.core.put) : status) === STATUS_TRUE;
  }

  /** Writes an entry only if the key is absent. @returns whether it did. */
  insert(key: K, value: V): boolean {
    return this.modify(OP_INSERT, key, value);
  }

  /** Writes an entry only if the key is present. @returns whether it did. */
  update(key: K, value: V): boolean {
    return this.modify(OP_UPDATE, key, value);
  }

  /** Removes an entry. @returns whether it was there. */
  delete(key: K): boolean {
    const { attachment } = this;
    attachment.key.set(0, key);
    return this.settled(OP_DELETE);
  }

  /**
   * Writes `value` only if the present value is `expected`, compared byte for byte (so 0 is not -0, and NaN is NaN).
   * @returns whether it did; false also if the key is absent.
   */
  compareAndSet(key: K, expected: V, value: V): boolean {
    if (this.attachment.values.variable !== undefined) return this.modifyBlob(OP_COMPARE_AND_SET, key, value, expected);
    this.attachment.expected.set(0, expected);
    return this.modify(OP_COMPARE_AND_SET, key, value);
  }

  /**
   * Adds to a numeric value, atomically; an absent key counts as 0. Integers wrap as typed arrays do.
   * @returns the value before, or undefined if the key was absent. @throws ERR_UNSUPPORTED for values that are no numbers
   */
  add(key: K, by: V): V | undefined {
    const { code } = this.attachment.values;
    if (code === VALUE_RECORD || code === VALUE_BLOB) {
      const { valueTypeName: type } = this;
      throw new SabtreeError('ERR_UNSUPPORTED', `add works on numeric values only, these are of type ${type}`, type);
    }
    return this.modify(OP_ADD, key, by) ? (this.attachment.expected.get(0) as V) : undefined;
  }

  /** Whether a bulk load is under way in this thread: there is room for one. */
  private loading = false;

  private modify(op: number, key: K, value: V): boolean {
    const { attachment } = this;
    if (attachment.values.variable !== undefined) return this.modifyBlob(op, key, value);
    attachment.key.set(0, key);
    attachment.value.set(0, value);
    return this.settled(op);
  }

  /** The same with values of varying length: a blob is made first, and given back if no leaf takes it. */
  private modifyBlob(op: number, key: K, value: V, expected?: V): boolean {
    this.alive();
    const { attachment } = this;
    const compares = op === OP_COMPARE_AND_SET;
    const codec = attachment.values.variable as VariableCodec;
    // Encoding may run code of the caller's (getters), which may use the tree: so it comes first.
    const before = compares ? codec.encode(expected).slice() : undefined;
    const bytes = codec.encode(value);
    attachment.key.set(0, key);
    const register = attachment.value as BlobRegister;
    const other = attachment.expected as BlobRegister;
    register.store(bytes);
    let taken = false;
    let compared = false;
    try {
      if (before !== undefined) other.store(before);
      compared = compares;
      const done = this.settled(op);
      taken = done || op === OP_PUT;
      return done;
    } finally {
      if (!taken) register.release();
      if (compared) other.release();
    }
  }

  private settled(op: number): boolean {
    const { core } = this;
    const status = core.modify(op);
    return (status > STATUS_TRUE ? this.attachment.settle(status, () => core.modify(op)) : status) === STATUS_TRUE;
  }

  /**
   * Writes many entries, in the order given, with the searches overlapped. Each is linearizable by itself. Entries are
   * checked 256 at a time: where one further on is wrong, those before its group have been written.
   * @returns how many keys were new. @throws ERR_MEMORY_EXHAUSTED with `value` = how many entries were written.
   */
  putMany(keys: Column<K>, values: Column<V>): number {
    needRoom('values', values.length, keys.length);
    return this.modifyMany(OP_PUT, keys, values);
  }

  /** Removes many entries, in the order given. @returns how many were there. */
  deleteMany(keys: Column<K>): number {
    return this.modifyMany(OP_DELETE, keys, undefined);
  }

  private modifyMany(op: number, keys: Column<K>, values: Column<V> | undefined): number {
    const { attachment, core } = this;
    const n = keys.length;
    if (values !== undefined && attachment.values.variable !== undefined) {
      return this.resumeModify(op, keys, values, 0, n);
    }
    let total = 0;
    let size = 0;
    for (let start = 0; start < n; start += size) {
      size = this.loadKeys(keys, start, Math.min(BATCH, n - start));
      if (values !== undefined) this.loadValues(values, start, size);
      const done = core.modifyMany(op, size);
      total += attachment.count;
      if (done !== size) total += this.resumeModify(op, keys, values, start + done, start + size);
    }
    return total;
  }

  /** Puts values of a bulk load into the batch area; blobs are made of them if they vary in length. */
  private loadChunk(values: readonly V[], from: number, size: number): void {
    const { attachment } = this;
    const { batchValues } = attachment;
    if (attachment.values.variable === undefined) {
      for (let i = 0; i < size; i++) batchValues.set(i, values[from + i]);
      return;
    }
    const references = batchValues.raw as Uint32Array;
    const register = attachment.value as BlobRegister;
    let i = 0;
    try {
      for (; i < size; i++) {
        register.set(0, values[from + i]);
        references.set(register.raw as Uint32Array, 2 * i);
      }
    } catch (error) {
      this.dropChunk(0, i);
      throw error;
    }
  }

  /** Gives back the blobs of a bulk load's batch that no leaf has taken. */
  private dropChunk(from: number, to: number): void {
    const { core, values, batchValues } = this.attachment;
    if (values.variable === undefined) return;
    const { raw } = batchValues as ValueView;
    for (let i = from; i < to; i++) core.freeBlob(raw[2 * i] as number, raw[2 * i + 1] as number);
  }

  private loadValues(values: Column<V>, start: number, size: number): void {
    const { batchValues } = this.attachment;
    const { raw } = batchValues;
    // Elements of the value's own typed array need no check.
    if ((values as object).constructor === raw.constructor && !(raw instanceof Uint8Array)) {
      (raw as Float64Array).set((values as unknown as Float64Array).subarray(start, start + size));
      if (this.attachment.values.code === VALUE_F64) {
        for (let i = 0; i < size; i++) raw[i] = oneNaN(raw[i] as number);
      }
      return;
    }
    for (let i = 0; i < size; i++) batchValues.set(i, values[start + i]);
  }

  /** The rare way: the rest of a stopped batch, one by one, each waited for. */
  private resumeModify(op: number, keys: Column<K>, values: Column<V> | undefined, from: number, to: number): number {
    let total = 0;
    let at = from;
    try {
      for (; at < to; at++) {
        const key = keys[at];
        if (values === undefined ? this.delete(key) : this.modifyOne(op, key, values[at])) total++;
      }
    } catch (cause) {
      if (cause instanceof SabtreeError && cause.code === 'ERR_MEMORY_EXHAUSTED') {
        throw new SabtreeError(
          cause.code,
          `${cause.message.replace('; nothing was written', '')} after ${at} entries of the batch`,
          at,
          { cause },
        );
      }
      throw cause;
    }
    return total;
  }

  private modifyOne(op: number, key: K, value: V): boolean {
    return op === OP_PUT ? this.put(key, value) : this.modify(op, key, value);
  }

  /**
   * Loads strictly ascending entries into an empty tree, several times as fast as `putMany`. Readers and writers go on
   * meanwhile; the entries appear all at once at the end, and not at all if it fails.
   * @param fill how full the nodes are made, 0.5 to 1; the default of 0.9 leaves room for inserts.
   * @returns how many entries were loaded. @throws ERR_NOT_EMPTY, ERR_NOT_ASCENDING (with the key), ERR_MEMORY_EXHAUSTED
   */
  bulkLoad(entries: Iterable<readonly [K, V]>, fill = 0.9): number {
    const { attachment, core } = this;
    const { leafCapacity, branchCapacity, leafMinimum, branchMinimum } = attachment.shape();
    if (typeof fill !== 'number' || !(fill >= 0.5 && fill <= 1)) {
      throw new SabtreeError('ERR_ARGUMENT', `fill must be from 0.5 to 1, got ${show(fill)}`, fill);
    }
    // At least twice the minimum, so that the last node of a level can be topped up from its neighbour.
    const leafFill = Math.max(2 * leafMinimum, Math.floor(leafCapacity * fill));
    const branchFill = Math.max(2 * branchMinimum + 1, Math.floor(branchCapacity * fill));
    this.alive();
    if (this.loading) throw new SabtreeError('ERR_ARGUMENT', 'bulkLoad was called by the entries of a bulkLoad');
    const present = treeSize(attachment);
    if (present !== 0) {
      throw new SabtreeError('ERR_NOT_EMPTY', `bulkLoad needs an empty tree, this one has ${present} entries`, present);
    }
    const started = isVariable(attachment.keyCode)
      ? core.bulkBegin(Math.floor(attachment.shape().nodeSize * fill), 0)
      : core.bulkBegin(leafFill, Math.min(branchFill, branchCapacity));
    if (started !== STATUS_TRUE) fail(started);
    let loaded = 0;
    this.loading = true;
    try {
      let n = 0;
      const chunkKeys: K[] = new Array(BATCH);
      const chunkValues: V[] = new Array(BATCH);
      const flush = () => {
        // The caller's iterator may have used the tree meanwhile, so the batch area is filled in one go.
        for (let from = 0; from < n; ) {
          const size = this.loadKeys(from === 0 ? chunkKeys : chunkKeys.slice(from), 0, n - from);
          this.loadChunk(chunkValues, from, size);
          const status = attachment.core.bulkAppend(size);
          if (status !== STATUS_TRUE) {
            this.dropChunk(attachment.count, size);
            if (status === STATUS_NOT_ASCENDING) refuseOrder(chunkKeys, from + attachment.count, loaded);
            fail(status);
          }
          from += size;
        }
        loaded += n;
        n = 0;
      };
      for (const [key, value] of entries) {
        chunkKeys[n] = key;
        chunkValues[n] = value;
        if (++n === BATCH) flush();
      }
      if (n > 0) flush();
      const patience = new Patience(attachment);
      let status = attachment.core.bulkEnd();
      while (status === STATUS_BUSY) {
        patience.pause();
        status = core.bulkEnd();
      }
      if (status === STATUS_NOT_EMPTY) {
        throw new SabtreeError('ERR_NOT_EMPTY', 'somebody wrote to the tree during bulkLoad', treeSize(attachment));
      }
    } catch (error) {
      core.bulkAbort();
      throw error;
    } finally {
      this.loading = false;
    }
    return loaded;
  }
}

/** Names the key that broke the order. */
function refuseOrder<K>(keys: readonly K[], at: number, before: number): never {
  throw new SabtreeError(
    'ERR_NOT_ASCENDING',
    `entry ${before + at}: key ${show(keys[at])} is not greater than the one before`,
    keys[at],
  );
}

function nameOf(value: ValueType): ScalarType | VariableType | 'record' {
  return typeof value === 'string' ? value : 'record';
}

/** Checks a handle and attaches to its memory. */
function attach(
  handle: TreeHandle,
  options: AttachOptions,
  announce?: (thread: number) => void,
  owner?: number,
): { attachment: Attachment; value: ScalarType | VariableType | 'record' } {
  if (typeof handle !== 'object' || handle === null || handle.sabtree !== 'tree') {
    throw new SabtreeError('ERR_NOT_A_TREE', `attach takes the handle of a tree, got ${show(handle)}`, handle);
  }
  if (handle.layout !== LAYOUT_VERSION) {
    throw new SabtreeError(
      'ERR_LAYOUT_VERSION',
      `the tree was made with memory layout ${handle.layout}, this version of sabtree reads layout ${LAYOUT_VERSION}`,
      handle.layout,
    );
  }
  const type = options.value ?? handle.value;
  if (type === 'record') {
    throw new SabtreeError(
      'ERR_SCHEMA_MISMATCH',
      'a tree of records is attached to with its schema: attach(handle, { value: schema })',
      type,
    );
  }
  const values = new ValueCodec(type as ValueType);
  const attachment = new Attachment(handle.memory, keyCode(handle.key), values, announce, owner);
  return { attachment, value: nameOf(type as ValueType) };
}

/** Attaches this thread to a tree for reading only; `announce` is told which slot it is about to take there. @internal */
export function attachReader<K, V>(
  handle: TreeHandle,
  options: AttachOptions = {},
  announce?: (thread: number) => void,
  owner?: number,
): TreeReader<K, V> {
  const { attachment, value } = attach(handle, options, announce, owner);
  return new TreeReader<K, V>(attachment, handle.key, value);
}

/** Attaches this thread to a tree for reading and writing; its slot there says `owner`. @internal */
export function attachWriter<K, V>(handle: TreeHandle, options: AttachOptions, owner: number): SharedTree<K, V> {
  const { attachment, value } = attach(handle, options, undefined, owner);
  return new SharedTree<K, V>(attachment, handle.key, value);
}
