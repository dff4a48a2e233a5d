/** The usual way to share a Map between threads: one worker owns it, the others send it messages. */
import { parentPort } from 'node:worker_threads';

/** One put, many puts, or (without values) the question for the sum of the values of some keys. */
export type MapCall =
  | { readonly key: number; readonly value: number }
  | { readonly pairs: readonly (readonly [number, number])[] }
  | { readonly keys: Uint32Array; readonly values?: Float64Array };

const map = new Map<number, number>();

/** How many keys were new, or the sum asked for. */
function answer(call: MapCall): number {
  const before = map.size;
  if ('key' in call) map.set(call.key, call.value);
  else if ('pairs' in call) for (const [key, value] of call.pairs) map.set(key, value);
  else {
    const { keys, values } = call;
    if (values === undefined) return keys.reduce((sum, key) => sum + (map.get(key) ?? 0), 0);
    for (let i = 0; i < keys.length; i++) map.set(keys[i], values[i]);
  }
  return map.size - before;
}

parentPort?.on('message', (call: MapCall) => parentPort?.postMessage(answer(call)));
