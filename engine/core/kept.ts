/**
 * What commands came to, kept for the case that their answers are lost with the home replica. Every replica keeps the same
 * of every write, wherever it stands in the order; of a read only the home replica keeps that it was answered.
 *
 * A client whose home replica was lost sends what is unanswered again, marked OPERATION_RESENT and with the same sequence
 * number. A write that comes so has been carried out where it stood first, for a replica executes its streams whole and in
 * order; so it is never carried out again: its answer is here, or the client has it already.
 */
import {
  KEPT_ANSWERED, KEPT_FILLED, KEPT_LENGTH_SHIFT, KEPT_PAYLOAD, KEPT_PLACES, KEPT_SEQUENCE, KEPT_SIZE, KEPT_STATUS,
  OPERATION_CLIENT, OPERATION_SEQUENCE,
} from "../../layout/operation.ts";

/** Address of the tables, 0 if nothing is kept. */
export let kept: usize = 0;

/** Commands that came a second time and were not carried out again. */
export let suppressed: u32 = 0;

export function setKept(table: usize): void {
  kept = table;
}

// @ts-ignore: decorator
@inline
function entryOf(record: usize): usize {
  const client = <usize>load<u32>(record, OPERATION_CLIENT);
  const place = <usize>(load<u32>(record, OPERATION_SEQUENCE) & (KEPT_PLACES - 1));
  return kept + (client * KEPT_PLACES + place) * KEPT_SIZE;
}

/** Keeps what a command came to; `length` <= 8 bytes of payload. */
// @ts-ignore: decorator
@inline
export function keep(record: usize, status: i32, answered: bool, payload: usize, length: usize): void {
  const entry = entryOf(record);
  store<u32>(entry, load<u32>(record, OPERATION_SEQUENCE), KEPT_SEQUENCE);
  store<u32>(
    entry, <u32>status | KEPT_FILLED | (answered ? KEPT_ANSWERED : 0) | (<u32>length << KEPT_LENGTH_SHIFT), KEPT_STATUS,
  );
  if (length == 4) store<u32>(entry, load<u32>(payload), KEPT_PAYLOAD);
  else if (length == 8) store<u64>(entry, load<u64>(payload), KEPT_PAYLOAD);
}

/** Whether a command that came again has to be answered now. */
export function answerable(record: usize, writes: bool, replying: bool): bool {
  const entry = entryOf(record);
  const status = load<u32>(entry, KEPT_STATUS);
  const here = (status & KEPT_FILLED) != 0 && load<u32>(entry, KEPT_SEQUENCE) == load<u32>(record, OPERATION_SEQUENCE);
  if (writes) suppressed++;
  if (!replying || (here && (status & KEPT_ANSWERED) != 0)) return false;
  return here || !writes;
}

/** Copies a kept answer's payload out and marks it answered; its status, and above it the payload's length. */
export function keptAnswer(record: usize, payload: usize): i32 {
  const entry = entryOf(record);
  const status = load<u32>(entry, KEPT_STATUS);
  store<u32>(entry, status | KEPT_ANSWERED, KEPT_STATUS);
  store<u64>(payload, load<u64>(entry, KEPT_PAYLOAD));
  return <i32>((status & 0xff) | ((status >> KEPT_LENGTH_SHIFT) << 8));
}
