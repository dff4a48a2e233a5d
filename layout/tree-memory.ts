/**
 * The memory of one tree (one shared WebAssembly.Memory).
 *
 * ```
 *   0          64         384                 1024                              65536
 *   +----------+----------+-------------------+---------------------------------+------------------------------
 *   | guard    | header   | (free)            | thread slots [MAX_THREADS]      | nodes and blocks, growing up
 *   +----------+----------+-------------------+---------------------------------+------------------------------
 * ```
 *
 * The guard is never used: `Atomics.load(words, undefined)` reads word 0 without complaint, so nothing lives there.
 */

/** Marks an initialised tree: "sbt1". */
export const TREE_MAGIC = 0x31746273;
/** Grows by one with every change of any offset in `layout/`. */
export const LAYOUT_VERSION = 3;

/** First byte of the header. */
export const HEADER = 64;
export const HEADER_MAGIC = HEADER + 0;
export const HEADER_LAYOUT_VERSION = HEADER + 4;
/** Hash of key type, value type and node shape, compared at attach, u32. */
export const HEADER_SCHEMA_HASH = HEADER + 8;
/** One of the KEY_ codes, u32. */
export const HEADER_KEY_TYPE = HEADER + 12;
/** One of the VALUE_ codes, u32. */
export const HEADER_VALUE_TYPE = HEADER + 16;
/** Bytes of a stored value, a multiple of 4, u32. */
export const HEADER_VALUE_SIZE = HEADER + 20;
/** Bytes of a node, u32. */
export const HEADER_NODE_SIZE = HEADER + 24;
/** Most entries of a leaf, u32. */
export const HEADER_LEAF_CAPACITY = HEADER + 28;
/** Most separators of a branch, u32. */
export const HEADER_BRANCH_CAPACITY = HEADER + 32;
/** Fewest entries of a leaf that is not the root, u32. */
export const HEADER_LEAF_MINIMUM = HEADER + 36;
/** Fewest separators of a branch that is not the root, u32. */
export const HEADER_BRANCH_MINIMUM = HEADER + 40;
/** Address of the root node, which never moves, u32. */
export const HEADER_ROOT = HEADER + 44;
/** Pages the memory may grow to, u32. */
export const HEADER_MAX_PAGES = HEADER + 48;
/** Offset of a leaf's values from the node's address, u32. */
export const HEADER_LEAF_VALUES = HEADER + 52;
/** Offset of a branch's children from the node's address, u32. */
export const HEADER_BRANCH_CHILDREN = HEADER + 56;
/** Milliseconds a latch may stay with one owner before waiting for it is given up, u32. */
export const HEADER_LATCH_TIMEOUT = HEADER + 60;

/** Head of the list of free nodes: address in the low half, a count of pops in the high half (against ABA), u64. */
export const HEADER_FREE = HEADER + 128;
/** Next address never used so far, u32. */
export const HEADER_BUMP = HEADER + 192;
/** First of the blocks that executors took (see BLOCK_NEXT), u32. */
export const HEADER_BLOCKS = HEADER + 196;
/** First byte after the header. */
export const HEADER_END = HEADER + 256;

/** The slab that blobs are cut from now: next address in the low half, its end in the high half, u64. */
export const HEADER_BLOB_SLAB = HEADER_END;
/** Heads of the lists of free blobs, one for each class, like HEADER_FREE. */
export const HEADER_BLOB_FREE = HEADER_END + 64;

/** Threads that may be attached to one tree at the same time; their ids are 1 to MAX_THREADS - 1. */
export const MAX_THREADS = 256;
/** First byte of the thread slots. Slot 0 belongs to nobody: an owner of 0 in a version word means "never written". */
export const THREADS = 1024;
/** Bytes of a thread slot: two cache lines, since adjacent lines are fetched together. */
export const THREAD_SIZE = 128;
/** One of the THREAD_ states, u32, changed by compare-and-swap. */
export const THREAD_STATE = 0;
/** Address of the thread's own work block, 0 until first used; it stays with the slot, u32. */
export const THREAD_BLOCK = 4;
/** A node taken from the allocator and not yet used; it stays with the slot, u32. */
export const THREAD_SPARE = 8;
/** Entries this slot's threads added less those they deleted, i64. */
export const THREAD_ENTRIES = 16;
/** Sum of the hashes of the entries they added less those they deleted, modulo 2^64. */
export const THREAD_DIGEST = 24;
/** Leaves they made less those they freed, i64. */
export const THREAD_LEAVES = 32;
/** Branches they made less those they freed, i64. */
export const THREAD_BRANCHES = 40;
/** Node splits, u64. */
export const THREAD_SPLITS = 48;
/** Node merges and evenings-out, u64. */
export const THREAD_MERGES = 56;
/** Searches begun again because a node had changed, u64. */
export const THREAD_RESTARTS = 64;
/** Address of the node a call gave up waiting for (status BUSY), u32. */
export const THREAD_BLOCKED_NODE = 72;

