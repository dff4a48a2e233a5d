/**
 * What commands came to, kept for the case that their answers are lost with the home replica. Every replica keeps the same
 * of every write, wherever it stands in the order; of a read only the home replica keeps that it was answered.
 *
 * A client whose home replica was lost sends what is unanswered again, marked OPERATION_RESENT and with the same sequence
 * number. A write that comes so has been carried out where it stood first, for a replica executes its streams whole and in
 * order; so it is never carried out again: its answer is here, or the client has it already.
 */
import {
  KEPT_ANSWERED, KEPT_BLOB, KEPT_FILLED, KEPT_LENGTH_SHIFT, KEPT_PAYLOAD, KEPT_PLACES, KEPT_SEQUENCE, KEPT_SIZE, KEPT_STATUS,
  OPERATION_CLIENT, OPERATION_SEQUENCE, STATUS_TRUE,
} from "../../layout/operation.ts";
import { BLOB_BYTES, THREADS, THREAD_SIZE } from "../../layout/tree-memory.ts";
import { leaveBlock, takeBlock } from "./allocator.ts";
import { allocateBlob, freeBlob } from "./blob.ts";
import { slot } from "./state.ts";

/** Address of the directory: each client's table, u32, 0 until it is needed. 0 if nothing is kept. */
export let kept: usize = 0;

/** Commands that came a second time and were not carried out again. */
export let suppressed: u32 = 0;

export function setKept(directory: usize): void {
  kept = directory;
}

// @ts-ignore: decorator
@inline
function tableWord(record: usize): usize {
  return kept + (<usize>load<u32>(record, OPERATION_CLIENT) << 2);
}

/** Makes sure that there is a table for the command's client; false if there is no memory for it. */
// @ts-ignore: decorator
@inline
export function keepable(record: usize): bool {
  return atomic.load<u32>(tableWord(record)) != 0 || makeTable(tableWord(record));
}

function makeTable(word: usize): bool {
  const table = takeBlock(KEPT_PLACES * KEPT_SIZE, (<u32>slot - THREADS) / THREAD_SIZE);
  if (table == 0) return false;
  // Another thread of the replica was quicker.
  if (atomic.cmpxchg<u32>(word, 0, <u32>table) != 0) leaveBlock(table);
  return true;
}

// @ts-ignore: decorator
@inline
function entryOf(record: usize): usize {
  const place = <usize>(load<u32>(record, OPERATION_SEQUENCE) & (KEPT_PLACES - 1));
  return <usize>load<u32>(tableWord(record)) + place * KEPT_SIZE;
}

/**
 * Whether a later command of the client stands at the entry. Then the client has the answer to this one: this replica is far
 * behind, and another of its threads has executed the later one first.
 */
// @ts-ignore: decorator
@inline
function isOver(entry: usize, sequence: u32): bool {
  return (load<u32>(entry, KEPT_STATUS) & KEPT_FILLED) != 0 && <i32>(sequence - load<u32>(entry, KEPT_SEQUENCE)) < 0;
}

/** The highest bits of the reference to a command's blob: those of no other command that may stand at its place meanwhile. */
// @ts-ignore: decorator
@inline
function lapOf(sequence: u32): u64 {
  return <u64>((sequence / KEPT_PLACES) & 0xffff) << 48;
}

// @ts-ignore: decorator
@inline
function freeReference(reference: u64): void {
  freeBlob(reference & 0x0000ffffffffffff);
}

/** Frees the long payload of the entry's last command. Taken out first: should two threads come here, one has it. */
// @ts-ignore: decorator
@inline
function dropBlob(entry: usize): void {
  if (load<u64>(entry, KEPT_BLOB) == 0) return;
  const reference = atomic.xchg<u64>(entry + KEPT_BLOB, 0);
  if (reference != 0) freeReference(reference);
}

/** Frees the long payload of a command whose answer its client has, if it still stands at its place. */
export function dropResult(client: u32, sequence: u32): void {
  const table = atomic.load<u32>(kept + (<usize>client << 2));
  if (table == 0) return;
  const blob = <usize>table + <usize>(sequence & (KEPT_PLACES - 1)) * KEPT_SIZE + KEPT_BLOB;
  const reference = atomic.load<u64>(blob);
  if (reference == 0 || (reference & 0xffff000000000000) != lapOf(sequence)) return;
  // Another thread may put a later command's there, even at the same address; then this is another reference.
  if (atomic.cmpxchg<u64>(blob, reference, 0) == reference) freeReference(reference);
}

