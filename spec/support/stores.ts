/** Opening stores of types chosen at run time, random commands for them, and comparing them with the oracle. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import {
  type FixedKeyType,
  type ModelName,
  modelNames,
  open,
  SabtreeError,
  type Store,
  type StoreHandle,
  type StoreOptions,
} from '../../dist/index.js';
import { HEADER_ROOT } from '../../dist/layout/tree-memory.js';
import { Oracle, same } from './oracle.ts';
import { Random, SEED } from './random.ts';
import { agree, render } from './trees.ts';
import { type AnyKey, keyPool, type ValueKind } from './values.ts';

export type AnyStore = Store<AnyKey, unknown>;
export type AnyCommand = readonly [name: string, ...args: unknown[]];

/** Opens a store for the body and closes it behind it. */
export async function withStore<T>(
  options: Partial<StoreOptions>,
  body: (store: AnyStore) => Promise<T> | T,
): Promise<T> {
  const whole = { key: 'u32', value: 'f64', memory: '32MB', ...options } as StoreOptions;
  const store = (await open(whole)) as unknown as AnyStore;
  try {
    return await body(store);
  } finally {
    await store.close();
  }
}

/** Fails with `what` instead of waiting for ever. */
export async function inTime<T>(what: string, promise: Promise<T>, ms = 20_000): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: no end after ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, limit]);
  } finally {
    clearTimeout(timer);
  }
}

