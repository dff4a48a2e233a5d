/**
 * `sabtree top`: a live view of a store in another process, which it finds at a socket (`store.serveStats(path)`), or of one
 * that it opens itself and puts a load on.
 */
import { connect, type Socket } from 'node:net';
import { type ModelName, modelNames, open, type StatsReport } from '../index.ts';
import { FlagError, nameOf, numberFlag, parseLine } from '../perf/support/flags.ts';
import { topView } from './top-view.ts';
import { Random } from './workload.ts';

const HELP = `sabtree top [PATH] [options]

Shows a store while it works: commands per second and what waits for each executor, latencies of the
last minute, replicas, memory. The store's process must serve it: store.serveStats(PATH), or
SABTREE_TOP=PATH in its environment, which is also the default here.

  --model NAME      no PATH: opens a store of this model here, and puts a load of random reads and
                    writes on it
                    (${modelNames.slice(0, 6).join(', ')},
                    ${modelNames.slice(6).join(', ')})
  --executors N     with --model: its executors, 1 to 32 (2)
  --replicas N      with --model: its replicas, 1 to 8 (2; direct has 1)
  --interval S      seconds between looks, 0.1 to 60 (1)
  --count N         ends after so many looks
  --plain           one view after another, without control characters; so it is where the output is
                    no terminal
  --json            one line of JSON for each look instead
  --help            print this

In a terminal, q ends it.

Exit codes: 0 all well, 2 a wrong call, or nobody serves a store there.
`;

const FLAGS = {
  model: { type: 'string' },
  executors: { type: 'string' },
  replicas: { type: 'string' },
  interval: { type: 'string' },
  count: { type: 'string' },
  plain: { type: 'boolean' },
  json: { type: 'boolean' },
  help: { type: 'boolean' },
} as const;

/** Where reports come from. */
interface Source {
  /** The store as it is now; undefined once it is gone. */
  look(): Promise<StatsReport | undefined>;
  close(): Promise<void>;
}

/** A store in another process. @throws FlagError if there is none */
async function remote(path: string): Promise<Source> {
  const socket = await new Promise<Socket>((resolve, reject) => {
    const trying = connect(path, () => resolve(trying));
    trying.once('error', (error) => {
      reject(
        new FlagError(
          `nobody serves a store at ${path} (${(error as { code?: string }).code}). ` +
            'Its process has to call store.serveStats(path), or to have SABTREE_TOP=path in its environment.',
        ),
      );
    });
  });
  let buffered = '';
  let gone = false;
  const waiting: ((report: StatsReport | undefined) => void)[] = [];
  const end = () => {
    gone = true;
    for (const answer of waiting.splice(0)) answer(undefined);
  };
  socket.setEncoding('utf8');
  socket.on('error', end);
  socket.on('close', end);
  socket.on('data', (text: string) => {
    buffered += text;
    for (let at = buffered.indexOf('\n'); at >= 0; at = buffered.indexOf('\n')) {
      const line = buffered.slice(0, at);
      buffered = buffered.slice(at + 1);
      let report: StatsReport | undefined;
      try {
        report = JSON.parse(line);
      } catch {
        // Somebody else listens there.
      }
      waiting.shift()?.(report?.sabtree === 'stats' ? report : undefined);
    }
  });
  return {
    look() {
      if (gone) return Promise.resolve(undefined);
      return new Promise((resolve) => {
        waiting.push(resolve);
        socket.write('look\n');
      });
    },
    async close() {
      socket.destroy();
    },
  };
}

