/**
 * The process that is killed: it opens the store, tells what is in it, and goes on writing. What was answered it says at
 * once, one line for each command, in a pipe that outlives it.
 */
import { writeSync } from 'node:fs';
import { connect, open, type StoreClient } from '../../index.ts';
import { type Life, type Step, stepsOf } from './plan.ts';

const nothing = new Int32Array(new SharedArrayBuffer(4));
const life = JSON.parse(process.argv[2]) as Life;
const { directory, fsync, model, executors, replicas, clients, window, snapshotEvery, last } = life;

/** At once: what is said is in the pipe when this returns, also if the pipe was full for a while. */
function say(line: string): void {
  const bytes = Buffer.from(`${line}\n`);
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(1, bytes, done);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Atomics.wait(nothing, 0, 0, 1);
    }
  }
}

function carryOut(client: StoreClient, { name, keys, value }: Step): Promise<unknown> {
  if (name === 'putAll') {
    return client.putAll(
      keys,
      keys.map(() => value),
    );
  }
  return name === 'delete' ? client.delete(keys[0]) : client[name](keys[0], value);
}

/** One client: as many operations under way as the window has, for ever. */
function work(client: StoreClient, number: number): void {
  const steps = stepsOf(life, number);
  let i = 0;
  const next = async () => {
    for (;;) {
      const index = i++;
      await carryOut(client, steps.next().value);
      // The dot is its end: what the kill cuts short is no answer.
      say(`ack ${number} ${index} .`);
    }
  };
  for (let n = 0; n < window; n++) {
    next().catch((error) => {
      say(`trouble ${JSON.stringify(`${error}`)}`);
      process.exit(1);
    });
  }
}

try {
  const store = await open({
    ...{ key: 'u32', value: 'f64', memory: '16MB', model, executors, replicas },
    log: { path: directory, fsync, interval: 20, snapshotEvery },
  });
  const { log, replicas: states } = store.status();
  store.onEvent((event) => {
    if (event.type === 'log-replaced') say('replaced');
    else say(`trouble ${JSON.stringify(JSON.stringify(event))}`);
  });
  const digests = await store.digests();
  const equal = digests.length === states.length && digests.every(({ digest }) => digest === digests[0].digest);
  say(`ready ${JSON.stringify({ entries: await store.range(), equal, replayed: log?.replayed, torn: log?.torn })}`);
  if (last) await store.close();
  else {
    for (let number = 0; number < clients; number++) {
      work(number === 0 ? store : await connect(store.handle), number);
    }
  }
} catch (error) {
  say(`trouble ${JSON.stringify(error instanceof Error ? error.message : String(error))}`);
  process.exitCode = 1;
}
