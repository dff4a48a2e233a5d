/** The command of redis.ts: every executor of its store imports this module. */
import { object, u32 } from 'typed-binary';
import { defineCommand } from '../../index.ts';

/** Takes one of a key's tokens, if there is one; answers what is left, or -1. */
export const take = defineCommand({
  name: 'take',
  key: 'u32',
  value: 'f64',
  args: object({ key: u32, most: u32 }),
  result: 'f64',
  keys: ({ key }) => [key],
  run(ctx, { key, most }) {
    const left = ctx.get(key) ?? most;
    if (left === 0) return -1;
    ctx.put(key, left - 1);
    return left - 1;
  },
});

/** The same in Redis. */
export const TAKE_SCRIPT = `
local left = tonumber(redis.call('GET', KEYS[1]) or ARGV[1])
if left == 0 then return -1 end
redis.call('SET', KEYS[1], left - 1)
return left - 1`;