/** A store of its own, under a load. */
async function demonstration(model: ModelName, executors: number, replicas: number): Promise<Source> {
  const store = await open({ key: 'u32', value: 'f64', model, executors, replicas, memory: '256MB' });
  const random = new Random(1);
  let working = true;
  const load = (async () => {
    while (working) {
      await store.batch(
        Array.from({ length: 256 }, () => {
          const key = random.below(100_000);
          const kind = random.below(10);
          if (kind < 5) return ['get', key] as const;
          if (kind < 8) return ['put', key, kind] as const;
          return kind < 9 ? (['delete', key] as const) : (['add', key, 1] as const);
        }),
      );
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  return {
    async look() {
      const { pid } = process;
      return {
        sabtree: 'stats',
        pid,
        title: 'sabtree top',
        at: Date.now(),
        status: store.status(),
        stats: store.stats(),
      };
    },
    async close() {
      working = false;
      await load;
      await store.close();
    },
  };
}

function sourceOf({ values, positionals }: ReturnType<typeof parseLine<typeof FLAGS>>): Promise<Source> {
  const { model } = values;
  if (positionals.length > 1) throw new FlagError(`top takes one path, got ${positionals.length}`);
  if (model === undefined) {
    for (const name of ['executors', 'replicas'] as const) {
      if (values[name] !== undefined) throw new FlagError(`--${name} is for a store of its own: it takes --model, too`);
    }
    const path = positionals[0] ?? process.env.SABTREE_TOP;
    if (path === undefined || path === '') throw new FlagError('top takes the path of a socket, or --model');
    return remote(path);
  }
  if (positionals.length > 0) throw new FlagError('top takes a path or --model, not both');
  const name = nameOf<ModelName>('model', modelNames, model);
  const executors = numberFlag('executors', values.executors, 2, 1, 32);
  const replicas = numberFlag('replicas', values.replicas, name === 'direct' ? 1 : 2, 1, 8);
  return demonstration(name, executors, replicas);
}

/** Calls back when the user presses q or Ctrl-C; returns what gives the keyboard back. */
function onQuit(quit: () => void): () => void {
  const { stdin } = process;
  if (!stdin.isTTY) return () => {};
  const read = (keys: Buffer) => {
    if (keys.includes(0x71) || keys.includes(3)) quit();
  };
  stdin.setRawMode(true);
  stdin.on('data', read);
  return () => {
    stdin.off('data', read);
    stdin.setRawMode(false);
    stdin.unref();
    stdin.pause();
  };
}

/**
 * Runs `sabtree top`; resolves with the exit code.
 * @throws FlagError; SabtreeError; the reason of an aborted `signal`, but for an interrupt, which is how it is ended.
 */
export async function top(args: string[], signal: AbortSignal): Promise<number> {
  const parsed = parseLine(args, FLAGS);
  const { values } = parsed;
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const interval = numberFlag('interval', values.interval, 1, 0.1, 60) * 1000;
  const count = numberFlag('count', values.count, Number.MAX_SAFE_INTEGER, 1, Number.MAX_SAFE_INTEGER);
  const { stdout } = process;
  const live = stdout.isTTY && !values.plain && !values.json;
  const source = await sourceOf(parsed);
  let over = false;
  let wake = () => {};
  const quit = () => {
    over = true;
    wake();
  };
  signal.addEventListener('abort', quit);
  const giveBack = live ? onQuit(quit) : () => {};
  // Another screen, and no cursor; and back.
  if (live) stdout.write('\x1b[?1049h\x1b[?25l');
  try {
    let before: StatsReport | undefined;
    for (let looks = 0; !over && looks < count; looks++) {
      if (looks > 0) {
        await new Promise<void>((resolve) => {
          wake = resolve;
          setTimeout(resolve, interval);
        });
        if (over) break;
      }
      const report = await source.look();
      if (report === undefined && before === undefined) throw new FlagError('what answers there is no store, or was');
      if (report === undefined) break;
      if (values.json) stdout.write(`${JSON.stringify(report)}\n`);
      else {
        const lines = topView(report, before);
        if (live) {
          const room = lines.slice(0, stdout.rows).map((line) => `${line.slice(0, stdout.columns)}\x1b[K`);
          stdout.write(`\x1b[H${room.join('\r\n')}\x1b[J`);
        } else stdout.write(`${lines.join('\n')}\n\n`);
      }
      before = report;
    }
  } finally {
    if (live) stdout.write('\x1b[?25h\x1b[?1049l');
    giveBack();
    signal.removeEventListener('abort', quit);
    await source.close();
  }
  return 0;
}
