/**
 * Figures as Chart.js configurations: bars beside each other for one or two labels and for words, lines for more numbers.
 * This module becomes part of the page's script: it imports nothing but types, and the page's own modules.
 */
import type { Chart, ChartConfiguration, ChartDataset, Plugin, Scale } from 'chart.js';
import { type Figure, nameOf, type Series, short, wordsOf } from './series.ts';

/** How a model is drawn, everywhere and always: two colours, for light and dark paper, and a shape. */
export interface Look {
  readonly light: string;
  readonly dark: string;
  readonly shape: 'circle' | 'rect' | 'rectRot' | 'triangle';
  /** Degrees. */
  readonly turned?: number;
}

/**
 * Chosen so that every two of them lie far apart (in CIE Lab) for normal, protan, deutan and tritan vision, and stand out
 * from the paper. Shapes help where lines cross.
 */
export const LOOKS: Readonly<Record<string, Look>> = {
  direct: { light: '#8f9495', dark: '#757b74', shape: 'triangle', turned: 90 },
  smr: { light: '#151414', dark: '#f7f8f7', shape: 'circle' },
  pipelined: { light: '#cc8400', dark: '#fca400', shape: 'triangle', turned: 90 },
  sdpe: { light: '#399bca', dark: '#3aa7ef', shape: 'triangle', turned: -90 },
  'sdpe-pairwise': { light: '#ad328e', dark: '#a7439c', shape: 'triangle', turned: -90 },
  'execute-verify': { light: '#6b2f4e', dark: '#d09abc', shape: 'triangle', turned: 180 },
  psmr: { light: '#1950b4', dark: '#2b62e2', shape: 'rect' },
  'opt-psmr': { light: '#bd320f', dark: '#f17041', shape: 'rectRot' },
  keyed: { light: '#0b7449', dark: '#20ea97', shape: 'triangle' },
};
const UNKNOWN: Look = { light: '#666666', dark: '#b0b0b0', shape: 'circle' };

export function lookOf(model: string): Look {
  return Object.hasOwn(LOOKS, model) ? (LOOKS[model] as Look) : UNKNOWN;
}

/** What surrounds a chart. */
export interface Surroundings {
  readonly dark: boolean;
  readonly ink: string;
  readonly faint: string;
  readonly paper: string;
  readonly font: string;
  readonly logarithmic: boolean;
  /** A fill of stripes in that colour, for what is simulated. */
  readonly stripes: (colour: string) => CanvasPattern | string;
}

const DASH = [6, 4];
/** A colour seen through: two hexadecimal digits of opacity behind it. */
const through = (colour: string) => `${colour}59`;

/** Whether a figure is drawn as lines. */
export function isLines({ axis, labels }: Figure): boolean {
  return axis !== 'workload' && labels.length > 2;
}

export function colourOf(model: string, { dark }: Pick<Surroundings, 'dark'>): string {
  const look = lookOf(model);
  return dark ? look.dark : look.light;
}

function datasetOf(series: Series, lines: boolean, around: Surroundings): ChartDataset {
  const { points, kind, model } = series;
  const look = lookOf(model);
  const colour = colourOf(model, around);
  const simulated = kind === 'simulated';
  const open = points.map((point) => point?.oversubscribed ?? false);
  const shared = {
    label: nameOf(series),
    data: points.map((point) => point?.value ?? null),
    borderColor: colour,
  };
  if (!lines) {
    const fill = (light: boolean) => (simulated ? around.stripes(colour) : light ? through(colour) : colour);
    return {
      ...shared,
      type: 'bar',
      backgroundColor: open.map(fill),
      // Chart.js cannot draw dashed bars; the plugin does.
      borderWidth: simulated ? 0 : 1.5,
      borderSkipped: false,
      maxBarThickness: 44,
      categoryPercentage: 0.86,
      barPercentage: 0.9,
    };
  }
  return {
    ...shared,
    type: 'line',
    backgroundColor: colour,
    borderWidth: 2,
    borderDash: simulated ? DASH : [],
    spanGaps: true,
    pointStyle: look.shape,
    pointRotation: look.turned ?? 0,
    pointRadius: look.shape === 'triangle' || look.shape === 'rectRot' ? 5.5 : 4.5,
    pointHoverRadius: 7,
    pointBorderWidth: 2,
    pointBackgroundColor: open.map((hollow) => (hollow || simulated ? around.paper : colour)),
  };
}

/** A stroke that is seen on paper and on any bar: with a seam of paper on both sides. */
function stroke(ctx: CanvasRenderingContext2D, ink: string, seam: string, path: () => void): void {
  ctx.beginPath();
  path();
  ctx.lineWidth = 3.5;
  ctx.strokeStyle = seam;
  ctx.stroke();
  ctx.lineWidth = 1.25;
  ctx.strokeStyle = ink;
  ctx.stroke();
}

