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

/** One entry of a tree. */
export type Entry = readonly [start: number, value: RangeValue];

/** The content that must be there, and how many commands of each client must have answered true. */
export interface Expected {
  readonly content: ReadonlyMap<number, RangeValue>;
  readonly changed: readonly number[];
}

/** Called while long work goes on, with how many steps were done since; what it returns is awaited. */
export type Pause = (steps: number) => Promise<void>;

/** Steps between two pauses: some milliseconds. */
const STRIDE = 8192;

/** Replays the commands of `reports.length` clients over the rows. One step per command. */
export async function expectedContent(
  ranges: Ranges,
  seed: number,
  reports: readonly ClientReport[],
  pause: Pause,
): Promise<Expected> {
  const content = new Map<number, RangeValue>();
  for (let i = 0; i < ranges.starts.length; i++) {
    content.set(ranges.starts[i], { end: ranges.ends[i], country: ranges.countries[i] });
  }
  const changed: number[] = [];
  let steps = 0;
  for (let client = 0; client < reports.length; client++) {
    const workload = new Workload(ranges, seed, client, reports.length);
    let yes = 0;
    for (let i = 0; i < reports[client].windows; i++) {
      for (const { kind, start, end, country } of workload.window()) {
        const there = content.has(start);
        if (kind === 'delete') content.delete(start);
        else if (there === (kind === 'update')) content.set(start, { end, country });
        if (there === (kind !== 'insert')) yes++;
        steps++;
      }
      if (steps >= STRIDE) {
        await pause(steps);
        steps = 0;
      }
    }
    changed.push(yes);
  }
  await pause(steps);
  return { content, changed };
}

/** The entries of a Map in the order of a tree. */
export function* inOrder(content: ReadonlyMap<number, RangeValue>): Generator<Entry> {
  for (const start of Uint32Array.from(content.keys()).sort()) yield [start, content.get(start) as RangeValue];
}

function same(a: Entry, b: Entry): boolean {
  return a[0] === b[0] && a[1].end === b[1].end && a[1].country === b[1].country;
}

function show(entry: Entry | undefined): string {
  return entry === undefined ? 'nothing more' : `${entry[0]} to ${entry[1].end} ${entry[1].country}`;
}

/** Compares entry by entry; the first difference in words, undefined if there is none. One step per entry. */
export async function firstDifference(
  found: Iterable<Entry>,
  expected: Iterable<Entry>,
  pause: Pause,
): Promise<string | undefined> {
  const its = found[Symbol.iterator]();
  let steps = 0;
  for (const entry of expected) {
    const next = its.next();
    if (next.done === true) return `found nothing more, expected ${show(entry)}`;
    if (!same(next.value, entry)) return `found ${show(next.value)}, expected ${show(entry)}`;
    if (++steps === STRIDE) {
      await pause(steps);
      steps = 0;
    }
  }
  const more = its.next();
  if (more.done !== true) return `found ${show(more.value)}, expected nothing more`;
  await pause(steps);
  return undefined;
}
