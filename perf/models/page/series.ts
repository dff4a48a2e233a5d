/**
 * What the page's charts show, as plain data: which cells a choice of the filters means, and a figure's numbers. Nothing
 * here knows of a document or of Chart.js. This module becomes part of the page's script: it imports nothing but types.
 */
import type { Cell, Spread } from '../types.ts';

/** What can be chosen. `kind` may name two kinds, shown together: 'drain+simulated'. */
export const DIMENSIONS = [
  ...(['kind', 'workload', 'distribution', 'window', 'replicas', 'clients', 'fanout', 'executors'] as const),
] as const;
export type Dimension = (typeof DIMENSIONS)[number];
export type Choice = Readonly<Record<Dimension, string>>;

/** The model that the others are compared with. */
export const BASELINE = 'smr';
/** A leaf capacity that nobody asked for. */
const DEFAULT = 'default';
/** Where no client waits, these say nothing, and need not be the same for kinds to be shown together. */
const OF_CLIENTS: readonly Dimension[] = ['window', 'clients'];

/** A number of a figure, and how far its runs lie apart. */
export interface Point {
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly oversubscribed: boolean;
  readonly verified: boolean;
}

/** A model's numbers, in the order of the figure's labels; undefined where nothing was measured. */
export interface Series {
  readonly model: string;
  readonly kind: string;
  readonly points: readonly (Point | undefined)[];
}

export interface Figure {
  /** What the labels are. */
  readonly axis: string;
  readonly labels: readonly string[];
  readonly unit: string;
  readonly series: readonly Series[];
  /** A line that the series are to be seen against. */
  readonly reference?: { readonly label: string; readonly values: readonly number[] };
}

/** A model as a legend names it. */
export function nameOf({ model, kind }: { readonly model: string; readonly kind: string }): string {
  return kind === 'simulated' ? `${model} (simulated)` : model;
}

export function valueIn(cell: Cell, dimension: Dimension): string {
  return String(cell[dimension] ?? DEFAULT);
}

function distinct(values: readonly string[]): string[] {
  return [...new Set(values)];
}

/** Numbers by size, words as they came; what is not given comes first. */
function inOrder(values: readonly string[]): string[] {
  const rank = (value: string) => (value === DEFAULT ? Number.NEGATIVE_INFINITY : Number(value));
  const all = distinct(values);
  return all.some((value) => Number.isNaN(rank(value))) ? all : all.sort((a, b) => rank(a) - rank(b));
}

function isOfKind(cell: Cell, kind: string): boolean {
  return kind.split('+').includes(cell.kind);
}

function varies(cells: readonly Cell[], dimension: Dimension): boolean {
  return new Set(cells.map((cell) => valueIn(cell, dimension))).size > 1;
}

/** What a filter offers, given the kind chosen. Simulated cells can also be seen beside those of another kind. */
export function optionsOf(cells: readonly Cell[], dimension: Dimension, kind: string): string[] {
  if (dimension === 'kind') {
    const kinds = distinct(cells.map((cell) => cell.kind));
    const measured = kinds.filter((one) => one !== 'simulated');
    return [...kinds, ...(measured.length < kinds.length ? measured.map((one) => `${one}+simulated`) : [])];
  }
  const groups = kind.split('+').map((one) => cells.filter((cell) => cell.kind === one));
  const varied = groups.filter((group) => varies(group, dimension));
  const those = !OF_CLIENTS.includes(dimension) ? groups : varied.length > 0 ? varied : groups.slice(0, 1);
  return inOrder(those.flat().map((cell) => valueIn(cell, dimension)));
}

function choiceOf(cell: Cell): Choice {
  return Object.fromEntries(DIMENSIONS.map((dimension) => [dimension, valueIn(cell, dimension)])) as Choice;
}

/** The point measured (if none is, simulated) most widely, at its largest number of executors. Undefined if there is no cell. */
export function firstChoice(cells: readonly Cell[]): Choice | undefined {
  const groups = new Map<string, Cell[]>();
  const measured = cells.filter(({ kind }) => kind !== 'simulated');
  for (const cell of measured.length > 0 ? measured : cells) {
    const key = JSON.stringify({ ...choiceOf(cell), executors: '' });
    groups.set(key, [...(groups.get(key) ?? []), cell]);
  }
  const widest = [...groups.values()].reduce<Cell[]>((most, group) => (group.length > most.length ? group : most), []);
  return widest.length === 0
    ? undefined
    : choiceOf(widest.reduce((most, cell) => (cell.executors > most.executors ? cell : most)));
}

