/** IP ranges: the input of `sabtree run`, as rows of a CSV and as records of a tree. */
import { chars, object, u32 } from 'typed-binary';

/** A stored range, under the key of its first address: last address and country. */
export const rangeSchema = object({ end: u32, country: chars(2) });

/** What `rangeSchema` stores. */
export interface RangeValue {
  readonly end: number;
  readonly country: string;
}

/** Ranges by column, ascending by start. */
export interface Ranges {
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
  /** Two letters each. */
  readonly countries: readonly string[];
}

/** An input that cannot be used; where it is a row, the message names its line. */
export class InputError extends Error {}

/** A column's name in a header: no address begins like that, not even one of IPv6. */
const NAME = /^[a-z_][\w .-]*$/i;

/** An address: a number, or dotted. Undefined if it is neither. */
function address(text: string): number | undefined {
  if (/^\d{1,10}$/.test(text)) {
    const value = Number(text);
    return value <= 0xffffffff ? value : undefined;
  }
  const dotted = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (dotted === null) return undefined;
  let value = 0;
  for (let i = 1; i <= 4; i++) {
    const part = Number(dotted[i]);
    if (part > 255) return undefined;
    value = value * 256 + part;
  }
  return value;
}

/**
 * Reads rows `start,end,country`: IPv4 addresses as numbers or dotted, two ASCII letters; further columns are ignored. The
 * first line may be a header of names. Rows may come in any order; ranges must not overlap.
 * @throws InputError naming the line.
 */
export function parseRanges(text: string): Ranges {
  const rows: { start: number; end: number; country: string; line: number }[] = [];
  const lines = text.replace(/^\ufeff/, '').split(/\r?\n/);
  let first = true;
  for (let i = 0; i < lines.length; i++) {
    if (lines[i].trim() === '') continue;
    const cells = lines[i].split(',').map((cell) => cell.trim().replace(/^"(.*)"$/, '$1'));
    const isHeader = first && cells.length > 1 && NAME.test(cells[0]) && NAME.test(cells[1]);
    first = false;
    if (isHeader) continue;
    const start = address(cells[0]);
    const end = address(cells[1] ?? '');
    const country = cells[2] ?? '';
    if (start === undefined || end === undefined) {
      throw new InputError(
        `line ${i + 1}: expected start,end,country with two IPv4 addresses, got ${JSON.stringify(lines[i].slice(0, 80))}`,
      );
    }
    if (!/^[A-Za-z]{2}$/.test(country)) {
      throw new InputError(
        `line ${i + 1}: expected a country of two letters, got ${JSON.stringify(country.slice(0, 20))}`,
      );
    }
    if (end < start) throw new InputError(`line ${i + 1}: the range ends (${end}) before it starts (${start})`);
    rows.push({ start, end, country, line: i + 1 });
  }
  if (rows.length === 0) throw new InputError('no rows: expected lines of start,end,country');
  rows.sort((a, b) => a.start - b.start);
  for (let i = 1; i < rows.length; i++) {
    if (rows[i].start <= rows[i - 1].end) {
      throw new InputError(`line ${rows[i].line}: the range overlaps that of line ${rows[i - 1].line}`);
    }
  }
  return {
    starts: Uint32Array.from(rows, (row) => row.start),
    ends: Uint32Array.from(rows, (row) => row.end),
    countries: rows.map((row) => row.country),
  };
}
