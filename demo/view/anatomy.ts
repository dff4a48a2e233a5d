/** One node from inside: its header, its slots, its bytes. */
import { NODE_COUNT, NODE_KEYS, NODE_LEVEL, VERSION_COUNT_SHIFT, VERSION_OWNER_SHIFT } from '../../layout/node.ts';
import { type Brush, CODE, count, LARGE_CODE, TEXT } from './brush.ts';
import { changesOf, isLatched, type NodeCopy, type TreeBytes, writerOf } from './tree-bytes.ts';
import type { Box } from './tree-layout.ts';
import { cooled } from './tree-model.ts';
import type { Writers } from './writers.ts';

/** What part of a node a byte belongs to. */
export type Field = 'version' | 'count' | 'level' | 'keys' | 'values' | 'children' | 'unused';

/** The field of each byte of a node. */
export function fieldsOf(bytes: TreeBytes, level: number, entries: number): Field[] {
  const fields = new Array<Field>(bytes.nodeSize).fill('unused');
  const mark = (from: number, to: number, field: Field) => fields.fill(field, from, to);
  mark(0, NODE_COUNT, 'version');
  mark(NODE_COUNT, NODE_LEVEL, 'count');
  mark(NODE_LEVEL, NODE_LEVEL + 2, 'level');
  if (bytes.slotted) return fields;
  mark(NODE_KEYS, NODE_KEYS + entries * bytes.keySize, 'keys');
  if (level > 0) mark(bytes.branchChildren, bytes.branchChildren + (entries + 1) * 4, 'children');
  else mark(bytes.leafValues, bytes.leafValues + entries * bytes.valueSize, 'values');
  return fields;
}

/** The 64 bits of a version word in hexadecimal: the count of changes, then writer and latch. */
export function wordOf({ low, high }: { readonly low: number; readonly high: number }): string {
  const digits = (word: number) => (word >>> 0).toString(16).padStart(8, '0');
  return `${digits(high)}${digits(low).slice(0, 4)} ${digits(low).slice(4)}`;
}

const CELL_HEIGHT = 38;
const BYTE_ROW = 18;

/** Hexadecimal digits of each byte. */
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** The picture of one node's inside. */
export class Anatomy {
  readonly address: number;
  readonly level: number;
  /** The newest whole copy. */
  copy: NodeCopy | undefined;
  /** Whether somebody was writing it at the last look. */
  latched = false;
  /** How far down it was scrolled, CSS pixels. */
  scroll = 0;
  /** Children that can be pointed at. */
  readonly boxes: Box[] = [];
  private fields: Field[] = [];
  private readonly heat: Float32Array;
  private slotHeat = new Float32Array(0);
  private heatAt = 0;
  private contentHeight = 0;
  private readonly bytes: TreeBytes;
  private readonly writers: Writers;

  constructor(bytes: TreeBytes, writers: Writers, address: number, level: number) {
    this.bytes = bytes;
    this.writers = writers;
    this.address = address;
    this.level = level;
    this.heat = new Float32Array(bytes.nodeSize);
  }

  /** Looks at the node. False if what stands there is no longer such a node. */
  look(now: number): boolean {
    const { bytes, copy: before, heat } = this;
    const fade = cooled(1, now - this.heatAt);
    this.heatAt = now;
    for (let i = 0; i < heat.length; i++) heat[i] *= fade;
    for (let i = 0; i < this.slotHeat.length; i++) this.slotHeat[i] *= fade;
    const copy = bytes.copy(this.address);
    this.latched = copy === undefined;
    if (copy === undefined) {
      const head = { low: 0, high: 0, count: 0, level: 0 };
      bytes.head(this.address, head);
      return before !== undefined && isLatched(head.low);
    }
    if (copy.level !== this.level) return false;
    if (before !== undefined && (before.low !== copy.low || before.high !== copy.high)) {
      for (let i = 0; i < heat.length; i++) if (before.bytes[i] !== copy.bytes[i]) heat[i] = 1;
      if (!bytes.slotted) this.heatSlots(before, copy);
    }
    if (before?.count !== copy.count) this.fields = fieldsOf(bytes, copy.level, copy.count);
    this.copy = copy;
    return true;
  }

  /** What is shown of it. @param deep whether that is the bytes */
  titleOf(deep: boolean): string {
    if (deep) return `All ${count(this.bytes.nodeSize)} bytes of the node`;
    return this.level > 0 ? 'Children, and from which key on' : 'Keys, and the values below them';
  }

