/**
 * The commands that a client gives, made from a seed: the client sends them, and the oracle makes them again and applies
 * them to a plain Map. Each client writes only keys of its own (its ranges, and points inside them), so what its commands
 * answer depends on nobody else.
 */
import type { Ranges } from './ranges.ts';

/** Commands that are sent together. */
export const WINDOW = 64;
/** Direct lookups between two windows: nine of ten operations are lookups. */
export const LOOKUPS = 9 * WINDOW;

/** One command. */
export interface Change {
  readonly kind: 'update' | 'insert' | 'delete';
  /** Index of the row it belongs to; `start` is that row's, or a point inside it. */
  readonly row: number;
  readonly start: number;
  readonly end: number;
  readonly country: string;
}

const COUNTRIES = ['AQ', 'BV', 'HM', 'TF', 'GS', 'UM', 'XK', 'ZZ'];

/** Marsaglia's xorshift, 32 bits. */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) | 1;
    for (let i = 0; i < 8; i++) this.next();
  }

  /** An integer from 0 to 2^32 - 1. */
  next(): number {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x;
    return x >>> 0;
  }

  /** An integer from 0 to n - 1. */
  below(n: number): number {
    return this.next() % n;
  }
}

/** The rows a client owns, by index. */
export function ownRows(rows: number, client: number, clients: number): number[] {
  const own: number[] = [];
  for (let i = client; i < rows; i += clients) own.push(i);
  return own;
}

/** The endless sequence of a client's commands. */
export class Workload {
  private readonly ranges: Ranges;
  private readonly own: readonly number[];
  private readonly random: Random;

  constructor(ranges: Ranges, seed: number, client: number, clients: number) {
    this.ranges = ranges;
    this.own = ownRows(ranges.starts.length, client, clients);
    this.random = new Random(seed + 7919 * client);
  }

  /**
   * The next window: half updates of the country, a fifth deletes, a fifth inserts of what may be missing, a tenth new
   * ranges that begin inside another one, or their end. A new range is often corrected at once: so commands meet on
   * one key while the first of them may still be deferred.
   */
  window(): Change[] {
    const { ranges, own, random } = this;
    const changes: Change[] = [];
    while (changes.length < WINDOW) {
      const row = own[random.below(own.length)];
      const start = ranges.starts[row];
      const end = ranges.ends[row];
      const country = COUNTRIES[random.below(COUNTRIES.length)];
      const dice = random.below(10);
      if (dice < 5) changes.push({ kind: 'update', row, start, end, country });
      else if (dice < 7) changes.push({ kind: 'delete', row, start, end, country });
      else if (dice < 9) changes.push({ kind: 'insert', row, start, end, country: ranges.countries[row] });
      else if (end > start) {
        const middle = start + 1 + random.below(Math.min(end - start, 64));
        const kind = random.below(2) === 0 ? 'insert' : 'delete';
        changes.push({ kind, row, start: middle, end, country });
        if (kind === 'insert' && changes.length < WINDOW && random.below(2) === 0) {
          changes.push({ kind: 'update', row, start: middle, end, country: ranges.countries[row] });
        }
      }
    }
    return changes;
  }
}
