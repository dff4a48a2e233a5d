/**
 * The page: filters, charts and the table of all cells, from the report that stands in the page as JSON. What it shows is
 * also in the address, so that a view can be sent to somebody. This module becomes part of the page's script.
 */
import type { Chart as ChartClass } from 'chart.js';
import type { Cell, Report } from '../types.ts';
import { chartOf, colourOf, isLines, lookOf, rangesOf, type Surroundings } from './charts.ts';
import {
  type Choice,
  type Column,
  type Counter,
  chosen,
  columnsOf,
  DIMENSIONS,
  type Dimension,
  describe,
  events,
  type Figure,
  firstChoice,
  latencies,
  marksOf,
  nameOf,
  optionsOf,
  ratioByExecutors,
  remarksOf,
  type Series,
  settle,
  sorted,
  throughputByExecutors,
  throughputByWorkload,
  valueIn,
  wordsOf,
} from './series.ts';

declare const Chart: typeof ChartClass;

const { machine, cells } = JSON.parse(document.getElementById('report')?.textContent ?? '') as Report;
const models = [...new Set(cells.map(({ model }) => model))];

/** What is seen, beside the choice of the filters. */
const view = { hidden: new Set<string>(), logarithmic: false, by: 'workload' as 'workload' | 'fanout' };
let choice = firstChoice(cells) as Choice;

function one<T extends Element>(selector: string, within: ParentNode = document): T {
  const found = within.querySelector<T>(selector);
  if (found === null) throw new Error(`the page lacks ${selector}`);
  return found;
}

function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** A shape of a chart's points, for legends in text. */
function swatch(model: string): SVGSVGElement {
  const { shape, turned = 0 } = lookOf(model);
  const paths = {
    circle: 'M2 8a6 6 0 1 0 12 0a6 6 0 1 0-12 0',
    rect: 'M3 3h10v10h-10z',
    rectRot: 'M8 1l7 7l-7 7l-7-7z',
    triangle: 'M8 2l6.5 11h-13z',
  };
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  svg.setAttribute('viewBox', '0 0 16 16');
  svg.setAttribute('aria-hidden', 'true');
  path.setAttribute('d', paths[shape]);
  path.setAttribute('transform', `rotate(${turned} 8 8)`);
  svg.append(path);
  return svg;
}

/** Gives an element a model's colours; the style picks one. */
function coloured<T extends HTMLElement>(made: T, model: string): T {
  made.style.setProperty('--light', colourOf(model, { dark: false }));
  made.style.setProperty('--dark', colourOf(model, { dark: true }));
  return made;
}

/** An entry of a figure's legend. */
function key(series: Series): HTMLElement {
  return coloured(
    element('li', { className: `hued ${series.kind}` }, swatch(series.model), nameOf(series)),
    series.model,
  );
}

const darkPaper = matchMedia('(prefers-color-scheme: dark)');
let printing = false;

/** Stripes in a colour. */
function stripes(colour: string): CanvasPattern | string {
  const canvas = element('canvas', { width: 8, height: 8 });
  const ctx = canvas.getContext('2d');
  if (ctx === null) return 'transparent';
  ctx.strokeStyle = colour;
  ctx.lineWidth = 1.5;
  for (const from of [-8, 0, 8]) {
    ctx.moveTo(from - 1, 9);
    ctx.lineTo(from + 9, -1);
  }
  ctx.stroke();
  return ctx.createPattern(canvas, 'repeat') ?? 'transparent';
}

function surroundings(): Surroundings {
  const style = getComputedStyle(document.documentElement);
  const of = (name: string) => style.getPropertyValue(name).trim();
  return {
    dark: darkPaper.matches && !printing,
    ink: of('--ink-soft'),
    faint: of('--rule'),
    paper: of('--card'),
    font: getComputedStyle(document.body).fontFamily,
    logarithmic: view.logarithmic,
    stripes,
  };
}

const COUNTERS: readonly Counter[] = ['refused', 'deferred', 'retried', 'syncPoints'];

/** The numbers of every figure of the page. */
const FIGURES: Readonly<Record<string, () => Figure>> = {
  throughput: () => throughputByExecutors(cells, choice),
  ratio: () => ratioByExecutors(cells, choice),
  latency: () => latencies(cells, choice),
  workloads: () => throughputByWorkload(cells, choice),
  ...Object.fromEntries(COUNTERS.map((counter) => [counter, () => events(cells, choice, counter, view.by)])),
};

function tableOf({ labels, series, axis }: Figure): HTMLElement {
  const head = element('tr', {}, ...['model', ...labels].map((text) => element('th', { scope: 'col' }, text)));
  const rows = series.map((its) =>
    element(
      'tr',
      {},
      element('th', { scope: 'row' }, nameOf(its)),
      ...its.points.map((point) => element('td', {}, point === undefined ? '-' : wordsOf(point))),
    ),
  );
  const caption = element('caption', {}, `by ${axis}`);
  return element('table', {}, caption, element('thead', {}, head), element('tbody', {}, ...rows));
}

