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

/** A number that is short: 12.3k, 4.5M. */
export function short(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toFixed(value < 1e7 ? 2 : 1)}M`;
  if (value >= 1e3) return `${(value / 1e3).toFixed(value < 1e4 ? 1 : 0)}k`;
  return value.toFixed(value < 10 && value % 1 !== 0 ? 1 : 0);
}

/** A chart that grows to the right and forgets on the left. */
export class RollingChart {
  private readonly host: HTMLElement;
  private readonly lines: readonly Line[];
  private readonly title: string;
  private readonly times: number[] = [];
  private readonly values: (number | null)[][];
  private plot: uPlot | undefined;

  constructor(host: HTMLElement, title: string, lines: readonly Line[]) {
    this.host = host;
    this.title = title;
    this.lines = lines;
    this.values = lines.map(() => []);
    this.make();
    new ResizeObserver(() => this.resize()).observe(host);
  }

  /** Takes the colours of the page as they are now. */
  make(): void {
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    const axis = {
      stroke: colour('--soft'),
      grid: { stroke: colour('--line'), width: 1 },
      ticks: { show: false },
      font: '12px system-ui, sans-serif',
    };
    this.plot?.destroy();
    this.plot = new uPlot(
      {
        ...this.size(),
        cursor: { show: false },
        legend: { show: false },
        padding: [8, 16, 0, 0],
        scales: {
          x: { time: false, range: [-SPAN, 0] },
          y: { range: (_u, _min, max) => [0, Math.max(1, max * 1.15)] },
        },
        axes: [
          { ...axis, values: (_u, splits) => splits.map((at) => (at === 0 ? 'now' : `${at} s`)) },
          { ...axis, size: 48, values: (_u, splits) => splits.map(short) },
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
      },
      this.data(),
      this.host,
    );
    this.plot.root.setAttribute('aria-hidden', 'true');
  }

  private size(): { width: number; height: number } {
    return { width: Math.max(100, this.host.clientWidth), height: 170 };
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
    this.plot?.setData(this.data());
  }

  /** What the chart says in words. */
  get describe(): string {
    const last = this.values.map((line) => line.at(-1));
    return `${this.title}: ${this.lines.map(({ label }, i) => `${label} ${last[i] == null ? 'none' : short(last[i] as number)}`).join(', ')}`;
  }

  clear(): void {
    this.times.length = 0;
    for (const line of this.values) line.length = 0;
    this.plot?.setData(this.data());
  }
}
