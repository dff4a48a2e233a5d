/** What a run of the simulation reports, and the report as text. Every simulated figure is marked so. */
import type { ModelName } from '../../index.ts';
import type { Cell, Machine, Report, WorkloadName } from '../models/types.ts';
import { short, table } from '../support/report.ts';

/** A simulated cell; see Simulated for what is added. */
export interface SimulatedCell extends Cell {
  readonly kind: 'simulated';
  readonly utilisation: number;
  readonly barriers: number;
  readonly busiest: { readonly thread: string; readonly share: number };
}

/** A parameter of the calibration. */
export interface Parameter {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly meaning: string;
  readonly how: string;
  /** Fitted there, so that a simulation of this point meets the measurement. */
  readonly fitted?: string;
}

/** The simulation beside a measurement under the same conditions. */
export interface SimulationError {
  readonly model: ModelName;
  readonly workload: WorkloadName;
  readonly executors: number;
  /** Commands a second, of the fastest run. */
  readonly measured: number;
  readonly simulated: number;
  /** Simulated over measured, less one. */
  readonly error: number;
  /** The parameter that comes from this very measurement: then a small error says nothing. */
  readonly calibrates?: string;
  /** More threads than cores: this is simulated too, in a simpler way than it is. */
  readonly oversubscribed: boolean;
}

/** Where a model stops to gain from more executors. */
export interface Saturation {
  readonly model: ModelName;
  readonly workload: WorkloadName;
  /** The fewest executors with at least 90 % of the most commands a second that were simulated. */
  readonly knee: number;
  /** The executors with the most. */
  readonly best: number;
  readonly commandsPerSecond: number;
  /** Of the most executors simulated. */
  readonly busiest: { readonly thread: string; readonly share: number };
}

export interface SimulationReport extends Report {
  readonly calibration: readonly Parameter[];
  readonly errors: readonly SimulationError[];
  readonly saturation: readonly Saturation[];
}

function isSimulated(cell: Cell): cell is SimulatedCell {
  return cell.kind === 'simulated';
}

/** Where each model of each workload saturates. */
export function saturationOf(cells: readonly SimulatedCell[]): Saturation[] {
  const rows = new Map<string, SimulatedCell[]>();
  for (const cell of cells) {
    const name = `${cell.workload} ${cell.model}`;
    rows.set(name, [...(rows.get(name) ?? []), cell]);
  }
  return [...rows.values()].map((row) => {
    const rate = (cell: SimulatedCell) => cell.commandsPerSecond.median;
    const best = row.reduce((one, other) => (rate(other) > rate(one) ? other : one));
    const knee = row.find((cell) => rate(cell) >= 0.9 * rate(best)) as SimulatedCell;
    const last = row[row.length - 1];
    return {
      model: best.model,
      workload: best.workload,
      knee: knee.executors,
      best: best.executors,
      commandsPerSecond: rate(best),
      busiest: last.busiest,
    };
  });
}

const percent = (share: number) => `${Math.round(100 * share)} %`;
const signed = (share: number) => `${share >= 0 ? '+' : ''}${percent(share)}`;
const count = (value: number) => Math.round(value).toLocaleString('en');

function calibrationTable(parameters: readonly Parameter[]): string {
  const lines = parameters.map(({ name, value, unit, meaning, how, fitted }) => [
    name,
    `${short(value)} ${unit}`,
    meaning,
    fitted === undefined ? how : `FITTED at ${fitted}`,
  ]);
  return table([['calibration', 'measured', 'what', 'how'], ...lines], [1]);
}

function errorTable(errors: readonly SimulationError[], cells: readonly Cell[]): string {
  const lines = errors.map(({ model, workload, executors, measured, simulated, error, calibrates, oversubscribed }) => {
    const cell = cells.find(
      (one) => one.kind === 'drain' && one.model === model && one.workload === workload && one.executors === executors,
    );
    return [
      workload,
      String(executors),
      model,
      count(measured),
      cell === undefined ? '' : count(cell.commandsPerSecond.median),
      count(simulated),
      signed(error),
      [calibrates === undefined ? '' : `calibrates ${calibrates}`, oversubscribed ? '*' : ''].join(' ').trim(),
    ];
  });
  const head = ['workload', 'executors', 'model', 'measured', 'median', 'simulated', 'error', ''];
  return table([head, ...lines], [1, 3, 4, 5, 6]);
}

