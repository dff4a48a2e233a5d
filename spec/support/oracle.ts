/**
 * The ordered map that the tree is compared with: a sorted array, searched from its beginning. Dumb, slow, obviously
 * right; it shares no code and no idea with the tree.
 */
import type { RangeOptions } from '../../dist/index.js';

/** Equal as the tree promises it: bit for bit for scalars (0 is not -0, NaN is NaN), part by part for records. */
export function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b) || ArrayBuffer.isView(a) !== ArrayBuffer.isView(b)) return false;
  const left = Object.entries(a);
  const right = Object.entries(b);
  return (
    left.length === right.length && left.every(([name, value], i) => name === right[i][0] && same(value, right[i][1]))
  );
}

/** What `add` gives for a value type; undefined where it is not supported. */
export type Plus<V> = ((a: V, b: V) => V) | undefined;

export class Oracle<K extends number | bigint, V> {
  entries: [K, V][] = [];
  private readonly zero: V;
  private readonly plus: Plus<V>;

  constructor(zero: V, plus: Plus<V>) {
    this.zero = zero;
    this.plus = plus;
  }

  private find(key: K): [K, V] | undefined {
    // == : 0 and -0 are one key.
    for (const entry of this.entries) if (entry[0] === key) return entry;
    return undefined;
  }

  private place(key: K, value: V): void {
    let i = 0;
    while (i < this.entries.length && this.entries[i][0] < key) i++;
    // -0 + 0 is 0: the key that is kept.
    const kept = typeof key === 'number' ? ((key + 0) as K) : key;
    this.entries.splice(i, 0, [kept, value]);
  }

  get size(): number {
    return this.entries.length;
  }

  get(key: K): V | undefined {
    return this.find(key)?.[1];
  }

  has(key: K): boolean {
    return this.find(key) !== undefined;
  }

  put(key: K, value: V): boolean {
    const isNew = this.insert(key, value);
    if (!isNew) this.update(key, value);
    return isNew;
  }

  insert(key: K, value: V): boolean {
    if (this.has(key)) return false;
    this.place(key, value);
    return true;
  }

  update(key: K, value: V): boolean {
    const entry = this.find(key);
    if (entry !== undefined) entry[1] = value;
    return entry !== undefined;
  }

  delete(key: K): boolean {
    const before = this.entries.length;
    this.entries = this.entries.filter((entry) => entry[0] !== key);
    return this.entries.length < before;
  }

  compareAndSet(key: K, expected: V, value: V): boolean {
    const entry = this.find(key);
    if (entry === undefined || !same(entry[1], expected)) return false;
    entry[1] = value;
    return true;
  }

  add(key: K, by: V): V | undefined {
    if (this.plus === undefined) throw new Error('no addition');
    const before = this.get(key);
    this.put(key, this.plus(before ?? this.zero, by));
    return before;
  }

  private copy(entry: [K, V] | undefined): [K, V] | undefined {
    return entry === undefined ? undefined : [entry[0], entry[1]];
  }

  floor(key: K): [K, V] | undefined {
    return this.copy(this.entries.filter((entry) => entry[0] <= key).at(-1));
  }

  ceiling(key: K): [K, V] | undefined {
    return this.copy(this.entries.find((entry) => entry[0] >= key));
  }

  lower(key: K): [K, V] | undefined {
    return this.copy(this.entries.filter((entry) => entry[0] < key).at(-1));
  }

  higher(key: K): [K, V] | undefined {
    return this.copy(this.entries.find((entry) => entry[0] > key));
  }

  first(): [K, V] | undefined {
    return this.copy(this.entries[0]);
  }

  last(): [K, V] | undefined {
    return this.copy(this.entries.at(-1));
  }

  range({ gt, gte, lt, lte, reverse, limit }: RangeOptions<K> = {}): [K, V][] {
    const chosen = this.entries.filter(
      ([key]) =>
        (gt === undefined || key > gt) &&
        (gte === undefined || key >= gte) &&
        (lt === undefined || key < lt) &&
        (lte === undefined || key <= lte),
    );
    if (reverse) chosen.reverse();
    return chosen.slice(0, limit).map(([key, value]) => [key, value]);
  }

  getMany(keys: readonly K[]): (V | undefined)[] {
    return keys.map((key) => this.get(key));
  }

  putMany(keys: readonly K[], values: readonly V[]): number {
    return keys.filter((key, i) => this.put(key, values[i])).length;
  }

  deleteMany(keys: readonly K[]): number {
    return keys.filter((key) => this.delete(key)).length;
  }
}
