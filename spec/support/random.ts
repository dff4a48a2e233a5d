/**
 * Seeded randomness. Every run draws a new seed; a test that fails says which one it had, and
 * `SABTREE_SEED=<seed> npx vitest run ...` runs it again with the very same choices.
 */

/** The seed of this run, an unsigned 32-bit integer. */
export const SEED = seedOf(process.env.SABTREE_SEED);

function seedOf(given: string | undefined): number {
  if (given === undefined || given === '') return Math.floor(Math.random() * 2 ** 32);
  const seed = Number(given);
  if (!Number.isInteger(seed) || seed < 0 || seed >= 2 ** 32) throw new Error(`SABTREE_SEED: ${given} is not a u32`);
  return seed;
}

/** Small and fast generator (sfc32). The same seed gives the same numbers on every machine. */
export class Random {
  private a: number;
  private b: number;
  private c = 0x9e3779b9;
  private counter = 1;

  /** @param name lets several generators of one seed differ. */
  constructor(seed: number, name = '') {
    let hash = 0x811c9dc5;
    for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
    this.a = seed | 0;
    this.b = hash | 0;
    for (let i = 0; i < 15; i++) this.u32();
  }

  /** 0 to 2^32 - 1. */
  u32(): number {
    const sum = (this.a + this.b + this.counter) | 0;
    this.counter = (this.counter + 1) | 0;
    this.a = this.b ^ (this.b >>> 9);
    this.b = (this.c + (this.c << 3)) | 0;
    this.c = (((this.c << 21) | (this.c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** 0 to 2^64 - 1. */
  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
  }

  /** 0 to n - 1. */
  below(n: number): number {
    return this.u32() % n;
  }

  /** True with the given probability. */
  chance(probability: number): boolean {
    return this.u32() < probability * 2 ** 32;
  }

  pick<T>(from: readonly T[]): T {
    if (from.length === 0) throw new Error('nothing to pick from');
    return from[this.below(from.length)];
  }

  /** A copy in random order. */
  shuffled<T>(from: readonly T[]): T[] {
    const items = [...from];
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [items[i], items[j]] = [items[j], items[i]];
    }
    return items;
  }
}

/** A test body with a generator of its own; if it fails, the seed is printed and stands in the error's message. */
export function seeded(name: string, body: (random: Random) => void | Promise<void>): () => Promise<void> {
  return async () => {
    try {
      await body(new Random(SEED, name));
    } catch (error) {
      const note = `${name}: replay with SABTREE_SEED=${SEED}`;
      console.error(note);
      if (error instanceof Error) error.message += `\n(${note})`;
      throw error;
    }
  };
}
