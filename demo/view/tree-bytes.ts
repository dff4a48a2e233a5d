/** A tree as its bytes show it to somebody who has no part in it: every look is a load, nothing is taken or changed. */
import { type KeyOrder, keyOrder } from '../../engine/key-order.ts';
import { KEY_CODES } from '../../engine/keys.ts';
import {
  LEVEL_FREE,
  MAX_LEVELS,
  NODE_COUNT,
  NODE_KEYS,
  NODE_LEVEL,
  VERSION_LATCHED,
  VERSION_OWNER_BITS,
  VERSION_OWNER_SHIFT,
} from '../../layout/node.ts';
import { SLOTTED_HEADS, SLOTTED_HEAP, SLOTTED_ROOM } from '../../layout/slotted.ts';
import {
  HEADER_BRANCH_CAPACITY,
  HEADER_BRANCH_CHILDREN,
  HEADER_BUMP,
  HEADER_KEY_TYPE,
  HEADER_LEAF_CAPACITY,
  HEADER_LEAF_VALUES,
  HEADER_MAGIC,
  HEADER_NODE_SIZE,
  HEADER_ROOT,
  HEADER_VALUE_SIZE,
  HEADER_VALUE_TYPE,
  KEY_SLOTTED,
  MAX_THREADS,
  NODES,
  THREAD_ALIVE,
  THREAD_ENTRIES,
  THREAD_LEAVES,
  THREAD_MERGES,
  THREAD_SIZE,
  THREAD_SPLITS,
  THREAD_STATE,
  THREAD_STATE_MASK,
  THREADS,
  TREE_MAGIC,
  VALUE_F64,
  VALUE_I32,
  VALUE_I64,
  VALUE_U32,
} from '../../layout/tree-memory.ts';

const OWNER_MASK = (1 << VERSION_OWNER_BITS) - 1;
/** Bits of the count of changes in the version's low word. */
const LOW_CHANGES = 65536;
/** Looks at a node that somebody is writing before the last good copy has to do. */
const TRIES = 4;

/** Parts of a version word, from its two halves. */
export function writerOf(low: number): number {
  return (low >>> VERSION_OWNER_SHIFT) & OWNER_MASK;
}

export function isLatched(low: number): boolean {
  return (low & VERSION_LATCHED) !== 0;
}

/** Changes made to the node, ever: exact, for 48 bits fit into a double. */
export function changesOf(low: number, high: number): number {
  return (high >>> 0) * LOW_CHANGES + (low >>> 16);
}

/** What a look at a node's header saw. */
export interface Head {
  low: number;
  high: number;
  count: number;
  level: number;
}

/** A whole node as it stood at one instant. */
export interface NodeCopy extends Head {
  readonly address: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/** Sums over the slots of all threads. */
export interface Totals {
  entries: number;
  leaves: number;
  splits: number;
  merges: number;
}

/** The bytes of one tree. */
export class TreeBytes {
  readonly memory: WebAssembly.Memory;
  readonly keyType: number;
  readonly valueType: number;
  readonly keySize: 4 | 8;
  readonly valueSize: number;
  readonly nodeSize: number;
  readonly leafCapacity: number;
  readonly branchCapacity: number;
  readonly leafValues: number;
  readonly branchChildren: number;
  readonly root: number;
  /** Whether keys vary in length. */
  readonly slotted: boolean;
  private words: Uint32Array;
  private readonly order: KeyOrder;

  private constructor(memory: WebAssembly.Memory) {
    const words = new Uint32Array(memory.buffer, 0, memory.buffer.byteLength >> 2);
    const at = (word: number) => words[word >> 2];
    this.memory = memory;
    this.words = words;
    this.keyType = at(HEADER_KEY_TYPE);
    this.valueType = at(HEADER_VALUE_TYPE);
    this.slotted = this.keyType >= KEY_SLOTTED;
    this.keySize = this.keyType === KEY_CODES.u32 || this.keyType === KEY_CODES.i32 ? 4 : 8;
    this.valueSize = at(HEADER_VALUE_SIZE);
    this.nodeSize = at(HEADER_NODE_SIZE);
    this.leafCapacity = at(HEADER_LEAF_CAPACITY);
    this.branchCapacity = at(HEADER_BRANCH_CAPACITY);
    this.leafValues = at(HEADER_LEAF_VALUES);
    this.branchChildren = at(HEADER_BRANCH_CHILDREN);
    this.root = at(HEADER_ROOT);
    this.order = keyOrder(this.keyType);
  }

  /** The bytes of a memory; undefined if it holds no tree. */
  static of(memory: WebAssembly.Memory): TreeBytes | undefined {
    const { byteLength } = memory.buffer;
    if (byteLength < NODES) return undefined;
    const magic = Atomics.load(new Uint32Array(memory.buffer, 0, NODES >> 2), HEADER_MAGIC >> 2);
    return magic === TREE_MAGIC ? new TreeBytes(memory) : undefined;
  }

  /** Looks at the memory as large as it has become. Call it before each round of looks. */
  renew(): void {
    const { memory } = this;
    if (Atomics.load(this.words, HEADER_BUMP >> 2) <= this.words.byteLength) return;
    // Growing by nothing shows what other threads have grown it to. A fixed length makes a view's accesses fast.
    memory.grow(0);
    this.words = new Uint32Array(memory.buffer, 0, memory.buffer.byteLength >> 2);
  }

  /** Whether a node may stand there; what is read out of a node that is being written may be anything. */
  isNode(address: number): boolean {
    const end = Math.min(Atomics.load(this.words, HEADER_BUMP >> 2), this.words.byteLength);
    return address >= NODES && (address & 63) === 0 && address + this.nodeSize <= end;
  }

