import type { ISchema, Parsed } from 'typed-binary';
import {
  MAX_VALUE_SIZE,
  VALUE_BLOB,
  VALUE_F64,
  VALUE_I32,
  VALUE_I64,
  VALUE_RECORD,
  VALUE_U32,
} from '../layout/tree-memory.ts';
import { SabtreeError, show } from './errors.ts';
import { oneNaN, RecordCodec, understandAny } from './record.ts';
import { movingCodec, type VariableCodec, type VariableType, variableCodec } from './variable-values.ts';

/** Names of the scalar value types. */
export type ScalarType = 'u32' | 'i32' | 'f64' | 'i64';

/** Value types that stand in the leaves: a scalar's name, or a typed-binary schema whose values all have one size. */
export type FixedValueType = ScalarType | ISchema<unknown>;

/** What the `value` option takes: also names of types that vary in length, and typed-binary schemas of any size. */
export type ValueType = FixedValueType | VariableType;

/** The JavaScript type of a value. */
export type ValueOf<V extends ValueType> = V extends 'i64'
  ? bigint
  : V extends ScalarType
    ? number
    : V extends 'string'
      ? string
      : V extends 'bytes'
        ? Uint8Array
        : V extends 'json'
          ? unknown
          : V extends ISchema<infer T>
            ? Parsed<T>
            : never;

const SCALARS: Readonly<Record<ScalarType, readonly [code: number, size: number]>> = {
  u32: [VALUE_U32, 4],
  i32: [VALUE_I32, 4],
  f64: [VALUE_F64, 8],
  i64: [VALUE_I64, 8],
};

/** Typed array whose elements are scalar values. */
export type ScalarArray = Uint32Array | Int32Array | Float64Array | BigInt64Array;

/**
 * A value type for threads that only move values: a name, or what a schema comes to, which cannot travel itself. If the values
 * vary in length, `size` is that of a reference.
 */
export type MovedType = ValueType | { readonly signature: string; readonly size: number; readonly varies: boolean };

/** Before the signatures of values that vary in length. */
const BLOB = 'blob:';

/** Whether values of this type vary in length, or are too large for a leaf. */
function variesInLength(type: unknown): type is VariableType | ISchema<unknown> {
  if (type === 'string' || type === 'bytes' || type === 'json') return true;
  if (typeof type !== 'object' || type === null) return false;
  const { size } = understandAny(type);
  return !(size <= MAX_VALUE_SIZE);
}

/**
 * How values of one type become bytes. Scalars are checked and stored through typed arrays, records through their
 * schema; both sides of every copy are checked against the size.
 */
export class ValueCodec {
  /** One of the VALUE_ codes. */
  readonly code: number;
  /** Bytes a value takes in a leaf: its own, rounded up to a multiple of 4. */
  readonly stride: number;
  /** Says what the bytes mean; part of the schema hash. */
  readonly signature: string;
  /** How values become bytes of any length, if they do. */
  readonly variable: VariableCodec | undefined;
  private readonly record: RecordCodec | undefined;

  constructor(type: ValueType) {
    this.variable = undefined;
    if (typeof type === 'string' && Object.hasOwn(SCALARS, type)) {
      [this.code, this.stride] = SCALARS[type as ScalarType];
      this.signature = type;
      this.record = undefined;
    } else if (variesInLength(type)) {
      this.variable = variableCodec(type);
      this.code = VALUE_BLOB;
      this.stride = 8;
      this.signature = BLOB + this.variable.signature;
      this.record = undefined;
    } else if (typeof type === 'object' && type !== null) {
      this.record = new RecordCodec(type as ISchema<unknown>);
      this.code = VALUE_RECORD;
      this.stride = (this.record.size + 3) & ~3;
      this.signature = this.record.signature;
    } else {
      throw new SabtreeError(
        'ERR_OPTION',
        `option value must be 'u32', 'i32', 'f64', 'i64', 'string', 'bytes', 'json' or a typed-binary schema, got ${show(type)}`,
        type,
      );
    }
  }

  /**
   * A codec that only moves values: for threads that never look inside one, such as executors, which get no schema. To it,
   * values that vary in length are bytes, whatever their type.
   */
  static opaque(type: MovedType): ValueCodec {
    if (typeof type !== 'object' || !('signature' in type)) {
      const codec = new ValueCodec(type);
      return codec.variable === undefined ? codec : ValueCodec.opaque(ValueCodec.moved(type));
    }
    const { signature, size, varies } = type;
    const codec = Object.create(ValueCodec.prototype) as { -readonly [K in keyof ValueCodec]: ValueCodec[K] };
    const parts = varies
      ? { code: VALUE_BLOB, stride: size, variable: movingCodec(signature.slice(BLOB.length)) }
      : { code: VALUE_RECORD, stride: (size + 3) & ~3 };
    return Object.assign(codec, parts, { signature }) as ValueCodec;
  }

  /** What threads that only move values are told of a type. */
  static moved(type: ValueType): Exclude<MovedType, ValueType> {
    const { signature, stride: size, variable } = new ValueCodec(type);
    return { signature, size, varies: variable !== undefined };
  }

