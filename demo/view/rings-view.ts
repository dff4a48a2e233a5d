/** The group rings, live: what was claimed and not taken yet, by replica; sync points; and what the threads are doing. */
import type { StoreHandle } from '../../workers/store-client.ts';
import { BOLD, Brush, count, counted, TEXT, wantsStillness } from './brush.ts';
import { colourNumber } from './palette.ts';
import { gridOf, type Reader, type Ring, RingsModel, shareOf, type ThreadState } from './rings-model.ts';

/** Frames of a thread's history. */
const HISTORY = 240;
/** Radians a second that a ring's picture turns at most: what is faster could not be seen turning. */
const FASTEST = 2.4;
/** Milliseconds for which a full ring stays marked, so that it can be seen. */
const FULL_SHOWN = 400;
/** Rows of threads that are shown at most. */
const MAX_THREADS_SHOWN = 8;
const THREAD_ROW = 18;
const STATES: readonly ThreadState[] = ['running', 'waiting', 'asleep', 'lost'];

/** What is remembered of one ring from frame to frame. */
interface Turning {
  angle: number;
  claim: number;
  fullAt: number;
  /** Depths as they are shown, eased. */
  readonly depths: number[];
}

export class RingsView {
  private readonly brush: Brush;
  private model: RingsModel | undefined;
  private handle: StoreHandle | undefined;
  private instead = '';
  private turning: Turning[] = [];
  /** By thread: what it did in each of the last frames. */
  private history: Uint8Array[] = [];
  private historyAt = 0;
  private before = 0;

  constructor(canvas: HTMLCanvasElement) {
    this.brush = new Brush(canvas);
  }

  /** Shows another store, or none. @param instead what is said then */
  show(handle: StoreHandle | undefined, instead = 'No store yet'): void {
    this.handle = handle;
    this.instead = instead;
    this.model = handle && new RingsModel(handle);
    const rings = this.model?.rings ?? [];
    this.turning = rings.map(({ readers }) => ({
      angle: 0,
      claim: -1,
      fullAt: -Infinity,
      depths: readers.map(() => 0),
    }));
    this.history = (this.model?.threads ?? []).map(() => new Uint8Array(HISTORY).fill(STATES.indexOf('asleep')));
    this.historyAt = 0;
  }

  /** Takes the size that the page gives the canvas. It is empty then, and so drawn before it can be seen. */
  resize(): void {
    if (this.brush.resize()) this.draw(this.before);
  }

  /** Takes its listeners away. */
  close(): void {
    this.brush.close();
    this.show(undefined);
  }

  /** Height in CSS pixels at which everything can be seen; the page may make the canvas as high. */
  get wantedHeight(): number {
    const { model, brush } = this;
    if (model === undefined || model.rings.length === 0) return 80;
    const { rows } = gridOf(model.rings.length, brush.width, 0);
    const threads = 48 + Math.min(MAX_THREADS_SHOWN, model.streams.shape.executors) * THREAD_ROW;
    // So that the threads get all of their part, too.
    return Math.ceil(Math.max(this.titleHeight + rows * (rows <= 2 ? 108 : 64) + threads, threads / 0.45));
  }

  private get shownThreads(): number {
    const threads = this.model?.streams.shape.executors ?? 0;
    // The rings come first.
    const fit = Math.floor((this.brush.height * 0.45 - 48) / THREAD_ROW);
    return Math.max(0, Math.min(MAX_THREADS_SHOWN, threads, fit));
  }

  /** Height of the title and the key below it. */
  private get titleHeight(): number {
    return this.brush.isNarrow ? 80 : 48;
  }

  private get threadsHeight(): number {
    return this.shownThreads === 0 ? 0 : 48 + this.shownThreads * THREAD_ROW;
  }

