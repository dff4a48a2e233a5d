import { CACHE_LINE, PAGE } from '../layout/bits.ts';
import { VERSION_LATCHED, VERSION_OWNER_BITS, VERSION_OWNER_SHIFT } from '../layout/node.ts';
import { STATUS_BUSY, STATUS_CORRUPT, STATUS_NO_MEMORY, STATUS_TRUE, STATUS_UNSUPPORTED } from '../layout/operation.ts';
import { PLACE_KEY, PLACE_KEY2 } from '../layout/slotted.ts';
import {
  BATCH,
  BLOCK_COUNT,
  BLOCK_KEY,
  BLOCK_KEY2,
  BLOCK_MORE,
  BLOCK_VALUE,
  HEADER_BRANCH_CAPACITY,
  HEADER_BRANCH_CHILDREN,
  HEADER_BRANCH_MINIMUM,
  HEADER_KEY_TYPE,
  HEADER_LATCH_TIMEOUT,
  HEADER_LAYOUT_VERSION,
  HEADER_LEAF_CAPACITY,
  HEADER_LEAF_MINIMUM,
  HEADER_LEAF_VALUES,
  HEADER_MAGIC,
  HEADER_MAX_PAGES,
  HEADER_NODE_SIZE,
  HEADER_SCHEMA_HASH,
  HEADER_VALUE_SIZE,
  HEADER_VALUE_TYPE,
  LAYOUT_VERSION,
  MAX_THREADS,
  NODES,
  SCAN_BYTES,
  THREAD_ALIVE,
  THREAD_BLOCKED_NODE,
  THREAD_DEAD,
  THREAD_FREE,
  THREAD_LEAVES,
  THREAD_OWNER_SHIFT,
  THREAD_SIZE,
  THREAD_STATE,
  THREAD_STATE_MASK,
  THREADS,
  TREE_MAGIC,
} from '../layout/tree-memory.ts';
import { pauseBefore } from './backoff.ts';
import { BlobRegister, BlobTable } from './blobs.ts';
import { type Core, coreModule, instantiateCore, needsFences } from './core.ts';
import { SabtreeError } from './errors.ts';
import { requireSharedMemory } from './isolation.ts';
import { FixedKeys, type KeyView } from './key-views.ts';
import { isVariable, keySize } from './keys.ts';
import { type Shape, schemaHash } from './shape.ts';
import { type ValueCodec, ValueView } from './values.ts';
import { KeyPlace, KeyTable } from './variable-keys.ts';

/** Milliseconds a latch may stay with one owner before its owner is taken for dead. */
export const DEFAULT_LATCH_TIMEOUT = 2000;

/** Address of a thread's slot. */
export function threadSlot(thread: number): number {
  return THREADS + thread * THREAD_SIZE;
}

/**
 * Makes the memory of an empty tree.
 * @throws ERR_MEMORY_EXHAUSTED if the system has no room for it; ERR_NOT_ISOLATED, ERR_UNSUPPORTED where there can be no trees.
 */
export function createTreeMemory(
  code: number,
  values: ValueCodec,
  shape: Shape,
  maximum: number,
  latchTimeout: number,
): WebAssembly.Memory {
  requireSharedMemory();
  // First: where there is no WebAssembly, there is no memory either, but not for lack of room.
  coreModule();
  let memory: WebAssembly.Memory;
  try {
    memory = new WebAssembly.Memory({ initial: NODES / PAGE + 1, maximum, shared: true });
  } catch (cause) {
    throw new SabtreeError('ERR_MEMORY_EXHAUSTED', `cannot reserve ${maximum} pages of memory`, maximum, { cause });
  }
  const words = new Uint32Array(memory.buffer, 0, NODES / 4);
  words[HEADER_SCHEMA_HASH >> 2] = schemaHash(code, values, shape);
  words[HEADER_KEY_TYPE >> 2] = code;
  words[HEADER_VALUE_TYPE >> 2] = values.code;
  words[HEADER_VALUE_SIZE >> 2] = values.stride;
  words[HEADER_NODE_SIZE >> 2] = shape.nodeSize;
  words[HEADER_LEAF_CAPACITY >> 2] = shape.leafCapacity;
  words[HEADER_BRANCH_CAPACITY >> 2] = shape.branchCapacity;
  words[HEADER_LEAF_MINIMUM >> 2] = shape.leafMinimum;
  words[HEADER_BRANCH_MINIMUM >> 2] = shape.branchMinimum;
  words[HEADER_LEAF_VALUES >> 2] = shape.leafValues;
  words[HEADER_BRANCH_CHILDREN >> 2] = shape.branchChildren;
  words[HEADER_MAX_PAGES >> 2] = maximum;
  words[HEADER_LATCH_TIMEOUT >> 2] = latchTimeout;
  words[HEADER_LAYOUT_VERSION >> 2] = LAYOUT_VERSION;
  if (instantiateCore(memory).createTree() !== STATUS_TRUE) {
    throw new SabtreeError('ERR_MEMORY_EXHAUSTED', `the tree's root does not fit into ${maximum} pages`, maximum);
  }
  // The root is a leaf from the start; slot 0, which no thread ever has, counts it.
  words[(threadSlot(0) + THREAD_LEAVES) >> 2] = 1;
  // Last, and atomically: whoever sees the magic sees the header.
  Atomics.store(words, HEADER_MAGIC >> 2, TREE_MAGIC);
  return memory;
}

