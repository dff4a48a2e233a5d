/** Progress on standard error: a bar on a terminal, a line now and then elsewhere. */

const WIDTH = 30;

/** How far a piece of work is. */
export interface Look {
  /** From 0 to 1. */
  readonly done: number;
  /** A few words beside it. */
  readonly note: string;
}

/** Shows how far a piece of work is, until `stop`. Draws from a timer: work in this thread has to pause now and then. */
export class Progress {
  private readonly label: string;
  private readonly look: () => Look;
  private readonly timer: ReturnType<typeof setInterval>;

  /** @param interval milliseconds between two lines where standard error is no terminal. */
  constructor(label: string, look: () => Look, interval = 1000) {
    this.label = label.padEnd(7);
    this.look = look;
    this.timer = setInterval(() => this.draw(), process.stderr.isTTY ? 100 : interval);
  }

  /** Writes a line of text; on a terminal the bar moves below it. */
  say(text: string): void {
    process.stderr.write(process.stderr.isTTY ? `\r\x1b[2K${text}\n` : `${text}\n`);
  }

  private draw(): void {
    const { done, note } = this.look();
    const share = Math.max(0, Math.min(1, done));
    const percent = `${String(Math.floor(share * 100)).padStart(3)} %`;
    if (!process.stderr.isTTY) {
      process.stderr.write(`${this.label}${percent}  ${note}\n`);
      return;
    }
    const filled = Math.round(share * WIDTH);
    const text = `${this.label} ${'█'.repeat(filled)}${'░'.repeat(WIDTH - filled)} ${percent}  ${note}`;
    // A line that wraps could not be drawn over.
    process.stderr.write(`\r\x1b[2K${text.slice(0, Math.max(1, (process.stderr.columns || 80) - 1))}`);
  }

  /** Draws the last state and ends the line. */
  stop(): void {
    clearInterval(this.timer);
    this.draw();
    if (process.stderr.isTTY) process.stderr.write('\n');
  }
}
