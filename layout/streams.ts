/**
 * The memory of the streams (one SharedArrayBuffer for a store): control words, group rings, clients' reply rings.
 *
 * ```
 *   0     64      512            ringsAt          executorsAt         clientsAt       publicationsAt   slotsAt   repliesAt
 *   +-----+-------+--------------+----------------+-------------------+---------------+----------------+---------+--------
 *   |guard|header | multicast    | ring controls  | executors         | clients       | u32 per slot   | slots   | replies
 *   |     |       | lock, number | [groups]       | [replicas][exec.] | [clients]     | [groups][slots]| ...     | ...
 *   +-----+-------+--------------+----------------+-------------------+---------------+----------------+---------+--------
 * ```
 *
 * All words are 32 bits wide and little-endian. Words that different threads write stand on different cache lines.
 */

/** Marks initialised streams: "sbs1". */
export const STREAMS_MAGIC = 0x31736273;

export const STREAMS_HEADER = 64;
export const STREAMS_MAGIC_WORD = STREAMS_HEADER + 0;
export const STREAMS_LAYOUT_VERSION = STREAMS_HEADER + 4;
export const STREAMS_GROUPS = STREAMS_HEADER + 8;
export const STREAMS_EXECUTORS = STREAMS_HEADER + 12;
export const STREAMS_REPLICAS = STREAMS_HEADER + 16;
export const STREAMS_CLIENTS = STREAMS_HEADER + 20;
/** Slots of each ring, a power of two. */
export const STREAMS_RING_SLOTS = STREAMS_HEADER + 24;
/** Bytes of each reply ring, a power of two. */
export const STREAMS_REPLY_BYTES = STREAMS_HEADER + 28;
/** Position at which all rings began. */
export const STREAMS_START = STREAMS_HEADER + 32;
/** One of the STATE_ codes: where the store is in its life. On a line of its own, for it is read all the time. */
export const STREAMS_STATE = STREAMS_HEADER + 128;
/** Why the store failed, if it did: a FAILURE_ code. */
export const STREAMS_FAILURE = STREAMS_HEADER + 132;
/** Bit set of the replicas that are not lost. */
export const STREAMS_ALIVE = STREAMS_HEADER + 136;
/** The replica that answers. */
export const STREAMS_HOME = STREAMS_HEADER + 140;

/** Lock of the many-group append: 0, or the holder's code. */
export const MULTICAST_LOCK = 512;
/** Last multicast number given out; 0 is never given. Changed by the lock's holder only. */
export const MULTICAST_NUMBER = 576;
/** First byte of the ring controls. */
export const RINGS = 640;

export const STATE_STARTING = 0;
export const STATE_OPEN = 1;
export const STATE_CLOSING = 2;
export const STATE_FAILED = 3;

export const FAILURE_NONE = 0;
/** A replica's memory is exhausted. */
export const FAILURE_MEMORY = 1;
/** An executor met an error of its own. */
export const FAILURE_EXECUTOR = 2;
/** A node's latch was never given back. */
export const FAILURE_LATCH = 3;

/**
 * Control of one ring. Positions count slots and wrap modulo 2^32.
 *
 * ```
 *   0        64             128         192                     256
 *   +--------+--------------+-----------+-----------------------+---------------------+---
 *   | claim  | last marker  | sleepers  | room waiters, signal  | cursor of replica 0 | ...
 *   +--------+--------------+-----------+-----------------------+---------------------+---
 * ```
 */
/** Next position to be claimed. */
export const RING_CLAIM = 0;
/** Position of the newest published marker that went to every group. */
export const RING_LAST_MARKER = 64;
/** Bit set of the replicas whose reader sleeps. */
export const RING_SLEEPERS = 128;
/** 1 if some client waits for room. */
export const RING_ROOM_WAITERS = 192;
/** Futex for them. */
export const RING_ROOM_SIGNAL = 196;
/** First of the readers' cursors, one line per replica: everything before it may be overwritten. */
export const RING_CURSORS = 256;

/** Most replicas: they are a bit set in one word, and divergence needs no more. */
export const MAX_REPLICAS = 8;

/**
 * An executor's words.
 *
 * ```
 *   0        64                    128        192                 256          384
 *   +--------+---------------------+----------+-------------------+------------+
 *   | signal | standing, deferral  | released | state             | counters   |
 *   +--------+---------------------+----------+-------------------+------------+
 * ```
 */
