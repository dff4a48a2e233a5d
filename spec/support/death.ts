/**
 * Threads that die at a chosen step, made certain: what a thread would do is run in this one and broken off before the
 * n-th time it changes shared memory in an atomic step, or copies records into a ring.
 */
import { GroupRing } from '../../dist/workers/ring.js';

/** Breaks the act off. */
class Death extends Error {}

const STEPS = ['store', 'compareExchange', 'exchange', 'add', 'and', 'or', 'notify'] as const;

/** Runs `act` up to its n-th step, counted from 0; true if it was broken off there, false if it came to its end. */
export function dieAt(n: number, act: () => void): boolean {
  const atomics = Atomics as unknown as Record<string, (...args: unknown[]) => unknown>;
  const { write } = GroupRing.prototype;
  const before = STEPS.map((name) => atomics[name]);
  let left = n;
  const step = () => {
    if (left-- === 0) throw new Death();
  };
  for (const [i, name] of STEPS.entries()) {
    atomics[name] = (...args) => {
      step();
      return before[i](...args);
    };
  }
  GroupRing.prototype.write = function (...args) {
    step();
    write.apply(this, args);
  };
  try {
    act();
    return false;
  } catch (error) {
    if (error instanceof Death) return true;
    throw error;
  } finally {
    for (const [i, name] of STEPS.entries()) atomics[name] = before[i];
    GroupRing.prototype.write = write;
  }
}
