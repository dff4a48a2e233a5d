/** A user-defined command for stores of objects (content.ts). */
import { defineCommand, json } from '../../workers/define-command.ts';
import { numberOfValue, type Padded, padded } from './content.ts';

/** Adds to several entries, to all or to none; one that is absent counts as 0. */
export const addAll = defineCommand({
  name: 'addAll',
  key: 'string',
  value: 'json',
  args: json<{ keys: string[]; by: number }>(),
  result: 'void',
  keys: ({ keys }) => keys,
  run(ctx, { keys, by }) {
    for (const key of keys) {
      const before = ctx.get(key) as Padded | undefined;
      ctx.put(key, padded((before === undefined ? 0 : numberOfValue(before)) + by));
    }
  },
});
