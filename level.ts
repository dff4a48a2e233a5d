/**
 * sabtree as an abstract-level database: the interface of level, classic-level and memory-level, on a tree in shared memory
 * that other threads open at the same time.
 *
 * The package abstract-level (3.x) is a peer dependency of this entry point alone.
 * @module
 */
import {
  type AbstractBatchOperation,
  type AbstractDatabaseOptions,
  AbstractIterator,
  type AbstractIteratorOptions,
  AbstractLevel,
  type AbstractOpenOptions,
} from 'abstract-level';
import { SabtreeError } from './engine/errors.ts';
import type { RangeIterator, RangeOptions } from './engine/range.ts';
import { SharedTree, type TreeHandle } from './engine/shared-tree.ts';
import { MAX_BLOB_BYTES } from './layout/tree-memory.ts';

/** Options of a `SharedLevel`, beside those of every abstract-level database. */
export interface SharedLevelOptions<K, V> extends AbstractDatabaseOptions<K, V> {
  /** The database of another thread: what its `handle` gave, sent by postMessage or as workerData. */
  readonly handle?: TreeHandle;
  /** Most memory of a new database, in bytes or like '256MB'. Default 1GB; it is reserved, and used as it grows. */
  readonly memory?: number | string;
}

type Bytes = Uint8Array;
/** A part of the manifest that its types do not know yet. */
const SYNCHRONOUS = { getSync: true };
/** Range options as abstract-level passes them down, encoded. */
type EncodedRange = RangeOptions<Bytes> & { readonly limit: number };

/**
 * An abstract-level database in shared memory.
 *
 * Keys have at most 1,024 bytes, values at most 16 MiB; longer ones reject with ERR_KEY and ERR_VALUE. Every operation is
 * synchronous inside, and linearizable with those of other threads. Iterators see changes that are made while they run, in
 * pieces of up to 64 KiB that are each one state (`supports.implicitSnapshots` is false). A batch that fails writes nothing;
 * other threads may see a part of one while it is written, or until it has been taken back for want of memory. Closing keeps
 * the content as long as anybody holds the handle: opening again finds it.
 */
export class SharedLevel<K = string, V = string> extends AbstractLevel<Bytes, K, V> {
  /** What another thread opens this database with: `new SharedLevel({ handle })`. */
  readonly handle: TreeHandle;
  private tree: SharedTree<Bytes, Bytes>;
  private attached = true;

  /**
   * Makes a database, or opens another thread's by its `handle` (`memory` is of no account then). As with every abstract-level database,
   * it is usable at once: calls wait until it is open.
   * @throws ERR_OPTION, ERR_MEMORY_EXHAUSTED; with a handle ERR_NOT_A_TREE, ERR_LAYOUT_VERSION, ERR_SCHEMA_MISMATCH,
   *   ERR_TOO_MANY_THREADS
   */
  constructor(options: SharedLevelOptions<K, V> = {}) {
    const { handle, memory, ...rest } = options;
    super(
      { encodings: { view: true }, implicitSnapshots: false, has: true, seek: true, permanence: false, ...SYNCHRONOUS },
      rest as AbstractDatabaseOptions<K, V>,
    );
    this.tree =
      handle === undefined
        ? SharedTree.create({ key: 'bytes', value: 'bytes', ...(memory !== undefined && { memory }) })
        : SharedTree.attach<Bytes, Bytes>(handle);
    this.handle = this.tree.handle;
  }

  /** @internal */
  async _open(_options: AbstractOpenOptions): Promise<void> {
    if (!this.attached) this.tree = SharedTree.attach<Bytes, Bytes>(this.handle);
    this.attached = true;
  }

  /** @internal */
  async _close(): Promise<void> {
    this.tree.close();
    this.attached = false;
  }

  /** @internal */
  async _get(key: Bytes): Promise<Bytes | undefined> {
    return this.tree.get(key);
  }

  /** @internal */
  _getSync(key: Bytes): Bytes | undefined {
    return this.tree.get(key);
  }

  /** @internal */
  async _getMany(keys: Bytes[]): Promise<(Bytes | undefined)[]> {
    return this.tree.getMany(keys);
  }

  /** @internal */
  async _has(key: Bytes): Promise<boolean> {
    return this.tree.has(key);
  }

  /** @internal */
  async _hasMany(keys: Bytes[]): Promise<boolean[]> {
    return keys.map((key) => this.tree.has(key));
  }

  /** @internal */
  async _put(key: Bytes, value: Bytes): Promise<void> {
    this.tree.put(key, value);
  }

  /** @internal */
  async _del(key: Bytes): Promise<void> {
    this.tree.delete(key);
  }

