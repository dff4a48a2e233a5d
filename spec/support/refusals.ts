/** Errors on purpose: the code, the offending value, and that nothing changed. */
import { expect } from 'vitest';
import { type ErrorCode, SabtreeError } from '../../dist/index.js';
import { type AnyTree, agree } from './trees.ts';

/** What `act` throws, which has to be a SabtreeError of this code. */
export function refusal(code: ErrorCode, act: () => unknown): SabtreeError {
  let result: unknown;
  try {
    result = act();
  } catch (error) {
    if (!(error instanceof SabtreeError)) throw new Error(`expected ${code}, got ${error}`, { cause: error });
    expect(error.code, error.message).toBe(code);
    expect(error.name).toBe('SabtreeError');
    expect(error.message).not.toBe('');
    return error;
  }
  throw new Error(`expected ${code}, but the call gave ${String(result)}`);
}

/** The same of a call on a tree, which has to stay as it is. */
export function refused(tree: AnyTree, code: ErrorCode, act: () => unknown): SabtreeError {
  const before = [...tree];
  const digest = tree.digest();
  const error = refusal(code, act);
  tree.check();
  agree('entries after a refused call', [...tree], before);
  agree('digest after a refused call', tree.digest(), digest);
  return error;
}
