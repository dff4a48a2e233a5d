/** Waiting for somebody else's short piece of work, politely: a little longer each time, and off the processor. */

/** Longest single pause, in milliseconds. */
const LONGEST_PAUSE = 2;

let nowhere: Int32Array<SharedArrayBuffer> | undefined;
let mayBlock: boolean | undefined;

/** Sleeps for `ms` milliseconds. @throws TypeError where the thread may not block */
function sleep(ms: number): void {
  // Made when it is needed: a page that is not isolated has none, and may load this file nevertheless.
  nowhere ??= new Int32Array(new SharedArrayBuffer(4));
  Atomics.wait(nowhere, 0, 0, ms);
}

/** Whether this thread may block (a browser's main thread may not). */
export function canBlock(): boolean {
  if (mayBlock === undefined) {
    try {
      sleep(0);
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
    sleep(ms);
    return;
  }
  const end = performance.now() + Math.min(ms, 0.05);
  while (performance.now() < end);
}

/** The pause before try number `tries` (from 0): 20 us, doubling, at most 2 ms. */
export function pauseBefore(tries: number): void {
  pause(Math.min(LONGEST_PAUSE, 0.02 * 2 ** Math.min(tries, 10)));
}
