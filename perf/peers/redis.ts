/**
 * A replicated store beside Redis on loopback: what a Node.js program that shares state between its threads would ask a server
 * for. Redis does it for other processes and machines, too.
 *
 *   store.tree.get(k)                      a direct read, no message
 *   256 x store.put(k, v), awaited together --> stream --> executor's thread --> replies
 *   256 x client.set(k, v), awaited together --> 127.0.0.1, pipelined --> server's process --> back
 *
 * One executor and one replica: one copy of the data and one thread beside the caller's, as with Redis.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open } from '../../index.ts';
import { type Act, alternate, type Plan, type Row } from '../support/measure.ts';
import { randomKeys, shuffle } from '../support/random.ts';
import { TAKE_SCRIPT, take } from './redis-commands.ts';
import { startRedis } from './redis-server.ts';

/** Calls under way at a time. */
const WINDOW = 256;
/** Entries of a range. */
const SPAN = 100;
/** Tokens of a key: few enough to be all taken by and by. */
const TOKENS = 5;

export interface RedisSizes {
  readonly entries: number;
  /** Operations in a chunk, a multiple of WINDOW; a sixteenth of them where each is awaited. */
  readonly chunk: number;
  readonly plan: Plan;
}

/** The rows, and the server's version. */
export interface RedisReport {
  readonly rows: Row[];
  readonly version: string;
}

