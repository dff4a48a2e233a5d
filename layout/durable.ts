/**
 * What snapshots and the log say in shared memory, behind everything else of the streams.
 *
 * ```
 *   0                  64                       192              256                 320        384          640
 *   +------------------+------------------------+----------------+-------------------+----------+------------+
 *   | signal, sleeping | counters, doubles      | cut in the log | snapshot under    | (pad)    | why it     |
 *   |                  |                        |                | way               |          | failed     |
 *   +------------------+------------------------+----------------+-------------------+----------+------------+
 * ```
 *
 * In a store with a log each ring has one reader more, the log, whose cursor line stands behind the replicas'. Beside
 * the cursor stands the ring's *gate*: replicas take nothing that stands there or behind it.
 */

/** Futex the log's thread sleeps on. */
export const LOG_SIGNAL = 0;
/** 1 while it sleeps, or is about to. */
export const LOG_SLEEPING = 4;

/** First of the log's counters, doubles, written by its thread only. */
export const LOG_COUNTERS = 64;
/** Commands in the log, ever. */
export const LOG_COMMANDS = 0;
/** Bytes written since the newest snapshot: what a recovery would have to read. */
export const LOG_BEHIND = 1;
/** Number of the segment that is written. */
export const LOG_SEGMENT = 2;
/** Times the log was brought to the disk; the last time and the longest, microseconds. */
export const LOG_SYNCS = 3;
export const LOG_LAST_SYNC = 4;
export const LOG_LONGEST_SYNC = 5;
/** Frames written: each holds what came while the last one was written. */
export const LOG_FRAMES = 6;
/** Segments a recovery would have to read. */
export const LOG_SEGMENTS = 7;
/** Bytes written since the store was opened. */
export const LOG_WRITTEN = 8;
export const LOG_COUNTER_COUNT = 16;

/** Number of the newest snapshot's cut that the log has come past; the segment that begins there; commands before it (a double). */
export const LOG_CUT = 192;
export const LOG_CUT_SEGMENT = 196;
export const LOG_CUT_COMMANDS = 200;

/** A snapshot: number of its cut; who is copied; then, as that number: the replica stands there, it has been copied. */
export const SNAPSHOT_NUMBER = 256;
export const SNAPSHOT_SOURCE = 260;
export const SNAPSHOT_REACHED = 264;
export const SNAPSHOT_COPIED = 268;

/** Why the log failed: bytes of the text, u32, and the text in UTF-8. */
export const LOG_ERROR = 384;
export const LOG_ERROR_TEXT = 388;
export const DURABLE_SIZE = 640;