  /** Most that can be scrolled in a panel of that height. */
  limit(height: number): void {
    this.scroll = Math.max(0, Math.min(this.scroll, this.contentHeight - height + 16));
  }

  /** Draws into a box. @param deep 0: slots; 1: bytes; in between both, fading */
  draw(brush: Brush, x: number, y: number, width: number, height: number, deep: number): void {
    const { copy } = this;
    this.boxes.length = 0;
    if (copy === undefined || width < 120 || height < 60) return;
    this.limit(height);
    const { context } = brush;
    let at = y + 10 - this.scroll;
    at = this.drawHeader(brush, copy, x + 10, at, width - 20) + 12;
    const slots = 1 - deep;
    const top = at;
    let end = at;
    if (slots > 0.02) {
      context.globalAlpha = slots;
      end = this.drawSlots(brush, copy, x + 10, top, width - 20, y, y + height, slots > 0.5);
    }
    if (deep > 0.02) {
      context.globalAlpha = deep;
      const bytesEnd = this.drawBytes(brush, copy, x + 10, top, width - 20, y, y + height);
      if (deep > 0.5) end = bytesEnd;
    }
    context.globalAlpha = 1;
    this.contentHeight = end - y + this.scroll;
    if (this.contentHeight > height) {
      const share = height / this.contentHeight;
      context.fillStyle = brush.palette.line;
      brush.rounded(
        x + width - 5,
        y + 4 + (this.scroll / this.contentHeight) * (height - 8),
        3,
        share * (height - 8),
        2,
      );
      context.fill();
    }
  }

  /** The header's fields in a band that wraps. @returns where it ends */
  private drawHeader(brush: Brush, copy: NodeCopy, x: number, y: number, width: number): number {
    const { palette, context } = brush;
    const { bytes, writers } = this;
    const writer = writerOf(copy.low);
    const colour = palette.writers[writers.colourOf[writer & 255]];
    const capacity = copy.level === 0 ? bytes.leafCapacity : bytes.branchCapacity;
    const of = bytes.slotted ? '' : ` of ${capacity}`;
    const bits = (from: number, to: number) => (brush.isNarrow ? '' : `bits ${from}–${to}: `);
    const cells: [name: string, value: string, colour: string, bar: string][] = [
      ['version word', wordOf(copy), palette.ink, palette.header],
      [`${bits(VERSION_COUNT_SHIFT, 63)}changes`, count(changesOf(copy.low, copy.high)), palette.ink, palette.header],
      [`${bits(VERSION_OWNER_SHIFT, VERSION_COUNT_SHIFT - 1)}last writer`, writers.nameOf(writer), palette.ink, colour],
      [
        brush.isNarrow ? 'latch' : 'bit 0: latch',
        this.latched ? '1 · being written' : '0 · free',
        this.latched ? palette.alarm : palette.ink,
        palette.header,
      ],
      [copy.level === 0 ? 'entries' : 'separators', `${count(copy.count)}${of}`, palette.ink, palette.header],
      ['level', copy.level === 0 ? '0 · leaf' : String(copy.level), palette.ink, palette.header],
      ['address', `0x${this.address.toString(16)}`, palette.ink, palette.line],
    ];
    const least = cells.map(
      ([name, value]) => Math.max(brush.measure(name, TEXT), brush.measure(value, LARGE_CODE), 60) + 18,
    );
    let first = 0;
    let at = y;
    while (first < cells.length) {
      let last = first;
      let used = 0;
      while (last < cells.length && (last === first || used + least[last] <= width)) used += least[last++];
      const spare = Math.max(0, width - used) / (last - first);
      let left = x;
      for (let i = first; i < last; i++) {
        const [name, value, ink, bar] = cells[i];
        const size = Math.min(width, least[i] + spare);
        context.fillStyle = palette.surface;
        brush.rounded(left + 1, at, size - 2, 44, 4);
        context.fill();
        context.fillStyle = bar;
        context.fillRect(left + 1, at + 41, size - 2, 3);
        brush.text(name, left + 9, at + 12, palette.muted);
        brush.text(brush.fit(value, size - 16, LARGE_CODE), left + 9, at + 29, ink, LARGE_CODE);
        left += size;
      }
      at += 48;
      first = last;
    }
    return at - 4;
  }

