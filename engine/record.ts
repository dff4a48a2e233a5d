import {
  ArraySchema,
  BoolSchema,
  BufferReader,
  BufferWriter,
  ByteSchema,
  CharsSchema,
  DynamicArraySchema,
  Float16Schema,
  Float32Schema,
  type IMeasurer,
  Int8Schema,
  Int16Schema,
  Int32Schema,
  type ISchema,
  type ISerialInput,
  type ISerialOutput,
  type MaxValue,
  Measurer,
  ObjectSchema,
  OptionalSchema,
  Schema,
  StringSchema,
  TupleSchema,
  TypedArraySchema,
  Uint8Schema,
  Uint16Schema,
  Uint32Schema,
} from 'typed-binary';
import { MAX_VALUE_SIZE, MIN_VALUE_SIZE } from '../layout/tree-memory.ts';
import { SabtreeError, show } from './errors.ts';
import { isWellFormed } from './tuple.ts';

/** A typed-binary schema whose values all have one size. */
export type RecordSchema<T = unknown> = ISchema<T>;

/**
 * The number itself, but every NaN as the same one. NaNs have many bit patterns (0/0 has its sign set on x86-64 and clear
 * on arm64), and values are compared and digested by their bytes.
 */
export function oneNaN(value: number): number {
  // Only NaN differs from itself.
  // biome-ignore lint/suspicious/noSelfCompare: see above
  return value === value ? value : Number.NaN;
}

/** Scalars of eight bytes, which typed-binary does not have. They go through a private pair of 32-bit words. */
abstract class WideSchema<T> extends Schema<T> {
  readonly maxSize = 8;
  protected readonly words = new Uint32Array(2);

  protected abstract fill(value: T): void;
  protected abstract value(): T;

  override write(output: ISerialOutput, value: unknown): void {
    this.fill(value as T);
    output.writeUint32(this.words[0]);
    output.writeUint32(this.words[1]);
  }

  // biome-ignore lint/suspicious/noExplicitAny: typed-binary's Parsed<T> is T for scalars, which its types cannot see
  override read(input: ISerialInput): any {
    this.words[0] = input.readUint32();
    this.words[1] = input.readUint32();
    return this.value();
  }

  override measure(_: unknown | MaxValue, measurer: IMeasurer = new Measurer()): IMeasurer {
    return measurer.add(8);
  }
}

class Float64Schema extends WideSchema<number> {
  private readonly view = new Float64Array(this.words.buffer);
  protected fill(value: number): void {
    this.view[0] = oneNaN(value);
  }
  protected value(): number {
    return this.view[0];
  }
}

class Int64Schema extends WideSchema<bigint> {
  private readonly view = new BigInt64Array(this.words.buffer);
  protected fill(value: bigint): void {
    this.view[0] = value;
  }
  protected value(): bigint {
    return this.view[0];
  }
}

class Uint64Schema extends WideSchema<bigint> {
  private readonly view = new BigUint64Array(this.words.buffer);
  protected fill(value: bigint): void {
    this.view[0] = value;
  }
  protected value(): bigint {
    return this.view[0];
  }
}

/** typed-binary schema of a 64-bit floating point number, for use in record schemas. */
export const f64: Schema<number> = new Float64Schema();
/** typed-binary schema of a signed 64-bit integer (bigint), for use in record schemas. */
export const i64: Schema<bigint> = new Int64Schema();
/** typed-binary schema of an unsigned 64-bit integer (bigint), for use in record schemas. */
export const u64: Schema<bigint> = new Uint64Schema();

/** Checks one value against one part of a schema. */
type Check = (value: unknown, path: string) => void;

/** A part of a schema, understood. */
interface Part {
  /** Says what the bytes mean; equal signatures, equal encodings. */
  readonly signature: string;
  /** Bytes of a value; NaN if they differ from value to value. */
  readonly size: number;
  readonly check: Check;
}

function refuse(path: string, wanted: string, value: unknown): never {
  throw new SabtreeError('ERR_VALUE', `value${path} must be ${wanted}, got ${show(value)}`, value);
}

function integerPart(signature: string, size: number, least: number, most: number): Part {
  const check: Check = (value, path) => {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
      refuse(path, `an integer from ${least} to ${most}`, value);
    }
  };
  return { signature, size, check };
}

