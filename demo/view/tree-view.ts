/**
 * The tree, live: levels from the root down, each node a bar as full as the node, in the colour of its last writer and
 * glowing where it changes; by zooming, from the whole tree to the bytes of one node. Everything is read out of the shared
 * memory in this thread, a bounded number of nodes per frame, without a message and without a latch.
 */
import type { StoreHandle } from '../../workers/store-client.ts';
import { Anatomy } from './anatomy.ts';
import { BOLD, Brush, count, counted, TEXT, wantsStillness } from './brush.ts';
import { changesOf, isLatched, type Totals, writerOf } from './tree-bytes.ts';
import { EASE, TreeCamera } from './tree-camera.ts';
import { type Handled, TreeGestures } from './tree-gestures.ts';
import { type Box, boxAt, CLOSEST } from './tree-layout.ts';
import { type Branch, TreeModel } from './tree-model.ts';
import { TreePicture } from './tree-picture.ts';
import { drawLegend, drawSelected, drawTitles, percent } from './tree-texts.ts';
import { Writers } from './writers.ts';

/** Looks at leaves per frame, and milliseconds that they may take; more while the tree is not known yet. */
const LOOKS = 4000;
const LOOK_TIME = 1.2;
const FIRST_LOOK_TIME = 12;
/** Milliseconds without wheel or pinch after which a half opened node opens or closes. */
const SETTLE = 220;
/** Milliseconds after a node has opened in which a click is the second half of a double click. */
const DOUBLE = 300;
/** Pixels of a node from which on it can be made out. */
const LARGE = 44;
/** Milliseconds after which a dive opens the leaf, and then its bytes. */
const DIVE_OPENS = 900;
const DIVE_DEEPER = 2000;
/** Leaves that are looked at to find one that is being written. */
const TASTED = 48;

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

/** The selected node, and where it was found last. */
interface Selection {
  readonly address: number;
  readonly level: number;
  /** A leaf's branch. */
  near: Branch | undefined;
}

export class TreeView implements Handled {
  /** Called when selection or zoom have changed. */
  onChange?: () => void;
  private readonly canvas: HTMLCanvasElement;
  private readonly brush: Brush;
  private readonly picture: TreePicture;
  private readonly gestures: TreeGestures;
  private tree: ShownTree | undefined;
  private instead = '';
  private model: TreeModel | undefined;
  private writers: Writers | undefined;
  private writersAt = 0;
  private totals: Totals = { entries: 0, leaves: 0, splits: 0, merges: 0 };
  /** Nodes by level. */
  private counts: number[] = [];
  private countsAt = 0;

  private readonly camera = new TreeCamera();
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
  /** When a dive began that is under way. */
  private diveFrom: number | undefined;

  constructor(canvas: HTMLCanvasElement) {
    this.canvas = canvas;
    this.brush = new Brush(canvas);
    this.picture = new TreePicture(this.brush);
    this.gestures = new TreeGestures(canvas, this);
    this.setTouch();
  }

  /** Shows another tree, or none. @param instead what is said then */
  show(tree: ShownTree | undefined, instead = 'No tree yet'): void {
    this.tree = tree;
    this.instead = instead;
    this.model = undefined;
    this.selection = undefined;
    this.opened = undefined;
    this.hovered = undefined;
    this.depth = 0;
    this.depthGoal = 0;
    this.camera.home();
    this.picture.forget();
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
    this.camera.begin(this.model.leafCount);
  }

  /** Takes the size that the page gives the canvas. It is empty then, and so drawn before it can be seen. */
  resize(): void {
    if (!this.brush.resize()) return;
    this.picture.resize();
    this.draw(this.before);
  }

  /** Takes the listeners away that are not the canvas's own. */
  close(): void {
    this.brush.close();
    this.gestures.close();
    this.show(undefined);
  }

  /** Whether all of the tree is seen. */
  get isHome(): boolean {
    return this.camera.isWhole;
  }

