/** What is seen of a tree, and where the eye is going: it stays with the whole tree as that grows, or with what it looks at. */
import { wantsStillness } from './brush.ts';
import { between, type Camera, clamped, everything, seesAll, zoomed } from './tree-layout.ts';
import type { Branch, TreeModel } from './tree-model.ts';

/** Milliseconds in which the camera comes to two thirds of its way. */
export const EASE = 90;

export class TreeCamera {
  /** What is seen now, and what will be. */
  now: Camera = everything(1);
  goal: Camera = everything(1);
  /** Whether it stays with the whole tree. */
  isWhole = true;
  /** A leaf in the middle of the picture, and its number when it was last seen. */
  private anchor: { leaf: number; branch: Branch; at: number } | undefined;

  /** Sees all of another tree, at once. */
  begin(leaves: number): void {
    this.home();
    this.goal = everything(leaves);
    this.now = this.goal;
  }

  /** Goes back to the whole tree. */
  home(): void {
    this.isWhole = true;
    this.anchor = undefined;
  }

  moveTo(goal: Camera, leaves: number): void {
    this.goal = clamped(goal, leaves);
    this.isWhole = seesAll(this.goal, leaves);
  }

  /** Goes nearer by a factor, with the point at a share of the width standing still. */
  zoom(factor: number, share: number, leaves: number): void {
    this.goal = zoomed(this.goal, factor, share, leaves);
    this.isWhole = seesAll(this.goal, leaves);
  }

  /** Moves sideways at once, by a share of the width. */
  pan(share: number, leaves: number): void {
    const by = share * (this.now.to - this.now.from);
    this.goal = clamped({ from: this.goal.from + by, to: this.goal.to + by }, leaves);
    this.now = clamped({ from: this.now.from + by, to: this.now.to + by }, leaves);
    this.isWhole = seesAll(this.goal, leaves);
  }

  /** Goes on for some milliseconds. @returns by how many leaves what it looks at has moved, and it has moved along */
  move(model: TreeModel, elapsed: number): number {
    let by = 0;
    if (this.isWhole) {
      this.goal = everything(model.leafCount);
      this.anchor = undefined;
    } else {
      by = this.follow(model);
    }
    this.now = between(this.now, this.goal, wantsStillness() ? 1 : 1 - Math.exp(-elapsed / EASE));
    const away = Math.abs(this.now.from - this.goal.from) + Math.abs(this.now.to - this.goal.to);
    if (away < (this.goal.to - this.goal.from) * 1e-4) this.now = this.goal;
    return by;
  }

  /** Keeps what is in the middle of the picture there, whatever comes and goes left of it. */
  private follow(model: TreeModel): number {
    const { anchor } = this;
    const place = anchor && model.placeOf(anchor.leaf, anchor.branch);
    const by = place === undefined ? 0 : place.start + place.index - (anchor?.at ?? 0);
    if (by !== 0) {
      this.now = { from: this.now.from + by, to: this.now.to + by };
      this.goal = { from: this.goal.from + by, to: this.goal.to + by };
    }
    const middle = Math.max(0, Math.min(model.leafCount - 1, Math.floor((this.goal.from + this.goal.to) / 2)));
    const { branch, start } = model.locate(middle);
    const { leaves } = branch;
    const index = Math.max(0, Math.min((leaves?.n ?? 0) - 1, Math.floor(middle - start)));
    this.anchor = leaves && leaves.n > 0 ? { leaf: leaves.address[index], branch, at: start + index } : undefined;
    this.goal = clamped(this.goal, model.leafCount);
    return by;
  }
}
