/** Folders for snapshots and logs, and looking at what is in them. */
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { FileSource } from '../../dist/workers/durable/files.js';
import { files } from '../../dist/workers/durable/files-node.js';
import { type Frame, readFrame } from '../../dist/workers/durable/frames.js';
import { LOCK } from '../../dist/workers/durable/lock.js';

const made: string[] = [];

afterAll(() => {
  for (const path of made) rmSync(path, { recursive: true, force: true });
});

/** A folder of its own, removed at the end of the file. */
export function folder(name: string): string {
  const path = mkdtempSync(join(tmpdir(), `sabtree-${name}-`));
  made.push(path);
  return path;
}

/** The files of a folder by which a store has it. */
export function locksIn(path: string): string[] {
  return readdirSync(path).filter((name) => name.startsWith(LOCK));
}

/** A copy of a folder's files as they are now, without the lock. */
export function copyOf(path: string): string {
  const copy = folder('copy');
  for (const name of readdirSync(path)) {
    if (!name.startsWith(LOCK)) copyFileSync(join(path, name), join(copy, name));
  }
  return copy;
}

/** Names and contents of a folder's files. */
export function contents(path: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(path)
      .sort()
      .map((name) => [name, readFileSync(join(path, name)).toString('base64')]),
  );
}

/** The newest segment of a log. */
export function newestSegment(path: string): string {
  const names = readdirSync(path).filter((name) => name.startsWith('log-'));
  return join(path, names.sort().at(-1) as string);
}

/** All frames of a file. */
export function framesOf(path: string): Omit<Frame, 'body'>[] {
  const source = new FileSource(files, path);
  const frames: Omit<Frame, 'body'>[] = [];
  for (let at = 0; ; ) {
    const frame = readFrame(source, at);
    if (frame === undefined) break;
    const { kind, sequence, safe, end } = frame;
    frames.push({ kind, sequence, safe, at, end });
    at = end;
  }
  source.close();
  return frames;
}