const charts = new Map<string, ChartClass>();

/** Pixels from which on a chart gets a row of the page for itself. */
const BROAD = 520;

/** Pixels that a chart needs to be read: a narrower page scrolls it. */
function leastWidth(figure: Figure): number {
  const label = figure.axis === 'workload' ? 60 : 34;
  return isLines(figure) ? 0 : 70 + figure.labels.length * Math.max(label, 9 * figure.series.length);
}

function drawFigure(name: string, around: Surroundings): void {
  const all = FIGURES[name]?.() as Figure;
  const figure = { ...all, series: all.series.filter(({ model }) => !view.hidden.has(model)) };
  const frame = one<HTMLElement>(`[data-figure="${name}"]`);
  const canvas = one<HTMLCanvasElement>('canvas', frame);
  const plot = one<HTMLElement>('.plot', frame);
  const empty = figure.series.length === 0;
  frame.classList.toggle('empty', empty);
  const none = all.series.length > 0 ? 'All models that were measured here are hidden.' : (frame.dataset.none ?? '');
  const ranges = name === 'latency';
  const open = ranges || isLines(figure) ? 'Hollow' : 'Faded';
  one('figcaption', frame).textContent = empty ? none : marksOf(figure, open, machine.cores).join(' ');
  // The rows of ranges have names.
  one('.keys', frame).replaceChildren(...(ranges ? [] : figure.series.map(key)));
  one('details > div', frame).replaceChildren(...(empty ? [] : [tableOf(figure)]));
  charts.get(name)?.destroy();
  charts.delete(name);
  canvas.setAttribute('aria-label', describe(figure, one('h3', frame).textContent ?? ''));
  if (empty) return;
  const scroll = one<HTMLElement>('.scroll', frame);
  frame.classList.toggle('broad', !ranges && leastWidth(figure) > BROAD);
  plot.style.minWidth = ranges ? '' : `${leastWidth(figure)}px`;
  if (ranges) plot.style.height = `${90 + 32 * figure.series.length}px`;
  charts.set(name, new Chart(canvas, ranges ? rangesOf(figure, around) : chartOf(figure, around)));
  // What scrolls must be within reach of keys.
  if (scroll.scrollWidth > scroll.clientWidth) scroll.tabIndex = 0;
  else scroll.removeAttribute('tabindex');
}

function optionText(dimension: Dimension, value: string): string {
  if (dimension === 'kind') return value.split('+').join(' and ');
  return /^\d+$/.test(value) ? Number(value).toLocaleString('en') : value;
}

function drawFilters(): void {
  for (const dimension of DIMENSIONS) {
    const select = one<HTMLSelectElement>(`select[name="${dimension}"]`);
    const options = optionsOf(cells, dimension, choice.kind);
    select.replaceChildren(...options.map((value) => element('option', { value }, optionText(dimension, value))));
    select.value = options.length === 1 ? (options[0] as string) : choice[dimension];
    // Few reports vary these, and a window means something only where clients wait.
    const rare =
      dimension === 'clients' ||
      dimension === 'fanout' ||
      (dimension === 'window' && !choice.kind.split('+').includes('clients'));
    const label = select.closest('label');
    if (label !== null) label.hidden = rare && options.length < 2;
  }
  one<HTMLInputElement>('input[name="logarithmic"]').checked = view.logarithmic;
  for (const input of document.querySelectorAll<HTMLInputElement>('input[name="model"]')) {
    input.checked = !view.hidden.has(input.value);
  }
  for (const output of document.querySelectorAll<HTMLElement>('[data-says="executors"]')) {
    output.textContent = `${choice.executors} executor${choice.executors === '1' ? '' : 's'}`;
  }
}

const columns = columnsOf(cells);
/** How the table is sorted; undefined: as measured. */
let order: { readonly column: Column; readonly up: boolean } | undefined;

function cellRow(cell: Cell): HTMLTableRowElement {
  const row = element('tr');
  for (const { title, value, text } of columns) {
    const it = value(cell);
    if (title === 'model') {
      const name = element('th', { scope: 'row', className: `hued ${cell.kind}` }, swatch(cell.model), nameOf(cell));
      row.append(coloured(name, cell.model));
    } else if (title === 'remarks') {
      const marks = remarksOf(cell).map((mark) => element('span', { className: `mark ${mark.toLowerCase()}` }, mark));
      row.append(element('td', { className: 'remarks' }, ...marks));
    } else if (typeof it === 'number') {
      row.append(element('td', { className: 'number' }, text === undefined ? String(it) : text(it)));
    } else row.append(element('td', { className: text === undefined ? '' : 'number' }, it ?? '-'));
  }
  return row;
}

