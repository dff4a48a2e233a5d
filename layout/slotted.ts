/**
 * A node of a tree whose keys vary in length. It begins and is latched like any other node (layout/node.ts); inside it
 * is slotted: arrays grow up from the header, the bytes of the keys grow down from the node's end.
 *
 * ```
 *            0        8       10       12      14    16       18     20     32
 *            +--------+-------+--------+-------+-----+--------+------+------+-------------+-------------+--------------------+-----+----------+--------+
 *            | version| count | level  | heap  | room| prefix | dead | (pad)| heads[room] | slots[room] | values | children | ... | suffixes | prefix |
 *            +--------+-------+--------+-------+-----+--------+------+------+-------------+-------------+--------------------+-----+----------+--------+
 * ```
 *
 * A key is the node's *prefix*, which all its keys share, and a *suffix* of its own. Its *head* is the suffix's first four
 * bytes, big-endian, filled up with zeros: heads compare as unsigned integers the way the suffixes do as far as they differ
 * within four bytes, so a search compares heads, sixteen bytes at a time, and looks at suffixes only where heads are equal.
 * A slot says where the suffix stands and how long it is. `room` is how many keys the arrays have places for, a multiple of
 * four; every rebuilding of the node chooses it by the length of the keys at hand. Heads beyond `count` are the largest
 * there are. `heap` is the lowest byte of the suffixes, `dead` how many bytes above it belong to removed keys.
 */

/** Lowest byte of the suffixes, u16 (a node has at most 32 KiB). */
export const SLOTTED_HEAP = 12;
/** Keys the arrays have places for, a multiple of four, u16. */
export const SLOTTED_ROOM = 14;
/** Bytes of the prefix, which stands at the node's end, u16. */
export const SLOTTED_PREFIX = 16;
/** Bytes of the heap that removed keys left, u16. */
export const SLOTTED_DEAD = 18;
/** First head. */
export const SLOTTED_HEADS = 32;

/** Largest slotted node: offsets in it are u16. */
export const MAX_SLOTTED_NODE = 32768;
/** Longest key, in bytes. */
export const MAX_KEY_BYTES = 1024;
/** Bytes of a node without entries that five of the longest keys and their slots may take. */
export const SLOTTED_KEYS_AT_LEAST = 5;

/** A key's place in the work block: its length (u32), then its bytes. */
export const KEY_LENGTH = 0;
export const KEY_BYTES = 8;
export const KEY_PLACE = KEY_BYTES + MAX_KEY_BYTES + 56;

/** The key places of a work block: the two that callers set (the first also takes the key that was found), and the core's own. */
export const PLACE_KEY = 0;
export const PLACE_KEY2 = 1;
/** Where a scan goes on. */
export const PLACE_CURSOR = 2;
export const PLACE_BOUND = 3;
/** What a search for a neighbour has found. */
export const PLACE_FOUND = 4;
/** Separators of a split, by turns. */
export const PLACE_SEPARATOR = 5;
export const PLACE_SEPARATOR2 = 6;
export const KEY_PLACES = 7;
