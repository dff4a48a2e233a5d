/**
 * The tree, live: levels from the root down, each node a bar as full as the node, in the colour of its last writer and
 * glowing where it changes; by zooming, from the whole tree to the bytes of one node. Everything is read out of the shared
 * memory in this thread, a bounded number of nodes per frame, without a message and without a latch.
 */
import type { StoreHandle } from '../../workers/store-client.ts';
import { Anatomy } from './anatomy.ts';
import { BOLD, Brush, CODE, count, counted, TEXT, wantsStillness } from './brush.ts';
import { WRITER_COLOURS } from './palette.ts';
import { changesOf, isLatched, type Totals, writerOf } from './tree-bytes.ts';
import {
  type Box,
  barOf,
  between,
  boxAt,
  type Camera,
  CLOSEST,
  COLUMN,
  Columns,
  clamped,
  everything,
  type Row,
  rowsOf,
  seesAll,
  zoomed,
} from './tree-layout.ts';
import { type Branch, EVENT_TIME, shownHeat, TreeModel } from './tree-model.ts';
import { Writers } from './writers.ts';

/** Looks at leaves per frame, and milliseconds that they may take; more while the tree is not known yet. */
const LOOKS = 4000;
const LOOK_TIME = 1.2;
const FIRST_LOOK_TIME = 12;
/** Pixels of a leaf's span from which on it has a bar of its own. */
const BAR = 5;
/** Widest bar of a node. */
const WIDEST = 300;
/** Milliseconds in which movements come to two thirds of their way. */
const EASE = 90;
/** Milliseconds for which a latched node is shown so. */
const LATCH_SHOWN = 140;
/** Milliseconds without wheel or pinch after which a half opened node opens or closes. */
const SETTLE = 220;

/** The tree that is drawn. */
export interface ShownTree {
  /** The memory: one of a store handle's `memories`, or a tree handle's `memory`. */
  readonly memory: WebAssembly.Memory;
  /** Names of the key and value types, for the description; what is drawn follows from the memory itself. */
  readonly key: string;
  readonly value: string;
  readonly label?: string;
  /** The store that the memory is a replica of: it tells which thread is which executor. */
  readonly store?: StoreHandle;
}

/** One step of the way from the root to what is selected. */
export interface Crumb {
  readonly name: string;
  /** Address of the node. */
  readonly node: number;
}

/** A bar to be drawn. */
interface Bar extends Box {
  readonly fill: number;
  readonly count: number;
  readonly colour: number;
  readonly heat: number;
  readonly latched: boolean;
}

/** The selected node, and where it was found last. */
interface Selection {
  readonly address: number;
  readonly level: number;
  /** A leaf's branch. */
  near: Branch | undefined;
}

/** Left and right end of a node on its way to where it belongs, in leaves. */
interface Span {
  left: number;
  right: number;
  frame: number;
}

export class TreeView {
  /** Called when selection or zoom have changed. */
  onChange?: () => void;
  private readonly canvas: HTMLCanvasElement;
  private readonly brush: Brush;
  private tree: ShownTree | undefined;
  private model: TreeModel | undefined;
  private writers: Writers | undefined;
  private writersAt = 0;
  private totals: Totals = { entries: 0, leaves: 0, splits: 0, merges: 0 };
  /** Nodes by level. */
  private counts: number[] = [];
  private countsAt = 0;

  private camera: Camera = everything(1);
  private goal: Camera = everything(1);
  /** Whether the camera stays with the whole tree as it grows. */
  private home_ = true;
  private anchor: { leaf: number; branch: Branch; at: number } | undefined;
  private frame = 0;
  private before = 0;

  private selection: Selection | undefined;
  private hovered: Box | undefined;
  private opened: Anatomy | undefined;
  private openedBox: Box | undefined;
  /** 0: the tree; 1: a node's slots; 2: its bytes. */
  private depth = 0;
  private depthGoal = 0;
  private depthAt = 0;

  private readonly bars: Bar[] = [];
  private readonly boxes: Box[] = [];
  private readonly spans = new Map<number, Span>();
  private columns: Columns[] = [];
  private rows: readonly Row[] = [];
  private columnCount = 0;

  private readonly pointers = new Map<number, { x: number; y: number }>();
  private dragged = 0;
  private pagedAt = -Infinity;

