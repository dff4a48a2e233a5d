/**
 * What is known of a tree's nodes, gathered by looking at a bounded number of them at a time. It has no part in the tree:
 * no latch, no message. A node's version word says how often it has changed and who changed it last, so what happened
 * between two looks is known exactly for each node, as a number of changes and its last writer.
 *
 * Branches are objects; leaves, of which there are a hundred times as many, stand in arrays of the branch above them. Each
 * branch has sums over the leaves below it, so a picture need not go further down than it can show.
 */
import { WRITER_COLOURS } from './palette.ts';
import { changesOf, type Head, isLatched, TreeBytes, writerOf } from './tree-bytes.ts';

/** Milliseconds in which heat falls to a third. */
export const HEAT_TIME = 350;
/** Milliseconds for which what was last seen is shown unchanged. */
const HEAT_HELD = 600;
/** Events that are kept for the picture. */
const MAX_EVENTS = 48;
/** Of one branch at one look, at most so many: more at once cannot be followed by eyes. */
const MAX_EVENTS_AT_ONCE = 3;
/** Milliseconds after which an event is forgotten. */
export const EVENT_TIME = 900;
/** What a look at an inner node costs, in looks at leaves. */
const NODE_COST = 4;
/** Milliseconds between sweeps of branches that are not in the tree any more. */
const SWEEP_TIME = 4000;

/** A change of the tree's structure that was seen. */
export interface TreeEvent {
  readonly kind: 'split' | 'merge' | 'grow' | 'shrink';
  /** Level of the nodes that were split or merged. */
  readonly level: number;
  /** The branch above them. */
  readonly parent: Branch;
  /** The left half; the node that took the other's entries. */
  readonly left: number;
  /** The right half, which is new; the node that is gone. */
  readonly right: number;
  readonly colour: number;
  readonly at: number;
}

/** Arrays of leaves, of which each says one thing, in one buffer. */
class LeafArrays {
  readonly latchedAt: Float64Array;
  readonly address: Uint32Array;
  readonly low: Uint32Array;
  readonly high: Uint32Array;
  readonly fill: Float32Array;
  readonly heat: Float32Array;
  readonly count: Uint16Array;
  readonly colour: Uint8Array;
  /** 1 once it has been looked at. */
  readonly known: Uint8Array;

  constructor(room: number) {
    const buffer = new ArrayBuffer(room * 32);
    this.latchedAt = new Float64Array(buffer, 0, room);
    this.address = new Uint32Array(buffer, room * 8, room);
    this.low = new Uint32Array(buffer, room * 12, room);
    this.high = new Uint32Array(buffer, room * 16, room);
    this.fill = new Float32Array(buffer, room * 20, room);
    this.heat = new Float32Array(buffer, room * 24, room);
    this.count = new Uint16Array(buffer, room * 28, room);
    this.colour = new Uint8Array(buffer, room * 30, room);
    this.known = new Uint8Array(buffer, room * 31, room);
  }

  copy(i: number, from: LeafArrays, j: number): void {
    this.latchedAt[i] = from.latchedAt[j];
    this.address[i] = from.address[j];
    this.low[i] = from.low[j];
    this.high[i] = from.high[j];
    this.fill[i] = from.fill[j];
    this.heat[i] = from.heat[j];
    this.count[i] = from.count[j];
    this.colour[i] = from.colour[j];
    this.known[i] = from.known[j];
  }
}

/** Where leaves stand while they change places: one for all, since nothing waits in between. */
let aside = new LeafArrays(64);

/** Leaves below one branch, from left to right. */
export class Leaves extends LeafArrays {
  n = 0;

  /** Becomes the leaves at these addresses; what is known of those that stay is kept. @param colour of new ones, until they are looked at */
  become(addresses: Uint32Array, n: number, colour = 0): void {
    const before = this.n;
    if (aside.address.length < this.address.length) aside = new LeafArrays(this.address.length);
    for (let i = 0; i < before; i++) aside.copy(i, this, i);
    let next = 0;
    for (let i = 0; i < n; i++) {
      const address = addresses[i];
      // They mostly keep their order, so the one looked for is the next or near it.
      let j = next;
      while (j < before && aside.address[j] !== address) j++;
      if (j < before) {
        this.copy(i, aside, j);
        next = j + 1;
        continue;
      }
      this.address[i] = address;
      this.colour[i] = colour;
      this.count[i] = 0;
      this.fill[i] = 0;
      this.heat[i] = 0;
      this.known[i] = 0;
      this.latchedAt[i] = -Infinity;
    }
    this.n = n;
  }

