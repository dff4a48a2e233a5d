/** The benchmarks run at smoke size, verify their answers, and print what they promise. Speed is not asserted here. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ensureProgram, findProgram } from './support/programs.ts';

function run(
  name: string,
  variables: Record<string, string> = {},
  flags: readonly string[] = [],
): Promise<{ code: number; out: string; err: string }> {
  const script = fileURLToPath(new URL(`../dist/perf/${name}.js`, import.meta.url));
  const options = { timeout: 55_000, maxBuffer: 1 << 26, env: { ...process.env, ...variables } };
  return new Promise((resolve) => {
    execFile(process.execPath, [script, '--quick', '--json', ...flags], options, (error, out, err) => {
      resolve({ code: error === null ? 0 : 1, out, err });
    });
  });
}

/** That each row has three figures, in their order. */
function checkRows(rows: Record<'ours' | 'theirs' | 'ratio', Record<'median' | 'min' | 'max', number>>[]): void {
  for (const { ours, theirs, ratio } of rows) {
    for (const { median, min, max } of [ours, theirs, ratio]) {
      expect(min).toBeGreaterThan(0);
      expect(median).toBeGreaterThanOrEqual(min);
      expect(max).toBeGreaterThanOrEqual(median);
    }
  }
}

describe('benchmarks at smoke size', () => {
  it('peers', async () => {
    const { code, out } = await run('peers');
    expect(code).toBe(0);
    const { machine, rows } = JSON.parse(out);
    expect(machine.cores).toBeGreaterThan(0);
    const names = new Set(rows.map((row: { name: string }) => row.name));
    expect(names.size).toBeGreaterThan(10);
    checkRows(rows);
  });

  it('redis', async () => {
    const find = () => findProgram('SABTREE_REDIS', ['redis-server'], []);
    const advice = 'redis-server (Debian: apt-get install redis-server; or name one in SABTREE_REDIS)';
    const program = ensureProgram(find, 'redis-server', 120_000, advice);
    const { code, out, err } = await run('redis', { SABTREE_REDIS: program });
    expect(code, err).toBe(0);
    const { redis, rows } = JSON.parse(out);
    expect(redis.server).toMatch(/^\d+\.\d+/);
    expect(rows).toHaveLength(8);
    checkRows(rows);
  }, 240_000);

  it('strings, beside lmdb', async () => {
    const { code, out, err } = await run('strings');
    expect(code, err).toBe(0);
    const { rows } = JSON.parse(out);
    expect(rows).toHaveLength(7);
    checkRows(rows);
  });

  it('churn', async () => {
    const { code, out, err } = await run('churn');
    expect(code, err).toBe(0);
    const { taken, growth } = JSON.parse(out);
    expect(Math.min(...taken)).toBeGreaterThan(0);
    expect(growth).toBeLessThan(0.02);
  });

  it('drain', async () => {
    const { code, out, err } = await run('drain', {}, ['--workloads', 'updates']);
    expect(code, err).toBe(0);
    const { cells } = JSON.parse(out) as { cells: { verified: boolean }[] };
    expect(cells.length).toBeGreaterThan(10);
    expect(cells.every(({ verified }) => verified)).toBe(true);
  });

  it('redis says so where there is none', async () => {
    const { code, err } = await run('redis', { SABTREE_REDIS: '/nowhere/redis-server' });
    expect(code).toBe(1);
    expect(err).toContain('there is no /nowhere/redis-server');
  });

  it('micro', async () => {
    const { code, out } = await run('micro');
    expect(code).toBe(0);
    expect(typeof JSON.parse(out)).toBe('object');
  });
});