  /** One sentence. */
  get describe(): string {
    const { model, handle } = this;
    if (model === undefined || handle === undefined) return this.instead;
    if (model.rings.length === 0)
      return `The model ${handle.model} has no rings: the load threads work on the tree themselves.`;
    const deepest = model.rings.reduce((a, b) => (b.deepest > a.deepest ? b : a));
    const full = model.rings.filter((ring) => ring.full).map(({ group }) => group);
    const lost = deepest.readers.filter(({ state }) => state === 'lost').map(({ replica }) => replica);
    const waiting = model.threads.filter(({ state }) => state === 'waiting').length;
    const parts = [
      `${counted(model.rings.length, 'group ring')} of the model ${handle.model}`,
      `the fullest, of group ${deepest.group}, holds ${counted(deepest.deepest, 'slot')} of ${count(model.capacity)}`,
      `${count(model.syncRate)} sync points a second`,
    ];
    if (waiting > 0) parts.push(`${counted(waiting, 'thread')} at a sync point`);
    if (full.length > 0) parts.push(`full: group ${full.join(', ')}`);
    if (lost.length > 0) parts.push(`lost: replica ${lost.join(', ')}`);
    return `${parts.join('; ')}.`;
  }

  /** Draws a frame. @param now as requestAnimationFrame gives it */
  draw(now: number): void {
    const { brush, model } = this;
    brush.clear();
    const elapsed = Math.min(100, Math.max(1, now - this.before));
    this.before = now;
    if (model === undefined || model.rings.length === 0) {
      const text = model === undefined ? this.instead : 'No rings: the load threads work on the tree themselves.';
      brush.inLines(text, brush.palette.muted, BOLD);
      return;
    }
    model.look(now);
    this.turn(model, elapsed, now);
    const top = this.titleHeight;
    this.drawTitle(model);
    const height = brush.height - top - this.threadsHeight;
    const { columns, cell } = gridOf(model.rings.length, brush.width, height);
    const width = brush.width / columns;
    const rows = Math.max(1, Math.floor(height / cell));
    const shown = Math.min(model.rings.length, rows * columns);
    for (const ring of model.rings.slice(0, shown)) {
      const x = (ring.group % columns) * width;
      const y = top + Math.floor(ring.group / columns) * cell;
      this.drawRing(model, ring, x, y, width, cell, now);
    }
    if (shown < model.rings.length) {
      const text = `and ${counted(model.rings.length - shown, 'more group')}`;
      brush.label(text, brush.width - brush.measure(text, TEXT) - 10, top + height - 8, brush.palette.muted);
    }
    const used = top + Math.min(height, Math.ceil(model.rings.length / columns) * cell);
    this.drawThreads(model, Math.min(used + 8, brush.height - this.threadsHeight));
  }

  /** Moves on what turns and eases. */
  private turn(model: RingsModel, elapsed: number, now: number): void {
    const share = wantsStillness() ? 1 : 1 - Math.exp(-elapsed / 60);
    model.rings.forEach((ring, i) => {
      const turning = this.turning[i];
      const moved = turning.claim < 0 ? 0 : (ring.claim - turning.claim) >>> 0;
      const real = (moved / model.capacity) * 2 * Math.PI;
      const most = wantsStillness() ? 0 : (FASTEST * elapsed) / 1000;
      turning.angle = (turning.angle + Math.min(real, most)) % (2 * Math.PI);
      turning.claim = ring.claim;
      if (ring.full) turning.fullAt = now;
      ring.readers.forEach(({ depth }, reader) => {
        // Growth is shown at once: a ring that is full for a moment has been full.
        const before = turning.depths[reader];
        turning.depths[reader] = depth > before ? depth : before + (depth - before) * share;
      });
    });
    model.threads.forEach((thread, i) => {
      this.history[i][this.historyAt % HISTORY] = STATES.indexOf(thread.state);
    });
    this.historyAt++;
  }