/** How much slower than the fastest run the one in the middle was: what disturbed the measurements. */
function disturbance(cells: readonly Cell[]): string {
  const slower = cells
    .filter(({ kind }) => kind === 'drain')
    .map(({ commandsPerSecond: { median, max } }) => max / median - 1)
    .sort((a, b) => a - b);
  return `measured: the median run took ${percent(slower[slower.length >> 1])} longer than the fastest (median over all points)`;
}

function errorSummary(errors: readonly SimulationError[]): string {
  const say = (what: string, some: readonly SimulationError[]) => {
    if (some.length === 0) return [];
    const sizes = some.map(({ error }) => Math.abs(error)).sort((a, b) => a - b);
    const worst = some.reduce((one, other) => (Math.abs(other.error) > Math.abs(one.error) ? other : one));
    const { model, executors, workload } = worst;
    const where = `${model}@${executors} ${workload}`;
    return [`${what}: median ${percent(sizes[sizes.length >> 1])}, worst ${signed(worst.error)} (${where})`];
  };
  const checks = errors.filter(({ calibrates }) => calibrates === undefined);
  return [
    ...say(
      'errors where nothing was calibrated, a core for each thread',
      checks.filter((one) => !one.oversubscribed),
    ),
    ...say(
      'errors where nothing was calibrated, more threads than cores (*)',
      checks.filter((one) => one.oversubscribed),
    ),
  ].join('\n');
}

/** Lines of one workload: a model each. */
function workloadTable(
  workload: WorkloadName,
  all: readonly SimulatedCell[],
  saturation: readonly Saturation[],
): string {
  const cells = all.filter((cell) => cell.workload === workload);
  const executors = [...new Set(cells.map((cell) => cell.executors))];
  const models = [...new Set(cells.map(({ model }) => model))];
  const head = [
    'simulated commands/s',
    ...executors.map((n) => `${n} ex.`),
    'knee',
    'executing',
    'at barriers',
    'busiest thread',
  ];
  const lines = models.map((model) => {
    const row = cells.filter((cell) => cell.model === model);
    const last = row[row.length - 1];
    const { knee } = saturation.find((one) => one.model === model && one.workload === workload) as Saturation;
    return [
      model,
      ...row.map(({ commandsPerSecond }) => count(commandsPerSecond.median)),
      knee === last.executors && executors.length > 1 ? `>=${knee}` : String(knee),
      percent(last.utilisation),
      percent(last.barriers),
      `${last.busiest.thread} ${percent(last.busiest.share)}`,
    ];
  });
  const right = [...executors.map((_, i) => i + 1), executors.length + 1, executors.length + 2, executors.length + 3];
  const { distribution, window } = cells[0];
  return `${workload}, ${distribution}, retries ${window} commands ahead (all figures simulated)\n${table([head, ...lines], right)}`;
}

function describe({ cpu, cores, memoryGiB, platform, node, sabtree, commit, date }: Machine): string {
  const version = commit === '' ? sabtree : `${sabtree} (${commit})`;
  return `calibrated on: ${cpu}, ${cores} cores, ${memoryGiB} GiB, ${platform}, Node ${node.slice(1)}, sabtree ${version}, ${date}`;
}

export function renderSimulation(report: SimulationReport): string {
  const { machine, cells, calibration, errors, saturation } = report;
  const simulated = cells.filter(isSimulated);
  const workloads = [...new Set(simulated.map(({ workload }) => workload))];
  const parts = [
    describe(machine),
    calibrationTable(calibration),
    `measured: commands/s of the fastest run, and the median of the runs; simulated: the same commands on this machine\n${errorTable(errors, cells)}`,
    `${disturbance(cells)}\n${errorSummary(errors)}`,
    ...workloads.map((workload) => workloadTable(workload, simulated, saturation)),
    'simulated with a core for each thread; knee: fewest executors with 90 % of the most commands/s; shares are those at the most executors',
  ];
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}
