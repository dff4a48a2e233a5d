/** The page: it brings its parts together and draws them, one frame after the other. It does nothing for a single command. */
import type { Store, StoreEvent } from 'sabtree';
import { duration, RollingChart, short } from './charts.ts';
import { codeOf } from './code.ts';
import { Controls } from './controls.ts';
import { ensureIsolation } from './isolation.ts';
import { bindLookup, Countries } from './lookup.ts';
import { emptyLanes, ROUNDS, race } from './race.ts';
import { RecentLatency } from './recent-latency.ts';
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
const throughput = new RollingChart(
  element('throughput'),
  'commands a second',
  [{ label: 'now', colour: '--chart-1' }],
  { text: short, byTens: false },
);
const latency = new RollingChart(
  element('latency'),
  'latency',
  [
    { label: 'median', colour: '--chart-1' },
    { label: '99th of 100', colour: '--chart-2' },
  ],
  { text: duration, byTens: true },
);
const replicas = new Replicas({
  list: element('replicas'),
  contents: element('contents'),
  ledger: element('ledger'),
  events: element('events'),
});
const controls = new Controls(element('form'), element('model-says'), (setup) => void change(setup));

let session: Session | undefined;
let recent: RecentLatency | undefined;
let racing = false;
let pausedByUser = false;

/** Milliseconds: the mean of the last frames' intervals, and of what drawing them took. */
let interval = 0;
let drawing = 0;
let lastFrame = 0;

function frame(now: number): void {
  // Before anything that may fail: what cannot be drawn once may be drawn the next time.
  requestAnimationFrame(frame);
  const start = performance.now();
  tree.draw(now);
  rings.draw(now);
  const took = performance.now() - start;
  drawing += (took - drawing) * 0.05;
  // A tab in the background draws nothing; that gap is no frame.
  if (lastFrame > 0 && now - lastFrame < 1000) interval += (now - lastFrame - interval) * 0.05;
  lastFrame = now;
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
let told: ReturnType<typeof setTimeout> | undefined;
tree.onChange = () => {
  showPath();
  // Said to those who do not see it when they have moved, and not because the numbers change all the time.
  clearTimeout(told);
  told = setTimeout(() => {
    element('tree-selected').textContent = tree.describeSelected;
  }, 300);
};

// --- the store --------------------------------------------------------------------------------------------------------

function trouble(text: string): void {
  const box = element('trouble');
  box.textContent = text;
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = 'Open a new store';
  button.addEventListener('click', () => void change(controls.setup, true));
  box.append(button);
  box.hidden = false;
}

function say(state: string): void {
  body.dataset.state = state;
  const running = state === 'running';
  for (const id of ['try-bytes', 'try-kill', 'try-race']) element<HTMLButtonElement>(id).disabled = !running;
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

/** Opens a store in the place of the one there was, shows it, and puts the load on it: so it is seen how it fills. */
async function open(setup: Setup): Promise<void> {
  say('opening');
  element('trouble').hidden = true;
  element<HTMLButtonElement>('race').disabled = true;
  await close('A store is being opened');
  try {
    session = await Session.open(setup);
    if (pausedByUser || document.hidden) session.pause();
    follow(session);
    await session.start((message) => {
      // With the store the load ends, and that is said elsewhere.
      if (session?.store.status().state === 'open') trouble(`A load thread has ended: ${message}.`);
    });
  } catch (error) {
    await close('There is no store');
    say('failed');
    trouble(`The store could not be opened: ${(error as Error).message}.`);
    return;
  }
  last = undefined;
  // Without what it took to fill the store.
  if (session !== undefined) recent = new RecentLatency(session.store.handle);
  element<HTMLButtonElement>('race').disabled = false;
  element<HTMLButtonElement>('pause').disabled = false;
  say('running');
}

function follow(opened: Session): void {
  const { store, setup } = opened;
  replicas.follow(opened);
  const shown = element<HTMLSelectElement>('shown');
  shown.replaceChildren(...store.handle.memories.map((_, i) => new Option(`replica ${i}`, String(i))));
  show(0);
  rings.show(store.handle);
  element('rings').style.height = `${Math.min(720, Math.max(300, rings.wantedHeight))}px`;
  recent = new RecentLatency(store.handle);
  throughput.clear();
  latency.clear();
  body.dataset.commands = '0';
  body.dataset.model = setup.model;
  body.dataset.load = Object.values(setup.load).join(' ');
  element('code').textContent = codeOf(setup);
  // For everybody who opens the console.
  (globalThis as { store?: Store }).store = store;
}

/** @param instead what is said in the places where a store was */
async function close(instead: string): Promise<void> {
  const before = session;
  session = undefined;
  recent = undefined;
  tree.show(undefined, instead);
  rings.show(undefined, instead);
  replicas.follow(undefined, instead);
  for (const id of ['rate', 'median', 'entries']) element(id).textContent = '–';
  await before?.close();
}

/** What is wanted and not there yet; of many choices that are made quickly only the last one counts. */
let wanted: Setup | undefined;
let anew = false;
let settling: Promise<void> | undefined;

/** Has what the controls say: a new store, or other work for the one there is. @param fresh a new store in any case */
function change(setup: Setup, fresh = false): Promise<void> {
  wanted = setup;
  anew ||= fresh;
  settling ??= settle();
  return settling;
}

async function settle(): Promise<void> {
  // Behind what is done now: `settling` is set before it is cleared.
  await undefined;
  try {
    while (wanted !== undefined && !racing) {
      const setup = wanted;
      const now = body.dataset.state === 'running' && !anew ? session : undefined;
      wanted = undefined;
      anew = false;
      if (now !== undefined && sameStore(now.setup, setup)) {
        now.describe(setup.load);
        body.dataset.load = Object.values(setup.load).join(' ');
      } else {
        await open(setup);
      }
    }
  } finally {
    settling = undefined;
  }
}

/** Whether two setups differ in nothing but what the load does. */
function sameStore(a: Setup, b: Setup): boolean {
  return (
    (['model', 'executors', 'replicas', 'workers'] as const).every((name) => a[name] === b[name]) &&
    a.load.keys === b.load.keys
  );
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
  const { p50, p99 } = recent?.look() ?? {};
  if (last !== undefined) {
    const rate = (commands - last.commands) / (now - last.time);
    throughput.push(now, [rate]);
    latency.push(now, [p50, p99]);
    element('rate').textContent = short(Math.round(rate));
    element('median').textContent = p50 === undefined ? '–' : duration(p50);
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
    // What screen readers find; what they are told by themselves is what happened, and what one selected.
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

replicas.onEvent = ({ type }: StoreEvent) => {
  const colour = type === 'lost' || type === 'failed' ? '--bad' : type === 'rebuilt' ? '--good' : undefined;
  if (colour === undefined) return;
  const side = colour === '--bad' ? 'before' : 'behind';
  for (const chart of [throughput, latency]) chart.mark(performance.now() / 1000, colour, side);
};

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
  bindTries();
  // Nobody looks: the load has its rest, and goes on when somebody does.
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) session?.pause();
    else if (!pausedByUser) session?.resume();
  });
}

