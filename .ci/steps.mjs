/** What the scripts here share: where the repository is, how they speak, how a step fails. */
import { spawnSync } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** A step that failed: the message is for people, the stack is not. */
export class StepError extends Error {}

/** Says something on stderr; stdout belongs to the program that is started afterwards. */
export function say(text) {
  process.stderr.write(`sabtree: ${text}\n`);
}

/** Makes the process end with exit code 1 and a message. Only a defect of the scripts themselves shows a stack. */
export function fail(error) {
  say(error instanceof StepError ? error.message : (error.stack ?? String(error)));
  process.exitCode = 1;
}

/** Runs a program in the root with all its output on stderr; throws if it fails, else returns the time it took. */
export function step(what, program, args, options = {}) {
  const start = performance.now();
  const { status, signal, error } = spawnSync(program, args, { cwd: ROOT, stdio: ['ignore', 2, 2], ...options });
  if (error) throw new StepError(`${what} could not be started: ${error.message}`);
  if (status !== 0) throw new StepError(`${what} failed (${signal ?? `exit code ${status}`})`);
  return `${((performance.now() - start) / 1000).toFixed(1)} s`;
}

/** Whether the module at `url` is the script Node.js was started with. */
export function isMain(url) {
  return process.argv[1] !== undefined && fileURLToPath(url) === realpathSync(process.argv[1]);
}