  private drawTitle(model: RingsModel): void {
    const { brush, handle } = this;
    const { palette, width } = brush;
    const title = `${counted(model.rings.length, 'group ring')} · ${handle?.model ?? ''}`;
    const text = `${count(model.syncRate)} sync points/s · newest: ${count(model.syncNumber)}`;
    const left = brush.isNarrow ? 8 : 8 + brush.measure(title, BOLD) + 14;
    brush.text(brush.fit(title, width - 16, BOLD), 8, 13, palette.ink, BOLD);
    brush.text(brush.fit(text, width - left - 8, TEXT), left, brush.isNarrow ? 30 : 13, palette.muted);
    brush.keys(8, brush.isNarrow ? 49 : 34, [
      ['waits for the home replica', palette.keys],
      ...((handle?.memories.length ?? 1) > 1 ? [['for another one', palette.values] as const] : []),
      ['kept free', palette.line],
      ['sync point', palette.merge],
    ]);
  }

  private readerColour(reader: Reader): string {
    const { palette } = this.brush;
    if (reader.state === 'lost') return palette.line;
    return reader.replica < 0 ? palette.header : reader.state === 'home' ? palette.keys : palette.values;
  }

  private readerName({ replica, state }: Reader): string {
    if (replica < 0) return 'log';
    return state === 'home'
      ? `replica ${replica} · home`
      : state === 'ready'
        ? `replica ${replica}`
        : `replica ${replica} · ${state}`;
  }

  private drawRing(
    model: RingsModel,
    ring: Ring,
    x: number,
    y: number,
    width: number,
    height: number,
    now: number,
  ): void {
    const { brush } = this;
    const { palette, context } = brush;
    const turning = this.turning[ring.group];
    const full = now - turning.fullAt < FULL_SHOWN;
    const size = Math.min(height - 8, 108, width * 0.3);
    this.drawDial(model, ring, turning, x + 8 + size / 2, y + 4 + size / 2, size / 2 - 3, full);
    const left = x + size + 22;
    const right = x + width - 14;
    const name = `group ${ring.group}`;
    context.fillStyle = palette.writers[colourNumber(ring.executor)];
    brush.rounded(left, y + 7, 10, 10, 3);
    context.fill();
    brush.text(name, left + 15, y + 12, palette.ink, BOLD);
    const nameEnd = left + 15 + brush.measure(name, BOLD) + 10;
    const waits = full || ring.waited;
    const what = waits ? (full ? 'full: clients wait' : 'clients wait for room') : `${short(ring.rate)} slots/s`;
    const whatWidth = brush.measure(what, TEXT);
    if (nameEnd + whatWidth < right) brush.text(what, right - whatWidth, y + 12, waits ? palette.alarm : palette.muted);
    const room = height - 26;
    const pitch = Math.min(26, room / ring.readers.length);
    const words = pitch >= 22;
    // Words below the group's name have some air above them, if there is any.
    const first = y + 22 + Math.max(0, Math.min(6, room - pitch * ring.readers.length));
    ring.readers.forEach((reader, i) => {
      this.drawLane(model, ring, reader, turning.depths[i], left, right, first + i * pitch, pitch, words);
    });
    const tops = ring.readers.map((_, i) => first + i * pitch + (words ? 15 : 0));
    this.drawMarkers(model, ring, left, right, tops, words ? 6 : Math.max(3, pitch - 3));
  }

