/** A command whose keys are bytes. */
import { defineCommand } from '../../dist/index.js';

/** Adds one to a key twice, by two keys that are equal and not the same. */
export const twice = defineCommand({
  name: 'twice',
  key: 'bytes',
  value: 'f64',
  args: 'json',
  result: 'f64',
  keys: (key) => [key],
  run(ctx, key) {
    for (let i = 0; i < 2; i++) ctx.put(key.slice(), (ctx.get(key.slice()) ?? 0) + 1);
    return ctx.get(key);
  },
});

/** Writes so many keys, all of them by one object that it changes. */
export const fill = defineCommand({
  name: 'fill',
  key: 'bytes',
  value: 'f64',
  args: 'f64',
  result: 'void',
  keys: (n) => Array.from({ length: n }, (_, i) => Uint8Array.of(i)),
  run(ctx, n) {
    const key = Uint8Array.of(0);
    for (let i = 0; i < n; i++) {
      key[0] = i;
      ctx.put(key, i);
      if (i % 2 === 1) ctx.delete(key);
    }
    key[0] = 255;
  },
});