/** Stands in for the core after `detach`: refuses every call. */
export const CLOSED_CORE = new Proxy({} as Core, {
  get() {
    throw new SabtreeError('ERR_CLOSED', 'the tree was closed in this thread');
  },
});

/** Somebody who still reads what a scan left in the work block's area. */
export interface AreaReader {
  /** Copies the rest: the area is about to be used again. */
  moveOut(): void;
}

/** One thread's hold on a tree: its slot, its instance of the core, and views of its registers. */
export class Attachment {
  readonly memory: WebAssembly.Memory;
  core: Core;
  readonly keyCode: number;
  readonly values: ValueCodec;
  /** This thread's id in version words, 1 to 255. */
  readonly thread: number;
  /** Header and thread slots, as words. */
  readonly header: Uint32Array;
  key: KeyView;
  upperKey: KeyView;
  value: ValueView;
  expected: ValueView;
  /** Registers `count` and `more`. */
  private readonly results: Uint32Array;
  readonly scanKeys: KeyView;
  readonly scanValues: ValueView;
  batchKeys: KeyView;
  batchValues: ValueView;
  readonly batchFound: Uint8Array;
  /** Entries one atomic scan can give. */
  readonly scanCapacity: number;
  private areaReader: AreaReader | undefined;
  /** Tells that this tree is not the one to wait in any more, if anybody can tell. */
  isStale: (() => boolean) | undefined;

  /**
   * @param announce told which slot is about to be taken, perhaps several times; the slot then says `owner`. So whoever looks
   *   after a thread that has died knows what it may have taken, and whether it has.
   */
  constructor(
    memory: WebAssembly.Memory,
    keyCodeWanted: number | undefined,
    values: ValueCodec,
    announce?: (thread: number) => void,
    owner = 0,
  ) {
    requireSharedMemory();
    if (!(memory instanceof WebAssembly.Memory) || !(memory.buffer instanceof SharedArrayBuffer)) {
      throw new SabtreeError('ERR_NOT_A_TREE', 'the handle holds no shared memory', memory);
    }
    const { byteLength } = memory.buffer as ArrayBufferLike;
    if (byteLength < NODES) {
      throw new SabtreeError(
        'ERR_NOT_A_TREE',
        `the memory is too small to hold a tree: ${byteLength} bytes`,
        byteLength,
      );
    }
    const header = new Uint32Array(memory.buffer, 0, NODES / 4);
    this.header = header;
    const magic = Atomics.load(header, HEADER_MAGIC >> 2);
    if (magic !== TREE_MAGIC) {
      throw new SabtreeError('ERR_NOT_A_TREE', `the memory does not hold a tree (magic ${magic.toString(16)})`, magic);
    }
    const version = header[HEADER_LAYOUT_VERSION >> 2];
    if (version !== LAYOUT_VERSION) {
      throw new SabtreeError(
        'ERR_LAYOUT_VERSION',
        `the tree was made with memory layout ${version}, this version of sabtree reads layout ${LAYOUT_VERSION}`,
        version,
      );
    }
    this.keyCode = header[HEADER_KEY_TYPE >> 2];
    const hash = schemaHash(keyCodeWanted ?? this.keyCode, values, this.shape());
    if (hash !== header[HEADER_SCHEMA_HASH >> 2]) {
      throw new SabtreeError(
        'ERR_SCHEMA_MISMATCH',
        'the tree was made with other key or value types than it is attached with',
        hash,
      );
    }
    this.memory = memory;
    this.values = values;
    // Before a slot is taken: this may fail.
    this.core = instantiateCore(memory);
    this.thread = claimSlot(header, announce, owner);
    if (this.core.attach(this.thread, needsFences(this.core) ? 1 : 0) !== STATUS_TRUE) {
      Atomics.store(header, (threadSlot(this.thread) + THREAD_STATE) >> 2, THREAD_FREE);
      throw new SabtreeError('ERR_MEMORY_EXHAUSTED', "no room left in the tree's memory for this thread's work block");
    }
    const { core, keyCode } = this;
    const { buffer } = memory;
    const block = core.blockAddress();
    const area = core.areaAddress();
    this.scanCapacity = core.scanCapacity();
    if (isVariable(keyCode)) {
      this.key = new KeyPlace(keyCode, buffer, core.keyPlaceAddress(PLACE_KEY));
      this.upperKey = new KeyPlace(keyCode, buffer, core.keyPlaceAddress(PLACE_KEY2));
      this.scanKeys = KeyTable.at(keyCode, buffer, area, this.scanCapacity, core.scanBytesAddress());
      this.batchKeys = KeyTable.at(keyCode, buffer, area, BATCH, area + BATCH * 4);
    } else {
      this.key = FixedKeys.at(keyCode, buffer, block + BLOCK_KEY, 1);
      this.upperKey = FixedKeys.at(keyCode, buffer, block + BLOCK_KEY2, 1);
      this.scanKeys = FixedKeys.at(keyCode, buffer, area, this.scanCapacity);
      this.batchKeys = FixedKeys.at(keyCode, buffer, area, BATCH);
    }
    const blobs = values.variable !== undefined;
    const register = (address: number) =>
      blobs ? new BlobRegister(this, values, address) : values.view(buffer, address, 1);
    this.value = register(block + BLOCK_VALUE);
    this.expected = register(core.expectedAddress());
    this.results = new Uint32Array(buffer, block + BLOCK_COUNT, 2);
    const scanned = core.scanValuesAddress();
    this.scanValues = blobs
      ? new BlobTable(
          values,
          new Uint32Array(buffer, scanned, 2 * this.scanCapacity),
          new Uint8Array(buffer, core.blobAreaAddress(), SCAN_BYTES),
        )
      : values.view(buffer, scanned, this.scanCapacity);
    const batch = core.batchValuesAddress();
    this.batchValues = blobs
      ? new ValueView(values, new Uint32Array(buffer, batch, 2 * BATCH))
      : values.view(buffer, batch, BATCH);
    this.batchFound = new Uint8Array(buffer, core.batchFoundAddress(), BATCH);
  }

