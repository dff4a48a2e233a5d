/**
 * How long commands took, as clients sample it: for each client WINDOWS histograms of one period each, used in turns.
 *
 * ```
 *   0        4                          1024
 *   +--------+--------------------------+---------
 *   | period | u32 counts[BUCKETS]      | next window
 *   +--------+--------------------------+---------
 * ```
 *
 * A bucket stands for 64 ns up to eight of them, and from there on for an eighth of a power of two.
 */
export const LATENCY_WINDOWS = 6;
/** Milliseconds of a period. */
export const LATENCY_PERIOD = 10000;
/** Number of the period that the window belongs to. */
export const LATENCY_PERIOD_NUMBER = 0;
export const LATENCY_COUNTS = 4;
export const LATENCY_BUCKETS = 240;
export const LATENCY_WINDOW_SIZE = 1024;
/** Bytes of a client's windows. */
export const LATENCY_SIZE = 6144;
/** Nanoseconds of the first bucket. */
export const LATENCY_UNIT = 64;
