/**
 * The sequential specification: what operations answer, and what they do to the entries. Operations on one key (*point*
 * operations) go from a value to a value; those on several (*wide* ones) are known by what their answers say of each key.
 */
import type { RangeOptions } from '../../dist/index.js';
import { type Key, type Operation, toJson } from './history.ts';

export const POINT_OPS = new Set(['get', 'has', 'put', 'insert', 'update', 'delete', 'compareAndSet', 'add']);
export const READ_OPS = new Set('get has floor ceiling lower higher first last range count getAll'.split(' '));

/** What an operation asks of several keys at once, and does to them. */
export interface Wide {
  /** Values that have to be there; undefined: absent. */
  readonly needs: ReadonlyMap<Key, unknown>;
  readonly puts: ReadonlyMap<Key, unknown>;
  /** Keys of which exactly `present` have to be there. */
  readonly counted: Iterable<Key>;
  readonly present: number | undefined;
}

export const NOTHING: Wide = { needs: new Map(), puts: new Map(), counted: [], present: undefined };
/** Of an answer that no state at all gives. */
const IMPOSSIBLE: Wide = { ...NOTHING, present: -1 };

/** Whether an operation's answer says that it changed nothing. */
export function isIdle({ op, result, return: end }: Operation): boolean {
  return end !== null && (READ_OPS.has(op) || (result === false && op !== 'put'));
}

/** The range that an operation asks for, if it does: floor(7) is the last entry up to 7. */
function rangeOf({ op, key }: Operation): RangeOptions<Key> | undefined {
  if (op === 'range') return (key ?? {}) as RangeOptions<Key>;
  if (op === 'first') return { limit: 1 };
  if (op === 'last') return { reverse: true, limit: 1 };
  if (op === 'floor') return { lte: key as Key, reverse: true, limit: 1 };
  if (op === 'lower') return { lt: key as Key, reverse: true, limit: 1 };
  if (op === 'ceiling') return { gte: key as Key, limit: 1 };
  if (op === 'higher') return { gt: key as Key, limit: 1 };
  return undefined;
}

function within(key: Key, { gt, gte, lt, lte }: RangeOptions<Key>): boolean {
  return (
    (gt === undefined || key > gt) &&
    (gte === undefined || key >= gte) &&
    (lt === undefined || key < lt) &&
    (lte === undefined || key <= lte)
  );
}

/** The entries that a range or neighbour was answered. */
function entriesOf({ op, result }: Operation): readonly (readonly [Key, unknown])[] {
  if (op === 'range') return result as readonly (readonly [Key, unknown])[];
  return result === undefined ? [] : [result as readonly [Key, unknown]];
}

/** @param keys all keys of the history, ascending. */
export function wideOf(operation: Operation, keys: readonly Key[]): Wide {
  const { op, key, value, result } = operation;
  if (op === 'count') return { ...NOTHING, counted: keys, present: result as number };
  const asked = rangeOf(operation);
  if (asked !== undefined) return scanOf(entriesOf(operation), asked, keys);
  const columns = key as readonly Key[];
  if (op === 'putAll') {
    const puts = new Map(columns.map((one, i) => [one, (value as unknown[])[i]]));
    return { ...NOTHING, puts, counted: puts.keys(), present: puts.size - (result as number) };
  }
  const values = result as unknown[];
  const needs = new Map(columns.map((one, i) => [one, values[i]]));
  // A key asked twice is answered twice the same.
  const fits = values.length === columns.length && columns.every((one, i) => sameValue(needs.get(one), values[i]));
  return fits ? { ...NOTHING, needs } : IMPOSSIBLE;
}

