import { CACHE_LINE, MAX_PAGES, PAGE } from '../layout/bits.ts';
import { KEY_VECTOR, MAX_FANOUT, MIN_FANOUT, NODE_KEYS } from '../layout/node.ts';
import { MAX_KEY_BYTES, MAX_SLOTTED_NODE, SLOTTED_HEADS, SLOTTED_KEYS_AT_LEAST } from '../layout/slotted.ts';
import { SabtreeError, show } from './errors.ts';
import { isVariable, KEY_CODES, type KeyType, keySize } from './keys.ts';
import type { ValueCodec } from './values.ts';

/** Bytes of a node unless the values are large or the caller says otherwise. */
const DEFAULT_NODE_SIZE = 1024;
/** Entries a leaf of the default size should hold at least, however large the values. */
const DEFAULT_LEAST_ENTRIES = 16;
/** Largest node: counts and shifts are cheap only in small ones. */
const MAX_NODE_SIZE = 65536;

/** Sizes and offsets of a tree's nodes, as its header holds them. */
export interface Shape {
  readonly nodeSize: number;
  readonly leafCapacity: number;
  readonly branchCapacity: number;
  readonly leafMinimum: number;
  readonly branchMinimum: number;
  readonly leafValues: number;
  readonly branchChildren: number;
}

function align(n: number, to: number): number {
  return Math.ceil(n / to) * to;
}

/** Offset of a leaf's values for that many keys: behind the keys, which are padded to whole vectors. */
function valuesOffset(keyBytes: number, capacity: number): number {
  return NODE_KEYS + align(capacity * keyBytes, KEY_VECTOR);
}

/** Bytes of a leaf, or of a branch, of that many keys. */
function leafBytes(keyBytes: number, stride: number, capacity: number): number {
  return valuesOffset(keyBytes, capacity) + capacity * stride;
}

function branchBytes(keyBytes: number, capacity: number): number {
  return valuesOffset(keyBytes, capacity) + (capacity + 1) * 4;
}

/** Most keys whose node still fits. */
function mostThatFit(nodeSize: number, bytes: (capacity: number) => number): number {
  let capacity = 0;
  while (bytes(capacity + 1) <= nodeSize) capacity++;
  return capacity;
}

/** Derives the nodes' shape from the types and the options. */
export function shapeOf(keyCode: number, stride: number, nodeSize?: number, fanout?: number): Shape {
  if (isVariable(keyCode)) return slottedShape(stride, nodeSize, fanout);
  const key = keySize(keyCode);
  const leaf = (n: number) => leafBytes(key, stride, n);
  const branch = (n: number) => branchBytes(key, n);
  if (fanout !== undefined && (!Number.isInteger(fanout) || fanout < MIN_FANOUT || fanout > MAX_FANOUT)) {
    throw new SabtreeError(
      'ERR_OPTION',
      `option fanout must be an integer from ${MIN_FANOUT} to ${MAX_FANOUT}, got ${show(fanout)}`,
      fanout,
    );
  }
  const least = align(Math.max(leaf(MIN_FANOUT), branch(MIN_FANOUT - 1)), CACHE_LINE);
  let size: number;
  if (nodeSize !== undefined) {
    if (!Number.isInteger(nodeSize) || nodeSize % CACHE_LINE !== 0 || nodeSize < least || nodeSize > MAX_NODE_SIZE) {
      throw new SabtreeError(
        'ERR_OPTION',
        `option nodeSize must be a multiple of ${CACHE_LINE} from ${least} to ${MAX_NODE_SIZE} for these types, got ${show(nodeSize)}`,
        nodeSize,
      );
    }
    size = nodeSize;
  } else if (fanout !== undefined) {
    size = align(Math.max(leaf(fanout), branch(fanout - 1)), CACHE_LINE);
  } else {
    size = Math.max(DEFAULT_NODE_SIZE, align(leaf(DEFAULT_LEAST_ENTRIES), CACHE_LINE));
  }
  const limit = fanout ?? MAX_FANOUT;
  const leafCapacity = Math.min(limit, mostThatFit(size, leaf));
  const branchCapacity = Math.min(limit - 1, mostThatFit(size, branch));
  return {
    nodeSize: size,
    leafCapacity,
    branchCapacity,
    // A quarter: a node that was just split is far from being merged again, so the two do not take turns.
    leafMinimum: Math.max(1, leafCapacity >> 2),
    branchMinimum: Math.max(1, branchCapacity >> 2),
    leafValues: valuesOffset(key, leafCapacity),
    branchChildren: valuesOffset(key, branchCapacity),
  };
}

