/** Waiting for somebody else's short piece of work, politely: a little longer each time, and off the processor. */

/** Longest single pause, in milliseconds. */
const LONGEST_PAUSE = 2;

const nowhere = new Int32Array(new SharedArrayBuffer(4));
let mayBlock: boolean | undefined;

/** Whether this thread may block (a browser's main thread may not). */
export function canBlock(): boolean {
  if (mayBlock === undefined) {
    try {
      Atomics.wait(nowhere, 0, 0, 0);
      mayBlock = true;
    } catch {
      mayBlock = false;
    }
  }
  return mayBlock;
}

/** Gives the processor away for up to `ms` milliseconds; where the thread may not block, spins for at most 50 us. */
export function pause(ms: number): void {
  if (canBlock()) {
    Atomics.wait(nowhere, 0, 0, ms);
    return;
  }
  const end = performance.now() + Math.min(ms, 0.05);
  while (performance.now() < end);
}

/** The pause before try number `tries` (from 0): 20 us, doubling, at most 2 ms. */
export function pauseBefore(tries: number): void {
  pause(Math.min(LONGEST_PAUSE, 0.02 * 2 ** Math.min(tries, 10)));
}
