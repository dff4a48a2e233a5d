/** Where a tree's nodes stand in a picture: rows, bars, columns where there are too many for bars, and what is seen of it all. */
import { WRITER_COLOURS } from './palette.ts';

/** What is seen, in leaves: from the left edge to the right one. */
export interface Camera {
  readonly from: number;
  readonly to: number;
}

/** One level's row. */
export interface Row {
  readonly level: number;
  readonly y: number;
  readonly height: number;
}

/** Fewest leaves that can be seen at a time. */
export const CLOSEST = 1.25;
/** Pixels of a column, where nodes are too narrow for a bar each. */
export const COLUMN = 2;

/** The whole tree. */
export function everything(leaves: number): Camera {
  // Few leaves do not fill the width: a bar as wide as the page says nothing.
  const spare = Math.max(0, 6 - leaves) / 2;
  return { from: 0 - spare, to: leaves + spare };
}

/** Whether all of the tree is seen. */
export function seesAll(camera: Camera, leaves: number): boolean {
  const all = everything(leaves);
  return camera.from <= all.from + 1e-6 && camera.to >= all.to - 1e-6;
}

/** As close to a camera as the tree allows. */
export function clamped(camera: Camera, leaves: number): Camera {
  const all = everything(leaves);
  const width = Math.max(CLOSEST, Math.min(camera.to - camera.from, all.to - all.from));
  const middle = (camera.from + camera.to) / 2;
  const from = Math.max(all.from, Math.min(middle - width / 2, all.to - width));
  return { from, to: from + width };
}

/** Closer by a factor, with the point at a share of the width standing still. */
export function zoomed(camera: Camera, factor: number, share: number, leaves: number): Camera {
  const all = everything(leaves);
  const before = camera.to - camera.from;
  const width = Math.max(CLOSEST, Math.min(before / factor, all.to - all.from));
  const from = camera.from + share * (before - width);
  return clamped({ from, to: from + width }, leaves);
}

/** Part of the way from one camera to another, evenly to the eye: by factors in size. */
export function between(a: Camera, b: Camera, share: number): Camera {
  if (share >= 1) return b;
  const wa = a.to - a.from;
  const wb = b.to - b.from;
  const width = wa * (wb / wa) ** share;
  // The centre moves as fast as what is seen of it allows.
  const t = Math.abs(wb - wa) < 1e-9 ? share : (width - wa) / (wb - wa);
  const middle = ((a.from + a.to) / 2) * (1 - t) + ((b.from + b.to) / 2) * t;
  return { from: middle - width / 2, to: middle + width / 2 };
}

/** Rows of a tree whose root has that level, from the root down. */
export function rowsOf(rootLevel: number, top: number, bottom: number): Row[] {
  const height = bottom - top;
  if (rootLevel === 0) {
    const leaf = Math.min(height * 0.5, 160);
    return [{ level: 0, y: top + (height - leaf) / 2, height: leaf }];
  }
  const leaf = Math.max(40, Math.min(height * 0.36, 260));
  const branch = Math.max(14, Math.min((height * 0.3) / rootLevel, 48));
  const gap = Math.max(8, (height - leaf - rootLevel * branch) / rootLevel);
  const rows: Row[] = [];
  for (let level = rootLevel, y = top; level >= 0; level--) {
    rows.push({ level, y, height: level === 0 ? leaf : branch });
    y += branch + gap;
  }
  return rows;
}

/** Pixels above the rows, for words; below them, for what is selected and for whose colours there are. */
const TITLES = 50;
export const legendHeight = (narrow: boolean) => (narrow ? 64 : 28);
const selectedHeight = (narrow: boolean) => (narrow ? 30 : 14);

/** Rows in a picture of some height, words left out. @param narrow whether it is as narrow as a phone */
export function rowsIn(height: number, narrow: boolean, rootLevel: number): Row[] {
  return rowsOf(rootLevel, TITLES, height - legendHeight(narrow) - selectedHeight(narrow));
}

