/**
 * A replica's tree as executors see it where they carry commands out one by one: values are bytes, whatever their type. The
 * attachment must have been made with a codec that only moves them (ValueCodec.opaque), if they vary in length.
 */
import type { Attachment } from '../engine/attachment.ts';
import { BlobRegister } from '../engine/blobs.ts';
import type { ValueView } from '../engine/values.ts';
import { OP_DELETE, OP_PUT, STATUS_TRUE } from '../layout/operation.ts';

/** A register for values of fixed size, as bytes. */
function registerBytes({ raw }: ValueView, stride: number): Uint8Array {
  return new Uint8Array(raw.buffer, raw.byteOffset, stride);
}

/** A copy of the bytes of the value that a call has left in a register. */
export function bytesIn(attachment: Attachment, register: ValueView): Uint8Array | undefined {
  if (register instanceof BlobRegister) return register.get(0) as Uint8Array | undefined;
  return registerBytes(register, attachment.values.stride).slice();
}

/** A copy of the bytes of entry `i` of a scan. */
export function scannedBytes(attachment: Attachment, values: ValueView, i: number): Uint8Array {
  const { stride, variable } = attachment.values;
  if (variable !== undefined) return values.get(i) as Uint8Array;
  const { buffer, byteOffset } = values.raw;
  return new Uint8Array(buffer, byteOffset + i * stride, stride).slice();
}

/** A copy of a value's bytes, or undefined. */
export function readBytes(attachment: Attachment, key: unknown): Uint8Array | undefined {
  const { core } = attachment;
  attachment.key.set(0, key);
  if (attachment.settle(core.get(), core.get) !== STATUS_TRUE) return undefined;
  return bytesIn(attachment, attachment.value);
}

/** Whether a key is there. */
export function hasKey(attachment: Attachment, key: unknown): boolean {
  const { core } = attachment;
  attachment.key.set(0, key);
  return attachment.settle(core.has(), core.has) === STATUS_TRUE;
}

/**
 * One writing operation of the core. An added number's old value stands in the register `expected` afterwards.
 * @param value the value's bytes; undefined with OP_DELETE. @param expected those that compareAndSet expects.
 * @returns whether the core answered TRUE. @throws ERR_MEMORY_EXHAUSTED, which only a new replica can mend
 */
export function modifyBytes(
  attachment: Attachment,
  op: number,
  key: unknown,
  value: Uint8Array | undefined,
  expected?: Uint8Array,
): boolean {
  const { core, value: register, expected: other } = attachment;
  const run = () => core.modify(op);
  const settled = () => attachment.settle(run(), run) === STATUS_TRUE;
  attachment.key.set(0, key);
  if (op === OP_DELETE || value === undefined) return settled();
  if (!(register instanceof BlobRegister)) {
    const { stride } = attachment.values;
    registerBytes(register, stride).set(value);
    if (expected !== undefined) registerBytes(other, stride).set(expected);
    return settled();
  }
  register.store(value);
  let taken = false;
  let compared = false;
  try {
    if (expected !== undefined) {
      (other as BlobRegister).store(expected);
      compared = true;
    }
    const done = settled();
    taken = done || op === OP_PUT;
    return done;
  } finally {
    if (!taken) register.release();
    if (compared) (other as BlobRegister).release();
  }
}
