/** Progress on standard error: a bar on a terminal, a line now and then elsewhere. */

const WIDTH = 30;

/** Shows how far a piece of work is, until `stop`. */
export class Progress {
  private readonly label: string;
  private readonly look: () => { done: number; note: string };
  private readonly timer: ReturnType<typeof setInterval>;

  /** @param look tells how much is done, 0 to 1, and a few words beside it. */
  constructor(label: string, look: () => { done: number; note: string }) {
    this.label = label;
    this.look = look;
    this.timer = setInterval(() => this.draw(), process.stderr.isTTY ? 100 : 1000);
  }

  private draw(): void {
    const { done, note } = this.look();
    const share = Math.max(0, Math.min(1, done));
    const filled = Math.round(share * WIDTH);
    const bar = `${'█'.repeat(filled)}${'░'.repeat(WIDTH - filled)}`;
    const text = `${this.label.padEnd(7)} ${bar} ${String(Math.floor(share * 100)).padStart(3)} %  ${note}`;
    process.stderr.write(process.stderr.isTTY ? `\r\x1b[2K${text}` : `${text}\n`);
  }

  /** Draws the last state and ends the line. */
  stop(): void {
    clearInterval(this.timer);
    this.draw();
    if (process.stderr.isTTY) process.stderr.write('\n');
  }
}
