/** What the load's workers and the page agree on: what is done, and the counters in memory that both see. */

/** Kinds of work. */
export const MIXES = {
  mixed: 'half reads, half writes',
  reads: '95 % reads',
  churn: 'inserts and deletes',
  ranges: 'reads, writes, short ranges',
  atomic: 'atomic batches of two keys',
} as const;

/** Which keys are touched. */
export const SPREADS = {
  uniform: 'uniform: all keys alike',
  zipf: 'Zipf: few keys take most',
  hot: 'hot: 90 % in 1 % of the keys',
  sequential: 'sequential: one after the other',
} as const;

export type Mix = keyof typeof MIXES;
export type Spread = keyof typeof SPREADS;

/** What a load's worker does. */
export interface Load {
  readonly mix: Mix;
  readonly spread: Spread;
  /** Commands that a worker sends at a time. */
  readonly batch: number;
  /** Keys from 0 on. */
  readonly keys: number;
}

/** The words that all workers share: first what they are to do, then each worker's counters. */
export const WORD_STATE = 0;
/** Grows when the load's description has changed. */
export const WORD_LOAD = 1;
/** Workers' own words begin here, so many for each. */
export const OWN_WORDS = 16;
export const OWN_SIZE = 16;
/** Commands answered, in the low and the high word. */
export const OWN_COMMANDS = 0;
/** Entries of the ledger that were sent, and that were answered. */
export const OWN_SENT = 4;
export const OWN_ANSWERED = 5;
/** The worker is at work (1), stands (2), or has ended (3). */
export const OWN_LIFE = 6;

export const STATE_RUN = 0;
export const STATE_PAUSE = 1;
export const STATE_END = 2;

export const LIFE_WORKS = 1;
export const LIFE_STANDS = 2;
export const LIFE_OVER = 3;

/** Most workers of a load. */
export const MOST_WORKERS = 8;
/** Words of the memory that they share. */
export const WORDS = OWN_WORDS + MOST_WORKERS * OWN_SIZE;

/**
 * The ledger: each worker writes numbers, one after the other, to keys of its own, which come round again. Whatever was
 * answered must be found there, or a later one: so what the store has lost can be counted.
 */
export const LEDGER_KEYS = 512;
const LEDGER = 0xf0000000;

/** Key of a worker's n-th entry. */
export function ledgerKey(worker: number, n: number): number {
  return LEDGER + worker * LEDGER_KEYS + (n % LEDGER_KEYS);
}

/** Word of a worker's counter. */
export function ownWord(worker: number, which: number): number {
  return OWN_WORDS + worker * OWN_SIZE + which;
}

/** Commands that a worker has had answered. */
export function commandsOf(words: Int32Array, worker: number): number {
  const low = ownWord(worker, OWN_COMMANDS);
  return (words[low] >>> 0) + words[low + 1] * 4294967296;
}