  /** Whether a node is opened. */
  get isOpen(): boolean {
    return this.depthGoal > 0;
  }

  // What is to be seen.

  /** One sentence. */
  get describe(): string {
    const { model, tree, totals } = this;
    if (model === undefined || tree === undefined) return this.instead;
    const what = tree.label ? `${tree.label}: a tree` : 'A tree';
    const whole = `${what} of ${counted(totals.entries, 'entry', 'entries')} in ${counted(totals.leaves, 'leaf', 'leaves')} and ${counted(model.rootLevel + 1, 'level')}, ${percent(model.top.fills, model.leafCount)} full, ${counted(totals.splits, 'split')} and ${counted(totals.merges, 'merge')} so far.`;
    const path = this.path.map(({ name }) => name).join(', ');
    const info = this.selectionInfo();
    if (this.opened && this.depthGoal > 0) {
      return `${this.depthGoal > 1 ? 'The bytes' : 'The inside'} of ${path}: ${info}.`;
    }
    const seen = this.isHome ? '' : ` ${this.seenLeaves()} of its leaves are in sight.`;
    return whole + seen + (info ? ` Selected: ${path}: ${info}.` : '');
  }

  /** What is selected, in a few words; nothing if nothing is. */
  get describeSelected(): string {
    if (this.selection === undefined) return '';
    const path = this.path.map(({ name }) => name).join(', ');
    const where = this.depthGoal > 1 ? 'The bytes of ' : this.depthGoal > 0 ? 'The inside of ' : '';
    return `${where}${path}: ${this.selectionInfo()}.`;
  }

  private seenLeaves(): string {
    const n = this.model?.leafCount ?? 0;
    const { from, to } = this.camera.now;
    return count(Math.max(1, Math.min(n, to) - Math.max(0, from)));
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
    this.diveFrom = undefined;
    const found = this.find(node);
    if (found === undefined) return;
    this.selection = found;
    this.reveal(found);
    if (this.depthGoal > 0) this.open(found, this.depthGoal);
    this.onChange?.();
  }

  /** Goes down to a leaf that is being written and on to its bytes, in steps that one can follow. */
  dive(): void {
    this.setDepth(0);
    const leaf = this.busyLeaf();
    const found = leaf === undefined ? undefined : this.find(leaf);
    if (found === undefined) return;
    this.selection = found;
    const [first] = this.spanOf(found);
    this.camera.moveTo({ from: first - 1, to: first + 2 }, this.model?.leafCount ?? 1);
    this.diveFrom = performance.now();
    this.onChange?.();
  }

  /** The leaf that was written most of late, of some. */
  private busyLeaf(): number | undefined {
    const { model } = this;
    if (model === undefined) return undefined;
    const now = performance.now();
    let best: number | undefined;
    let hottest = -1;
    for (let i = 0; i < TASTED; i++) {
      const leaf = Math.floor(((i + 0.5) / TASTED) * model.leafCount);
      const { branch, start } = model.locate(leaf, now);
      if (!branch.read) model.visit(branch, now);
      const { leaves } = branch;
      if (leaves === undefined || leaves.n === 0) continue;
      const at = Math.max(0, Math.min(leaves.n - 1, leaf - start));
      if (leaves.heat[at] <= hottest) continue;
      hottest = leaves.heat[at];
      best = leaves.address[at];
    }
    return best;
  }

  /** The whole tree. */
  home(): void {
    this.diveFrom = undefined;
    this.depthGoal = 0;
    this.camera.home();
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
    const { model, camera } = this;
    if (model === undefined) return;
    const { goal } = camera;
    const [first, n] = this.spanOf(selection);
    const width = goal.to - goal.from;
    const pixels = (n / width) * this.brush.width;
    const wanted = pixels < 14 ? (n * this.brush.width) / LARGE : Math.max(width, n * 1.2);
    const inside = first >= goal.from && first + n <= goal.to;
    if (inside && wanted === width) return;
    const middle = inside && pixels >= 14 ? (goal.from + goal.to) / 2 : first + n / 2;
    camera.moveTo({ from: middle - wanted / 2, to: middle + wanted / 2 }, model.leafCount);
  }

