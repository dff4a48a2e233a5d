/** One client of a chaos run: windows of operations, each written down before it is sent. It may be ended at any moment. */
import { parentPort, workerData } from 'node:worker_threads';
import { type Command, connect, type StoreHandle } from '../../index.ts';
import { Random } from '../workload.ts';
import { Books, HOT_KEYS, hotKey, OWN_KEYS, ownKey, PAIRS, pairOf, stateAfter, type Violation } from './books.ts';
import { Log, type LoggedOp } from './history.ts';

/** What a client is given. */
export interface ChaosOrders {
  readonly handle: StoreHandle;
  readonly books: SharedArrayBuffer;
  readonly log: SharedArrayBuffer | undefined;
  readonly client: number;
  readonly seed: number;
  /** Operations of a window. */
  readonly window: number;
  /** 'sync' blocks, 'async' awaits. */
  readonly how: 'sync' | 'async';
}

/** What it says at its end. */
export interface ChaosReport {
  readonly violations: readonly Violation[];
  readonly error: string | undefined;
}

/** An operation of a window, and what is to be done with its answer. */
interface Step {
  readonly command: Command<number, number>;
  readonly entry: number;
  check(answer: unknown): Violation | undefined;
}

const orders = workerData as ChaosOrders;
const books = new Books(orders.books);
const log = orders.log && new Log(orders.log);
const random = new Random(orders.seed);
const { client, window } = orders;

function wrong(text: string): Violation {
  return { what: 'wrong', text: `client ${client}: ${text}` };
}

function step(op: LoggedOp, key: number, value: number, command: Command<number, number>, check: Step['check']): Step {
  const entry = log === undefined ? -1 : log.call(op, key, value, books.tick());
  return { command, entry, check };
}

/** The next operation on an own key. */
function own(i: number): Step {
  const n = books.send(client, i);
  const key = ownKey(client, i);
  const check = (answer: unknown) => {
    books.answered(client, i, n);
    return answer === true ? undefined : wrong(`operation ${n} on key ${key} answered ${answer}`);
  };
  return n % 2 === 1 ? step('put', key, n, ['put', key, n], check) : step('delete', key, 0, ['delete', key], check);
}

function add(i: number): Step {
  books.sendAdd(i);
  return step('add', hotKey(i), 1, ['add', hotKey(i), 1], (answer) => books.addAnswered(i, (answer as number) ?? 0));
}

function pair(i: number, read: boolean): Step {
  const keys = pairOf(i);
  if (read) {
    return step('getAll', keys[0], 0, ['getAll', keys], (answer) => {
      const [a, b] = answer as (number | undefined)[];
      return a === b ? undefined : wrong(`the pair ${keys.join(' and ')} was read as ${a} and ${b}`);
    });
  }
  const value = random.below(1 << 30);
  return step('putAll', keys[0], value, ['putAll', keys, [value, value]], () => undefined);
}

/** A window of operations, no two on the same own key. */
function steps(): Step[] {
  const first = random.below(OWN_KEYS);
  return Array.from({ length: window }, (_, n) => {
    const kind = random.below(64);
    if (kind === 0) return pair(random.below(PAIRS), random.below(2) === 0);
    if (kind < 12) return add(random.below(HOT_KEYS));
    return own((first + n) % OWN_KEYS);
  });
}

async function work(): Promise<ChaosReport> {
  const violations: Violation[] = [];
  /** What was answered is there for direct reads, whatever happens to the home replica meanwhile. */
  const readDirectly = (reads: number) => {
    for (let read = 0; read < reads && violations.length < 10; read++) {
      const i = random.below(OWN_KEYS);
      const n = books.sent(client, i);
      if (books.isUnderWay(client, i)) continue;
      const value = store.tree.get(ownKey(client, i));
      if (value === stateAfter(n)) continue;
      violations.push(wrong(`a direct read of key ${ownKey(client, i)} found ${value} after operation ${n}`));
    }
  };
  /** Reads until the answers are there: so also while one home replica follows another. */
  const readingMeanwhile = async <T>(answers: Promise<T>): Promise<T> => {
    let there = false;
    const settled = answers.finally(() => {
      there = true;
    });
    settled.catch(() => {});
    while (!there) {
      await new Promise((resolve) => setImmediate(resolve));
      readDirectly(4);
    }
    return settled;
  };
  const store = await connect<number, number>(orders.handle);
  parentPort?.postMessage('connected');
  let error: string | undefined;
  try {
    while (!books.stopped && (log === undefined || log.hasRoom(window)) && violations.length < 10) {
      const here = steps();
      const commands = here.map(({ command }) => command);
      const answers = orders.how === 'sync' ? store.batchSync(commands) : await readingMeanwhile(store.batch(commands));
      const time = books.tick();
      for (const [i, { entry, check }] of here.entries()) {
        const answer: unknown = answers[i];
        if (answer instanceof Error) throw answer;
        log?.answer(entry, (Array.isArray(answer) ? answer[0] : answer) as number | boolean | undefined, time);
        const violation = check(answer);
        if (violation !== undefined) violations.push(violation);
      }
      books.count(client, window);
      readDirectly(4);
    }
    await store.close();
  } catch (caught) {
    error =
      caught instanceof Error
        ? `${(caught as { code?: string }).code ?? caught.name}: ${caught.message}`
        : String(caught);
  }
  return { violations, error };
}

parentPort?.postMessage(await work());
parentPort?.close();
