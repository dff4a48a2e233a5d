/** A user-defined command for stores of numbers (content.ts). */
import { defineCommand, json } from '../../workers/define-command.ts';

/** Adds to several entries, to all or to none; one that is absent counts as 0. */
export const addAll = defineCommand({
  name: 'addAll',
  key: 'u32',
  value: 'f64',
  args: json<{ keys: number[]; by: number }>(),
  result: 'void',
  keys: ({ keys }) => keys,
  run(ctx, { keys, by }) {
    for (const key of keys) ctx.put(key, (ctx.get(key) ?? 0) + by);
  },
});
