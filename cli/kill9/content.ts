/** What stores of kill9 hold: keys and values of several types, each of which stands for a number. */

/** What a store holds: numbers as u32 -> f64, or objects as string -> json. */
export type ContentName = 'numbers' | 'objects';

/** The names. */
export const CONTENTS: readonly ContentName[] = ['numbers', 'objects'];

/** A value of a store of objects. */
export interface Padded {
  readonly n: number;
  readonly pad: string;
}

/** Most bytes of a padding: with it a value takes nearly as much as a store takes by default (16 KiB). */
const MOST_PADDING = 16_300;

/** The key of a store of objects that stands for a number: of many lengths. */
export function keyOf(number: number): string {
  return `${number % 3}/${'key'.repeat(number % 40)}é${number}`;
}

/** The number that a key stands for. */
export function numberOfKey(key: string): number {
  return Number(key.slice(key.indexOf('é') + 1));
}

/** The value that stands for a number: of many lengths, some of nearly the longest. */
export function padded(number: number): Padded {
  const mixed = Math.imul(Math.floor(number), 0x9e3779b1) >>> 0;
  return { n: number, pad: 'v'.repeat(mixed % 40 === 0 ? MOST_PADDING - (mixed % 97) : mixed % 600) };
}

/** The number that a value stands for; NaN if it is not whole. */
export function numberOfValue(value: Padded): number {
  return value.pad === padded(value.n).pad ? value.n : Number.NaN;
}
