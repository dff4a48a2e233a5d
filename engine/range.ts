import { STATUS_TRUE } from '../layout/operation.ts';
import {
  SCAN_HAS_LOWER,
  SCAN_HAS_UPPER,
  SCAN_LOWER_EXCLUSIVE,
  SCAN_REVERSE,
  SCAN_UPPER_EXCLUSIVE,
} from '../layout/tree-memory.ts';
import type { AreaReader, Attachment } from './attachment.ts';
import { BlobTable, OneValue } from './blobs.ts';
import { SabtreeError, show } from './errors.ts';
import type { KeyView } from './key-views.ts';
import { isVariable } from './keys.ts';
import type { ValueView } from './values.ts';
import { prefixRange } from './variable-keys.ts';

/** Bounds, direction and size of a range. */
export interface RangeOptions<K> {
  /** Keys greater than this one. Not together with `gte`. */
  readonly gt?: K;
  /** Keys greater than or equal to this one. */
  readonly gte?: K;
  /** Keys less than this one. Not together with `lte`. */
  readonly lt?: K;
  /** Keys less than or equal to this one. */
  readonly lte?: K;
  /** Keys that begin with this one: for strings, bytes and tuples. Not together with the other bounds. */
  readonly prefix?: K;
  /** From the greatest key down. */
  readonly reverse?: boolean;
  /** At most this many entries. */
  readonly limit?: number;
}

const RANGE_OPTIONS = new Set(['gt', 'gte', 'lt', 'lte', 'prefix', 'reverse', 'limit']);

/** A range, checked. */
export interface Range {
  readonly flags: number;
  readonly lower: unknown;
  readonly upper: unknown;
  readonly limit: number;
  /** Keys that begin with it, if it is not undefined; then there are no other bounds. */
  readonly prefix: unknown;
}

/** Checks a range's options; ERR_ARGUMENT names the wrong one. Bounds are checked as keys when they are written. */
export function rangeOf(options: RangeOptions<unknown> = {}): Range {
  if (typeof options !== 'object' || options === null) {
    throw new SabtreeError('ERR_ARGUMENT', `range options must be an object, got ${show(options)}`, options);
  }
  for (const name of Object.keys(options)) {
    if (!RANGE_OPTIONS.has(name)) throw new SabtreeError('ERR_ARGUMENT', `unknown range option ${show(name)}`, name);
  }
  const { gt, gte, lt, lte, prefix, reverse = false, limit = Number.POSITIVE_INFINITY } = options;
  if (gt !== undefined && gte !== undefined)
    throw new SabtreeError('ERR_ARGUMENT', 'a range takes gt or gte, not both', gt);
  if (lt !== undefined && lte !== undefined)
    throw new SabtreeError('ERR_ARGUMENT', 'a range takes lt or lte, not both', lt);
  if (typeof reverse !== 'boolean')
    throw new SabtreeError('ERR_ARGUMENT', `reverse must be a boolean, got ${show(reverse)}`, reverse);
  if (!(limit === Number.POSITIVE_INFINITY || (Number.isInteger(limit) && limit >= 0))) {
    throw new SabtreeError('ERR_ARGUMENT', `limit must be an integer from 0 on, got ${show(limit)}`, limit);
  }
  if (prefix !== undefined && (gt !== undefined || gte !== undefined || lt !== undefined || lte !== undefined)) {
    throw new SabtreeError('ERR_ARGUMENT', 'a range takes a prefix or bounds, not both', prefix);
  }
  // Not `??`: a null is a wrong key, not an absent bound.
  const lower = gt === undefined ? gte : gt;
  const upper = lt === undefined ? lte : lt;
  const flags =
    (lower === undefined ? 0 : SCAN_HAS_LOWER) |
    (gt === undefined ? 0 : SCAN_LOWER_EXCLUSIVE) |
    (upper === undefined ? 0 : SCAN_HAS_UPPER) |
    (lt === undefined ? 0 : SCAN_UPPER_EXCLUSIVE) |
    (reverse ? SCAN_REVERSE : 0);
  return { flags, lower, upper, limit, prefix };
}

/** Where a walk stands between two pieces. */
export interface WalkState {
  readonly flags: number;
  readonly left: number;
  readonly lower: unknown;
  readonly upper: unknown;
  readonly ended: boolean;
}

/**
 * Goes through a range piece by piece. Every piece is one atomic scan (one state of the tree); the first one takes as
 * much of the range as a scan can hold. Entries are read where the scan put them, or, once this thread uses that place
 * for something else, from a copy; so nothing that happens between two steps changes what was read.
 */
export class RangeWalk implements AreaReader {
  protected attachment: Attachment;
  private readonly reverse: boolean;
  private flags: number;
  private left: number;
  private lower: unknown;
  private upper: unknown;
  private ended = false;
  /** Keys of the piece at hand. They may move when the tree is used: look them up here each time. */
  keys: KeyView;
  /** Values of the piece at hand; they move with the keys. */
  values: ValueView;
  /** Entries of the piece at hand. */
  count = 0;

  constructor(attachment: Attachment, range: Range) {
    this.attachment = attachment;
    this.flags = range.flags;
    this.left = range.limit;
    this.reverse = (range.flags & SCAN_REVERSE) !== 0;
    this.lower = range.lower;
    this.upper = range.upper;
    if (range.prefix !== undefined) this.takePrefix(range.prefix);
    // A wrong bound is refused here, not at the first step.
    if (this.lower !== undefined) attachment.key.set(0, this.lower);
    if (this.upper !== undefined) attachment.upperKey.set(0, this.upper);
    this.keys = attachment.scanKeys;
    this.values = attachment.scanValues;
  }