function numberPart(signature: string, size: number): Part {
  return {
    signature,
    size,
    check(value, path) {
      if (typeof value !== 'number') refuse(path, 'a number', value);
    },
  };
}

function bigintPart(signature: string, signed: boolean): Part {
  return {
    signature,
    size: 8,
    check(value, path) {
      if (typeof value !== 'bigint' || (signed ? BigInt.asIntN(64, value) : BigInt.asUintN(64, value)) !== value) {
        refuse(path, signed ? 'a bigint from -2^63 to 2^63 - 1' : 'a bigint from 0 to 2^64 - 1', value);
      }
    },
  };
}

function listPart(signature: string, parts: readonly Part[]): Part {
  return {
    signature,
    size: parts.reduce((sum, part) => sum + part.size, 0),
    check(value, path) {
      if (!Array.isArray(value) || value.length !== parts.length) refuse(path, `an array of ${parts.length}`, value);
      for (let i = 0; i < parts.length; i++) parts[i].check(value[i], `${path}[${i}]`);
    },
  };
}

/** The parts whose values differ in size. */
function understandVariable(schema: unknown, path: string): Part | undefined {
  if (schema instanceof StringSchema) {
    const check: Check = (value, where) => {
      // typed-binary ends a string with a zero, so it cannot hold one.
      if (typeof value !== 'string' || value.includes('\0') || !isWellFormed(value)) {
        refuse(where, 'a string without NUL and lone surrogates', value);
      }
    };
    return { signature: 'string', size: Number.NaN, check };
  }
  if (schema instanceof DynamicArraySchema) {
    const inner = understand(
      (schema as unknown as { _unstableElementType: unknown })._unstableElementType,
      `${path}[]`,
    );
    const check: Check = (value, where) => {
      if (!Array.isArray(value)) refuse(where, 'an array', value);
      for (let i = 0; i < (value as unknown[]).length; i++) inner.check((value as unknown[])[i], `${where}[${i}]`);
    };
    return { signature: `[${inner.signature}]`, size: Number.NaN, check };
  }
  if (schema instanceof OptionalSchema) {
    const inner = understand((schema as unknown as { _innerUnstableSchema: unknown })._innerUnstableSchema, path);
    const check: Check = (value, where) => {
      if (value !== undefined) inner.check(value, where);
    };
    return { signature: `${inner.signature}?`, size: Number.NaN, check };
  }
  return undefined;
}

/** Takes a schema apart, of whatever size its values are. @throws ERR_OPTION */
export function understandAny(schema: unknown): {
  readonly signature: string;
  readonly size: number;
  readonly check: Check;
} {
  return understand(schema, '');
}