/** Fills all of an entry but its payload; false if a later command stands there. */
// @ts-ignore: decorator
@inline
function enter(entry: usize, record: usize, status: i32, answered: bool, length: u32): bool {
  const sequence = load<u32>(record, OPERATION_SEQUENCE);
  if (isOver(entry, sequence)) return false;
  dropBlob(entry);
  store<u32>(entry, sequence, KEPT_SEQUENCE);
  store<u32>(
    entry, <u32>status | KEPT_FILLED | (answered ? KEPT_ANSWERED : 0) | (length << KEPT_LENGTH_SHIFT), KEPT_STATUS,
  );
  return true;
}

/** Keeps what a command came to; `length` <= 8 bytes of payload. */
// @ts-ignore: decorator
@inline
export function keep(record: usize, status: i32, answered: bool, payload: usize, length: usize): void {
  const entry = entryOf(record);
  if (!enter(entry, record, status, answered, <u32>length)) return;
  if (length == 4) store<u32>(entry, load<u32>(payload), KEPT_PAYLOAD);
  else if (length == 8) store<u64>(entry, load<u64>(payload), KEPT_PAYLOAD);
}

/** Whether a command that came again has to be answered now. */
export function answerable(record: usize, writes: bool, replying: bool): bool {
  const entry = entryOf(record);
  const status = load<u32>(entry, KEPT_STATUS);
  // A long payload that is gone went because the client has it.
  const whole = (status >> KEPT_LENGTH_SHIFT) <= 8 || atomic.load<u64>(entry + KEPT_BLOB) != 0;
  const here = (status & KEPT_FILLED) != 0 && whole &&
    load<u32>(entry, KEPT_SEQUENCE) == load<u32>(record, OPERATION_SEQUENCE);
  if (writes) suppressed++;
  if (!replying || (here && (status & KEPT_ANSWERED) != 0)) return false;
  return here || !writes;
}

/** Status of what is kept, and above it the payload's length; marks it answered. */
export function keptResult(record: usize): i32 {
  const entry = entryOf(record);
  const status = load<u32>(entry, KEPT_STATUS);
  store<u32>(entry, status | KEPT_ANSWERED, KEPT_STATUS);
  return <i32>((status & 0xff) | ((status >> KEPT_LENGTH_SHIFT) << 8));
}

/** The same, and copies a payload of up to 8 bytes out. */
export function keptAnswer(record: usize, payload: usize): i32 {
  store<u64>(payload, load<u64>(entryOf(record), KEPT_PAYLOAD));
  return keptResult(record);
}

/** Keeps what a command on several keys came to: its payload is a number, or nothing. */
export function keepNumber(record: usize, answered: bool, number: f64, length: usize): void {
  const entry = entryOf(record);
  if (enter(entry, record, STATUS_TRUE, answered, <u32>length)) store<f64>(entry, number, KEPT_PAYLOAD);
}

/** That number, now answered. */
export function keptNumber(record: usize): f64 {
  keptResult(record);
  return load<f64>(entryOf(record), KEPT_PAYLOAD);
}

/**
 * Keeps what a user-defined command came to.
 * @param wanted whether its client may still ask for a payload of more than 8 bytes.
 * @returns where its payload of `length` bytes is to be written; 0 if there is no memory for it, 1 if nothing is to be kept.
 */
export function keepResult(record: usize, status: i32, answered: bool, length: u32, wanted: bool): usize {
  const entry = entryOf(record);
  if (!enter(entry, record, status, answered, length)) return 1;
  if (length <= 8) return entry + KEPT_PAYLOAD;
  return wanted ? keepBlob(entry, length) : 1;
}

/** Where the payload of a kept result stands. */
export function keptPayload(record: usize): usize {
  const entry = entryOf(record);
  const reference = load<u64>(entry, KEPT_BLOB);
  return reference != 0 ? <usize><u32>reference + BLOB_BYTES : entry + KEPT_PAYLOAD;
}

/** Gives an entry, whose number stands there, a blob for its payload: where that goes; 0 if there is no memory. */
export function keepBlob(entry: usize, length: u32): usize {
  const blob = allocateBlob(length);
  if (blob == 0) return 0;
  atomic.store<u64>(entry + KEPT_BLOB, lapOf(load<u32>(entry, KEPT_SEQUENCE)) | (<u64>length << 32) | <u64>blob);
  return <usize>blob + BLOB_BYTES;
}