  private takePrefix(prefix: unknown): void {
    const { keyCode } = this.attachment;
    if (!isVariable(keyCode)) {
      throw new SabtreeError('ERR_ARGUMENT', 'a prefix is for keys that are strings, bytes or tuples', prefix);
    }
    const { from, end } = prefixRange(keyCode, prefix);
    this.lower = from;
    this.upper = end;
    this.flags |= SCAN_HAS_LOWER | (end === undefined ? 0 : SCAN_HAS_UPPER | SCAN_UPPER_EXCLUSIVE);
  }

  /** Takes the next piece; false when the range is at its end. */
  advance(): boolean {
    const { attachment } = this;
    if (this.ended || this.left <= 0) {
      attachment.leaveArea(this);
      return false;
    }
    const { core } = attachment;
    attachment.takeArea(this);
    if (this.lower !== undefined) attachment.key.set(0, this.lower);
    if (this.upper !== undefined) attachment.upperKey.set(0, this.upper);
    const limit = Math.min(this.left, attachment.scanCapacity);
    const status = core.scan(this.flags, limit);
    if (status !== STATUS_TRUE) attachment.settle(status, () => core.scan(this.flags, limit));
    const { count } = attachment;
    this.ended = !attachment.more;
    this.count = count;
    this.left -= count;
    this.keys = attachment.scanKeys;
    this.values = attachment.scanValues;
    if (count === 0) {
      attachment.leaveArea(this);
      return false;
    }
    const long = this.values instanceof BlobTable && this.values.isLong;
    // The next piece begins behind the last key of this one.
    const last = this.keys.stored(count - 1);
    if (this.reverse) {
      this.upper = last;
      this.flags |= SCAN_HAS_UPPER | SCAN_UPPER_EXCLUSIVE;
    } else {
      this.lower = last;
      this.flags |= SCAN_HAS_LOWER | SCAN_LOWER_EXCLUSIVE;
    }
    return long ? this.readLong() : true;
  }

  /** Reads the one value of a piece that was too long for it. If the entry is gone by now, there is another piece. */
  private readLong(): boolean {
    const { attachment } = this;
    attachment.key.set(0, this.keys.stored(0));
    const { get } = attachment.core;
    const found = attachment.settle(get(), get) === STATUS_TRUE;
    const value = found ? attachment.value.get(0) : undefined;
    if (value !== undefined) {
      this.values = new OneValue(attachment.values, value);
      return true;
    }
    this.left++;
    return this.advance();
  }

  /** Takes the piece at hand back and goes on in another tree from where it began. */
  protected repeatIn(attachment: Attachment, before: WalkState): void {
    this.attachment.leaveArea(this);
    this.attachment = attachment;
    this.flags = before.flags;
    this.left = before.left;
    this.lower = before.lower;
    this.upper = before.upper;
    this.ended = before.ended;
  }

  /** Where the walk stands. */
  protected get state(): WalkState {
    const { flags, left, lower, upper, ended } = this;
    return { flags, left, lower, upper, ended };
  }

  /** Ends the walk here. */
  stop(): void {
    this.ended = true;
    this.count = 0;
    this.attachment.leaveArea(this);
  }

  moveOut(): void {
    this.keys = this.keys.copy(this.count);
    this.values = this.values.copy(this.count);
  }
}

/** The iterator that `range` gives: [key, value] pairs. */
export class RangeIterator<K, V> implements IterableIterator<[K, V]> {
  private readonly walk: RangeWalk;
  private at = 0;
  private count = 0;

  constructor(walk: RangeWalk) {
    this.walk = walk;
  }

  /** The next entry. Every so many steps it takes the next piece of the range, which is one scan of the tree. */
  next(): IteratorResult<[K, V], undefined> {
    const { walk } = this;
    if (this.at === this.count) {
      if (!walk.advance()) {
        this.count = 0;
        this.at = 0;
        return { done: true, value: undefined };
      }
      this.at = 0;
      this.count = walk.count;
    }
    const i = this.at++;
    return { done: false, value: [walk.keys.get(i) as K, walk.values.get(i) as V] };
  }

  /** Ends the iteration; `for...of` calls it when it is left early. */
  return(): IteratorResult<[K, V], undefined> {
    this.walk.stop();
    this.at = 0;
    this.count = 0;
    return { done: true, value: undefined };
  }

  /** Itself. */
  [Symbol.iterator](): this {
    return this;
  }
}

/** An iterator over the keys, or over the values, of a range. */
export class ColumnIterator<T> implements IterableIterator<T, undefined> {
  private readonly walk: RangeWalk;
  private readonly pick: (walk: RangeWalk, i: number) => T;
  private at = 0;
  private count = 0;

  /** @param pick gives the column of entry i of the piece at hand. */
  constructor(walk: RangeWalk, pick: (walk: RangeWalk, i: number) => T) {
    this.walk = walk;
    this.pick = pick;
  }

  next(): IteratorResult<T, undefined> {
    const { walk } = this;
    if (this.at === this.count) {
      this.at = 0;
      this.count = walk.advance() ? walk.count : 0;
      if (this.count === 0) return { done: true, value: undefined };
    }
    return { done: false, value: this.pick(walk, this.at++) };
  }

  /** Ends the iteration; `for...of` calls it when it is left early. */
  return(): IteratorResult<T, undefined> {
    this.walk.stop();
    this.at = 0;
    this.count = 0;
    return { done: true, value: undefined };
  }

  [Symbol.iterator](): this {
    return this;
  }
}
