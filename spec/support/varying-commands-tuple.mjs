/** A command whose keys are tuples. */
import { defineCommand } from '../../dist/index.js';

/** Adds one to a key twice, by two keys that are equal and not the same. */
export const twice = defineCommand({
  name: 'twice',
  key: 'tuple',
  value: 'f64',
  args: 'json',
  result: 'f64',
  keys: (key) => [key],
  run(ctx, key) {
    for (let i = 0; i < 2; i++) ctx.put(key.slice(), (ctx.get(key.slice()) ?? 0) + 1);
    return ctx.get(key);
  },
});
