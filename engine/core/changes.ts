/**
 * What writes have changed, for watchers: a list in the memory of the thread that executed them, in the order in which it
 * did. Only records that are marked (OPERATION_WATCHED) are told of. Whoever runs records empties the list often enough.
 */
import {
  OPERATION_FLAGS, OPERATION_KEY, OPERATION_RUN, OPERATION_VALUE, OPERATION_WATCHED_GROUP, OP_ADD, OP_DELETE, OP_PUT,
  STATUS_FALSE, STATUS_TRUE,
} from "../../layout/operation.ts";
import {
  CHANGE_BYTES, CHANGE_DELETE, CHANGE_GROUP, CHANGE_KEY, CHANGE_KEY_LENGTH, CHANGE_POSITION, CHANGE_PUT, CHANGE_TYPE,
  CHANGE_VALUE_LENGTH,
} from "../../layout/watch.ts";
import { addTo } from "./point.ts";
import { copyWords } from "./node.ts";
import { align, narrow, valueSize } from "./state.ts";

/** The list: 0 if this thread was not given any. */
let list: usize = 0;
let listEnd: usize = 0;
let cursor: usize = 0;

export function setChangeArea(start: usize, bytes: usize): void {
  list = start;
  listEnd = start + bytes;
  cursor = start;
}

export function changeBytes(): usize {
  return cursor - list;
}

export function clearChanges(): void {
  cursor = list;
}

/** Whether one more change has room, if there is a list at all. */
// @ts-ignore: decorator
@inline
export function changeRoom(): bool {
  return list == 0 || cursor + CHANGE_KEY + 8 + align(valueSize, 8) <= listEnd;
}

/** Notes what a write came to, if it changed anything. `before`: where an add left the value before. */
export function tellChange(record: usize, op: i32, status: i32, before: usize): void {
  if (list == 0) return;
  const changed = status == STATUS_TRUE || (status == STATUS_FALSE && (op == OP_PUT || op == OP_ADD));
  if (!changed) return;
  const length: usize = op == OP_DELETE ? 0 : valueSize;
  const bytes = <usize>CHANGE_KEY + 8 + align(length, 8);
  store<u32>(cursor, <u32>bytes, CHANGE_BYTES);
  store<u32>(cursor, op == OP_DELETE ? CHANGE_DELETE : CHANGE_PUT, CHANGE_TYPE);
  store<u32>(cursor, <u32>load<u8>(record, OPERATION_FLAGS) & OPERATION_WATCHED_GROUP, CHANGE_GROUP);
  store<u32>(cursor, load<u32>(record, OPERATION_RUN), CHANGE_POSITION);
  store<u32>(cursor, narrow ? 4 : 8, CHANGE_KEY_LENGTH);
  store<u32>(cursor, <u32>length, CHANGE_VALUE_LENGTH);
  store<u64>(cursor, load<u64>(record, OPERATION_KEY), CHANGE_KEY);
  const value = cursor + CHANGE_KEY + 8;
  if (op == OP_ADD) addTo(value, status == STATUS_TRUE ? before : 0, record + OPERATION_VALUE);
  else if (length != 0) copyWords(value, record + OPERATION_VALUE, length);
  cursor += bytes;
}
