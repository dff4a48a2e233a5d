/** What both views draw with: a canvas in CSS pixels, colours by heat, text that fits. */
import { onPaletteChange, type Palette, palette } from './palette.ts';

/** Steps from cold to hot. */
export const HEATS = 6;
const SANS = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
const MONO = 'ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace';

/** Fonts: none is smaller than 12 CSS pixels. */
export const TEXT = `12px ${SANS}`;
export const BOLD = `600 13px ${SANS}`;
export const CODE = `12px ${MONO}`;
export const LARGE_CODE = `14px ${MONO}`;

/** Red, green and blue of a colour in any notation of CSS. */
type Rgb = readonly [number, number, number];

/** A canvas, its colours and its size. */
export class Brush {
  readonly canvas: HTMLCanvasElement;
  readonly context: CanvasRenderingContext2D;
  /** In CSS pixels. */
  width = 0;
  height = 0;
  palette: Palette = palette();
  /** By colour number and heat: opaque colours of fills. */
  shades: string[][] = [];
  private readonly widths = new Map<string, number>();
  private readonly stop: () => void;

  constructor(canvas: HTMLCanvasElement) {
    const context = canvas.getContext('2d', { alpha: false });
    if (context === null) throw new Error('this browser has no canvas');
    this.canvas = canvas;
    this.context = context;
    this.renewColours();
    this.stop = onPaletteChange(() => this.renewColours());
    this.resize();
    this.clear();
  }

  /** Takes the size that the page gives the canvas. @returns whether that empties it */
  resize(): boolean {
    const { canvas } = this;
    const ratio = Math.min(3, devicePixelRatio || 1);
    this.width = Math.max(1, canvas.clientWidth);
    this.height = Math.max(1, canvas.clientHeight);
    const width = Math.round(this.width * ratio);
    const height = Math.round(this.height * ratio);
    if (canvas.width === width && canvas.height === height) return false;
    canvas.width = width;
    canvas.height = height;
    return true;
  }

  /** Whether there is only the width of a phone. */
  get isNarrow(): boolean {
    return this.width < 480;
  }

  /** Begins a frame. */
  clear(): void {
    const { context, canvas, palette } = this;
    context.setTransform(canvas.width / this.width, 0, 0, canvas.height / this.height, 0, 0);
    context.globalAlpha = 1;
    context.fillStyle = palette.background;
    context.fillRect(0, 0, this.width, this.height);
    context.textBaseline = 'middle';
    context.textAlign = 'left';
    context.lineWidth = 1;
  }

  close(): void {
    this.stop();
  }

  private renewColours(): void {
    this.palette = palette();
    const { writers, surface, ink } = this.palette;
    const cold = this.rgb(surface);
    const glow = this.rgb(ink);
    this.shades = writers.map((writer) => {
      const own = this.rgb(writer);
      return Array.from({ length: HEATS }, (_, heat) => {
        const share = heat / (HEATS - 1);
        // From pale to full, and at the very end towards ink, so that what is hot stands out in every colour.
        const full = mix(cold, own, 0.42 + 0.58 * Math.min(1, share * 1.3));
        return css(share > 0.75 ? mix(full, glow, (share - 0.75) * 0.8) : full);
      });
    });
  }

  private rgb(colour: string): Rgb {
    const { context } = this;
    context.fillStyle = '#000';
    context.fillStyle = colour;
    const text = context.fillStyle;
    if (text.startsWith('#')) return [1, 3, 5].map((i) => Number.parseInt(text.slice(i, i + 2), 16)) as unknown as Rgb;
    return (text.match(/[\d.]+/g) ?? ['0', '0', '0']).slice(0, 3).map(Number) as unknown as Rgb;
  }

  /** Colour of a fill. @param heat 0 to 1 */
  shade(colour: number, heat: number): string {
    return this.shades[colour][Math.max(0, Math.min(HEATS - 1, Math.round(heat * (HEATS - 1))))];
  }