  indexOf(address: number): number {
    for (let i = 0; i < this.n; i++) if (this.address[i] === address) return i;
    return -1;
  }
}

/** A node above the leaves. */
export class Branch {
  readonly address: number;
  readonly level: number;
  parent: Branch | undefined;
  /** False until it has been looked at. */
  read = false;
  low = 0;
  high = 0;
  count = 0;
  /** Its own fill, 0 to 1. */
  fill = 0;
  colour = 0;
  heat = 0;
  latchedAt = -Infinity;
  /** In a branch right above the leaves. */
  readonly leaves: Leaves | undefined;
  children: Branch[] = [];
  /** Sums over the leaves below: how many (guessed until they are known), their fills, their heat when last seen, how many of each colour. */
  leafCount: number;
  fills = 0;
  hot = 0;
  readonly colours = new Float64Array(WRITER_COLOURS + 1);
  /** When it was last looked at, and with it the leaves right below it. */
  lookedAt = 0;
  /** Number of the frame in which it was last looked at. */
  frame = -1;

  /** @param guess leaves below it, until it is looked at. @param room most children of a branch */
  constructor(address: number, level: number, guess: number, room: number) {
    this.address = address;
    this.level = level;
    this.leafCount = guess;
    this.leaves = level === 1 ? new Leaves(room) : undefined;
  }

  /** Stands for the branch above a root that is a leaf. */
  get isNone(): boolean {
    return this.address === 0;
  }
}

/** Where a leaf stands. */
export interface Place {
  readonly branch: Branch;
  /** Number of the branch's first leaf in the tree. */
  readonly start: number;
  readonly index: number;
}

/**
 * Heat to be shown of a node that was looked at some milliseconds ago. It stands still for a while: what is not looked at
 * does not cool because of that.
 */
export function shownHeat(heat: number, elapsed: number): number {
  return cooled(heat, elapsed - HEAT_HELD);
}

/** Heat that is left of `heat` after some milliseconds. */
export function cooled(heat: number, elapsed: number): number {
  return heat < 0.004 ? 0 : heat * Math.exp(-Math.max(0, elapsed) / HEAT_TIME);
}

/** Heat of a node that changed so often in so many milliseconds: 0.4 for few changes a second, 1 for a hundred thousand. */
export function heatOf(changes: number, elapsed: number): number {
  const rate = (changes * 1000) / Math.max(16, elapsed);
  return Math.min(1, 0.3 + 0.14 * Math.log10(1 + rate));
}

/** A tree's nodes, as far as they were looked at. */
export class TreeModel {
  readonly bytes: TreeBytes;
  /** The root; or what stands for the branch above it, if it is a leaf. */
  top: Branch;
  /** Level of the root. */
  rootLevel = 0;
  readonly events: TreeEvent[] = [];
  /** Counts of what was looked at in the last frame. */
  looked = 0;
  /** Colour number of each thread. */
  colourOf: Uint8Array;
  private readonly branches = new Map<number, Branch>();
  private readonly head: Head = { low: 0, high: 0, count: 0, level: 0 };
  private readonly room: number;
  private readonly scratch: Uint32Array;
  private readonly shares = new Float64Array(WRITER_COLOURS + 1);
  private frame = 0;
  private cursor = 0;
  private farCursor = 0;
  private sweptAt = 0;

  private constructor(bytes: TreeBytes, colourOf: Uint8Array) {
    this.bytes = bytes;
    this.colourOf = colourOf;
    this.room = bytes.branchCapacity + 1;
    this.scratch = new Uint32Array(this.room);
    this.top = this.none();
  }

  /** The model of a memory; undefined if it holds no tree. @param colourOf colour number of each of 256 threads */
  static of(memory: WebAssembly.Memory, colourOf: Uint8Array): TreeModel | undefined {
    const bytes = TreeBytes.of(memory);
    return bytes && new TreeModel(bytes, colourOf);
  }

