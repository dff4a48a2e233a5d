/**
 * The picture of a whole tree or a part of it: a row for each level, a bar for each node as full as the node, in the colour of
 * its last writer and glowing where it changes; columns where nodes are too narrow for bars; splits and merges flash.
 */
import { type Brush, CODE, count, counted, TEXT, wantsStillness } from './brush.ts';
import { WRITER_COLOURS } from './palette.ts';
import { type Box, barOf, type Camera, COLUMN, Columns, type Row, rowsIn } from './tree-layout.ts';
import { type Branch, EVENT_TIME, shownHeat, type TreeModel } from './tree-model.ts';

/** Pixels of a leaf's span from which on it has a bar of its own. */
const BAR = 5;
/** Widest bar of a node. */
const WIDEST = 300;
/** Milliseconds in which nodes come to two thirds of their way. */
const EASE = 126;
/** Milliseconds for which a latched node is shown so. */
const LATCH_SHOWN = 140;
/** A bar to be drawn. */
interface Bar extends Box {
  readonly fill: number;
  readonly count: number;
  readonly colour: number;
  readonly heat: number;
  readonly latched: boolean;
}

/** Left and right end of a node on its way to where it belongs, in leaves. */
interface Span {
  left: number;
  right: number;
  frame: number;
}

export class TreePicture {
  /** The rows, from the root down, as they were drawn last. */
  rows: readonly Row[] = [];
  /** Everything with a bar of its own. */
  readonly boxes: Box[] = [];
  private readonly brush: Brush;
  private model: TreeModel | undefined;
  private camera: Camera = { from: 0, to: 1 };
  private frame = 0;
  private readonly bars: Bar[] = [];
  private readonly spans = new Map<number, Span>();
  private columns: Columns[] = [];

  constructor(brush: Brush) {
    this.brush = brush;
  }

  /** The canvas has another size. */
  resize(): void {
    this.columns = [];
  }

  /** Another tree is drawn from now on. */
  forget(): void {
    this.spans.clear();
  }

  /** What is drawn has moved by so many leaves, and shall not be seen moving. */
  shift(leaves: number): void {
    if (leaves === 0) return;
    for (const span of this.spans.values()) {
      span.left += leaves;
      span.right += leaves;
    }
  }

  /** Draws the part of a tree that a camera sees. */
  draw(model: TreeModel, camera: Camera, now: number, elapsed: number): void {
    const { brush } = this;
    this.model = model;
    this.camera = camera;
    this.frame++;
    this.rows = rowsIn(brush.height, brush.isNarrow, model.rootLevel);
    const columns = Math.ceil(brush.width / COLUMN);
    while (this.columns.length <= model.rootLevel) this.columns.push(new Columns(columns));
    for (const each of this.columns) each.clear();
    this.bars.length = 0;
    this.boxes.length = 0;
    const share = wantsStillness() ? 1 : 1 - Math.exp(-elapsed / EASE);
    this.placeBranch(model.top, 0, undefined, now, share);
    for (const [address, span] of this.spans) if (span.frame !== this.frame) this.spans.delete(address);
    for (const row of this.rows) this.drawColumns(this.columns[row.level], row);
    for (const bar of this.bars) this.drawBar(bar);
    this.drawEvents(model, now);
    for (const bar of this.bars) if (bar.width >= 26 && bar.height >= 18) this.drawBarText(bar);
  }

  /** Greatest width of a bar: the root's is wider, and none fills a narrow screen. */
  private widest(root: boolean): number {
    return Math.min(root ? WIDEST * 1.4 : WIDEST, this.brush.width * (root ? 0.92 : 0.8));
  }

  /** The row of a level. */
  rowOf(level: number): Row {
    return this.rows[this.rows.length - 1 - level];
  }

  /** Eased left and right end of a node's span, in pixels. */
  private spanAt(address: number, left: number, right: number, share: number): readonly [number, number] {
    const { camera, brush } = this;
    let span = this.spans.get(address);
    if (span === undefined) {
      const event = this.model?.events.find(({ right: half, kind }) => half === address && kind === 'split');
      const other = event && this.spans.get(event.left);
      // A new half begins where it was before: in the other one.
      span = other ? { left: (other.left + other.right) / 2, right: other.right, frame: 0 } : { left, right, frame: 0 };
      if (other) other.right = span.left;
      this.spans.set(address, span);
    }
    span.left += (left - span.left) * share;
    span.right += (right - span.right) * share;
    span.frame = this.frame;
    const scale = brush.width / (camera.to - camera.from);
    return [(span.left - camera.from) * scale, (span.right - camera.from) * scale];
  }

