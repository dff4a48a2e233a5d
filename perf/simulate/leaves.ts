import { DELETE, INSERT } from './commands.ts';

/**
 * How full the leaves of a B+-tree are: enough of it to say which inserts and deletes stay within their leaf. Splits and
 * merges are those of engine/core/structure.ts: halves; a leaf is refilled when it would fall below a quarter, by a merge
 * if that leaves at most three quarters. Keys are whole numbers from 0 to below `slots`.
 */
export class Leaves {
  private readonly capacity: number;
  private readonly least: number;
  private readonly present: Uint8Array;
  /** Least key that belongs to each leaf, and its entries. */
  private readonly firsts: number[] = [];
  private readonly counts: number[] = [];

  /** @param keys ascending. @param fill share of a leaf's places that are filled at the beginning. */
  constructor(keys: Iterable<number>, slots: number, capacity: number, fill: number) {
    this.capacity = capacity;
    this.least = Math.max(1, capacity >> 2);
    this.present = new Uint8Array(slots);
    const target = Math.max(1, Math.floor(capacity * fill));
    for (const key of keys) {
      this.present[key] = 1;
      const last = this.counts.length - 1;
      if (last < 0 || this.counts[last] === target) {
        this.firsts.push(last < 0 ? 0 : key);
        this.counts.push(1);
      } else this.counts[last]++;
    }
    if (this.counts.length === 0) {
      this.firsts.push(0);
      this.counts.push(0);
    }
  }

  get leaves(): number {
    return this.counts.length;
  }

  has(key: number): boolean {
    return this.present[key] === 1;
  }

  private leafOf(key: number): number {
    const { firsts } = this;
    let low = 0;
    for (let high = firsts.length - 1; low < high; ) {
      const middle = (low + high + 1) >> 1;
      if (firsts[middle] <= key) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** A command of that kind. @returns false, and nothing was done, if it takes a split or merge and `free` is false. */
  apply(kind: number, key: number, free: boolean): boolean {
    if (kind === INSERT) return this.insert(key, free);
    return kind === DELETE ? this.delete(key, free) : true;
  }

  private insert(key: number, split: boolean): boolean {
    if (this.present[key] === 1) return true;
    let leaf = this.leafOf(key);
    if (this.counts[leaf] === this.capacity) {
      if (!split) return false;
      this.divide(leaf, leaf + 1, this.capacity, true);
      leaf = this.leafOf(key);
    }
    this.counts[leaf]++;
    this.present[key] = 1;
    return true;
  }

  private delete(key: number, merge: boolean): boolean {
    if (this.present[key] === 0) return true;
    const leaf = this.leafOf(key);
    if (this.counts[leaf] <= this.least && this.leaves > 1 && !merge) return false;
    this.present[key] = 0;
    this.counts[leaf]--;
    if (this.counts[leaf] < this.least && this.leaves > 1) this.refill(leaf);
    return true;
  }

  private refill(leaf: number): void {
    const left = leaf > 0 ? leaf - 1 : leaf;
    const total = this.counts[left] + this.counts[left + 1];
    if (total <= (this.capacity * 3) >> 2) {
      this.counts[left] = total;
      this.counts.splice(left + 1, 1);
      this.firsts.splice(left + 1, 1);
    } else this.divide(left, left + 2, total, false);
  }

  /** Shares the entries of the leaves from `leaf` to below `end` out among two. */
  private divide(leaf: number, end: number, total: number, fresh: boolean): void {
    const { present, counts, firsts } = this;
    let key = firsts[leaf];
    const half = total >> 1;
    for (let seen = 0; ; key++) if (present[key] === 1 && seen++ === half) break;
    counts[leaf] = half;
    if (fresh) {
      counts.splice(end, 0, total - half);
      firsts.splice(end, 0, key);
    } else {
      counts[leaf + 1] = total - half;
      firsts[leaf + 1] = key;
    }
  }
}