/** Where a node's bar stands in its span: in the middle of what is seen of it, and not wider than it needs. */
export function barOf(left: number, right: number, widest: number, width: number): { x: number; width: number } {
  const gap = right - left > 12 ? Math.min(8, (right - left) * 0.12) : right - left > 3 ? 1 : 0;
  const from = Math.max(left, 0);
  const to = Math.min(right, width);
  const size = Math.min(right - left - gap, widest);
  const middle = right - left <= widest || to <= from ? (left + right) / 2 : (from + to) / 2;
  // Not beyond its own span, and as far inside the picture as that allows.
  const x = Math.max(left + gap / 2, Math.min(middle - size / 2, right - gap / 2 - size));
  return { x, width: size };
}

/** One row of columns, into which nodes are put that are too narrow for a bar each. */
export class Columns {
  n: number;
  /** Nodes in each column; parts of nodes count. */
  readonly weight: Float32Array;
  readonly fill: Float32Array;
  readonly heat: Float32Array;
  /** By column, then by colour: nodes. */
  readonly colours: Float32Array;
  private dirty = false;

  constructor(n: number) {
    this.n = n;
    this.weight = new Float32Array(n);
    this.fill = new Float32Array(n);
    this.heat = new Float32Array(n);
    this.colours = new Float32Array(n * (WRITER_COLOURS + 1));
  }

  /** Empties them. */
  clear(): void {
    if (!this.dirty) return;
    this.weight.fill(0);
    this.fill.fill(0);
    this.heat.fill(0);
    this.colours.fill(0);
    this.dirty = false;
  }

  get isEmpty(): boolean {
    return !this.dirty;
  }

  /** Puts one node of one colour there; left and right in columns. */
  put(left: number, right: number, fill: number, heat: number, colour: number): void {
    const first = Math.max(0, Math.floor(left));
    const last = Math.min(this.n - 1, Math.ceil(right) - 1);
    for (let i = first; i <= last; i++) {
      const share = Math.min(right, i + 1) - Math.max(left, i);
      if (share <= 0) continue;
      this.weight[i] += share;
      this.fill[i] += fill * share;
      this.heat[i] += heat * share;
      this.colours[i * (WRITER_COLOURS + 1) + colour] += share;
    }
    this.dirty = true;
  }

  /** Puts many nodes there, of which only sums are known. */
  putMany(left: number, right: number, nodes: number, fills: number, hot: number, colours: Float64Array): void {
    if (nodes <= 0 || right <= left) return;
    const first = Math.max(0, Math.floor(left));
    const last = Math.min(this.n - 1, Math.ceil(right) - 1);
    for (let i = first; i <= last; i++) {
      const share = Math.min(right, i + 1) - Math.max(left, i);
      if (share <= 0) continue;
      // Shares of a column's width: what counts is the mean.
      this.weight[i] += share;
      this.fill[i] += (fills / nodes) * share;
      this.heat[i] += (hot / nodes) * share;
      for (let c = 0; c <= WRITER_COLOURS; c++) {
        this.colours[i * (WRITER_COLOURS + 1) + c] += (Math.max(0, colours[c]) / nodes) * share;
      }
    }
    this.dirty = true;
  }
}

/** Something that can be pointed at. */
export interface Box {
  readonly address: number;
  readonly level: number;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** The box at a point, or the nearest one within `reach`; the last one drawn wins. */
export function boxAt(boxes: readonly Box[], x: number, y: number, reach = 0): Box | undefined {
  let best: Box | undefined;
  let nearest = reach + 1e-9;
  for (let i = boxes.length - 1; i >= 0; i--) {
    const box = boxes[i];
    const dx = Math.max(box.x - x, 0, x - box.x - box.width);
    const dy = Math.max(box.y - y, 0, y - box.y - box.height);
    const away = Math.hypot(dx, dy);
    if (away < nearest) {
      nearest = away;
      best = box;
    }
  }
  return best;
}