  /** Places a branch and everything below it that can be seen: bars where there is room, columns elsewhere. */
  private placeBranch(branch: Branch, start: number, parent: Box | undefined, now: number, share: number): void {
    const { camera, brush } = this;
    const scale = brush.width / (camera.to - camera.from);
    const exactLeft = (start - camera.from) * scale;
    const exactRight = (start + branch.leafCount - camera.from) * scale;
    if (exactRight < -40 || exactLeft > brush.width + 40) return;
    let box = parent;
    if (!branch.isNone) {
      const row = this.rowOf(branch.level);
      const heat = shownHeat(branch.heat, now - branch.lookedAt);
      if (exactRight - exactLeft < BAR) {
        const columns = this.columns[branch.level];
        columns.put(exactLeft / COLUMN, exactRight / COLUMN, branch.fill, heat, branch.colour);
        box = undefined;
      } else {
        const [left, right] = this.spanAt(branch.address, start, start + branch.leafCount, share);
        const { x, width } = barOf(left, right, this.widest(branch === this.model?.top), brush.width);
        const { address, level, fill, colour } = branch;
        const latched = now - branch.latchedAt < LATCH_SHOWN;
        const bar = {
          address,
          level,
          x,
          y: row.y,
          width,
          height: row.height,
          fill,
          colour,
          heat,
          latched,
          count: branch.count,
        };
        this.bars.push(bar);
        this.boxes.push(bar);
        if (parent) this.drawEdge(parent, bar, branch.colour, heat);
        box = bar;
      }
    }
    if (branch.leaves) {
      this.placeLeaves(branch, start, scale, box, now, share);
      return;
    }
    // Below half a pixel nobody sees more than sums.
    if (exactRight - exactLeft < 0.5) {
      const { leafCount, fills, hot, colours } = branch;
      this.columns[0].putMany(exactLeft / COLUMN, exactRight / COLUMN, leafCount, fills, hot, colours);
      return;
    }
    let at = start;
    for (const child of branch.children) {
      this.placeBranch(child, at, box, now, share);
      at += child.leafCount;
    }
    if (box) this.drawFan(box, exactLeft, exactRight, branch.level);
  }

  private placeLeaves(
    branch: Branch,
    start: number,
    scale: number,
    parent: Box | undefined,
    now: number,
    share: number,
  ): void {
    const { camera, brush } = this;
    const { leaves } = branch;
    if (leaves === undefined) return;
    const row = this.rowOf(0);
    const columns = this.columns[0];
    if (parent) this.drawFan(parent, (start - camera.from) * scale, (start + leaves.n - camera.from) * scale, 1);
    if (branch.leafCount * scale < 1.5) {
      const hot = branch.hot * shownHeat(1, now - branch.lookedAt);
      const left = (start - camera.from) * (scale / COLUMN);
      columns.putMany(left, left + branch.leafCount * (scale / COLUMN), leaves.n, branch.fills, hot, branch.colours);
      return;
    }
    const first = Math.max(0, Math.floor(camera.from - start) - 1);
    const last = Math.min(leaves.n, Math.ceil(camera.to - start) + 1);
    for (let i = first; i < last; i++) {
      const heat = shownHeat(leaves.heat[i], now - branch.lookedAt);
      const fill = leaves.fill[i];
      const colour = leaves.colour[i];
      if (scale < BAR) {
        const left = (start + i - camera.from) * (scale / COLUMN);
        columns.put(left, left + scale / COLUMN, fill, heat, colour);
        continue;
      }
      const address = leaves.address[i];
      const [left, right] = this.spanAt(address, start + i, start + i + 1, share);
      const { x, width } = barOf(left, right, this.widest(false), brush.width);
      const latched = now - leaves.latchedAt[i] < LATCH_SHOWN;
      const bar = {
        address,
        level: 0,
        x,
        y: row.y,
        width,
        height: row.height,
        fill,
        colour,
        heat,
        latched,
        count: leaves.count[i],
      };
      this.bars.push(bar);
      this.boxes.push(bar);
      if (parent && scale >= 8) this.drawEdge(parent, bar, colour, heat);
    }
  }

