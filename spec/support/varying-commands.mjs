/** Commands for stores of strings and JSON. */
import { defineCommand } from '../../dist/index.js';

const types = { key: 'string', value: 'json' };

/** Moves an entry to another key; what it holds. */
export const move = defineCommand({
  ...types,
  name: 'move',
  args: 'json',
  result: 'json',
  keys: ({ from, to }) => [from, to],
  run(ctx, { from, to }) {
    const value = ctx.get(from);
    ctx.put(to, 'to be overwritten');
    if (value === undefined) throw new Error(`there is no ${from}`);
    if (ctx.get(to) !== 'to be overwritten') throw new Error('an own write is not seen');
    ctx.put(to, value);
    if (!ctx.delete(from) || ctx.has(from)) throw new Error('an own deletion is not seen');
    return value;
  },
});

/** Replaces all entries below a prefix by the sum of their lengths. */
export const tidy = defineCommand({
  ...types,
  name: 'tidy',
  args: 'string',
  result: 'json',
  keys: 'all',
  run(ctx, prefix) {
    let sum = 0;
    for (const [key, value] of ctx.range({ prefix })) {
      sum += value.length;
      ctx.delete(key);
    }
    if (ctx.range({ prefix }).length !== 0) throw new Error('a range shows what was deleted');
    // Surrogates stand behind U+FFFF in this order, and before it in that of UTF-16.
    const late = [`${prefix}\uffff`, `${prefix}𝄞`];
    for (const key of late) ctx.put(key, sum);
    ctx.put(`${prefix}sum`, 'total');
    const order = ctx.range({ prefix }).map(([key]) => key);
    if (String(order) !== String([`${prefix}sum`, ...late])) throw new Error(`own writes come as ${order}`);
    if (ctx.range({ gt: late[0], lte: late[1] }).length !== 1) throw new Error('bounds are not in this order');
    for (const key of late) ctx.delete(key);
    return [ctx.range({ prefix, limit: 1 })[0][0], sum];
  },
});

/** Lengths of the values of some keys. */
export const lengths = defineCommand({
  ...types,
  name: 'lengths',
  args: 'json',
  result: 'string',
  readOnly: true,
  keys: (keys) => keys,
  run: (ctx, keys) => keys.map((key) => ctx.get(key)?.length ?? -1).join(' '),
});

/** Writes a text of that length. */
export const fill = defineCommand({
  ...types,
  name: 'fill',
  args: 'json',
  result: 'boolean',
  keys: ({ key }) => [key],
  run: (ctx, { key, length }) => ctx.put(key, 'x'.repeat(length)),
});
