import { SabtreeError, show } from './errors.ts';
import type { KeyOf, KeyType } from './keys.ts';
import type { RangeIterator, RangeOptions } from './range.ts';
import { type AttachOptions, SharedTree, type TreeHandle, type TreeOptions } from './shared-tree.ts';
import type { ValueOf, ValueType } from './values.ts';

/** Keys that `clear` and `deleteRange` remove in one go. */
const CHUNK = 1024;

/**
 * A `SharedTree` with the interface of the language's `Map`: whatever takes a `Map<K, V>` takes it, and every thread that
 * attaches sees the same entries. It also offers what only an ordered map can: ranges, neighbours, first and last.
 *
 * Where it differs from a `Map`:
 * - The order is that of the keys, not of insertion.
 * - Values are copies: `get` of a record gives a new object each time, and changing it changes nothing in the map.
 * - Keys and values have the types the map was made with; others are refused with ERR_KEY or ERR_VALUE, by `get`, `has` and
 *   `delete` too. NaN is no key.
 * - Other threads may write at any time. Each operation on one key is atomic and sees the latest completed write; iteration
 *   sees pieces of the map, each at one instant (see `SharedTree.range`), and never a key twice; `clear`, `deleteRange` and
 *   `forEach` are as many single steps.
 * - postMessage cannot clone it: send its `handle`, and attach there.
 *
 * What a `Map` has no name for (`add`, `compareAndSet`, batches, bulk load) is on `tree`. Each method costs what the one of
 * `SharedTree` costs that it calls.
 */
export class SharedMap<K = number, V = number> implements Map<K, V> {
  /** The tree behind the map. */
  readonly tree: SharedTree<K, V>;

  /** A map over a tree of this thread; both stay usable, and closing either closes both. @throws ERR_ARGUMENT */
  constructor(tree: SharedTree<K, V>) {
    if (!(tree instanceof SharedTree)) {
      throw new SabtreeError('ERR_ARGUMENT', `SharedMap takes a SharedTree, got ${show(tree)}`, tree);
    }
    this.tree = tree;
  }

  /** Makes an empty map; the options are those of `SharedTree.create`. @throws ERR_OPTION, ERR_MEMORY_EXHAUSTED */
  static create<KT extends KeyType, const VT extends ValueType>(
    options: TreeOptions<KT, VT>,
  ): SharedMap<KeyOf<KT>, ValueOf<VT>> {
    return new SharedMap(SharedTree.create(options));
  }

  /** Attaches this thread to a map (or a tree) made in another one. @throws as `SharedTree.attach` */
  static attach<K = number, V = number>(handle: TreeHandle, options: AttachOptions = {}): SharedMap<K, V> {
    return new SharedMap(SharedTree.attach<K, V>(handle, options));
  }

  /** What another thread needs to attach to this map: send it with postMessage or as workerData. */
  get handle(): TreeHandle {
    return this.tree.handle;
  }

  /** Number of entries. Exact while nobody writes; otherwise as of some moment during the call, for each writer. */
  get size(): number {
    return this.tree.size;
  }

  /** The value of `key`, or undefined. @throws ERR_KEY */
  get(key: K): V | undefined {
    return this.tree.get(key);
  }

  /** Whether `key` is there. @throws ERR_KEY */
  has(key: K): boolean {
    return this.tree.has(key);
  }

  /** Writes an entry, present or not. @throws ERR_KEY, ERR_VALUE, ERR_MEMORY_EXHAUSTED */
  set(key: K, value: V): this {
    this.tree.put(key, value);
    return this;
  }

  /** Removes an entry. @returns whether it was there. @throws ERR_KEY */
  delete(key: K): boolean {
    return this.tree.delete(key);
  }

  /**
   * The value of `key`; where it is absent, `value` is written first. Atomic: of several threads that ask at once, one
   * writes, and all get what it wrote. @throws ERR_KEY, ERR_VALUE, ERR_MEMORY_EXHAUSTED
   */
  getOrInsert(key: K, value: V): V {
    const { tree } = this;
    for (;;) {
      const present = tree.get(key);
      if (present !== undefined) return present;
      // Somebody else may insert it in between, and somebody delete it again.
      if (tree.insert(key, value)) return value;
    }
  }

  /**
   * The value of `key`; where it is absent, what `callback` gives is written first. Several threads may call their callbacks at
   * once; one's value is written, and all get that. @throws ERR_KEY, ERR_VALUE, ERR_ARGUMENT, ERR_MEMORY_EXHAUSTED
   */
  getOrInsertComputed(key: K, callback: (key: K) => V): V {
    needFunction(callback);
    const present = this.tree.get(key);
    return present === undefined ? this.getOrInsert(key, callback(key)) : present;
  }

