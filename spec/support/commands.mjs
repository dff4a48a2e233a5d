/** Commands that the tests have stores run. */
import { threadId } from 'node:worker_threads';
import { arrayOf, object, u32 } from 'typed-binary';
import { defineCommand } from '../../dist/index.js';

/** What libraries do: they keep what they find when they are loaded. */
const { random } = Math;
const { now } = Date;

/** What Node.js had loaded before. */
const loaded = process.moduleLoadList.map((name) => name.split(' ').pop());

/** Moves an amount from one account to another, if there is enough. */
export const transfer = defineCommand({
  name: 'transfer',
  key: 'u32',
  value: 'f64',
  args: 'json',
  result: 'boolean',
  keys: ({ from, to }) => [from, to],
  run(ctx, { from, to, amount }) {
    const there = ctx.get(from) ?? 0;
    if (there < amount) return false;
    ctx.put(from, there - amount);
    ctx.put(to, (ctx.get(to) ?? 0) + amount);
    return true;
  },
});

/** Writes all of its keys, then does what it is told to. */
export const misbehave = defineCommand({
  name: 'misbehave',
  key: 'u32',
  value: 'f64',
  args: 'json',
  result: 'f64',
  keys: ({ keys }) => keys,
  run(ctx, { keys, how }) {
    for (const key of keys) ctx.put(key, -1);
    switch (how) {
      case 'throw':
        throw Object.assign(new RangeError('no such thing'), { code: 'E_MINE' });
      case 'throw nothing':
        throw undefined;
      case 'result':
        return 'five';
      case 'promise':
        return Promise.resolve(5);
      case 'undeclared':
        return ctx.get(4_000_000);
      case 'undeclared, caught':
        try {
          ctx.put(4_000_000, 1);
        } catch {}
        return 5;
      case 'key':
        return ctx.get('one');
      case 'value':
        return ctx.put(keys[0], 'one') ? 1 : 0;
      case 'range':
        return ctx.range().length;
      case 'deep': {
        const dive = (depth) => (ctx.has(keys[0]) ? dive(depth + 1) : depth);
        return dive(0);
      }
      case 'endless':
        for (;;);
      default:
        return 5;
    }
  },
});

/** The time and the random numbers that it saw. */
export const chance = defineCommand({
  name: 'chance',
  key: 'u32',
  value: 'f64',
  args: 'u32',
  result: arrayOf(u32, 3),
  keys: (key) => [key],
  run(ctx, key) {
    const seen = [ctx.random(), Math.random(), random()].map((x) => Math.floor(x * 2 ** 32));
    const times = [Date.now(), now(), ...[new Date(), new (class extends Date {})()].map(Number)];
    if (times.some((time) => time !== ctx.time)) throw new Error(`clocks: ${times}`);
    if (Date() !== new Date(ctx.time).toString()) throw new Error(`another clock: ${Date()}`);
    const day = new Date(2020, 1, 2);
    if (!(day instanceof Date) || day.getMonth() !== 1 || day.constructor !== Date) throw new Error('not a date');
    ctx.put(key, seen[0] + seen[1] + seen[2] + ctx.time);
    return seen;
  },
});

/** Replaces the entries of a range by their sum, at its first key. */
export const fold = defineCommand({
  name: 'fold',
  key: 'u32',
  value: 'f64',
  args: object({ from: u32, to: u32 }),
  result: 'f64',
  keys: 'all',
  run(ctx, { from, to }) {
    ctx.put(from, ctx.get(from) ?? 0);
    const entries = ctx.range({ gte: from, lt: to });
    let sum = 0;
    for (const [key, value] of entries) {
      sum += value;
      ctx.delete(key);
    }
    if (ctx.range({ gte: from, lt: to }).length !== 0) throw new Error('a range shows what was deleted');
    ctx.put(from, sum);
    const [[first, value]] = ctx.range({ gte: from, lt: to, reverse: true });
    if (first !== from || value !== sum) throw new Error('a range does not show what was written');
    return entries.length;
  },
});

/** How many entries a range has, whatever is asked for. */
export const lookAround = defineCommand({
  name: 'look around',
  key: 'u32',
  value: 'f64',
  args: 'json',
  result: 'f64',
  keys: 'all',
  run: (ctx, { deep = false, ...options }) => {
    const dive = (sum) => (deep ? dive(sum + ctx.range(options).length) : sum + ctx.range(options).length);
    return dive(0);
  },
});

/** A long text about some keys. */
export const describeKeys = defineCommand({
  name: 'describe',
  key: 'u32',
  value: 'f64',
  args: 'json',
  result: 'string',
  readOnly: true,
  maxResult: 2000,
  keys: ({ keys }) => keys,
  run: (ctx, { keys, write }) => {
    if (write) ctx.put(keys[0], 1);
    return keys.map((key) => `${key}: ${ctx.get(key)}`).join(', ');
  },
});

/** Counts up, and answers a text too long to be kept beside its status. */
export const count = defineCommand({
  name: 'count',
  key: 'u32',
  value: 'f64',
  args: 'u32',
  result: 'string',
  keys: (key) => [key],
  run(ctx, key) {
    const next = (ctx.get(key) ?? 0) + 1;
    ctx.put(key, next);
    return `the count is ${next}`;
  },
});

/** Takes 400 ms in every other thread, and no time in the others. */
export const uneven = defineCommand({
  name: 'uneven',
  key: 'u32',
  value: 'f64',
  args: 'u32',
  result: 'void',
  keys: (key) => [key],
  run(ctx, key) {
    ctx.put(key, (ctx.get(key) ?? 0) + 1);
    const end = performance.now() + (threadId % 2 === 1 ? 400 : 0);
    while (performance.now() < end);
  },
});

/** Adds one to a key, and takes some milliseconds for it. */
export const linger = defineCommand({
  name: 'linger',
  key: 'u32',
  value: 'f64',
  args: 'json',
  result: 'void',
  keys: ({ key }) => [key],
  run(ctx, { key, ms }) {
    ctx.put(key, (ctx.get(key) ?? 0) + 1);
    const end = performance.now() + ms;
    while (performance.now() < end);
  },
});

/** Whether some of Node.js was loaded before this module. */
export const isLoaded = defineCommand({
  name: 'is loaded',
  key: 'u32',
  value: 'f64',
  args: 'json',
  result: 'boolean',
  readOnly: true,
  keys: 'all',
  run: (_ctx, names) => names.every((name) => loaded.includes(name)),
});
