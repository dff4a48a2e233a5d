/** The box that answers which country an address belongs to: a tree of its own, read while the load runs. */
import { SharedTree } from 'sabtree';
import { addressOf, addressText, unpackRanges } from './ip-ranges.ts';

const names = new Intl.DisplayNames(['en'], { type: 'region' });

/** The country's name. */
function nameOf(country: string): string {
  try {
    return names.of(country) ?? country;
  } catch {
    return country;
  }
}

/** The table in a shared tree: under the first address of each range its last one, and the country. */
export class Countries {
  private readonly tree: SharedTree;
  /** Ranges there are. */
  readonly ranges: number;

  private constructor(bytes: Uint8Array) {
    this.tree = SharedTree.create({ key: 'u32', value: 'f64', memory: '16MB' });
    // A whole number of 48 bits holds both: the last address, and behind it the two letters.
    this.ranges = this.tree.bulkLoad(
      (function* () {
        for (const { start, end, country } of unpackRanges(bytes)) {
          yield [start, end * 65536 + country.charCodeAt(0) * 256 + country.charCodeAt(1)] as const;
        }
      })(),
    );
  }

  /** Brings the table. @throws if it is not there */
  static async load(url: URL): Promise<Countries> {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`${url.pathname}: ${answer.status}`);
    return new Countries(new Uint8Array(await answer.arrayBuffer()));
  }

  /** Which range an address is in. */
  find(address: number): { readonly country: string; readonly from: string; readonly to: string } | undefined {
    const found = this.tree.floor(address);
    if (found === undefined) return undefined;
    const [start, packed] = found;
    const end = Math.floor(packed / 65536);
    if (address > end) return undefined;
    const country = String.fromCharCode(Math.floor(packed / 256) % 256, packed % 256);
    return { country, from: addressText(start), to: addressText(end) };
  }
}

/** Makes the box answer. */
export function bindLookup(input: HTMLInputElement, output: HTMLElement, countries: Countries): void {
  const answer = () => {
    const text = input.value;
    if (text.trim() === '') {
      output.textContent = `${countries.ranges.toLocaleString('en')} ranges of IPv4 addresses`;
      output.removeAttribute('data-country');
      return;
    }
    // While one types, the address is filled up with zeros.
    const parts = text.trim().replace(/\.$/, '').split('.');
    const address = parts.length <= 4 ? addressOf([...parts, '0', '0', '0'].slice(0, 4).join('.')) : undefined;
    if (address === undefined) {
      output.textContent = 'not an IPv4 address';
      output.removeAttribute('data-country');
      return;
    }
    // A clock of a page may be as coarse as 5 µs: many lookups are timed, and their mean is shown.
    const rounds = 200;
    const start = performance.now();
    let found = countries.find(address);
    for (let i = 1; i < rounds; i++) found = countries.find(address);
    const micros = ((performance.now() - start) * 1000) / rounds;
    output.dataset.country = found?.country ?? '';
    const time = `${micros < 10 ? micros.toFixed(1) : Math.round(micros)} µs`;
    output.textContent =
      found === undefined
        ? `${addressText(address)}: in no range · ${time}`
        : `${nameOf(found.country)} (${found.country}) · ${found.from} to ${found.to} · ${time}`;
  };
  input.addEventListener('input', answer);
  input.disabled = false;
  answer();
}