  private zoomAround(factor: number): void {
    const box = this.selection && this.picture.boxes.find(({ address }) => address === this.selection?.address);
    const x = box ? box.x + box.width / 2 : this.brush.width / 2;
    const leafRow = this.picture.rows[this.picture.rows.length - 1];
    const y = box ? box.y + box.height / 2 : leafRow ? leafRow.y + leafRow.height / 2 : 0;
    // Whole steps, where the wheel has continuous ones.
    if (this.depthGoal > 0) this.setDepth(Math.round(this.depthGoal + Math.sign(factor - 1)));
    else this.zoomAt(factor, x, y, 1);
  }

  /** @param step how far a node opens that fills the picture already */
  zoomAt(factor: number, x: number, y: number, step: number): void {
    const { model, brush, picture } = this;
    this.diveFrom = undefined;
    if (model === undefined) return;
    const { goal } = this.camera;
    if (this.depthGoal > 0) {
      this.setDepth(this.depthGoal + step * Math.sign(factor - 1));
      return;
    }
    if (factor > 1) {
      // As near as it gets, a leaf opens wherever above or below it one zooms.
      const nearest = goal.to - goal.from <= CLOSEST * 1.02;
      const box = this.pointed(x, y, 4) ?? (nearest ? picture.leafAt(x) : undefined);
      const found = box && this.find(box.address);
      if (found) {
        const [, n] = this.spanOf(found);
        const closest = goal.to - goal.from <= Math.max(CLOSEST * 1.02, n * 1.3);
        if (closest && (found.level === 0 || box === boxAt(picture.boxes, x, y, 0))) {
          this.selection = found;
          this.open(found, step);
          this.onChange?.();
          return;
        }
      }
    }
    this.camera.zoom(factor, x / brush.width, model.leafCount);
    this.onChange?.();
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

  pan(pixels: number): void {
    this.diveFrom = undefined;
    this.camera.pan(-pixels / this.brush.width, this.model?.leafCount ?? 1);
  }

  scroll(pixels: number): void {
    if (this.opened) this.opened.scroll += pixels;
  }

  pointed(x: number, y: number, reach: number): Box | undefined {
    if (this.depthGoal > 0) return this.opened && boxAt(this.opened.boxes, x, y);
    return boxAt(this.picture.boxes, x, y, reach) ?? this.picture.leafAt(x, y);
  }

  hover(box: Box | undefined): void {
    this.hovered = box;
  }

  /** Selects a node and comes nearer; the second click on it opens it, the third one shows its bytes. */
  click(box: Box | undefined, x: number): void {
    this.diveFrom = undefined;
    const opening = performance.now() - this.depthAt < DOUBLE;
    const found = box && this.find(box.address);
    if (this.depthGoal > 0) {
      if (opening) return;
      if (found === undefined) {
        this.setDepth(2);
        return;
      }
      this.selection = found;
      this.reveal(found);
      this.open(found, this.depthGoal);
    } else if (found?.address === this.selection?.address) {
      if (found) this.open(found, 1);
    } else if (found) {
      this.selection = found;
      this.approach(found, x);
    }
    this.onChange?.();
  }

  /** Comes so near that a node can be made out, with what is under the pointer staying there. */
  private approach(selection: Selection, x: number): void {
    const { model, camera, brush } = this;
    if (model === undefined) return;
    // From what was seen when it was clicked, wherever the camera was going.
    camera.moveTo(camera.now, model.leafCount);
    const [, n] = this.spanOf(selection);
    const pixels = (n / (camera.goal.to - camera.goal.from)) * brush.width;
    if (pixels < LARGE) camera.zoom(LARGE / pixels, x / brush.width, model.leafCount);
  }

  key(key: string): boolean {
    const { model, selection } = this;
    if (model === undefined) return false;
    this.diveFrom = undefined;
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
      else if (!this.isHome) this.home();
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
    this.picture.shift(this.camera.move(model, elapsed));
    this.moveDepth(now, elapsed);
    if (this.depth < 0.98) {
      this.picture.draw(model, this.camera.now, now, elapsed);
      this.drawMarks();
      this.drawTexts(model, writers);
    }
    if (this.depth > 0.001 && this.opened) this.drawOpened(this.opened);
  }

  private drawNothing(): void {
    const { brush } = this;
    const text = this.tree === undefined ? this.instead : 'There is no tree in this memory';
    brush.inLines(text, brush.palette.muted, BOLD);
  }

  private lookAround(model: TreeModel, writers: Writers, now: number): void {
    if (now - this.writersAt > 1000) {
      this.writersAt = now;
      writers.renew();
    }
    const begun = performance.now();
    const { from, to } = this.camera.now;
    model.look(now, Math.floor(from), Math.ceil(to), LOOKS, begun + LOOK_TIME);
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

  private moveDepth(now: number, elapsed: number): void {
    this.goOnDiving(now);
    const whole = Math.round(this.depthGoal);
    if (this.depthGoal !== whole && now - this.depthAt > SETTLE && !this.gestures.isHeld) this.setDepth(whole);
    const share = wantsStillness() ? 1 : 1 - Math.exp(-elapsed / (EASE * 0.8));
    this.depth += (this.depthGoal - this.depth) * share;
    if (Math.abs(this.depthGoal - this.depth) < 0.004) this.depth = this.depthGoal;
    if (this.depth === 0 && this.depthGoal === 0) this.opened = undefined;
  }

  private goOnDiving(now: number): void {
    const { diveFrom, selection } = this;
    if (diveFrom === undefined) return;
    const deep = now - diveFrom > DIVE_DEEPER;
    if (selection === undefined || deep) this.diveFrom = undefined;
    if (selection !== undefined && now - diveFrom > DIVE_OPENS) {
      const depth = deep ? 2 : 1;
      if (this.depthGoal < depth) this.open(selection, depth);
    }
  }

  /** Where a node is in the picture. */
  private placeOf(node: Selection): Box | undefined {
    const [first, n] = this.spanOf(node);
    return this.picture.placeOf(node.address, node.level, first, n);
  }

  /** Frames around what is pointed at, and what is selected. */
  private drawMarks(): void {
    const { picture, hovered, selection } = this;
    if (hovered && hovered.address !== selection?.address) {
      const bar = picture.boxes.find(({ address }) => address === hovered.address);
      if (bar || hovered.level === 0) picture.outline(bar ?? hovered, false);
    }
    const box = selection && this.placeOf(selection);
    if (box) picture.outline(box, true);
  }

  private drawTexts(model: TreeModel, writers: Writers): void {
    const { brush, picture, totals, counts, selection } = this;
    drawTitles(brush, picture, model, totals, counts);
    if (selection) {
      const name = this.path.map((crumb) => crumb.name).join(' › ');
      drawSelected(
        brush,
        picture,
        name,
        this.selectionInfo(),
        brush.isNarrow ? 'tap again: open' : 'click again: open it',
      );
    }
    drawLegend(brush, model, writers);
  }

  /** The node that is opened, growing out of its bar. */
  private drawOpened(opened: Anatomy): void {
    const { brush } = this;
    const { context, palette, width, height } = brush;
    const { address, level } = opened;
    const box = this.placeOf({ address, level, near: this.selection?.near });
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
      const deep = this.depthGoal > 1;
      const back = brush.isNarrow ? '−: back' : '− or Esc: back';
      const hint = deep ? back : brush.isNarrow ? 'tap: its bytes' : `click: its bytes · ${back}`;
      const size = brush.measure(hint, TEXT);
      brush.text(brush.fit(opened.titleOf(deep), width - size - 32, BOLD), 8, 16, palette.ink, BOLD);
      brush.text(hint, width - size - 8, 16, palette.muted);
    }
  }
}
