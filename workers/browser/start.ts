/** Starting a store's threads in a browser. */
import type { ChildThread } from '../platform.ts';
import { bar, type LifeMessage, whenDead } from './life.ts';
import { nameOf, type ThreadName } from './name.ts';
import { scriptUrl } from './script.ts';

/** Starts a thread. */
export function startThread(name: ThreadName): Worker {
  return new Worker(scriptUrl(), { name: nameOf(name) });
}

/** Starts a thread of a store and looks after it. It gets no message before it holds the lock that tells whether it lives. */
export function startChild(role: ThreadName['role'], title: string): ChildThread {
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
    // If it has not said that it lives, it may be about to take the lock: then it must not get it any more.
    terminated ??= (lives ? ended : bar(life)).then(over);
    return terminated;
  };
  const fail = (reason: unknown) => {
    failure ??= reason;
    void terminate();
  };
  worker.addEventListener('message', ({ data }: MessageEvent<Partial<LifeMessage> | null>) => {
    if (data?.sabtree === 'failed') fail(data.reason);
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
    fail(event.error ?? event.message ?? blocked);
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
