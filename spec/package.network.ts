/**
 * The package installed from its tarball and the registry into an empty project, in JavaScript and in TypeScript, on every
 * supported Node.js, each taken as the npm package `node@N`. Runs with `npm run test:package`; package.spec.ts has what needs
 * no network.
 */
import { mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  COMPILATIONS,
  compile,
  JS_OUTPUT,
  makeProject,
  manifest,
  npm,
  type Packed,
  pack,
  succeed,
  TS_OUTPUT,
  WHOLE_COMPILATION,
} from './support/package.ts';

const NODES = [20, 22, 24, 26];
/** From here on Node.js strips types by itself, and knows `await using`. */
const RUNS_TYPESCRIPT = 24;
/** The oldest compiler whose library has what the types name, the one this repository uses, and the newest. */
const own = manifest();
const OURS = own.devDependencies.typescript;
const COMPILERS = ['5.6.3', OURS, '7.0.2'];

let folder = '';
let project = '';
let packed: Packed;

beforeAll(async () => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'sabtree-installed-')));
  project = join(folder, 'project');
  packed = await pack(folder);
  // A user names the package and what he imports himself; the rest comes with it.
  makeProject(project, {
    sabtree: `file:${packed.tarball}`,
    'typed-binary': own.dependencies?.['typed-binary'] as string,
    '@types/node': own.devDependencies['@types/node'],
  });
  await npm(['install'], project, 300_000);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Installs packages in a folder of their own. */
async function tool(name: string, spec: string): Promise<string> {
  const place = join(folder, name);
  await npm(['install', '--prefix', place, spec], folder, 300_000);
  return join(place, 'node_modules');
}

/** The program that the compiler of this repository makes. */
let compiled = '';

describe.each(COMPILERS)('TypeScript %s', (version) => {
  const compilations = version === OURS ? [...COMPILATIONS, WHOLE_COMPILATION] : COMPILATIONS;

  for (const compilation of compilations) {
    it(`compiles a strict program, ${compilation.name}`, async () => {
      const modules = await tool(`typescript-${version}`, `typescript@${version}`);
      const program = await compile(project, join(modules, 'typescript', 'bin', 'tsc'), compilation);
      expect(await succeed(process.execPath, [program], project)).toBe(TS_OUTPUT);
      if (version === OURS) compiled = program;
    });
  }
});

describe.each(NODES)('Node.js %i', (major) => {
  let node = '';

  beforeAll(async () => {
    const modules = await tool(`node-${major}`, `node@${major}`);
    node = join(modules, 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
    expect(await succeed(node, ['--version'], folder)).toMatch(new RegExp(`^v${major}\\.`));
  });

  it('runs JavaScript: trees in threads, a store, clients', async () => {
    expect(await succeed(node, ['main.js'], project)).toBe(JS_OUTPUT);
  });

  it('runs compiled TypeScript', async () => {
    expect(compiled, 'what the compiler made').not.toBe('');
    expect(await succeed(node, [compiled], project)).toBe(TS_OUTPUT);
  });

  it.runIf(major >= RUNS_TYPESCRIPT)('runs TypeScript as it stands', async () => {
    expect(await succeed(node, ['main.ts'], project)).toBe(TS_OUTPUT);
  });

  it('has a command line that serves ranges and finds its replicas equal', async () => {
    const main = join(project, 'node_modules', 'sabtree', 'dist', 'cli', 'main.js');
    expect(await succeed(node, [main, '--version'], project)).toBe(`${own.version}\n`);
    const rows = Array.from({ length: 1000 }, (_, i) => `${i * 1000},${i * 1000 + 899},NZ`);
    writeFileSync(join(project, 'ranges.csv'), `${rows.join('\n')}\n`);
    const out = await succeed(node, [main, 'run', 'ranges.csv', '--json', '--seconds', '0.5'], project);
    expect(JSON.parse(out)).toMatchObject({ replicasEqual: true, oracleEqual: true });
  });
});
