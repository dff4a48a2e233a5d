/** `sabtree bench`: what it draws, what it plans, and one small run whose report and checks are looked at. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, vi } from 'vitest';
import { open } from '../dist/index.js';
import { crossProduct, executorCounts, oneAtATime, quickPoints, wholeExperiment } from '../dist/perf/models/cells.js';
import { bench } from '../dist/perf/models/command.js';
import { type Book, CommandSource, emptyBook } from '../dist/perf/models/command-source.js';
import { randomFractions, scrambled, ZIPF_THETA, Zipf, zeta } from '../dist/perf/models/distributions.js';
import { Experiment, type Observer, stepsOf } from '../dist/perf/models/experiment.js';
import { benchOptions } from '../dist/perf/models/flags.js';
import type { Cell, DistributionName } from '../dist/perf/models/types.js';
import { firstDifference, verify, wrongAnswer } from '../dist/perf/models/verify.js';
import { keepsKeys, type Mix, slotsFor, WORKLOADS, workloadOf } from '../dist/perf/models/workloads.js';
import { FlagError } from '../dist/perf/support/flags.js';
import { MODELS } from '../dist/workers/models/index.js';

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));

/** Runs the command line to its end. */
function sabtree(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [...process.execArgv, main, ...args],
      { timeout: 55_000, maxBuffer: 1 << 24 },
      (error, out, err) => {
        resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, out, err });
      },
    );
  });
}

describe('distributions', () => {
  it.each([1, 2, 3, 100, 5000])('zipf over %i: the frequencies of the theory', (n) => {
    const zipf = new Zipf(n);
    const fraction = randomFractions(42);
    const draws = 400_000;
    const seen = new Float64Array(n);
    for (let i = 0; i < draws; i++) seen[zipf.rank(fraction())]++;
    const whole = zeta(n, ZIPF_THETA);
    const share = (from: number, to: number) => {
      let sum = 0;
      for (let rank = from; rank < to; rank++) sum += (rank + 1) ** -ZIPF_THETA / whole;
      return sum;
    };
    // Ranks 0 and 1 are exact: only chance (five standard deviations) may part them from the theory.
    for (let rank = 0; rank < Math.min(2, n); rank++) {
      const p = share(rank, rank + 1);
      expect(Math.abs(seen[rank] / draws - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / draws) + 1e-9);
    }
    // The others by octaves: the closed form is an approximation.
    for (let from = 2; from < n; from *= 2) {
      const to = Math.min(n, 2 * from);
      const p = share(from, to);
      const found = seen.subarray(from, to).reduce((sum, one) => sum + one, 0) / draws;
      expect(found, `ranks ${from} to ${to - 1}`).toBeGreaterThan(0.8 * p);
      expect(found, `ranks ${from} to ${to - 1}`).toBeLessThan(1.2 * p);
    }
  });

  it('zipf stays within its ranks at both ends', () => {
    for (const n of [1, 2, 3, 1000]) {
      expect(new Zipf(n).rank(0)).toBe(0);
      expect(new Zipf(n).rank(1 - 2 ** -32)).toBeLessThan(n);
    }
  });

  it('scrambled is a permutation, the same for the same seed, and leaves no order', () => {
    const n = 10_000;
    const order = scrambled(n, 7);
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: n }, (_, i) => i));
    expect(scrambled(n, 7)).toEqual(order);
    expect(scrambled(n, 8)).not.toEqual(order);
    let rising = 0;
    for (let i = 1; i < n; i++) if (order[i] > order[i - 1]) rising++;
    expect(Math.abs(rising - n / 2)).toBeLessThan(200);
  });
});

/** Runs a source's commands on a Map, in the order given. */
class Oracle {
  readonly content = new Map<number, number>();

  apply(command: readonly unknown[]): unknown {
    const { content } = this;
    const [name, key, first, second] = command as [string, number, number, number];
    const held = content.get(key);
    if (name === 'get') return held;
    if (name === 'delete') return content.delete(key);
    if (name === 'range') {
      const { gte, limit } = key as unknown as { gte: number; limit: number };
      const keys = [...content.keys()].filter((one) => one >= gte).sort((a, b) => a - b);
      return keys.slice(0, limit).map((one) => [one, content.get(one)]);
    }
    const does = name === 'compareAndSet' ? held === first : (held === undefined) === (name === 'insert');
    if (does) content.set(key, name === 'compareAndSet' ? second : first);
    return does;
  }
}

