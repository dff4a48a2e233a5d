/**
 * A disk that forgets. Files and names are on it for good only once they were synced; a loss of power keeps that, and of the
 * rest whatever it likes: names up to some point of their history, and of bytes some sectors and not others. Any call can
 * be the last one, and be done in part.
 */
import type { Files, OpenFile } from '../../dist/workers/durable/files.js';
import type { Random } from './random.ts';

/** The process or the machine stopped here. */
export class Stopped extends Error {}

const SECTOR = 512;

class Inode {
  bytes = new Uint8Array(0);
  /** Bytes from the start that are on the disk for good. */
  safe = 0;

  append(more: Uint8Array): void {
    const bytes = new Uint8Array(this.bytes.length + more.length);
    bytes.set(this.bytes);
    bytes.set(more, this.bytes.length);
    this.bytes = bytes;
  }

  /** What is left of it after a loss of power. */
  after(random: Random): Inode {
    const left = new Inode();
    const end = this.safe + random.below(this.bytes.length - this.safe + 1);
    left.bytes = this.bytes.slice(0, random.chance(0.3) ? this.bytes.length : end);
    // Sectors may have come to the disk in any order.
    if (random.chance(0.5)) {
      for (let at = this.safe; at < left.bytes.length; at += SECTOR) {
        const sectorEnd = Math.min(left.bytes.length, (Math.floor(at / SECTOR) + 1) * SECTOR);
        if (random.chance(0.3)) left.bytes.fill(0, at, sectorEnd);
      }
    }
    left.safe = left.bytes.length;
    return left;
  }
}

type Names = Map<string, Inode>;

export class Disk implements Files {
  /** Calls that change anything, so far. */
  calls = 0;
  /** The number of the call that is the last one. */
  lastCall = Number.POSITIVE_INFINITY;
  /** The next sync fails with this. */
  failNextSync: string | undefined;
  private names: Names;
  /** Names that are there for good, and what was done to names since, in order. */
  private safeNames: Names;
  private pending: ((names: Names) => void)[] = [];
  private readonly random: Random;

  constructor(random: Random, names: Names = new Map()) {
    this.random = random;
    this.names = names;
    this.safeNames = new Map(names);
  }

  /** The disk as the next process finds it, if this one was killed: everything that the system was given. */
  afterKill(): Disk {
    const names: Names = new Map();
    for (const [name, inode] of this.names) {
      const copy = new Inode();
      copy.bytes = inode.bytes.slice();
      // Nobody has synced it yet; the machine still may stop.
      copy.safe = inode.safe;
      names.set(name, copy);
    }
    return new Disk(this.random, names);
  }

  /** The disk as the next process finds it, if the machine lost power. */
  afterPowerLoss(): Disk {
    const names: Names = new Map(this.safeNames);
    const done = this.random.below(this.pending.length + 1);
    for (const change of this.pending.slice(0, done)) change(names);
    const left: Names = new Map();
    for (const [name, inode] of names) left.set(name, inode.after(this.random));
    return new Disk(this.random, left);
  }

  /** The content of all files, by name. */
  contents(): Map<string, Uint8Array> {
    return new Map([...this.names].map(([name, { bytes }]) => [name, bytes.slice()]));
  }

  /** Changes a byte of a file where it lies. */
  damage(path: string, at: number): void {
    (this.names.get(path) as Inode).bytes[at] ^= 1 << this.random.below(8);
  }

  private call(): void {
    if (this.calls >= this.lastCall) throw new Stopped(`call ${this.calls}`);
    this.calls++;
  }

  private change(apply: (names: Names) => void): void {
    this.call();
    apply(this.names);
    this.pending.push(apply);
  }

  join(directory: string, name: string): string {
    return `${directory}/${name}`;
  }

  pathOf(url: URL): string {
    return url.pathname;
  }

  parent(path: string): string {
    return path.slice(0, path.lastIndexOf('/'));
  }

  makeDirectory(): void {}

  list(directory: string): string[] {
    return [...this.names.keys()]
      .filter((name) => name.startsWith(`${directory}/`))
      .map((name) => name.slice(directory.length + 1));
  }

  create(path: string): OpenFile | undefined {
    if (this.names.has(path)) return undefined;
    const inode = new Inode();
    this.change((names) => names.set(path, inode));
    return this.handle(path, inode);
  }

  open(path: string): OpenFile {
    const inode = this.names.get(path);
    if (inode === undefined) throw new Error(`${path} is not there`);
    return this.handle(path, inode);
  }

  private handle(path: string, inode: Inode): OpenFile {
    return {
      path,
      size: () => inode.bytes.length,
      read(into, at) {
        const part = inode.bytes.subarray(at, at + into.length);
        into.set(part);
        return part.length;
      },
      write: (bytes) => {
        // The last call is done in part.
        if (this.calls >= this.lastCall) inode.append(bytes.subarray(0, this.random.below(bytes.length + 1)));
        this.call();
        inode.append(bytes);
      },
      sync: () => {
        const { failNextSync } = this;
        this.failNextSync = undefined;
        if (failNextSync !== undefined) throw new Error(failNextSync);
        this.call();
        inode.safe = inode.bytes.length;
      },
      close() {},
    };
  }

  rename(from: string, to: string): boolean {
    const inode = this.names.get(from);
    if (inode === undefined) return false;
    this.change((names) => {
      names.delete(from);
      names.set(to, inode);
    });
    return true;
  }

  remove(path: string): void {
    if (this.names.has(path)) this.change((names) => names.delete(path));
  }

  truncate(path: string, bytes: number): void {
    this.call();
    const inode = this.names.get(path) as Inode;
    inode.bytes = inode.bytes.slice(0, bytes);
    inode.safe = bytes;
  }

  syncDirectory(): void {
    this.call();
    this.safeNames = new Map(this.names);
    this.pending = [];
  }

  owner(): string {
    return 'me';
  }

  ownerLives(): boolean {
    return false;
  }
}
