/**
 * Operations as records, applied in order. The records of a group of OVERLAP are searched for together (batch.ts) and
 * then applied one by one; one whose leaf was changed by an earlier one is searched for again.
 */
import {
  APPLY_ANSWER, APPLY_REPLY, APPLY_SYNCHRONOUS, APPLY_UNDO, APPLY_UNDO_READS, APPLY_WITHIN_LEAF, DEFERRAL_BYTES, DEFERRAL_COUNT, DEFERRAL_DEFERRED, DEFERRAL_NEXT,
  DEFERRAL_RECORDS, DEFERRAL_REFUSED, OPERATION_CLIENT, OPERATION_CODE, OPERATION_FLAGS, OPERATION_GROUPS, OPERATION_KEY,
  OPERATION_RESENT, OPERATION_SEQUENCE, OPERATION_SLOTS, OPERATION_VALUE, OPERATION_WATCHED, OP_ADD, OP_COMPARE_AND_SET, OP_GET, OP_HAS, OP_LAST_POINT,
  OP_SKIP, REPLY_LENGTH_SHIFT, REPLY_PAYLOAD, REPLY_RUN_CLIENT, REPLY_RUN_END, REPLY_RUN_SIZE, REPLY_RUN_START,
  REPLY_SEQUENCE, REPLY_STATUS, SLOT, STATUS_BUSY, STATUS_CORRUPT, STATUS_NO_MEMORY, STATUS_REFUSED, STATUS_TRUE,
  STOP_BUSY, STOP_CORRUPT, STOP_DEFERRED, STOP_DONE, STOP_NO_MEMORY, STOP_OTHER, STOP_REPLIES,
} from "../../layout/operation.ts";
import { BLOCK_VALUE, OVERLAP } from "../../layout/tree-memory.ts";
import { foundLeaf, foundVersion, locate, notePlace, setLookup } from "./batch.ts";
import { changeRoom, tellChange } from "./changes.ts";
import { defer, deferralClear, isDeferred } from "./deferral.ts";
import { answerable, keep, keepable, keptAnswer, kept } from "./kept.ts";
import { read, write } from "./point.ts";
import { align, block, valueSize } from "./state.ts";
import { undoNote } from "./undo.ts";

/** Why the last call stopped: a STOP_ code. */
export let stopReason: i32 = 0;

/** Operations that the last call carried out: not those it deferred. */
export let appliedCount: i32 = 0;

/** The reply area of the calls to come, and what stands in it. */
let replies: usize = 0;
let repliesEnd: usize = 0;
let runs: usize = 0;
let maxRuns: i32 = 0;
/** First byte not yet written. */
export let replyCursor: usize = 0;
/** Entries in the table of runs. */
export let replyRuns: i32 = 0;

/** Says where replies go: an area, and a table of runs. */
export function setReplyArea(start: usize, bytes: usize, table: usize, tableEntries: i32): void {
  replies = start;
  repliesEnd = start + bytes;
  runs = table;
  maxRuns = tableEntries;
  clearReplies();
}

/** Begins anew once the replies have been taken away. */
export function clearReplies(): void {
  replyCursor = replies;
  replyRuns = 0;
}

// @ts-ignore: decorator
@inline
function replyRoom(): bool {
  return replyRoomFor(valueSize);
}

/** Whether one more reply has room, with so many bytes of payload. */
// @ts-ignore: decorator
@inline
export function replyRoomFor(payload: usize): bool {
  return replyCursor + REPLY_PAYLOAD + align(payload, 8) <= repliesEnd && replyRuns < maxRuns;
}

/** Closes the reply whose payload stands behind `replyCursor`. */
// @ts-ignore: decorator
@inline
export function reply(record: usize, status: i32, payload: usize): void {
  const client = load<u32>(record, OPERATION_CLIENT);
  store<u32>(replyCursor, load<u32>(record, OPERATION_SEQUENCE), REPLY_SEQUENCE);
  store<u32>(replyCursor, <u32>status | (<u32>payload << REPLY_LENGTH_SHIFT), REPLY_STATUS);
  const start = replyCursor;
  replyCursor += <usize>REPLY_PAYLOAD + align(payload, 8);
  if (replyRuns > 0) {
    const last = runs + <usize>(replyRuns - 1) * REPLY_RUN_SIZE;
    if (load<u32>(last, REPLY_RUN_CLIENT) == client) {
      store<u32>(last, <u32>replyCursor, REPLY_RUN_END);
      return;
    }
  }
  const run = runs + <usize>replyRuns * REPLY_RUN_SIZE;
  store<u32>(run, client, REPLY_RUN_CLIENT);
  store<u32>(run, <u32>start, REPLY_RUN_START);
  store<u32>(run, <u32>replyCursor, REPLY_RUN_END);
  replyRuns++;
}