  private none(): Branch {
    const none = new Branch(0, 1, 1, 1);
    none.read = true;
    none.leaves?.become(new Uint32Array([this.bytes.root]), 1);
    return none;
  }

  /** Leaves of the whole tree, as far as is known. */
  get leafCount(): number {
    return Math.max(1, this.top.leafCount);
  }

  /**
   * Looks at some nodes: those on the way to the leaves from number `from` to `to` first, by turns, then at others.
   * @param budget looks at leaves. @param deadline as `performance.now()`, when to stop in any case
   */
  look(now: number, from: number, to: number, budget: number, deadline: number): void {
    this.bytes.renew();
    this.frame++;
    this.looked = 0;
    this.lookAtRoot(now);
    while (this.events.length > 0 && now - this.events[0].at > EVENT_TIME) this.events.shift();
    this.cursor = this.pass(now, Math.max(0, from), Math.min(to, this.leafCount), this.cursor, budget, deadline);
    const rest = Math.max(budget >> 2, budget - this.looked);
    if (from > 0 || to < this.leafCount) {
      this.farCursor = this.pass(now, 0, this.leafCount, this.farCursor, rest, deadline);
    }
    if (now - this.sweptAt > SWEEP_TIME) this.sweep(now);
  }

  /** Goes on at `cursor` within a range of leaves, once round at most. @returns where to go on */
  private pass(now: number, from: number, to: number, cursor: number, budget: number, deadline: number): number {
    let at = cursor >= from && cursor < to ? cursor : from;
    let left = to - from;
    const limit = this.looked + budget;
    while (left > 0 && this.looked < limit) {
      const { branch, start } = this.locate(at, now);
      if (branch.frame !== this.frame) this.visit(branch, now);
      const n = Math.max(1, branch.leafCount);
      left -= Math.max(1, start + n - at);
      at = start + n;
      if (at >= to) at = from;
      if (performance.now() > deadline) break;
    }
    return at;
  }

  private lookAtRoot(now: number): void {
    const { bytes, head } = this;
    if (!bytes.head(bytes.root, head)) {
      if (isLatched(head.low)) this.noteLatched(this.top, now);
      return;
    }
    if (head.level === this.rootLevel) return;
    const grew = head.level > this.rootLevel;
    const known = this.frame > 1;
    this.rootLevel = head.level;
    const colour = this.colourOf[writerOf(head.low) & 255];
    this.top =
      head.level === 0
        ? this.none()
        : new Branch(bytes.root, head.level, Math.max(1, bytes.totals().leaves), this.room);
    if (known) {
      const kind = grew ? 'grow' : 'shrink';
      this.note({ kind, level: head.level, parent: this.top, left: bytes.root, right: 0, colour, at: now });
    }
  }

  private note(event: TreeEvent): void {
    this.events.push(event);
    if (this.events.length > MAX_EVENTS) this.events.shift();
  }

  private noteLatched(node: Branch, now: number): void {
    node.latchedAt = now;
    if (node.isNone && node.leaves) node.leaves.latchedAt[0] = now;
  }

  /** The branch above the leaf of that number. Inner nodes on the way are looked at, if they were not yet in this frame. */
  locate(leaf: number, now?: number): { branch: Branch; start: number } {
    let node = this.top;
    let start = 0;
    while (node.leaves === undefined) {
      if (now !== undefined && node.frame !== this.frame) {
        this.visit(node, now);
      }
      const { children } = node;
      if (children.length === 0) break;
      let i = 0;
      while (i < children.length - 1 && start + children[i].leafCount <= leaf) start += children[i++].leafCount;
      node = children[i];
    }
    return { branch: node, start };
  }

  /** Looks at a branch, and at the leaves right below it. */
  visit(branch: Branch, now: number): void {
    branch.frame = this.frame;
    this.looked += NODE_COST;
    if (!branch.isNone) this.lookAtBranch(branch, now);
    if (branch.leaves) this.lookAtLeaves(branch, branch.leaves, now);
    else this.sum(branch);
  }