  /** The ring as a ring: the end turns, what is not taken yet hangs behind it, one circle for each replica. */
  private drawDial(
    model: RingsModel,
    ring: Ring,
    turning: Turning,
    x: number,
    y: number,
    radius: number,
    full: boolean,
  ): void {
    const { brush } = this;
    const { palette, context } = brush;
    // There is no room for it, or the page has none yet.
    if (radius < 8) return;
    const angle = turning.angle - Math.PI / 2;
    const turnOf = (slots: number) => (slots / model.capacity) * 2 * Math.PI;
    const thick = Math.max(3, Math.min(7, (radius * 0.5) / ring.readers.length));
    context.lineCap = 'butt';
    context.lineWidth = 1;
    context.strokeStyle = full ? palette.alarm : palette.line;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.stroke();
    // The room that commands to one group leave free.
    context.lineWidth = 3;
    context.globalAlpha = 0.7;
    context.strokeStyle = palette.line;
    context.beginPath();
    context.arc(x, y, radius - 2.5, angle, angle + turnOf(model.capacity - model.singles));
    context.stroke();
    context.globalAlpha = 1;
    // Marks at each sixteenth, which turn with the positions.
    context.strokeStyle = palette.muted;
    context.lineWidth = 1;
    context.beginPath();
    for (let i = 0; i < 16; i++) {
      const at = angle + (i * Math.PI) / 8;
      const inner = radius - (i % 4 === 0 ? 6 : 3.5);
      context.moveTo(x + Math.cos(at) * radius, y + Math.sin(at) * radius);
      context.lineTo(x + Math.cos(at) * inner, y + Math.sin(at) * inner);
    }
    context.stroke();
    ring.readers.forEach((reader, i) => {
      const r = radius - 9 - i * (thick + 2) - thick / 2;
      if (r < 4) return;
      context.lineWidth = thick;
      context.strokeStyle = palette.surface;
      context.beginPath();
      context.arc(x, y, r, 0, 2 * Math.PI);
      context.stroke();
      const arc = Math.min(turnOf(turning.depths[i]), 2 * Math.PI);
      context.strokeStyle = full && reader.state !== 'lost' ? palette.alarm : this.readerColour(reader);
      context.beginPath();
      context.arc(x, y, r, angle - Math.max(arc, 0.06), angle);
      context.stroke();
    });
    // The end: the next position to be claimed.
    context.fillStyle = palette.ink;
    context.beginPath();
    const tip = radius - 7;
    context.moveTo(x + Math.cos(angle) * tip, y + Math.sin(angle) * tip);
    for (const side of [-0.11, 0.11]) {
      context.lineTo(x + Math.cos(angle + side) * (radius + 3), y + Math.sin(angle + side) * (radius + 3));
    }
    context.fill();
    if (radius >= 30) {
      const deepest = Math.max(0, ...turning.depths.filter((_, i) => ring.readers[i].state !== 'lost'));
      const share = `${Math.round((100 * deepest) / model.capacity)} %`;
      const size = brush.measure(share, TEXT);
      const inner = radius - 9 - ring.readers.length * (thick + 2);
      if (inner * 2 > size + 4) brush.text(share, x - size / 2, y, full ? palette.alarm : palette.ink);
    }
  }

  /** One replica's reading as a track that ends where the ring does: what it has not taken yet, from its cursor on. */
  private drawLane(
    model: RingsModel,
    ring: Ring,
    reader: Reader,
    depth: number,
    left: number,
    right: number,
    y: number,
    pitch: number,
    words: boolean,
  ): void {
    const { brush } = this;
    const { palette, context } = brush;
    const width = right - left;
    const height = words ? 6 : Math.max(3, pitch - 3);
    const top = words ? y + 15 : y;
    context.fillStyle = palette.surface;
    brush.rounded(left, top, width, height, 3);
    context.fill();
    // Where commands to one group have to wait.
    const limit = right - width * shareOf(model.singles, model.capacity);
    context.fillStyle = palette.line;
    context.fillRect(left, top, limit - left, height);
    const lost = reader.state === 'lost';
    const long = Math.max(2, width * shareOf(depth, model.capacity));
    context.globalAlpha = lost ? 0.5 : 1;
    context.fillStyle = ring.full && !lost ? palette.alarm : this.readerColour(reader);
    brush.rounded(right - long, top, long, height, 3);
    context.fill();
    // The cursor.
    context.fillStyle = lost ? palette.muted : palette.ink;
    context.fillRect(right - long - 1, top - 2, 2, height + 4);
    context.globalAlpha = 1;
    if (!words) return;
    const name = this.readerName(reader);
    const numbers = lost ? 'executes nothing' : `${count(depth)} waiting · at ${count(reader.cursor)}`;
    const size = brush.measure(numbers, TEXT);
    const nameWidth = brush.measure(name, TEXT);
    brush.text(brush.fit(name, width, TEXT), left, y + 6, lost ? palette.muted : palette.ink);
    if (nameWidth + size + 12 <= width) brush.text(numbers, right - size, y + 6, palette.muted);
    else {
      const less = count(depth);
      const lessWidth = brush.measure(less, TEXT);
      if (nameWidth + lessWidth + 12 <= width) brush.text(less, right - lessWidth, y + 6, palette.muted);
    }
  }