  /** Width of a text. The widths of some hundred texts are kept. */
  measure(text: string, font: string): number {
    const key = `${font}|${text}`;
    let width = this.widths.get(key);
    if (width === undefined) {
      if (this.widths.size > 800) this.widths.clear();
      this.context.font = font;
      width = this.context.measureText(text).width;
      this.widths.set(key, width);
    }
    return width;
  }

  text(text: string, x: number, y: number, colour: string, font = TEXT): void {
    const { context } = this;
    context.font = font;
    context.fillStyle = colour;
    context.fillText(text, x, y);
  }

  /** Text in the middle of a box, if it fits. */
  inBox(text: string, x: number, y: number, width: number, colour: string, font = TEXT): boolean {
    const size = this.measure(text, font);
    if (size > width - 4) return false;
    this.text(text, x + (width - size) / 2, y, colour, font);
    return true;
  }

  /** Text in the middle of the canvas, in as many lines as it takes. */
  inLines(text: string, colour: string, font: string): void {
    const lines: string[] = [];
    for (const word of text.split(' ')) {
      const longer = `${lines[lines.length - 1] ?? ''} ${word}`;
      if (lines.length > 0 && this.measure(longer, font) <= Math.min(this.width - 24, 460)) {
        lines[lines.length - 1] = longer;
      } else {
        lines.push(word);
      }
    }
    lines.forEach((line, i) => {
      this.inBox(line, 0, this.height / 2 + (i - (lines.length - 1) / 2) * 20, this.width, colour, font);
    });
  }

  /** What colours stand for, in lines that wrap. */
  keys(left: number, y: number, keys: readonly (readonly [text: string, colour: string])[]): void {
    const { context, palette } = this;
    let x = left;
    let at = y;
    for (const [text, colour] of keys) {
      const size = this.measure(text, TEXT) + 30;
      if (x > left && x + size - 12 > this.width) {
        x = left;
        at += 17;
      }
      context.lineWidth = 1;
      context.fillStyle = colour;
      context.strokeStyle = palette.line;
      this.rounded(x, at - 5, 10, 10, 3);
      context.fill();
      context.stroke();
      this.text(text, x + 15, at, palette.muted);
      x += size;
    }
  }

  /** As much of a text as fits. */
  fit(text: string, width: number, font: string): string {
    if (this.measure(text, font) <= width) return text;
    let end = Math.max(1, Math.floor((text.length * width) / this.measure(text, font)));
    while (end > 1 && this.measure(`${text.slice(0, end)}…`, font) > width) end--;
    return `${text.slice(0, end).trimEnd()}…`;
  }

  /** Text on a background of its own, so that it can be read over anything. */
  label(text: string, x: number, y: number, colour: string, font = TEXT): void {
    const { context, palette } = this;
    const width = this.measure(text, font);
    context.globalAlpha = 0.82;
    context.fillStyle = palette.background;
    context.fillRect(x - 4, y - 9, width + 8, 18);
    context.globalAlpha = 1;
    this.text(text, x, y, colour, font);
  }

  rounded(x: number, y: number, width: number, height: number, radius: number): void {
    const { context } = this;
    context.beginPath();
    context.roundRect(
      x,
      y,
      Math.max(0, width),
      Math.max(0, height),
      Math.max(0, Math.min(radius, width / 2, height / 2)),
    );
  }
}

function mix(a: Rgb, b: Rgb, share: number): Rgb {
  return [0, 1, 2].map((i) => a[i] + (b[i] - a[i]) * share) as unknown as Rgb;
}

function css([r, g, b]: Rgb): string {
  return `rgb(${Math.round(r)} ${Math.round(g)} ${Math.round(b)})`;
}

const NUMBERS = new Intl.NumberFormat('en');

/** A count, with commas. */
export function count(n: number): string {
  return NUMBERS.format(Math.round(n));
}

/** "1 leaf", "2 leaves". */
export function counted(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** Whether the reader wants things to stand still. */
export function wantsStillness(): boolean {
  return matchMedia('(prefers-reduced-motion: reduce)').matches;
}
