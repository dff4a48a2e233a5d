/** How long commands took in the last second: the clients' histograms in shared memory, as they were then and are now. */
import type { StoreHandle } from 'sabtree';
import {
  LATENCY_BUCKETS,
  LATENCY_COUNTS,
  LATENCY_PERIOD_NUMBER,
  LATENCY_SIZE,
  LATENCY_WINDOW_SIZE,
  LATENCY_WINDOWS,
} from '../layout/latency.ts';
import { bucketEnd } from '../workers/latency.ts';
import { Streams } from '../workers/streams.ts';

/** Looks that are added up. */
const LOOKS = 4;

/** Microseconds; undefined if nothing was sampled. */
export interface Recent {
  readonly p50: number | undefined;
  readonly p99: number | undefined;
}

export class RecentLatency {
  private readonly streams: Streams;
  /** The histograms as they were seen last, one behind the other as in the memory. */
  private readonly seen: Int32Array;
  /** What came between the last looks. */
  private readonly steps: Float64Array[] = [];

  constructor(handle: StoreHandle) {
    this.streams = Streams.attach(handle.streams);
    this.seen = new Int32Array((this.streams.shape.clients * LATENCY_SIZE) >> 2);
    this.look();
    this.steps.length = 0;
  }

  /** Looks: a few times a second, in even steps. */
  look(): Recent {
    const { streams, seen, steps } = this;
    const step = new Float64Array(LATENCY_BUCKETS);
    const windows = streams.shape.clients * LATENCY_WINDOWS;
    for (let i = 0; i < windows; i++) {
      const own = (i * LATENCY_WINDOW_SIZE) >> 2;
      const there = (streams.latencyAt >> 2) + own;
      const period = LATENCY_PERIOD_NUMBER >> 2;
      // A window that stands for another period now was emptied before.
      const fresh = Atomics.load(streams.words, there + period) !== seen[own + period];
      seen[own + period] = streams.words[there + period];
      for (let bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
        const at = (LATENCY_COUNTS >> 2) + bucket;
        const count = streams.words[there + at];
        step[bucket] += Math.max(0, count - (fresh ? 0 : seen[own + at]));
        seen[own + at] = count;
      }
    }
    steps.push(step);
    if (steps.length > LOOKS) steps.shift();
    return { p50: this.percentile(0.5), p99: this.percentile(0.99) };
  }

  private percentile(part: number): number | undefined {
    const sums = new Float64Array(LATENCY_BUCKETS);
    let samples = 0;
    for (const step of this.steps) {
      for (let bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
        sums[bucket] += step[bucket];
        samples += step[bucket];
      }
    }
    if (samples === 0) return undefined;
    const rank = Math.max(1, Math.ceil(samples * part));
    let bucket = 0;
    for (let seen = sums[0]; seen < rank; seen += sums[bucket]) bucket++;
    return bucketEnd(bucket) / 1000;
  }
}
