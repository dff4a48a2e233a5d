/** What the store must hold, computed apart: a plain Map, and the clients' commands made once more from their seeds. */
import type { Ranges, RangeValue } from './ranges.ts';
import { Workload } from './workload.ts';

/** What a client says it did. */
export interface ClientReport {
  /** Windows whose commands were all answered. */
  readonly windows: number;
  /** Commands that answered true. */
  readonly changed: number;
}

/** The content that must be there, and how many commands of each client must have answered true. */
export interface Expected {
  readonly content: Map<number, RangeValue>;
  readonly changed: readonly number[];
}

/** Replays `reports.length` clients' commands over the rows. */
export function expectedContent(ranges: Ranges, seed: number, reports: readonly ClientReport[]): Expected {
  const content = new Map<number, RangeValue>();
  for (let i = 0; i < ranges.starts.length; i++) {
    content.set(ranges.starts[i], { end: ranges.ends[i], country: ranges.countries[i] });
  }
  const changed = reports.map(({ windows }, client) => {
    const workload = new Workload(ranges, seed, client, reports.length);
    let yes = 0;
    for (let i = 0; i < windows; i++) {
      for (const { kind, start, end, country } of workload.window()) {
        const there = content.has(start);
        if (kind === 'delete') content.delete(start);
        else if (there === (kind === 'update')) content.set(start, { end, country });
        if (there === (kind !== 'insert')) yes++;
      }
    }
    return yes;
  });
  return { content, changed };
}

/** The first difference between the entries of a tree and the content that must be there; undefined if there is none. */
export function firstDifference(
  entries: Iterable<readonly [number, RangeValue]>,
  content: ReadonlyMap<number, RangeValue>,
): string | undefined {
  const keys = Uint32Array.from(content.keys()).sort();
  let i = 0;
  for (const [key, { end, country }] of entries) {
    if (i === keys.length || key !== keys[i]) return `key ${key} is there, ${keys[i] ?? 'nothing'} should be`;
    const value = content.get(key) as RangeValue;
    if (value.end !== end || value.country !== country) {
      return `key ${key} holds ${end} ${country}, should hold ${value.end} ${value.country}`;
    }
    i++;
  }
  return i === keys.length ? undefined : `key ${keys[i]} is missing`;
}
