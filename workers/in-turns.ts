/** Who waits for a message that this thread sent to itself. */
const waiting: (() => void)[] = [];
let port: MessagePort | undefined;

/** Not by a timer: browsers let those that follow each other wait for 4 ms, and those of hidden pages for a second and more. */
function afterMessage(call: () => void): void {
  if (port === undefined) {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => waiting.shift()?.();
    port = channel.port2;
  }
  waiting.push(call);
  port.postMessage(undefined);
}

/** Lets the event loop go round once. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    const { setImmediate: soon = afterMessage } = globalThis as { setImmediate?: (call: () => void) => void };
    soon(resolve);
  });
}

/** Elements that are given without the event loop, before others have a turn. */
const TOGETHER = 256;

/** An iterator's elements for `for await`. Now and then the thread's other work has its turn. */
export function inTurns<T>(iterator: Iterator<T, undefined>): AsyncIterableIterator<T, undefined> {
  let given = 0;
  return {
    async next() {
      if (++given % TOGETHER === 0) await turn();
      return iterator.next();
    },
    async return() {
      iterator.return?.();
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
