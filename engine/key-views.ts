/** Keys at their places in a thread's work block, whatever their type. */
import { type KeyArray, keyView, writeKey } from './keys.ts';

/** One or more keys at a fixed place. */
export interface KeyView {
  /** Checks a key and writes it as number i. Keys that vary in length are written in order. @throws ERR_KEY */
  set(i: number, key: unknown): void;
  /** Key i. */
  get(i: number): unknown;
  /** Key i as something `set` takes; cheaper than `get` where nobody looks at the key. */
  stored(i: number): unknown;
  /** Whether there is room for key i, however long it is, behind those before it. */
  hasRoomFor(i: number): boolean;
  /** A copy of the first n in memory of their own. */
  copy(n: number): KeyView;
  /** The same place in memory of its own, with as much room. */
  own(): KeyView;
}

/** Keys of fixed size: elements of a typed array. */
export class FixedKeys implements KeyView {
  /** The typed array behind it. */
  readonly raw: KeyArray;
  private readonly code: number;

  constructor(code: number, raw: KeyArray) {
    this.code = code;
    this.raw = raw;
  }

  /** n keys at a place in memory. */
  static at(code: number, buffer: ArrayBufferLike, address: number, n: number): FixedKeys {
    return new FixedKeys(code, keyView(code, buffer, address, n));
  }

  set(i: number, key: unknown): void {
    writeKey(this.code, this.raw, i, key);
  }

  get(i: number): number | bigint {
    return this.raw[i];
  }

  stored(i: number): number | bigint {
    return this.raw[i];
  }

  hasRoomFor(i: number): boolean {
    return i < this.raw.length;
  }

  copy(n: number): FixedKeys {
    return new FixedKeys(this.code, this.raw.slice(0, n));
  }

  own(): FixedKeys {
    return this.copy(this.raw.length);
  }
}