  /** The count beside a call's status. */
  get count(): number {
    return this.results[0];
  }

  /** Whether the last scan's range goes on. */
  get more(): boolean {
    return this.results[(BLOCK_MORE - BLOCK_COUNT) >> 2] === 1;
  }

  /** The node shape in the header. */
  shape(): Shape {
    const { header } = this;
    return {
      nodeSize: header[HEADER_NODE_SIZE >> 2],
      leafCapacity: header[HEADER_LEAF_CAPACITY >> 2],
      branchCapacity: header[HEADER_BRANCH_CAPACITY >> 2],
      leafMinimum: header[HEADER_LEAF_MINIMUM >> 2],
      branchMinimum: header[HEADER_BRANCH_MINIMUM >> 2],
      leafValues: header[HEADER_LEAF_VALUES >> 2],
      branchChildren: header[HEADER_BRANCH_CHILDREN >> 2],
    };
  }

  /** Bytes of a stored key of fixed size. */
  get keySize(): number {
    return keySize(this.keyCode);
  }

  /**
   * Carries a call that did not end with TRUE or FALSE to its end: backs off and repeats it while it is BUSY, and throws
   * the typed error for everything else. The arguments must still stand in the registers.
   * @returns the first status of `call` that is an answer.
   * @throws ERR_LATCH_LOST if one latch stays with one owner beyond the limit, or its owner is known to be dead.
   */
  settle(status: number, call: () => number): number {
    const patience = new Patience(this);
    let answer = status;
    while (answer === STATUS_BUSY) {
      patience.pause();
      answer = call();
    }
    return answer <= STATUS_TRUE ? answer : fail(answer);
  }

  /** A node's version word. */
  versionOf(node: number): bigint {
    return Atomics.load(new BigUint64Array(this.memory.buffer, node & ~(CACHE_LINE - 1), 1), 0);
  }

  /**
   * Takes the area, into which batches are put and scans come. Scans are read where they stand, without a copy; so
   * whoever uses the area takes it first, and a reader that is not done yet then makes its copy after all.
   */
  takeArea(reader?: AreaReader): void {
    const before = this.areaReader;
    this.areaReader = reader;
    if (before !== reader) before?.moveOut();
  }

  /** Tells that `reader` is done with what it had. */
  leaveArea(reader: AreaReader): void {
    if (this.areaReader === reader) this.areaReader = undefined;
  }

