/**
 * How long commands take, from when a client has encoded one until it takes the answer. Every client samples its own: at most
 * one of 64 commands, at a cost of some 2 ns for each, into histograms in the streams' memory, where the store finds them.
 */
import {
  LATENCY_BUCKETS,
  LATENCY_COUNTS,
  LATENCY_PERIOD,
  LATENCY_PERIOD_NUMBER,
  LATENCY_SIZE,
  LATENCY_UNIT,
  LATENCY_WINDOW_SIZE,
  LATENCY_WINDOWS,
} from '../layout/latency.ts';
import type { Streams } from './streams.ts';

/** Latencies of commands over the last minute, microseconds; each at most an eighth too large. Undefined without samples. */
export interface LatencyStats {
  /** Milliseconds that are looked at. */
  readonly windowMs: number;
  /** Commands sampled in them. */
  readonly samples: number;
  /** Median, microseconds; undefined without samples. */
  readonly p50: number | undefined;
  /** 90th percentile, microseconds. */
  readonly p90: number | undefined;
  /** 99th percentile, microseconds. */
  readonly p99: number | undefined;
  /** 99.9th percentile, microseconds. */
  readonly p999: number | undefined;
  /** Longest, microseconds. */
  readonly max: number | undefined;
}

/** One command of so many is sampled: a power of two. */
const SAMPLE = 64;

function periodNow(): number {
  return Math.floor(Date.now() / LATENCY_PERIOD) | 0;
}

/** The bucket of a duration. */
export function bucketOf(nanoseconds: number): number {
  const units = Math.min(0xffffffff, nanoseconds / LATENCY_UNIT) >>> 0;
  if (units < 8) return units;
  const exponent = 31 - Math.clz32(units);
  return (exponent - 2) * 8 + ((units >>> (exponent - 3)) & 7);
}

/** The longest duration of a bucket, nanoseconds. */
export function bucketEnd(bucket: number): number {
  if (bucket < 8) return (bucket + 1) * LATENCY_UNIT;
  return (9 + (bucket & 7)) * 2 ** ((bucket >>> 3) - 1) * LATENCY_UNIT;
}

/** One client's sampling. */
export class Sampler {
  private readonly words: Int32Array;
  private readonly base: number;
  /** The command that is being timed, and since when; 0 if none is. */
  private sequence = 0;
  private since = 0;

  constructor(streams: Streams, client: number) {
    this.words = streams.words;
    this.base = streams.latencyAt + client * LATENCY_SIZE;
  }

  /** A command was encoded. */
  begin(sequence: number): void {
    if ((sequence & (SAMPLE - 1)) !== 0 || this.since !== 0) return;
    this.sequence = sequence;
    this.since = performance.now();
  }

  /** A command was answered. */
  end(sequence: number): void {
    if (this.since === 0 || sequence !== this.sequence) return;
    this.record((performance.now() - this.since) * 1e6);
    this.since = 0;
  }

  /** What is being timed will not be answered. */
  drop(): void {
    this.since = 0;
  }

  record(nanoseconds: number): void {
    const { words } = this;
    const period = periodNow();
    const window = (this.base + (period % LATENCY_WINDOWS) * LATENCY_WINDOW_SIZE) >> 2;
    const counts = window + (LATENCY_COUNTS >> 2);
    if (words[window + (LATENCY_PERIOD_NUMBER >> 2)] !== period) {
      words.fill(0, counts, counts + LATENCY_BUCKETS);
      Atomics.store(words, window + (LATENCY_PERIOD_NUMBER >> 2), period);
    }
    words[counts + bucketOf(nanoseconds)]++;
  }
}

/** The latencies that all clients sampled in the last minute. */
export function latencies({ words, latencyAt, shape }: Streams): LatencyStats {
  const now = periodNow();
  const sums = new Float64Array(LATENCY_BUCKETS);
  let samples = 0;
  for (let client = 0; client < shape.clients; client++) {
    for (let i = 0; i < LATENCY_WINDOWS; i++) {
      const window = (latencyAt + client * LATENCY_SIZE + i * LATENCY_WINDOW_SIZE) >> 2;
      const age = now - Atomics.load(words, window + (LATENCY_PERIOD_NUMBER >> 2));
      if (age < 0 || age >= LATENCY_WINDOWS) continue;
      for (let bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
        const count = words[window + (LATENCY_COUNTS >> 2) + bucket];
        sums[bucket] += count;
        samples += count;
      }
    }
  }
  const at = (part: number) => {
    if (samples === 0) return undefined;
    const rank = Math.max(1, Math.ceil(samples * part));
    let bucket = 0;
    for (let seen = sums[0]; seen < rank; seen += sums[bucket]) bucket++;
    return bucketEnd(bucket) / 1000;
  };
  return {
    ...{ windowMs: LATENCY_PERIOD * LATENCY_WINDOWS, samples },
    ...{ p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: at(1) },
  };
}
