/**
 * One node of the B+-tree. All nodes of a tree have the same size, a multiple of a cache line, at an address that is
 * a multiple of a cache line. A leaf keeps its keys and its values in two arrays; a branch its separators and children.
 *
 * ```
 *            0        8       10       12       16
 *            +--------+--------+--------+--------+------------------------+---------------------------+
 *   leaf     | version| count  | level=0| (pad)  | keys[leafCapacity]     | values[leafCapacity]      |
 *            +--------+--------+--------+--------+------------------------+---------------------------+
 *   branch   | version| count  | level>0| (pad)  | separators[branchCap.] | children[branchCap. + 1]  |
 *            +--------+--------+--------+--------+------------------------+---------------------------+
 *   free     | version|   0    | 0xffff | (pad)  | next free node | ...
 * ```
 *
 * Child i of a branch holds the keys k with separators[i-1] <= k < separators[i]. Keys beyond `count` hold the largest
 * key of their width, so that a search may compare whole 16-byte vectors without looking at the count.
 *
 * The version word (64 bits, little-endian):
 *
 * ```
 *   63                                            16 15            1   0
 *   +-----------------------------------------------+---------------+---+
 *   | changes made to this node, ever               | last writer   | L |
 *   +-----------------------------------------------+---------------+---+
 * ```
 *
 * L = 1 while a writer holds the node's latch; the writer's thread id is in the same word, so taking the latch and
 * naming its owner are one atomic step. The count of changes never goes back, not even when the node is freed and used
 * again; it wraps after 2^48 changes of one node (at 10 million changes a second, 325 days), and a reader could be
 * misled only if it stood still for exactly that many.
 */

/** Version word, 8 bytes. */
export const NODE_VERSION = 0;
/** Number of keys in the node, u16. */
export const NODE_COUNT = 8;
/** Height above the leaves, u16: 0 in a leaf. */
export const NODE_LEVEL = 10;
/** First key, and the size of the header: keys start on a 16-byte boundary, which vector loads like. */
export const NODE_KEYS = 16;
/** In a free node: address of the next free node, u32. */
export const NODE_NEXT_FREE = 16;

/** `NODE_LEVEL` of a node on the free list. */
export const LEVEL_FREE = 0xffff;

/** Latch bit of the version word. */
export const VERSION_LATCHED = 1;
/** The last writer's thread id stands above this bit of the version word. */
export const VERSION_OWNER_SHIFT = 1;
/** Bits of the writer's thread id. */
export const VERSION_OWNER_BITS = 15;
/** The count of changes stands above this bit. */
export const VERSION_COUNT_SHIFT = VERSION_OWNER_SHIFT + VERSION_OWNER_BITS;

/** Smallest fan-out: with three separators a full branch can still give two halves of one separator each. */
export const MIN_FANOUT = 4;
/** Largest fan-out: counts are u16, and a node stays well below the size where shifting entries costs more than a split. */
export const MAX_FANOUT = 4096;
/** Vector width of the search; key arrays are padded to it. */
export const KEY_VECTOR = 16;
/** Levels no tree can exceed (fan-out 4 over 2^32 bytes of nodes); a descent on torn data ends here. */
export const MAX_LEVELS = 32;
