/** The report as text: a table for every point. */
import { short, table } from '../support/report.ts';
import { pointOf } from './cells.ts';
import type { Cell, Machine, Report } from './types.ts';

/** The model that the others are compared with. */
const BASELINE = 'smr';

const HEAD = [
  'model',
  'commands/s (min-max)',
  `x ${BASELINE}`,
  'p50 ms',
  'p99',
  'p99.9',
  'refused %',
  'deferred %',
  'retried',
  'sync points',
  'parks',
  '',
];
const RIGHT = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

const count = (value: number) => Math.round(value).toLocaleString('en');

function marks({ oversubscribed, verified }: Cell): string {
  return [oversubscribed ? '*' : '', verified ? '' : 'NOT VERIFIED'].filter((mark) => mark !== '').join(' ');
}

function line(cell: Cell, baseline: Cell | undefined): string[] {
  const { median, min, max } = cell.commandsPerSecond;
  const { latencyMs, commands } = cell;
  const percent = (value: number) => (value === 0 ? '0' : ((100 * value) / commands).toPrecision(2));
  return [
    cell.model,
    `${count(median)} (${count(min)}-${count(max)})`,
    baseline === undefined ? '-' : (median / baseline.commandsPerSecond.median).toFixed(2),
    ...(latencyMs === undefined ? ['-', '-', '-'] : [latencyMs.p50, latencyMs.p99, latencyMs.p999].map(short)),
    percent(cell.refused),
    percent(cell.deferred),
    count(cell.retried),
    count(cell.syncPoints),
    count(cell.parks),
    marks(cell),
  ];
}

function describe(machine: Machine): string {
  const { cpu, cores, memoryGiB, platform, node, sabtree, commit, date } = machine;
  const version = commit === '' ? sabtree : `${sabtree} (${commit})`;
  return `${cpu}, ${cores} cores, ${memoryGiB} GiB, ${platform}, Node ${node.slice(1)}, sabtree ${version}, ${date}`;
}

/** The cells of each point, in the order in which the points were measured. */
function byPoint(cells: readonly Cell[]): Map<string, Cell[]> {
  const points = new Map<string, Cell[]>();
  for (const cell of cells) points.set(pointOf(cell), [...(points.get(pointOf(cell)) ?? []), cell]);
  return points;
}

export function renderText({ machine, cells }: Report): string {
  const parts = [describe(machine)];
  for (const [point, here] of byPoint(cells)) {
    const baseline = here.find(({ model }) => model === BASELINE);
    const { fanout, clients } = here[0];
    const rate = fanout === undefined ? '' : `; 1/(B ln 2) = ${(100 / (fanout * Math.LN2)).toPrecision(2)} %`;
    parts.push(
      `${point}, ${clients} clients${rate}\n${table([HEAD, ...here.map((cell) => line(cell, baseline))], RIGHT)}`,
    );
  }
  if (cells.some(({ oversubscribed }) => oversubscribed)) {
    parts.push(`* more threads (executors of all replicas, and clients) than the ${machine.cores} cores`);
  }
  return `${parts.join('\n\n')}\n`;
}