/** What a range says of its keys: those answered were there, those it passed over were not. */
function scanOf(entries: readonly (readonly [Key, unknown])[], asked: RangeOptions<Key>, keys: readonly Key[]): Wide {
  const inside = keys.filter((key) => within(key, asked));
  if (asked.reverse) inside.reverse();
  const needs = new Map<Key, unknown>();
  let next = 0;
  for (const key of inside) {
    if (next === (asked.limit ?? Number.POSITIVE_INFINITY)) break;
    const [found, value] = entries[next] ?? [];
    needs.set(key, found === key ? value : undefined);
    if (found === key) next++;
  }
  // Entries left: out of bounds, out of order, or too many.
  return next === entries.length && entries.every(([, value]) => value !== undefined)
    ? { ...NOTHING, needs }
    : IMPOSSIBLE;
}

/** Every key that the history names. */
export function keysOf(history: readonly Operation[], initial: ReadonlyMap<Key, unknown>): Key[] {
  const keys = new Set(initial.keys());
  for (const operation of history) {
    const { op, key } = operation;
    if (POINT_OPS.has(op)) keys.add(key as Key);
    else if (op === 'getAll' || op === 'putAll') for (const one of key as Key[]) keys.add(one);
    else if (op !== 'count') for (const [one] of entriesOf(operation)) keys.add(one);
  }
  return [...keys].sort((a, b) => (a < b ? -1 : 1));
}

/** A value's stand-in, such that equal bits are equal in a Map. */
function nameOfValue(value: unknown): unknown {
  return Object.is(value, -0) || typeof value === 'object' ? toJson(value) : value;
}

function sameValue(a: unknown, b: unknown): boolean {
  return Object.is(nameOfValue(a), nameOfValue(b));
}

/** Numbers of values: an absent entry, two answers, and no value. */
export const ABSENT = 0;
const FALSE = 1;
const TRUE = 2;
export const MISFIT = -1;

/** A point operation; values are numbers. */
export interface Point {
  readonly operation: Operation;
  readonly unknown: boolean;
  /** What it writes. */
  readonly value: number;
  /** Of compareAndSet. */
  readonly expected: number;
  readonly result: number;
}

export type Plus = (a: never, b: never) => unknown;

/** Of numbers, and of i64. */
function plain(a: unknown, b: unknown): unknown {
  return typeof a === 'bigint' ? BigInt.asIntN(64, a + (b as bigint)) : (a as number) + (b as number);
}

/** Numbers for values, equal for equal ones, and what point operations make of them. */
export class Values {
  private readonly numbers = new Map<unknown, number>();
  private readonly list: unknown[] = [];
  private readonly plus: Plus;

  constructor(plus: Plus = plain) {
    this.plus = plus;
    for (const first of [undefined, false, true]) this.number(first);
  }

  number(value: unknown): number {
    const name = nameOfValue(value);
    let number = this.numbers.get(name);
    if (number === undefined) {
      number = this.list.length;
      this.list.push(value);
      this.numbers.set(name, number);
    }
    return number;
  }

  of(number: number): unknown {
    return this.list[number];
  }

  /** What an operation leaves of the value it found, or MISFIT if it would have been answered otherwise. */
  effect(point: Point, found: number): number {
    const there = found !== ABSENT;
    let left = found;
    let says = there ? TRUE : FALSE;
    switch (point.operation.op) {
      case 'get':
        says = found;
        break;
      case 'put':
        left = point.value;
        says = there ? FALSE : TRUE;
        break;
      case 'insert':
        if (!there) left = point.value;
        says = there ? FALSE : TRUE;
        break;
      case 'update':
        if (there) left = point.value;
        break;
      case 'delete':
        left = ABSENT;
        break;
      case 'compareAndSet':
        says = there && found === point.expected ? TRUE : FALSE;
        if (says === TRUE) left = point.value;
        break;
      case 'add': {
        const by = point.operation.value;
        const before = this.of(found) ?? (typeof by === 'bigint' ? 0n : 0);
        left = this.number(this.plus(before as never, by as never));
        says = found;
        break;
      }
    }
    return point.unknown || says === point.result ? left : MISFIT;
  }
}
