/**
 * What executors can do when nobody competes with them for the cores: rings are filled while they stand still, then they
 * are started and drain them with no client running. `npm run perf:drain -- [--json] [--quick]`. All models take turns;
 * after every run the content is compared with sequential execution.
 */
import { type ModelName, modelNames, SharedTree } from '../index.ts';
import { OP_DELETE, OP_GET, OP_INSERT, OP_UPDATE } from '../layout/operation.ts';
import type { Client, Sink } from '../workers/client.ts';
import { openStopped } from '../workers/store.ts';
import type { StoreHandle } from '../workers/store-client.ts';
import { thisMachine } from './models/machine.ts';
import type { Cell, Report } from './models/types.ts';
import { type Spread, spread } from './support/measure.ts';
import { randomWords } from './support/random.ts';
import { describeMachine, machine, readFlags, short, table } from './support/report.ts';

const { json, quick } = readFlags();
/** Slots of each ring; a quarter is kept from one-group commands. */
const RING = quick ? 16_384 : 524_288;
const COMMANDS = quick ? 10_000 : 360_000;
/** Keys there are; half of them stand in the tree at the beginning. */
const KEYS = quick ? 10_000 : 100_000;
const RUNS = quick ? 2 : 5;

const WORKLOADS = ['inserts+deletes', 'updates', 'reads'] as const;
type Workload = (typeof WORKLOADS)[number];

/** Answers go nowhere. */
const NOBODY: Sink = { settle() {}, refuse() {} };

interface Timing {
  readonly perSecond: number;
  readonly stats: { refused: number; deferred: number; retried: number; syncPoints: number; parks: number };
}

function operation(workload: Workload, next: () => number): number {
  if (workload === 'reads') return OP_GET;
  if (workload === 'updates') return OP_UPDATE;
  return next() % 2 === 0 ? OP_INSERT : OP_DELETE;
}

/** Every other key, written directly while nobody else works. */
function preload(handle: StoreHandle): Map<number, number> {
  const { layout, memories, key, value } = handle;
  const tree = SharedTree.attach<number, number>({ sabtree: 'tree', layout, memory: memories[0], key, value });
  const entries = Array.from({ length: KEYS / 2 }, (_, i): [number, number] => [2 * i, i]);
  tree.bulkLoad(entries, 0.7);
  tree.close();
  return new Map(entries);
}

/** One fill and one drain. @throws if the content is not that of sequential execution. */
async function drain(model: ModelName, executors: number, workload: Workload, seed: number): Promise<Timing> {
  const { store, start } = await openStopped({
    key: 'u32',
    value: 'f64',
    model,
    executors,
    replicas: 1,
    ring: RING,
    memory: '1GB',
  });
  try {
    const client = store.client as unknown as Client;
    const content = preload(store.handle);
    const post = (op: number, key: number, value: number) => {
      const call = { op, key, value, expected: undefined, range: undefined, sink: NOBODY, index: 0 };
      if (!client.post(call)) throw new Error(`${model}: the rings are too small`);
    };
    const flush = () => {
      if (!client.flushPosted()) throw new Error(`${model}: the rings are too small`);
    };
    const next = randomWords(seed);
    for (let i = 0; i < 10; i++) next();
    for (let i = 0; i < COMMANDS; i++) {
      const key = next() % KEYS;
      const op = operation(workload, next);
      post(op, key, i);
      if (op === OP_INSERT) {
        if (!content.has(key)) content.set(key, i);
      } else if (op === OP_DELETE) content.delete(key);
      else if (op === OP_UPDATE && content.has(key)) content.set(key, i);
    }
    flush();
    const begin = performance.now();
    start();
    const pause = new Int32Array(new SharedArrayBuffer(4));
    while (store.stats().commands < COMMANDS) {
      if (performance.now() - begin > 60_000) throw new Error(`${model}: did not end`);
      Atomics.wait(pause, 0, 0, 0.2);
    }
    // From the moment the threads were told to begin: a millisecond or two of that is their starting.
    const seconds = (performance.now() - begin) / 1000;
    const { refused, deferred, retried, syncPoints, perExecutor } = store.stats();
    const parks = perExecutor.reduce((sum, one) => sum + one.parks, 0);
    client.forget();
    let entries = 0;
    for (const [key, value] of store.tree.range()) {
      entries++;
      if (content.get(key) !== value) throw new Error(`${model}, ${workload}: key ${key} holds ${value}`);
    }
    if (entries !== content.size) throw new Error(`${model}, ${workload}: ${entries} entries, not ${content.size}`);
    store.tree.check();
    return { perSecond: COMMANDS / seconds, stats: { refused, deferred, retried, syncPoints, parks } };
  } finally {
    await store.close();
  }
}

const models = modelNames.filter((name) => name !== 'direct');
const cells: Cell[] = [];
const lines: string[][] = [['workload', 'executors', 'model', 'commands/s (min-max)', 'x smr (min-max)']];
for (const workload of WORKLOADS) {
  for (const executors of [1, 2]) {
    const rates = new Map<ModelName, number[]>(models.map((name) => [name, []]));
    const last = new Map<ModelName, Timing>();
    for (let run = 0; run < RUNS; run++) {
      for (let turn = 0; turn < models.length; turn++) {
        const model = models[(turn + run) % models.length];
        const timing = await drain(model, executors, workload, 1 + run);
        last.set(model, timing);
        rates.get(model)?.push(timing.perSecond);
      }
      process.stderr.write(`drain: ${workload}, ${executors} executors, run ${run + 1} of ${RUNS}\n`);
    }
    const base = rates.get('smr') as number[];
    for (const [model, list] of rates) {
      const rate = spread(list);
      const ratio = spread(list.map((one, run) => one / base[run]));
      const shown = ({ median, min, max }: Spread) => `${short(median)} (${short(min)}-${short(max)})`;
      lines.push([workload, String(executors), model, shown(rate), shown(ratio)]);
      const plan = { model, executors, workload, distribution: 'uniform' as const, window: COMMANDS, replicas: 1 };
      const { stats } = last.get(model) as Timing;
      const commands = COMMANDS;
      cells.push({
        ...plan,
        clients: 0,
        kind: 'drain',
        oversubscribed: false,
        commandsPerSecond: rate,
        commands,
        ...stats,
        verified: true,
      });
    }
  }
}
if (json) {
  const report: Report = { machine: thisMachine(), cells };
  process.stdout.write(`${JSON.stringify(report)}\n`);
} else {
  process.stdout.write(`${describeMachine(machine([]))}${table(lines, [1, 3, 4])}\n`);
}