export async function until(
  what: string,
  condition: () => boolean,
  ms = 20_000,
  about: () => unknown = () => '',
): Promise<void> {
  const end = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`${what}: not within ${ms} ms ${JSON.stringify(about())}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** The models that replicate. */
export const REPLICATED: readonly ModelName[] = modelNames.filter((name) => name !== 'direct');

/**
 * Half of the models that replicate, drawn by the seed, so another half in every run: for what all models share. The whole of
 * them with SABTREE_ALL_MODELS=1 (`npm run test:all`).
 */
export const SOME_MODELS: readonly ModelName[] =
  process.env.SABTREE_ALL_MODELS === '1'
    ? REPLICATED
    : new Random(SEED, 'models').shuffled(REPLICATED).slice(0, REPLICATED.length / 2);

/** What `act` throws or rejects with, as a code; it has to be a SabtreeError, or nothing. */
export async function codeOf(act: () => unknown): Promise<string> {
  try {
    await act();
  } catch (error) {
    if (!(error instanceof SabtreeError)) throw new Error(`not a SabtreeError: ${error}`, { cause: error });
    return error.code;
  }
  return 'no error';
}

/** A client of the store in a thread of its own; see client-thread.mjs. */
export class ClientThread<T> {
  /** What it answers in the end. */
  readonly result: Promise<T>;
  /** Resolves when it is connected. */
  readonly connected: Promise<void>;
  readonly worker: Worker;

  constructor(handle: StoreHandle, task: string, args: object = {}) {
    const worker = new Worker(new URL('./client-thread.mjs', import.meta.url), {
      workerData: { handle, task, args, seed: SEED },
    });
    this.worker = worker;
    this.connected = once(worker, 'message').then(([message]) => {
      if (message !== 'connected') throw new Error(`a client did not connect: ${message.failure}`);
    });
    this.connected.catch(() => {});
    this.result = new Promise<T>((resolve, reject) => {
      worker.on('message', (message) => {
        if (message === 'connected') return;
        if ('failure' in message) reject(new Error(`${task}: ${message.failure}`));
        else resolve(message.result);
      });
      worker.on('error', reject);
      worker.on('exit', () => reject(new Error(`${task}: ended without a result`)));
    });
    this.result.catch(() => {});
  }
}

/** Lets clients run their tasks at the same time; their results. */
export async function runClients<T>(handle: StoreHandle, task: string, all: readonly object[]): Promise<T[]> {
  const threads = all.map((args) => new ClientThread<T>(handle, task, args));
  try {
    return await inTime(`clients with ${task}`, Promise.all(threads.map(({ result }) => result)), 40_000);
  } finally {
    await Promise.all(threads.map(({ worker }) => worker.terminate()));
  }
}

/** Keys, values and random commands of one kind of store. */
export class Commands {
  readonly keys: readonly AnyKey[];
  readonly values: ValueKind;
  private readonly random: Random;

  constructor(random: Random, key: FixedKeyType, values: ValueKind, size: number) {
    this.random = random;
    this.keys = keyPool(key, size, random);
    this.values = values;
  }

  key(): AnyKey {
    return this.random.pick(this.keys);
  }

  value(): unknown {
    return this.values.random(this.random);
  }

  range(): Record<string, unknown> {
    const { random } = this;
    const options: Record<string, unknown> = {};
    const low = random.pick(['gt', 'gte', undefined]);
    const high = random.pick(['lt', 'lte', undefined]);
    if (low !== undefined) options[low] = this.key();
    if (high !== undefined) options[high] = this.key();
    if (random.chance(0.5)) options.reverse = random.chance(0.5);
    if (random.chance(0.6)) options.limit = random.pick([0, 1, 2, 7, 1000, Number.POSITIVE_INFINITY]);
    return options;
  }

  /** A command of any kind; structure changes are as frequent as everything else together. */
  next(global = 3): AnyCommand {
    const { random } = this;
    const kind = random.below(100);
    if (kind >= 100 - global) {
      if (random.chance(0.3)) {
        const keys = Array.from({ length: random.below(6) }, () => this.key());
        return random.chance(0.5) ? ['getAll', keys] : ['putAll', keys, keys.map(() => this.value())];
      }
      if (random.chance(0.3)) return [random.pick(['first', 'last', 'count'])];
      if (random.chance(0.4)) return random.chance(0.2) ? ['range'] : ['range', this.range()];
      return [random.pick(['floor', 'ceiling', 'lower', 'higher']), this.key()];
    }
    if (kind < 22) return [random.pick(['insert', 'put']), this.key(), this.value()];
    if (kind < 30) return ['insert', this.key(), this.value()];
    if (kind < 55) return ['delete', this.key()];
    if (kind < 70) return [random.pick(['get', 'has']), this.key()];
    if (kind < 78) return ['update', this.key(), this.value()];
    if (kind < 88) return ['compareAndSet', this.key(), this.value(), this.value()];
    return this.values.plus === undefined ? ['get', this.key()] : ['add', this.key(), this.value()];
  }

  /** Like `next`, but often the same key again and again: what depends on a command that may be refused. */
  *chain(): Generator<AnyCommand> {
    const { random } = this;
    const key = this.key();
    yield ['insert', key, this.value()];
    yield ['update', key, this.value()];
    if (random.chance(0.5)) yield ['get', key];
    yield ['delete', key];
    if (random.chance(0.5)) yield ['has', key];
    yield ['insert', key, this.value()];
    if (random.chance(0.4)) yield ['delete', key];
  }
}

export function oracleOf(values: ValueKind): Oracle<AnyKey, unknown> {
  return new Oracle<AnyKey, unknown>(values.zero, values.plus);
}

/** What sequential execution answers. */
export function answer(oracle: Oracle<AnyKey, unknown>, [name, ...args]: AnyCommand): unknown {
  if (name === 'count') return oracle.size;
  if (name === 'getAll') return oracle.getMany(args[0] as AnyKey[]);
  if (name === 'putAll') return oracle.putMany(args[0] as AnyKey[], args[1] as unknown[]);
  return (oracle as unknown as Record<string, (...given: unknown[]) => unknown>)[name](...args);
}

/** Compares answers with sequential execution, one by one. */
export function compare(
  oracle: Oracle<AnyKey, unknown>,
  commands: readonly AnyCommand[],
  results: readonly unknown[],
): void {
  if (results.length !== commands.length) throw new Error(`${results.length} answers to ${commands.length} commands`);
  for (let i = 0; i < commands.length; i++) {
    const wanted = answer(oracle, commands[i]);
    if (!same(results[i], wanted)) {
      throw new Error(
        `command ${i} of ${commands.length}, ${render(commands[i])}: ${render(results[i])}, sequentially ${render(wanted)}`,
      );
    }
  }
}

/** All living replicas hold exactly these entries, in whole trees, and say so. */
export async function agreeOnReplicas(
  store: AnyStore,
  entries: readonly (readonly [AnyKey, unknown])[],
): Promise<void> {
  const digests = await store.digests();
  agree('replicas that answered', digests.length, store.stats().alive);
  for (const { replica, digest, entries: count } of digests) {
    const tree = store.replica(replica);
    agree(`digest of replica ${replica}`, digest, digests[0].digest);
    agree(`digest of replica ${replica}'s tree`, tree.digest(), digest);
    agree(`entries of replica ${replica}`, count, entries.length);
    const found = [...tree.range()];
    if (!same(found, entries)) {
      const at = entries.findIndex((entry, i) => !same(entry, found[i]));
      agree(`replica ${replica}, entry ${at}`, found[at], entries[at]);
      throw new Error(`replica ${replica}: ${found.length} entries instead of ${entries.length}`);
    }
    const report = tree.check();
    agree(`replica ${replica}: check`, [report.entries, report.quiet], [entries.length, true]);
  }
}

/**
 * Holds the root of a replica's tree latched, as a very slow thread would: its executors can do nothing until the
 * returned function is called. The replica must be quiet.
 */
export function stall(store: AnyStore, replica: number): () => void {
  const { buffer } = store.handle.memories[replica];
  const root = Atomics.load(new Uint32Array(buffer, HEADER_ROOT, 1), 0);
  const version = new BigUint64Array(buffer, root, 1);
  const before = Atomics.load(version, 0);
  if (before & 1n) throw new Error('the root is latched already');
  Atomics.store(version, 0, before | 1n);
  return () => {
    Atomics.store(version, 0, before);
  };
}