  /**
   * Removes every entry that is there when the call begins, except what other threads write again meanwhile. It is not one
   * step: others see the map become empty bit by bit, and it is empty at the end only if nobody wrote. It ends however fast
   * others write behind its last key. About one lookup and a delete per entry.
   */
  clear(): void {
    const last = this.tree.last();
    if (last !== undefined) this.deleteRange({ lte: last[0] });
  }

  /**
   * Removes the entries of a range, each in a step of its own: an entry that is there from the beginning of the call to its
   * end goes, one that others write meanwhile may go or stay. With `limit`, at most that many, from the range's beginning.
   * A range with neither bound nor limit is refused: a bound that is undefined by mistake must not empty the map.
   * @returns how many this call removed. @throws ERR_KEY, ERR_ARGUMENT
   */
  deleteRange(range: RangeOptions<K>): number {
    const { tree } = this;
    const { gt, gte, lt, lte, limit } = range ?? {};
    if ([gt, gte, lt, lte, limit].every((end) => end === undefined)) {
      throw new SabtreeError('ERR_ARGUMENT', 'deleteRange takes a bound or a limit; clear removes everything', range);
    }
    let removed = 0;
    let keys: K[] = [];
    tree.forRange(range, (key) => {
      keys.push(key);
      if (keys.length < CHUNK) return;
      const chunk = keys;
      keys = [];
      removed += tree.deleteMany(chunk);
    });
    return removed + tree.deleteMany(keys);
  }

  /** Calls `callback` for each entry in key order; entries may be written and deleted meanwhile, as in a `Map`. @throws ERR_ARGUMENT */
  forEach(callback: (value: V, key: K, map: Map<K, V>) => void, thisArg?: unknown): void {
    needFunction(callback);
    this.tree.forRange({}, (key, value) => {
      callback.call(thisArg, value, key, this);
    });
  }

  /** All entries in key order; see `SharedTree.range`. */
  entries(): MapIterator<[K, V]> {
    return each(this.tree.range(), whole);
  }

  /** All keys in order; see `SharedTree.range`. */
  keys(): MapIterator<K> {
    return each(this.tree.range(), keyIn);
  }

  /** All values in the order of their keys; see `SharedTree.range`. */
  values(): MapIterator<V> {
    return each(this.tree.range(), valueIn);
  }

  /** All entries in key order, like `entries`. */
  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.entries();
  }

  /** The entries of a range, in key order or from the greatest down; see `SharedTree.range`. */
  range(options?: RangeOptions<K>): RangeIterator<K, V> {
    return this.tree.range(options);
  }

  /** The entry with the smallest key. */
  first(): [K, V] | undefined {
    return this.tree.first();
  }

  /** The entry with the greatest key. */
  last(): [K, V] | undefined {
    return this.tree.last();
  }

  /** The entry with the greatest key <= `key`. */
  floor(key: K): [K, V] | undefined {
    return this.tree.floor(key);
  }

  /** The entry with the smallest key >= `key`. */
  ceiling(key: K): [K, V] | undefined {
    return this.tree.ceiling(key);
  }

  /** The entry with the greatest key < `key`. */
  lower(key: K): [K, V] | undefined {
    return this.tree.lower(key);
  }

  /** The entry with the smallest key > `key`. */
  higher(key: K): [K, V] | undefined {
    return this.tree.higher(key);
  }

  /** Gives this thread's slot back; the map lives on in the other threads. See `SharedTree.close`. */
  close(): void {
    this.tree.close();
  }

  /** `close`, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** What `Object.prototype.toString` calls it. */
  get [Symbol.toStringTag](): string {
    return 'SharedMap';
  }
}

function needFunction(callback: unknown): void {
  if (typeof callback !== 'function') {
    throw new SabtreeError('ERR_ARGUMENT', `callback must be a function, got ${show(callback)}`, callback);
  }
}

/** A generator, so that the language's iterator helpers come with it where there are any. */
function* each<K, V, T>(entries: RangeIterator<K, V>, take: (entry: [K, V]) => T): MapIterator<T> {
  for (const entry of entries) yield take(entry);
  return undefined;
}

function whole<K, V>(entry: [K, V]): [K, V] {
  return entry;
}

function keyIn<K, V>(entry: [K, V]): K {
  return entry[0];
}

function valueIn<K, V>(entry: [K, V]): V {
  return entry[1];
}
