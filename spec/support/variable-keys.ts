/** Keys that vary in length, in families that are hard on a slotted node; and what order they must come in. */
import type { Random } from './random.ts';

/** Order of bytes, one after another: what the tree promises for strings (as UTF-8), bytes and tuples. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length && i < b.length; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return a.length - b.length;
}

const LONGEST = 1024;

function bytes(random: Random, length: number, alphabet: number): number[] {
  return Array.from({ length }, () => random.below(alphabet));
}

/** Draws keys of bytes; each family is a way in which keys may be alike. */
export const FAMILIES: Readonly<Record<string, (random: Random) => () => Uint8Array>> = {
  short: (random) => () => Uint8Array.from(bytes(random, random.below(4), 4)),
  zeros: (random) => () => Uint8Array.from(bytes(random, random.below(12), 2)),
  'any length': (random) => () => Uint8Array.from(bytes(random, random.below(LONGEST + 1), 256)),
  longest: (random) => () => Uint8Array.from(bytes(random, LONGEST, 2)),
  'one long prefix': (random) => {
    const prefix = bytes(random, 1010, 256);
    return () => Uint8Array.from([...prefix, ...bytes(random, random.below(15), 3)]);
  },
  'clusters with long prefixes, and outliers': (random) => {
    const prefixes = Array.from({ length: 6 }, () => bytes(random, 1000 - random.below(100), 3));
    return () => {
      if (random.chance(0.1)) return Uint8Array.from(bytes(random, random.below(3), 4));
      return Uint8Array.from([...random.pick(prefixes), ...bytes(random, random.below(24), 256)]);
    };
  },
  'prefixes of one another': (random) => {
    const whole = bytes(random, LONGEST, 2);
    return () => {
      const key = whole.slice(0, random.below(LONGEST + 1));
      if (key.length > 0 && random.chance(0.3)) key[key.length - 1] ^= 1;
      return Uint8Array.from(key);
    };
  },
  ascending: () => {
    let n = 0;
    return () => new TextEncoder().encode(`2026-11-24T${String(n++ % 4000).padStart(9, '0')}`);
  },
};

/** A map kept as the obvious thing: a sorted array of [key, value]. */
export class SortedEntries {
  entries: [Uint8Array, number][] = [];

  private place(key: Uint8Array): { at: number; found: boolean } {
    let low = 0;
    let high = this.entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compareBytes(this.entries[middle][0], key) < 0) low = middle + 1;
      else high = middle;
    }
    return { at: low, found: low < this.entries.length && compareBytes(this.entries[low][0], key) === 0 };
  }

  get(key: Uint8Array): number | undefined {
    const { at, found } = this.place(key);
    return found ? this.entries[at][1] : undefined;
  }

  put(key: Uint8Array, value: number): boolean {
    const { at, found } = this.place(key);
    this.entries.splice(at, found ? 1 : 0, [key, value]);
    return !found;
  }

  delete(key: Uint8Array): boolean {
    const { at, found } = this.place(key);
    if (found) this.entries.splice(at, 1);
    return found;
  }

  /** Entries from `from` on (or behind it), up to `to` (or before it). */
  between(
    from: Uint8Array | undefined,
    fromOut: boolean,
    to: Uint8Array | undefined,
    toOut: boolean,
  ): [Uint8Array, number][] {
    return this.entries.filter(([key]) => {
      const below = from === undefined ? 1 : compareBytes(key, from);
      const above = to === undefined ? -1 : compareBytes(key, to);
      return (below > 0 || (below === 0 && !fromOut)) && (above < 0 || (above === 0 && !toOut));
    });
  }
}