function fits(cell: Cell, dimension: Dimension, choice: Choice): boolean {
  return dimension === 'kind' ? isOfKind(cell, choice.kind) : valueIn(cell, dimension) === choice[dimension];
}

/**
 * Sets one dimension. Not every combination is measured: of the rest as much stays as can. A value that no cell has
 * changes nothing.
 */
export function settle(cells: readonly Cell[], choice: Choice, dimension: Dimension, value: string): Choice {
  const wanted = { ...choice, [dimension]: value };
  let best: Cell | undefined;
  let most = -1;
  for (const cell of cells) {
    if (!fits(cell, dimension, wanted)) continue;
    // The kind weighs more than all others: no other filter leaves it without need.
    const agree = DIMENSIONS.filter((one) => fits(cell, one, wanted)).length;
    const score = agree + (fits(cell, 'kind', wanted) ? DIMENSIONS.length : 0);
    if (score > most) [best, most] = [cell, score];
  }
  if (best === undefined) return choice;
  return { ...choiceOf(best), kind: fits(best, 'kind', wanted) ? wanted.kind : best.kind };
}

/** The cells of a choice; dimensions that are `free` do not matter. */
export function chosen(cells: readonly Cell[], choice: Choice, free: readonly Dimension[] = []): Cell[] {
  return choice.kind.split('+').flatMap((kind) => {
    const ofKind = cells.filter((cell) => cell.kind === kind);
    const matter = DIMENSIONS.filter(
      (dimension) => !free.includes(dimension) && !(OF_CLIENTS.includes(dimension) && !varies(ofKind, dimension)),
    );
    // The baseline has one executor, and may have been looked at only once.
    const ofBaseline = ofKind.filter(({ model }) => model === BASELINE);
    const matterOfBaseline = varies(ofBaseline, 'executors') ? matter : matter.filter((one) => one !== 'executors');
    return ofKind.filter((cell) =>
      (cell.model === BASELINE ? matterOfBaseline : matter).every((dimension) => fits(cell, dimension, choice)),
    );
  });
}

/**
 * Finds the baseline's cell at the same point as a cell. The baseline has one executor, so if it was not measured at that
 * number of executors, that of another number will do.
 */
export function baselines(cells: readonly Cell[]): (cell: Cell) => Cell | undefined {
  const place = (cell: Cell, executors: string) => JSON.stringify({ ...choiceOf(cell), executors });
  const found = new Map<string, Cell>();
  for (const cell of cells) {
    if (cell.model !== BASELINE || !(cell.commandsPerSecond.median > 0)) continue;
    for (const key of [place(cell, valueIn(cell, 'executors')), place(cell, '')]) {
      if (!found.has(key)) found.set(key, cell);
    }
  }
  return (cell) => found.get(place(cell, valueIn(cell, 'executors'))) ?? found.get(place(cell, ''));
}

function pointOf({ oversubscribed, verified }: Cell, { median, min, max }: Spread): Point {
  return { value: median, low: min, high: max, oversubscribed, verified };
}

export function throughput(cell: Cell): Point {
  return pointOf(cell, cell.commandsPerSecond);
}

/** Times the baseline's median. Undefined if the baseline was not measured. */
export function ratio(cell: Cell, baseline: Cell | undefined): Point | undefined {
  if (baseline === undefined) return undefined;
  const base = baseline.commandsPerSecond.median;
  const { median, min, max } = cell.commandsPerSecond;
  return pointOf(cell, { median: median / base, min: min / base, max: max / base });
}

export type Counter = 'refused' | 'deferred' | 'retried' | 'syncPoints';

/** Events per 1,000 commands. Undefined where no commands were counted. */
export function perThousand(cell: Cell, counter: Counter): Point | undefined {
  if (!(cell.commands > 0)) return undefined;
  return exact(cell, (1000 * cell[counter]) / cell.commands);
}

function exact(cell: Cell, value: number): Point {
  return pointOf(cell, { median: value, min: value, max: value });
}

/** The cells as one series for every model and kind, over the values that a dimension has among them. */
function over(
  cells: readonly Cell[],
  labels: readonly string[],
  labelOf: (cell: Cell) => string,
  measure: (cell: Cell) => Point | undefined,
): Series[] {
  const kinds = distinct(cells.map(({ kind }) => kind));
  return distinct(cells.map(({ model }) => model))
    .flatMap((model) => kinds.map((kind) => ({ model, kind })))
    .flatMap(({ model, kind }) => {
      const own = cells.filter((cell) => cell.model === model && cell.kind === kind);
      if (own.length === 0) return [];
      const points = labels.map((label) => {
        const cell = own.find((one) => labelOf(one) === label);
        return cell === undefined ? undefined : measure(cell);
      });
      return [{ model, kind, points }];
    });
}

