/**
 * Keys and values of every type the tree takes, with the extremes of each, and records of 4 to 512 bytes, odd sizes
 * among them.
 */
import * as bin from 'typed-binary';
import { type FixedKeyType, type FixedValueType, f64, i64, type ScalarType, u64 } from '../../dist/index.js';
import type { Plus } from './oracle.ts';
import type { Random } from './random.ts';

export type AnyKey = number | bigint;

/** Extreme keys of each type; -0 stands beside 0, whose alias it is. */
export const EXTREME_KEYS: Readonly<Record<FixedKeyType, readonly AnyKey[]>> = {
  u32: [0, 1, 2, 0x7ffffffe, 0x7fffffff, 0x80000000, 0x80000001, 0xfffffffe, 0xffffffff],
  i32: [-0x80000000, -0x7fffffff, -2, -1, 0, 1, 2, 0x7ffffffe, 0x7fffffff],
  f64: [
    Number.NEGATIVE_INFINITY,
    -Number.MAX_VALUE,
    -(2 ** 63),
    -1.5,
    -1,
    -2.2250738585072014e-308,
    -2.225073858507201e-308,
    -Number.MIN_VALUE,
    -0,
    0,
    Number.MIN_VALUE,
    2 * Number.MIN_VALUE,
    2.225073858507201e-308,
    2.2250738585072014e-308,
    Number.EPSILON,
    1,
    1 + Number.EPSILON,
    2 ** 32,
    2 ** 53,
    2 ** 53 + 2,
    Number.MAX_VALUE,
    Number.POSITIVE_INFINITY,
  ],
  i64: [
    -(2n ** 63n),
    -(2n ** 63n) + 1n,
    -(2n ** 32n),
    -(2n ** 31n),
    -2n,
    -1n,
    0n,
    1n,
    2n ** 31n,
    2n ** 32n - 1n,
    2n ** 32n,
    2n ** 53n + 1n,
    2n ** 63n - 2n,
    2n ** 63n - 1n,
  ],
  u64: [
    0n,
    1n,
    2n ** 31n,
    2n ** 32n - 1n,
    2n ** 32n,
    2n ** 63n - 1n,
    2n ** 63n,
    2n ** 63n + 1n,
    2n ** 64n - 2n,
    2n ** 64n - 1n,
  ],
};

/** Any key of a type: far apart, or close to one another. */
function randomKey(type: FixedKeyType, random: Random): AnyKey {
  const near = random.chance(0.7);
  if (type === 'u32') return near ? random.below(4000) : random.u32();
  if (type === 'i32') return near ? random.below(4000) - 2000 : random.u32() | 0;
  if (type === 'i64') return near ? BigInt(random.below(4000) - 2000) : BigInt.asIntN(64, random.u64());
  if (type === 'u64') return near ? 2n ** 63n + BigInt(random.below(4000) - 2000) : random.u64();
  if (near) return (random.below(4000) - 2000) / 4;
  // Any bits, but for NaN: all magnitudes down to the subnormal ones.
  for (;;) {
    const key = new Float64Array(new BigUint64Array([random.u64()]).buffer)[0];
    if (!Number.isNaN(key)) return key;
  }
}

/** `size` different keys in random order, the extremes first. */
export function keyPool(type: FixedKeyType, size: number, random: Random): AnyKey[] {
  const pool = new Set<AnyKey>(EXTREME_KEYS[type]);
  while (pool.size < size) pool.add(randomKey(type, random));
  return [...pool];
}