/** Takes a schema apart. @throws ERR_OPTION for kinds that are not known. */
function understand(schema: unknown, path: string): Part {
  const variable = understandVariable(schema, path);
  if (variable !== undefined) return variable;
  if (schema instanceof Float64Schema) return numberPart('f64', 8);
  if (schema instanceof Int64Schema) return bigintPart('i64', true);
  if (schema instanceof Uint64Schema) return bigintPart('u64', false);
  if (schema instanceof BoolSchema) {
    const check: Check = (value, where) => {
      if (typeof value !== 'boolean') refuse(where, 'a boolean', value);
    };
    return { signature: 'bool', size: 1, check };
  }
  if (schema instanceof Int8Schema) return integerPart('i8', 1, -128, 127);
  if (schema instanceof Uint8Schema || schema instanceof ByteSchema) return integerPart('u8', 1, 0, 255);
  if (schema instanceof Int16Schema) return integerPart('i16', 2, -32768, 32767);
  if (schema instanceof Uint16Schema) return integerPart('u16', 2, 0, 65535);
  if (schema instanceof Int32Schema) return integerPart('i32', 4, -2147483648, 2147483647);
  if (schema instanceof Uint32Schema) return integerPart('u32', 4, 0, 4294967295);
  if (schema instanceof Float16Schema) {
    if (!('setFloat16' in DataView.prototype)) {
      throw new SabtreeError('ERR_OPTION', `option value${path}: this JavaScript engine has no 16-bit floats`, schema);
    }
    return numberPart('f16', 2);
  }
  if (schema instanceof Float32Schema) return numberPart('f32', 4);
  if (schema instanceof CharsSchema) {
    const { length } = schema;
    const check: Check = (value, where) => {
      // One byte each: anything beyond Latin-1's first half would need more, and lose the fixed size.
      if (typeof value !== 'string' || value.length !== length || !/^[\x00-\x7f]*$/.test(value)) {
        refuse(where, `a string of ${length} ASCII characters`, value);
      }
    };
    return { signature: `chars${length}`, size: length, check };
  }
  if (schema instanceof TypedArraySchema) {
    const { length, byteLength } = schema;
    const { name } = (schema as unknown as { _arrayConstructor: { name: string } })._arrayConstructor;
    const check: Check = (value, where) => {
      // By tag, not by class: subclasses (Buffer) and arrays of another realm have the same bytes.
      if (
        !ArrayBuffer.isView(value) ||
        (value as Uint8Array)[Symbol.toStringTag] !== name ||
        (value as Uint8Array).length !== length
      ) {
        refuse(where, `a ${name} of ${length}`, value);
      }
    };
    return { signature: `${name}x${length}`, size: byteLength, check };
  }
  if (schema instanceof ArraySchema) {
    const inner = understand((schema as unknown as { elementSchema: unknown }).elementSchema, `${path}[]`);
    return listPart(`[${inner.signature}x${schema.length}]`, new Array<Part>(schema.length).fill(inner));
  }
  if (schema instanceof TupleSchema) {
    const parts = (schema as unknown as { schemas: unknown[] }).schemas.map((part, i) =>
      understand(part, `${path}[${i}]`),
    );
    return listPart(`(${parts.map((part) => part.signature).join()})`, parts);
  }
  if (schema instanceof ObjectSchema) {
    const parts = Object.entries(schema.properties as Record<string, unknown>).map(
      ([name, part]) => [name, understand(part, `${path}.${name}`)] as const,
    );
    return {
      signature: `{${parts.map(([name, part]) => `${name}:${part.signature}`).join()}}`,
      size: parts.reduce((sum, [, part]) => sum + part.size, 0),
      check(value, where) {
        if (typeof value !== 'object' || value === null) refuse(where, 'an object', value);
        for (const [name, part] of parts) part.check((value as Record<string, unknown>)[name], `${where}.${name}`);
      },
    };
  }
  const kind = (schema as object | null)?.constructor?.name ?? typeof schema;
  throw new SabtreeError(
    'ERR_OPTION',
    `option value${path}: ${kind} is not a typed-binary schema that can be a value (generic and keyed cannot)`,
    schema,
  );
}

/** A record schema ready to encode and decode. One per thread: it has scratch memory of its own. */
export class RecordCodec {
  /** Bytes of an encoded record. */
  readonly size: number;
  /** Says what the bytes mean; part of the schema hash. */
  readonly signature: string;
  private readonly schema: ISchema<unknown>;
  private readonly check: Check;
  private readonly scratch: Uint8Array;
  private readonly writer: BufferWriter;
  private readonly reader: BufferReader;

  constructor(schema: ISchema<unknown>) {
    const part = understand(schema, '');
    if (!(part.size >= MIN_VALUE_SIZE && part.size <= MAX_VALUE_SIZE)) {
      throw new SabtreeError(
        'ERR_OPTION',
        `option value: records in a leaf have ${MIN_VALUE_SIZE} to ${MAX_VALUE_SIZE} bytes, this schema's have ${part.size}`,
        part.size,
      );
    }
    this.schema = schema;
    this.check = part.check;
    this.size = part.size;
    this.signature = part.signature;
    // Private, unshared memory: browsers refuse to encode strings straight into shared memory.
    // Whole words: the bytes behind the record are always zero, so equal records are equal byte for byte in the tree.
    this.scratch = new Uint8Array((part.size + 3) & ~3);
    this.writer = new BufferWriter(this.scratch.buffer, { endianness: 'little' });
    this.reader = new BufferReader(this.scratch.buffer, { endianness: 'little' });
  }

  /** Checks the record and writes it, padded to whole words, to `target` at `offset`. ERR_VALUE names the part that does not fit. */
  encode(value: unknown, target: Uint8Array, offset: number): void {
    this.check(value, '');
    this.writer.seekTo(0);
    this.schema.write(this.writer, value as never);
    target.set(this.scratch, offset);
  }

  /** The record at `offset` of `source`. */
  decode(source: Uint8Array, offset: number): unknown {
    this.scratch.set(source.subarray(offset, offset + this.size));
    this.reader.seekTo(0);
    return this.schema.read(this.reader);
  }
}
