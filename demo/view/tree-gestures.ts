/** Hands on the tree: wheel, mouse, fingers and keys, and what each of them asks of the view. */
import type { Box } from './tree-layout.ts';

/** What hands can do with the view. */
export interface Handled {
  /** Whether all of the tree is seen. */
  readonly isHome: boolean;
  /** Whether a node is opened. */
  readonly isOpen: boolean;
  /** Zooms around a point. @param step how far a node opens that fills the picture already */
  zoomAt(factor: number, x: number, y: number, step: number): void;
  pan(pixels: number): void;
  /** Scrolls the opened node. */
  scroll(pixels: number): void;
  /** What is at a point. */
  pointed(x: number, y: number, reach: number): Box | undefined;
  hover(box: Box | undefined): void;
  /** A click at a node, or beside all of them. @param x where it was */
  click(box: Box | undefined, x: number): void;
  /** @returns whether the key means anything */
  key(key: string): boolean;
}

/** Pixels that a pointer may move and still click. */
const STILL = 6;

export class TreeGestures {
  private readonly canvas: HTMLCanvasElement;
  private readonly view: Handled;
  private readonly pointers = new Map<number, { x: number; y: number }>();
  private dragged = 0;
  private pagedAt = -Infinity;
  private readonly onScroll = () => {
    this.pagedAt = performance.now();
  };

  constructor(canvas: HTMLCanvasElement, view: Handled) {
    this.canvas = canvas;
    this.view = view;
    if (!canvas.hasAttribute('tabindex')) canvas.tabIndex = 0;
    canvas.addEventListener('wheel', (event) => this.onWheel(event), { passive: false });
    canvas.addEventListener('pointerdown', (event) => this.onPointerDown(event));
    canvas.addEventListener('pointermove', (event) => this.onPointerMove(event));
    canvas.addEventListener('pointerup', (event) => this.onPointerUp(event));
    canvas.addEventListener('pointercancel', (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener('pointerleave', () => view.hover(undefined));
    canvas.addEventListener('keydown', (event) => this.onKey(event));
    // A wheel that scrolls the page does not begin to zoom because the canvas has come under the pointer.
    addEventListener('scroll', this.onScroll);
  }

  /** Takes the listeners away that are not the canvas's own. */
  close(): void {
    removeEventListener('scroll', this.onScroll);
  }

  /** Whether fingers or a button are down. */
  get isHeld(): boolean {
    return this.pointers.size > 0;
  }

  private onWheel(event: WheelEvent): void {
    const { view, canvas } = this;
    const factor = Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.06 : event.ctrlKey ? 0.012 : 0.0022));
    const paging = performance.now() - this.pagedAt < 350 && document.activeElement !== canvas;
    if (!event.ctrlKey && view.isHome && !view.isOpen && (factor <= 1 || paging)) return;
    event.preventDefault();
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY) && !view.isOpen) {
      view.pan(-event.deltaX);
      return;
    }
    view.zoomAt(factor, event.offsetX, event.offsetY, Math.min(0.5, Math.abs(Math.log2(factor)) * 0.9));
  }

  private onPointerDown(event: PointerEvent): void {
    this.pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    if (this.pointers.size === 1) this.dragged = 0;
    this.canvas.setPointerCapture?.(event.pointerId);
  }

  private onPointerMove(event: PointerEvent): void {
    const { view, canvas, pointers } = this;
    const before = pointers.get(event.pointerId);
    const x = event.offsetX;
    const y = event.offsetY;
    if (before === undefined) {
      const box = view.pointed(x, y, 0);
      view.hover(box);
      canvas.style.cursor = box ? 'pointer' : view.isHome ? 'default' : 'grab';
      return;
    }
    const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    pointers.set(event.pointerId, { x, y });
    if (other !== undefined) {
      const was = Math.hypot(before.x - other.x, before.y - other.y);
      const is = Math.hypot(x - other.x, y - other.y);
      this.dragged = 100;
      if (was > 10 && is > 10) {
        view.zoomAt(is / was, (x + other.x) / 2, (y + other.y) / 2, Math.abs(Math.log2(is / was)) * 0.9);
        if (!view.isOpen) view.pan((x - before.x) / 2);
      }
      return;
    }
    this.dragged += Math.abs(x - before.x) + Math.abs(y - before.y);
    if (view.isOpen) {
      view.scroll(before.y - y);
    } else if (this.dragged > 4) {
      view.pan(x - before.x);
      canvas.style.cursor = 'grabbing';
    }
  }

  private onPointerUp(event: PointerEvent): void {
    const was = this.pointers.delete(event.pointerId);
    this.canvas.style.cursor = 'default';
    if (!was || this.dragged > STILL || this.pointers.size > 0) return;
    const { offsetX, offsetY } = event;
    this.view.click(this.view.pointed(offsetX, offsetY, event.pointerType === 'touch' ? 12 : 3), offsetX);
  }

  private onKey(event: KeyboardEvent): void {
    if (event.altKey || event.metaKey || (event.ctrlKey && event.key !== '+' && event.key !== '-')) return;
    if (this.view.key(event.key)) event.preventDefault();
  }
}
