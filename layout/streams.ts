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
/** Lowest bits of a key that do not count when its group is chosen. */
export const STREAMS_LOCAL_BITS = STREAMS_HEADER + 36;
/** 1 if replicas have to agree on what user-defined commands come to (workers/verdicts.ts). */
export const STREAMS_CALLS = STREAMS_HEADER + 48;
/** Number of the supervisor's thread, by which others see whether it lives (`threadToken`); 0 where nobody can tell. */
export const STREAMS_SUPERVISOR = STREAMS_HEADER + 40;
/** 1 if a log reads the streams too (see layout/durable.ts). */
export const STREAMS_LOGGED = STREAMS_HEADER + 44;
/** One of the STATE_ codes: where the store is in its life. On a line of its own, for it is read all the time. */
export const STREAMS_STATE = STREAMS_HEADER + 128;
/** Why the store failed, if it did: a FAILURE_ code. */
export const STREAMS_FAILURE = STREAMS_HEADER + 132;
/** Bit set of the replicas that are not lost. */
export const STREAMS_ALIVE = STREAMS_HEADER + 136;
/** The replica that answers; -1 while there is none. */
export const STREAMS_HOME = STREAMS_HEADER + 140;
/** Counts the losses of a home replica and the takeovers by turns: even while there is a home replica. */
export const STREAMS_EPOCH = STREAMS_HEADER + 144;

/** What happened so far, written by the supervisor (by clients: RESENT), for people to read. */
export const STREAMS_LOSSES = STREAMS_HEADER + 192;
export const STREAMS_FAILOVERS = STREAMS_HEADER + 196;
export const STREAMS_REBUILDS = STREAMS_HEADER + 200;
/** Commands that clients sent again. */
export const STREAMS_RESENT = STREAMS_HEADER + 204;
/** Longest and last pause from the loss of a home replica to the takeover, microseconds. */
export const STREAMS_PAUSE = STREAMS_HEADER + 208;
export const STREAMS_LONGEST_PAUSE = STREAMS_HEADER + 212;
/** Client slots taken back from threads that ended without closing their client. */
export const STREAMS_REAPED = STREAMS_HEADER + 216;
/** Tag of the comparison at which the replicas' contents first differed; 0 while they never did. */
export const STREAMS_DIVERGED = STREAMS_HEADER + 220;
/** Comparisons of the replicas' contents that found them equal. */
export const STREAMS_COMPARED = STREAMS_HEADER + 224;
/** The replica that cuts the stream into batches (execute-verify): the home replica, or the next one. */
export const STREAMS_CUTTER = STREAMS_HEADER + 232;
/** The newest home replica, also once it is lost; -1 when its tree has been emptied to rebuild it. */
export const STREAMS_LAST_HOME = STREAMS_HEADER + 236;
/** Bit set of the replicas that can take over: alive, and not about to be rebuilt. */
export const STREAMS_READY = STREAMS_HEADER + 228;

/**
 * A consistent cut, from which a replica is rebuilt; one at a time. Number of the cut's command; who is copied; who is
 * rebuilt; then what has been reached, as the cut's number: the source stands there, its content has been copied, the
 * new replica is loaded.
 */
export const CUT_NUMBER = STREAMS_HEADER + 256;
export const CUT_SOURCE = STREAMS_HEADER + 260;
export const CUT_TARGET = STREAMS_HEADER + 264;
export const CUT_REACHED = STREAMS_HEADER + 268;
export const CUT_COPIED = STREAMS_HEADER + 272;
export const CUT_LOADED = STREAMS_HEADER + 276;
/** Where the source's verification stands at the cut (execute-verify): cuts of the stream taken, tokens given. */
export const CUT_TAKEN = STREAMS_HEADER + 280;
export const CUT_TOKEN = STREAMS_HEADER + 284;
/** By replica: how often it was built. */
export const GENERATIONS = STREAMS_HEADER + 288;

/** Most slots of a ring that a replica takes aside while it is rebuilt (16 MiB). With those in the ring it may be that far behind. */
export const HOARD_SLOTS = 1 << 18;

/**
 * What replicas agreed on for a user-defined command: by group, a word for each position of WATCH_TAG_RINGS rings, so that no two
 * commands that are not decided yet share one. Above the verdict, how often the positions have gone round, plus 1.
 *
 * A replica that is rebuilt may be further behind. So the places of commands that were given up, which are rare, are noted beside
 * the words: how many were noted, and 64 bytes on the newest of them, each its position, its group plus 1 (0 while it is written),
 * and whether the log has it.
 */
export const VERDICT_DONE = 0;
export const VERDICT_GIVEN_UP = 1;
/** Places that are noted, a power of two; bytes of each, and of all of them. */
export const GIVEN_UP_PLACES = 1024;
export const GIVEN_UP_PLACE = 16;
export const GIVEN_UP_POSITION = 0;
export const GIVEN_UP_GROUP = 4;
export const GIVEN_UP_LOGGED = 8;
export const GIVEN_UP_FIRST = 64;
export const GIVEN_UP_SIZE = GIVEN_UP_FIRST + GIVEN_UP_PLACES * GIVEN_UP_PLACE;

/** Lock of the many-group append: 0, or the holder's code. */
export const MULTICAST_LOCK = 512;
/** Last multicast number given out; 0 is never given. Changed by the lock's holder only. */
export const MULTICAST_NUMBER = 576;
/** By group, what the lock's holder is about to claim, like CLIENT_CLAIM_GROUP; all 0 while nobody holds it. */
export const MULTICAST_CLAIMS = 640;
export const MULTICAST_CLAIM_SIZE = 12;
/**
 * The many-group commands that the lock's holder appends: how many (0 once all stand), then for each its number, its groups,
 * and its own group (with MANIFEST_RETRY: it is a retry). What a supervisor needs to complete them.
 */
