/** What `sabtree top` shows of a store. */
import type { StatsReport } from '../index.ts';

const count = (value: number) => Math.round(value).toLocaleString('en');

function bytes(value: number): string {
  if (value < 1 << 20) return `${(value / 1024).toFixed(0)} KB`;
  return value < 2 ** 30 ? `${(value / (1 << 20)).toFixed(1)} MB` : `${(value / 2 ** 30).toFixed(2)} GB`;
}

function micros(value: number | undefined): string {
  if (value === undefined) return '-';
  return value < 1000
    ? `${value.toFixed(value < 10 ? 1 : 0)} us`
    : `${(value / 1000).toFixed(value < 10_000 ? 1 : 0)} ms`;
}

/** Columns, each as wide as its widest cell; the first to the left. */
function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  return rows.map((row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  '),
  );
}

/** Counters that a view shows as rates. */
const RATES = ['commands', 'refused', 'deferred', 'retried', 'syncPoints', 'splits', 'restarts', 'parks'] as const;

/**
 * The lines of a view. What is counted is shown per second since the report before; without one, in all.
 * @param before an earlier report of the same store.
 */
export function topView(report: StatsReport, before: StatsReport | undefined): string[] {
  const { stats, status } = report;
  const seconds = before === undefined ? 1 : Math.max(0.001, (report.at - before.at) / 1000);
  const per = before === undefined ? '' : '/s';
  const rate = (now: number, then: number | undefined) => count(Math.max(0, now - (then ?? 0)) / seconds);
  const { latency, tree, memory } = stats;
  const replicas = status.replicas.map(({ replica, state }) => `${replica} ${state}`).join(', ');
  const executors = stats.perExecutor.map((one) => {
    const then = before?.stats.perExecutor.find((o) => o.replica === one.replica && o.executor === one.executor);
    return [`${one.replica}/${one.executor}`, ...RATES.map((name) => rate(one[name], then?.[name])), count(one.depth)];
  });
  const groups = stats.perGroup.map((one) => {
    const then = before?.stats.perGroup[one.group];
    return [
      String(one.group),
      rate((one.slots - (then?.slots ?? 0)) >>> 0, 0),
      count(one.depth),
      count(one.deepest),
      count(one.capacity),
    ];
  });
  const areas = memory.replicas.map((one) => [
    `replica ${one.replica}`,
    ...[one.leaves, one.branches, one.values, one.areas, one.free, one.used, one.maximum].map(bytes),
  ]);
  const { streams } = memory;
  return [
    `sabtree top: ${report.title} (${report.pid}), ${new Date(report.at).toISOString().slice(11, 19)}`,
    `${stats.model}, ${stats.replicas} x ${stats.executors} executors, ${status.state}; replicas: ${replicas}`,
    `losses ${status.losses}, failovers ${status.failovers}, rebuilds ${status.rebuilds}, longest pause ${status.longestPauseMs.toFixed(1)} ms; clients ${status.clients}, watchers ${stats.watchers}`,
    `commands${per} ${rate(stats.commands, before?.stats.commands)}; latency p50 ${micros(latency.p50)}, p90 ${micros(latency.p90)}, p99 ${micros(latency.p99)}, p99.9 ${micros(latency.p999)}, max ${micros(latency.max)} (${count(latency.samples)} samples)`,
    `entries ${count(tree.entries)}, height ${tree.height}, fill ${(tree.fill * 100).toFixed(0)} %, ${tree.bytesPerEntry.toFixed(1)} bytes per entry`,
    '',
    ...(executors.length === 0
      ? []
      : [
          ...columns([['replica/thread', ...RATES.map((name) => `${name}${per}`), 'waiting slots'], ...executors]),
          '',
          ...columns([['group', `slots${per}`, 'waiting', 'at most', 'ring'], ...groups]),
          '',
        ]),
    ...columns([['memory', 'leaves', 'branches', 'values', 'areas', 'free', 'used', 'maximum'], ...areas]),
    `streams ${bytes(streams.total)}: rings ${bytes(streams.rings)}, replies ${bytes(streams.replies)}, watchers ${bytes(streams.watchers)}`,
  ];
}