export const THREAD_FREE = 0;
export const THREAD_ALIVE = 1;
export const THREAD_DEAD = 2;
/** The state's bits in its word; above them, of a thread that lives, whose it is: a number of its store, or 0. */
export const THREAD_STATE_MASK = 255;
export const THREAD_OWNER_SHIFT = 8;

/**
 * What stands before a block that an executor took: the next block, its bytes, the thread it belongs to (0: nobody, so
 * that a later thread may have it). Work blocks of threads are such blocks too.
 */
export const BLOCK_NEXT = 0;
export const BLOCK_SIZE = 4;
export const BLOCK_OWNER = 8;
export const BLOCK_PREFIX = 64;

/** First byte that nodes and blocks may use. */
export const NODES = 65536;

/**
 * A thread's work block: the registers through which JavaScript and the core pass arguments and results, so that every
 * call is a plain number-in, number-out call, and one area for batches and scans.
 *
 * ```
 *   0     8     16      24     32              64         64+V       64+2V
 *   +-----+-----+-------+------+---------------+----------+----------+--------------------+---------------------
 *   | key | key2| count | more | (pad)         | value    | expected | leaves [SCAN_LEAVES]| area (batch or scan)
 *   +-----+-----+-------+------+---------------+----------+----------+--------------------+---------------------
 * ```
 * V = value size rounded up to 8.
 */
export const BLOCK_KEY = 0;
/** Second key of a call (upper end of a range), 8 bytes. */
export const BLOCK_KEY2 = 8;
/** A count the call returns beside its status, u32. */
export const BLOCK_COUNT = 16;
/** 1 when a scan ended before its range did, u32; the next piece then starts at BLOCK_KEY or ends at BLOCK_KEY2. */
export const BLOCK_MORE = 20;
/** Value argument and result. */
export const BLOCK_VALUE = 64;

/** (leaf, version) pairs one atomic scan can hold. */
export const SCAN_LEAVES = 1024;
/** Bytes of one such pair: version u64, address u32, padding. */
export const SCAN_LEAF_SIZE = 16;
/** Bytes of entries (keys and values) one atomic scan can hold. */
export const SCAN_BYTES = 65536;
/** Fewest entries an atomic scan holds, however large the values. */
export const SCAN_MIN_ENTRIES = 64;
/** Keys in one batch call. */
export const BATCH = 256;
/** Lookups overlapped at a time. */
export const OVERLAP = 16;

/** Key types; the code is stored in the header. */
export const KEY_U32 = 1;
export const KEY_I32 = 2;
export const KEY_F64 = 3;
export const KEY_I64 = 4;
export const KEY_U64 = 5;
/** From here on keys vary in length, and nodes are slotted (layout/slotted.ts). */
export const KEY_SLOTTED = 16;
export const KEY_STRING = 16;
export const KEY_BYTE_STRING = 17;
export const KEY_TUPLE = 18;

/** Value types; the code is stored in the header. */
export const VALUE_U32 = 1;
export const VALUE_I32 = 2;
export const VALUE_F64 = 3;
export const VALUE_I64 = 4;
export const VALUE_RECORD = 5;
/** Values of varying length: a leaf holds references to blobs (engine/core/blob.ts), 8 bytes: address, length. */
export const VALUE_BLOB = 6;

/** Longest value of varying length, in bytes. */
export const MAX_BLOB_BYTES = 16777216;
/** What stands in a blob before its content: the hash of it, 8 bytes. While a blob is free, the next free one stands there. */
export const BLOB_HASH = 0;
export const BLOB_BYTES = 8;
/** Size classes of blobs: 32, 48, 64, 96 bytes and so on, to 24 MiB. */
export const BLOB_CLASSES = 40;
/** Bytes of the pieces of memory that blobs are cut from. */
export const BLOB_SLAB_BYTES = 262144;
/** Owner of these pieces. */
export const BLOB_OWNER = 0x7fffffff;
/** Longest content that the core copies out of a blob itself; of longer ones the caller copies it. */
export const BLOB_COPY_BYTES = 4096;

/** Smallest and largest value in a leaf, in bytes. It takes whole words there. */
export const MIN_VALUE_SIZE = 1;
export const MAX_VALUE_SIZE = 512;

/** Flags of a scan: which ends the range has, and its direction. */
export const SCAN_HAS_LOWER = 1;
export const SCAN_LOWER_EXCLUSIVE = 2;
export const SCAN_HAS_UPPER = 4;
export const SCAN_UPPER_EXCLUSIVE = 8;
export const SCAN_REVERSE = 16;