  /** @internal */
  async _batch(operations: readonly AbstractBatchOperation<this, Bytes, Bytes>[]): Promise<void> {
    const { tree } = this;
    // What can be wrong is looked for before anything is written; then only the memory may have no room.
    for (const operation of operations) {
      tree.has(operation.key);
      if (operation.type === 'put' && operation.value.length > MAX_BLOB_BYTES) {
        const { length } = operation.value;
        throw new SabtreeError('ERR_VALUE', `value must be at most ${MAX_BLOB_BYTES} bytes, got ${length}`, length);
      }
    }
    const done: { readonly key: Bytes; readonly before: Bytes | undefined; readonly written: Bytes | undefined }[] = [];
    try {
      for (const operation of operations) {
        const { key } = operation;
        const before = tree.get(key);
        if (operation.type === 'put') tree.put(key, operation.value);
        else tree.delete(key);
        done.push({ key, before, written: operation.type === 'put' ? operation.value : undefined });
      }
    } catch (error) {
      // As if it had not been, the last written first; what somebody else has written since stays.
      for (const { key, before, written } of done.reverse()) {
        const there = tree.get(key);
        if (!equal(there, written)) continue;
        if (before === undefined) tree.delete(key);
        else tree.put(key, before);
      }
      throw error;
    }
  }

  /** @internal */
  _iterator(options: AbstractIteratorOptions<Bytes, Bytes>): SharedLevelIterator<this> {
    return new SharedLevelIterator<this>(this, this.tree, options);
  }

  /** @internal */
  async _clear(options: EncodedRange): Promise<void> {
    const keys: Bytes[] = [];
    for (const [key] of this.tree.range(boundsOf(options, options.limit))) keys.push(key);
    this.tree.deleteMany(keys);
  }
}

/** The range of abstract-level's options. */
function boundsOf(options: RangeOptions<Bytes>, limit: number): RangeOptions<Bytes> {
  const { gt, gte, lt, lte, reverse } = options;
  return {
    // Of both kinds of a bound abstract-level takes the inclusive one.
    ...(gte !== undefined ? { gte } : gt !== undefined ? { gt } : {}),
    ...(lte !== undefined ? { lte } : lt !== undefined ? { lt } : {}),
    reverse: reverse === true,
    ...(limit >= 0 && { limit }),
  };
}

function compare(a: Bytes, b: Bytes): number {
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return a.length - b.length;
}

function equal(a: Bytes | undefined, b: Bytes | undefined): boolean {
  return a === undefined || b === undefined ? a === b : compare(a, b) === 0;
}

/** The iterator of a `SharedLevel`: `db.iterator()` gives it. See abstract-level for its methods. */
export class SharedLevelIterator<TDatabase extends object> extends AbstractIterator<TDatabase, Uint8Array, Uint8Array> {
  private readonly tree: SharedTree<Bytes, Bytes>;
  private readonly options: AbstractIteratorOptions<Bytes, Bytes> & RangeOptions<Bytes>;
  private range: RangeIterator<Bytes, Bytes>;

  /** @internal */
  constructor(db: TDatabase, tree: SharedTree<Bytes, Bytes>, options: AbstractIteratorOptions<Bytes, Bytes>) {
    // biome-ignore lint/suspicious/noExplicitAny: abstract-level's types ask for the options it made itself
    super(db as any, options as any);
    this.tree = tree;
    this.options = options as AbstractIteratorOptions<Bytes, Bytes> & RangeOptions<Bytes>;
    this.range = tree.range(boundsOf(this.options, -1));
  }

  private entry(): [Bytes, Bytes] | undefined {
    const step = this.range.next();
    return step.done ? undefined : step.value;
  }

  /** @internal */
  async _next(): Promise<[Bytes, Bytes] | undefined> {
    return this.entry();
  }

  /** @internal */
  async _nextv(size: number): Promise<[Bytes, Bytes][]> {
    const entries: [Bytes, Bytes][] = [];
    while (entries.length < size) {
      const entry = this.entry();
      if (entry === undefined) break;
      entries.push(entry);
    }
    return entries;
  }

  /** @internal */
  async _all(): Promise<[Bytes, Bytes][]> {
    const left = this.limit >= 0 ? this.limit - this.count : Number.POSITIVE_INFINITY;
    return this._nextv(left);
  }

  /** @internal */
  _seek(target: Bytes): void {
    const { options } = this;
    const { gt, gte, lt, lte } = options;
    const lower = gte ?? gt;
    const upper = lte ?? lt;
    this.range.return();
    const belowRange = lower !== undefined && compare(target, lower) < (gte === undefined ? 1 : 0);
    const aboveRange = upper !== undefined && compare(target, upper) > (lte === undefined ? -1 : 0);
    if (belowRange || aboveRange) {
      // As abstract-level has it: the iterator is at its end, on whichever side the target lies.
      this.range = this.tree.range({ limit: 0 });
      return;
    }
    const bounds = boundsOf(options, -1);
    const { gt: _gt, gte: _gte, ...fromBelow } = bounds;
    const { lt: _lt, lte: _lte, ...fromAbove } = bounds;
    this.range = this.tree.range(
      options.reverse === true ? { ...fromAbove, lte: target } : { ...fromBelow, gte: target },
    );
  }

  /** @internal */
  async _close(): Promise<void> {
    this.range.return();
  }
}
