/** Programs that tests need and npm does not bring: found, or installed where that can be done. */
import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * The program that an environment variable names, or the first that is there of `names` in PATH and of `places`.
 * @throws if the one that is named is not there
 */
export function findProgram(variable: string, names: readonly string[], places: readonly string[]): string | undefined {
  const named = process.env[variable];
  if (named !== undefined && named !== '') {
    if (!isProgram(named)) throw new Error(`${variable} names ${named}, which is no program`);
    return named;
  }
  const inPath = (process.env.PATH ?? '').split(delimiter).flatMap((folder) => names.map((name) => join(folder, name)));
  return [...(process.platform === 'win32' ? [] : inPath), ...places].find(isProgram);
}

/** What `find` gives, after its package is installed if need be. @throws an error with `advice` if there is none */
export function ensureProgram(find: () => string | undefined, name: string, limit: number, advice: string): string {
  const found = find() ?? (installPackage(name, limit) ? find() : undefined);
  if (found === undefined) throw new Error(`the tests need ${advice}`);
  return found;
}

/** Installs a package of the Debian family; false if that cannot be done here: no apt-get, no rights, no network. */
function installPackage(name: string, limit: number): boolean {
  if (process.platform !== 'linux' || !existsSync('/usr/bin/apt-get')) return false;
  const root = process.getuid?.() === 0;
  const apt = (...args: string[]) => {
    const command = ['apt-get', '-qq', '-o', 'DPkg::Lock::Timeout=300', ...args];
    const [program, ...rest] = root ? command : ['sudo', '-n', ...command];
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    execFileSync(program, rest, { stdio: ['ignore', 'ignore', 'inherit'], env, timeout: limit });
  };
  const install = () => apt('install', '-y', '--no-install-recommends', name);
  process.stderr.write(`sabtree: installing the system package "${name}", which the tests need\n`);
  try {
    install();
    return true;
  } catch {
    // The lists of packages may be old, or not be there.
  }
  try {
    apt('update');
    install();
    return true;
  } catch {
    return false;
  }
}
