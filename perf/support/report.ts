import { readFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import type { Row, Spread } from './measure.ts';

/** What the command line asks for. */
export interface Flags {
  /** One JSON document instead of text. */
  readonly json: boolean;
  /** Everything once, small: shows that it runs, and says nothing about speed. */
  readonly quick: boolean;
  /** Workloads, with commas, for benchmarks that have several. */
  readonly workloads?: string | undefined;
}

/** Reads the command line; ends the process for a flag that is not one. */
export function readFlags(): Flags {
  try {
    const { values } = parseArgs({
      options: {
        json: { type: 'boolean', default: false },
        quick: { type: 'boolean', default: false },
        workloads: { type: 'string' },
      },
    });
    return values;
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\nflags: --json --quick --workloads W,... (drain)\n`);
    process.exit(2);
  }
}

/** Where the numbers come from. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly platform: string;
  readonly node: string;
  readonly v8: string;
  readonly date: string;
  /** Versions of the packages measured, or measured with. */
  readonly versions: Readonly<Record<string, string>>;
}

/** The version of an installed package. dist/perf/support is three levels below the root. */
function versionOf(name: string): string {
  const path = name === 'sabtree' ? '../../../package.json' : `../../../node_modules/${name}/package.json`;
  return JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')).version;
}

export function machine(packages: readonly string[]): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
    v8: process.versions.v8,
    date: new Date().toISOString().slice(0, 10),
    versions: Object.fromEntries(['sabtree', ...packages].map((name) => [name, versionOf(name)])),
  };
}

export function describeMachine(it: Machine): string {
  const versions = Object.entries(it.versions).map(([name, version]) => `${name} ${version}`);
  return `${it.cpu}, ${it.cores} cores, ${it.memoryGiB} GiB, ${it.platform}, Node ${it.node.slice(1)}, ${it.date}\n${versions.join(', ')}\n`;
}

/** Three significant digits: 8.12, 81.2, 812, 8120. */
export function short(value: number): string {
  return value >= 1000 ? String(Math.round(value / 10) * 10) : value.toPrecision(3);
}

function withSpread({ median, min, max }: Spread): string {
  return `${short(median)} (${short(min)}-${short(max)})`;
}

/** Aligned columns; those whose numbers are given are flush right. */
export function table(lines: readonly (readonly string[])[], right: readonly number[]): string {
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  return lines
    .map((line) =>
      line
        .map((cell, column) => (right.includes(column) ? cell.padStart(widths[column]) : cell.padEnd(widths[column])))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** The rows as a table. */
export function rowTable(rows: readonly Row[]): string {
  const lines = rows.map((row) => [
    row.name,
    withSpread(row.ours),
    row.peer,
    withSpread(row.theirs),
    withSpread(row.ratio),
    row.target === undefined ? '' : `${row.target} ${row.met ? 'met' : 'MISSED'}`,
  ]);
  return table([['', 'ns each (min-max)', 'beside', 'ns each', 'times as fast', 'target'], ...lines], [1, 3, 4]);
}
