/** The page of `sabtree bench --html`: what it holds, what its charts are given, and that it asks for nothing else. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import vm from 'node:vm';
import { describe, expect, it } from 'vitest';
import { renderHtml } from '../dist/perf/models/html.js';
import { chartOf, isLines, LOOKS, lookOf, rangesOf, type Surroundings } from '../dist/perf/models/page/charts.js';
import {
  baselines,
  type Choice,
  chosen,
  columnsOf,
  describe as describeFigure,
  events,
  type Figure,
  firstChoice,
  latencies,
  marksOf,
  nameOf,
  optionsOf,
  perThousand,
  ratio,
  ratioByExecutors,
  remarksOf,
  settle,
  short,
  sorted,
  throughputByExecutors,
  throughputByWorkload,
  wordsOf,
} from '../dist/perf/models/page/series.js';
import type { Cell, Report } from '../dist/perf/models/types.js';
import { modelNames } from '../dist/workers/models/index.js';

const machine: Report['machine'] = {
  cpu: 'A CPU',
  cores: 2,
  memoryGiB: 4,
  platform: 'linux x64',
  node: 'v20.1.2',
  sabtree: '0.1.0',
  commit: 'abc1234',
  date: '2026-01-02',
};

/** A cell of which only some values matter. */
function cell(more: Partial<Omit<Cell, 'commandsPerSecond'>> & { readonly rate?: number } = {}): Cell {
  const { rate = 1000, ...rest } = more;
  return {
    model: 'smr',
    executors: 1,
    workload: 'reads',
    distribution: 'uniform',
    window: 16,
    replicas: 1,
    clients: 2,
    kind: 'clients',
    oversubscribed: false,
    commandsPerSecond: { median: rate, min: rate / 2, max: 2 * rate },
    latencyMs: { p50: 1, p99: 2, p999: 3 },
    commands: 10_000,
    refused: 10,
    deferred: 20,
    retried: 5,
    syncPoints: 1,
    parks: 7,
    verified: true,
    ...rest,
  };
}

const drain = (more: Parameters<typeof cell>[0]): Cell => {
  const { latencyMs: _, ...made } = cell({ kind: 'drain', window: 5000, clients: 0, ...more });
  return made;
};
const simulated = (more: Parameters<typeof cell>[0]) => cell({ kind: 'simulated', window: 1, clients: 0, ...more });

const first = (cells: readonly Cell[]) => firstChoice(cells) as Choice;
/** A figure's values by model, undefined as -. */
const values = ({ series }: Figure) =>
  Object.fromEntries(series.map((one) => [nameOf(one), one.points.map((point) => point?.value ?? '-')]));

/** The elements of that name: attributes and content. */
function elements(html: string, name: string): { attributes: string; content: string }[] {
  const found = html.matchAll(new RegExp(`<${name}\\b([^>]*)>([\\s\\S]*?)</${name}`, 'g'));
  return [...found].map(([, attributes, content]) => ({ attributes, content }));
}

const reportOf = (html: string) =>
  JSON.parse(
    elements(html, 'script').find(({ attributes }) => attributes.includes('application/json'))?.content as string,
  );