describe('workloads', () => {
  const names = [...Object.keys(WORKLOADS), 'mixed:0', 'mixed:30', 'mixed:100'];
  const distributions: DistributionName[] = ['uniform', 'zipf', 'sequential'];
  const cases = names.flatMap((name) => distributions.map((distribution) => [name, distribution] as const));

  it('every mix is 100 percent', () => {
    for (const name of names) {
      const sum = Object.values((workloadOf(name) as Mix).percent).reduce((total, one) => total + one, 0);
      expect(sum, name).toBe(100);
    }
    for (const name of ['mixed:', 'mixed:101', 'mixed:-1', 'mixed:5.5', 'ycsb-g', 'toString', '']) {
      expect(workloadOf(name), name).toBeUndefined();
    }
  });

  it.each(cases)(
    '%s, %s: the shares of the mix, own keys, and answers that the book foretells',
    (name, distribution) => {
      const mix = workloadOf(name) as Mix;
      const entries = 400;
      const clients = 2;
      const book = emptyBook(slotsFor(mix, entries));
      const oracle = new Oracle();
      const sources = [0, 1].map(
        (client) => new CommandSource(mix, distribution, { client, clients, entries, seed: 3 }, book),
      );
      for (const source of sources) {
        const { keys, values } = source.preload();
        for (const [i, key] of keys.entries()) oracle.content.set(key, values[i]);
      }
      expect(oracle.content.size).toBe(entries);
      const seen = new Map<string, number>();
      const total = 8000;
      // Ranges are dear for this oracle.
      const step = name === 'ycsb-e' ? 100 : 250;
      for (let i = 0; i < total; i += 2 * step) {
        for (const [client, source] of sources.entries()) {
          source.next(step);
          expect(source.commands.length).toBe(step);
          expect(source.expected.length).toBe(step);
          for (const [j, command] of source.commands.entries()) {
            seen.set(command[0], (seen.get(command[0]) ?? 0) + 1);
            if (command[0] !== 'range') expect((command[1] as number) % clients).toBe(client);
            if (command[0] === 'range' && j % 10 !== 0) continue;
            expect(wrongAnswer(oracle.apply(command), source.expected[j]), command.join()).toBeUndefined();
          }
        }
      }
      const kinds = { read: ['get'], update: ['update'], modify: ['compareAndSet'], scan: ['range'] };
      for (const [kind, commands] of Object.entries(kinds)) {
        const found = commands.reduce((sum, one) => sum + (seen.get(one) ?? 0), 0) / total;
        expect(Math.abs(found - (mix.percent[kind as 'read'] ?? 0) / 100), kind).toBeLessThan(0.03);
      }
      const come = seen.get('insert') ?? 0;
      const go = seen.get('delete') ?? 0;
      const moved = (mix.percent.change ?? 0) + (mix.percent.insert ?? 0);
      expect(Math.abs((come + go) / total - moved / 100)).toBeLessThan(0.03);
      if (keepsKeys(mix)) expect(come + go).toBe(0);
      if ((mix.percent.change ?? 0) > 0) expect(Math.abs(come - go)).toBeLessThan(entries);
      const held = [...book].flatMap((value, key) => (Number.isNaN(value) ? [] : [[key, value]]));
      expect([...oracle.content].sort(([a], [b]) => a - b)).toEqual(held);
    },
  );

  it('ycsb-d reads what is new', () => {
    const mix = workloadOf('ycsb-d') as Mix;
    const entries = 1000;
    const book = emptyBook(slotsFor(mix, entries));
    const source = new CommandSource(mix, 'zipf', { client: 0, clients: 1, entries, seed: 3 }, book);
    const age = new Map([...source.preload().keys].map((key, i) => [key, i]));
    let newest = entries;
    let recent = 0;
    let reads = 0;
    for (let i = 0; i < 20; i++) {
      source.next(100);
      for (const [name, key] of source.commands) {
        if (name === 'insert') age.set(key, newest++);
        if (name !== 'get') continue;
        reads++;
        if (newest - (age.get(key) as number) <= 100) recent++;
      }
    }
    // Of 1000 ranks the first 100 come with 0.69 of the draws.
    expect(recent / reads).toBeGreaterThan(0.6);
    expect(recent / reads).toBeLessThan(0.8);
  });
});

