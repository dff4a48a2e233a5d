/**
 * The tree alone, as `sabtree/tree`: a concurrent ordered map for all threads, without the replicated store. It reaches no
 * worker, no Node.js built-in and no control plane, so a bundler has nothing of those to leave out.
 * @module
 */
export type { CheckReport } from './engine/check.ts';
export { type ErrorCode, SabtreeError } from './engine/errors.ts';
export type { FixedKeyType, KeyOf, KeyType, VariableKeyType } from './engine/keys.ts';
export { SharedMap } from './engine/map.ts';
export type { RangeIterator, RangeOptions } from './engine/range.ts';
export { f64, i64, type RecordSchema, u64 } from './engine/record.ts';
export {
  type AttachOptions,
  type Column,
  SharedTree,
  type TreeHandle,
  type TreeOptions,
  TreeReader,
} from './engine/shared-tree.ts';
export type { TreeStats } from './engine/stats.ts';
export type { Tuple, TupleElement } from './engine/tuple.ts';
export type { FixedValueType, ScalarType, ValueOf, ValueType } from './engine/values.ts';
export type { VariableType } from './engine/variable-values.ts';
