/**
 * Operations on one key as commands: those of stores whose keys or values vary in length (workers/variable-commands.ts).
 * They are applied one after the other, as far as all that one needs is at hand here. The rest is left to the caller: what
 * comes again, what is watched, long values, and what expects one or keeps one.
 */
import {
  APPLY_ANSWER, APPLY_REPLY, CALL_ARGUMENTS, CALL_COMMAND, MANY_KEYS, OPERATION_CODE, OPERATION_FLAGS, OPERATION_GROUPS,
  OPERATION_RESENT, OPERATION_SLOTS, OPERATION_WATCHED, OP_ADD, OP_CALL, OP_COMPARE_AND_SET, OP_GET, OP_PUT, OP_QUERY,
  OP_SKIP, POINT_ABSENT, POINT_FALSE, POINT_TRUE, POINT_VALUE, REPLY_PAYLOAD, SLOT, STATUS_FALSE,
  STATUS_TRUE, STOP_BUSY, STOP_CORRUPT, STOP_DONE, STOP_NO_MEMORY, STOP_OTHER, STOP_REPLIES,
} from "../../layout/operation.ts";
import { BLOB_BYTES, BLOB_COPY_BYTES, BLOCK_VALUE } from "../../layout/tree-memory.ts";
import { noteStop, reply, replyCursor, replyRoomFor, stopFor } from "./apply.ts";
import { allocateBlob, copyBlob, freeBlob, sealBlob } from "./blob.ts";
import { keepNumber, keepResult, keepable, kept } from "./kept.ts";
import { SPIN_LIMIT, validate } from "./latch.ts";
import { copyWords } from "./node.ts";
import { read, readAt, readLeaf, write } from "./point.ts";
import { seekBytes } from "./slotted-node.ts";
import { readSlotted, writeSlotted } from "./slotted-point.ts";
import { blobs, block, expectedRegister, slotted, valueSize } from "./state.ts";

/** Most bytes of a value of varying length that is read here. */
const SHORT: u32 = BLOB_COPY_BYTES;

/** Hashes of the names of the commands that read one key, and that write one. */
let reading: u32 = 0;
let writing: u32 = 0;

export function setPointCommands(reads: u32, writes: u32): void {
  reading = reads;
  writing = writes;
}

function find<K>(record: usize, out: usize): i32 {
  return slotted ? readSlotted(out) : read<K>(load<K>(record, MANY_KEYS), out, 0, 0);
}

/** Bytes of a value that was found, behind the place for its kind in `payload`; -1: it is long, -2: BUSY, -3: not there. */
function valueOf<K>(record: usize, payload: usize): i32 {
  const to = payload + 1;
  if (!blobs) {
    const status = find<K>(record, to);
    return status == STATUS_TRUE ? <i32>valueSize : status == STATUS_FALSE ? -3 : -2;
  }
  const register = block + BLOCK_VALUE;
  for (let tries = 0; tries < SPIN_LIMIT; tries++) {
    const status = find<K>(record, register);
    if (status != STATUS_TRUE) return status == STATUS_FALSE ? -3 : -2;
    const length = load<u32>(register, 4);
    if (length <= SHORT) copyBlob(register, to, SHORT);
    // A torn reference may say any length.
    if (validate(readLeaf, readAt)) return length <= SHORT ? <i32>length : -1;
  }
  return -2;
}

/** Replies with an answer of so many bytes that stands behind `replyCursor`, but for its kind. */
// @ts-ignore: decorator
@inline
function answer(record: usize, kind: i32, length: usize): void {
  store<u8>(replyCursor + REPLY_PAYLOAD, <u8>kind);
  reply(record, STATUS_TRUE, length);
}

function readOne<K>(record: usize, op: i32): i32 {
  const payload = replyCursor + REPLY_PAYLOAD;
  if (op == OP_GET) {
    const length = valueOf<K>(record, payload);
    if (length == -1) return STOP_OTHER;
    if (length == -2) return STOP_BUSY;
    if (kept != 0) keepNumber(record, true, 0, 0);
    answer(record, length == -3 ? POINT_ABSENT : POINT_VALUE, length == -3 ? 1 : <usize>length + 1);
    return STOP_DONE;
  }
  const status = find<K>(record, 0);
  if (status > STATUS_TRUE) return stopFor(status);
  if (kept != 0) keepNumber(record, true, 0, 0);
  answer(record, status == STATUS_TRUE ? POINT_TRUE : POINT_FALSE, 1);
  return STOP_DONE;
}

