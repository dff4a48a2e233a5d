/** Values that vary in length, as bytes: strings, bytes, JSON-like data, and records of typed-binary schemas of any size. */
import { Decoder, Encoder } from '@msgpack/msgpack';
import { BufferReader, BufferWriter, type ISchema } from 'typed-binary';
import { MAX_BLOB_BYTES } from '../layout/tree-memory.ts';
import { SabtreeError, show } from './errors.ts';
import { understandAny } from './record.ts';
import { isWellFormed } from './tuple.ts';
import { decodeString } from './variable-keys.ts';

/** Names of value types that vary in length, up to 16 MiB. */
export type VariableType = 'string' | 'bytes' | 'json';

/** How values of one type become bytes of any length. */
export interface VariableCodec {
  /** Says what the bytes mean; part of the schema hash. */
  readonly signature: string;
  /** A value's bytes; valid until the next call. @throws ERR_VALUE */
  encode(value: unknown): Uint8Array;
  /** The value of bytes, which may be shared and belong to the tree. */
  decode(bytes: Uint8Array, from: number, to: number): unknown;
}

const encoder = new TextEncoder();

function refuse(wanted: string, value: unknown): never {
  throw new SabtreeError('ERR_VALUE', `value must be ${wanted}, got ${show(value)}`, value);
}

function checkLength(bytes: Uint8Array, value: unknown): Uint8Array {
  if (bytes.length > MAX_BLOB_BYTES) refuse(`at most ${MAX_BLOB_BYTES} bytes`, value);
  return bytes;
}

/** UTF-8. Strings with lone surrogates are refused, for they would not come back as they were. */
class StringCodec implements VariableCodec {
  readonly signature = 'string';
  private scratch = new Uint8Array(1024);

  encode(value: unknown): Uint8Array {
    if (typeof value !== 'string') refuse('a string', value);
    const { length } = value as string;
    if (length > MAX_BLOB_BYTES) refuse(`at most ${MAX_BLOB_BYTES} bytes`, value);
    if (3 * length > this.scratch.length) {
      // Large ones are rare: no memory is kept for them.
      if (3 * length > 65536) return checkLength(this.encodeLong(value as string), value);
      this.scratch = new Uint8Array(6 * length);
    }
    const { scratch } = this;
    let i = 0;
    for (; i < length; i++) {
      const unit = (value as string).charCodeAt(i);
      if (unit >= 0x80) break;
      scratch[i] = unit;
    }
    if (i === length) return scratch.subarray(0, length);
    if (!isWellFormed(value as string)) refuse('a string without lone surrogates', value);
    return scratch.subarray(0, encoder.encodeInto(value as string, scratch).written);
  }

  private encodeLong(value: string): Uint8Array {
    if (!isWellFormed(value)) refuse('a string without lone surrogates', value);
    return encoder.encode(value);
  }

  decode(bytes: Uint8Array, from: number, to: number): string {
    return decodeString(bytes, from, to);
  }
}

class BytesCodec implements VariableCodec {
  readonly signature: string;

  constructor(signature = 'bytes') {
    this.signature = signature;
  }

  encode(value: unknown): Uint8Array {
    if (!(value instanceof Uint8Array)) refuse('a Uint8Array', value);
    return checkLength(value as Uint8Array, value);
  }

  decode(bytes: Uint8Array, from: number, to: number): Uint8Array {
    return new Uint8Array(bytes.subarray(from, to));
  }
}

/** What is looked into of an encoder. */
interface EncoderParts {
  encodeBigInt64(value: bigint): void;
  encodeString(value: string): void;
  encodeObject(value: object, depth: number): void;
  encodeMap(value: object, depth: number): void;
  clone(): EncoderParts;
}

