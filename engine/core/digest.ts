/**
 * The content digest: the sum, modulo 2^64, of one hash per entry. A sum does not depend on the order of its terms, so
 * two trees of equal content have equal digests whatever their shape, and each change costs one or two hashes.
 */
import { THREAD_DIGEST, THREAD_ENTRIES } from "../../layout/tree-memory.ts";
import { blobHash } from "./blob.ts";
import { blobs, slot, valueSize } from "./state.ts";

const PRIME_1: u64 = 0x9e3779b97f4a7c15;
const PRIME_2: u64 = 0xbf58476d1ce4e5b9;
const PRIME_3: u64 = 0x94d049bb133111eb;

/** Hash of one entry; the finish is that of splitmix64, which changes every bit with probability near one half. */
export function entryHash<K>(key: K, value: usize): u64 {
  let h = <u64>key * PRIME_1 + PRIME_2;
  if (blobs) {
    // Of the content, wherever it stands.
    h = ((h ^ blobHash(value)) ^ (h >> 27)) * PRIME_3;
    return h ^ (h >> 31);
  }
  let i: usize = 0;
  for (; i + 8 <= valueSize; i += 8) {
    h = (h ^ load<u64>(value + i)) * PRIME_2;
    h ^= h >> 29;
  }
  if (i < valueSize) {
    h = (h ^ <u64>load<u32>(value + i)) * PRIME_2;
    h ^= h >> 29;
  }
  h = (h ^ (h >> 27)) * PRIME_3;
  return h ^ (h >> 31);
}

/** The same for a key of any length. */
export function bytesHash(key: usize, length: i32, value: usize): u64 {
  let h = <u64>length * PRIME_1;
  let i = 0;
  for (; i + 8 <= length; i += 8) {
    h = (h ^ load<u64>(key + <usize>i)) * PRIME_3;
    h ^= h >> 32;
  }
  for (; i < length; i++) {
    h = (h ^ <u64>load<u8>(key + <usize>i)) * PRIME_3;
    h ^= h >> 32;
  }
  return entryHash<u64>(h, value);
}

/**
 * Counts a change in this thread's slot. Called under the leaf's latch. Only this thread writes the words, so plain
 * accesses do; a sum over all slots is exact whenever the writers have been synchronised with, and near it otherwise.
 */
// @ts-ignore: decorator
@inline
export function noteChange(entries: i64, digest: u64): void {
  if (entries != 0) store<i64>(slot, load<i64>(slot, THREAD_ENTRIES) + entries, THREAD_ENTRIES);
  store<u64>(slot, load<u64>(slot, THREAD_DIGEST) + digest, THREAD_DIGEST);
}
