/** The page: it brings its parts together and draws them, one frame after the other. It does nothing for a single command. */
import { RollingChart, short } from './charts.ts';
import { Controls } from './controls.ts';
import { ensureIsolation } from './isolation.ts';
import { bindLookup, Countries } from './lookup.ts';
import { emptyLanes, race } from './race.ts';
import { Replicas } from './replicas.ts';
import { Session, type Setup } from './session.ts';
import { onPaletteChange } from './view/palette.ts';
import { RingsView } from './view/rings-view.ts';
import { TreeView } from './view/tree-view.ts';

function element<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no ${id}`);
  return found as T;
}

const { body, documentElement: root } = document;

// --- what is drawn ----------------------------------------------------------------------------------------------------

const tree = new TreeView(element('tree'));
const rings = new RingsView(element('rings'));
const throughput = new RollingChart(element('throughput'), 'commands per second', [
  { label: 'now', colour: '--chart-1' },
]);
const latency = new RollingChart(element('latency'), 'latency in microseconds', [
  { label: 'median', colour: '--chart-1' },
  { label: '99th of 100', colour: '--chart-2' },
]);
const replicas = new Replicas(element('replicas'), element('ledger'), element('events'));
const controls = new Controls(element('form'), element('model-says'), (setup) => void change(setup));

let session: Session | undefined;
let racing = false;
let busy: Promise<void> = Promise.resolve();
let pausedByUser = false;

/** Milliseconds: the mean of the last frames' intervals, and of what drawing them took. */
let interval = 0;
let drawing = 0;
let lastFrame = 0;

function frame(now: number): void {
  const start = performance.now();
  tree.draw(now);
  rings.draw(now);
  const took = performance.now() - start;
  drawing += (took - drawing) * 0.05;
  // A tab in the background draws nothing; that gap is no frame.
  if (lastFrame > 0 && now - lastFrame < 1000) interval += (now - lastFrame - interval) * 0.05;
  lastFrame = now;
  requestAnimationFrame(frame);
}

const resizes = new ResizeObserver(() => {
  tree.resize();
  rings.resize();
});
resizes.observe(element('tree'));
resizes.observe(element('rings'));

/** The way to where one is in the tree; it changes by itself, too, as nodes split and merge. */
function showPath(): void {
  const { path } = tree;
  const list = element('path');
  const text = path.map(({ name, node }) => `${name} ${node}`).join();
  if (list.dataset.path === text) return;
  list.dataset.path = text;
  const crumbs = path.map(({ name, node }) => {
    const item = document.createElement('li');
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = name;
    button.addEventListener('click', () => tree.select(node));
    item.append(button);
    return item;
  });
  list.replaceChildren(...crumbs);
}
tree.onChange = showPath;

// --- the store --------------------------------------------------------------------------------------------------------

function trouble(text: string, retry = true): void {
  const box = element('trouble');
  box.textContent = text;
  if (retry) {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = 'Open a new store';
    button.addEventListener('click', () => void reopen(controls.setup));
    box.append(button);
  }
  box.hidden = false;
}

function say(state: string): void {
  body.dataset.state = state;
}

function show(replica: number): void {
  const { store } = session as Session;
  tree.show({
    memory: store.handle.memories[replica],
    key: 'u32',
    value: 'f64',
    label: `Replica ${replica}`,
    store: store.handle,
  });
}

/** Opens a store as it is wanted, in the place of the one there was. Changes come one after the other. */
function reopen(setup: Setup): Promise<void> {
  busy = busy.then(async () => {
    say('opening');
    element('trouble').hidden = true;
    element<HTMLButtonElement>('race').disabled = true;
    await close();
    try {
      session = await Session.open(setup, (message) => trouble(`A load thread has ended: ${message}.`), pausedByUser);
    } catch (error) {
      say('failed');
      trouble(`The store could not be opened: ${(error as Error).message}.`);
      return;
    }
    replicas.follow(session);
    const shown = element<HTMLSelectElement>('shown');
    shown.replaceChildren(...session.store.handle.memories.map((_, i) => new Option(`replica ${i}`, String(i))));
    show(0);
    rings.show(session.store.handle);
    element('rings').style.height = `${Math.min(640, Math.max(300, rings.wantedHeight))}px`;
    last = undefined;
    body.dataset.commands = '0';
    throughput.clear();
    latency.clear();
    element<HTMLButtonElement>('race').disabled = false;
    element<HTMLButtonElement>('pause').disabled = false;
    body.dataset.model = setup.model;
    say('running');
  });
  return busy;
}

async function close(): Promise<void> {
  const before = session;
  session = undefined;
  tree.show(undefined);
  rings.show(undefined);
  replicas.follow(undefined);
  await before?.close();
}

/** What the controls say now: a new store, or other work for the one there is. */
async function change(setup: Setup): Promise<void> {
  await busy;
  if (racing) return;
  const now = session?.setup;
  const same = (['model', 'executors', 'replicas', 'workers'] as const).every((name) => now?.[name] === setup[name]);
  if (!same || session === undefined) {
    await reopen(setup);
    return;
  }
  session.describe(setup.load);
  body.dataset.load = Object.values(setup.load).join(' ');
}

// --- numbers ----------------------------------------------------------------------------------------------------------

let last: { readonly time: number; readonly commands: number } | undefined;
let ticks = 0;

/** A few times a second: what is read rather than seen. */
function tick(): void {
  ticks++;
  element('frame').textContent = `${drawing.toFixed(1)} ms`;
  body.dataset.frameMs = interval.toFixed(2);
  body.dataset.drawMs = drawing.toFixed(2);
  // Not while somebody goes along it with the keyboard.
  if (!element('path').contains(document.activeElement)) showPath();
  if (session === undefined) return;
  const { store } = session;
  const now = performance.now() / 1000;
  const { commands } = session;
  if (last !== undefined) {
    const rate = (commands - last.commands) / (now - last.time);
    const { p50, p99 } = store.stats().latency;
    throughput.push(now, [rate]);
    latency.push(now, [p50, p99]);
    element('rate').textContent = short(Math.round(rate));
    element('median').textContent = p50 === undefined ? '–' : `${short(p50)} µs`;
  }
  last = { time: now, commands };
  body.dataset.commands = String(commands);
  element('total').textContent = short(commands);
  const { state } = store.status();
  if (state === 'failed' && body.dataset.state === 'running') {
    say('failed');
    trouble('The last replica is lost, and with it the store: no copy is left.');
  }
  if (state === 'open' || state === 'read-only') element('entries').textContent = store.tree.size.toLocaleString('en');
  replicas.update();
  body.dataset.agree = String(replicas.agree);
  if (ticks % 4 === 0) {
    void replicas.ask();
    // Screen readers hear of it at most once a second, and only if something else is to be said.
    for (const [id, text] of [
      ['tree-says', tree.describe],
      ['rings-says', rings.describe],
      ['throughput-says', throughput.describe],
      ['latency-says', latency.describe],
    ]) {
      if (element(id).textContent !== text) element(id).textContent = text;
    }
  }
}

// --- buttons ----------------------------------------------------------------------------------------------------------

function bindButtons(): void {
  const pause = element<HTMLButtonElement>('pause');
  pause.addEventListener('click', () => {
    pausedByUser = !pausedByUser;
    if (pausedByUser) session?.pause();
    else session?.resume();
    pause.setAttribute('aria-pressed', String(pausedByUser));
    pause.textContent = pausedByUser ? 'Go on' : 'Pause the load';
  });
  const theme = element<HTMLButtonElement>('theme');
  const dark = () =>
    root.dataset.theme === undefined
      ? matchMedia('(prefers-color-scheme: dark)').matches
      : root.dataset.theme === 'dark';
  const name = () => {
    theme.textContent = dark() ? 'Light' : 'Dark';
  };
  theme.addEventListener('click', () => {
    root.dataset.theme = dark() ? 'light' : 'dark';
    name();
  });
  name();
  onPaletteChange(() => {
    throughput.make();
    latency.make();
    name();
  });
  element('zoom-in').addEventListener('click', () => tree.zoomIn());
  element('zoom-out').addEventListener('click', () => tree.zoomOut());
  element('zoom-home').addEventListener('click', () => tree.home());
  element('shown').addEventListener('change', () => show(Number(element<HTMLSelectElement>('shown').value)));
  element('race').addEventListener('click', () => void startRace());
  // Nobody looks: the load has its rest, and goes on when somebody does.
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) session?.pause();
    else if (!pausedByUser) session?.resume();
  });
}

async function startRace(): Promise<void> {
  const button = element<HTMLButtonElement>('race');
  if (racing) {
    racing = false;
    button.disabled = true;
    return;
  }
  racing = true;
  await busy;
  say('racing');
  button.textContent = 'Stop';
  controls.enabled = false;
  const bar = element<HTMLProgressElement>('race-progress');
  bar.hidden = false;
  await close();
  const result = await race(element('race-bars'), controls.setup, {
    progress: (done, what) => {
      bar.value = done;
      bar.textContent = what;
      body.dataset.race = what;
    },
    stopped: () => !racing,
  }).catch((error: Error) => `The race has ended: ${error.message}`);
  element('race-says').textContent = result;
  bar.hidden = true;
  racing = false;
  controls.enabled = true;
  button.textContent = 'Start';
  await reopen(controls.setup);
}

// --- begin ------------------------------------------------------------------------------------------------------------

async function begin(): Promise<void> {
  const isolated = await ensureIsolation((html) => {
    const box = element('explanation');
    box.innerHTML = html;
    box.hidden = false;
    (document.querySelector('main') as HTMLElement).hidden = true;
    say('not isolated');
  });
  if (!isolated) return;
  const cores = navigator.hardwareConcurrency;
  element('race-machine').textContent = `Here: ${cores} processor${cores === 1 ? '' : 's'}.`;
  bindButtons();
  emptyLanes(element('race-bars'));
  requestAnimationFrame(frame);
  setInterval(tick, 250);
  void Countries.load(new URL('ip-country.bin', location.href)).then(
    (countries) => bindLookup(element('ip'), element('ip-answer'), countries),
    (error: Error) => {
      element('ip-answer').textContent = `The table did not come: ${error.message}`;
    },
  );
  await reopen(controls.setup);
}

void begin();