/** Has an encoder refuse what would not come back as it was. Looked at within, it costs no walk of its own. */
function honest<E extends object>(encoder: E): E {
  const parts = encoder as unknown as EncoderParts;
  const { encodeBigInt64, encodeString, encodeObject, encodeMap, clone } = parts;
  parts.encodeBigInt64 = (value) => {
    // It would take the low 64 bits, whatever stands above them.
    if (BigInt.asIntN(64, value) !== value && BigInt.asUintN(64, value) !== value) {
      throw new RangeError(`a bigint of more than 64 bits: ${value}`);
    }
    encodeBigInt64.call(parts, value);
  };
  parts.encodeString = (value) => {
    if (!isWellFormed(value)) throw new RangeError(`a string with lone surrogates: ${show(value)}`);
    encodeString.call(parts, value);
  };
  parts.encodeObject = (value, depth) => {
    if (value instanceof Date && Number.isNaN(value.getTime())) throw new RangeError('an invalid date');
    // Others would come back as the bytes that they consist of. (By tag: arrays of another realm are no instances.)
    if (ArrayBuffer.isView(value) && (value as Uint8Array)[Symbol.toStringTag] !== 'Uint8Array') {
      throw new RangeError(`${show(value)}: of the typed arrays only Uint8Array is taken`);
    }
    encodeObject.call(parts, value, depth);
  };
  parts.encodeMap = (value, depth) => {
    // The decoder takes none, lest somebody exchange an object's prototype.
    if (Object.hasOwn(value, '__proto__')) throw new RangeError('a property of the name __proto__');
    encodeMap.call(parts, value, depth);
  };
  // A getter may have another value encoded meanwhile; a clone does it then.
  parts.clone = () => honest(clone.call(parts));
  return encoder;
}

/**
 * MessagePack: null, booleans, numbers, bigints of 64 bits, strings, Uint8Arrays, Dates, and arrays and plain objects of
 * these. Properties that are undefined are left out, as in JSON; equal values have equal bytes, whatever the order of their
 * properties. Refused are lone surrogates, invalid dates, other typed arrays, and properties of the name `__proto__`.
 */
class JsonCodec implements VariableCodec {
  readonly signature = 'json';
  private readonly encoder = honest(new Encoder({ useBigInt64: true, ignoreUndefined: true, sortKeys: true }));
  private readonly decoder = new Decoder({ useBigInt64: true });

  encode(value: unknown): Uint8Array {
    if (value === undefined) refuse('something that JSON has, or bytes, dates and bigints', value);
    let bytes: Uint8Array;
    try {
      bytes = this.encoder.encodeSharedRef(value);
    } catch (cause) {
      throw new SabtreeError('ERR_VALUE', `value cannot be encoded: ${(cause as Error).message}`, value, { cause });
    }
    return checkLength(bytes, value);
  }

  decode(bytes: Uint8Array, from: number, to: number): unknown {
    return this.decoder.decode(new Uint8Array(bytes.subarray(from, to)));
  }
}

/** Records of a typed-binary schema, whatever their size. */
class SchemaCodec implements VariableCodec {
  readonly signature: string;
  private readonly schema: ISchema<unknown>;
  private readonly check: (value: unknown, path: string) => void;

  constructor(schema: ISchema<unknown>) {
    const part = understandAny(schema);
    this.schema = schema;
    this.signature = part.signature;
    this.check = part.check;
  }

  encode(value: unknown): Uint8Array {
    this.check(value, '');
    const { size } = this.schema.measure(value as never);
    if (!(size <= MAX_BLOB_BYTES)) refuse(`at most ${MAX_BLOB_BYTES} bytes`, value);
    const bytes = new Uint8Array(size);
    this.schema.write(new BufferWriter(bytes.buffer, { endianness: 'little' }), value as never);
    return bytes;
  }

  decode(bytes: Uint8Array, from: number, to: number): unknown {
    const own = new Uint8Array(bytes.subarray(from, to));
    return this.schema.read(new BufferReader(own.buffer, { endianness: 'little' }));
  }
}

/** A codec that only moves the bytes of values whose type has that signature. */
export function movingCodec(signature: string): VariableCodec {
  return new BytesCodec(signature);
}

/** The codec of a type that varies in length. @throws ERR_OPTION */
export function variableCodec(type: VariableType | ISchema<unknown>): VariableCodec {
  if (type === 'string') return new StringCodec();
  if (type === 'bytes') return new BytesCodec();
  if (type === 'json') return new JsonCodec();
  return new SchemaCodec(type);
}