/** Drops models of which there is no number. */
function seen(series: readonly Series[]): Series[] {
  return series.filter(({ points }) => points.some((point) => point !== undefined));
}

export function throughputByExecutors(cells: readonly Cell[], choice: Choice): Figure {
  const here = chosen(cells, choice, ['executors']);
  const labelOf = (cell: Cell) => valueIn(cell, 'executors');
  const labels = inOrder(here.map(labelOf));
  return { axis: 'executors', labels, unit: 'commands/s', series: over(here, labels, labelOf, throughput) };
}

export function ratioByExecutors(cells: readonly Cell[], choice: Choice): Figure {
  const here = chosen(cells, choice, ['executors']);
  const labelOf = (cell: Cell) => valueIn(cell, 'executors');
  const labels = inOrder(here.map(labelOf));
  const baseline = baselines(cells);
  const series = seen(over(here, labels, labelOf, (cell) => ratio(cell, baseline(cell))));
  return {
    axis: 'executors',
    labels,
    unit: `times ${BASELINE}`,
    series,
    reference: { label: BASELINE, values: labels.map(() => 1) },
  };
}

/** Workloads as labels. One that was measured under another distribution only, as the ycsb workloads are, says so. */
function workloadsOf(cells: readonly Cell[], choice: Choice) {
  const here = chosen(cells, choice, ['workload', 'distribution']);
  const shown = here.filter((cell) => {
    const its = distinct(here.filter((one) => one.workload === cell.workload).map((one) => one.distribution));
    return cell.distribution === choice.distribution || (its.length === 1 && its[0] !== choice.distribution);
  });
  const labelOf = (cell: Cell) =>
    cell.distribution === choice.distribution ? cell.workload : `${cell.workload} (${cell.distribution})`;
  return { shown, labelOf, labels: distinct(shown.map(labelOf)) };
}

export function throughputByWorkload(cells: readonly Cell[], choice: Choice): Figure {
  const { shown, labelOf, labels } = workloadsOf(cells, choice);
  return { axis: 'workload', labels, unit: 'commands/s', series: over(shown, labels, labelOf, throughput) };
}

/** Events per 1,000 commands by workload or leaf capacity, of the models that have any. */
export function events(cells: readonly Cell[], choice: Choice, counter: Counter, by: 'workload' | 'fanout'): Figure {
  const some = (series: Series[]) => series.filter(({ points }) => points.some((point) => (point?.value ?? 0) > 0));
  const measure = (cell: Cell) => perThousand(cell, counter);
  const unit = 'per 1,000 commands';
  if (by === 'workload') {
    const { shown, labelOf, labels } = workloadsOf(cells, choice);
    return { axis: 'workload', labels, unit, series: some(over(shown, labels, labelOf, measure)) };
  }
  const here = chosen(cells, choice, ['fanout']);
  const labelOf = (cell: Cell) => valueIn(cell, 'fanout');
  const labels = inOrder(here.map(labelOf));
  const figure = { axis: 'leaf capacity', labels, unit, series: some(over(here, labels, labelOf, measure)) };
  if (counter !== 'refused' || labels.includes(DEFAULT)) return figure;
  return {
    ...figure,
    reference: { label: '1/(B ln 2)', values: labels.map((capacity) => 1000 / (Number(capacity) * Math.LN2)) },
  };
}

const PERCENTILES = ['p50', 'p99', 'p99.9'] as const;

/** Percentiles as labels: a figure of ranges. */
export function latencies(cells: readonly Cell[], choice: Choice): Figure {
  const series = chosen(cells, choice).flatMap((cell): Series[] => {
    if (cell.latencyMs === undefined) return [];
    const { p50, p99, p999 } = cell.latencyMs;
    return [{ model: cell.model, kind: cell.kind, points: [p50, p99, p999].map((value) => exact(cell, value)) }];
  });
  return { axis: 'percentile', labels: PERCENTILES, unit: 'ms', series };
}

/** What the marks of a figure mean, as far as it has them. @param open how it draws what is oversubscribed */
export function marksOf({ series }: Figure, open: string, cores: number): string[] {
  const points = series.flatMap((one) => one.points.filter((point) => point !== undefined));
  return [
    ...(points.some(({ low, high }) => low < high) ? ['Whiskers: slowest and fastest run.'] : []),
    ...(points.some(({ oversubscribed }) => oversubscribed)
      ? [`${open}: oversubscribed, more threads than the ${cores} cores.`]
      : []),
    ...(series.some(({ kind }) => kind === 'simulated') ? ['Dashed: simulated, not measured.'] : []),
    ...(points.every(({ verified }) => verified) ? [] : ['!: NOT VERIFIED.']),
  ];
}