describe('the plan', () => {
  it('executors double up to the cores, which are there too', () => {
    expect(executorCounts(1)).toEqual([1]);
    expect(executorCounts(2)).toEqual([1, 2]);
    expect(executorCounts(6)).toEqual([1, 2, 4, 6]);
    expect(executorCounts(64)).toEqual([1, 2, 4, 8, 16, 32]);
  });

  it('varies one dimension at a time, and meets every value of each', () => {
    for (const cores of [1, 2, 8, 64]) {
      const points = oneAtATime(cores);
      const { executors, workloads, distributions, windows, replicas } = wholeExperiment(cores);
      expect(new Set(points.map((point) => point.executors))).toEqual(new Set(executors));
      expect(new Set(points.map((point) => point.workload))).toEqual(new Set(workloads));
      expect(new Set(points.map((point) => point.distribution))).toEqual(new Set(distributions));
      expect(new Set(points.map((point) => point.window))).toEqual(new Set(windows));
      expect(new Set(points.map((point) => point.replicas))).toEqual(new Set(replicas));
      expect(new Set(points.map((point) => JSON.stringify(point))).size).toBe(points.length);
      expect(points.length).toBeLessThan(30);
      expect(quickPoints(cores).length).toBeLessThanOrEqual(8);
    }
  });

  it('lists make a cross product; the ycsb workloads keep their distribution', () => {
    const points = benchOptions([
      '--workloads',
      'reads,ycsb-a',
      '--distributions',
      'uniform,zipf',
      '--windows',
      '1,16',
    ])?.points;
    expect(points?.length).toBe(2 * 2 + 2);
    expect(points?.filter(({ workload }) => workload === 'ycsb-a').map(({ distribution }) => distribution)).toEqual([
      'zipf',
      'zipf',
    ]);
    expect(benchOptions(['--all'])?.points).toEqual(crossProduct(wholeExperiment(executorsHere())));
    expect(benchOptions(['--fanouts', '8,32'])?.points.map(({ fanout }) => fanout)).toEqual([8, 32]);
    expect(benchOptions(['--executors', '32'])?.points.map(({ executors }) => executors)).toEqual([32]);
  });

  it.each([
    [['--models', 'smr,paxos'], `--models takes ${Object.keys(MODELS).join(', ')}; got "paxos"`],
    [['--workloads', 'writes'], '--workloads takes reads, updates, inserts, inserts+deletes'],
    [['--workloads', 'mixed:101'], 'mixed:P (P from 0 to 100); got "mixed:101"'],
    [['--distributions', 'normal'], '--distributions takes uniform, zipf, sequential; got "normal"'],
    [['--executors', '0'], '--executors takes integers from 1 to 32, got "0"'],
    [['--executors', '1,x'], '--executors takes integers from 1 to 32, got "x"'],
    [['--windows', ''], '--windows takes integers'],
    [['--replicas', '9'], '--replicas takes integers from 1 to 8'],
    [['--fanouts', '3'], '--fanouts takes integers from 4'],
    [['--clients', '1.5'], '--clients takes an integer'],
    [['--seconds', 'soon'], '--seconds takes a number'],
    [['--quick', '--all'], '--all and --quick exclude each other'],
    [['--nonsense'], 'unknown flag --nonsense; there are --models, --workloads'],
    [['file'], 'unexpected argument "file"; there are --models'],
  ])('%j is refused', (args, message) => {
    expect(() => benchOptions(args)).toThrow(FlagError);
    expect(() => benchOptions(args)).toThrow(message);
  });
});

/** The cores as the plan sees them. */
function executorsHere(): number {
  return Math.max(...(benchOptions(['--all'])?.points.map(({ executors }) => executors) ?? []));
}

/** One small cell of every model asked for. */
function smoke(models: readonly (keyof typeof MODELS)[], observer: Observer, replicas = 2): Promise<Cell[]> {
  const point = { executors: 2, workload: 'mixed:50', distribution: 'uniform', window: 32, replicas } as const;
  return Experiment.run({ models, points: [point], clients: 2, entries: 500, runs: 2, seconds: 0.03 }, observer);
}