export const MANIFEST_COUNT = 1024;
export const MANIFEST = 1088;
export const MANIFEST_ENTRY = 12;
/** Most many-group commands in one append. */
export const MANIFEST_MOST = 256;
export const MANIFEST_RETRY = 256;
/** First byte of the ring controls. */
export const RINGS = 4224;

export const STATE_STARTING = 0;
export const STATE_OPEN = 1;
/** The replicas' contents differ: reads are answered, writes refused. */
export const STATE_READ_ONLY = 2;
export const STATE_CLOSING = 3;
export const STATE_FAILED = 4;

export const FAILURE_NONE = 0;
/** A replica's memory is exhausted. */
export const FAILURE_MEMORY = 1;
/** An executor met an error of its own. */
export const FAILURE_EXECUTOR = 2;
/** A node's latch was never given back. */
export const FAILURE_LATCH = 3;
/** A thread was ended from outside. */
export const FAILURE_TERMINATED = 4;
/** It made no progress for longer than the limit. */
export const FAILURE_STALLED = 5;
/** It differed from most replicas. */
export const FAILURE_DIVERGED = 6;
/** It could not be rebuilt. */
export const FAILURE_REBUILD = 7;
/** The log could not be written. */
export const FAILURE_LOG = 16;

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
/** First of the readers' cursors, one line per replica and one for the log: everything before it may be overwritten. */
export const RING_CURSORS = 256;
/** Behind the log's cursor, on its line: the gate, before which everything is in the log. */
export const CURSOR_GATE = 4;

/** Most replicas: they are a bit set in one word, and divergence needs no more. */
export const MAX_REPLICAS = 8;

/**
 * An executor's words.
 *
 * ```
 *   0        64                    128        192                 256        320       384
 *   +--------+---------------------+----------+-------------------+----------+---------+------------+
 *   | signal | standing, area      | released | state, thread     | counters | digest  | comparison |
 *   +--------+---------------------+----------+-------------------+----------+---------+------------+
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
/** Moves whenever the thread goes round its loop. */
export const EXECUTOR_BEAT = 204;
/** Of thread 0: address of the replica's directory of kept answers (see engine/core/kept.ts), 0 if nothing is kept. */
export const EXECUTOR_KEPT = 200;
/** The thread's id in its replica's tree. */
export const EXECUTOR_TREE_THREAD = 196;
/** First of the counters, doubles, written by the executor only. */
export const EXECUTOR_COUNTERS = 256;
export const EXECUTOR_SIZE = 448;

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
/** Commands that came a second time and were not carried out again. */
export const COUNTER_SUPPRESSED = 7;
export const COUNTERS = 8;

/**
 * Digest and count that a replica had at the newest OP_DIGEST, on the lines of its executor 0 behind the counters.
 */
export const EXECUTOR_DIGEST_NUMBER = 320;
export const EXECUTOR_DIGEST_LOW = 324;
export const EXECUTOR_DIGEST_HIGH = 328;
export const EXECUTOR_DIGEST_COUNT = 332;
/** The same at the newest OP_COMPARE. */
export const EXECUTOR_COMPARE_NUMBER = 384;
export const EXECUTOR_COMPARE_LOW = 388;
export const EXECUTOR_COMPARE_HIGH = 392;
export const EXECUTOR_COMPARE_COUNT = 396;

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
/** One of the CLIENT_ states. */
export const CLIENT_STATE = 0;
/** Counts the clients that have used this slot. */
export const CLIENT_GENERATION = 4;
/** Ring (group + 1) that the client is about to claim in, 0 if none: what a supervisor needs to mend a claim left open. */
export const CLIENT_CLAIM_GROUP = 8;
/** In the same word: the claim has come about; the run is published. */
export const CLAIM_MADE = 256;
export const CLAIM_PUBLISHED = 512;
export const CLIENT_CLAIM_POSITION = 12;
export const CLIENT_CLAIM_SLOTS = 16;
/** The sequence number the slot's next client begins with: beyond all that were sent. */
export const CLIENT_SEQUENCE = 20;
/** What the platform calls the client's thread, so that the supervisor can see whether it lives; 0 if it cannot be told. */
export const CLIENT_THREAD = 24;
/** By replica: the client's thread id in the replica's tree, one byte each; 0 if it is not attached. */
export const CLIENT_TREE_THREADS = 28;
/** Number of a command; the client has the answers to all before it. */
export const CLIENT_ANSWERED = 36;
/** How a read of one state stands (workers/reading.ts): 0, or one of the READ_ codes; also a futex. */
export const CLIENT_READ = 40;
/** Futex the client sleeps on. */
export const CLIENT_SIGNAL = 64;
/** 1 while it sleeps, or is about to. */
export const CLIENT_SLEEPING = 68;
/** First of the reply rings' write positions (bytes, modulo 2^32), one line per executor. */
export const CLIENT_WRITTEN = 128;

/** The home replica stands for it; the replica has gone on without waiting for it any longer. */
export const READ_STANDS = 1;
export const READ_OVER = 2;

export const CLIENT_FREE = 0;
export const CLIENT_USED = 1;
/** Its thread is gone, or left early: free once all it sent has been executed. */
export const CLIENT_LEAVING = 2;

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
