/** What is on a page's canvases: the words of the last whole frame, and the pixels. */
import type { BrowserContext, Page } from 'playwright-core';

/** A text that was drawn, and where, in the canvas's own units. */
export interface Word {
  readonly text: string;
  readonly x: number;
  readonly y: number;
}

/** Red, green and blue, 0 to 255. */
export type Rgb = readonly [number, number, number];

/** Pixels of a canvas, row by row. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  at(x: number, y: number): Rgb;
}

/** Has the pages of a context keep the words that they draw. A frame begins where the transformation is set. */
export async function keepWords(context: BrowserContext): Promise<void> {
  await context.addInitScript(() => {
    const kept: Record<string, { whole: Word[]; growing: Word[] }> = {};
    Object.assign(globalThis, { keptWords: kept });
    const { fillText, setTransform } = CanvasRenderingContext2D.prototype;
    const of = ({ canvas: { id } }: CanvasRenderingContext2D) => {
      kept[id] ??= { whole: [], growing: [] };
      return kept[id];
    };
    CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
      of(this).growing.push({ text, x, y });
      fillText.call(this, text, x, y);
    };
    CanvasRenderingContext2D.prototype.setTransform = function (this: CanvasRenderingContext2D, ...values: unknown[]) {
      const words = of(this);
      words.whole = words.growing;
      words.growing = [];
      setTransform.apply(this, values as never);
    };
  });
}

/** The words of a canvas's last whole frame. */
export function wordsOn(page: Page, id: string): Promise<Word[]> {
  return page.evaluate(
    (name) => (globalThis as unknown as { keptWords: Record<string, { whole: Word[] }> }).keptWords[name]?.whole ?? [],
    id,
  );
}

/** The pixels of a canvas as they are now. */
export async function pixelsOf(page: Page, selector: string): Promise<Pixels> {
  const { width, height, base64 } = await page.evaluate((name) => {
    const drawn = document.querySelector(name) as HTMLCanvasElement;
    // A copy: reading would change how the page's own canvas is kept.
    const canvas = new OffscreenCanvas(drawn.width, drawn.height);
    const context = canvas.getContext('2d', { willReadFrequently: true }) as OffscreenCanvasRenderingContext2D;
    context.drawImage(drawn, 0, 0);
    const bytes = context.getImageData(0, 0, canvas.width, canvas.height).data;
    let text = '';
    for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
    return { width: canvas.width, height: canvas.height, base64: btoa(text) };
  }, selector);
  const bytes = Buffer.from(base64, 'base64');
  return {
    width,
    height,
    at: (x, y) => {
      const i = (y * width + x) * 4;
      return [bytes[i], bytes[i + 1], bytes[i + 2]];
    },
  };
}

/** '#5aa9ff' as numbers. */
export function rgb(colour: string): Rgb {
  return [1, 3, 5].map((i) => Number.parseInt(colour.slice(i, i + 2), 16)) as unknown as Rgb;
}

/** Whether two colours are as good as the same. */
export function alike(a: Rgb, b: Rgb, tolerance = 6): boolean {
  return a.every((channel, i) => Math.abs(channel - b[i]) <= tolerance);
}

/** How many pixels satisfy a condition. */
export function countPixels(
  { width, height, at }: Pixels,
  satisfies: (colour: Rgb, x: number, y: number) => boolean,
): number {
  let n = 0;
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) if (satisfies(at(x, y), x, y)) n++;
  return n;
}