  /** What hangs below a bar, as one shape. */
  private drawFan(parent: Box, left: number, right: number, level: number): void {
    const { context, palette, width } = this.brush;
    const below = this.rowOf(level - 1);
    const y = parent.y + parent.height;
    context.globalAlpha = 0.5;
    context.fillStyle = palette.surface;
    context.beginPath();
    context.moveTo(parent.x, y + 1);
    context.lineTo(parent.x + parent.width, y + 1);
    context.lineTo(Math.min(right, width + 20), below.y - 3);
    context.lineTo(Math.max(left, -20), below.y - 3);
    context.fill();
    context.globalAlpha = 1;
  }

  private drawEdge(parent: Box, child: Box, colour: number, heat: number): void {
    const { context, palette, width } = this.brush;
    const middle = child.x + child.width / 2;
    if (middle < -20 || middle > width + 20) return;
    const [left, right] = [0, width];
    const seen = (Math.max(left, Math.min(right, middle)) - left) / (right - left);
    const span = Math.max(parent.x + 3, Math.min(parent.x + parent.width - 3, parent.x + parent.width * seen));
    const y = parent.y + parent.height;
    const bend = (child.y - y) * 0.5;
    context.strokeStyle = heat > 0.12 ? palette.writers[colour] : palette.line;
    context.globalAlpha = heat > 0.12 ? 0.3 + 0.6 * heat : 0.9;
    context.beginPath();
    context.moveTo(span, y);
    context.bezierCurveTo(span, y + bend, middle, child.y - bend, middle, child.y);
    context.stroke();
    context.globalAlpha = 1;
  }

  /** Draws a row of columns: as high as the nodes in them are full, in their writers' colours by share. */
  private drawColumns(columns: Columns, row: Row): void {
    if (columns.isEmpty) return;
    const { context, shades } = this.brush;
    const bottom = row.y + row.height;
    const { palette } = this.brush;
    context.fillStyle = palette.surface;
    for (let i = 0; i < columns.n; i++) {
      if (columns.weight[i] < 0.05) continue;
      let end = i;
      while (end < columns.n && columns.weight[end] >= 0.05) end++;
      context.fillRect(i * COLUMN, row.y, (end - i) * COLUMN, row.height);
      i = end;
    }
    for (let colour = 0; colour <= WRITER_COLOURS; colour++) {
      let style = '';
      for (let i = 0; i < columns.n; i++) {
        const weight = columns.weight[i];
        if (weight < 0.05) continue;
        const at = i * (WRITER_COLOURS + 1);
        const own = columns.colours[at + colour];
        if (own <= 0) continue;
        const full = (columns.fill[i] / weight) * row.height;
        let below = 0;
        for (let c = 0; c < colour; c++) below += columns.colours[at + c];
        const heat = Math.min(5, Math.round((columns.heat[i] / weight) * 5));
        const shade = shades[colour][heat];
        if (shade !== style) {
          style = shade;
          context.fillStyle = shade;
        }
        const y = bottom - (below / weight) * full;
        const height = (own / weight) * full;
        context.fillRect(i * COLUMN, y - height, COLUMN, height);
      }
    }
  }

  private drawBar(bar: Bar): void {
    const { brush } = this;
    const { context, palette } = brush;
    const { x, y, width, height, heat } = bar;
    if (x > brush.width || x + width < 0) return;
    const radius = Math.min(5, width / 4);
    const full = Math.max(1, bar.fill * height);
    context.fillStyle = palette.surface;
    brush.rounded(x, y, width, height, radius);
    context.fill();
    if (bar.count > 0) {
      context.fillStyle = brush.shade(bar.colour, heat);
      if (width > 30) {
        context.save();
        brush.rounded(x, y, width, height, radius);
        context.clip();
        context.fillRect(x, y + height - full, width, full);
        context.restore();
      } else {
        context.fillRect(x, y + height - full, width, full);
      }
    }
    if (width >= 24) this.drawEntries(bar);
    if (width >= 4) {
      context.lineWidth = bar.latched ? 2 : 1;
      context.strokeStyle = bar.latched ? palette.focus : heat > 0.25 ? palette.writers[bar.colour] : palette.line;
      brush.rounded(x + 0.5, y + 0.5, width - 1, height - 1, radius);
      context.stroke();
      context.lineWidth = 1;
    }
  }

