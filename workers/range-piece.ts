/** What an ordered range answers at one place of the order. */
export class RangePiece {
  readonly entries: [unknown, unknown][];
  /** Whether the range goes on behind the last entry. */
  readonly more: boolean;

  constructor(entries: [unknown, unknown][], more: boolean) {
    this.entries = entries;
    this.more = more;
  }
}
