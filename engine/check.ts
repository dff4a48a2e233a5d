import { LEVEL_FREE, MAX_LEVELS, NODE_COUNT, NODE_KEYS, NODE_LEVEL, VERSION_LATCHED } from '../layout/node.ts';
import { HEADER_BUMP, HEADER_ROOT, NODES } from '../layout/tree-memory.ts';
import { type Attachment, Patience } from './attachment.ts';
import { parseSlotted } from './check-slotted.ts';
import { SabtreeError } from './errors.ts';
import { isVariable } from './keys.ts';
import { treeDigest, treeSize, treeStats } from './stats.ts';

/** What `check` found: a tree without faults. */
export interface CheckReport {
  /** Entries found. */
  readonly entries: number;
  /** Levels, 1 for a single leaf. */
  readonly height: number;
  /** Leaves found. */
  readonly leaves: number;
  /** Nodes found above the leaves. */
  readonly branches: number;
  /** Whether count and digest could be compared, that is, whether nothing changed during the walk. */
  readonly quiet: boolean;
}

/** A key as the check compares it: unsigned for 4 bytes, signed for 8, and of any length as a string of its bytes. */
type CheckedKey = number | bigint | string;

/** A node as read at one instant, its keys in stored order. */
interface NodeCopy {
  readonly level: number;
  readonly keys: ArrayLike<CheckedKey>;
  readonly children: Uint32Array;
  readonly digest: bigint;
}

/** Tries to read one node that others go on changing. */
const READ_TRIES = 10_000;

/**
 * Walks the whole tree. It is written against the layout alone and shares no code with the core, so a mistake there is
 * not repeated here. Every word is read atomically: that is slow, but right on every processor without fences.
 */
export function checkTree(attachment: Attachment): CheckReport {
  const { header, core } = attachment;
  const shape = attachment.shape();
  const slotted = isVariable(attachment.keyCode);
  const wide = attachment.keySize === 8;
  const root = header[HEADER_ROOT >> 2];
  const words = new Uint32Array(attachment.memory.buffer);
  const sizeBefore = treeSize(attachment);
  const digestBefore = treeDigest(attachment);
  let leaves = 0;
  let branches = 0;
  let entries = 0;
  let digest = 0n;
  const seen = new Set<number>();

  function fault(path: readonly number[], what: string, value?: unknown): never {
    const where =
      path.length === 0 ? 'the root' : `depth ${path.length}, slot ${path[path.length - 1]} (path ${path.join('/')})`;
    throw new SabtreeError('ERR_CORRUPT', `${where}: ${what}`, value ?? path);
  }

  function read(node: number, path: readonly number[]): NodeCopy {
    const at = node >> 2;
    const patience = new Patience(attachment);
    for (let tries = 0; tries < READ_TRIES; tries++) {
      const low = Atomics.load(words, at);
      const high = Atomics.load(words, at + 1);
      const head = Atomics.load(words, (node + NODE_COUNT) >> 2);
      const count = head & 0xffff;
      const level = head >>> ((NODE_LEVEL - NODE_COUNT) * 8);
      const copy = slotted ? copyNode(at) : undefined;
      const capacity = level > 0 ? shape.branchCapacity : shape.leafCapacity;
      const length = Math.min(count, capacity);
      const keyWords = new Uint32Array(slotted ? 0 : length * (wide ? 2 : 1));
      for (let i = 0; i < keyWords.length; i++) keyWords[i] = Atomics.load(words, ((node + NODE_KEYS) >> 2) + i);
      const children = new Uint32Array(level > 0 && !slotted ? length + 1 : 0);
      for (let i = 0; i < children.length; i++) {
        children[i] = Atomics.load(words, ((node + shape.branchChildren) >> 2) + i);
      }
      const sum = level > 0 ? 0n : BigInt.asUintN(64, core.leafDigest(node));
      if ((low & VERSION_LATCHED) === 0 && Atomics.load(words, at) === low && Atomics.load(words, at + 1) === high) {
        if (level === LEVEL_FREE) fault(path, 'a node on the free list is in the tree', node);
        if (count > capacity) fault(path, `${count} keys where ${capacity} fit`, count);
        if (copy !== undefined) {
          const stride = attachment.values.stride;
          return {
            level,
            digest: sum,
            ...parseSlotted(copy, level, stride, (what, value) => fault(path, what, value)),
          };
        }
        const keys = wide ? new BigInt64Array(keyWords.buffer) : keyWords;
        return { level, keys, children, digest: sum };
      }
      try {
        patience.pauseAt(node);
      } catch (error) {
        fault(path, (error as Error).message, node);
      }
    }
    return fault(path, 'it never stands still for long enough to be read', node);
  }

  function copyNode(at: number): Uint8Array {
    const copy = new Uint32Array(shape.nodeSize >> 2);
    for (let i = 0; i < copy.length; i++) copy[i] = Atomics.load(words, at + i);
    return new Uint8Array(copy.buffer);
  }

  /** Checks the subtree and returns its number of levels. Bounds: lower <= key < upper. */
  function walk(node: number, path: number[], lower: CheckedKey | undefined, upper: CheckedKey | undefined): number {
    if (node < NODES || node % 64 !== 0 || node + shape.nodeSize > Atomics.load(header, HEADER_BUMP >> 2)) {
      fault(path, `${node} is not the address of a node`, node);
    }
    if (seen.has(node)) fault(path, `node ${node} hangs in two places`, node);
    seen.add(node);
    if (path.length > MAX_LEVELS) fault(path, 'the tree is deeper than any tree can be');
    const { level, keys, children, digest: sum } = read(node, path);
    const least = slotted
      ? 0
      : path.length === 0
        ? level > 0
          ? 1
          : 0
        : level > 0
          ? shape.branchMinimum
          : shape.leafMinimum;
    if (keys.length < least) fault(path, `${keys.length} keys where at least ${least} must be`, keys.length);
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i];
      if (i > 0 && !(key > keys[i - 1])) fault([...path, i], `key ${key} is not greater than the one before`, key);
      if (lower !== undefined && key < lower) fault([...path, i], `key ${key} is below its separator ${lower}`, key);
      if (upper !== undefined && key >= upper)
        fault([...path, i], `key ${key} is not below its separator ${upper}`, key);
    }
    if (level === 0) {
      leaves++;
      entries += keys.length;
      digest += sum;
      return 1;
    }
    branches++;
    for (let i = 0; i <= keys.length; i++) {
      const low = i === 0 ? lower : keys[i - 1];
      const high = i === keys.length ? upper : keys[i];
      const below = walk(children[i], [...path, i], low, high);
      if (below !== level) fault([...path, i], `has ${below} levels under a node of level ${level}`, below);
    }
    return level + 1;
  }

  const height = walk(root, [], undefined, undefined);
  const quiet = treeSize(attachment) === sizeBefore && treeDigest(attachment) === digestBefore;
  if (quiet) {
    const stats = treeStats(attachment);
    if (entries !== sizeBefore) fault([], `counts ${sizeBefore} entries but holds ${entries}`, entries);
    if (BigInt.asUintN(64, digest) !== digestBefore) fault([], 'the kept digest is not that of the content', digest);
    if (leaves !== stats.leaves || branches !== stats.branches) {
      fault([], `counts ${stats.leaves} leaves and ${stats.branches} branches but has ${leaves} and ${branches}`);
    }
  }
  return { entries, height, leaves, branches, quiet };
}
