/**
 * The files that snapshots and the log need, so that what they do with them can be tried out on disks that tests make up.
 * All calls block; those that fail throw ERR_IO.
 */

/** A file that is open. */
export interface OpenFile {
  readonly path: string;
  /** Bytes in it now. */
  size(): number;
  /** Reads up to `into.length` bytes from `at` on; bytes read, fewer only at the end. */
  read(into: Uint8Array, at: number): number;
  /** Appends all of `bytes`. */
  write(bytes: Uint8Array): void;
  /** Returns once everything written is on the disk. */
  sync(): void;
  close(): void;
}

/** What may be done with directories and files. Paths are those of the platform. */
export interface Files {
  join(directory: string, name: string): string;
  /** A path as it is, or the one that a file URL stands for. @throws ERR_UNSUPPORTED where there are no files */
  pathOf(path: string | URL): string;
  /** The directory a path is in. */
  parent(path: string): string;
  /** Makes a directory, and those above it, where there is none. */
  makeDirectory(path: string): void;
  /** Names in a directory; none if it is not there. */
  list(directory: string): string[];
  /** Opens a file that must not be there yet, for appending. @returns undefined if it is there */
  create(path: string): OpenFile | undefined;
  open(path: string): OpenFile;
  /** Replaces what `to` names, if anything, in one step. False if `from` is not there. */
  rename(from: string, to: string): boolean;
  /** Removes a file if it is there. */
  remove(path: string): void;
  /** Cuts a file to its first bytes; on the disk when it returns. */
  truncate(path: string, bytes: number): void;
  /** Returns once the names in a directory are on the disk. */
  syncDirectory(path: string): void;
  /**
   * A text that tells this thread from every other one that ever was on this machine; it can be part of a file's name, and
   * begins with the process's number, ended by a dot or the end.
   */
  owner(): string;
  /** Whether the thread of such a text may still live. */
  ownerLives(owner: string): boolean;
}

/** Bytes to be read at any place. */
export interface Source {
  /** What it is called in messages. */
  readonly name: string;
  readonly size: number;
  /** `length` bytes from `at` on, all of which are there; to be used before the next call. */
  bytes(at: number, length: number): Uint8Array;
  close(): void;
}

/** Bytes that are in memory. */
export class MemorySource implements Source {
  readonly name: string;
  private readonly content: Uint8Array;

  constructor(content: Uint8Array, name = 'the snapshot given') {
    this.content = content;
    this.name = name;
  }

  get size(): number {
    return this.content.length;
  }

  bytes(at: number, length: number): Uint8Array {
    return this.content.subarray(at, at + length);
  }

  close(): void {}
}

/** Bytes read ahead at once. */
const WINDOW = 1 << 20;

/** A file, read piece by piece. */
export class FileSource implements Source {
  readonly name: string;
  readonly size: number;
  private readonly file: OpenFile;
  private window: Uint8Array = new Uint8Array(WINDOW);
  private from = 0;
  private to = 0;

  /** @param size bytes that count, if not all of them do. */
  constructor(files: Files, path: string, size?: number) {
    this.name = path;
    this.file = files.open(path);
    this.size = size ?? this.file.size();
  }

  bytes(at: number, length: number): Uint8Array {
    if (at < this.from || at + length > this.to) {
      if (length > this.window.length) this.window = new Uint8Array(length);
      const most = Math.min(this.window.length, this.size - at);
      this.from = at;
      this.to = at;
      const read = this.file.read(this.window.subarray(0, most), at);
      // A file that became shorter while it was read: what is missing cannot be right.
      this.window.fill(0, read, most);
      this.to = at + most;
    }
    return this.window.subarray(at - this.from, at - this.from + length);
  }

  close(): void {
    this.file.close();
  }
}
