/**
 * What a thread does while there is nothing to do: the ring is empty, or full, or a partner has not arrived. A strategy
 * decides only between looking again and parking; parking itself (a futex) is done by the one who waits, beside the
 * argument why no wake-up is lost.
 */
import { pause } from '../engine/backoff.ts';
import { SabtreeError, show } from '../engine/errors.ts';

/**
 * Names of the ways to wait: 'park' looks for a moment, then sleeps until it is woken; 'yield' looks 200 times, then every 50
 * microseconds, for some 3 % of a core; 'spin' looks all the time, and takes a whole core for each thread that waits.
 */
export type WaitName = 'spin' | 'yield' | 'park';

/** One way to wait. */
export interface WaitStrategy {
  readonly name: WaitName;
  /**
   * Called after look number `looks` (from 0) found nothing.
   * @returns true if the thread should park now, false to look again.
   */
  idle(looks: number): boolean;
}

// Atomics.pause exists from Node 24 on: it tells the processor that this is a spin loop.
const relax: () => void = (Atomics as { pause?: () => void }).pause ?? (() => {});

/** Looks all the time. Lowest latency (below a microsecond), and one core at 100 % for each thread that waits. */
export const spin: WaitStrategy = {
  name: 'spin',
  idle() {
    relax();
    return false;
  },
};

/** Looks 200 times, then once every 50 us. Latency up to 0.1 ms; costs about 3 % of a core for each thread that waits. */
export const yieldNow: WaitStrategy = {
  name: 'yield',
  idle(looks) {
    if (looks < 200) relax();
    else pause(0.05);
    return false;
  },
};

/**
 * Looks a while, then sleeps until it is woken. Costs nothing while it sleeps; waking takes the operating system 3 to 50 us,
 * and the waker 2 to 30. With a core for every thread it looks 1,500 times (some 0.1 ms) before it sleeps; with more
 * threads than cores 200 times (some 10 us), since looking takes the core from the very thread that is waited for.
 */
function parkAfter(looksBefore: number): WaitStrategy {
  return {
    name: 'park',
    idle(looks) {
      relax();
      return looks >= looksBefore;
    },
  };
}

/** The default with more threads than cores. */
export const park: WaitStrategy = parkAfter(200);
/** The default with a core for every thread. */
export const patientPark: WaitStrategy = parkAfter(1500);

const STRATEGIES: Readonly<Record<WaitName, WaitStrategy>> = { spin, yield: yieldNow, park };

/**
 * The strategy of that name; ERR_OPTION lists the right ones.
 * @param roomy whether there is a core for every thread of the store.
 */
export function waitStrategy(name: WaitName, roomy = false): WaitStrategy {
  if (typeof name !== 'string' || !Object.hasOwn(STRATEGIES, name)) {
    throw new SabtreeError(
      'ERR_OPTION',
      `option wait must be one of ${Object.keys(STRATEGIES).join(', ')}, got ${show(name)}`,
      name,
    );
  }
  return name === 'park' && roomy ? patientPark : STRATEGIES[name];
}
