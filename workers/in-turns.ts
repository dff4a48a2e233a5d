/** Lets the event loop go round once. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    const { setImmediate: soon } = globalThis as { setImmediate?: (call: () => void) => void };
    if (soon === undefined) setTimeout(resolve, 0);
    else soon(resolve);
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
