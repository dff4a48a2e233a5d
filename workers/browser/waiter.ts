/** A thread that waits for another one, where there is no Atomics.waitAsync: entry file. */
import type { WaitRequest } from './wait-async.ts';

addEventListener('message', ({ data }: MessageEvent<WaitRequest>) => {
  const { memory, index, value, timeout } = data;
  Atomics.wait(new Int32Array(memory), index, value, timeout);
  postMessage({ sabtree: 'waited' });
});
