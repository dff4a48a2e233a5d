/** Words in the picture of a tree: what there is of it, what is selected, whose colours there are. */
import { BOLD, type Brush, counted, TEXT } from './brush.ts';
import { WRITER_COLOURS } from './palette.ts';
import type { Totals } from './tree-bytes.ts';
import { legendHeight } from './tree-layout.ts';
import type { TreeModel } from './tree-model.ts';
import type { TreePicture } from './tree-picture.ts';
import type { Writers } from './writers.ts';

/** What is in the tree, and above each row what is in it. @param counts nodes by level */
export function drawTitles(
  brush: Brush,
  { rows }: TreePicture,
  model: TreeModel,
  totals: Totals,
  counts: readonly number[],
): void {
  const { palette, width } = brush;
  const numbers = `${counted(totals.entries, 'entry', 'entries')} · ${counted(totals.splits, 'split')} · ${counted(totals.merges, 'merge')}`;
  brush.text(brush.fit(numbers, width - 16, BOLD), 8, 14, palette.ink, BOLD);
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
}

/** What is selected, below the leaves: the way to it, what it is, and what one can do next. */
export function drawSelected(brush: Brush, picture: TreePicture, name: string, what: string, next: string): void {
  const last = picture.rows[picture.rows.length - 1];
  const y = Math.min(brush.height - legendHeight(brush.isNarrow) - 2, last.y + last.height + 12);
  const line = (text: string, at: number) =>
    brush.label(brush.fit(text, brush.width - 24, TEXT), 8, at, brush.palette.ink);
  if (!brush.isNarrow) {
    line(`${name}: ${what} · ${next}`, y);
  } else {
    line(`${name} · ${next}`, y);
    line(what, y + 16);
  }
}

/** Whose colours there are, and how much of the leaves each wrote last. */
export function drawLegend(brush: Brush, model: TreeModel, writers: Writers): void {
  const { palette, context } = brush;
  const { colours } = model.top;
  let sum = 0;
  for (const n of colours) sum += Math.max(0, n);
  const shown: { colour: number; name: string; share: string }[] = [];
  for (let i = 1; i <= WRITER_COLOURS + 1; i++) {
    const colour = i % (WRITER_COLOURS + 1);
    if (colours[colour] < sum * 0.005) continue;
    shown.push({ colour, name: writers.legend(colour), share: percent(colours[colour], sum) });
  }
  const sizeOf = ({ name, share }: { name: string; share: string }) => brush.measure(`${name} ${share}`, TEXT) + 27;
  let title = 'last writer';
  const room = brush.width - brush.measure(title, TEXT) - 24;
  // Many executors: their numbers say enough.
  if (
    shown.reduce((width, entry) => width + sizeOf(entry), 0) > room &&
    shown.every(({ name }) => /^\w+ \d+$/.test(name))
  ) {
    title += `: ${shown[0].name.split(' ')[0]}`;
    for (const entry of shown) entry.name = entry.name.split(' ')[1];
  }
  let x = 8;
  let y = brush.height - legendHeight(brush.isNarrow) + 16;
  brush.text(title, x, y, palette.muted);
  x += brush.measure(title, TEXT) + 12;
  for (const entry of shown) {
    const size = sizeOf(entry);
    if (x + size > brush.width && x > 8) {
      x = 8;
      y += 18;
    }
    if (y > brush.height - 4) break;
    context.fillStyle = palette.writers[entry.colour];
    brush.rounded(x, y - 5, 10, 10, 3);
    context.fill();
    brush.text(`${entry.name} ${entry.share}`, x + 15, y, palette.ink);
    x += size;
  }
}

/** A share in words. */
export function percent(part: number, whole: number): string {
  return whole <= 0 ? '0 %' : `${Math.round((100 * part) / whole)} %`;
}
