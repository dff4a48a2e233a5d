/**
 * The process that is killed: it opens the store, tells what is in it, and goes on writing. What was answered it says at
 * once, one line for each command, in a pipe that outlives it.
 */
import { writeSync } from 'node:fs';
import { connect, type DefinedCommand, open, type Store, type StoreClient } from '../../index.ts';
import { addAll as addNumbers } from './commands-numbers.ts';
import { addAll as addToObjects } from './commands-objects.ts';
import { keyOf, numberOfKey, numberOfValue, type Padded, padded } from './content.ts';
import { type Life, type Step, stepsOf } from './plan.ts';

const nothing = new Int32Array(new SharedArrayBuffer(4));
const life = JSON.parse(process.argv[2]) as Life;
const { directory, content, fsync, model, executors, replicas, clients, window, snapshotEvery, last } = life;

/** A store's keys and values, each of which stands for a number. */
interface Content {
  readonly options: object;
  readonly addAll: DefinedCommand<never, never, { keys: unknown[]; by: number }, void>;
  key(number: number): unknown;
  value(number: number): unknown;
  entry(entry: readonly [unknown, unknown]): [number, number];
}

const commands = (file: string) => new URL(file, import.meta.url);
const { options, addAll, key, value, entry } = {
  numbers: {
    options: { key: 'u32', value: 'f64', memory: '16MB', commands: commands('./commands-numbers.js') },
    addAll: addNumbers,
    key: (number: number) => number,
    value: (number: number) => number,
    entry: (given: readonly [unknown, unknown]) => given,
  },
  objects: {
    options: { key: 'string', value: 'json', memory: '32MB', ring: 8192, commands: commands('./commands-objects.js') },
    addAll: addToObjects,
    key: keyOf,
    value: padded,
    entry: ([text, object]: readonly [unknown, unknown]) => [
      numberOfKey(text as string),
      numberOfValue(object as Padded),
    ],
  },
}[content] as unknown as Content;

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

function carryOut(client: StoreClient<unknown, unknown>, { name, keys, value: number }: Step): Promise<unknown> {
  const all = keys.map(key);
  if (name === 'putAll') {
    return client.putAll(
      all,
      all.map(() => value(number)),
    );
  }
  if (name === 'delete') return client.delete(all[0]);
  // Objects have no `add` of their own.
  if (name === 'addAll' || (name === 'add' && content === 'objects')) {
    return client.call(addAll as never, { keys: all, by: number } as never);
  }
  return client[name](all[0], value(number));
}

/** One client: as many operations under way as the window has, for ever. */
function work(client: StoreClient<unknown, unknown>, number: number): void {
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
  const store = (await open({
    ...{ ...options, model, executors, replicas, commandTimeout: 8000 },
    log: { path: directory, fsync, interval: 20, snapshotEvery },
  } as never)) as unknown as Store<unknown, unknown>;
  const { log, replicas: states } = store.status();
  store.onEvent((event) => {
    if (event.type === 'log-replaced') say('replaced');
    else say(`trouble ${JSON.stringify(JSON.stringify(event))}`);
  });
  const digests = await store.digests();
  const equal = digests.length === states.length && digests.every(({ digest }) => digest === digests[0].digest);
  const entries = (await store.range()).map(entry);
  say(`ready ${JSON.stringify({ entries, equal, replayed: log?.replayed, torn: log?.torn })}`);
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
