/**
 * The lock of a log's directory: an empty file whose name says which thread has it. It is left behind when that thread or its
 * process is ended; the next one sees that its owner is no more.
 *
 * Whoever wants the lock makes a file of its own first, and then looks for those of others. So of two that come together at
 * least one sees the other, however their calls interleave; it takes its file back and tries again. And a file is removed by
 * its owner, or when its owner is dead for good. (One file for all would have to be taken away from a dead owner by somebody
 * who cannot know whether it still is that one's.)
 */
import { pause } from '../../engine/backoff.ts';
import { SabtreeError } from '../../engine/errors.ts';
import type { Files } from './files.ts';

/** What its names begin with. */
export const LOCK = 'lock-';
/** Times it is tried, after pauses of up to 1, 2, 4, ... milliseconds: others may only be trying, too. */
const TRIES = 9;

/**
 * Takes the lock. Blocks for up to half a second.
 * @param rest waits so many milliseconds. @returns what gives it back.
 * @throws ERR_LOG_IN_USE if somebody has it who lives; ERR_IO
 */
export function lockDirectory(files: Files, directory: string, rest: (ms: number) => void = pause): () => void {
  const own = files.owner();
  const path = files.join(directory, `${LOCK}${own}`);
  for (let tries = 1; ; tries++) {
    const file = files.create(path);
    // Its own name: another store of this thread, or of this process where threads cannot be told apart.
    if (file === undefined) throw inUse(directory, own);
    file.close();
    const others = files
      .list(directory)
      .filter((name) => name.startsWith(LOCK) && name !== `${LOCK}${own}`)
      .map((name) => name.slice(LOCK.length));
    const living = others.find((owner) => files.ownerLives(owner));
    if (living === undefined) {
      for (const owner of others) files.remove(files.join(directory, `${LOCK}${owner}`));
      return () => files.remove(path);
    }
    files.remove(path);
    if (tries === TRIES) throw inUse(directory, living);
    rest(Math.random() * 2 ** (tries - 1));
  }
}

function inUse(directory: string, owner: string): SabtreeError {
  const message = `${directory} is in use by process ${owner.split('.')[0]}`;
  return new SabtreeError('ERR_LOG_IN_USE', message, directory);
}