/** Applies one record, and replies unless it was refused or could not be done. */
// @ts-ignore: decorator
@inline
function operate<K>(record: usize, flags: i32, leaf: usize, version: u64): i32 {
  const op = <i32>load<u8>(record, OPERATION_CODE);
  const key = load<K>(record, OPERATION_KEY);
  const replying = (flags & APPLY_REPLY) != 0;
  const payload = replyCursor + REPLY_PAYLOAD;
  let status: i32;
  if (kept != 0 && !keepable(record)) return STATUS_NO_MEMORY;
  if ((load<u8>(record, OPERATION_FLAGS) & OPERATION_RESENT) != 0 && kept != 0) {
    // It was carried out where it stood first in the stream; a read may be carried out again.
    if (!answerable(record, op > OP_HAS, replying)) return STATUS_TRUE;
    if (op > OP_HAS) {
      const answer = keptAnswer(record, payload);
      reply(record, answer & 0xff, <usize>(answer >> 8));
      return STATUS_TRUE;
    }
  }
  if ((flags & APPLY_UNDO) != 0 && (op > OP_HAS || (flags & APPLY_UNDO_READS) != 0)) {
    if (undoNote<K>(key, op > OP_HAS) == STATUS_BUSY) return STATUS_BUSY;
  }
  if (op <= OP_HAS) {
    // A read changes nothing: replicas that do not answer need not do it.
    if (!replying) return STATUS_TRUE;
    status = read<K>(key, op == OP_GET ? payload : 0, leaf, version);
  } else {
    const value = record + OPERATION_VALUE;
    status = write<K>(
      op, key, value, value + align(valueSize, 8), replying ? payload : block + BLOCK_VALUE,
      (flags & APPLY_WITHIN_LEAF) != 0, leaf, version,
    );
  }
  if (status == STATUS_BUSY || status == STATUS_NO_MEMORY || status == STATUS_REFUSED || status == STATUS_CORRUPT) return status;
  if (op > OP_HAS && (load<u8>(record, OPERATION_FLAGS) & OPERATION_WATCHED) != 0) {
    tellChange(record, op, status, replying ? payload : block + BLOCK_VALUE);
  }
  if (kept != 0) {
    const answered = (flags & APPLY_ANSWER) != 0;
    if (op == OP_ADD && status == STATUS_TRUE) keep(record, status, answered, replying ? payload : block + BLOCK_VALUE, valueSize);
    else if (op > OP_HAS || answered) keep(record, status, answered, 0, 0);
  }
  if (!replying) return status;
  const withValue = status == STATUS_TRUE && (op == OP_GET || op == OP_ADD);
  reply(record, status, withValue ? valueSize : 0);
  return status;
}

// @ts-ignore: decorator
@inline
export function stopFor(status: i32): i32 {
  if (status == STATUS_BUSY) return STOP_BUSY;
  if (status == STATUS_NO_MEMORY) return STOP_NO_MEMORY;
  return STOP_CORRUPT;
}

/**
 * Applies the records in `slots` slots, as far as it can; returns the number of slots done, and says in `stopReason` why
 * it stopped. With APPLY_WITHIN_LEAF, `list` is the deferral list.
 */