  /** A view of n values at a place in memory. */
  view(buffer: ArrayBufferLike, offset: number, n: number): ValueView {
    const { code } = this;
    if (code === VALUE_U32) return new ValueView(this, new Uint32Array(buffer, offset, n));
    if (code === VALUE_I32) return new ValueView(this, new Int32Array(buffer, offset, n));
    if (code === VALUE_F64) return new ValueView(this, new Float64Array(buffer, offset, n));
    if (code === VALUE_I64) return new ValueView(this, new BigInt64Array(buffer, offset, n));
    return new ValueView(this, new Uint8Array(buffer, offset, n * this.stride));
  }

  /** Throws ERR_VALUE: `value` is not a value of this scalar type. */
  refuse(value: unknown): never {
    const { code } = this;
    const wanted =
      code === VALUE_U32
        ? 'an integer from 0 to 4294967295'
        : code === VALUE_I32
          ? 'an integer from -2147483648 to 2147483647'
          : code === VALUE_F64
            ? 'a number'
            : 'a bigint from -2^63 to 2^63 - 1';
    throw new SabtreeError('ERR_VALUE', `value must be ${wanted}, got ${show(value)}`, value);
  }

  /** Checks a value and writes it at a byte offset (a multiple of 8). ERR_VALUE if it does not fit, and nothing is written. */
  encode(views: ByteViews, offset: number, value: unknown): void {
    const { code } = this;
    if (code === VALUE_F64) {
      if (typeof value !== 'number') this.refuse(value);
      views.f64[offset >> 3] = oneNaN(value as number);
    } else if (code === VALUE_U32) {
      if (typeof value !== 'number' || value >>> 0 !== value) this.refuse(value);
      views.u32[offset >> 2] = value as number;
    } else if (code === VALUE_I32) {
      if (typeof value !== 'number' || (value | 0) !== value) this.refuse(value);
      views.i32[offset >> 2] = value as number;
    } else if (code === VALUE_I64) {
      if (typeof value !== 'bigint' || BigInt.asIntN(64, value) !== value) this.refuse(value);
      views.i64[offset >> 3] = value as bigint;
    } else {
      this.encodeRecord(value, views.u8, offset);
    }
  }

  /** The value at a byte offset (a multiple of 4; of 8 for 8-byte scalars). */
  decode(views: ByteViews, offset: number): unknown {
    const { code } = this;
    if (code === VALUE_F64) return views.f64[offset >> 3];
    if (code === VALUE_U32) return views.u32[offset >> 2];
    if (code === VALUE_I32) return views.i32[offset >> 2];
    if (code === VALUE_I64) return views.i64[offset >> 3];
    return this.decodeRecord(views.u8, offset);
  }

  /** @internal */
  encodeRecord(value: unknown, target: Uint8Array, offset: number): void {
    (this.record as RecordCodec).encode(value, target, offset);
  }

  /** @internal */
  decodeRecord(source: Uint8Array, offset: number): unknown {
    return (this.record as RecordCodec).decode(source, offset);
  }
}

/** One piece of private memory, seen as every element type. */
export class ByteViews {
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly f64: Float64Array;
  readonly i64: BigInt64Array;

  /** @param bytes size, a multiple of 8. */
  constructor(bytes: number) {
    const memory = new ArrayBuffer(bytes);
    this.u8 = new Uint8Array(memory);
    this.u32 = new Uint32Array(memory);
    this.i32 = new Int32Array(memory);
    this.f64 = new Float64Array(memory);
    this.i64 = new BigInt64Array(memory);
  }
}

/** n values at a fixed place. */
export class ValueView {
  /** The typed array behind it: scalars as elements, records as bytes. */
  readonly raw: ScalarArray | Uint8Array;
  protected readonly codec: ValueCodec;

  constructor(codec: ValueCodec, raw: ScalarArray | Uint8Array) {
    this.codec = codec;
    this.raw = raw;
  }

  /** Checks the value and writes it as element i. ERR_VALUE if it does not fit, and nothing is written. */
  set(i: number, value: unknown): void {
    const { codec, raw } = this;
    const { code } = codec;
    if (code === VALUE_F64) {
      if (typeof value !== 'number') codec.refuse(value);
      (raw as Float64Array)[i] = oneNaN(value as number);
    } else if (code === VALUE_U32) {
      if (typeof value !== 'number' || value >>> 0 !== value) codec.refuse(value);
      (raw as Uint32Array)[i] = value as number;
    } else if (code === VALUE_I32) {
      if (typeof value !== 'number' || (value | 0) !== value) codec.refuse(value);
      (raw as Int32Array)[i] = value as number;
    } else if (code === VALUE_I64) {
      if (typeof value !== 'bigint' || BigInt.asIntN(64, value) !== value) codec.refuse(value);
      (raw as BigInt64Array)[i] = value as bigint;
    } else {
      codec.encodeRecord(value, raw as Uint8Array, i * codec.stride);
    }
  }

  /** Element i. */
  get(i: number): unknown {
    const { codec, raw } = this;
    return codec.code === VALUE_RECORD ? codec.decodeRecord(raw as Uint8Array, i * codec.stride) : raw[i];
  }

  /** A copy of the first n elements in memory of their own, which no later call overwrites. */
  copy(n: number): ValueView {
    const { codec, raw } = this;
    return new ValueView(codec, raw.slice(0, codec.code === VALUE_RECORD ? n * codec.stride : n) as Uint8Array);
  }
}
