/** The check's own reading of slotted nodes (layout/slotted.ts): like check.ts it shares no code with the core. */
import { NODE_COUNT } from '../layout/node.ts';
import {
  MAX_KEY_BYTES,
  SLOTTED_DEAD,
  SLOTTED_HEADS,
  SLOTTED_HEAP,
  SLOTTED_PREFIX,
  SLOTTED_ROOM,
} from '../layout/slotted.ts';

/**
 * Keys (as strings of bytes, which compare as the bytes do) and children of a node, and everything that has to be right
 * inside it: heads, slots, heap, prefix.
 * @param node a copy of the node's bytes.
 */
export function parseSlotted(
  node: Uint8Array,
  level: number,
  stride: number,
  fault: (what: string, value?: unknown) => never,
): { keys: string[]; children: Uint32Array } {
  const view = new DataView(node.buffer, node.byteOffset, node.byteLength);
  const size = node.byteLength;
  const count = view.getUint16(NODE_COUNT, true);
  const room = view.getUint16(SLOTTED_ROOM, true);
  const heap = view.getUint16(SLOTTED_HEAP, true);
  const prefixLength = view.getUint16(SLOTTED_PREFIX, true);
  const dead = view.getUint16(SLOTTED_DEAD, true);
  if (room % 4 !== 0 || count > room) fault(`${count} keys where there are ${room} places`, room);
  const arrays = SLOTTED_HEADS + 8 * room + (level === 0 ? room * stride : 4 * (room + 1));
  if (arrays > heap || heap > size) fault(`arrays end at ${arrays}, the heap begins at ${heap}, of ${size}`, heap);
  if (prefixLength > MAX_KEY_BYTES || heap + prefixLength > size)
    fault(`a prefix of ${prefixLength} bytes`, prefixLength);
  const text = (from: number, to: number) => String.fromCharCode(...node.subarray(from, to));
  const prefix = text(size - prefixLength, size);
  const keys: string[] = [];
  const taken: [number, number][] = [];
  let live = 0;
  for (let i = 0; i < room; i++) {
    const head = view.getUint32(SLOTTED_HEADS + 4 * i, true);
    if (i >= count) {
      if (head !== 0xffffffff) fault(`place ${i} behind ${count} keys is not filled up`, head);
      continue;
    }
    const slot = SLOTTED_HEADS + 4 * (room + i);
    const offset = view.getUint16(slot, true);
    const length = view.getUint16(slot + 2, true);
    if (offset < heap || offset + length > size - prefixLength) fault(`key ${i}: bytes ${offset} + ${length}`, offset);
    if (prefixLength + length > MAX_KEY_BYTES) fault(`key ${i}: ${prefixLength + length} bytes`, length);
    let expected = 0;
    for (let b = 0; b < 4; b++) expected = ((expected << 8) | (b < length ? node[offset + b] : 0)) >>> 0;
    if (head !== expected) fault(`key ${i}: head ${head} where ${expected} belongs`, head);
    if (length > 0) taken.push([offset, length]);
    live += length;
    keys.push(prefix + text(offset, offset + length));
  }
  taken.sort((a, b) => a[0] - b[0]);
  for (let i = 1; i < taken.length; i++) {
    if (taken[i - 1][0] + taken[i - 1][1] > taken[i][0]) fault(`two keys share byte ${taken[i][0]}`, taken[i][0]);
  }
  if (heap + dead + live + prefixLength !== size) {
    fault(`${heap} to the heap, ${dead} dead, ${live} live, ${prefixLength} of prefix are not ${size} bytes`, dead);
  }
  const children = new Uint32Array(level === 0 ? 0 : count + 1);
  for (let i = 0; i < children.length; i++) children[i] = view.getUint32(SLOTTED_HEADS + 8 * room + 4 * i, true);
  return { keys, children };
}