/** Futex the executor sleeps on. */
export const EXECUTOR_SIGNAL = 0;
/** 1 while it sleeps, or is about to, at a barrier. */
export const EXECUTOR_PARKED = 4;
/** Multicast number of the sync point it stands at. */
export const EXECUTOR_STANDING = 64;
/** Address of what it shares with its replica's other threads (a deferral list, a queue), in the replica's memory; 0 if nothing. */
export const EXECUTOR_AREA = 68;
/** Multicast number of the last sync point it was let go from. */
export const EXECUTOR_RELEASED = 128;
/** One of the EXECUTOR_ states. */
export const EXECUTOR_STATE = 192;
/** First of the counters, doubles, written by the executor only. */
export const EXECUTOR_COUNTERS = 256;
export const EXECUTOR_SIZE = 384;

export const EXECUTOR_STARTING = 0;
export const EXECUTOR_RUNNING = 1;
export const EXECUTOR_STOPPED = 2;

/** Indices of the counters. */
export const COUNTER_COMMANDS = 0;
export const COUNTER_REFUSED = 1;
export const COUNTER_DEFERRED = 2;
export const COUNTER_RETRIED = 3;
export const COUNTER_SYNC_POINTS = 4;
export const COUNTER_BATCHES = 5;
export const COUNTER_PARKS = 6;
export const COUNTERS = 8;

/**
 * Digest and count that a replica had at the newest OP_DIGEST, on the lines of its executor 0 behind the counters.
 */
export const EXECUTOR_DIGEST_NUMBER = 320;
export const EXECUTOR_DIGEST_LOW = 324;
export const EXECUTOR_DIGEST_HIGH = 328;
export const EXECUTOR_DIGEST_COUNT = 332;

/**
 * A client's words. For each executor there is a reply ring with one writer (that executor of the home replica) and
 * one reader (the client), so nobody has to claim. The client never has more replies outstanding than fit, so the
 * executor never has to look for room.
 *
 * ```
 *   0                        64                      128             192
 *   +------------------------+-----------------------+---------------+---------------+---
 *   | state, generation      | signal, sleeping      | written by    | written by    | ...
 *   | claim announcement     |                       | executor 0    | executor 1    |
 *   +------------------------+-----------------------+---------------+---------------+---
 * ```
 */
/** 0 free, 1 in use. */
export const CLIENT_STATE = 0;
/** Counts the clients that have used this slot. */
export const CLIENT_GENERATION = 4;
/** Ring (group + 1) that the client is about to claim in, 0 if none: what a supervisor needs to mend a claim left open. */
export const CLIENT_CLAIM_GROUP = 8;
export const CLIENT_CLAIM_POSITION = 12;
export const CLIENT_CLAIM_SLOTS = 16;
/** Futex the client sleeps on. */
export const CLIENT_SIGNAL = 64;
/** 1 while it sleeps, or is about to. */
export const CLIENT_SLEEPING = 68;
/** First of the reply rings' write positions (bytes, modulo 2^32), one line per executor. */
export const CLIENT_WRITTEN = 128;

export const CLIENT_FREE = 0;
export const CLIENT_USED = 1;

/**
 * What the replicas of an execute-verify store tell each other, behind the reply rings: where the home replica cut the
 * stream into batches, how far each replica has taken these cuts, and what each batch came to.
 *
 * ```
 *   0           64                        576               832
 *   +-----------+-------------------------+-----------------+---------------------------------
 *   | cuts made | cuts taken, by replica  | cuts, positions | tokens [replicas][VERIFY_PLACES]
 *   +-----------+-------------------------+-----------------+---------------------------------
 * ```
 */
export const VERIFY_MADE = 0;
export const VERIFY_TAKEN = 64;
export const VERIFY_CUTS = VERIFY_TAKEN + MAX_REPLICAS * 64;
/** Batches that the home replica may be ahead; a power of two. */
export const VERIFY_PLACES = 64;
export const VERIFY_TOKENS = VERIFY_CUTS + VERIFY_PLACES * 4;
/** A token: number of the batch plus 1; content digest and digest of the answers, two words each. */
export const TOKEN_NUMBER = 0;
export const TOKEN_STATE = 8;
export const TOKEN_ANSWERS = 16;
export const TOKEN_SIZE = 32;