  /** Lines between a leaf's entries, where they can be told apart. */
  private drawEntries(bar: Bar): void {
    const { context, palette } = this.brush;
    const { bytes } = this.model as TreeModel;
    const pitch = bar.height / bytes.leafCapacity;
    if (bar.level > 0 || pitch < 1.9 || bytes.slotted) return;
    context.globalAlpha = 0.35;
    context.fillStyle = palette.background;
    for (let i = 1; i < bar.count; i++)
      context.fillRect(bar.x + 1, bar.y + bar.height - i * pitch - 0.4, bar.width - 2, 0.8);
    context.globalAlpha = 1;
  }

  private drawBarText(bar: Bar): void {
    const { brush, model } = this;
    const surface = bar.y + bar.height - Math.max(1, bar.fill * bar.height);
    const { palette } = brush;
    const { x, y, width, height } = bar;
    if (model === undefined) return;
    const line = (long: string, short: string, at: number, colour: string, font: string) => {
      const text = brush.measure(long, font) <= width - 10 ? long : short;
      if (brush.measure(text, font) > width - 6) return;
      this.plate(text, bar, at, font);
      brush.inBox(text, x, at, width, colour, font);
    };
    const leaf = bar.level === 0;
    const text = count(leaf ? bar.count : bar.count + 1);
    const long = leaf ? counted(bar.count, 'entry', 'entries') : `${text} children`;
    // Above the fill if there is room, so that it is read on one colour.
    const over = surface - y >= 22;
    if (!leaf || height < 64) {
      line(long, text, over ? y + (surface - y) / 2 : y + height / 2, palette.ink, TEXT);
      return;
    }
    line(long, text, over ? surface - 11 : y + 14, palette.ink, TEXT);
    if (width < 60 || model.bytes.slotted) return;
    const copy = model.bytes.copy(bar.address);
    if (copy === undefined || copy.level !== 0 || copy.count === 0) return;
    const first = String(model.bytes.key(copy, 0));
    const last = String(model.bytes.key(copy, copy.count - 1));
    const bottom = y + height;
    if (copy.count > 1) line(`from ${first}`, first, bottom - 30, palette.keys, CODE);
    line(copy.count > 1 ? `to ${last}` : last, last, bottom - 13, palette.keys, CODE);
  }

  /** A background for text that stands on a fill. */
  private plate(text: string, bar: Bar, at: number, font: string): void {
    const { brush } = this;
    const size = brush.measure(text, font);
    brush.context.globalAlpha = 0.8;
    brush.context.fillStyle = brush.palette.background;
    brush.rounded(bar.x + (bar.width - size) / 2 - 4, at - 8, size + 8, 16, 4);
    brush.context.fill();
    brush.context.globalAlpha = 1;
  }

