/**
 * The lock of a log's directory: a file that names the thread that has it. It is left behind when that thread or its
 * process is ended; the next one sees that its owner is no more, and pushes it aside.
 */
import { SabtreeError } from '../../engine/errors.ts';
import type { Files } from './files.ts';

/** Its name. */
export const LOCK = 'lock';

function read(files: Files, path: string): string | undefined {
  try {
    const file = files.open(path);
    try {
      const bytes = new Uint8Array(Math.min(file.size(), 4096));
      return new TextDecoder().decode(bytes.subarray(0, file.read(bytes, 0)));
    } finally {
      file.close();
    }
  } catch {
    // Somebody pushed it aside meanwhile.
    return undefined;
  }
}

/**
 * Takes the lock.
 * @returns what gives it back.
 * @throws ERR_LOG_IN_USE if its owner lives; ERR_IO
 */
export function lockDirectory(files: Files, directory: string): () => void {
  const path = files.join(directory, LOCK);
  const own = files.owner();
  const aside = files.join(directory, `${LOCK}-${Math.random().toString(36).slice(2)}.tmp`);
  for (let tries = 0; ; tries++) {
    const file = files.create(path);
    if (file !== undefined) {
      try {
        file.write(new TextEncoder().encode(own));
      } finally {
        file.close();
      }
      return () => {
        if (read(files, path) === own) files.remove(path);
      };
    }
    const owner = read(files, path);
    if (owner === undefined) continue;
    // One that is being written has no owner yet; its writer needs microseconds.
    const unnamed = owner === '' && tries < 1000;
    if (unnamed) continue;
    if (owner !== '' && files.ownerLives(owner)) {
      throw new SabtreeError('ERR_LOG_IN_USE', `${directory} is in use by process ${owner.split(' ')[0]}`, directory);
    }
    // Two may push at the same time: what each moved away is what it saw, or it is moved back.
    if (!files.rename(path, aside)) continue;
    const moved = read(files, aside);
    if (moved !== owner && moved !== undefined && files.ownerLives(moved)) {
      files.rename(aside, path);
      continue;
    }
    files.remove(aside);
  }
}
