/**
 * One installation or build at a time, also between processes. The lock is a folder in the repository's root, because
 * creating a folder either succeeds or fails for everyone, and because node_modules is itself replaced under the lock.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, say } from './steps.mjs';

const LOCK = join(ROOT, '.sabtree-lock');
const OWNER = join(LOCK, 'owner');

/** A holder this old is taken for hung even if its process is alive. */
const HELD_TOO_LONG_MS = 15 * 60_000;
/** Between creating the folder and naming the owner a holder needs a moment, but never this long. */
const UNNAMED_TOO_LONG_MS = 10_000;
const POLL_MS = 100;

function alive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** The holder's process id (0: not named yet), its age, and whether it may be pushed aside; undefined: nobody holds. */
function holder() {
  try {
    const age = Date.now() - statSync(LOCK).mtimeMs;
    let pid = 0;
    try {
      pid = Number(readFileSync(OWNER, 'utf8')) || 0;
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
    }
    const stale = pid === 0 ? age > UNNAMED_TOO_LONG_MS : !alive(pid) || age > HELD_TOO_LONG_MS;
    return { pid, stale };
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Removes a lock whose holder died. Renaming first lets only one of several waiters do it. */
function pushAside() {
  const aside = `${LOCK}.${process.pid}`;
  try {
    renameSync(LOCK, aside);
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  rmSync(aside, { recursive: true, force: true });
}

/** Runs `work` while no other process runs any; waits for its turn. */
export async function alone(work) {
  let told = false;
  for (;;) {
    try {
      mkdirSync(LOCK);
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const found = holder();
    if (found?.stale) {
      pushAside();
      continue;
    }
    if (!told && found !== undefined) {
      say(`waiting for another build${found.pid ? ` (process ${found.pid})` : ''}`);
      told = true;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  try {
    writeFileSync(OWNER, String(process.pid));
    return await work();
  } finally {
    rmSync(LOCK, { recursive: true, force: true });
  }
}