describe('the page', () => {
  const report: Report = { machine, cells: [cell(), cell({ model: 'psmr', oversubscribed: true })] };
  const html = renderHtml(report);

  it('needs nothing but itself', () => {
    // Without what stands in scripts: Chart.js has comparisons that look like tags.
    const markup = html.replace(/(<script[^>]*>)[\s\S]*?(?=<\/script)/g, '$1');
    const addresses = [...markup.matchAll(/\s(?:src|href|srcset|action|poster)\s*=\s*["']?([^"'\s>]*)/gi)];
    expect(addresses.map(([, address]) => address)).toEqual(['data:,']);
    expect(markup.match(/<(iframe|img|object|embed|base)\b|https?:|@import|url\(/i)).toBeNull();
    expect(markup).toContain("default-src 'none'");
    const scripts = elements(html, 'script').map(({ content }) => content);
    expect(
      scripts.flatMap((script) => script.match(/\bfetch\(|XMLHttpRequest|import\(|sourceMappingURL/) ?? []),
    ).toEqual([]);
  });

  it('holds Chart.js with the licences of all its parts, as the build has copied it', () => {
    const library = readFileSync(new URL('../dist/perf/models/page/chart.umd.js', import.meta.url), 'utf8');
    const { devDependencies } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
    for (const text of [html, library]) {
      expect(text.match(/Permission is hereby granted, free of charge/g)?.length).toBe(2);
      expect(text.match(/chart\.js [\d.]+/)?.[0]).toBe(`chart.js ${devDependencies['chart.js']}`);
    }
  });

  it('has scripts that are scripts: Chart.js makes Chart, and the modules fit together as one', () => {
    const [, library, page] = elements(html, 'script').map(({ content }) => content);
    const context = vm.createContext({});
    vm.runInContext(library, context);
    expect(typeof (context as { Chart?: unknown }).Chart).toBe('function');
    expect(() => new vm.Script(`'use strict'; {${page}}`)).not.toThrow();
    expect(page).not.toMatch(/^\s*(import|export)\b/m);
    expect(page).toContain('function throughputByExecutors(');
  });

  it('every element that its script looks for is there', () => {
    const [, , page] = elements(html, 'script').map(({ content }) => content);
    const ids = [...page.matchAll(/one\('#(\w+)/g)].map(([, id]) => id);
    expect(ids.length).toBeGreaterThan(3);
    for (const id of ids) expect(html).toContain(`id="${id}"`);
    for (const dimension of Object.keys(first(report.cells))) expect(html).toContain(`<select name="${dimension}">`);
    for (const name of [
      'throughput',
      'ratio',
      'latency',
      'workloads',
      'refused',
      'deferred',
      'retried',
      'syncPoints',
    ]) {
      expect(html).toContain(`data-figure="${name}"`);
    }
  });

  it('says where the numbers come from', () => {
    for (const fact of ['A CPU', '4 GiB', 'linux x64', '20.1.2', '0.1.0', 'abc1234', '2026-01-02']) {
      expect(html).toContain(`<dd>${fact}</dd>`);
    }
    expect(html).toContain('2 cells measured, answers and content verified');
  });

  it('holds the report, whatever stands in it, and none of it as markup', () => {
    const evil = '</script><script>alert(1)</script><!-- \u2028\u2029 & "x" \'y\' \\u003c $& $1';
    const strange = {
      machine: { ...machine, cpu: evil, commit: evil, date: evil },
      cells: [cell({ workload: evil, model: evil as Cell['model'] })],
    };
    const page = renderHtml(strange);
    expect(reportOf(page)).toEqual(strange);
    expect(page.includes('<script>alert')).toBe(false);
    for (const { content } of elements(page, 'script')) expect(content.match(/[\u2028\u2029]|<!--/)).toBeNull();
    expect(elements(page, 'script').length).toBe(elements(html, 'script').length);
    expect(reportOf(html)).toEqual(report);
  });

  it('names simulated cells and what is not verified', () => {
    const page = renderHtml({ machine, cells: [cell(), simulated({ executors: 8 })] });
    expect(page).toMatch(/1 cells measured.*1 cells <strong>simulated<\/strong>, not measured/);
    expect(renderHtml({ machine, cells: [cell(), cell({ verified: false })] })).toContain(
      '1 of 2 cells NOT VERIFIED: do not trust them.',
    );
  });

  it('of an empty report says so', () => {
    const empty = { machine, cells: [] };
    const page = renderHtml(empty);
    expect(page).toContain('This report has no cells.');
    expect(page).not.toContain('<canvas');
    expect(elements(page, 'script').length).toBe(1);
    expect(reportOf(page)).toEqual(empty);
  });
});

describe('the choice', () => {
  const cells = [
    ...['smr', 'psmr'].flatMap((model) =>
      [1, 2, 4].map((executors) => cell({ model: model as Cell['model'], executors })),
    ),
    cell({ workload: 'updates', window: 256 }),
    cell({ workload: 'ycsb-a', distribution: 'zipf', executors: 2 }),
    cell({ fanout: 8 }),
    ...[1, 2, 4, 8, 16, 32, 64, 128].map((executors) => simulated({ model: 'psmr', executors })),
    drain({ executors: 2 }),
  ];

  it('begins where most was measured, with most executors; where nothing was, with what is simulated', () => {
    expect(first(cells)).toEqual({
      kind: 'clients',
      workload: 'reads',
      distribution: 'uniform',
      window: '16',
      replicas: '1',
      clients: '2',
      fanout: 'default',
      executors: '4',
    });
    expect(first([simulated({ executors: 3 })])).toMatchObject({ kind: 'simulated', executors: '3' });
    expect(firstChoice([])).toBeUndefined();
  });

  it('offers what there is, in order', () => {
    expect(optionsOf(cells, 'kind', 'clients')).toEqual([
      ...['clients', 'simulated', 'drain', 'clients+simulated', 'drain+simulated'],
    ]);
    expect(optionsOf([cell()], 'kind', 'clients')).toEqual(['clients']);
    expect(optionsOf(cells, 'workload', 'clients')).toEqual(['reads', 'updates', 'ycsb-a']);
    expect(optionsOf(cells, 'window', 'clients')).toEqual(['16', '256']);
    expect(optionsOf(cells, 'fanout', 'clients')).toEqual(['default', '8']);
    expect(optionsOf(cells, 'executors', 'simulated').at(-1)).toBe('128');
    // Kinds with one window each: it is no choice.
    expect(optionsOf(cells, 'window', 'drain+simulated')).toHaveLength(1);
  });

  it('moves to where something was measured, and as little as possible', () => {
    const start = first(cells);
    expect(settle(cells, start, 'executors', '1')).toEqual({ ...start, executors: '1' });
    expect(settle(cells, start, 'workload', 'updates')).toEqual({
      ...start,
      workload: 'updates',
      window: '256',
      executors: '1',
    });
    expect(settle(cells, start, 'distribution', 'zipf')).toMatchObject({ workload: 'ycsb-a', executors: '2' });
    expect(settle(cells, start, 'kind', 'drain')).toMatchObject({ kind: 'drain', window: '5000', executors: '2' });
    expect(settle(cells, start, 'kind', 'drain+simulated').kind).toBe('drain+simulated');
    expect(settle(cells, start, 'workload', 'none')).toEqual(start);
    for (const dimension of Object.keys(start) as (keyof Choice)[]) {
      for (const value of optionsOf(cells, dimension, start.kind)) {
        const choice = settle(cells, start, dimension, value);
        expect(choice[dimension]).toBe(value);
        expect(chosen(cells, choice).length).toBeGreaterThan(0);
      }
    }
  });

  it('shows kinds together whose windows differ because no client waits', () => {
    const choice = settle(cells, { ...first(cells), executors: '2' }, 'kind', 'drain+simulated');
    expect(chosen(cells, choice).map(({ kind, executors }) => [kind, executors])).toEqual([
      ['drain', 2],
      ['simulated', 2],
    ]);
  });
});

describe('figures', () => {
  it('throughput by executors: a series for every model and kind, gaps where nothing was measured', () => {
    const cells = [
      cell({ executors: 10, rate: 7 }),
      cell({ executors: 2, rate: 5 }),
      cell({ model: 'psmr', executors: 2, rate: 6 }),
      cell({ model: 'psmr', executors: 2, rate: 99, workload: 'updates' }),
    ];
    const figure = throughputByExecutors(cells, first(cells));
    expect(figure.labels).toEqual(['2', '10']);
    expect(values(figure)).toEqual({ smr: [5, 7], psmr: [6, '-'] });
    expect(figure.series[0].points[0]).toEqual({ value: 5, low: 2.5, high: 10, oversubscribed: false, verified: true });
  });

  it('ratios are taken at the same point; the baseline has one executor anyway', () => {
    const smr = [cell({ executors: 1, rate: 10 }), cell({ executors: 2, rate: 20 }), cell({ replicas: 2, rate: 40 })];
    const psmr = (more: Parameters<typeof cell>[0]) => cell({ model: 'psmr', rate: 80, ...more });
    const find = baselines(smr);
    const times = (more: Parameters<typeof cell>[0]) => ratio(psmr(more), find(psmr(more)))?.value;
    expect(times({})).toBe(8);
    expect(times({ executors: 2 })).toBe(4);
    expect(times({ executors: 64 })).toBe(8);
    expect(times({ replicas: 2, executors: 4 })).toBe(2);
    for (const other of [{ workload: 'scans' }, { window: 1 }, { fanout: 8 }, { kind: 'drain' }] as const) {
      expect(times(other)).toBeUndefined();
    }
    const point = ratio(psmr({}), smr[0]);
    expect(point).toMatchObject({ low: 4, high: 16 });
    const cells = [...smr, psmr({ executors: 2 })];
    const figure = ratioByExecutors(cells, first(cells));
    expect(values(figure)).toEqual({ smr: [1, 1], psmr: ['-', 4] });
    expect(figure.reference?.values).toEqual([1, 1]);
  });

  it('without a baseline, or with one that did nothing, there are no ratios', () => {
    const cells = [cell({ rate: 0 }), cell({ model: 'psmr' })];
    expect(ratioByExecutors(cells, first(cells)).series).toEqual([]);
    expect(ratioByExecutors([cell({ model: 'psmr' })], first(cells)).series).toEqual([]);
  });

  it('by workload: one that has another distribution only says so', () => {
    const cells = [
      cell({ rate: 1 }),
      cell({ rate: 2, distribution: 'zipf' }),
      cell({ rate: 3, workload: 'ycsb-a', distribution: 'zipf' }),
    ];
    const choice = first(cells);
    const figure = throughputByWorkload(cells, { ...choice, distribution: 'uniform' });
    expect(figure.labels).toEqual(['reads', 'ycsb-a (zipf)']);
    expect(values(figure)).toEqual({ smr: [1, 3] });
    expect(throughputByWorkload(cells, { ...choice, distribution: 'zipf' }).labels).toEqual(['reads', 'ycsb-a']);
  });

  it('the baseline stands beside the others at any number of executors, if it was looked at only once', () => {
    const once = [cell({ rate: 1 }), cell({ model: 'psmr', executors: 8, rate: 2 })];
    expect(values(throughputByWorkload(once, { ...first(once), executors: '8' }))).toEqual({ smr: [1], psmr: [2] });
    const twice = [...once, cell({ executors: 2, rate: 3 })];
    expect(values(throughputByWorkload(twice, { ...first(twice), executors: '8' }))).toEqual({ psmr: [2] });
  });

  it('latencies: three percentiles of each model, none where no client waits', () => {
    const cells = [cell(), cell({ model: 'psmr', latencyMs: { p50: 4, p99: 5, p999: 6 } })];
    expect(values(latencies(cells, first(cells)))).toEqual({ smr: [1, 2, 3], psmr: [4, 5, 6] });
    expect(latencies([drain({})], first([drain({})])).series).toEqual([]);
  });

  it('events per 1,000 commands, by workload and by leaf capacity, of the models that have any', () => {
    const cells = [
      cell({ refused: 0, fanout: 8 }),
      cell({ model: 'opt-psmr', refused: 600, fanout: 16, workload: 'updates' }),
      cell({ model: 'opt-psmr', refused: 300, fanout: 16 }),
      cell({ model: 'opt-psmr', refused: 500, fanout: 8 }),
      cell({ model: 'direct', commands: 0, refused: 0, fanout: 8 }),
    ];
    const choice = { ...first(cells), fanout: '16', workload: 'reads' };
    const byFanout = events(cells, choice, 'refused', 'fanout');
    expect(byFanout.labels).toEqual(['8', '16']);
    expect(values(byFanout)).toEqual({ 'opt-psmr': [50, 30] });
    expect(byFanout.reference?.values.map(Math.round)).toEqual([180, 90]);
    expect(values(events(cells, choice, 'refused', 'workload'))).toEqual({ 'opt-psmr': [60, 30] });
    expect(events(cells, choice, 'deferred', 'fanout').reference).toBeUndefined();
    expect(perThousand(cells[4], 'refused')).toBeUndefined();
  });

  it('are told in words, with their marks', () => {
    const cells = [cell({ rate: 1_910_000, oversubscribed: true, verified: false }), simulated({ rate: 50 })];
    const figure = throughputByExecutors(cells, { ...first(cells), kind: 'clients+simulated' });
    expect(describeFigure(figure, 'Throughput')).toBe(
      'Throughput, commands/s, by executors. ' +
        'smr 1: 1.91 M (955 k to 3.82 M), oversubscribed, NOT VERIFIED; smr (simulated) 1: 50 (25 to 100).',
    );
    expect(marksOf(figure, 'Faded', 2)).toEqual([
      'Whiskers: slowest and fastest run.',
      'Faded: oversubscribed, more threads than the 2 cores.',
      'Dashed: simulated, not measured.',
      '!: NOT VERIFIED.',
    ]);
    const exact = { value: 1, low: 1, high: 1, oversubscribed: false, verified: true };
    const plain = {
      axis: 'executors',
      labels: ['1'],
      unit: '',
      series: [{ model: 'smr', kind: 'drain', points: [exact] }],
    };
    expect(marksOf(plain, 'Faded', 2)).toEqual([]);
    expect(wordsOf(exact)).toBe('1');
    expect(describeFigure({ ...plain, series: [] }, 'X')).toBe('X: nothing measured.');
  });

  it.each([
    [0, '0'],
    [0.0654321, '0.0654'],
    [12, '12'],
    [999.4, '999'],
    [999.9, '1 k'],
    [736_123, '736 k'],
    [999_900, '1 M'],
    [1.9e9, '1.9 G'],
    [Number.NaN, '-'],
  ])('%d is written %s', (value, text) => {
    expect(short(value)).toBe(text);
  });
});

describe('the table', () => {
  const cells = [
    cell({ model: 'psmr', rate: 5, executors: 10 }),
    drain({ rate: 10, oversubscribed: true }),
    simulated({ rate: 7, executors: 2, verified: false }),
    cell({ model: 'direct', rate: 5, executors: 9, commands: 0 }),
  ];
  const columns = columnsOf(cells);
  const rates = (title: string, up: boolean) => {
    const column = columns.find((one) => one.title === title);
    if (column === undefined) throw new Error(`no column ${title}`);
    return sorted(cells, column, up).map(({ commandsPerSecond }) => commandsPerSecond.median);
  };

  it('sorts numbers by size, words by letters, keeps the order of equals, and puts what does not apply last', () => {
    expect(rates('commands/s', true)).toEqual([5, 5, 7, 10]);
    expect(rates('commands/s', false)).toEqual([10, 7, 5, 5]);
    expect(sorted(cells, columns[5], true).map(({ executors }) => executors)).toEqual([1, 2, 9, 10]);
    expect(rates('model', true)).toEqual([5, 5, 10, 7]);
    expect(sorted(cells, columns[0], true).map(({ model }) => model)).toEqual(['direct', 'psmr', 'smr', 'smr']);
    for (const up of [true, false]) {
      expect(rates('p50 ms', up).at(-1)).toBe(10);
      expect(sorted(cells, columns.find(({ title }) => title.startsWith('refused'))!, up).at(-1)?.model).toBe('direct');
    }
  });

  it('remarks on what is simulated, oversubscribed and not verified', () => {
    expect(cells.map((one) => remarksOf(one).join())).toEqual(['', 'oversubscribed', 'simulated,NOT VERIFIED', '']);
  });
});

describe('charts', () => {
  const around: Surroundings = {
    dark: false,
    ink: '#111111',
    faint: '#eeeeee',
    paper: '#ffffff',
    font: 'sans-serif',
    logarithmic: false,
    stripes: (colour) => `stripes of ${colour}`,
  };
  // biome-ignore lint/suspicious/noExplicitAny: Chart.js' own types have a variant for every kind of chart.
  const loose = (value: unknown) => value as any;

  it('every model has a look of its own', () => {
    expect(Object.keys(LOOKS)).toEqual(modelNames);
    const looks = Object.values(LOOKS);
    for (const scheme of ['light', 'dark'] as const) {
      expect(new Set(looks.map((look) => look[scheme])).size).toBe(looks.length);
      for (const look of looks) expect(look[scheme]).toMatch(/^#[0-9a-f]{6}$/);
    }
    expect(looks).not.toContain(lookOf('a model to come'));
    expect(lookOf('toString')).toEqual(lookOf('a model to come'));
  });

  it('lines for many numbers: dashed if simulated, hollow if oversubscribed', () => {
    const counts = [1, 2, 4];
    const cells = [
      ...counts.map((executors) => cell({ executors, oversubscribed: executors > 1 })),
      ...counts.map((executors) => simulated({ executors })),
    ];
    const figure = throughputByExecutors(cells, { ...first(cells), kind: 'clients+simulated' });
    expect(isLines(figure)).toBe(true);
    const [measured, computed] = loose(chartOf(figure, around)).data.datasets;
    expect(measured).toMatchObject({ label: 'smr', type: 'line', borderDash: [], borderColor: LOOKS.smr.light });
    expect(measured.pointBackgroundColor).toEqual([LOOKS.smr.light, '#ffffff', '#ffffff']);
    expect(computed.label).toBe('smr (simulated)');
    expect(computed.borderDash.length).toBe(2);
    expect(loose(chartOf(figure, { ...around, dark: true })).data.datasets[0].borderColor).toBe(LOOKS.smr.dark);
  });

  it('bars for few: striped if simulated, faded if oversubscribed', () => {
    const cells = [cell({ oversubscribed: true }), cell({ executors: 2 }), simulated({})];
    const figure = throughputByExecutors(cells, { ...first(cells), kind: 'clients+simulated' });
    expect(isLines(figure)).toBe(false);
    const { datasets } = loose(chartOf(figure, around)).data;
    expect(datasets[0].backgroundColor).toEqual([`${LOOKS.smr.light}59`, LOOKS.smr.light]);
    expect(datasets[1].backgroundColor[0]).toBe(`stripes of ${LOOKS.smr.light}`);
    expect(datasets[1].data).toEqual([1000, null]);
  });

  it('scales reach over the whole range of the runs, from 0 or by powers of ten', () => {
    const cells = [cell({ rate: 100 })];
    const figure = throughputByExecutors(cells, first(cells));
    const { y } = loose(chartOf(figure, around)).options.scales;
    expect(y).toMatchObject({ type: 'linear', beginAtZero: true });
    expect(y.suggestedMax).toBeGreaterThanOrEqual(200);
    const logarithmic = loose(chartOf(figure, { ...around, logarithmic: true })).options.scales.y;
    expect(logarithmic.type).toBe('logarithmic');
    expect(logarithmic.suggestedMin).toBeLessThanOrEqual(50);
    const ticks = { ticks: [0.01, 0.02, 0.03, 0.5, 1, 7, 20, 50, 90, 100].map((value) => ({ value })) };
    logarithmic.afterBuildTicks(ticks);
    expect(ticks.ticks.map(({ value }) => value)).toEqual([0.01, 0.02, 0.5, 1, 20, 50, 100]);
    // Nothing but zeros has no logarithm.
    const zeros = [cell({ rate: 0 })];
    const none = chartOf(throughputByExecutors(zeros, first(zeros)), { ...around, logarithmic: true });
    expect(loose(none).options.scales.y.type).toBe('linear');
  });

  it('ranges: a row for every model, marked if not verified', () => {
    const cells = [cell({ verified: false }), cell({ model: 'psmr' }), simulated({ model: 'opt-psmr' })];
    const figure = latencies(cells, { ...first(cells), kind: 'clients+simulated' });
    const { labels, datasets } = loose(rangesOf(figure, around)).data;
    expect(labels).toEqual(['! smr', 'psmr', ['opt-psmr', '(simulated)']]);
    expect(datasets.map(({ label }: { label: string }) => label)).toEqual(['p50', 'p99', 'p99.9', '']);
    expect(datasets[3].data[0]).toEqual([1, 3]);
  });
});

describe('sabtree bench --html', () => {
  const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
  const run = (...args: string[]) =>
    new Promise<{ code: number; out: string; err: string }>((resolve) => {
      execFile(
        process.execPath,
        [main, 'bench', ...args],
        { timeout: 55_000, maxBuffer: 1 << 24 },
        (error, out, err) => {
          resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, out, err });
        },
      );
    });

  it('writes the page of the report that it prints', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sabtree-'));
    try {
      const file = join(folder, 'page.html');
      const { code, out } = await run('--smoke', '--models', 'smr,opt-psmr', '--json', '--html', file);
      expect(code).toBe(0);
      const page = readFileSync(file, 'utf8');
      expect(reportOf(page)).toEqual(JSON.parse(out));
      expect(page).toContain('<canvas');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('refuses a file that cannot be written, before it measures anything', async () => {
    const { code, out, err } = await run('--smoke', '--html', join(tmpdir(), 'sabtree-no-such-folder', 'page.html'));
    expect(code).toBe(2);
    expect(err).toContain('--html: ENOENT');
    expect(out).toBe('');
  });
});
