/** Files and directories of Node.js. */
import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SabtreeError } from '../../engine/errors.ts';
import type { Files, OpenFile } from './files.ts';

/** Does something to a file; what the system says against it becomes ERR_IO. */
function attempt<T>(path: string, act: () => T): T {
  try {
    return act();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new SabtreeError('ERR_IO', `${path}: ${message}`, { file: path, code }, { cause });
  }
}

function codeOf(error: unknown): string | undefined {
  return ((error as Error).cause as NodeJS.ErrnoException | undefined)?.code;
}

class NodeFile implements OpenFile {
  readonly path: string;
  private readonly handle: number;

  constructor(path: string, handle: number) {
    this.path = path;
    this.handle = handle;
  }

  size(): number {
    return attempt(this.path, () => fstatSync(this.handle).size);
  }

  read(into: Uint8Array, at: number): number {
    let done = 0;
    while (done < into.length) {
      const read = attempt(this.path, () => readSync(this.handle, into, done, into.length - done, at + done));
      if (read === 0) break;
      done += read;
    }
    return done;
  }

  write(bytes: Uint8Array): void {
    let done = 0;
    while (done < bytes.length) {
      // Null: where the last write ended.
      done += attempt(this.path, () => writeSync(this.handle, bytes, done, bytes.length - done, null));
    }
  }

  sync(): void {
    attempt(this.path, () => fdatasyncSync(this.handle));
  }

  close(): void {
    attempt(this.path, () => closeSync(this.handle));
  }
}

/** The kernel's word on when a thread began, which with its number is unique as long as the machine runs; '' if it has none. */
function beginningOf(pid: string, thread: string): string {
  try {
    const text = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
    // The name before it may have blanks and brackets of its own.
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}

function bootOf(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return '';
  }
}

export const files: Files = {
  join,
  pathOf: (path) => (typeof path === 'string' ? path : fileURLToPath(path)),
  parent: (path) => dirname(resolve(path)),

  makeDirectory(path) {
    const made = attempt(path, () => mkdirSync(path, { recursive: true }));
    if (made === undefined) return;
    // From the first one that was missing on, all of their names have to be on the disk too.
    for (let at = resolve(path); ; at = dirname(at)) {
      files.syncDirectory(dirname(at));
      if (at === resolve(made)) break;
    }
  },

  list(directory) {
    try {
      return attempt(directory, () => readdirSync(directory));
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return [];
      throw error;
    }
  },

  create(path) {
    try {
      return new NodeFile(
        path,
        attempt(path, () => openSync(path, 'ax')),
      );
    } catch (error) {
      if (codeOf(error) === 'EEXIST') return undefined;
      throw error;
    }
  },

  open: (path) =>
    new NodeFile(
      path,
      attempt(path, () => openSync(path, 'r')),
    ),

  rename(from, to) {
    try {
      attempt(from, () => renameSync(from, to));
      return true;
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return false;
      throw error;
    }
  },

  remove(path) {
    attempt(path, () => rmSync(path, { force: true }));
  },

  truncate(path, bytes) {
    attempt(path, () => {
      const handle = openSync(path, 'r+');
      try {
        ftruncateSync(handle, bytes);
        fsyncSync(handle);
      } finally {
        closeSync(handle);
      }
    });
  },

  syncDirectory(path) {
    // Windows opens no directories, and needs none brought to the disk.
    if (process.platform === 'win32') return;
    attempt(path, () => {
      const handle = openSync(path, 'r');
      try {
        fsyncSync(handle);
      } finally {
        closeSync(handle);
      }
    });
  },

  owner() {
    try {
      const [pid, , thread] = readlinkSync('/proc/thread-self').split('/');
      return [pid, thread, beginningOf(pid, thread), bootOf()].join('.');
    } catch {
      // Not Linux: the process's number is all there is.
      return String(process.pid);
    }
  },

  ownerLives(owner) {
    const [pid, thread, began, boot] = owner.split('.');
    if (thread !== undefined) return boot === bootOf() && began !== '' && beginningOf(pid, thread) === began;
    const number = Number(pid);
    if (!Number.isInteger(number) || number <= 0) return false;
    try {
      process.kill(number, 0);
      return true;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'EPERM';
    }
  },
};
