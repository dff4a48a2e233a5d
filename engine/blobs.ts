/** Values of varying length at their places in a thread's work block: references to blobs (engine/core/blob.ts). */
import { STATUS_TRUE } from '../layout/operation.ts';
import { BLOB_BYTES, BLOB_COPY_BYTES, SCAN_BYTES } from '../layout/tree-memory.ts';
import type { Core } from './core.ts';
import { SabtreeError } from './errors.ts';
import { type ValueCodec, ValueView } from './values.ts';
import type { VariableCodec } from './variable-values.ts';

/** What blobs need of a thread's attachment. */
interface BlobHolder {
  readonly memory: WebAssembly.Memory;
  readonly core: Core;
  settle(status: number, call: () => number): number;
}

/** Copies of a large value without a latch before one is taken. */
const TRIES = 8;

/** One value: a reference, in a register of the work block. */
export class BlobRegister extends ValueView {
  private readonly holder: BlobHolder;
  private readonly variable: VariableCodec;
  private readonly reference: Uint32Array;
  /** Content of the value that was read, if it is short. */
  private readonly short: Uint8Array;
  private bytes: Uint8Array;
  /** Bytes of the longest value that was ever stored through it. */
  longest = 0;

  constructor(holder: BlobHolder, codec: ValueCodec, address: number) {
    const { buffer } = holder.memory;
    const reference = new Uint32Array(buffer, address, 2);
    super(codec, reference);
    this.holder = holder;
    this.variable = codec.variable as VariableCodec;
    this.reference = reference;
    this.short = new Uint8Array(buffer, holder.core.blobCopyAddress(), BLOB_COPY_BYTES);
    this.bytes = new Uint8Array(buffer);
  }

  /** The bytes of the memory, as far as they are needed: it may have grown since. */
  private upTo(end: number): Uint8Array {
    if (end > this.bytes.length) {
      const { memory } = this.holder;
      memory.grow(0);
      this.bytes = new Uint8Array(memory.buffer);
    }
    return this.bytes;
  }

  /** Makes a blob of the value. It belongs to nobody until a leaf refers to it. @throws ERR_VALUE, ERR_MEMORY_EXHAUSTED */
  override set(_i: number, value: unknown): void {
    this.store(this.variable.encode(value));
  }

  /** Makes a blob of bytes. @throws ERR_MEMORY_EXHAUSTED */
  store(content: Uint8Array): void {
    const { core } = this.holder;
    const { length } = content;
    const address = core.allocateBlob(length) >>> 0;
    if (address === 0) {
      throw new SabtreeError(
        'ERR_MEMORY_EXHAUSTED',
        `the tree's memory has no room for a value of ${length} bytes; nothing was written`,
        length,
      );
    }
    this.upTo(address + BLOB_BYTES + length).set(content, address + BLOB_BYTES);
    core.sealBlob(address, length);
    if (length > this.longest) this.longest = length;
    this.reference[0] = address;
    this.reference[1] = length;
  }

  /** Gives a blob back that `set` made and that nobody took. */
  release(): void {
    this.holder.core.freeBlob(this.reference[0], this.reference[1]);
  }

  /** The value that was read; undefined if it was long, and deleted before it could be copied. */
  override get(_i: number): unknown {
    const length = this.reference[1];
    if (length <= BLOB_COPY_BYTES) return this.variable.decode(this.short, 0, length);
    return this.readLong();
  }

  /** Copies a long value, and makes sure that it was whole: the key must still stand in its register. */
  private readLong(): unknown {
    const { holder, reference } = this;
    const { core } = holder;
    for (let tries = 0; tries < TRIES; tries++) {
      const copy = this.copyContent();
      if (core.unchanged() === STATUS_TRUE) return this.variable.decode(copy, 0, copy.length);
      if (holder.settle(core.get(), core.get) !== STATUS_TRUE) return undefined;
      if (reference[1] <= BLOB_COPY_BYTES) return this.get(0);
    }
    // Somebody writes it again and again: hold him up.
    if (holder.settle(core.hold(), core.hold) !== STATUS_TRUE) return undefined;
    let copy: Uint8Array;
    try {
      copy = this.copyContent();
    } finally {
      core.letGo();
    }
    return this.variable.decode(copy, 0, copy.length);
  }

  private copyContent(): Uint8Array {
    const [address, length] = this.reference;
    const from = (address & ~7) + BLOB_BYTES;
    // In pieces of no more than there is: a reference that is not valid any more may point anywhere.
    return new Uint8Array(this.upTo((from >>> 0) + length).subarray(from >>> 0, (from >>> 0) + length));
  }

  override copy(_n: number): ValueView {
    return this;
  }
}

/** The values that a scan has copied: places in the area of contents. */
export class BlobTable extends ValueView {
  private readonly variable: VariableCodec;
  private readonly places: Uint32Array;
  private readonly area: Uint8Array;

  constructor(codec: ValueCodec, places: Uint32Array, area: Uint8Array) {
    super(codec, places);
    this.variable = codec.variable as VariableCodec;
    this.places = places;
    this.area = area;
  }

  /** Whether the first value is too long for the area, and has to be read by itself. */
  get isLong(): boolean {
    return this.places[1] > SCAN_BYTES;
  }

  override get(i: number): unknown {
    const from = this.places[2 * i];
    return this.variable.decode(this.area, from, from + this.places[2 * i + 1]);
  }

  override set(_i: number, _value: unknown): void {
    throw new SabtreeError('ERR_UNSUPPORTED', 'values of a scan are only read');
  }

  override copy(n: number): ValueView {
    const places = this.places.slice(0, 2 * n);
    const end = n === 0 ? 0 : places[2 * n - 2] + places[2 * n - 1];
    return new BlobTable(this.codec, places, this.area.slice(0, end));
  }
}

/** One value that was read by itself, in a scan's stead. */
export class OneValue extends ValueView {
  private readonly value: unknown;

  constructor(codec: ValueCodec, value: unknown) {
    super(codec, new Uint8Array(0));
    this.value = value;
  }

  override get(_i: number): unknown {
    return this.value;
  }

  override copy(_n: number): ValueView {
    return this;
  }
}
