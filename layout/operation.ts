/**
 * An operation on the tree as bytes: what a command looks like in a ring, and what the core applies in batches.
 * A record fills one or more whole slots of a cache line; the first one begins with this header.
 *
 * ```
 *   0      1       2       4         8          12     16        20       24        32
 *   +------+-------+-------+---------+----------+------+---------+--------+---------+------------------------
 *   | op   | flags | slots | client  | sequence | run  | number  | groups | key     | value, expected value
 *   +------+-------+-------+---------+----------+------+---------+--------+---------+------------------------
 * ```
 */

/** Bytes of a slot. */
export const SLOT = 64;

/** One of the OP_ codes, u8. */
export const OPERATION_CODE = 0;
/** OPERATION_ flags, u8. */
export const OPERATION_FLAGS = 1;
/** Slots this record fills, u16. */
export const OPERATION_SLOTS = 2;
/** Client that waits for the reply, u32. */
export const OPERATION_CLIENT = 4;
/** The client's own number for this command, u32, wrapping. */
export const OPERATION_SEQUENCE = 8;
/** In the first record of a run: slots published together with it, u32. */
export const OPERATION_RUN = 12;
/** Multicast number of a many-group command, u32, wrapping; not used by one-group commands. */
export const OPERATION_NUMBER = 16;
/** Bit set of the groups a many-group command went to, u32; 0 in a one-group command. */
export const OPERATION_GROUPS = 20;
/** Key in stored order (see engine/keys.ts), 8 bytes; 4-byte keys use the first four. */
export const OPERATION_KEY = 24;
/** First value byte; a second value (compareAndSet: the expected one) follows, rounded up to 8 bytes. */
export const OPERATION_VALUE = 32;

/** Most groups a store can have: they are a bit set in one word. */
export const MAX_GROUPS = 32;

/** Read the value. */
export const OP_GET = 1;
/** Is the key present? */
export const OP_HAS = 2;
/** Write the value, present or not. */
export const OP_PUT = 3;
/** Write the value only if the key is absent. */
export const OP_INSERT = 4;
/** Write the value only if the key is present. */
export const OP_UPDATE = 5;
/** Remove the entry. */
export const OP_DELETE = 6;
/** Write the value only if the present one equals the expected one, byte for byte. */
export const OP_COMPARE_AND_SET = 7;
/** Add to a numeric value; absent counts as 0. Answers the value before. */
export const OP_ADD = 8;
/** Highest code of the operations on one key. */
export const OP_LAST_POINT = 8;

/** Greatest entry <= key. */
export const OP_FLOOR = 16;
/** Smallest entry >= key. */
export const OP_CEILING = 17;
/** Greatest entry < key. */
export const OP_LOWER = 18;
/** Smallest entry > key. */
export const OP_HIGHER = 19;
/** Smallest entry. */
export const OP_FIRST = 20;
/** Greatest entry. */
export const OP_LAST = 21;
/** Entries from the key up to the second key (which stands in the value's place), at most `limit` (u32 behind it). */
export const OP_RANGE = 22;
/** Number of entries. */
export const OP_COUNT = 23;
/** Content digest and number of entries of every replica, taken at one position of the order. */
export const OP_DIGEST = 24;

/** The values of several keys at one place of the order. */
export const OP_GET_ALL = 25;
/** Writes several entries, all at one place of the order. */
export const OP_PUT_ALL = 26;

/** Runs a command that the user defined (or one that is built in the same way), on keys that it names. */
export const OP_CALL = 27;
/** The same for a command that only reads. */
export const OP_QUERY = 28;

/** Answers, and stands until the client has read what it wants (workers/reading.ts). */
export const OP_READ = 31;

/** Nothing: a place that was claimed and given up, or a group's part of a command that another group's executor runs. */
export const OP_SKIP = 32;
/** A group's part of a many-group command whose payload stands in the ring of another group, named in the key's place. */
export const OP_MARKER = 33;
/** Brings a sync point about, for commands that were refused. */
export const OP_RETRY = 34;

/** Control commands, which the store sends itself; nobody waits for an answer. */
/** From here on the replica named in the key's place is home. */
export const OP_TAKEOVER = 35;
/** A consistent cut: the replica whose number stands in the key's place stands still until another has copied it. */
export const OP_CUT = 36;
/** Everything that the client named in the key's place ever sent has been executed. */
export const OP_FENCE = 37;
/** Every replica leaves its content digest for comparison, under the tag in the key's place. */
export const OP_COMPARE = 38;
/** A snapshot: the replica named in the key's place stands still until it has been copied; the log may begin a new segment. */
export const OP_SNAPSHOT = 40;

