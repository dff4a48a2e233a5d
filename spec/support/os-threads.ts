/** How many threads this process has, as the operating system counts them: those that its workers started too. */
import { pbkdf2Sync, pbkdf2 as slow } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { promisify } from 'node:util';
import { until } from './stores.ts';

/** Threads of this process; undefined where it cannot be told. */
function threadCount(): number | undefined {
  try {
    return readdirSync('/proc/self/task').length;
  } catch {
    return undefined;
  }
}

/** Watches that what a test started has ended. Call `begin` before it, `end` behind it. */
export class ThreadWatch {
  private before: number | undefined;

  /** Notes how many threads there are. */
  async begin(): Promise<void> {
    // Threads that the runtime starts once, when they are first needed, are no test's.
    pbkdf2Sync('', '', 1, 1, 'sha1');
    await Promise.all(Array.from({ length: 16 }, () => promisify(slow)('', '', 1000, 8, 'sha1')));
    this.before = threadCount();
  }

  /** Threads more than at the beginning; 0 where it cannot be told. */
  get more(): number {
    return (threadCount() ?? 0) - (this.before ?? 0);
  }

  /** Whether they can be counted here. */
  get counts(): boolean {
    return this.before !== undefined;
  }

  /** Fails if a thread more is left. */
  async end(): Promise<void> {
    await until(`no thread left (${this.more} more than before)`, () => this.more <= 0, 5000);
  }
}