  /** Reads a node's header into `into`. False if somebody is writing it, or none is there: then only version and latch are right. */
  head(address: number, into: Head): boolean {
    if (!this.isNode(address)) return false;
    const { words } = this;
    const at = address >> 2;
    for (let tries = 0; tries < TRIES; tries++) {
      into.low = Atomics.load(words, at);
      into.high = Atomics.load(words, at + 1);
      const counts = Atomics.load(words, at + (NODE_COUNT >> 2));
      into.count = counts & 0xffff;
      into.level = counts >>> ((NODE_LEVEL - NODE_COUNT) * 8);
      const stood = (into.low & VERSION_LATCHED) === 0;
      if (stood && Atomics.load(words, at) === into.low && Atomics.load(words, at + 1) === into.high) {
        return into.level !== LEVEL_FREE && into.level <= MAX_LEVELS;
      }
    }
    return false;
  }

  /** Reads a branch's header into `into` and its children into `children`. @returns how many, 0 if it could not be read. */
  children(address: number, into: Head, children: Uint32Array): number {
    const { words } = this;
    for (let tries = 0; tries < TRIES; tries++) {
      if (!this.head(address, into) || into.level === 0) return 0;
      let first = (address + this.branchChildren) >> 2;
      if (this.slotted) {
        const room = Atomics.load(words, (address + (SLOTTED_ROOM & ~3)) >> 2) >>> 16;
        first = (address + SLOTTED_HEADS + 8 * room) >> 2;
        if (into.count > room || first + into.count >= (address + this.nodeSize) >> 2) continue;
      }
      if (into.count > this.branchCapacity) continue;
      const count = into.count + 1;
      for (let i = 0; i < count; i++) children[i] = Atomics.load(words, first + i);
      const at = address >> 2;
      if (Atomics.load(words, at) === into.low && Atomics.load(words, at + 1) === into.high) return count;
    }
    return 0;
  }

  /** Copies a whole node. @returns undefined if somebody was writing it all the time. */
  copy(address: number): NodeCopy | undefined {
    const head: Head = { low: 0, high: 0, count: 0, level: 0 };
    const { words } = this;
    for (let tries = 0; tries < TRIES; tries++) {
      if (!this.head(address, head)) return undefined;
      const copy = new Uint32Array(this.nodeSize >> 2);
      const at = address >> 2;
      for (let i = 0; i < copy.length; i++) copy[i] = Atomics.load(words, at + i);
      if (copy[0] !== head.low || copy[1] !== head.high) continue;
      if (Atomics.load(words, at) !== head.low || Atomics.load(words, at + 1) !== head.high) continue;
      return { ...head, address, bytes: new Uint8Array(copy.buffer), view: new DataView(copy.buffer) };
    }
    return undefined;
  }

  /** How full a node is, 0 to 1: of a slotted one, by its bytes. */
  fill(address: number, count: number, level: number): number {
    if (!this.slotted) return Math.min(1, count / (level === 0 ? this.leafCapacity : this.branchCapacity));
    const { words } = this;
    const heap = Atomics.load(words, (address + SLOTTED_HEAP) >> 2) & 0xffff;
    const entry = 8 + (level === 0 ? this.valueSize : 4);
    return Math.max(0, Math.min(1, (SLOTTED_HEADS + count * entry + this.nodeSize - heap) / this.nodeSize));
  }

  /** Keys of a leaf of fixed size; separators of a branch. */
  key(node: NodeCopy, i: number): number | bigint {
    const at = NODE_KEYS + i * this.keySize;
    const low = node.view.getUint32(at, true);
    return this.order.restore(low, this.keySize === 8 ? node.view.getUint32(at + 4, true) : 0);
  }

  /** A leaf's value in words for people. */
  value(node: NodeCopy, i: number): string {
    const at = this.leafValues + i * this.valueSize;
    const { view } = node;
    if (this.valueType === VALUE_U32) return String(view.getUint32(at, true));
    if (this.valueType === VALUE_I32) return String(view.getInt32(at, true));
    if (this.valueType === VALUE_F64) return short(view.getFloat64(at, true));
    if (this.valueType === VALUE_I64) return String(view.getBigInt64(at, true));
    return `${this.valueSize} bytes`;
  }

  child(node: NodeCopy, i: number): number {
    return node.view.getUint32(this.branchChildren + i * 4, true);
  }

  /** Threads that are attached now. */
  threads(): number[] {
    const alive: number[] = [];
    for (let thread = 1; thread < MAX_THREADS; thread++) {
      const state = Atomics.load(this.words, (THREADS + thread * THREAD_SIZE + THREAD_STATE) >> 2);
      if ((state & THREAD_STATE_MASK) === THREAD_ALIVE) alive.push(thread);
    }
    return alive;
  }

  /** The threads' counters, added up. Counts stay far below 2^53. */
  totals(): Totals {
    const sum = { entries: 0, leaves: 0, splits: 0, merges: 0 };
    for (let thread = 0; thread < MAX_THREADS; thread++) {
      const slot = THREADS + thread * THREAD_SIZE;
      sum.entries += this.counter(slot + THREAD_ENTRIES);
      sum.leaves += this.counter(slot + THREAD_LEAVES);
      sum.splits += this.counter(slot + THREAD_SPLITS);
      sum.merges += this.counter(slot + THREAD_MERGES);
    }
    return sum;
  }

  private counter(address: number): number {
    const low = this.words[address >> 2];
    return (this.words[(address >> 2) + 1] | 0) * 4294967296 + low;
  }
}

/** A number in few characters. */
function short(n: number): string {
  const text = String(n);
  return text.length <= 9 ? text : n.toPrecision(6).replace(/\.?0+($|e)/, '$1');
}