/** A label with something in brackets in two lines, for narrow pages. */
function inLines(label: string): string | string[] {
  const lines = label.split(/ (?=\()/);
  return lines.length > 1 ? lines : label;
}

/** Draws the reference, the range of the runs through every number, dashes around simulated bars, and ! where not verified. */
function spreadPlugin(figure: Figure, lines: boolean, around: Surroundings): Plugin {
  const drawReference = ({ ctx, chartArea, scales }: Chart) => {
    const { reference } = figure;
    if (reference === undefined) return;
    const half = chartArea.width / figure.labels.length / 2;
    ctx.strokeStyle = ctx.fillStyle = around.ink;
    ctx.lineWidth = 1;
    ctx.setLineDash([2, 3]);
    ctx.beginPath();
    for (const [i, value] of reference.values.entries()) {
      const middle = scales.x.getPixelForValue(i);
      const height = scales.y.getPixelForValue(value);
      if (!lines || i === 0) ctx.moveTo(middle - half, height);
      ctx.lineTo(lines ? middle : middle + half, height);
    }
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.font = `11px ${around.font}`;
    ctx.textAlign = 'right';
    const height = scales.y.getPixelForValue(reference.values.at(-1) ?? 0) - 5;
    // On paper, over whatever is drawn there.
    ctx.lineWidth = 4;
    ctx.strokeStyle = around.paper;
    ctx.strokeText(reference.label, chartArea.right - 2, height);
    ctx.fillText(reference.label, chartArea.right - 2, height);
  };
  const drawSeries = (chart: Chart, index: number) => {
    const { ctx, scales } = chart;
    const { points, kind, model } = figure.series[index] as Series;
    const colour = colourOf(model, around);
    for (const [j, element] of chart.getDatasetMeta(index).data.entries()) {
      const point = points[j];
      if (point === undefined) continue;
      const { x, y, base, width } = element as unknown as { x: number; y: number; base: number; width: number };
      if (!lines && kind === 'simulated') {
        ctx.lineWidth = 1.5;
        ctx.strokeStyle = colour;
        ctx.setLineDash([4, 3]);
        ctx.strokeRect(x - width / 2, y, width, base - y);
        ctx.setLineDash([]);
      }
      const top = scales.y.getPixelForValue(point.high);
      const bottom = scales.y.getPixelForValue(point.low);
      if (bottom - top > 2) {
        const arm = lines ? 4 : Math.min(5, width / 4);
        stroke(ctx, lines ? colour : around.ink, around.paper, () => {
          ctx.moveTo(x, top);
          ctx.lineTo(x, bottom);
          for (const end of [top, bottom]) {
            ctx.moveTo(x - arm, end);
            ctx.lineTo(x + arm, end);
          }
        });
      }
      if (!point.verified) {
        ctx.font = `bold 14px ${around.font}`;
        ctx.fillStyle = around.ink;
        ctx.textAlign = 'center';
        ctx.fillText('!', x, Math.min(top, y) - 4);
      }
    }
  };
  return {
    id: 'spread',
    // Lines cross their whiskers, bars lie below them.
    [lines ? 'beforeDatasetsDraw' : 'afterDatasetsDraw'](chart: Chart) {
      chart.ctx.save();
      drawReference(chart);
      for (const index of figure.series.keys()) if (chart.isDatasetVisible(index)) drawSeries(chart, index);
      chart.ctx.restore();
    },
  };
}

/** Whether a value is 1, 2 or 5 times a power of ten. */
function isRound(value: number): boolean {
  return /^[125](\.0)?e/.test(value.toExponential(1));
}

/** A scale of numbers, from 0 or logarithmic, on which all of `values` lie. */
function numberScale(title: string, values: readonly number[], logarithmic: boolean, around: Surroundings) {
  const positive = values.filter((value) => value > 0);
  return {
    ...(logarithmic
      ? { type: 'logarithmic' as const, suggestedMin: 0.9 * Math.min(...positive) }
      : { type: 'linear' as const, beginAtZero: true }),
    ...(positive.length === 0 ? {} : { suggestedMax: 1.02 * Math.max(...positive) }),
    title: { display: true, text: title, color: around.ink },
    grid: { color: around.faint },
    border: { display: false },
    ticks: {
      color: around.ink,
      autoSkipPadding: 10,
      maxTicksLimit: logarithmic ? 12 : 7,
      maxRotation: 0,
      callback: (value: number | string) => short(Number(value)),
    },
    afterBuildTicks: (scale: Scale) => {
      if (logarithmic) scale.ticks = scale.ticks.filter(({ value }) => isRound(value));
    },
  };
}

function labelScale(title: string, around: Surroundings) {
  return {
    type: 'category' as const,
    offset: true,
    title: { display: title !== '', text: title, color: around.ink },
    grid: { display: false },
    border: { color: around.ink },
    ticks: { color: around.ink, autoSkip: false, maxRotation: 60 },
  };
}

/** @param titles of tooltips; @param label what one says of a number, '' for nothing */
function commonOptions(axis: 'x' | 'y', titles: readonly string[], label: (dataset: number, index: number) => string) {
  type Item = { readonly datasetIndex: number; readonly dataIndex: number };
  const textOf = ({ datasetIndex, dataIndex }: Item) => label(datasetIndex, dataIndex);
  return {
    animation: false as const,
    responsive: true,
    maintainAspectRatio: false,
    layout: { padding: { top: 14, right: 8 } },
    plugins: {
      // The page has one legend for all charts, which keys can reach.
      legend: { display: false },
      tooltip: {
        callbacks: {
          title: ([item]: readonly Item[]) => (item === undefined ? '' : titles[item.dataIndex]),
          label: textOf,
        },
        filter: (item: Item) => textOf(item) !== '',
      },
    },
    interaction: { mode: 'index' as const, axis, intersect: false },
  };
}

/** The configuration of a figure by labels. */
export function chartOf(figure: Figure, around: Surroundings): ChartConfiguration {
  const lines = isLines(figure);
  const values = [
    ...figure.series.flatMap(({ points }) => points.flatMap((point) => (point ? [point.low, point.high] : []))),
    ...(figure.reference?.values ?? []),
  ];
  const logarithmic = around.logarithmic && values.some((value) => value > 0);
  const title = figure.axis === 'workload' ? '' : figure.axis;
  return {
    type: lines ? 'line' : 'bar',
    data: {
      labels: figure.labels.map(inLines),
      datasets: figure.series.map((series) => datasetOf(series, lines, around)),
    },
    options: {
      ...commonOptions('x', figure.labels, (dataset, index) => {
        const series = figure.series[dataset] as Series;
        const point = series.points[index];
        return point === undefined ? '' : ` ${nameOf(series)}: ${wordsOf(point)}`;
      }),
      scales: { x: labelScale(title, around), y: numberScale(figure.unit, values, logarithmic, around) },
    },
    plugins: [spreadPlugin(figure, lines, around)],
  } as ChartConfiguration;
}

/** How percentiles are marked, from the lowest on. */
const PERCENTILE_SHAPES = [
  { shape: 'circle', turned: 0 },
  { shape: 'rectRot', turned: 0 },
  { shape: 'triangle', turned: 90 },
] as const;

function rowName(series: Series): string | string[] {
  const wrong = series.points.some((point) => point?.verified === false);
  return inLines(`${wrong ? '! ' : ''}${nameOf(series)}`);
}

/** The configuration of a figure of percentiles: a row for every model, from its lowest to its highest percentile. */
export function rangesOf(figure: Figure, around: Surroundings): ChartConfiguration {
  const { series, labels } = figure;
  const values = series.flatMap(({ points }) => points.flatMap((point) => (point ? [point.value] : [])));
  const colours = series.map(({ model }) => colourOf(model, around));
  const open = (i: number) =>
    series[i]?.points.some((point) => point?.oversubscribed) || series[i]?.kind === 'simulated';
  const marks = labels.map((label, i) => ({
    type: 'line',
    label,
    showLine: false,
    data: series.map(({ points }) => points[i]?.value ?? null),
    pointStyle: PERCENTILE_SHAPES[i]?.shape ?? 'circle',
    pointRotation: PERCENTILE_SHAPES[i]?.turned ?? 0,
    pointRadius: 6,
    pointHoverRadius: 8,
    pointBorderWidth: 2,
    borderColor: colours,
    pointBackgroundColor: colours.map((colour, row) => (open(row) ? around.paper : colour)),
  }));
  const bars = {
    type: 'bar',
    label: '',
    data: series.map(({ points }) => [points[0]?.value ?? null, points.at(-1)?.value ?? null]),
    backgroundColor: colours.map((colour, row) =>
      series[row]?.kind === 'simulated' ? around.stripes(colour) : through(colour),
    ),
    barThickness: 7,
  };
  return {
    type: 'bar',
    data: { labels: series.map(rowName), datasets: [...marks, bars] },
    options: {
      ...commonOptions('y', series.map(nameOf), (dataset, index) => {
        const point = series[index]?.points[dataset];
        return point === undefined ? '' : ` ${labels[dataset]}: ${wordsOf(point)} ${figure.unit}`;
      }),
      indexAxis: 'y',
      scales: { y: labelScale('', around), x: numberScale(figure.unit, values, values.length > 0, around) },
    },
  } as unknown as ChartConfiguration;
}