  /** Keys with their values, or children with the keys between them. */
  private drawSlots(
    brush: Brush,
    copy: NodeCopy,
    x: number,
    y: number,
    width: number,
    top: number,
    bottom: number,
    point: boolean,
  ): number {
    const { palette, context } = brush;
    const { bytes, level } = this;
    if (bytes.slotted) {
      brush.text('Keys of varying length: zoom in once more for the bytes.', x, y + 10, palette.muted);
      return y + 24;
    }
    const branch = level > 0;
    const capacity = branch ? bytes.branchCapacity + 1 : bytes.leafCapacity;
    const n = branch ? copy.count + 1 : copy.count;
    const size = Math.max(84, Math.min(150, this.widest(brush, copy, n) + 18));
    const columns = Math.max(1, Math.min(capacity, Math.floor(width / size)));
    const cell = width / columns;
    const alpha = context.globalAlpha;
    const head = { low: 0, high: 0, count: 0, level: 0 };
    for (let i = 0; i < capacity; i++) {
      const left = x + (i % columns) * cell;
      const at = y + Math.floor(i / columns) * CELL_HEIGHT;
      if (at + CELL_HEIGHT < top || at > bottom) continue;
      if (i >= n) {
        context.strokeStyle = palette.line;
        context.globalAlpha = alpha * 0.45;
        brush.rounded(left + 2.5, at + 2.5, cell - 5, CELL_HEIGHT - 5, 4);
        context.stroke();
        context.globalAlpha = alpha;
        continue;
      }
      const heat = this.slotHeat[i] ?? 0;
      context.fillStyle = palette.surface;
      brush.rounded(left + 2, at + 2, cell - 4, CELL_HEIGHT - 4, 4);
      context.fill();
      if (heat > 0.02) {
        const colour = palette.writers[this.writers.colourOf[writerOf(copy.low) & 255]];
        context.globalAlpha = alpha * 0.34 * heat;
        context.fillStyle = colour;
        context.fill();
        context.globalAlpha = alpha;
        context.strokeStyle = colour;
        context.stroke();
      }
      if (branch) {
        const child = bytes.child(copy, i);
        if (bytes.head(child, head)) {
          const full = bytes.fill(child, head.count, head.level);
          context.fillStyle = brush.shade(this.writers.colourOf[writerOf(head.low) & 255], 0.5);
          context.fillRect(left + 6, at + CELL_HEIGHT - 7, (cell - 12) * full, 3);
        }
        const below = i === 0 ? 'below' : `from ${bytes.key(copy, i - 1)}`;
        brush.text(brush.fit(below, cell - 14, CODE), left + 7, at + 13, palette.keys, CODE);
        brush.text(brush.fit(`child ${i}`, cell - 14, TEXT), left + 7, at + 25, palette.muted, TEXT);
        if (point)
          this.boxes.push({ address: child, level: level - 1, x: left, y: at, width: cell, height: CELL_HEIGHT });
      } else {
        brush.text(brush.fit(String(bytes.key(copy, i)), cell - 14, CODE), left + 7, at + 13, palette.keys, CODE);
        brush.text(brush.fit(bytes.value(copy, i), cell - 14, CODE), left + 7, at + 27, palette.values, CODE);
      }
    }
    return y + Math.ceil(capacity / columns) * CELL_HEIGHT;
  }

  private widest(brush: Brush, copy: NodeCopy, n: number): number {
    const { bytes } = this;
    const character = brush.measure('0', CODE);
    let most = 0;
    const last = this.level > 0 ? copy.count - 1 : n - 1;
    for (const i of [0, last >> 1, last]) {
      if (i < 0 || i > last) continue;
      most = Math.max(most, String(bytes.key(copy, i)).length + (this.level > 0 ? 5 : 0));
      if (this.level === 0) most = Math.max(most, bytes.value(copy, i).length);
    }
    return most * character;
  }

  /**
   * Heat of the slots by what stands in them, not by where: an insertion moves all that is behind it, and that is seen in
   * the bytes; here only the entry that came, or got another value, lights up.
   */
  private heatSlots(before: NodeCopy, copy: NodeCopy): void {
    const { bytes, level } = this;
    const [from, size] = level > 0 ? [bytes.branchChildren, 4] : [bytes.leafValues, bytes.valueSize];
    const n = copy.count + (level > 0 ? 1 : 0);
    const old = new Map<number | bigint, number>();
    const name = (node: NodeCopy, i: number) => (level > 0 ? bytes.child(node, i) : bytes.key(node, i));
    for (let i = 0; i < before.count + (level > 0 ? 1 : 0); i++) old.set(name(before, i), i);
    const heat = new Float32Array(n);
    for (let i = 0; i < n; i++) {
      const j = old.get(name(copy, i));
      heat[i] = j === undefined ? 1 : (this.slotHeat[j] ?? 0);
      for (let b = 0; j !== undefined && b < size; b++) {
        if (copy.bytes[from + i * size + b] !== before.bytes[from + j * size + b]) heat[i] = 1;
      }
    }
    this.slotHeat = heat;
  }