function writeOne<K>(record: usize, op: i32, given: usize, length: u32, expected: usize, flags: i32): i32 {
  let value = given;
  let made: u64 = 0;
  if (blobs && given != 0) {
    const address = allocateBlob(length);
    if (address == 0) return STOP_NO_MEMORY;
    memory.copy(<usize>address + BLOB_BYTES, given, <usize>length);
    sealBlob(address, length);
    value = block + BLOCK_VALUE;
    made = (<u64>length << 32) | <u64>address;
    store<u64>(value, made);
  }
  const status = slotted
    ? writeSlotted(op, value, expected, expectedRegister, false)
    : write<K>(op, load<K>(record, MANY_KEYS), value, expected, expectedRegister, false, 0, 0);
  if (made != 0 && status != STATUS_TRUE && (op != OP_PUT || status != STATUS_FALSE)) freeBlob(made);
  if (status > STATUS_TRUE) return stopFor(status);
  const before = op == OP_ADD && status == STATUS_TRUE;
  const kind = op == OP_ADD ? (before ? POINT_VALUE : POINT_ABSENT) : status == STATUS_TRUE ? POINT_TRUE : POINT_FALSE;
  if (kept != 0) {
    const at = keepResult(record, STATUS_TRUE, (flags & APPLY_ANSWER) != 0, 1, true);
    if (at > 1) store<u8>(at, <u8>kind);
  }
  if ((flags & APPLY_REPLY) == 0) return STOP_DONE;
  if (before) copyWords(replyCursor + REPLY_PAYLOAD + 1, expectedRegister, valueSize);
  answer(record, kind, before ? valueSize + 1 : 1);
  return STOP_DONE;
}

/** Applies one; STOP_OTHER, and nothing done, if it is not for this. */
function operate<K>(record: usize, flags: i32): i32 {
  const command = load<u32>(record, CALL_COMMAND);
  if (command != reading && command != writing) return STOP_OTHER;
  if ((load<u8>(record, OPERATION_FLAGS) & (OPERATION_RESENT | OPERATION_WATCHED)) != 0) return STOP_OTHER;
  if (kept != 0 && !keepable(record)) return STOP_NO_MEMORY;
  const replying = (flags & APPLY_REPLY) != 0;
  // A read changes nothing: replicas that do not answer need not do it.
  if (command == reading && !replying) return STOP_DONE;
  if (replying && !replyRoomFor(8 + max<usize>(valueSize, blobs ? <usize>SHORT : 0))) return STOP_REPLIES;
  let at = record + (MANY_KEYS + 8 + CALL_ARGUMENTS);
  if (slotted) {
    const length = load<u32>(at);
    seekBytes(at + 4, <i32>length);
    at += 4 + <usize>length;
  }
  const op = <i32>load<u8>(at);
  if (command == reading) return readOne<K>(record, op);
  const has = load<u8>(at, 1);
  at += 2;
  let value: usize = 0;
  let length: u32 = 0;
  let expected: usize = 0;
  if ((has & 1) != 0) {
    length = load<u32>(at);
    value = at + 4;
    at = value + <usize>length;
  }
  if ((has & 2) != 0) expected = at + 4;
  // What an add found is kept in a blob if others may ask for it; what is expected would have to become one.
  if (op == OP_ADD ? kept != 0 || blobs : op == OP_COMPARE_AND_SET && blobs) return STOP_OTHER;
  return writeOne<K>(record, op, value, length, expected, flags);
}

/**
 * Applies the commands in `slots` slots, up to the first one that is not for this; returns the number of slots done, and says in
 * `stopReason` why it stopped. The first one may be a many-group command whose turn it is.
 */
export function applyCalls<K>(records: usize, slots: i32, flags: i32): i32 {
  const end = records + <usize>slots * SLOT;
  let applied = 0;
  let reason = STOP_DONE;
  let p = records;
  while (p < end) {
    const bytes = <usize>load<u16>(p, OPERATION_SLOTS) * SLOT;
    const op = <i32>load<u8>(p, OPERATION_CODE);
    if (bytes == 0 || p + bytes > end) reason = STOP_CORRUPT;
    else if (op == OP_CALL || op == OP_QUERY) {
      reason = p != records && load<u32>(p, OPERATION_GROUPS) != 0 ? STOP_OTHER : operate<K>(p, flags);
      if (reason == STOP_DONE) applied++;
    } else if (op != OP_SKIP || p == records) reason = STOP_OTHER;
    if (reason != STOP_DONE) break;
    p += bytes;
  }
  noteStop(reason, applied);
  return <i32>((p - records) / SLOT);
}
