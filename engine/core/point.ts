/**
 * Operations on one key. Reads are lock-free: search, copy out, validate. Writes search the same way and then take the
 * leaf's latch by a compare-and-swap from the version they searched at; if that succeeds, what they found still holds,
 * and only the change itself happens under the latch.
 */
import {
  OP_ADD, OP_COMPARE_AND_SET, OP_DELETE, OP_INSERT, OP_UPDATE, STATUS_BUSY, STATUS_FALSE, STATUS_REFUSED, STATUS_TRUE,
  STATUS_UNSUPPORTED,
} from "../../layout/operation.ts";
import { VALUE_F64, VALUE_I64, VALUE_RECORD } from "../../layout/tree-memory.ts";
import { descend, leafVersion } from "./descent.ts";
import { entryHash, noteChange } from "./digest.ts";
import { SPIN_LIMIT, noteRestart, release, tryLatch, validate } from "./latch.ts";
import { copyValue, equalValues, insertEntry, keyAt, leafCount, lowerBound, removeEntry, valueAt } from "./node.ts";
import { leafCapacity, leafMinimum, root, valueType } from "./state.ts";
import { makeRoom, makeSlack } from "./structure.ts";

/**
 * TRUE with the value copied to `out` (if not 0), FALSE if the key is absent, BUSY. A (leaf, version) pair found before
 * may be handed in; otherwise `leaf` is 0.
 */
// @ts-ignore: decorator
@inline
export function read<K>(key: K, out: usize, leaf: usize, version: u64): i32 {
  for (let tries = 0; tries < SPIN_LIMIT; tries++) {
    if (leaf == 0) {
      leaf = descend<K>(key);
      if (leaf == 0) return STATUS_BUSY;
      version = leafVersion;
    }
    const n = leafCount(leaf);
    const i = lowerBound<K>(leaf, n, key);
    const found = i < n && keyAt<K>(leaf, i) == key;
    if (found && out != 0) copyValue(out, valueAt(leaf, i));
    if (validate(leaf, version)) return found ? STATUS_TRUE : STATUS_FALSE;
    leaf = 0;
    noteRestart();
  }
  return STATUS_BUSY;
}

/**
 * The value `by` more than the one at `slot` (or than 0 if slot is 0), written to `to`. Integers wrap. A NaN becomes the
 * one NaN that values may be: processors differ in the bits they make (x86-64 sets the sign).
 */
export function addTo(to: usize, slot: usize, by: usize): void {
  if (valueType == VALUE_F64) {
    const sum = (slot ? load<f64>(slot) : 0) + load<f64>(by);
    if (sum == sum) store<f64>(to, sum);
    else store<u64>(to, 0x7ff8000000000000);
  }
  else if (valueType == VALUE_I64) store<i64>(to, (slot ? load<i64>(slot) : 0) + load<i64>(by));
  else store<u32>(to, (slot ? load<u32>(slot) : 0) + load<u32>(by));
}

/** Overwrites the value at `slot` under the leaf's latch. */
// @ts-ignore: decorator
@inline
function overwrite<K>(key: K, slot: usize, value: usize): void {
  const before = entryHash<K>(key, slot);
  copyValue(slot, value);
  noteChange(0, entryHash<K>(key, slot) - before);
}

/**
 * One writing operation. TRUE if it wrote (put: if the key was absent; add: if it was present, its old value at `out`),
 * FALSE otherwise. `within`: no split or merge may be made; where one is needed, REFUSED and nothing written.
 * BUSY, NO_MEMORY: nothing written.
 */
export function write<K>(
  op: i32, key: K, value: usize, expected: usize, out: usize, within: bool, leaf: usize, version: u64,
): i32 {
  if (op == OP_ADD && valueType == VALUE_RECORD) return STATUS_UNSUPPORTED;
  for (let tries = 0; tries < SPIN_LIMIT; tries++) {
    if (leaf == 0) {
      leaf = descend<K>(key);
      if (leaf == 0) return STATUS_BUSY;
      version = leafVersion;
    }
    const n = leafCount(leaf);
    const i = lowerBound<K>(leaf, n, key);
    const slot = valueAt(leaf, i);
    if (i < n && keyAt<K>(leaf, i) == key) {
      if (op == OP_INSERT || (op == OP_COMPARE_AND_SET && !equalValues(slot, expected))) {
        if (validate(leaf, version)) return STATUS_FALSE;
      } else if (op == OP_DELETE) {
        if (n <= leafMinimum && leaf != root) {
          if (within) {
            if (validate(leaf, version)) return STATUS_REFUSED;
          } else {
            const status = makeSlack<K>(key);
            if (status != STATUS_TRUE) return status;
          }
        } else if (tryLatch(leaf, version)) {
          noteChange(-1, -entryHash<K>(key, slot));
          removeEntry<K>(leaf, n, i);
          release(leaf, version);
          return STATUS_TRUE;
        }
      } else if (tryLatch(leaf, version)) {
        if (op == OP_ADD) {
          const before = entryHash<K>(key, slot);
          copyValue(out, slot);
          addTo(slot, slot, value);
          noteChange(0, entryHash<K>(key, slot) - before);
        } else {
          overwrite<K>(key, slot, value);
        }
        release(leaf, version);
        return op == OP_UPDATE || op == OP_COMPARE_AND_SET || op == OP_ADD ? STATUS_TRUE : STATUS_FALSE;
      }
    } else if (op == OP_UPDATE || op == OP_DELETE || op == OP_COMPARE_AND_SET) {
      if (validate(leaf, version)) return STATUS_FALSE;
    } else if (n >= leafCapacity) {
      if (within) {
        if (validate(leaf, version)) return STATUS_REFUSED;
      } else {
        const status = makeRoom<K>(key);
        if (status != STATUS_TRUE) return status;
      }
    } else if (tryLatch(leaf, version)) {
      insertEntry<K>(leaf, n, i, key);
      if (op == OP_ADD) addTo(slot, 0, value);
      else copyValue(slot, value);
      noteChange(1, entryHash<K>(key, slot));
      release(leaf, version);
      return op == OP_ADD ? STATUS_FALSE : STATUS_TRUE;
    }
    leaf = 0;
    noteRestart();
  }
  return STATUS_BUSY;
}