/** Bytes of a slotted node unless the values are large or the caller says otherwise: eight times the longest key. */
const DEFAULT_SLOTTED_NODE = 8 * MAX_KEY_BYTES;

/** The shape of slotted nodes: how many keys they hold depends on the keys, so the capacities are the most that can be. */
function slottedShape(stride: number, nodeSize?: number, fanout?: number): Shape {
  if (fanout !== undefined) {
    throw new SabtreeError('ERR_OPTION', 'option fanout is for keys of fixed size; use nodeSize', fanout);
  }
  // Five of the longest keys with their values, so that every split gives two nodes with room.
  const least = align(SLOTTED_HEADS + (SLOTTED_KEYS_AT_LEAST + 1) * (MAX_KEY_BYTES + 8 + stride), CACHE_LINE);
  const size = nodeSize ?? Math.max(DEFAULT_SLOTTED_NODE, least);
  if (!Number.isInteger(size) || size % CACHE_LINE !== 0 || size < least || size > MAX_SLOTTED_NODE) {
    throw new SabtreeError(
      'ERR_OPTION',
      `option nodeSize must be a multiple of ${CACHE_LINE} from ${least} to ${MAX_SLOTTED_NODE} for these types, got ${show(nodeSize)}`,
      nodeSize,
    );
  }
  const leafCapacity = Math.floor((size - SLOTTED_HEADS) / (8 + stride)) & ~3;
  const branchCapacity = Math.floor((size - SLOTTED_HEADS - 4) / 12) & ~3;
  const rest = { leafMinimum: 0, branchMinimum: 0, leafValues: 0, branchChildren: 0 };
  return { nodeSize: size, leafCapacity, branchCapacity, ...rest };
}

/** The code of a key type; ERR_OPTION if there is none of that name. */
export function keyCode(type: KeyType): number {
  if (typeof type !== 'string' || !Object.hasOwn(KEY_CODES, type)) {
    throw new SabtreeError(
      'ERR_OPTION',
      `option key must be one of ${Object.keys(KEY_CODES).join(', ')}, got ${show(type)}`,
      type,
    );
  }
  return KEY_CODES[type];
}

/** FNV-1a over everything that two threads must agree on to read the same bytes the same way. */
export function schemaHash(code: number, values: ValueCodec, shape: Shape): number {
  const text = `${code}|${values.signature}|${shape.nodeSize}|${shape.leafCapacity}|${shape.branchCapacity}`;
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

const UNITS: Readonly<Record<string, number>> = { '': 1, B: 1, KB: 2 ** 10, MB: 2 ** 20, GB: 2 ** 30 };

/** Pages of a `memory` option: bytes, or a string such as '256MB' (units of 1024). At most 4 GiB less one page. */
export function pagesOf(memory: number | string, option = 'memory'): number {
  const match = typeof memory === 'string' ? /^\s*(\d+(?:\.\d+)?)\s*([KMG]?B|)\s*$/i.exec(memory) : null;
  const bytes = match ? Number(match[1]) * UNITS[match[2].toUpperCase()] : memory;
  const most = MAX_PAGES * PAGE;
  if (typeof bytes !== 'number' || !(bytes >= LEAST_PAGES * PAGE && bytes <= most + PAGE)) {
    throw new SabtreeError(
      'ERR_OPTION',
      `option ${option} must be from ${LEAST_PAGES * PAGE} bytes to 4GB, as a number of bytes or like '256MB', got ${show(memory)}`,
      memory,
    );
  }
  return Math.min(MAX_PAGES, Math.ceil(bytes / PAGE));
}

/** Smallest memory: the header, one thread's work block and a few nodes. */
const LEAST_PAGES = 16;
