/**
 * Whether a thread lives, in a browser. `Worker.terminate` returns before the thread has ended, and nobody is told when it
 * has. But a Web Lock that a thread holds is given to the next one only when the thread cannot run any more: so each thread
 * holds a lock of its own, and who gets it in turn knows that the thread is dead.
 */

const never = new Promise<never>(() => {});

/** What a thread says once it holds its lock: only then is it given anything to do. */
export interface LifeMessage {
  readonly sabtree: 'lives' | 'failed';
  /** Why it could not take the lock. */
  readonly reason?: string;
}

/** In a thread of the store: takes its lock for good, and tells the thread that started it. */
export async function announceLife(life: string): Promise<void> {
  try {
    await hold(life);
    postMessage({ sabtree: 'lives' } satisfies LifeMessage);
  } catch (error) {
    postMessage({ sabtree: 'failed', reason: String(error) } satisfies LifeMessage);
  }
}

/** Resolves with true when this thread has the lock, which it keeps for good; with false if it could not have it at once and wanted to. */
function hold(name: string, options: LockOptions = {}): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const held = navigator.locks.request(name, options, (lock) => {
      resolve(lock !== null);
      return lock === null ? undefined : never;
    });
    held.catch(reject);
  });
}

/** Resolves when a thread that held its lock is dead. */
export async function whenDead(life: string): Promise<void> {
  await navigator.locks.request(life, () => {});
}

/** Resolves when a thread that may not have its lock yet is dead, or will never have it. */
export async function bar(life: string): Promise<void> {
  await hold(life);
}

const lockOf = (token: number) => `sabtree thread ${token}`;

let own = 0;
let taking: Promise<void> | undefined;

/** A number whose lock this thread holds; 0 as long as it has none. */
export function ownToken(): number {
  return own;
}

/**
 * Takes the lock of a number of this thread's own, once. A page needs none: all threads that share memory with it end with it.
 * Without locks (they may be denied) there is no number.
 */
export function takeToken(): Promise<void> | undefined {
  if (own !== 0 || !('WorkerGlobalScope' in globalThis)) return undefined;
  taking ??= (async () => {
    for (;;) {
      const token = 1 + Math.floor(Math.random() * 0x7ffffffe);
      if (!(await hold(lockOf(token), { ifAvailable: true }))) continue;
      own = token;
      return;
    }
  })().catch(() => {});
  return taking;
}

/** Tokens whose threads are watched, and whether they live. */
const seen = new Map<number, boolean>();

/**
 * The same as `tokenLives` for the supervisor of a store, whose number says nothing any more once it is dead. A thread learns of it only
 * when it comes back to its event loop.
 */
export function supervisorLives(token: number): boolean {
  if (token === 0) return true;
  const lives = seen.get(token);
  if (lives !== undefined) return lives;
  seen.set(token, true);
  whenDead(lockOf(token)).then(
    () => seen.set(token, false),
    () => {},
  );
  return true;
}

/** Whether the thread of a token lives, as far as is known here; always true for 0. Threads give their token only with its lock held. */
export function tokenLives(token: number): boolean {
  if (token === 0) return true;
  const lives = seen.get(token);
  if (lives !== undefined) return lives;
  seen.set(token, true);
  // Kept, so that the number of a dead thread is never taken again; shared with the supervisors of other stores.
  hold(lockOf(token), { mode: 'shared' }).then(
    () => seen.set(token, false),
    () => {},
  );
  return true;
}
