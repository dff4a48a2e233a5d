/**
 * Waiting without blocking. Where Atomics.waitAsync is missing (Firefox 140), a thread of its own waits instead and
 * sends a message: so a wake-up comes when it is due, instead of at the next timer, which are 4 ms apart and more.
 */
import { startThread } from './start.ts';

/** What a waiting thread is asked. */
export interface WaitRequest {
  readonly memory: ArrayBufferLike;
  /** Index among the memory's 32-bit words. */
  readonly index: number;
  readonly value: number;
  readonly timeout: number;
}

/** What Atomics.waitAsync returns. */
export type Waited = ReturnType<typeof Atomics.waitAsync>;

/** Milliseconds after which a waiting thread that nobody needs is ended. */
const LINGER = 1000;

/** A thread that waits for one at a time. */
class Waiter {
  private readonly worker = startThread({
    title: 'sabtree waiter',
    role: 'waiter',
    life: `sabtree ${crypto.randomUUID()}`,
  });
  private timer: ReturnType<typeof setTimeout> | undefined;
  private done: (() => void) | undefined;

  constructor() {
    this.worker.addEventListener('message', ({ data }) => {
      if (data.sabtree === 'waited') this.settle();
    });
    // Then it is looked at again and again.
    this.worker.addEventListener('error', (event) => {
      event.preventDefault();
      denied = true;
      this.worker.terminate();
      this.done?.();
    });
  }

  wait(request: WaitRequest): Promise<'ok'> {
    clearTimeout(this.timer);
    return new Promise((resolve) => {
      this.done = () => resolve('ok');
      this.worker.postMessage(request);
    });
  }

  private settle(): void {
    idle.push(this);
    this.timer = setTimeout(() => {
      idle.splice(idle.indexOf(this), 1);
      this.worker.terminate();
    }, LINGER);
    this.done?.();
  }
}

const idle: Waiter[] = [];
/** Whether threads cannot be started here. */
let denied = false;

/** A thread that has nothing to wait for; undefined where none can be started. */
function freeWaiter(): Waiter | undefined {
  if (denied) return undefined;
  try {
    return idle.pop() ?? new Waiter();
  } catch {
    denied = true;
    return undefined;
  }
}

/** Like Atomics.waitAsync: resolves when the word is notified or after `timeout` milliseconds, and now and then without reason. */
export function waitAsync(words: Int32Array, index: number, value: number, timeout: number): Waited {
  if ((Atomics as Partial<typeof Atomics>).waitAsync)
    return Atomics.waitAsync(words as Int32Array<SharedArrayBuffer>, index, value, timeout);
  // The waiting thread compares again, at the instant it begins to wait: so no wake-up is lost.
  if (Atomics.load(words, index) !== value) return { async: false, value: 'not-equal' };
  const waiter = freeWaiter();
  if (waiter === undefined) {
    return { async: true, value: new Promise((resolve) => setTimeout(resolve, Math.min(timeout, 4), 'ok')) };
  }
  const at = (words.byteOffset >> 2) + index;
  return { async: true, value: waiter.wait({ memory: words.buffer, index: at, value, timeout }) };
}