  /**
   * Gives the slot back, and with it the work block: the next thread to attach gets both. So whatever still holds this
   * attachment (a method that checks its arguments first, an iterator half way) is left with a core that refuses, and
   * with registers of its own.
   */
  detach(): void {
    if (this.core === CLOSED_CORE) return;
    // A bulk load that closes its own tree ends here.
    this.core.bulkAbort();
    this.core = CLOSED_CORE;
    this.takeArea();
    this.key = this.key.own();
    this.upperKey = this.upperKey.own();
    this.value = this.value.copy(1);
    this.expected = this.expected.copy(1);
    this.batchKeys = this.batchKeys.own();
    this.batchValues = this.batchValues.copy(BATCH);
    Atomics.store(this.header, (threadSlot(this.thread) + THREAD_STATE) >> 2, THREAD_FREE);
  }
}

/**
 * Waiting for a latch, with an end: between the tries of a call that was BUSY it backs off, and if one node stays latched
 * by one owner, at one version, for longer than the tree's limit (or the owner is known to be dead) it throws.
 */
export class Patience {
  private readonly attachment: Attachment;
  private tries = 0;
  private node = 0;
  private version = 0n;
  private since = 0;

  constructor(attachment: Attachment) {
    this.attachment = attachment;
  }

  /** Call after a call was BUSY, before it is repeated. @throws ERR_LATCH_LOST */
  pause(): void {
    const { header, thread } = this.attachment;
    const blockedNode = (threadSlot(thread) + THREAD_BLOCKED_NODE) >> 2;
    const node = header[blockedNode];
    header[blockedNode] = 0;
    this.pauseAt(node);
  }

  /** The same for a caller that knows the node it waits for; 0 if there is none. @throws ERR_LATCH_LOST */
  pauseAt(node: number): void {
    if (node !== 0) {
      const version = this.attachment.versionOf(node);
      if (node === this.node && version === this.version) this.refuseDead();
      else {
        this.node = node;
        this.version = version;
        this.since = performance.now();
      }
    }
    if (this.attachment.isStale?.()) {
      throw new SabtreeError('ERR_LATCH_LOST', `node ${node} is latched in a tree that nobody writes any more`, node);
    }
    pauseBefore(this.tries++);
  }

  private refuseDead(): void {
    const { header } = this.attachment;
    const { node, version } = this;
    if ((version & BigInt(VERSION_LATCHED)) === 0n) return;
    const owner = Number((version >> BigInt(VERSION_OWNER_SHIFT)) & ((1n << BigInt(VERSION_OWNER_BITS)) - 1n));
    const dead = Atomics.load(header, (threadSlot(owner) + THREAD_STATE) >> 2) === THREAD_DEAD;
    const waited = performance.now() - this.since;
    if (!dead && waited < header[HEADER_LATCH_TIMEOUT >> 2]) return;
    throw new SabtreeError(
      'ERR_LATCH_LOST',
      `node ${node} has been latched by thread ${owner} ${dead ? 'which is dead' : `for ${Math.round(waited)} ms`}: the tree is damaged there`,
      owner,
    );
  }
}

/** Throws the error that a status of the core stands for. */
export function fail(status: number): never {
  if (status === STATUS_NO_MEMORY) {
    throw new SabtreeError('ERR_MEMORY_EXHAUSTED', "the tree's memory is at its maximum; nothing was written");
  }
  if (status === STATUS_UNSUPPORTED) {
    throw new SabtreeError('ERR_UNSUPPORTED', 'add works on numeric values only');
  }
  if (status === STATUS_CORRUPT) throw new SabtreeError('ERR_CORRUPT', 'a node that cannot be was met; run check()');
  throw new SabtreeError('ERR_CORRUPT', `unexpected status ${status}`, status);
}

/** Claims a free thread slot, or, if there is none, that of a dead thread. */
function claimSlot(header: Uint32Array, announce: ((thread: number) => void) | undefined, owner: number): number {
  for (const from of [THREAD_FREE, THREAD_DEAD]) {
    for (let thread = 1; thread < MAX_THREADS; thread++) {
      const state = (threadSlot(thread) + THREAD_STATE) >> 2;
      if (Atomics.load(header, state) !== from) continue;
      announce?.(thread);
      if (Atomics.compareExchange(header, state, from, THREAD_ALIVE | (owner << THREAD_OWNER_SHIFT)) === from)
        return thread;
    }
  }
  const most = MAX_THREADS - 1;
  throw new SabtreeError('ERR_TOO_MANY_THREADS', `${most} threads are attached to this tree already`, most);
}

/** Marks a thread as dead, so that nobody waits for a latch it held. */
export function markThreadDead(header: Uint32Array, thread: number): void {
  const word = (threadSlot(thread) + THREAD_STATE) >> 2;
  const state = Atomics.load(header, word);
  if ((state & THREAD_STATE_MASK) === THREAD_ALIVE) Atomics.compareExchange(header, word, state, THREAD_DEAD);
}