describe('the checks', () => {
  it.each([
    [true, false, 'answered true, expected false'],
    [undefined, 5, 'answered undefined, expected 5'],
    [5, { from: 1, limit: 2, hit: true }, 'answered 5, expected entries'],
    [[[1, 0]], { from: 1, limit: 0, hit: true }, 'answered 1 entries, 0 were asked for'],
    [[[0, 0]], { from: 1, limit: 2, hit: false }, 'answered key 0, expected at least 1'],
    [
      [
        [2, 0],
        [2, 0],
      ],
      { from: 1, limit: 2, hit: false },
      'answered key 2, expected at least 3',
    ],
    [[[2, 0]], { from: 1, limit: 2, hit: true }, 'began with key 2, expected 1'],
    [[], { from: 1, limit: 2, hit: true }, 'began with key undefined, expected 1'],
    [[], { from: 1, limit: 2, hit: false }, undefined],
    [
      [
        [1, 0],
        [7, 0],
      ],
      { from: 1, limit: 2, hit: true },
      undefined,
    ],
    [7, 7, undefined],
  ])('the answer %j where %j is expected', (answer, expected, message) => {
    expect(wrongAnswer(answer, expected)).toBe(message);
  });

  it('a book that is wrong in one key is not equal to the store', async () => {
    const store = await open({ key: 'u32', value: 'f64', executors: 1, replicas: 2, memory: '16MB' });
    try {
      const book = emptyBook(50);
      for (let key = 3; key < 40; key += 2) {
        book[key] = key * 10;
        await store.put(key, key * 10);
      }
      expect(await verify(store, book)).toEqual([]);
      for (const [key, value, message] of [
        [3, Number.NaN, "key 3 holds 30, the clients' books say no entry"],
        [5, 51, "key 5 holds 50, the clients' books say 51"],
        [0, 1, "key 0 holds no entry, the clients' books say 1"],
        [20, 1, "key 20 holds no entry, the clients' books say 1"],
        [49, 1, "key 49 holds no entry, the clients' books say 1"],
      ] as const) {
        const right = book[key];
        book[key] = value;
        expect(await verify(store, book)).toEqual([message]);
        book[key] = right;
      }
      await store.put(50, 1);
      expect(firstDifference(store, book)).toBe("key 50 holds 1, the clients' books say no entry");
    } finally {
      await store.close();
    }
  });

  it('a fault planted in one cell is found, and only there', async () => {
    const problems: string[] = [];
    const cells = await smoke(['smr', 'opt-psmr'], {
      beforeVerify: ({ model }, book) => {
        if (model === 'smr') book[7] = Number.isNaN(book[7]) ? 1 : Number.NaN;
      },
      wrong: ({ model }, problem) => problems.push(`${model}: ${problem}`),
    });
    expect(cells.map(({ model, verified }) => [model, verified])).toEqual([
      ['smr', false],
      ['opt-psmr', true],
    ]);
    expect(problems.length).toBe(1);
    expect(problems[0]).toMatch(/^smr: key 7 holds .*, the clients' books say/);
  });

  it('a wrong cell ends the command with exit code 1, and is named', async () => {
    const written = { out: '', err: '' };
    const spies = [
      vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
        written.out += text;
        return true;
      }),
      vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
        written.err += text;
        return true;
      }),
    ];
    try {
      const flags = ['--smoke', '--models', 'smr,psmr', '--workloads', 'reads'];
      const plant = ({ model }: { model: string }, book: Book) => {
        if (model === 'psmr') book[3] += 1;
      };
      expect(await bench(flags, { beforeVerify: plant })).toBe(1);
      expect(await bench([...flags, '--json'], {})).toBe(0);
    } finally {
      for (const spy of spies) spy.mockRestore();
    }
    expect(written.err).toMatch(/^WRONG: psmr at reads, .*: key 3 holds/m);
    expect(written.err).toMatch(/^not verified: psmr at reads, uniform, window 256, /m);
    expect(written.out).toMatch(/^psmr .* NOT VERIFIED$/m);
    expect(written.out).not.toMatch(/^smr .*NOT VERIFIED/m);
  });

  it('a model that refuses an option is skipped, with its reason', async () => {
    const skipped: string[] = [];
    let steps = 0;
    const point = { executors: 33, workload: 'reads', distribution: 'uniform', window: 1, replicas: 1 } as const;
    const plan = { models: ['psmr'], points: [point], clients: 1, entries: 100, runs: 1, seconds: 0.01 } as const;
    const cells = await Experiment.run(plan, {
      skipped: ({ model }, reason) => skipped.push(`${model}: ${reason}`),
      step: (more) => {
        steps += more;
      },
    });
    expect(cells).toEqual([]);
    expect(skipped).toEqual(['psmr: option executors must be an integer from 1 to 32, got 33']);
    expect(steps).toBe(stepsOf(plan));
  });

  it('every step is counted', async () => {
    let steps = 0;
    const plan = { models: ['psmr'], points: [], clients: 1, entries: 100, runs: 2, seconds: 0.01 } as const;
    expect(stepsOf(plan)).toBe(0);
    await smoke(['psmr'], {
      step: (more) => {
        steps += more;
      },
    });
    expect(steps).toBe(4);
  });
});

