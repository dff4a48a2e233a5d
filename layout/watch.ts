/**
 * The watchers' part of the streams' memory: who watches, how far each replica has got, and the log of changes, which is
 * shared by all watchers and written by whichever replica executes a command first (workers/change-log.ts).
 *
 * ```
 *   0        64         128    192            256              progressAt         sweptAt   tagsAt              logAt
 *   +--------+----------+------+--------------+----------------+------------------+---------+-------------------+-------
 *   | active | sleepers | lock | head,        | watchers       | progress         | swept   | tags              | log
 *   |        | blocked, |      | marked       | [MAX_WATCHERS] | [replica][group] | [group] | [group][4 rings]  | bytes
 *   |        | standing |      |              |                |                  |         |                   |
 *   +--------+----------+------+--------------+----------------+------------------+---------+-------------------+-------
 * ```
 *
 * Offsets are relative to where this part begins. Positions in the log count bytes and wrap modulo 2^32.
 */

/** Bit set of the watchers there are, u32: the one word that executors look at when nobody watches. */
export const WATCH_ACTIVE = 0;
/** 1 if this store cannot be watched, because its replicas execute in an order that nobody knows (a blind mixer). */
export const WATCH_REFUSED = 4;
/** Bit set of the watchers that sleep, u32. */
export const WATCH_SLEEPERS = 64;
/** Bit set of the replicas of which a thread waits for room in the log, u32. */
export const WATCH_BLOCKED = 68;
/** Bit set of the replicas that stand for a reader, u32 (workers/reading.ts). */
export const WATCH_STANDING = 72;
/** Lock of the log: 0, or the holder's code. */
export const WATCH_LOCK = 128;
/** Behind the last change that can be read. */
export const WATCH_HEAD = 192;
/** Changes before it are entered in the tags. */
export const WATCH_MARKED = 200;
/** First of the watchers. */
export const WATCHERS = 256;
/** Most watchers: they are a bit set in one word. */
export const MAX_WATCHERS = 32;
/** Bytes of a watcher's words: a cache line. */
export const WATCHER_SIZE = 64;
/** 0 if it is free; otherwise the number of the client that it belongs to, plus 1. */
export const WATCHER_CLIENT = 0;
/** 1 if the log waits for it, 0 if it may be overtaken, 2 once it was. */
export const WATCHER_WAITS = 4;
/** Up to where it has read the log. */
export const WATCHER_CURSOR = 8;
/** Futex it sleeps on. */
export const WATCHER_SIGNAL = 12;

/**
 * By replica and group, a position of the group's stream, u32: everything before it has been executed in the replica, and its
 * changes are in the log, for as long as anybody watched.
 */
export const WATCH_PROGRESS = 2304;
/** Bytes of one replica's: a word for each group there may be. */
export const WATCH_PROGRESS_SIZE = 128;
/** By group, where its ring was claimed when old tags were last looked for, u32; MAX_REPLICAS times the above behind WATCH_PROGRESS. */
export const WATCH_SWEPT = 3328;
/** First of the tags; one word for each group there may be behind WATCH_SWEPT. */
export const WATCH_TAGS = 3456;
/**
 * Tags of a group, as multiples of its ring's slots: the word of a position holds the position once its changes are in the
 * log. No two commands that are executed and not yet passed by any progress are that far apart.
 */
export const WATCH_TAG_RINGS = 4;

/**
 * A change, in the log and in an executor's list of what it has not entered there yet.
 *
 * ```
 *   0       4      8       12         16           20             24
 *   +-------+------+-------+----------+------------+--------------+-----------------------+------------------------
 *   | bytes | type | group | position | key length | value length | key, padded to 8      | value, padded to 8
 *   +-------+------+-------+----------+------------+--------------+-----------------------+------------------------
 * ```
 */
/** Bytes of the whole change, a multiple of 8, u32. */
export const CHANGE_BYTES = 0;
/** One of the CHANGE_ types, u32. */
export const CHANGE_TYPE = 4;
/** Where the command stood: its group, and its position in that group's stream, u32 each. */
export const CHANGE_GROUP = 8;
export const CHANGE_POSITION = 12;
/** Bytes of the key and of the value. */
export const CHANGE_KEY_LENGTH = 16;
export const CHANGE_VALUE_LENGTH = 20;
/** First byte of the key, in stored order. */
export const CHANGE_KEY = 24;

export const CHANGE_PUT = 1;
export const CHANGE_DELETE = 2;
