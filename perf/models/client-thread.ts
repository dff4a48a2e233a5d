/** One client thread: connected to the stores of a point, it sends windows of commands to the one whose turn it is. */
import { parentPort } from 'node:worker_threads';
import { type Endpoint, expose } from 'comlink';
// @ts-expect-error: comlink ships this adapter without types
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';
import { connect, type StoreClient, type StoreHandle } from '../../index.ts';
import { LatencyHistory } from '../support/latencies.ts';
import { type Book, CommandSource, type Share } from './command-source.ts';
import type { CellPlan } from './types.ts';
import { wrongAnswer } from './verify.ts';
import { type Mix, workloadOf } from './workloads.ts';

/** Entries preloaded with one call. */
const PRELOAD_WINDOW = 1024;
/** Milliseconds that the other clients may take to come to the start of a run. */
const START_LIMIT = 30_000;

/** What a client needs to take part in a cell. */
export interface CellOrders {
  /** Names the cell in later orders. */
  readonly id: number;
  readonly plan: CellPlan;
  readonly handle: StoreHandle;
  readonly share: Share;
  readonly book: Book;
}

export interface RunOrders {
  readonly id: number;
  readonly seconds: number;
  /** Forget the latencies. */
  readonly warmUp: boolean;
  /** One word, 0 at first: how many clients stand at the start. */
  readonly start: Int32Array<SharedArrayBuffer>;
}

/** What a client did in a run. */
export interface ClientRun {
  /** Commands answered. */
  readonly commands: number;
  /** Nanoseconds on the clock that all threads share. */
  readonly began: number;
  readonly ended: number;
  /** The first wrong answer or failed call; undefined if all is well. */
  readonly problem: string | undefined;
}

interface Part {
  readonly plan: CellPlan;
  readonly client: StoreClient;
  readonly source: CommandSource;
  readonly latencies: LatencyHistory;
  readonly clients: number;
}

const parts = new Map<number, Part>();

function partOf(id: number): Part {
  const part = parts.get(id);
  if (part === undefined) throw new Error(`there is no cell ${id}`);
  return part;
}

const clock = () => Number(process.hrtime.bigint());

/** Returns when all clients have come: then none of them measures another one's start. */
function waitForAll(start: Int32Array<SharedArrayBuffer>, clients: number): void {
  if (Atomics.add(start, 0, 1) + 1 === clients) Atomics.notify(start, 0);
  for (let there = Atomics.load(start, 0); there < clients; there = Atomics.load(start, 0)) {
    if (Atomics.wait(start, 0, there, START_LIMIT) === 'timed-out') throw new Error('the other clients did not come');
  }
}

/** The first wrong answer to the window made last. */
function firstProblem({ commands, expected }: CommandSource, answers: readonly unknown[]): string | undefined {
  for (let i = 0; i < answers.length; i++) {
    const wrong = wrongAnswer(answers[i], expected[i]);
    if (wrong !== undefined) return `${JSON.stringify(commands[i])} ${wrong}`;
  }
  return undefined;
}

/** Inserts the entries to begin with. Answers what went wrong, if anything did. */
function preload(client: StoreClient, source: CommandSource): string | undefined {
  const { keys, values } = source.preload();
  let fresh = 0;
  for (let from = 0; from < keys.length; from += PRELOAD_WINDOW) {
    const to = from + PRELOAD_WINDOW;
    fresh += client.putManySync(keys.subarray(from, to), values.subarray(from, to));
  }
  return fresh === keys.length ? undefined : `${keys.length - fresh} of ${keys.length} keys were there already`;
}

/** The orders of a client thread. What a store answers or throws comes back in words: it is one cell's problem only. */
const api = {
  /** Connects, and preloads this client's entries. Answers what went wrong, if anything did. */
  async open({ id, plan, handle, share, book }: CellOrders): Promise<string | undefined> {
    try {
      const client = await connect(handle);
      const source = new CommandSource(workloadOf(plan.workload) as Mix, plan.distribution, share, book);
      parts.set(id, { plan, client, source, latencies: new LatencyHistory(), clients: share.clients });
      return preload(client, source);
    } catch (error) {
      return String(error);
    }
  },

  /** Windows of commands, one after the other, until the time is over. */
  run({ id, seconds, warmUp, start }: RunOrders): ClientRun {
    const { plan, client, source, latencies, clients } = partOf(id);
    let commands = 0;
    let problem: string | undefined;
    waitForAll(start, clients);
    const began = clock();
    const end = began + seconds * 1e9;
    let ended = began;
    try {
      while (ended < end && problem === undefined) {
        source.next(plan.window);
        const sent = clock();
        const answers = client.batchSync(source.commands);
        ended = clock();
        if (!warmUp) latencies.add((ended - sent) / 1e6);
        commands += plan.window;
        problem = firstProblem(source, answers);
      }
    } catch (error) {
      problem = String(error);
    }
    return { commands, began, ended, problem };
  },

  /** Leaves the cell; answers the milliseconds that its windows took, the newest ones. */
  async close(id: number): Promise<Float64Array> {
    const part = parts.get(id);
    parts.delete(id);
    await part?.client.close();
    return part?.latencies.toArray() ?? new Float64Array(0);
  },
};

/** A client thread, as the main thread sees it. */
export type CellClient = typeof api;

if (parentPort === null) throw new Error('client-thread runs in a worker thread');
expose(api, nodeEndpoint(parentPort) as Endpoint);