  constructor(canvas: HTMLCanvasElement) {
    this.canvas = canvas;
    this.brush = new Brush(canvas);
    if (!canvas.hasAttribute('tabindex')) canvas.tabIndex = 0;
    canvas.addEventListener('wheel', (event) => this.onWheel(event), { passive: false });
    canvas.addEventListener('pointerdown', (event) => this.onPointerDown(event));
    canvas.addEventListener('pointermove', (event) => this.onPointerMove(event));
    canvas.addEventListener('pointerup', (event) => this.onPointerUp(event));
    canvas.addEventListener('pointercancel', (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener('pointerleave', () => {
      this.hovered = undefined;
    });
    canvas.addEventListener('dblclick', (event) => this.onDoubleClick(event));
    canvas.addEventListener('keydown', (event) => this.onKey(event));
    // A wheel that scrolls the page does not begin to zoom because the canvas has come under the pointer.
    addEventListener('scroll', () => {
      this.pagedAt = performance.now();
    });
    this.setTouch();
  }

  /** Shows another tree, or none. */
  show(tree: ShownTree | undefined): void {
    this.tree = tree;
    this.model = undefined;
    this.selection = undefined;
    this.opened = undefined;
    this.hovered = undefined;
    this.depth = 0;
    this.depthGoal = 0;
    this.home_ = true;
    this.anchor = undefined;
    this.spans.clear();
    this.counts = [];
    if (tree !== undefined) this.start(tree);
    this.setTouch();
    this.onChange?.();
  }

  private start(tree: ShownTree): void {
    this.writers = new Writers(tree.memory, tree.store);
    this.model = TreeModel.of(tree.memory, this.writers.colourOf);
    this.frame = 0;
    this.writersAt = 0;
    if (this.model === undefined) return;
    const now = performance.now();
    this.model.look(now, 0, Number.MAX_SAFE_INTEGER, 1 << 20, now + FIRST_LOOK_TIME);
    this.goal = everything(this.model.leafCount);
    this.camera = this.goal;
  }

  resize(): void {
    this.brush.resize();
    this.columns = [];
  }

  /** Takes the listeners away that are not the canvas's own. */
  close(): void {
    this.brush.close();
    this.show(undefined);
  }

  // What is to be seen.

  /** One sentence. */
  get describe(): string {
    const { model, tree, totals, rows } = this;
    if (model === undefined || tree === undefined) return 'No tree is shown.';
    const what = tree.label ? `${tree.label}: a tree` : 'A tree';
    const whole = `${what} of ${counted(totals.entries, 'entry', 'entries')} in ${counted(totals.leaves, 'leaf', 'leaves')} and ${counted(model.rootLevel + 1, 'level')}, ${percent(model.top.fills, model.leafCount)} full, ${counted(totals.splits, 'split')} and ${counted(totals.merges, 'merge')} so far.`;
    const path = this.path.map(({ name }) => name).join(', ');
    const info = this.selectionInfo();
    if (this.opened && this.depthGoal > 0) {
      return `${this.depthGoal > 1 ? 'The bytes' : 'The inside'} of ${path}: ${info}.`;
    }
    if (info) return `${whole} Selected: ${path}: ${info}.`;
    const seen = seesAll(this.camera, model.leafCount) ? '' : ` ${this.seenLeaves()} of its leaves are in sight.`;
    return rows.length === 0 ? whole : whole + seen;
  }

  private seenLeaves(): string {
    const n = this.model?.leafCount ?? 0;
    return count(Math.max(1, Math.min(n, this.camera.to) - Math.max(0, this.camera.from)));
  }

  private selectionInfo(): string {
    const { model, selection, writers } = this;
    if (!model || !selection || !writers) return '';
    const head = { low: 0, high: 0, count: 0, level: 0 };
    if (!model.bytes.head(selection.address, head)) return isLatched(head.low) ? 'being written' : '';
    const capacity = head.level === 0 ? model.bytes.leafCapacity : model.bytes.branchCapacity;
    const of = model.bytes.slotted ? '' : ` of ${capacity}`;
    const what = head.level === 0 ? 'entries' : 'separators';
    const writer = writerOf(head.low);
    const last = writer === 0 ? 'unchanged since it was made' : `last by ${writers.nameOf(writer)}`;
    return `${head.count}${of} ${what}, ${counted(changesOf(head.low, head.high), 'change')}, ${last}`;
  }

  /** The way from the root to the selected node; the root alone if nothing is selected. */
  get path(): readonly Crumb[] {
    const { model, selection } = this;
    if (model === undefined) return [];
    const crumbs: Crumb[] = [];
    let branch: Branch | undefined;
    if (selection === undefined) return [{ name: 'root', node: model.bytes.root }];
    if (selection.level === 0) {
      const place = model.placeOf(selection.address, selection.near);
      branch = place?.branch;
      if (place && !place.branch.isNone) crumbs.push({ name: `leaf ${place.index}`, node: selection.address });
    } else {
      branch = model.branchAt(selection.address);
    }
    for (; branch?.parent !== undefined; branch = branch.parent) {
      crumbs.push({ name: `branch ${branch.parent.children.indexOf(branch)}`, node: branch.address });
    }
    crumbs.push({ name: 'root', node: model.bytes.root });
    return crumbs.reverse();
  }

  // Moving about.

  /** Selects a node by its address; brings it into sight. Nothing happens if it is not in the tree. */
  select(node: number): void {
    const found = this.find(node);
    if (found === undefined) return;
    this.selection = found;
    this.reveal(found);
    if (this.depthGoal > 0) this.open(found, this.depthGoal);
    this.onChange?.();
  }

  /** The whole tree. */
  home(): void {
    this.depthGoal = 0;
    this.home_ = true;
    this.anchor = undefined;
    this.setTouch();
    this.onChange?.();
  }

  zoomIn(): void {
    this.zoomAround(2);
  }

  zoomOut(): void {
    this.zoomAround(0.5);
  }

  private find(address: number): Selection | undefined {
    const { model } = this;
    if (model === undefined) return undefined;
    if (address === model.bytes.root) return { address, level: model.rootLevel, near: undefined };
    const branch = model.branchAt(address);
    if (branch !== undefined && model.isIn(branch)) return { address, level: branch.level, near: undefined };
    const near = this.selection?.near ?? (this.selection && model.branchAt(this.selection.address));
    const place = model.placeOf(address, near);
    return place && { address, level: 0, near: place.branch };
  }

  /** First leaf and number of leaves of a node. */
  private spanOf(selection: Selection): readonly [number, number] {
    const { model } = this;
    if (model === undefined) return [0, 1];
    if (selection.level > 0) {
      const branch = model.branchAt(selection.address);
      return branch ? [model.startOf(branch), branch.leafCount] : [0, model.leafCount];
    }
    const place = model.placeOf(selection.address, selection.near);
    if (place === undefined) return [0, 1];
    selection.near = place.branch;
    return [place.start + place.index, 1];
  }

  /** Moves the camera so that the node is in sight, and large enough to be seen. */
  private reveal(selection: Selection): void {
    const { model, goal } = this;
    if (model === undefined) return;
    const [first, n] = this.spanOf(selection);
    const width = goal.to - goal.from;
    const pixels = (n / width) * this.brush.width;
    const wanted = pixels < 14 ? (n * this.brush.width) / 44 : Math.max(width, n * 1.2);
    const inside = first >= goal.from && first + n <= goal.to;
    if (inside && wanted === width) return;
    const middle = inside && pixels >= 14 ? (goal.from + goal.to) / 2 : first + n / 2;
    this.moveTo({ from: middle - wanted / 2, to: middle + wanted / 2 });
  }

  private moveTo(camera: Camera): void {
    const leaves = this.model?.leafCount ?? 1;
    this.goal = clamped(camera, leaves);
    this.home_ = seesAll(this.goal, leaves);
  }

  private zoomAround(factor: number): void {
    const box = this.selection && this.boxes.find(({ address }) => address === this.selection?.address);
    const x = box ? box.x + box.width / 2 : this.brush.width / 2;
    const leafRow = this.rows[this.rows.length - 1];
    const y = box ? box.y + box.height / 2 : leafRow ? leafRow.y + leafRow.height / 2 : 0;
    // Whole steps, where the wheel has continuous ones.
    if (this.depthGoal > 0) this.setDepth(Math.round(this.depthGoal + Math.sign(factor - 1)));
    else this.zoomAt(factor, x, y, 1);
  }

  /** @param step how far a node opens that fills the picture already */
  private zoomAt(factor: number, x: number, y: number, step: number): void {
    const { model, goal, brush } = this;
    if (model === undefined) return;
    if (this.depthGoal > 0) {
      this.setDepth(this.depthGoal + step * Math.sign(factor - 1));
      return;
    }
    if (factor > 1) {
      const box = boxAt(this.boxes, x, y, 4) ?? this.leafAt(x, y);
      const found = box && this.find(box.address);
      if (found) {
        const [, n] = this.spanOf(found);
        const closest = goal.to - goal.from <= Math.max(CLOSEST * 1.02, n * 1.3);
        if (closest && (found.level === 0 || box === boxAt(this.boxes, x, y, 0))) {
          this.selection = found;
          this.open(found, step);
          this.onChange?.();
          return;
        }
      }
    }
    this.goal = zoomed(goal, factor, x / brush.width, model.leafCount);
    this.home_ = seesAll(this.goal, model.leafCount);
    this.onChange?.();
  }

  /** The leaf at a point of the leaves' row, also where leaves are too narrow for bars. */
  private leafAt(x: number, y: number): Box | undefined {
    const { model, camera, brush, rows } = this;
    const row = rows[rows.length - 1];
    if (model === undefined || row === undefined || y < row.y - 6 || y > row.y + row.height + 6) return undefined;
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

  private open(selection: Selection, depth: number): void {
    const { model, writers } = this;
    if (model === undefined || writers === undefined) return;
    if (this.opened?.address !== selection.address) {
      this.opened = new Anatomy(model.bytes, writers, selection.address, selection.level);
      this.opened.look(performance.now());
    }
    this.setDepth(depth);
  }

  private setDepth(depth: number): void {
    this.depthGoal = Math.max(0, Math.min(2, depth));
    if (this.depthGoal < 0.05) this.depthGoal = 0;
    this.depthAt = performance.now();
    this.setTouch();
    this.onChange?.();
  }

  /** In the tree a finger that moves up or down scrolls the page; inside a node, the node. */
  private setTouch(): void {
    this.canvas.style.touchAction = this.depthGoal > 0 ? 'none' : 'pan-y';
  }

  private onWheel(event: WheelEvent): void {
    const factor = Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.06 : event.ctrlKey ? 0.012 : 0.0022));
    const idle = this.home_ && this.depthGoal === 0;
    const paging = performance.now() - this.pagedAt < 350 && document.activeElement !== this.canvas;
    if (!event.ctrlKey && idle && (factor <= 1 || paging)) return;
    event.preventDefault();
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY) && this.depthGoal === 0) {
      this.pan(-event.deltaX);
      return;
    }
    this.zoomAt(factor, event.offsetX, event.offsetY, Math.min(0.5, Math.abs(Math.log2(factor)) * 0.9));
  }

  private pan(pixels: number): void {
    const leaves = this.model?.leafCount ?? 1;
    const by = (-pixels / this.brush.width) * (this.camera.to - this.camera.from);
    this.goal = clamped({ from: this.goal.from + by, to: this.goal.to + by }, leaves);
    this.camera = clamped({ from: this.camera.from + by, to: this.camera.to + by }, leaves);
    this.home_ = seesAll(this.goal, leaves);
  }

  private onPointerDown(event: PointerEvent): void {
    this.pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    if (this.pointers.size === 1) this.dragged = 0;
    this.canvas.setPointerCapture?.(event.pointerId);
  }

  private onPointerMove(event: PointerEvent): void {
    const before = this.pointers.get(event.pointerId);
    const x = event.offsetX;
    const y = event.offsetY;
    if (before === undefined) {
      this.hovered = this.pointed(x, y);
      this.canvas.style.cursor = this.hovered ? 'pointer' : this.home_ ? 'default' : 'grab';
      return;
    }
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    this.pointers.set(event.pointerId, { x, y });
    if (others.length > 0) {
      const [other] = others;
      const was = Math.hypot(before.x - other.x, before.y - other.y);
      const is = Math.hypot(x - other.x, y - other.y);
      this.dragged = 100;
      if (was > 10 && is > 10) {
        this.zoomAt(is / was, (x + other.x) / 2, (y + other.y) / 2, Math.abs(Math.log2(is / was)) * 0.9);
        if (this.depthGoal === 0) this.pan((x - before.x) / 2);
      }
      return;
    }
    this.dragged += Math.abs(x - before.x) + Math.abs(y - before.y);
    if (this.depthGoal > 0) {
      if (this.opened) this.opened.scroll -= y - before.y;
    } else if (this.dragged > 4) {
      this.pan(x - before.x);
      this.canvas.style.cursor = 'grabbing';
    }
  }

  private onPointerUp(event: PointerEvent): void {
    const was = this.pointers.delete(event.pointerId);
    this.canvas.style.cursor = 'default';
    if (!was || this.dragged > 6 || this.pointers.size > 0) return;
    const box = this.pointed(event.offsetX, event.offsetY, event.pointerType === 'touch' ? 12 : 3);
    if (box === undefined) return;
    const found = this.find(box.address);
    if (found === undefined) return;
    this.selection = found;
    if (this.depthGoal > 0) {
      this.reveal(found);
      this.open(found, this.depthGoal);
    }
    this.onChange?.();
  }

  private onDoubleClick(event: MouseEvent): void {
    const box = this.pointed(event.offsetX, event.offsetY, 3);
    const found = box && this.find(box.address);
    if (this.depthGoal > 0) {
      this.setDepth(Math.min(2, Math.round(this.depthGoal) + 1));
    } else if (found) {
      this.selection = found;
      this.open(found, 1);
    } else {
      this.zoomAt(3, event.offsetX, event.offsetY, 1);
    }
    this.onChange?.();
  }

  private pointed(x: number, y: number, reach = 0): Box | undefined {
    if (this.depthGoal > 0) return this.opened && boxAt(this.opened.boxes, x, y);
    return boxAt(this.boxes, x, y, reach) ?? this.leafAt(x, y);
  }

  private onKey(event: KeyboardEvent): void {
    if (event.altKey || event.metaKey || (event.ctrlKey && event.key !== '+' && event.key !== '-')) return;
    if (this.handleKey(event.key)) event.preventDefault();
  }

  private handleKey(key: string): boolean {
    const { model, selection } = this;
    if (model === undefined) return false;
    if (key === '+' || key === '=') this.zoomIn();
    else if (key === '-' || key === '_') this.zoomOut();
    else if (key === 'Home') {
      this.selection = { address: model.bytes.root, level: model.rootLevel, near: undefined };
      this.home();
    } else if (key === 'Enter' || key === ' ') {
      if (selection === undefined) this.select(model.bytes.root);
      else this.open(selection, Math.min(2, Math.round(this.depthGoal) + 1));
    } else if (key === 'Escape') {
      if (this.depthGoal > 0) this.setDepth(Math.ceil(this.depthGoal) - 1);
      else if (selection !== undefined && this.path.length > 1) this.step('ArrowUp');
      else if (!this.home_) this.home();
      else return false;
    } else if (key === 'PageDown' || key === 'PageUp') {
      if (this.depthGoal === 0 || this.opened === undefined) return false;
      this.opened.scroll += (key === 'PageDown' ? 0.8 : -0.8) * this.brush.height;
    } else if (key.startsWith('Arrow')) {
      this.step(key);
    } else {
      return false;
    }
    return true;
  }

  /** Moves the selection to a neighbour, the parent or a child. */
  private step(key: string): void {
    const { model, selection } = this;
    if (model === undefined) return;
    if (selection === undefined) {
      this.select(model.bytes.root);
      return;
    }
    const [first, n] = this.spanOf(selection);
    if (key === 'ArrowUp') {
      const { path } = this;
      if (path.length > 1) this.select(path[path.length - 2].node);
      return;
    }
    if (key === 'ArrowDown') {
      if (selection.level > 0) this.selectAt(selection.level - 1, first + (n - 1) / 2);
      return;
    }
    this.selectAt(selection.level, key === 'ArrowLeft' ? first - 0.5 : first + n + 0.5);
  }

  /** Selects the node of a level that has the leaf of that number below it. */
  private selectAt(level: number, leaf: number): void {
    const { model } = this;
    if (model === undefined || leaf < 0 || leaf >= model.leafCount) return;
    const { branch, start } = model.locate(leaf, performance.now());
    if (!branch.read) model.visit(branch, performance.now());
    let node: Branch | undefined = branch;
    if (level === 0) {
      const { leaves } = branch;
      const i = Math.max(0, Math.min((leaves?.n ?? 1) - 1, Math.floor(leaf - start)));
      if (leaves && leaves.n > 0) {
        this.selection = { address: leaves.address[i], level: 0, near: branch };
        this.select(leaves.address[i]);
      }
      return;
    }
    while (node !== undefined && node.level < level) node = node.parent;
    if (node !== undefined) this.select(node.address);
  }

  // Drawing.

  /** Draws a frame. @param now as requestAnimationFrame gives it */
  draw(now: number): void {
    const { brush } = this;
    brush.clear();
    const elapsed = Math.min(100, Math.max(1, now - this.before));
    this.before = now;
    if (this.tree !== undefined && this.model === undefined) this.start(this.tree);
    const { model, writers } = this;
    if (model === undefined || writers === undefined) {
      this.drawNothing();
      return;
    }
    this.frame++;
    this.lookAround(model, writers, now);
    this.moveCamera(model, elapsed);
    this.moveDepth(now, elapsed);
    if (this.depth < 0.98) {
      this.drawTree(model, now, elapsed);
      this.drawTexts(model, writers);
    }
    if (this.depth > 0.001 && this.opened) this.drawOpened(this.opened);
  }

  private drawNothing(): void {
    const { brush } = this;
    const text = this.tree === undefined ? 'No tree yet' : 'There is no tree in this memory';
    brush.inBox(text, 0, brush.height / 2, brush.width, brush.palette.muted, BOLD);
  }

  private lookAround(model: TreeModel, writers: Writers, now: number): void {
    if (now - this.writersAt > 1000) {
      this.writersAt = now;
      writers.renew();
    }
    const begun = performance.now();
    model.look(now, Math.floor(this.camera.from), Math.ceil(this.camera.to), LOOKS, begun + LOOK_TIME);
    this.totals = model.bytes.totals();
    if (now - this.countsAt > 400 || this.counts.length !== model.rootLevel + 1) {
      this.countsAt = now;
      this.counts = this.countNodes(model);
    }
    this.counts[0] = model.leafCount;
    if (this.opened && this.depthGoal > 0) {
      const still = this.opened.look(now);
      if (!still || (this.frame % 30 === 0 && this.find(this.opened.address) === undefined)) {
        // The node is no longer in the tree: its entries have gone to a neighbour.
        this.selection = undefined;
        this.setDepth(0);
      }
    } else if (this.selection && this.frame % 30 === 0) {
      const found = this.find(this.selection.address);
      if (found?.level !== this.selection.level) this.selection = found;
    }
  }

  private countNodes(model: TreeModel): number[] {
    const counts = new Array<number>(model.rootLevel + 1).fill(0);
    counts[0] = model.leafCount;
    const walk = (branch: Branch) => {
      counts[branch.level]++;
      if (branch.level === 2) counts[1] += branch.children.length;
      else for (const child of branch.children) walk(child);
    };
    if (!model.top.isNone) walk(model.top);
    return counts;
  }

  private moveCamera(model: TreeModel, elapsed: number): void {
    const share = wantsStillness() ? 1 : 1 - Math.exp(-elapsed / EASE);
    if (this.home_) {
      this.goal = everything(model.leafCount);
      this.anchor = undefined;
    } else {
      this.followAnchor(model);
    }
    this.camera = between(this.camera, this.goal, share);
    const close = Math.abs(this.camera.from - this.goal.from) + Math.abs(this.camera.to - this.goal.to);
    if (close < (this.goal.to - this.goal.from) * 1e-4) this.camera = this.goal;
  }

  /** Keeps what is in the middle of the picture there, whatever comes and goes left of it. */
  private followAnchor(model: TreeModel): void {
    const { anchor } = this;
    if (anchor !== undefined) {
      const place = model.placeOf(anchor.leaf, anchor.branch);
      const by = place === undefined ? 0 : place.start + place.index - anchor.at;
      if (by !== 0) {
        this.camera = { from: this.camera.from + by, to: this.camera.to + by };
        this.goal = { from: this.goal.from + by, to: this.goal.to + by };
        for (const span of this.spans.values()) {
          span.left += by;
          span.right += by;
        }
      }
    }
    const middle = Math.max(0, Math.min(model.leafCount - 1, Math.floor((this.goal.from + this.goal.to) / 2)));
    const { branch, start } = model.locate(middle);
    const { leaves } = branch;
    const index = Math.max(0, Math.min((leaves?.n ?? 0) - 1, Math.floor(middle - start)));
    this.anchor = leaves && leaves.n > 0 ? { leaf: leaves.address[index], branch, at: start + index } : undefined;
    this.goal = clamped(this.goal, model.leafCount);
  }

  private moveDepth(now: number, elapsed: number): void {
    const whole = Math.round(this.depthGoal);
    if (this.depthGoal !== whole && now - this.depthAt > SETTLE && this.pointers.size === 0) this.setDepth(whole);
    const share = wantsStillness() ? 1 : 1 - Math.exp(-elapsed / (EASE * 0.8));
    this.depth += (this.depthGoal - this.depth) * share;
    if (Math.abs(this.depthGoal - this.depth) < 0.004) this.depth = this.depthGoal;
    if (this.depth === 0 && this.depthGoal === 0) this.opened = undefined;
  }

  private get legendHeight(): number {
    return this.brush.width < 480 ? 46 : 28;
  }

  private drawTree(model: TreeModel, now: number, elapsed: number): void {
    const { brush } = this;
    const top = brush.width < 480 ? 58 : 44;
    // Room for what is selected.
    const labels = brush.width < 480 ? 30 : 14;
    this.rows = rowsOf(model.rootLevel, top, brush.height - this.legendHeight - labels);
    this.columnCount = Math.ceil(brush.width / COLUMN);
    while (this.columns.length <= model.rootLevel) this.columns.push(new Columns(this.columnCount));
    for (const columns of this.columns) columns.clear();
    this.bars.length = 0;
    this.boxes.length = 0;
    const share = wantsStillness() ? 1 : 1 - Math.exp(-elapsed / (EASE * 1.4));
    this.placeBranch(model.top, 0, undefined, now, share);
    for (const [address, span] of this.spans) if (span.frame !== this.frame) this.spans.delete(address);
    for (const row of this.rows) this.drawColumns(this.columns[row.level], row);
    for (const bar of this.bars) this.drawBar(bar);
    this.drawEvents(model, now);
    for (const bar of this.bars) if (bar.width >= 26 && bar.height >= 18) this.drawBarText(bar);
    this.drawSelection();
  }

  /** Greatest width of a bar: the root's is wider, and none fills a narrow screen. */
  private widest(root: boolean): number {
    return Math.min(root ? WIDEST * 1.4 : WIDEST, this.brush.width * (root ? 0.92 : 0.8));
  }

  private rowOf(level: number): Row {
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

  private drawSelection(): void {
    const { brush, selection, hovered } = this;
    const { context, palette } = brush;
    const outline = (address: number, strong: boolean) => {
      const box = this.boxes.find((each) => each.address === address) ?? this.columnBox(address);
      if (box === undefined) return;
      context.strokeStyle = strong ? palette.focus : palette.muted;
      context.lineWidth = strong ? 2 : 1.5;
      brush.rounded(box.x - 3, box.y - 3, box.width + 6, box.height + 6, 7);
      context.stroke();
      context.lineWidth = 1;
    };
    if (hovered && hovered.address !== selection?.address) outline(hovered.address, false);
    if (selection) outline(selection.address, true);
  }

  /** Where a leaf stands that has no bar of its own. */
  private columnBox(address: number): Box | undefined {
    const { selection, hovered, brush, camera, model } = this;
    if (hovered?.address === address && hovered.level === 0) return hovered;
    if (selection?.address !== address || model === undefined) return undefined;
    const [first, n] = this.spanOf(selection);
    const row = this.rowOf(selection.level);
    if (row === undefined) return undefined;
    const scale = brush.width / (camera.to - camera.from);
    return {
      ...selection,
      x: (first - camera.from) * scale,
      y: row.y,
      width: Math.max(2, n * scale),
      height: row.height,
    };
  }

  private drawTexts(model: TreeModel, writers: Writers): void {
    const { brush, totals, tree, rows, counts } = this;
    const { palette, width } = brush;
    const title = tree?.label ?? 'Tree';
    const narrow = width < 480;
    brush.text(brush.fit(title, width - 16, BOLD), 8, 14, palette.ink, BOLD);
    const numbers = `${counted(totals.entries, 'entry', 'entries')} · ${counted(totals.splits, 'split')} · ${counted(totals.merges, 'merge')}`;
    const left = narrow ? 8 : 8 + brush.measure(title, BOLD) + 14;
    brush.text(brush.fit(numbers, width - left - 8, TEXT), left, narrow ? 32 : 14, palette.muted);
    for (const row of rows) {
      const n = counts[row.level] ?? 0;
      const full = row.level === 0 ? ` · ${percent(model.top.fills, model.leafCount)} full` : '';
      const name =
        row.level === 0
          ? counted(n, 'leaf', 'leaves')
          : row.level === model.rootLevel
            ? `level ${row.level} · root`
            : `level ${row.level} · ${counted(n, 'branch', 'branches')}`;
      brush.label(name + full, 8, row.y - 11, palette.muted);
    }
    this.drawInfo();
    this.drawLegend(model, writers);
  }

  /** What is selected, or pointed at, in words. */
  private drawInfo(): void {
    const { brush, selection, rows } = this;
    if (selection === undefined) return;
    const { path } = this;
    const name = path.map((crumb) => crumb.name).join(' › ');
    const last = rows[rows.length - 1];
    const y = Math.min(brush.height - this.legendHeight - 2, last.y + last.height + 12);
    const line = `${name}: ${this.selectionInfo()}`;
    if (brush.width >= 480) {
      brush.label(brush.fit(line, brush.width - 24, TEXT), 8, y, brush.palette.ink);
    } else {
      brush.label(brush.fit(name, brush.width - 24, TEXT), 8, y, brush.palette.ink);
      brush.label(brush.fit(this.selectionInfo(), brush.width - 24, TEXT), 8, y + 16, brush.palette.ink);
    }
  }

  /** Whose colours there are, and how much of the leaves each wrote last. */
  private drawLegend(model: TreeModel, writers: Writers): void {
    const { brush } = this;
    const { palette, context } = brush;
    const { colours } = model.top;
    let sum = 0;
    for (const n of colours) sum += Math.max(0, n);
    let x = 8;
    let y = brush.height - this.legendHeight + 16;
    const title = 'last writer';
    brush.text(title, x, y, palette.muted);
    x += brush.measure(title, TEXT) + 12;
    for (let i = 1; i <= WRITER_COLOURS + 1; i++) {
      const colour = i % (WRITER_COLOURS + 1);
      if (colours[colour] < sum * 0.005) continue;
      const text = `${writers.legend(colour)} ${percent(colours[colour], sum)}`;
      const size = brush.measure(text, TEXT) + 30;
      if (x + size > brush.width && x > 100) {
        x = 8;
        y += 18;
      }
      if (y > brush.height - 4) break;
      context.fillStyle = palette.writers[colour];
      brush.rounded(x, y - 5, 10, 10, 3);
      context.fill();
      brush.text(text, x + 15, y, palette.ink);
      x += size;
    }
  }

  /** The node that is opened, growing out of its bar. */
  private drawOpened(opened: Anatomy): void {
    const { brush } = this;
    const { context, palette, width, height } = brush;
    const box = this.boxes.find(({ address }) => address === opened.address) ?? this.columnBox(opened.address);
    if (box !== undefined && this.depth < 0.98) this.openedBox = box;
    const from = this.openedBox?.address === opened.address ? this.openedBox : box;
    const t = Math.min(1, this.depth);
    const eased = t * t * (3 - 2 * t);
    const start = from ?? { x: width / 2, y: height / 2, width: 0, height: 0 };
    const mix = (a: number, b: number) => a + (b - a) * eased;
    const x = mix(start.x, 4);
    const y = mix(start.y, 34);
    const w = mix(start.width, width - 8);
    const h = mix(start.height, height - 38);
    if (eased > 0.4) {
      context.globalAlpha = Math.min(1, (eased - 0.4) * 1.8);
      context.fillStyle = palette.background;
      context.fillRect(0, 0, width, height);
      context.globalAlpha = 1;
    }
    context.fillStyle = palette.background;
    brush.rounded(x, y, w, h, 8);
    context.fill();
    context.save();
    context.clip();
    context.globalAlpha = 1;
    if (eased > 0.25) opened.draw(brush, x, y, w, h, Math.max(0, Math.min(1, this.depth - 1)));
    context.restore();
    context.strokeStyle = opened.latched ? palette.alarm : palette.line;
    context.lineWidth = opened.latched ? 2 : 1;
    brush.rounded(x + 0.5, y + 0.5, w - 1, h - 1, 8);
    context.stroke();
    context.lineWidth = 1;
    if (eased > 0.8) {
      const name = this.path.map((crumb) => crumb.name).join(' › ');
      brush.text(brush.fit(name, width - 16, BOLD), 8, 16, palette.ink, BOLD);
    }
  }
}

function percent(part: number, whole: number): string {
  return whole <= 0 ? '0 %' : `${Math.round((100 * part) / whole)} %`;
}
