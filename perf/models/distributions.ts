/** Which of n things comes next: numbers from 0 to n - 1, drawn from a seeded generator. */
import { randomWords, shuffle } from '../support/random.ts';
import type { DistributionName } from './types.ts';

export const DISTRIBUTIONS: readonly DistributionName[] = ['uniform', 'zipf', 'sequential'];

/** The skew of YCSB's standard mixes. */
export const ZIPF_THETA = 0.99;

/** Fractions from 0 to below 1. */
export function randomFractions(seed: number): () => number {
  const next = randomWords(seed);
  // Neighbouring seeds give alike first words.
  for (let i = 0; i < 16; i++) next();
  return () => next() / 2 ** 32;
}

/** The n-th generalized harmonic number of order theta. */
export function zeta(n: number, theta: number): number {
  let sum = 0;
  for (let rank = 1; rank <= n; rank++) sum += rank ** -theta;
  return sum;
}

/**
 * Zipf-distributed ranks from 0, the most frequent, to n - 1: rank r comes with probability (r + 1)^-theta / zeta(n).
 * The generator of Gray et al., "Quickly Generating Billion-Record Synthetic Databases" (SIGMOD 1994), which YCSB uses
 * too: ranks 0 and 1 are exact, the others follow an approximation in closed form. Making one costs n powers.
 */
export class Zipf {
  readonly n: number;
  private readonly zetaN: number;
  private readonly alpha: number;
  private readonly eta: number;
  private readonly second: number;

  constructor(n: number, theta = ZIPF_THETA) {
    this.n = n;
    this.zetaN = zeta(n, theta);
    this.alpha = 1 / (1 - theta);
    this.second = 1 + 0.5 ** theta;
    this.eta = (1 - (2 / n) ** (1 - theta)) / (1 - this.second / this.zetaN);
  }

  /** The rank for a fraction from 0 to below 1. */
  rank(fraction: number): number {
    const scaled = fraction * this.zetaN;
    if (scaled < 1 || this.n === 1) return 0;
    if (scaled < this.second || this.n === 2) return 1;
    return Math.min(this.n - 1, Math.floor(this.n * (this.eta * fraction - this.eta + 1) ** this.alpha));
  }
}

/** A permutation of 0 to n - 1 that scatters ranks, and what is inserted one after the other, over all keys. */
export function scrambled(n: number, seed: number): Uint32Array {
  const order = new Uint32Array(n).map((_, i) => i);
  shuffle(order, seed);
  return order;
}
