/** A replicated store beside Redis on loopback: `npm run perf:redis -- [--json] [--quick]`. Asserts no speed. */
import { besideRedis } from './peers/redis.ts';
import { REDIS_CLIENT, REDIS_CLIENT_VERSION } from './peers/redis-server.ts';
import { describeMachine, machine, readFlags, rowTable } from './support/report.ts';

const { json, quick } = readFlags();
const entries = quick ? 4096 : 100_000;
const { rows, version } = await besideRedis(
  quick
    ? { entries, chunk: 512, plan: { rounds: 2, chunks: 1 } }
    : { entries, chunk: 16_384, plan: { rounds: 11, chunks: 1 } },
).catch((error: Error) => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
});
const here = machine([]);
const redis = { server: version, client: `${REDIS_CLIENT} ${REDIS_CLIENT_VERSION}` };
if (json) {
  process.stdout.write(`${JSON.stringify({ machine: here, redis, entries, quick, rows }, undefined, 2)}\n`);
} else {
  const content = `${entries.toLocaleString('en')} u32 keys, number values; Redis ${version} on 127.0.0.1, ${redis.client}`;
  process.stdout.write(`${describeMachine(here)}${content}\n\n${rowTable(rows)}\n`);
}
