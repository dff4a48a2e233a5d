/** Latencies: kept by the thread that measures them, summed up by the one that reports. */
import ringBuffer from 'ring-buffer-ts';

/** Newest latencies a thread keeps. */
const HISTORY = 200_000;

/** The newest latencies of one thread; its memory is bounded however long it runs. */
export class LatencyHistory {
  private readonly newest = new ringBuffer.RingBuffer<number>(HISTORY);

  add(milliseconds: number): void {
    this.newest.add(milliseconds);
  }

  /** A copy, oldest first. */
  toArray(): Float64Array {
    return Float64Array.from(this.newest.toArray());
  }
}

/** Milliseconds within which half, 99 % and 99.9 % of the commands were answered. */
export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

/** Percentiles over all histories, by nearest rank: each is a latency that was measured. 0 if there are none. */
export function percentiles(histories: readonly Float64Array[]): Percentiles {
  const all = new Float64Array(histories.reduce((total, { length }) => total + length, 0));
  let at = 0;
  for (const history of histories) {
    all.set(history, at);
    at += history.length;
  }
  all.sort();
  const rank = (share: number) => (all.length === 0 ? 0 : all[Math.max(0, Math.ceil(share * all.length) - 1)]);
  return { p50: rank(0.5), p99: rank(0.99), p999: rank(0.999) };
}
