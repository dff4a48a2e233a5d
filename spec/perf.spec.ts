/** The benchmarks run at smoke size, verify their answers, and print what they promise. Speed is not asserted here. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

function run(name: string): Promise<{ code: number; out: string }> {
  const script = fileURLToPath(new URL(`../dist/perf/${name}.js`, import.meta.url));
  return new Promise((resolve) => {
    execFile(process.execPath, [script, '--quick', '--json'], { timeout: 55_000, maxBuffer: 1 << 26 }, (error, out) => {
      resolve({ code: error === null ? 0 : 1, out });
    });
  });
}

describe('benchmarks at smoke size', () => {
  it('peers', async () => {
    const { code, out } = await run('peers');
    expect(code).toBe(0);
    const { machine, rows } = JSON.parse(out);
    expect(machine.cores).toBeGreaterThan(0);
    const names = new Set(rows.map((row: { name: string }) => row.name));
    expect(names.size).toBeGreaterThan(10);
    for (const { ours, theirs, ratio } of rows) {
      for (const { median, min, max } of [ours, theirs, ratio]) {
        expect(min).toBeGreaterThan(0);
        expect(median).toBeGreaterThanOrEqual(min);
        expect(max).toBeGreaterThanOrEqual(median);
      }
    }
  });

  it('micro', async () => {
    const { code, out } = await run('micro');
    expect(code).toBe(0);
    expect(typeof JSON.parse(out)).toBe('object');
  });
});
