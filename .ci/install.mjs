/** Installs the dependencies that package-lock.json names, unless they are there. */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, say, step } from './steps.mjs';

const WANTED = join(ROOT, 'package-lock.json');
/** npm's own record of what it has put into node_modules. */
const PRESENT = join(ROOT, 'node_modules/.package-lock.json');
const STAMP = join(ROOT, 'node_modules/.sabtree-lock-hash');

function readIfThere(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Both lock files: so the stamp also ends to hold when someone installs or prunes by hand. */
function stampOf(wanted, present) {
  return createHash('sha256').update(wanted).update('\0').update(present).digest('hex');
}

/** Whether every package of the lock file is installed in its version; optional ones belong to other platforms. */
function isComplete(wanted, present) {
  const installed = JSON.parse(present).packages;
  return Object.entries(JSON.parse(wanted).packages).every(
    ([path, entry]) => path === '' || entry.optional || installed[path]?.version === entry.version,
  );
}

/** Whether node_modules is what package-lock.json asks for. A `npm install` or `npm ci` by hand counts. */
export function isInstalled() {
  const wanted = readFileSync(WANTED, 'utf8');
  const present = readIfThere(PRESENT);
  if (present === undefined) return false;
  if (readIfThere(STAMP) === stampOf(wanted, present)) return true;
  if (!isComplete(wanted, present)) return false;
  writeFileSync(STAMP, stampOf(wanted, present));
  return true;
}

/** Installs exactly what the lock file names. No package of ours needs its install scripts, so none is run. */
export function install() {
  const args = ['ci', '--ignore-scripts', '--include=dev', '--include=optional', '--no-audit', '--no-fund'];
  // npm says where it is when it started us; otherwise the shell finds it, on Windows as npm.cmd.
  const npm = process.env.npm_execpath;
  const took = npm?.endsWith('npm-cli.js')
    ? step('npm ci', process.execPath, [npm, ...args])
    : step('npm ci', 'npm', args, { shell: process.platform === 'win32' });
  writeFileSync(STAMP, stampOf(readFileSync(WANTED, 'utf8'), readFileSync(PRESENT, 'utf8')));
  say(`npm ci: ${took}`);
}