  /** Commands of several groups that wait in the ring: a mark on each track that still has them before it. */
  private drawMarkers(
    model: RingsModel,
    ring: Ring,
    left: number,
    right: number,
    tops: readonly number[],
    high: number,
  ): void {
    const { palette, context } = this.brush;
    const width = right - left;
    context.fillStyle = palette.merge;
    let last = -10;
    for (const { behind } of ring.markers) {
      const x = right - width * shareOf(behind, model.capacity);
      if (Math.abs(x - last) < 4) continue;
      last = x;
      ring.readers.forEach(({ depth, state }, i) => {
        if (depth < behind || state === 'lost') return;
        context.fillRect(x - 1, tops[i] - 2, 2, high + 4);
        context.beginPath();
        context.moveTo(x - 4, tops[i] - 5);
        context.lineTo(x + 4, tops[i] - 5);
        context.lineTo(x, tops[i]);
        context.fill();
      });
    }
  }

  /** What the home replica's threads did in the last frames: where they wait for each other. */
  private drawThreads(model: RingsModel, y: number): void {
    const { brush, history } = this;
    const { palette, context } = brush;
    const shown = model.home >= 0 ? model.home : 0;
    const threads = model.threads
      .map((thread, i) => ({ ...thread, past: history[i] }))
      .filter(({ replica }) => replica === shown)
      .slice(0, this.shownThreads);
    if (threads.length === 0) return;
    const names = Math.max(...threads.map(({ name }) => brush.measure(name, TEXT))) + 22;
    const numbers = brush.isNarrow ? 0 : 170;
    const left = 8 + names;
    const width = brush.width - left - 14 - numbers;
    brush.text(
      brush.fit(`threads of replica ${shown} in the last ${count(HISTORY)} frames`, brush.width - 16, TEXT),
      8,
      y + 8,
      palette.muted,
    );
    threads.forEach((thread, row) => {
      const at = y + 18 + row * THREAD_ROW;
      const colour = palette.writers[colourNumber(thread.thread)];
      context.fillStyle = colour;
      brush.rounded(8, at + 4, 10, 10, 3);
      context.fill();
      brush.text(thread.name, 23, at + 9, palette.ink);
      context.fillStyle = palette.surface;
      context.fillRect(left, at + 2, width, THREAD_ROW - 4);
      const counts = [0, 0, 0, 0];
      const step = width / HISTORY;
      for (let i = 0; i < HISTORY; ) {
        const state = thread.past[(this.historyAt + i) % HISTORY];
        let end = i;
        while (end < HISTORY && thread.past[(this.historyAt + end) % HISTORY] === state) end++;
        counts[state] += end - i;
        const name = STATES[state];
        if (name === 'running' || name === 'waiting') {
          context.fillStyle = name === 'running' ? colour : palette.merge;
          context.fillRect(left + i * step, at + 2, (end - i) * step + 0.3, THREAD_ROW - 4);
        }
        i = end;
      }
      if (numbers > 0) {
        const [running, waiting] = counts.map((n) => `${Math.round((100 * n) / HISTORY)} %`);
        brush.text(`works ${running} · waits ${waiting}`, brush.width - numbers, at + 9, palette.muted);
      }
    });
    const below = y + 18 + threads.length * THREAD_ROW + 12;
    brush.keys(8, below, [
      ['works', palette.writers[colourNumber(0)]],
      ['waits at a sync point', palette.merge],
      ['sleeps', palette.surface],
    ]);
  }
}

/** A rate in few characters. */
function short(n: number): string {
  if (n >= 1e6) return `${(n / 1e6).toFixed(1)} M`;
  if (n >= 1e4) return `${Math.round(n / 1e3)} k`;
  return count(n);
}
