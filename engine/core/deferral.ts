/**
 * The deferral list: what an executor could not do within a leaf, kept in stream order until a sync point. Its layout
 * stands in layout/operation.ts.
 */
import { CACHE_LINE } from "../../layout/bits.ts";
import {
  DEFERRAL_BYTES, DEFERRAL_CAPACITY, DEFERRAL_COUNT, DEFERRAL_MASK, DEFERRAL_NEXT, DEFERRAL_RECORDS, OPERATION_KEY,
  OPERATION_SLOTS, SLOT,
} from "../../layout/operation.ts";
import { copyWords } from "./node.ts";

/** Table places for a list of that many slots: twice as many, so that probing stays short. */
function tableSize(slots: u32): u32 {
  let size: u32 = 16;
  while (size < 2 * slots) size <<= 1;
  return size;
}

/** Bytes of a list for that many slots. */
export function deferralSize(slots: u32): usize {
  return <usize>DEFERRAL_RECORDS + <usize>slots * SLOT + <usize>tableSize(slots) * 4 + CACHE_LINE;
}

/** Makes an empty list for that many slots. */
export function deferralInit(list: usize, slots: u32): void {
  memory.fill(list, 0, deferralSize(slots));
  store<u32>(list, slots * SLOT, DEFERRAL_CAPACITY);
  store<u32>(list, tableSize(slots) - 1, DEFERRAL_MASK);
}

// @ts-ignore: decorator
@inline
function table(list: usize): usize {
  return list + DEFERRAL_RECORDS + load<u32>(list, DEFERRAL_CAPACITY);
}

// @ts-ignore: decorator
@inline
function home<K>(list: usize, key: K): u32 {
  return <u32>((<u64>key * 0x9e3779b97f4a7c15) >> 32) & load<u32>(list, DEFERRAL_MASK);
}

/** Is there a deferred operation on this key? */
export function isDeferred<K>(list: usize, key: K): bool {
  const mask = load<u32>(list, DEFERRAL_MASK);
  const places = table(list);
  let place = home<K>(list, key);
  while (true) {
    const record = load<u32>(places + (<usize>place << 2));
    if (record == 0) return false;
    if (load<K>(list + DEFERRAL_RECORDS + record - 1, OPERATION_KEY) == key) return true;
    place = (place + 1) & mask;
  }
}

/** Appends a copy of the record; false if there is no room. */
export function defer<K>(list: usize, record: usize): bool {
  const bytes = <u32>load<u16>(record, OPERATION_SLOTS) * SLOT;
  const at = load<u32>(list, DEFERRAL_BYTES);
  if (at + bytes > load<u32>(list, DEFERRAL_CAPACITY)) return false;
  copyWords(list + DEFERRAL_RECORDS + at, record, bytes);
  store<u32>(list, at + bytes, DEFERRAL_BYTES);
  store<u32>(list, load<u32>(list, DEFERRAL_COUNT) + 1, DEFERRAL_COUNT);
  const mask = load<u32>(list, DEFERRAL_MASK);
  const places = table(list);
  let place = home<K>(list, load<K>(record, OPERATION_KEY));
  while (load<u32>(places + (<usize>place << 2)) != 0) place = (place + 1) & mask;
  // Offsets are kept plus one, so that 0 means empty.
  store<u32>(places + (<usize>place << 2), at + 1);
  return true;
}

/** Empties the list once all of it has been run. */
export function deferralClear<K>(list: usize): void {
  const bytes = load<u32>(list, DEFERRAL_BYTES);
  const mask = load<u32>(list, DEFERRAL_MASK);
  const places = table(list);
  let at: u32 = 0;
  while (at < bytes) {
    const record = list + DEFERRAL_RECORDS + at;
    // All of them go, so clearing the whole run of places behind a key's home is right.
    let place = home<K>(list, load<K>(record, OPERATION_KEY));
    while (load<u32>(places + (<usize>place << 2)) != 0) {
      store<u32>(places + (<usize>place << 2), 0);
      place = (place + 1) & mask;
    }
    at += <u32>load<u16>(record, OPERATION_SLOTS) * SLOT;
  }
  store<u32>(list, 0, DEFERRAL_COUNT);
  store<u32>(list, 0, DEFERRAL_BYTES);
  store<u32>(list, 0, DEFERRAL_NEXT);
}