/** Three significant digits: 1.91 M, 736 k, 12, 0.0654. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return '-';
  const scale = [
    [1e9, ' G'],
    [1e6, ' M'],
    [1e3, ' k'],
  ].find(([least]) => Math.abs(value) >= 0.9995 * (least as number)) ?? [1, ''];
  return `${Number((value / (scale[0] as number)).toPrecision(3))}${scale[1]}`;
}

/** A number with its spread and marks, in words. */
export function wordsOf({ value, low, high, oversubscribed, verified }: Point): string {
  const range = low < high ? ` (${short(low)} to ${short(high)})` : '';
  return `${short(value)}${range}${oversubscribed ? ', oversubscribed' : ''}${verified ? '' : ', NOT VERIFIED'}`;
}

/** A figure in a sentence, for who cannot see it. */
export function describe({ axis, labels, unit, series }: Figure, title: string): string {
  if (series.length === 0) return `${title}: nothing measured.`;
  const parts = series.map((one) => {
    const at = one.points.map((point, i) => `${labels[i]}: ${point === undefined ? 'not measured' : wordsOf(point)}`);
    return `${nameOf(one)} ${at.join(', ')}`;
  });
  return `${title}, ${unit}, by ${axis}. ${parts.join('; ')}.`;
}

/** A column of the table of all cells. */
export interface Column {
  readonly title: string;
  /** Numbers are sorted by size and stand to the right. Undefined: does not apply. */
  readonly value: (cell: Cell) => string | number | undefined;
  readonly text?: (value: number) => string;
}

const whole = (value: number) => Math.round(value).toLocaleString('en');

/** What must be said about a cell beside its numbers. */
export function remarksOf({ kind, oversubscribed, verified }: Cell): string[] {
  return [
    ...(kind === 'simulated' ? ['simulated'] : []),
    ...(oversubscribed ? ['oversubscribed'] : []),
    ...(verified ? [] : ['NOT VERIFIED']),
  ];
}

export function columnsOf(cells: readonly Cell[]): Column[] {
  const baseline = baselines(cells);
  const counters: [string, Counter][] = [
    ['refused', 'refused'],
    ['deferred', 'deferred'],
    ['retried', 'retried'],
    ['sync points', 'syncPoints'],
  ];
  return [
    { title: 'model', value: ({ model }) => model },
    { title: 'kind', value: ({ kind }) => kind },
    { title: 'workload', value: ({ workload }) => workload },
    { title: 'distribution', value: ({ distribution }) => distribution },
    { title: 'window', value: ({ window }) => window, text: whole },
    { title: 'executors', value: ({ executors }) => executors },
    { title: 'replicas', value: ({ replicas }) => replicas },
    { title: 'clients', value: ({ clients }) => clients },
    { title: 'leaf capacity', value: ({ fanout }) => fanout, text: whole },
    { title: 'commands/s', value: ({ commandsPerSecond }) => commandsPerSecond.median, text: whole },
    { title: 'slowest run', value: ({ commandsPerSecond }) => commandsPerSecond.min, text: whole },
    { title: 'fastest run', value: ({ commandsPerSecond }) => commandsPerSecond.max, text: whole },
    { title: `× ${BASELINE}`, value: (cell) => ratio(cell, baseline(cell))?.value, text: (value) => value.toFixed(2) },
    { title: 'p50 ms', value: ({ latencyMs }) => latencyMs?.p50, text: short },
    { title: 'p99 ms', value: ({ latencyMs }) => latencyMs?.p99, text: short },
    { title: 'p99.9 ms', value: ({ latencyMs }) => latencyMs?.p999, text: short },
    ...counters.map(
      ([name, counter]): Column => ({
        title: `${name} / 1,000`,
        value: (cell) => perThousand(cell, counter)?.value,
        text: short,
      }),
    ),
    { title: 'parks', value: ({ parks }) => parks, text: whole },
    { title: 'remarks', value: (cell) => remarksOf(cell).join(', ') },
  ];
}

/** Cells by a column, smallest first if `up`; what does not apply stands last, and equals keep their order. */
export function sorted(cells: readonly Cell[], { value }: Column, up: boolean): Cell[] {
  return cells
    .map((cell) => [cell, value(cell)] as const)
    .sort(([, a], [, b]) => {
      if (a === undefined || b === undefined) return Number(a === undefined) - Number(b === undefined);
      const order = typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b), 'en');
      return up ? order : -order;
    })
    .map(([cell]) => cell);
}