/** The client of a control command. */
export const NOBODY = -1;

/** OPERATION_FLAGS of every command: it was sent before, and what it came to is wanted. */
export const OPERATION_RESENT = 128;

/**
 * OPERATION_FLAGS of a write in a replica's own copy of the stream: what it changes is to be told to watchers. Then the low
 * bits hold the group of the stream, and OPERATION_RUN the record's position in it.
 */
export const OPERATION_WATCHED = 64;
/** The low bits that hold the group then. */
export const OPERATION_WATCHED_GROUP = 31;

/** In OP_RANGE: from the greatest key down. */
export const OPERATION_REVERSE = 1;

/** In OP_COUNT: only the entries of a range, given as in OP_RANGE, are counted. */
export const OPERATION_COUNTED = 32;

/** Offsets of OP_RANGE's own fields. */
export const RANGE_UPPER = OPERATION_VALUE;
export const RANGE_LIMIT = OPERATION_VALUE + 8;

/** Offsets of the operations on several keys: how many (u32); the keys in stored order, 8 bytes each; the values, each rounded up to 8 bytes. */
export const MANY_COUNT = OPERATION_KEY;
export const MANY_KEYS = OPERATION_VALUE;

/**
 * OP_CALL and OP_QUERY: the keys stand as in the operations on several keys, with the command in the word behind their
 * count; behind the keys its time, its seed and its arguments.
 */
/** In the count's place: the command may touch every key, and names none. */
export const CALL_ALL_KEYS = -1;
/** Hash of the command's name, u32. */
export const CALL_COMMAND = MANY_COUNT + 4;
/** Behind the keys: milliseconds since 1970, f64. */
export const CALL_TIME = 0;
/** Seed of its random numbers, 8 bytes. */
export const CALL_SEED = 8;
/** Bytes of the arguments, u32. */
export const CALL_LENGTH = 16;
/** First byte of the arguments. */
export const CALL_ARGUMENTS = 24;

/** What an operation on one key answers as a command: this first, and behind POINT_VALUE the value's bytes. */
export const POINT_ABSENT = 0;
export const POINT_FALSE = 1;
export const POINT_TRUE = 2;
export const POINT_VALUE = 3;

/**
 * A reply, as bytes in a client's reply ring.
 *
 * ```
 *   0          4                      8
 *   +----------+--------+-------------+---------------------------
 *   | sequence | status | length (24) | payload, padded to 8
 *   +----------+--------+-------------+---------------------------
 * ```
 */
export const REPLY_SEQUENCE = 0;
/** Status in the low 8 bits, payload bytes above, u32. */
export const REPLY_STATUS = 4;
export const REPLY_LENGTH_SHIFT = 8;
export const REPLY_PAYLOAD = 8;

/**
 * What a replica keeps of a client's command, so that it can be answered again: a table of KEPT_PLACES entries for each
 * client, found by the command's sequence number. A client never has two commands under way whose numbers share a place.
 *
 * ```
 *   0          4        5       6        8                  16
 *   +----------+--------+-------+--------+------------------+------------------------------------
 *   | sequence | status | flags | length | payload, 8 bytes | blob of a longer payload, or 0
 *   +----------+--------+-------+--------+------------------+------------------------------------
 * ```
 */
export const KEPT_PLACES = 4096;
export const KEPT_SEQUENCE = 0;
/** Status in the low 8 bits, KEPT_ flags above, bytes of the payload above these, u32. */
export const KEPT_STATUS = 4;
export const KEPT_LENGTH_SHIFT = 16;
export const KEPT_PAYLOAD = 8;
/**
 * Reference of the blob that holds a payload of more than 8 bytes, u64: its address, 32 bits, the payload's bytes, 16 bits, and
 * the lowest bits of how often the client's numbers have come round to this place, so that two commands never have the same; 0
 * if there is none, or if the client has the answer.
 */
export const KEPT_BLOB = 16;
export const KEPT_BLOB_LENGTH = 0xffff;
export const KEPT_SIZE = 24;
/** The entry was written. */
export const KEPT_FILLED = 256;
/** This replica has answered the command as home. */
export const KEPT_ANSWERED = 512;

