/**
 * The table of IPv4 ranges as bytes: for each range the gap since the last one's end and its length, as numbers of seven bits
 * to a byte, then the country's two letters. A sixth of the text.
 */

/** One row of the table: addresses from `start` to `end`, both included. */
export interface IpRange {
  readonly start: number;
  readonly end: number;
  /** ISO 3166-1, two letters. */
  readonly country: string;
}

/** The text's rows ("16777216,16777471,AU") as bytes. @throws if they are not in order */
export function packRanges(text: string): Uint8Array {
  const bytes: number[] = [];
  const put = (value: number) => {
    let rest = value;
    for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
    bytes.push(rest);
  };
  let next = 0;
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const [start, end, country] = line.split(',');
    if (!(Number(start) >= next && Number(end) >= Number(start))) throw new Error(`not in order: ${line}`);
    put(Number(start) - next);
    put(Number(end) - Number(start));
    bytes.push(country.charCodeAt(0), country.charCodeAt(1));
    next = Number(end) + 1;
  }
  return Uint8Array.from(bytes);
}

/** The ranges of such bytes, in order. */
export function* unpackRanges(bytes: Uint8Array): Generator<IpRange> {
  let at = 0;
  const take = () => {
    let value = 0;
    for (let unit = 1; ; unit *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * unit;
      if (byte < 128) return value;
    }
  };
  for (let next = 0; at < bytes.length; ) {
    const start = next + take();
    const end = start + take();
    yield { start, end, country: String.fromCharCode(bytes[at], bytes[at + 1]) };
    at += 2;
    next = end + 1;
  }
}

/** '1.2.3.4' as a number; undefined if it is no such address. */
export function addressOf(text: string): number | undefined {
  const parts = text.trim().split('.');
  if (parts.length !== 4 || !parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) < 256)) return undefined;
  return parts.reduce((number, part) => number * 256 + Number(part), 0);
}

/** A number as '1.2.3.4'. */
export function addressText(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
}
