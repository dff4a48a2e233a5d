/**
 * Packages that are measured, and no dependency of ours, not even for development (some are native modules): each is installed aside
 * the first time it is needed, by npm, with no script run and no compiler called.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Where they are installed: dist/perf/peers is three levels below the root. */
const HOME = fileURLToPath(new URL('../../../node_modules/.peers/', import.meta.url));

/** Installs a package unless it is there in that version. @throws if npm cannot */
export function installAside(name: string, version: string): void {
  const manifest = join(HOME, 'node_modules', name, 'package.json');
  if (existsSync(manifest) && JSON.parse(readFileSync(manifest, 'utf8')).version === version) return;
  process.stderr.write(`installing ${name} ${version} into ${HOME}\n`);
  mkdirSync(HOME, { recursive: true });
  if (!existsSync(join(HOME, 'package.json'))) writeFileSync(join(HOME, 'package.json'), '{ "private": true }');
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  execFileSync(npm, ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--save-exact', `${name}@${version}`], {
    cwd: HOME,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

/** What an installed package exports; also in other threads. */
export function requireAside(name: string): unknown {
  return createRequire(join(HOME, 'package.json'))(name);
}
