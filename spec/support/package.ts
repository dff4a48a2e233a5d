/** The package as its users get it: packed, installed into an empty project, used from there. */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** What the programs in spec/consumer print. */
export const JS_OUTPUT = '{"sum":10000,"keys":[1,3,5],"replicas":2}\n';
export const TS_OUTPUT = '{"total":3,"upper":[2],"country":"AU","token":"1099511627776","stored":[true,5,"ERR_KEY"]}\n';

/** How a program ended. */
export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** A program as a user starts it: what npm tells the scripts of this repository is no business of the project's. */
export function ran(program: string, args: readonly string[], cwd: string, limit = 60_000): Promise<Ran> {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^(npm_(package|lifecycle|config_local_prefix|command)|INIT_CWD|VITEST|NODE_OPTIONS)/i.test(name),
    ),
  );
  return new Promise((resolve) => {
    const shell = process.platform === 'win32' && program === 'npm';
    const child = execFile(
      program,
      args,
      { cwd, env, shell, timeout: limit, maxBuffer: 1 << 26 },
      (error, out, err) => {
        resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, out, err });
      },
    );
    // Whoever asks something gets no answer instead of waiting for one.
    child.stdin?.end();
  });
}

/** Runs a program that has to succeed; what it prints. */
export async function succeed(program: string, args: readonly string[], cwd: string, limit?: number): Promise<string> {
  const { code, out, err } = await ran(program, args, cwd, limit);
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with exit code ${code}:\n${out}${err}`);
  return out;
}

/** Runs npm: the one that runs this, if one does. */
export function npm(args: readonly string[], cwd: string, limit?: number): Promise<string> {
  const path = process.env.npm_execpath;
  const quiet = [...args, '--no-audit', '--no-fund', '--loglevel=error'];
  return path?.endsWith('npm-cli.js')
    ? succeed(process.execPath, [path, ...quiet], cwd, limit)
    : succeed('npm', quiet, cwd, limit);
}

/** A tarball, and what is in it. */
export interface Packed {
  readonly tarball: string;
  /** Bytes of the tarball, and of what is in it. */
  readonly size: number;
  readonly unpackedSize: number;
  readonly files: readonly string[];
}

/** Packs what is built. */
export async function pack(into: string): Promise<Packed> {
  const out = await npm(['pack', '--ignore-scripts', '--json', '--pack-destination', into], ROOT);
  const [{ filename, size, unpackedSize, files }] = JSON.parse(out);
  return {
    tarball: join(into, filename),
    size,
    unpackedSize,
    files: files.map(({ path }: { path: string }) => path),
  };
}

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly dependencies?: Record<string, string>;
  readonly peerDependencies?: Record<string, string>;
  readonly devDependencies: Record<string, string>;
  readonly exports: Record<string, unknown>;
  readonly files: readonly string[];
}

/** The package.json of this repository, or of a package in its node_modules. */
export function manifest(name?: string): Manifest {
  return JSON.parse(readFileSync(join(ROOT, name === undefined ? '' : `node_modules/${name}`, 'package.json'), 'utf8'));
}

/** Packages and all they depend on, as folders of this repository's node_modules. */
export function folders(names: readonly string[]): Record<string, string> {
  const found: Record<string, string> = {};
  const add = (name: string) => {
    if (name in found) return;
    found[name] = `file:${join(ROOT, 'node_modules', name)}`;
    Object.keys(manifest(name).dependencies ?? {}).forEach(add);
  };
  names.forEach(add);
  return found;
}

/** Makes a project of the programs in spec/consumer that depends on these packages; nothing is installed yet. */
export function makeProject(folder: string, dependencies: Record<string, string>): void {
  mkdirSync(folder, { recursive: true });
  for (const file of ['main.js', 'thread.js', 'main.ts']) cpSync(join(ROOT, 'spec/consumer', file), join(folder, file));
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({ name: 'consumer', version: '1.0.0', private: true, type: 'module', dependencies }),
  );
  // As `tsc --init` has it, with the stricter options added.
  const compilerOptions = {
    target: 'es2022',
    types: ['node'],
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: true,
    rootDir: '.',
    outDir: 'out',
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['main.ts'] }));
}

/** A way to compile the project. */
export interface Compilation {
  readonly name: string;
  readonly options: readonly string[];
}

export const COMPILATIONS: readonly Compilation[] = [
  { name: 'module resolution nodenext', options: ['--module', 'nodenext'] },
  { name: 'module resolution bundler', options: ['--module', 'esnext', '--moduleResolution', 'bundler'] },
  // A server has no use for the types of the browser.
  { name: 'without dom', options: ['--module', 'nodenext', '--lib', 'es2023'] },
];

/** Nothing is spared: the types of the package and of all it brings are checked too. */
export const WHOLE_COMPILATION: Compilation = {
  name: 'all libraries checked',
  options: ['--module', 'nodenext', '--lib', 'esnext,dom', '--skipLibCheck', 'false'],
};

/** Compiles the project in one of these ways; the program that it makes. */
export async function compile(project: string, tsc: string, { name, options }: Compilation): Promise<string> {
  const out = join(project, `out-${name.replaceAll(' ', '-')}`);
  await succeed(process.execPath, [tsc, '-p', '.', ...options, '--outDir', out], project);
  return join(out, 'main.js');
}