/** The keys in the order of their type. */
export function ascending<K extends AnyKey>(keys: readonly K[]): K[] {
  return [...keys].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

/** One value type of the tests: its option, its values and its addition. */
export interface ValueKind {
  readonly name: string;
  readonly type: FixedValueType;
  readonly zero: unknown;
  readonly plus: Plus<unknown>;
  readonly random: (random: Random) => unknown;
}

function scalar(
  name: ScalarType,
  zero: unknown,
  plus: (a: never, b: never) => unknown,
  draw: ValueKind['random'],
): ValueKind {
  return { name, type: name, zero, plus: plus as Plus<unknown>, random: draw };
}

const F64_VALUES = [
  0,
  -0,
  1,
  -1,
  0.1,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  Number.MIN_VALUE,
];

function someF64(random: Random): number {
  return random.chance(0.3) ? random.pick(F64_VALUES) : (random.u32() - 2 ** 31) / 8;
}

/** Few different values, so that compareAndSet often succeeds, and the extremes. */
export const SCALARS: readonly ValueKind[] = [
  scalar(
    'u32',
    0,
    (a: number, b: number) => (a + b) >>> 0,
    (random) => (random.chance(0.5) ? random.below(4) : random.pick([random.u32(), 0xffffffff, 0x80000000])),
  ),
  scalar(
    'i32',
    0,
    (a: number, b: number) => (a + b) | 0,
    (random) => (random.chance(0.5) ? random.below(4) - 2 : random.pick([random.u32() | 0, 0x7fffffff, -0x80000000])),
  ),
  scalar('f64', 0, (a: number, b: number) => a + b, someF64),
  scalar(
    'i64',
    0n,
    (a: bigint, b: bigint) => BigInt.asIntN(64, a + b),
    (random) =>
      random.chance(0.5)
        ? BigInt(random.below(4) - 2)
        : random.pick([BigInt.asIntN(64, random.u64()), 2n ** 63n - 1n, -(2n ** 63n)]),
  ),
];

function text(random: Random, length: number): string {
  return Array.from({ length }, () => String.fromCharCode(33 + random.below(94))).join('');
}

function bytes(random: Random, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random.u32());
}

function record(size: number, type: FixedValueType, draw: ValueKind['random']): ValueKind {
  return {
    name: `record of ${size}`,
    type,
    zero: undefined,
    plus: undefined,
    random: (random) => draw(random),
  };
}

const header = bin.object({ at: f64, id: i64, serial: u64 });

function someHeader(random: Random): { at: number; id: bigint; serial: bigint } {
  return { at: someF64(random), id: BigInt.asIntN(64, random.u64()), serial: random.u64() };
}

/** Records by size in bytes. */
export const RECORDS: readonly ValueKind[] = [
  record(4, bin.object({ n: bin.u32 }), (random) => ({ n: random.below(3) })),
  record(5, bin.object({ n: bin.i32, on: bin.bool }), (random) => ({ n: random.below(3) - 1, on: random.chance(0.5) })),
  record(7, bin.tupleOf([bin.i16, bin.u8, bin.chars(4)]), (random) => [
    random.below(65536) - 32768,
    random.below(256),
    text(random, 4),
  ]),
  record(13, bin.object({ name: bin.chars(9), ratio: bin.f32 }), (random) => ({
    name: text(random, 9),
    ratio: Math.fround(random.u32() / 7),
  })),
  record(24, header, someHeader),
  record(64, bin.object({ head: header, list: bin.arrayOf(bin.object({ x: bin.i8, y: bin.u32 }), 8) }), (random) => ({
    head: someHeader(random),
    list: Array.from({ length: 8 }, () => ({ x: random.below(256) - 128, y: random.u32() })),
  })),
  record(129, bin.object({ raw: bin.u8Array(128), end: bin.byte }), (random) => ({
    raw: bytes(random, 128),
    end: random.below(256),
  })),
  record(511, bin.object({ head: header, raw: bin.u8Array(487) }), (random) => ({
    head: someHeader(random),
    raw: bytes(random, 487),
  })),
  record(512, bin.tupleOf([bin.f64Array(32), bin.u16Array(64), bin.chars(128)]), (random) => [
    Float64Array.from({ length: 32 }, () => random.u32() / 3),
    Uint16Array.from({ length: 64 }, () => random.u32()),
    text(random, 128),
  ]),
  record(1, bin.object({ on: bin.bool }), (random) => ({ on: random.chance(0.5) })),
];

export const VALUES: readonly ValueKind[] = [...SCALARS, ...RECORDS];
export const KEY_TYPES: readonly FixedKeyType[] = ['u32', 'i32', 'f64', 'i64', 'u64'];