  private lookAtBranch(branch: Branch, now: number): void {
    const { bytes, head, scratch } = this;
    const n = bytes.children(branch.address, head, scratch);
    if (n === 0 || head.level !== branch.level) {
      if (isLatched(head.low)) this.noteLatched(branch, now);
      return;
    }
    const first = !branch.read;
    const elapsed = now - branch.lookedAt;
    branch.heat = cooled(branch.heat, elapsed);
    // Its leaves are looked at in a moment, and then the time is noted.
    if (branch.leaves === undefined) branch.lookedAt = now;
    if (!first && branch.low === head.low && branch.high === head.high) return;
    const changes = changesOf(head.low, head.high) - changesOf(branch.low, branch.high);
    branch.colour = this.colourOf[writerOf(head.low) & 255];
    if (!first && changes > 0) branch.heat = Math.max(branch.heat, heatOf(changes, elapsed));
    branch.low = head.low;
    branch.high = head.high;
    branch.count = head.count;
    branch.fill = bytes.fill(branch.address, head.count, head.level);
    branch.read = true;
    if (branch.leaves) this.takeLeaves(branch, branch.leaves, n, first, now);
    else this.takeChildren(branch, n, first, now);
  }

  private takeLeaves(branch: Branch, leaves: Leaves, n: number, first: boolean, now: number): void {
    const { scratch } = this;
    let same = leaves.n === n;
    for (let i = 0; i < n && same; i++) same = leaves.address[i] === scratch[i];
    if (same) return;
    const before = leaves.address.slice(0, leaves.n);
    leaves.become(scratch, n, branch.colour);
    if (!first) this.noteDifference(branch, before, leaves.address.subarray(0, n), now);
  }

  private takeChildren(branch: Branch, n: number, first: boolean, now: number): void {
    const { scratch, branches } = this;
    const before = branch.children;
    const addresses = scratch.slice(0, n);
    // Whole numbers, whose sums and differences are exact.
    const guess = Math.max(1, Math.round(branch.leafCount / n));
    for (const child of before) if (child.parent === branch) child.parent = undefined;
    branch.children = Array.from(addresses, (address) => {
      const known = branches.get(address);
      const child = known?.level === branch.level - 1 ? known : new Branch(address, branch.level - 1, guess, this.room);
      child.parent = branch;
      branches.set(address, child);
      return child;
    });
    if (!first) {
      const old = Uint32Array.from(before, ({ address }) => address);
      this.noteDifference(branch, old, addresses, now);
      // New halves are looked at at once, so that they do not stand empty.
      for (const child of branch.children.filter(({ read }) => !read).slice(0, MAX_EVENTS_AT_ONCE))
        this.visit(child, now);
    }
  }

  /** Notes splits and merges among a branch's children. What comes or goes with many others was moved by the branch's own. */
  private noteDifference(branch: Branch, before: Uint32Array, after: Uint32Array, now: number): void {
    const changes = differenceOf(before, after);
    const level = branch.level - 1;
    const { colour } = branch;
    if (changes.removed.length > Math.max(2, before.length >> 2)) return;
    for (const [left, right] of changes.added.slice(0, MAX_EVENTS_AT_ONCE)) {
      this.note({ kind: 'split', level, parent: branch, left, right, colour, at: now });
    }
    for (const [left, right] of changes.removed.slice(0, MAX_EVENTS_AT_ONCE)) {
      this.note({ kind: 'merge', level, parent: branch, left, right, colour, at: now });
    }
  }

  private lookAtLeaves(branch: Branch, leaves: Leaves, now: number): void {
    const { bytes, head, colourOf } = this;
    this.looked += leaves.n;
    const sums = { leaves: leaves.n, fills: 0, hot: 0 };
    const elapsed = now - branch.lookedAt;
    branch.lookedAt = now;
    const colours = this.shares.fill(0);
    for (let i = 0; i < leaves.n; i++) {
      const address = leaves.address[i];
      if (!bytes.head(address, head)) {
        if (isLatched(head.low)) {
          leaves.latchedAt[i] = now;
          leaves.colour[i] = colourOf[writerOf(head.low) & 255];
        }
      } else if (head.level === 0) {
        const changes = changesOf(head.low, head.high) - changesOf(leaves.low[i], leaves.high[i]);
        leaves.heat[i] = cooled(leaves.heat[i], elapsed);
        if (leaves.known[i] === 0 || changes !== 0) {
          if (leaves.known[i] === 1) leaves.heat[i] = Math.max(leaves.heat[i], heatOf(changes, elapsed));
          leaves.known[i] = 1;
          leaves.low[i] = head.low;
          leaves.high[i] = head.high;
          leaves.count[i] = head.count;
          leaves.fill[i] = bytes.fill(address, head.count, 0);
          leaves.colour[i] = colourOf[writerOf(head.low) & 255];
        }
      }
      sums.fills += leaves.fill[i];
      sums.hot += leaves.heat[i];
      colours[leaves.colour[i]]++;
    }
    this.setSums(branch, sums.leaves, sums.fills, sums.hot, colours);
  }