  /** Splits and merges flash: what parted flies apart, what came together closes. */
  private drawEvents(model: TreeModel, now: number): void {
    const { brush, camera } = this;
    const { context, palette } = brush;
    const scale = brush.width / (camera.to - camera.from);
    const still = wantsStillness();
    // Many at a time are drawn more gently: together they tell as much.
    const gently = Math.min(1, 3 / Math.sqrt(1 + model.events.length));
    for (const event of model.events) {
      const age = (now - event.at) / EVENT_TIME;
      if (age < 0 || age >= 1 || event.level > model.rootLevel) continue;
      const fade = (1 - age) ** 2 * gently;
      const colour = event.kind === 'merge' || event.kind === 'shrink' ? palette.merge : palette.split;
      const row = this.rowOf(event.level);
      if (row === undefined) continue;
      const half = event.kind === 'split' ? event.right : 0;
      const x = this.spans.get(half)?.left ?? this.eventAt(model, event.parent, event.level, event.left, half);
      if (x === undefined) continue;
      const middle = (x - camera.from) * scale;
      if (middle < -20 || middle > brush.width + 20) continue;
      const spread = still ? 10 : event.kind === 'split' ? 3 + 16 * Math.sqrt(age) : 3 + 16 * (1 - Math.sqrt(age));
      context.globalAlpha = fade;
      context.strokeStyle = colour;
      context.lineWidth = gently > 0.6 ? 2 : 1.5;
      context.beginPath();
      for (const side of [-1, 1]) {
        const at = middle + side * Math.min(spread, Math.max(4, scale * 0.8));
        context.moveTo(at, row.y - 6);
        context.lineTo(at, event.level === 0 && scale < 10 ? row.y + 14 : row.y + row.height + 4);
      }
      context.stroke();
      // The way up to the parent, where a key came in or went.
      const parent = this.boxes.find(({ address }) => address === event.parent.address);
      if (parent) {
        context.beginPath();
        context.moveTo(middle, row.y - 6);
        const bend = (row.y - parent.y - parent.height) * 0.5;
        const px = parent.x + parent.width * Math.max(0, Math.min(1, middle / brush.width));
        const py = parent.y + parent.height;
        context.bezierCurveTo(middle, row.y - 6 - bend, px, py + bend, px, py);
        context.stroke();
        if (gently === 1) {
          brush.rounded(parent.x - 2, parent.y - 2, parent.width + 4, parent.height + 4, 6);
          context.stroke();
        }
      }
      context.globalAlpha = 1;
      context.lineWidth = 1;
    }
  }

  /** Where an event was, in leaves: between the halves of a split. */
  private eventAt(model: TreeModel, parent: Branch, level: number, left: number, right: number): number | undefined {
    if (!model.isIn(parent)) return undefined;
    if (level === 0) {
      const at = parent.leaves?.indexOf(right !== 0 ? right : left) ?? -1;
      return at < 0 ? undefined : model.startOf(parent) + at + (right !== 0 ? 0 : 0.5);
    }
    const branch = model.branchAt(right !== 0 ? right : left);
    if (branch === undefined || !model.isIn(branch)) return undefined;
    return model.startOf(branch) + (right !== 0 ? 0 : branch.leafCount / 2);
  }

  /** The leaf at a point of the leaves' row, also where leaves are too narrow for bars. Without `y` the leaf above or below. */
  leafAt(x: number, y?: number): Box | undefined {
    const { model, camera, brush, rows } = this;
    const row = rows[rows.length - 1];
    if (model === undefined || row === undefined) return undefined;
    if (y !== undefined && (y < row.y - 6 || y > row.y + row.height + 6)) return undefined;
    const leaf = camera.from + (x / brush.width) * (camera.to - camera.from);
    if (leaf < 0 || leaf >= model.leafCount) return undefined;
    const { branch, start } = model.locate(leaf);
    const { leaves } = branch;
    if (leaves === undefined || leaves.n === 0) return undefined;
    const i = Math.max(0, Math.min(leaves.n - 1, Math.floor(leaf - start)));
    const scale = brush.width / (camera.to - camera.from);
    const left = (start + i - camera.from) * scale;
    return { address: leaves.address[i], level: 0, x: left, y: row.y, width: scale, height: row.height };
  }

  /** Where a node stands: at its bar, or in the columns. @param first its first leaf. @param n leaves below it */
  placeOf(address: number, level: number, first: number, n: number): Box | undefined {
    const bar = this.boxes.find((box) => box.address === address);
    const row = this.rowOf(level);
    if (bar !== undefined || row === undefined) return bar;
    const { camera, brush } = this;
    const scale = brush.width / (camera.to - camera.from);
    const x = (first - camera.from) * scale;
    return { address, level, x, y: row.y, width: Math.max(2, n * scale), height: row.height };
  }

  /** A frame around a node. @param strong for the selected one */
  outline({ x, y, width, height }: Box, strong: boolean): void {
    const { brush } = this;
    const { context, palette } = brush;
    context.strokeStyle = strong ? palette.focus : palette.muted;
    context.lineWidth = strong ? 2 : 1.5;
    brush.rounded(x - 3, y - 3, width + 6, height + 6, 7);
    context.stroke();
    context.lineWidth = 1;
  }
}
