/** `sabtree chaos` as a user calls it, and what its clients saw, judged by the checker of linearizability. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readHistory } from './support/history.ts';
import { assertLinearizable } from './support/linearizability.ts';

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sabtree-chaos-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function chaos(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [...process.execArgv, main, 'chaos', ...args],
      { cwd: folder, timeout: 100_000 },
      (error, out, err) => {
        resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, out, err });
      },
    );
  });
}

describe('sabtree chaos', () => {
  it('kills, goes on, and prints one JSON object; what the clients saw is linearizable', async () => {
    const flags = ['--minutes', '0.15', '--round', '5', '--entries', '300', '--every', '100', '--clients', '2'];
    const { code, out, err } = await chaos(...flags, '--seed', '3', '--history', 'seen', '--json');
    expect(err).toMatch(/100 %.*0 lost, 0 twice, 0 wrong/);
    const summary = JSON.parse(out);
    expect(summary).toMatchObject({ seed: 3, lost: 0, twice: 0, wrong: 0, replicasEqual: true, troubles: [] });
    expect(code).toBe(0);
    expect(summary.kills).toBe(summary.killedExecutors + summary.killedReplicas + summary.killedClients);
    expect(summary.kills).toBeGreaterThan(10);
    expect(summary.rebuilds).toBeGreaterThan(2);
    expect(summary.pauseMs.most).toBeGreaterThanOrEqual(summary.pauseMs.p50);
    const files = readdirSync(folder).filter((name) => name.startsWith('seen.'));
    expect(files.length).toBe(summary.rounds);
    let operations = 0;
    for (const name of files) {
      const history = readHistory(readFileSync(join(folder, name), 'utf8'));
      operations += history.length;
      assertLinearizable(history);
    }
    expect(operations).toBeGreaterThan(1000);
  }, 120_000);

  it.each([
    [['--minutes', 'long'], /--minutes takes a number from 0.05 to 1440, got "long"/],
    [['--models', 'smr,direct'], /--models takes smr, .*; got "direct"/],
    [['--replicas', '1'], /--replicas takes an integer from 2 to 8/],
    [['--every', '1.5'], /--every takes an integer/],
    [['--frequency', '3'], /unknown flag --frequency; there are --minutes/],
  ])('%j is a wrong call', async (args, message) => {
    const { code, out, err } = await chaos(...args);
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(err).toMatch(message);
  });

  it('says what it can do', async () => {
    const { code, out } = await chaos('--help');
    expect(code).toBe(0);
    for (const flag of ['minutes', 'seed', 'models', 'history', 'json']) expect(out).toContain(`--${flag}`);
  });
});