export function apply<K>(records: usize, slots: i32, flags: i32, list: usize): i32 {
  const end = records + <usize>slots * SLOT;
  const within = (flags & APPLY_WITHIN_LEAF) != 0;
  const replying = (flags & APPLY_REPLY) != 0;
  const most = (flags & APPLY_SYNCHRONOUS) != 0 ? 1 : OVERLAP;
  let p = records;
  stopReason = STOP_DONE;
  appliedCount = 0;
  while (p < end) {
    let n = 0;
    let q = p;
    while (n < most && q < end) {
      const op = <i32>load<u8>(q, OPERATION_CODE);
      const bytes = <usize>load<u16>(q, OPERATION_SLOTS) * SLOT;
      // Runs are taken whole, so a record that does not end here cannot be.
      if (bytes == 0 || q + bytes > end) {
        stopReason = STOP_CORRUPT;
        break;
      }
      if (op == OP_SKIP && n == 0) {
        q += bytes;
        p = q;
        continue;
      }
      if (op == 0 || op > OP_LAST_POINT) break;
      if (load<u32>(q, OPERATION_GROUPS) != 0 && most != 1) break;
      setLookup<K>(n, load<K>(q, OPERATION_KEY));
      store<u32>(notePlace(n), <u32>q);
      q += bytes;
      n++;
    }
    if (n == 0) {
      if (p < end && stopReason == STOP_DONE) stopReason = STOP_OTHER;
      break;
    }
    stopReason = STOP_DONE;
    if (n > 1) locate<K>(n);
    for (let j = 0; j < n; j++) {
      const record = <usize>load<u32>(notePlace(j));
      let status: i32 = STATUS_REFUSED;
      let dependent = false;
      if ((replying && !replyRoom()) || !changeRoom()) {
        stopReason = STOP_REPLIES;
        return <i32>((record - records) / SLOT);
      }
      if (within && load<u32>(list, DEFERRAL_COUNT) > 0) {
        dependent = isDeferred<K>(list, load<K>(record, OPERATION_KEY));
      }
      if (!dependent) status = operate<K>(record, flags, n > 1 ? foundLeaf(j) : 0, n > 1 ? foundVersion(j) : 0);
      if (status == STATUS_REFUSED) {
        if (!defer<K>(list, record)) {
          stopReason = STOP_DEFERRED;
          return <i32>((record - records) / SLOT);
        }
        const counter = list + (dependent ? DEFERRAL_DEFERRED : DEFERRAL_REFUSED);
        store<u64>(counter, load<u64>(counter) + 1);
      } else if (status == STATUS_BUSY || status == STATUS_NO_MEMORY || status == STATUS_CORRUPT) {
        stopReason = stopFor(status);
        return <i32>((record - records) / SLOT);
      } else appliedCount++;
    }
    p = q;
    if (most == 1) break;
  }
  return <i32>((p - records) / SLOT);
}

/** Notes how far, and why, a call of calls.ts came; see `stopReason`. */
export function noteStop(reason: i32, applied: i32): void {
  stopReason = reason;
  appliedCount = applied;
}

/** Sum of the hashes of all replies in the area: what replicas compare. It does not depend on their order. */
export function replyDigest(): u64 {
  let sum: u64 = 0;
  for (let i = 0; i < replyRuns; i++) {
    const run = runs + <usize>i * REPLY_RUN_SIZE;
    const client = <u64>load<u32>(run, REPLY_RUN_CLIENT);
    const end = <usize>load<u32>(run, REPLY_RUN_END);
    for (let at = <usize>load<u32>(run, REPLY_RUN_START); at < end; ) {
      const length = <usize>(load<u32>(at, REPLY_STATUS) >> REPLY_LENGTH_SHIFT);
      let hash = (client + 1) * 0x9e3779b97f4a7c15 ^ load<u64>(at);
      for (let byte: usize = 0; byte < length; byte += 4) {
        hash = (hash ^ <u64>load<u32>(at + REPLY_PAYLOAD + byte)) * 0xbf58476d1ce4e5b9;
        hash ^= hash >> 29;
      }
      hash *= 0x94d049bb133111eb;
      sum += hash ^ (hash >> 31);
      at += <usize>REPLY_PAYLOAD + align(length, 8);
    }
  }
  return sum;
}

/** Runs the deferral list, free to split and merge. Stops like `apply`; called again, it goes on where it stopped. */
export function runDeferred<K>(list: usize, flags: i32): void {
  const bytes = load<u32>(list, DEFERRAL_BYTES);
  appliedCount = 0;
  while (true) {
    const next = load<u32>(list, DEFERRAL_NEXT);
    if (next >= bytes) break;
    if (((flags & APPLY_REPLY) != 0 && !replyRoom()) || !changeRoom()) {
      stopReason = STOP_REPLIES;
      return;
    }
    const record = list + DEFERRAL_RECORDS + next;
    const status = operate<K>(record, flags & ~APPLY_WITHIN_LEAF, 0, 0);
    if (status == STATUS_BUSY || status == STATUS_NO_MEMORY || status == STATUS_CORRUPT) {
      stopReason = stopFor(status);
      return;
    }
    store<u32>(list, next + <u32>load<u16>(record, OPERATION_SLOTS) * SLOT, DEFERRAL_NEXT);
    appliedCount++;
  }
  deferralClear<K>(list);
  stopReason = STOP_DONE;
}