function drawTable(): void {
  const only = one<HTMLInputElement>('input[name="only"]').checked;
  const shown = only ? chosen(cells, choice, ['executors']).filter(({ model }) => !view.hidden.has(model)) : cells;
  const rows = order === undefined ? shown : sorted(shown, order.column, order.up);
  one('#cells tbody').replaceChildren(...rows.map(cellRow));
  one('#count').textContent = `${shown.length} of ${cells.length} cells`;
  for (const [i, head] of [...document.querySelectorAll('#cells thead th')].entries()) {
    const sort = order?.column !== columns[i] ? 'none' : order?.up ? 'ascending' : 'descending';
    head.setAttribute('aria-sort', sort);
  }
}

function makeTable(): void {
  const head = columns.map((column) => {
    const button = element('button', { type: 'button' }, column.title);
    button.addEventListener('click', () => {
      // Numbers: largest first, at first.
      const number = cells.some((cell) => typeof column.value(cell) === 'number');
      order = { column, up: order?.column === column ? !order.up : !number };
      drawTable();
    });
    const number = cells.some((cell) => typeof column.value(cell) === 'number');
    return element('th', { scope: 'col', className: number ? 'number' : '' }, button);
  });
  one('#cells thead').append(element('tr', {}, ...head));
}

function makeLegend(): void {
  const labels = models.map((model) => {
    const input = element('input', { type: 'checkbox', name: 'model', value: model });
    return coloured(element('label', { className: 'hued' }, input, swatch(model), model), model);
  });
  one('#models').append(...labels);
}

/** The address names what is seen. */
function writeAddress(): void {
  const words = new URLSearchParams({ ...choice });
  if (view.hidden.size > 0) words.set('hidden', [...view.hidden].join());
  if (view.logarithmic) words.set('logarithmic', '1');
  words.set('by', view.by);
  history.replaceState(null, '', `#${words}`);
}

function readAddress(): void {
  const words = new URLSearchParams(location.hash.slice(1));
  for (const dimension of DIMENSIONS) {
    const value = words.get(dimension) ?? '';
    if (optionsOf(cells, dimension, choice.kind).includes(value)) choice = settle(cells, choice, dimension, value);
  }
  view.hidden = new Set(
    words
      .get('hidden')
      ?.split(',')
      .filter((model) => models.includes(model as Cell['model'])),
  );
  view.logarithmic = words.get('logarithmic') === '1';
  const by = words.get('by');
  if (by === 'fanout' || by === 'workload') view.by = by;
}

function drawCharts(): void {
  const around = surroundings();
  for (const name of Object.keys(FIGURES)) drawFigure(name, around);
}

function draw(): void {
  drawFilters();
  drawCharts();
}

function changed({ target }: Event): void {
  if (target instanceof HTMLSelectElement && target.name === 'by') view.by = target.value as typeof view.by;
  else if (target instanceof HTMLSelectElement) {
    const dimension = target.name as Dimension;
    const before = choice;
    choice = settle(cells, choice, dimension, target.value);
    const others = DIMENSIONS.filter((other) => other !== dimension && choice[other] !== before[other]);
    one('#moved').textContent =
      others.length === 0
        ? ''
        : `Not every combination was measured, so this changed too: ${others.map((other) => `${other} ${optionText(other, choice[other])}`).join(', ')}.`;
  } else if (target instanceof HTMLInputElement && target.name === 'logarithmic') view.logarithmic = target.checked;
  else if (target instanceof HTMLInputElement && target.name === 'model') {
    if (target.checked) view.hidden.delete(target.value);
    else view.hidden.add(target.value);
  }
  draw();
  // A large table takes its time, and shows all cells mostly.
  const only = one<HTMLInputElement>('input[name="only"]');
  if (only.checked || target === only) drawTable();
  writeAddress();
}

function printed(now: boolean): void {
  printing = now;
  document.documentElement.classList.toggle('printing', now);
  drawCharts();
}

if (cells.length > 0) {
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  // Leaf capacities are the more telling view, where they were varied.
  const varied = new Set(cells.map((cell) => valueIn(cell, 'fanout'))).size > 1;
  if (varied) view.by = 'fanout';
  makeLegend();
  makeTable();
  readAddress();
  one<HTMLSelectElement>('select[name="by"]').value = view.by;
  one<HTMLElement>('#by').hidden = !varied;
  draw();
  drawTable();
  document.addEventListener('change', changed);
  darkPaper.addEventListener('change', drawCharts);
  addEventListener('beforeprint', () => printed(true));
  addEventListener('afterprint', () => printed(false));
}