  /** The bytes in rows, coloured by field. */
  private drawBytes(
    brush: Brush,
    copy: NodeCopy,
    x: number,
    y: number,
    width: number,
    top: number,
    bottom: number,
  ): number {
    const { palette, context } = brush;
    const { fields, heat, level } = this;
    const digit = brush.measure('0', CODE);
    const gutter = digit * 4 + 10;
    const least = digit * 2 + 6;
    const fits = Math.floor((width - gutter) / least);
    const perRow = fits < 16 ? 8 : Math.min(64, fits & ~15);
    const pitch = Math.min(least * 1.7, (width - gutter) / perRow);
    const at = y + this.drawFieldNames(brush, x, y, width) + 6;
    const colours: Record<Field, string> = {
      version: palette.header,
      count: palette.header,
      level: palette.header,
      keys: palette.keys,
      values: palette.values,
      children: palette.values,
      unused: palette.muted,
    };
    const alpha = context.globalAlpha;
    const flash = palette.writers[this.writers.colourOf[writerOf(copy.low) & 255]];
    const rows = Math.ceil(copy.bytes.length / perRow);
    const first = Math.max(0, Math.floor((top - at) / BYTE_ROW));
    const last = Math.min(rows, Math.ceil((bottom - at) / BYTE_ROW));
    context.fillStyle = flash;
    for (let i = first * perRow; i < Math.min(copy.bytes.length, last * perRow); i++) {
      if (heat[i] < 0.03) continue;
      context.globalAlpha = alpha * 0.36 * heat[i];
      context.fillRect(
        x + gutter + (i % perRow) * pitch - (pitch - 2 * digit) / 2,
        at + Math.floor(i / perRow) * BYTE_ROW,
        pitch,
        BYTE_ROW,
      );
    }
    const entry = level > 0 ? 4 : this.bytes.valueSize;
    for (let row = first; row < last; row++) {
      const middle = at + row * BYTE_ROW + BYTE_ROW / 2;
      context.globalAlpha = alpha;
      brush.text((row * perRow).toString(16).padStart(4, '0'), x, middle, palette.muted, CODE);
      let i = row * perRow;
      const end = Math.min(copy.bytes.length, i + perRow);
      while (i < end) {
        const field = fields[i];
        context.fillStyle = colours[field];
        context.globalAlpha = alpha * (field === 'unused' ? 0.55 : 1);
        for (; i < end && fields[i] === field; i++) {
          context.fillText(HEX[copy.bytes[i]], x + gutter + (i % perRow) * pitch, middle);
        }
      }
      // A line under every second entry tells neighbours apart.
      for (i = row * perRow; i < end; i++) {
        const field = fields[i];
        const base =
          field === 'keys'
            ? NODE_KEYS
            : field === 'values'
              ? this.bytes.leafValues
              : field === 'children'
                ? this.bytes.branchChildren
                : -1;
        if (base < 0) continue;
        if (Math.floor((i - base) / (field === 'keys' ? this.bytes.keySize : entry)) % 2 === 1) continue;
        context.fillStyle = colours[field];
        context.globalAlpha = alpha * 0.35;
        context.fillRect(x + gutter + (i % perRow) * pitch - 2, at + (row + 1) * BYTE_ROW - 2, pitch, 1);
      }
    }
    context.globalAlpha = alpha;
    return at + rows * BYTE_ROW + 8;
  }

  private drawFieldNames(brush: Brush, x: number, y: number, width: number): number {
    const { palette, context } = brush;
    const { bytes, level } = this;
    const names: [string, string][] = [
      ['version, count, level', palette.header],
      [level > 0 ? `separators at ${NODE_KEYS}` : `keys at ${NODE_KEYS}`, palette.keys],
      [level > 0 ? `children at ${bytes.branchChildren}` : `values at ${bytes.leafValues}`, palette.values],
      ['not in use', palette.muted],
    ];
    if (bytes.slotted) names.splice(1, 2);
    let left = x;
    let at = y;
    for (const [name, colour] of names) {
      const size = brush.measure(name, TEXT) + 34;
      if (left > x && left + size > x + width) {
        left = x;
        at += 20;
      }
      context.fillStyle = colour;
      context.fillRect(left, at + 5, 10, 10);
      brush.text(name, left + 16, at + 10, palette.ink);
      left += size;
    }
    return at + 20 - y;
  }
}
