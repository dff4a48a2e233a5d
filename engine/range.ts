import { STATUS_TRUE } from '../layout/operation.ts';
import {
  SCAN_HAS_LOWER,
  SCAN_HAS_UPPER,
  SCAN_LOWER_EXCLUSIVE,
  SCAN_REVERSE,
  SCAN_UPPER_EXCLUSIVE,
} from '../layout/tree-memory.ts';
import type { AreaReader, Attachment } from './attachment.ts';
import { SabtreeError, show } from './errors.ts';
import { isKey, type KeyArray, refuseKey, writeKey } from './keys.ts';
import type { ValueView } from './values.ts';

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
  /** From the greatest key down. */
  readonly reverse?: boolean;
  /** At most this many entries. */
  readonly limit?: number;
}

const RANGE_OPTIONS = new Set(['gt', 'gte', 'lt', 'lte', 'reverse', 'limit']);

/** A range, checked. */
export interface Range {
  readonly flags: number;
  readonly lower: unknown;
  readonly upper: unknown;
  readonly limit: number;
}

/** Checks a range's options; ERR_ARGUMENT names the wrong one. Bounds are checked as keys when they are written. */
export function rangeOf(options: RangeOptions<unknown> = {}): Range {
  if (typeof options !== 'object' || options === null) {
    throw new SabtreeError('ERR_ARGUMENT', `range options must be an object, got ${show(options)}`, options);
  }
  for (const name of Object.keys(options)) {
    if (!RANGE_OPTIONS.has(name)) throw new SabtreeError('ERR_ARGUMENT', `unknown range option ${show(name)}`, name);
  }
  const { gt, gte, lt, lte, reverse = false, limit = Number.POSITIVE_INFINITY } = options;
  if (gt !== undefined && gte !== undefined)
    throw new SabtreeError('ERR_ARGUMENT', 'a range takes gt or gte, not both', gt);
  if (lt !== undefined && lte !== undefined)
    throw new SabtreeError('ERR_ARGUMENT', 'a range takes lt or lte, not both', lt);
  if (typeof reverse !== 'boolean')
    throw new SabtreeError('ERR_ARGUMENT', `reverse must be a boolean, got ${show(reverse)}`, reverse);
  if (!(limit === Number.POSITIVE_INFINITY || (Number.isInteger(limit) && limit >= 0))) {
    throw new SabtreeError('ERR_ARGUMENT', `limit must be an integer from 0 on, got ${show(limit)}`, limit);
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
  return { flags, lower, upper, limit };
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
  keys: KeyArray;
  /** Values of the piece at hand; they move with the keys. */
  values: ValueView;
  /** Entries of the piece at hand. */
  count = 0;

  constructor(attachment: Attachment, range: Range) {
    this.attachment = attachment;
    this.flags = range.flags;
    this.left = range.limit;
    this.reverse = (range.flags & SCAN_REVERSE) !== 0;
    const { keyCode } = attachment;
    if (range.lower !== undefined && !isKey(keyCode, range.lower)) refuseKey(keyCode, range.lower);
    if (range.upper !== undefined && !isKey(keyCode, range.upper)) refuseKey(keyCode, range.upper);
    this.lower = range.lower;
    this.upper = range.upper;
    this.keys = attachment.scanKeys;
    this.values = attachment.scanValues;
  }

  /** Takes the next piece; false when the range is at its end. */
  advance(): boolean {
    const { attachment } = this;
    if (this.ended || this.left <= 0) {
      attachment.leaveArea(this);
      return false;
    }
    const { core, keyCode } = attachment;
    attachment.takeArea(this);
    if (this.lower !== undefined) writeKey(keyCode, attachment.key, 0, this.lower);
    if (this.upper !== undefined) writeKey(keyCode, attachment.upperKey, 0, this.upper);
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
    // The next piece begins behind the last key of this one.
    const last = this.keys[count - 1];
    if (this.reverse) {
      this.upper = last;
      this.flags |= SCAN_HAS_UPPER | SCAN_UPPER_EXCLUSIVE;
    } else {
      this.lower = last;
      this.flags |= SCAN_HAS_LOWER | SCAN_LOWER_EXCLUSIVE;
    }
    return true;
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
    this.keys = this.keys.slice(0, this.count);
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
    return { done: false, value: [walk.keys[i] as K, walk.values.get(i) as V] };
  }

  /** Ends the iteration; `for...of` calls it when it is left early. */
  return(): IteratorResult<[K, V], undefined> {
    this.walk.stop();
    this.at = 0;
    this.count = 0;
    return { done: true, value: undefined };
  }

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