  /** Makes an inner node's sums from its children's. */
  private sum(branch: Branch): void {
    let leaves = 0;
    let fills = 0;
    let hot = 0;
    const colours = this.shares.fill(0);
    for (const child of branch.children) {
      leaves += child.leafCount;
      fills += child.fills;
      hot += child.hot;
      for (let c = 0; c <= WRITER_COLOURS; c++) colours[c] += child.colours[c];
    }
    if (branch.children.length > 0) this.setSums(branch, leaves, fills, hot, colours);
  }

  private setSums(branch: Branch, leaves: number, fills: number, hot: number, colours: Float64Array): void {
    const more = { leaves: leaves - branch.leafCount, fills: fills - branch.fills, hot: hot - branch.hot };
    for (let c = 0; c <= WRITER_COLOURS; c++) colours[c] -= branch.colours[c];
    // In the branch itself and in all above it, so that numbers of leaves agree on the whole way down.
    for (let node: Branch | undefined = branch; node !== undefined; node = node.parent) {
      node.leafCount += more.leaves;
      node.fills += more.fills;
      node.hot += more.hot;
      for (let c = 0; c <= WRITER_COLOURS; c++) node.colours[c] += colours[c];
    }
  }

  private sweep(now: number): void {
    this.sweptAt = now;
    for (const [address, branch] of this.branches) {
      let node: Branch | undefined = branch;
      while (node !== undefined && node !== this.top) node = node.parent;
      if (node === undefined) this.branches.delete(address);
    }
  }

  /** A branch in the tree by its address. */
  branchAt(address: number): Branch | undefined {
    return this.top.address === address && address !== 0 ? this.top : this.branches.get(address);
  }

  /** Number of a branch's first leaf. */
  startOf(branch: Branch): number {
    let start = 0;
    for (let node = branch; node.parent !== undefined; node = node.parent) {
      for (const sibling of node.parent.children) {
        if (sibling === node) break;
        start += sibling.leafCount;
      }
    }
    return start;
  }

  /** The place of a leaf. @param near a branch that it may be below; other branches are searched after it */
  placeOf(leaf: number, near?: Branch): Place | undefined {
    const here = near?.leaves?.indexOf(leaf) ?? -1;
    if (near && here >= 0 && this.isIn(near)) return { branch: near, start: this.startOf(near), index: here };
    for (const branch of [this.top, ...this.branches.values()]) {
      const index = branch.leaves?.indexOf(leaf) ?? -1;
      if (index >= 0 && this.isIn(branch)) return { branch, start: this.startOf(branch), index };
    }
    return undefined;
  }

  /** Whether a branch is in the tree. */
  isIn(branch: Branch): boolean {
    let node: Branch | undefined = branch;
    while (node !== undefined && node !== this.top) node = node.parent;
    return node !== undefined;
  }
}

/** Children that came, each with its left neighbour; children that are gone, likewise. */
export function differenceOf(before: Uint32Array, after: Uint32Array): { added: number[][]; removed: number[][] } {
  const was = new Set(before);
  const is = new Set(after);
  const added: number[][] = [];
  const removed: number[][] = [];
  for (let i = 0; i < after.length; i++) if (!was.has(after[i])) added.push([after[i > 0 ? i - 1 : 0], after[i]]);
  for (let i = 0; i < before.length; i++) {
    if (is.has(before[i])) continue;
    // Its entries went to the nearest one that is still there.
    let j = i;
    while (j > 0 && !is.has(before[j])) j--;
    removed.push([is.has(before[j]) ? before[j] : after[0], before[i]]);
  }
  return { added, removed };
}
