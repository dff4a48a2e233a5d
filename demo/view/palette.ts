/**
 * Colours of the canvas views, for light and dark: the page's CSS custom properties (`--view-background`, `--view-writer-1`
 * and so on) where it sets them, ours otherwise.
 */

/** Colours, as CSS writes them. */
export interface Palette {
  readonly dark: boolean;
  readonly background: string;
  /** Bars, cells and panels. */
  readonly surface: string;
  readonly ink: string;
  /** Text that matters less. */
  readonly muted: string;
  /** Outlines and edges. */
  readonly line: string;
  /** The selection. */
  readonly focus: string;
  /** A split; a merge. */
  readonly split: string;
  readonly merge: string;
  /** A ring without room, a lost replica. */
  readonly alarm: string;
  /** Bytes of keys, of values or children, of the header. */
  readonly keys: string;
  readonly values: string;
  readonly header: string;
  /** By colour number: 0 stands for nobody, then one for each writer; WRITER_COLOURS of them. */
  readonly writers: readonly string[];
}

/** Colours for writers; with more of them colours come again. */
export const WRITER_COLOURS = 8;

/**
 * At least 3:1 against background and surface, and told apart by people with protanopia, deuteranopia and tritanopia; the
 * specification measures both.
 */
export const DARK: Palette = {
  dark: true,
  background: '#0d1320',
  surface: '#18202f',
  ink: '#e8eef9',
  muted: '#9aa7bd',
  line: '#3b475e',
  focus: '#ffffff',
  split: '#fff3b0',
  merge: '#ff8fd0',
  alarm: '#ff6b6b',
  keys: '#8fd3ff',
  values: '#b9f2c6',
  header: '#ffd48a',
  writers: ['#66738b', '#5aa9ff', '#ff9f40', '#a4ffd4', '#ff007a', '#f5ff77', '#1d65fc', '#9e5c17', '#d7c6ff'],
};

export const LIGHT: Palette = {
  dark: false,
  background: '#ffffff',
  surface: '#f1f4f9',
  ink: '#131a26',
  muted: '#556179',
  line: '#c3ccda',
  focus: '#131a26',
  split: '#8a5a00',
  merge: '#a3127c',
  alarm: '#c3131f',
  keys: '#00548f',
  values: '#1c6b2f',
  header: '#8a4b00',
  writers: ['#7f8a9c', '#0a66d0', '#c65300', '#7e0038', '#a37094', '#084f6f', '#8381da', '#6000a7', '#a50000'],
};

/** Whether the page is dark: as its `color-scheme` says, or else the system. */
function isDark(): boolean {
  const scheme = getComputedStyle(document.documentElement).colorScheme;
  if (scheme === 'dark' || scheme === 'only dark') return true;
  if (scheme === 'light' || scheme === 'only light') return false;
  return matchMedia('(prefers-color-scheme: dark)').matches;
}

/** The colours to draw with now. Costs some microseconds: keep them until `onPaletteChange` calls. */
export function palette(): Palette {
  const dark = isDark();
  const ours = dark ? DARK : LIGHT;
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string, otherwise: string) => style.getPropertyValue(`--view-${name}`).trim() || otherwise;
  return {
    dark,
    background: colour('background', ours.background),
    surface: colour('surface', ours.surface),
    ink: colour('ink', ours.ink),
    muted: colour('muted', ours.muted),
    line: colour('line', ours.line),
    focus: colour('focus', ours.focus),
    split: colour('split', ours.split),
    merge: colour('merge', ours.merge),
    alarm: colour('alarm', ours.alarm),
    keys: colour('keys', ours.keys),
    values: colour('values', ours.values),
    header: colour('header', ours.header),
    writers: ours.writers.map((otherwise, i) => colour(i === 0 ? 'nobody' : `writer-${i}`, otherwise)),
  };
}

/**
 * Calls back when the colours may have changed: the system's scheme, or class, style or data-theme of the page's root.
 * @returns a function that ends it.
 */
export function onPaletteChange(listener: () => void): () => void {
  const media = matchMedia('(prefers-color-scheme: dark)');
  const observer = new MutationObserver(listener);
  media.addEventListener('change', listener);
  observer.observe(document.documentElement, { attributes: true, attributeFilter: ['class', 'style', 'data-theme'] });
  return () => {
    media.removeEventListener('change', listener);
    observer.disconnect();
  };
}

/** The colour number of a writer, from 0 on. */
export function colourNumber(writer: number): number {
  return (writer % WRITER_COLOURS) + 1;
}