/** What a call of the core, or a reply, says. */
export const STATUS_FALSE = 0;
export const STATUS_TRUE = 1;
/** A node stayed latched beyond the spin limit; nothing was written. THREAD_BLOCKED_NODE names it. */
export const STATUS_BUSY = 2;
/** The memory is at its maximum; nothing was written. */
export const STATUS_NO_MEMORY = 3;
/** The operation needs a split or merge, and was asked to stay within its leaf; nothing was written. */
export const STATUS_REFUSED = 4;
/** A structure that cannot be (a cycle, an address outside the nodes) was met. */
export const STATUS_CORRUPT = 5;
/** The tree was not empty where it had to be. */
export const STATUS_NOT_EMPTY = 6;
/** Keys were not ascending where they had to be. */
export const STATUS_NOT_ASCENDING = 7;
/** The command is not one this store knows. */
export const STATUS_UNKNOWN_COMMAND = 8;
/** The operation does not fit the value type (add on a record). */
export const STATUS_UNSUPPORTED = 9;
/** A user-defined command failed, and nothing was written; the payload says why (workers/call-record.ts). */
export const STATUS_COMMAND_FAILED = 10;

/** Flags of `apply`. */
/** Write replies (only the home replica does). */
export const APPLY_REPLY = 1;
/** Make no split or merge: defer what needs one, and what depends on it. */
export const APPLY_WITHIN_LEAF = 2;
/** The first record is a many-group command whose turn it is: apply it, and only it. */
export const APPLY_SYNCHRONOUS = 4;

/** Enter every key into the undo table before its operation (see engine/core/undo.ts). */
export const APPLY_UNDO = 8;
/** With APPLY_UNDO: reads are entered too. */
export const APPLY_UNDO_READS = 16;

/** With APPLY_REPLY: these replies go to the clients, so that what is kept of them counts as answered. */
export const APPLY_ANSWER = 32;

/** Why `apply` stopped. */
/** All records were applied. */
export const STOP_DONE = 0;
/** The next record is not for `apply`: a marker, a many-group command, or an operation on more than one key. */
export const STOP_OTHER = 1;
/** The reply area, or the list of changes, is full. */
export const STOP_REPLIES = 2;
/** A node stayed latched (STATUS_BUSY): back off and go on. */
export const STOP_BUSY = 3;
/** The memory is exhausted (STATUS_NO_MEMORY). */
export const STOP_NO_MEMORY = 4;
/** The deferral list is full. */
export const STOP_DEFERRED = 5;
/** A record or node that cannot be. */
export const STOP_CORRUPT = 6;

/**
 * An executor's deferral list: copies of the operations that were refused, and of later ones on the same keys, in stream
 * order, and a hash table of their keys.
 *
 * ```
 *   0       4       8          12      16         24         32     64
 *   +-------+-------+----------+-------+----------+----------+------+-------------------+----------------------
 *   | count | bytes | capacity | mask  | refused  | deferred | next | records[capacity] | u32 table[mask + 1]
 *   +-------+-------+----------+-------+----------+----------+------+-------------------+----------------------
 * ```
 */
/** Records in the list, u32. */
export const DEFERRAL_COUNT = 0;
/** Bytes they fill, u32. */
export const DEFERRAL_BYTES = 4;
/** Bytes there is room for, u32. */
export const DEFERRAL_CAPACITY = 8;
/** Size of the table less one, u32. */
export const DEFERRAL_MASK = 12;
/** Operations refused, ever, u64. */
export const DEFERRAL_REFUSED = 16;
/** Operations put off because they touch the key of a refused one, ever, u64. */
export const DEFERRAL_DEFERRED = 24;
/** While the list is being run: bytes done, u32. */
export const DEFERRAL_NEXT = 32;
export const DEFERRAL_RECORDS = 64;

/** One entry of the table by which `apply` tells whose replies stand where: client, first byte, end; u32 each. */
export const REPLY_RUN_CLIENT = 0;
export const REPLY_RUN_START = 4;
export const REPLY_RUN_END = 8;
export const REPLY_RUN_SIZE = 12;

/** The undo table's header: number of entries less one, u32; whether two threads were seen on one key, u32. */
export const UNDO_MASK = 0;
export const UNDO_CONFLICT = 4;
/** Its first entry. */
export const UNDO_ENTRIES = 64;
