/** Throughput and latency over the last minute. */
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

/** Seconds on the horizontal axis. */
const SPAN = 60;

/** One chart's lines: labels, and the name of their colour among the page's custom properties. */
interface Line {
  readonly label: string;
  readonly colour: string;
}

/** What a chart is to be like. */
interface Kind {
  /** Says a value in words. */
  readonly text: (value: number) => string;
  /** Whether the vertical axis goes by factors of ten, so that values far apart are seen beside each other. */
  readonly byTens: boolean;
}

/** A vertical line at a moment, in the colour of one of the page's custom properties. */
interface Mark {
  readonly time: number;
  readonly colour: string;
  /** On which side of the moment it stands: what comes right behind one another is seen side by side. */
  readonly side: 'before' | 'behind';
}

/** A number that is short: 12.3k, 4.5M. */
export function short(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toFixed(value < 1e7 ? 2 : 1)}M`;
  if (value >= 1e3) return `${(value / 1e3).toFixed(value < 1e4 ? 1 : 0)}k`;
  return value.toFixed(value < 10 && value % 1 !== 0 ? 1 : 0);
}

/** Microseconds in words: 85 µs, 4.2 ms. */
export function duration(micros: number): string {
  if (micros < 1) return `${short(micros * 1e3)} ns`;
  if (micros >= 1e6) return `${short(micros / 1e6)} s`;
  return micros >= 1e3 ? `${short(micros / 1e3)} ms` : `${short(micros)} µs`;
}

function isPower(value: number): boolean {
  const exponent = Math.log10(value);
  return Math.abs(exponent - Math.round(exponent)) < 1e-6;
}

/** The power of ten next to a value. @param otherwise if there is none */
function powerOf(round: (exponent: number) => number, value: number | null, otherwise: number): number {
  return value === null || !(value > 0) ? otherwise : 10 ** round(Math.log10(value));
}

/** A chart that grows to the right and forgets on the left. */
export class RollingChart {
  private readonly host: HTMLElement;
  private readonly lines: readonly Line[];
  private readonly title: string;
  private readonly kind: Kind;
  private readonly marks: Mark[] = [];
  private readonly times: number[] = [];
  private readonly values: (number | null)[][];
  private plot: uPlot | undefined;

  constructor(host: HTMLElement, title: string, lines: readonly Line[], kind: Kind) {
    this.host = host;
    this.title = title;
    this.kind = kind;
    this.lines = lines;
    this.values = lines.map(() => []);
    this.make();
    new ResizeObserver(() => this.resize()).observe(host);
  }

  /** Takes the colours of the page as they are now. */
  make(): void {
    const colour = (name: string) => this.colourOf(name);
    const axis = {
      stroke: colour('--soft'),
      grid: { stroke: colour('--line'), width: 1 },
      ticks: { show: false },
      font: '12px system-ui, sans-serif',
    };
    // Between two powers of ten there is no line.
    const filter: uPlot.Axis.Filter = (_u, splits) =>
      splits.map((value) => (this.kind.byTens && !isPower(value) ? null : value));
    this.plot?.destroy();
    this.plot = new uPlot(
      {
        ...this.size(),
        cursor: { show: false },
        legend: { show: false },
        padding: [8, 16, 0, 0],
        scales: {
          x: { time: false, range: [-SPAN, 0] },
          y: this.kind.byTens
            ? { distr: 3, range: (_u, min, max) => [powerOf(Math.floor, min, 10), powerOf(Math.ceil, max, 1000)] }
            : { range: (_u, _min, max) => [0, Math.max(1, max * 1.15)] },
        },
        axes: [
          { ...axis, size: 30, values: (_u, splits) => splits.map((at) => (at === 0 ? 'now' : `${at} s`)) },
          {
            ...axis,
            size: 54,
            grid: { ...axis.grid, filter },
            filter,
            values: (_u, splits) => splits.map((value) => (value === null ? '' : this.kind.text(value))),
          },
        ],
        series: [
          {},
          ...this.lines.map(({ label, colour: name }) => ({
            label,
            stroke: colour(name),
            width: 2,
            points: { show: false },
          })),
        ],
        hooks: { draw: [(plot) => this.drawMarks(plot)] },
      },
      this.data(),
      this.host,
    );
    this.plot.root.setAttribute('aria-hidden', 'true');
  }

  /** What a custom property of the page comes to as a colour: of `light-dark()`, the one that counts. */
  private colourOf(name: string): string {
    const { host } = this;
    host.style.color = `var(${name})`;
    const colour = getComputedStyle(host).color;
    host.style.color = '';
    return colour;
  }

  private drawMarks(plot: uPlot): void {
    const now = this.times.at(-1);
    if (now === undefined) return;
    const { ctx, bbox } = plot;
    const width = 2 * devicePixelRatio;
    for (const { time, colour, side } of this.marks) {
      const x = Math.round(plot.valToPos(time - now, 'x', true));
      ctx.fillStyle = this.colourOf(colour);
      ctx.fillRect(side === 'before' ? x - width : x, bbox.top, width, bbox.height);
    }
  }

  private size(): { width: number; height: number } {
    return { width: Math.max(100, this.host.clientWidth), height: Math.max(100, this.host.clientHeight) };
  }

  private resize(): void {
    this.plot?.setSize(this.size());
  }

  private data(): uPlot.AlignedData {
    const now = this.times.at(-1) ?? 0;
    return [this.times.map((time) => time - now), ...this.values] as uPlot.AlignedData;
  }

  /** Adds a point. @param time seconds. @param values one for each line; undefined for none */
  push(time: number, values: readonly (number | undefined)[]): void {
    this.times.push(time);
    for (const [i, line] of this.values.entries()) line.push(values[i] ?? null);
    while (this.times[0] < time - SPAN) {
      this.times.shift();
      for (const line of this.values) line.shift();
    }
    while (this.marks.length > 0 && this.marks[0].time < time - SPAN) this.marks.shift();
    this.plot?.setData(this.data());
  }

  /** Marks a moment. @param time seconds. @param colour name of a custom property of the page */
  mark(time: number, colour: string, side: Mark['side']): void {
    this.marks.push({ time, colour, side });
  }

  /** What the chart says in words. */
  get describe(): string {
    const last = this.values.map((line) => line.at(-1));
    return `${this.title}: ${this.lines.map(({ label }, i) => `${label} ${last[i] == null ? 'none' : this.kind.text(last[i] as number)}`).join(', ')}`;
  }

  clear(): void {
    this.times.length = 0;
    for (const line of this.values) line.length = 0;
    this.marks.length = 0;
    this.plot?.setData(this.data());
  }
}