/** What somebody who has just come may do first: each button does it, where it is seen. */
function bindTries(): void {
  const behavior = matchMedia('(prefers-reduced-motion: reduce)').matches ? 'instant' : 'smooth';
  const bring = (selector: string) => document.querySelector(selector)?.scrollIntoView({ behavior, block: 'nearest' });
  element('try-bytes').addEventListener('click', () => {
    bring('section.tree');
    element('tree').focus({ preventScroll: true });
    tree.dive();
  });
  element('try-kill').addEventListener('click', () => {
    bring('section.replicas');
    if (!replicas.killHome()) replicas.tell('not with a single copy: choose two replicas or more');
  });
  element('try-race').addEventListener('click', () => {
    bring('section.race');
    element('race').focus({ preventScroll: true });
    if (!racing) void startRace();
  });
  element('try-lookup').addEventListener('click', () => {
    bring('section.lookup');
    element('ip').focus({ preventScroll: true });
  });
}

async function startRace(): Promise<void> {
  const button = element<HTMLButtonElement>('race');
  if (racing) {
    racing = false;
    button.setAttribute('aria-disabled', 'true');
    button.textContent = 'Stopping…';
    return;
  }
  if (button.getAttribute('aria-disabled') === 'true') return;
  racing = true;
  await settling;
  say('racing');
  button.textContent = 'Stop';
  controls.enabled = false;
  const bar = element<HTMLProgressElement>('race-progress');
  const says = element('race-says');
  bar.hidden = false;
  says.hidden = true;
  const waits = 'The models race. Nothing is drawn meanwhile, so that drawing holds none of them up.';
  await close('The models race.');
  element<HTMLButtonElement>('pause').disabled = true;
  const result = await race(element('race-bars'), controls.setup, {
    progress: (done, model, round) => {
      bar.value = done;
      body.dataset.race = model;
      const text = `Round ${round} of ${ROUNDS}: ${model}. ${waits}`;
      tree.show(undefined, text);
      rings.show(undefined, text);
    },
    stopped: () => !racing,
  }).catch((error: Error) => `The race has ended: ${error.message}`);
  says.textContent = result;
  says.hidden = false;
  bar.hidden = true;
  racing = false;
  controls.enabled = true;
  button.textContent = 'Start';
  button.removeAttribute('aria-disabled');
  await change(controls.setup, true);
}

// --- begin ------------------------------------------------------------------------------------------------------------

async function begin(): Promise<void> {
  element('code').textContent = codeOf(controls.setup);
  const isolated = await ensureIsolation((html) => {
    const box = element('explanation');
    box.innerHTML = html;
    box.hidden = false;
    for (const place of document.querySelectorAll<HTMLElement>('main, .strip')) place.hidden = true;
    say('not isolated');
  });
  if (!isolated) return;
  const cores = navigator.hardwareConcurrency;
  element('race-machine').textContent =
    `Here: ${cores} processor${cores === 1 ? '' : 's'}${cores < 4 ? '; with so few, executing in parallel gains little' : ''}.`;
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
  await change(controls.setup, true);
}

void begin();
