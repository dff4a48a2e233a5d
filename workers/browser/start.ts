/** Starting a store's threads in a browser. */
import { SabtreeError } from '../../engine/errors.ts';
import type { ChildThread } from '../platform.ts';
import { bar, type LifeMessage, whenDead } from './life.ts';
import { nameOf, type ThreadName } from './name.ts';
import { scriptUrl } from './script.ts';

/** What a browser with Trusted Types has. */
interface TrustedTypes {
  createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): string };
}

let trust: ((url: string) => string) | undefined;

/** The URL as a page that demands Trusted Types wants it. */
function trusted(url: string): string {
  if (trust === undefined) {
    const { trustedTypes } = globalThis as { trustedTypes?: TrustedTypes };
    try {
      const policy = trustedTypes?.createPolicy('sabtree', { createScriptURL: (own) => own });
      trust = (own) => policy?.createScriptURL(own) ?? own;
    } catch {
      // The page does not allow a policy of this name: perhaps it demands none, or has one for all.
      trust = (own) => own;
    }
  }
  return trust(url);
}

/** Starts a thread. @throws ERR_UNSUPPORTED if the browser refuses at once */
export function startThread(name: ThreadName): Worker {
  try {
    return new Worker(trusted(scriptUrl()), { name: nameOf(name) });
  } catch (cause) {
    const { message } = cause as Error;
    const allow =
      "under require-trusted-types-for 'script' a Content-Security-Policy's trusted-types has to allow the policy sabtree";
    throw new SabtreeError('ERR_UNSUPPORTED', `a thread cannot be started: ${message} (${allow})`, undefined, {
      cause,
    });
  }
}

/** Why threads are not started without Web Locks. */
const WITHOUT_LOCKS = 'Web Locks, which tell a store whether its threads live, cannot be had here';

/**
 * Starts a thread of a store and looks after it. It gets no message before it holds the lock that tells whether it lives.
 * @throws ERR_UNSUPPORTED if the browser refuses at once; what it refuses later ends the thread with such an error.
 */
export function startChild(role: ThreadName['role'], title: string): ChildThread {
  if (navigator.locks === undefined) {
    throw new SabtreeError('ERR_UNSUPPORTED', `${WITHOUT_LOCKS}: the browser has none`);
  }
  const life = `sabtree ${crypto.randomUUID()}`;
  const worker = startThread({ title, role, life });
  let held: [message: unknown, transfer: Transferable[]][] | undefined = [];
  let lives = false;
  let terminated: Promise<void> | undefined;
  let failure: unknown;
  let over: () => void = () => {};
  const ended = new Promise<void>((resolve) => {
    over = resolve;
  });

  const terminate = () => {
    worker.terminate();
    // If it has not said that it lives, it may be about to take the lock: then it must not get it any more. (Where locks are
    // denied nobody gets it.)
    terminated ??= (lives ? ended : bar(life).catch(() => {})).then(over);
    return terminated;
  };
  const fail = (reason: unknown) => {
    failure ??= reason;
    void terminate();
  };
  worker.addEventListener('message', ({ data }: MessageEvent<Partial<LifeMessage> | null>) => {
    if (data?.sabtree === 'failed') fail(new SabtreeError('ERR_UNSUPPORTED', `${WITHOUT_LOCKS}: ${data.reason}`));
    if (data?.sabtree !== 'lives' || terminated !== undefined) return;
    lives = true;
    whenDead(life).then(over, fail);
    const messages = held ?? [];
    held = undefined;
    for (const [message, transfer] of messages) worker.postMessage(message, transfer);
  });
  // An error that nobody caught does not end a worker here, as it does in Node.
  worker.addEventListener('error', (event) => {
    event.preventDefault();
    const blocked = 'the browser did not start it (a Content-Security-Policy has to allow worker-src blob:)';
    fail(event.error ?? event.message ?? new SabtreeError('ERR_UNSUPPORTED', blocked));
  });
  return {
    endpoint: {
      postMessage(message: unknown, transfer: Transferable[] = []) {
        if (held === undefined) worker.postMessage(message, transfer);
        else held.push([message, transfer]);
      },
      addEventListener: worker.addEventListener.bind(worker),
      removeEventListener: worker.removeEventListener.bind(worker),
    },
    terminate,
    onEnd(listener) {
      void ended.then(() => listener(failure));
    },
    onMessage(listener) {
      worker.addEventListener('message', ({ data }) => listener(data));
    },
  };
}