/** Compares them; some two minutes at full size. @throws if there is no Redis */
export async function besideRedis({ entries, chunk: size, plan }: RedisSizes): Promise<RedisReport> {
  const folder = mkdtempSync(join(tmpdir(), 'sabtree-log-'));
  const redis = await startRedis(false);
  const durableRedis = await startRedis(true);
  const options = { key: 'u32', value: 'f64', model: 'keyed', executors: 1, replicas: 1, memory: '256MB' } as const;
  const commands = new URL('./redis-commands.js', import.meta.url);
  const store = await open(options);
  const tokens = await open({ ...options, commands });
  const trusted = await open({ ...options, commands, commandTimeout: 0 });
  const durableStore = await open({ ...options, log: { path: join(folder, 'log'), fsync: 'always' } });
  const stores = [store, tokens, trusted, durableStore];
  try {
    const keys = randomKeys(entries, 777);
    const names = Array.from(keys, String);
    const sorted = keys.slice().sort();
    await store.putMany(
      keys,
      Float64Array.from(keys, (_, i) => i),
    );
    for (let from = 0; from < entries; from += 1000) {
      const some = names.slice(from, from + 1000);
      await redis.client.mSet(some.flatMap((name, i) => [name, String(from + i)]));
      await redis.client.sendCommand(['ZADD', 'sorted', ...some.flatMap((name, i) => [name, `${from + i}`])]);
    }
    const order = Uint32Array.from(keys, (_, i) => i);
    shuffle(order, 4711);
    const few = size >> 4;
    /** The places of a chunk's keys. */
    const part = (chunk: number, count: number) => {
      const start = (chunk % Math.floor(entries / count)) * count;
      return order.subarray(start, start + count);
    };
    const windows = async (chunk: number, run: (places: Uint32Array, from: number) => Promise<number>) => {
      const places = part(chunk, size);
      let sum = 0;
      for (let i = 0; i < size; i += WINDOW) sum += await run(places.subarray(i, i + WINDOW), i);
      return sum;
    };
    const total = (values: readonly (number | string | null | undefined)[]) =>
      values.reduce<number>((sum, value) => sum + Number(value ?? 0), 0);
    const redisSum = async (client: typeof redis.client, chunk: number) =>
      total(await client.mGet(Array.from(part(chunk, size), (i) => names[i])));
    const storeSum = (of: typeof store, chunk: number) => total(of.tree.getMany(part(chunk, size).map((i) => keys[i])));

    const direct: Act = {
      name: 'get, a direct read',
      operations: few,
      sides: [
        {
          name: 'store',
          run(chunk) {
            let sum = 0;
            for (const i of part(chunk, few)) sum += store.tree.get(keys[i]) as number;
            return sum;
          },
        },
        {
          name: 'Redis, call by call',
          async run(chunk) {
            let sum = 0;
            for (const i of part(chunk, few)) sum += Number(await redis.client.get(names[i]));
            return sum;
          },
        },
      ],
    };
    const ranges: Act = {
      name: `range of ${SPAN}, a direct read`,
      operations: few >> 2,
      sides: [
        {
          name: 'store',
          run(chunk) {
            let sum = 0;
            for (const i of part(chunk, few >> 2)) {
              for (const [, value] of store.tree.range({ gte: sorted[i], limit: SPAN })) sum += value;
            }
            return sum;
          },
        },
        {
          name: 'Redis, a sorted set',
          async run(chunk) {
            let sum = 0;
            for (const i of part(chunk, few >> 2)) {
              const range = ['ZRANGE', 'sorted', String(sorted[i]), '+inf', 'BYSCORE', 'LIMIT', '0', String(SPAN)];
              sum += total((await redis.client.sendCommand(range)) as string[]);
            }
            return sum;
          },
        },
      ],
    };
    const gets: Act = {
      name: `get as a command, ${WINDOW} at a time`,
      operations: size,
      sides: [
        {
          name: 'store',
          run: (chunk) =>
            windows(chunk, async (places) => total(await Promise.all(Array.from(places, (i) => store.get(keys[i]))))),
        },
        {
          name: 'Redis, pipelined',
          run: (chunk) =>
            windows(chunk, async (places) =>
              total(await Promise.all(Array.from(places, (i) => redis.client.get(names[i])))),
            ),
        },
      ],
    };
    const puts = (name: string, to: typeof store, client: typeof redis.client): Act => ({
      name,
      operations: size,
      sides: [
        {
          name: 'store',
          run: (chunk) =>
            windows(chunk, async (places, from) => {
              await Promise.all(Array.from(places, (i, at) => to.put(keys[i], chunk + from + at)));
              return 0;
            }),
          verify: (chunk) => storeSum(to, chunk),
        },
        {
          name: 'Redis, pipelined',
          run: (chunk) =>
            windows(chunk, async (places, from) => {
              await Promise.all(Array.from(places, (i, at) => client.set(names[i], String(chunk + from + at))));
              return 0;
            }),
          verify: (chunk) => redisSum(client, chunk),
        },
      ],
    });
    const putsAlone: Act = {
      name: 'put, call by call',
      operations: few,
      sides: [
        {
          name: 'store',
          async run(chunk) {
            for (const i of part(chunk, few)) await store.put(keys[i], chunk);
            return 0;
          },
        },
        {
          name: 'Redis, call by call',
          async run(chunk) {
            for (const i of part(chunk, few)) await redis.client.set(names[i], String(chunk));
            return 0;
          },
        },
      ],
    };
    const sha = await redis.client.scriptLoad(TAKE_SCRIPT);
    // Keys of their own, so that both begin with all tokens.
    const takes = (name: string, from: typeof tokens, prefix: string): Act => ({
      name,
      operations: size,
      sides: [
        {
          name: 'store',
          run: (chunk) =>
            windows(chunk, async (places) =>
              total(await Promise.all(Array.from(places, (i) => from.call(take, { key: keys[i], most: TOKENS })))),
            ),
        },
        {
          name: 'Redis, a Lua script, pipelined',
          run: (chunk) =>
            windows(chunk, async (places) => {
              const given = Array.from(places, (i) =>
                redis.client.evalSha(sha, { keys: [prefix + names[i]], arguments: [String(TOKENS)] }),
              );
              return total((await Promise.all(given)) as number[]);
            }),
        },
      ],
    });
    const acts = [
      direct,
      ranges,
      gets,
      puts(`put, ${WINDOW} at a time`, store, redis.client),
      putsAlone,
      puts(`put, ${WINDOW} at a time, on the disk before it is answered`, durableStore, durableRedis.client),
      takes(`own command, ${WINDOW} at a time`, tokens, 'a'),
      takes(`own command without a time limit, ${WINDOW} at a time`, trusted, 'b'),
    ];
    const rows: Row[] = [];
    for (const act of acts) rows.push(...(await alternate([act], plan)));
    return { rows, version: redis.version };
  } finally {
    await Promise.all([...stores.map((one) => one.close()), redis.close(), durableRedis.close()]);
    rmSync(folder, { recursive: true });
  }
}
