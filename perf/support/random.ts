/** The same pseudo-random numbers in every run. */

/** Marsaglia's xorshift with a period of 2^32 - 1: whole numbers from 1 to 2^32 - 1. */
export function randomWords(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

/** `n` distinct keys in no order. The generator meets every number once in its period, so nothing needs comparing. */
export function randomKeys(n: number, seed: number): Uint32Array {
  const next = randomWords(seed);
  return new Uint32Array(n).map(next);
}

/** Puts the elements into another order. */
export function shuffle(keys: Uint32Array, seed: number): void {
  const next = randomWords(seed);
  for (let i = keys.length - 1; i > 0; i--) {
    const j = next() % (i + 1);
    const key = keys[i];
    keys[i] = keys[j];
    keys[j] = key;
  }
}