describe('sabtree bench', () => {
  it('--smoke --json prints one report: all models, verified', async () => {
    const { code, out, err } = await sabtree('bench', '--smoke', '--json');
    expect(err).not.toMatch(/Error|WRONG/);
    expect(code).toBe(0);
    expect(out.trimEnd().split('\n').length).toBe(1);
    const { machine, cells, ...more } = JSON.parse(out);
    expect(more).toEqual({});
    expect(machine.cores).toBeGreaterThan(0);
    for (const name of ['cpu', 'platform', 'node', 'sabtree', 'commit', 'date']) {
      expect(typeof machine[name], name).toBe('string');
    }
    // A model may refuse two replicas; it is then named on standard error.
    const names = new Set(cells.map(({ model }: Cell) => model));
    for (const model of Object.keys(MODELS)) {
      if (!names.has(model)) expect(err).toContain(`skipped: ${model} at `);
    }
    for (const model of ['smr', 'psmr', 'opt-psmr']) expect(names).toContain(model);
    for (const cell of cells as Cell[]) {
      expect(cell).toMatchObject({ kind: 'clients', replicas: 2, clients: 2, window: 64, verified: true });
      expect(typeof cell.oversubscribed).toBe('boolean');
      const { median, min, max } = cell.commandsPerSecond;
      expect(min).toBeGreaterThan(0);
      expect(median).toBeGreaterThanOrEqual(min);
      expect(max).toBeGreaterThanOrEqual(median);
      const { p50, p99, p999 } = cell.latencyMs as NonNullable<Cell['latencyMs']>;
      expect(p50).toBeGreaterThan(0);
      expect(p99).toBeGreaterThanOrEqual(p50);
      expect(p999).toBeGreaterThanOrEqual(p99);
      expect(cell.commands).toBeGreaterThan(0);
      for (const counter of ['refused', 'deferred', 'retried', 'syncPoints', 'parks'] as const) {
        expect(cell[counter], counter).toBeGreaterThanOrEqual(0);
      }
    }
  });

  it('prints tables without --json, only of the models asked for', async () => {
    const { code, out } = await sabtree(
      ...[
        'bench',
        '--smoke',
        '--models',
        'smr,opt-psmr',
        '--workloads',
        'inserts',
        '--fanouts',
        '8',
        '--replicas',
        '1',
      ],
    );
    expect(code).toBe(0);
    expect(out).toMatch(/^inserts, uniform, window 256, .* fanout 8, 2 clients; 1\/\(B ln 2\) = 18 %$/m);
    expect(out).toMatch(/^smr .* 1\.00 /m);
    expect(out).toMatch(/^opt-psmr /m);
    expect(out).not.toMatch(/^psmr /m);
  });

  it.each([
    [['bench', '--models', 'paxos'], `--models takes ${Object.keys(MODELS).join(', ')}`],
    [['bench', '--json=3'], '--json'],
    [['bench', '--nonsense'], 'unknown flag --nonsense'],
  ])('%j is refused with exit code 2', async (args, message) => {
    const { code, err, out } = await sabtree(...args);
    expect(code).toBe(2);
    expect(err).toContain(message);
    expect(err).not.toContain('    at ');
    expect(out).toBe('');
  });

  it('--help', async () => {
    const { code, out } = await sabtree('bench', '--help');
    expect(code).toBe(0);
    for (const text of ['--workloads', 'ycsb-f', 'zipf', ...Object.keys(MODELS)]) expect(out).toContain(text);
  });
});
