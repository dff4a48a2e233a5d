/** The replicas: how each is, its content's digest, and buttons that end its threads. */
import type { ReplicaDigest, StoreEvent } from 'sabtree';
import type { Session } from './session.ts';

const STATES = {
  home: 'is home: it answers',
  ready: 'is ready to take over',
  dying: 'is being killed…',
  rebuilding: 'is being rebuilt',
  lost: 'is lost',
} as const;

/** Milliseconds for which a replica's row says what has happened to it. */
const NOTED = 8000;

/** Where it is shown. */
export interface ReplicaPlaces {
  readonly list: HTMLElement;
  /** Whether the contents are equal. */
  readonly contents: HTMLElement;
  /** What became of what was answered. */
  readonly ledger: HTMLElement;
  readonly events: HTMLElement;
}

/** Shows replicas. */
export class Replicas {
  /** Called with each event of the store. */
  onEvent?: (event: StoreEvent) => void;
  private readonly places: ReplicaPlaces;
  private session: Session | undefined;
  private digests: readonly ReplicaDigest[] = [];
  private asking = false;
  private begun = 0;
  /** Replicas whose threads were told to end, and live on for a moment. */
  private readonly dying = new Set<number>();
  /** What has just happened to a replica, to be said for a while instead of its state. */
  private readonly notes = new Map<number, { readonly state: string; readonly text: string; readonly until: number }>();

  constructor(places: ReplicaPlaces) {
    this.places = places;
  }

  /** Shows those of a session from now on. @param instead what is said while there is none */
  follow(session: Session | undefined, instead = '–'): void {
    const { list, contents, ledger, events } = this.places;
    this.session = session;
    this.digests = [];
    this.dying.clear();
    this.notes.clear();
    list.replaceChildren();
    judge(contents, instead);
    judge(ledger, '–');
    events.replaceChildren();
    if (session === undefined) return;
    this.begun = performance.now();
    const { replicas, model } = session.setup;
    const { threads } = session.store.stats();
    this.tell(
      threads === 0
        ? `a store of the model ${model}: one tree, no threads of its own`
        : `a store of the model ${model}: ${replicas} × ${threads} threads`,
    );
    session.onEvent((event) => {
      if (this.session !== session) return;
      this.tell(textOf(event));
      this.note(event);
      this.update();
      this.onEvent?.(event);
    });
    for (const { replica } of session.store.status().replicas) list.append(this.row(session, replica));
    this.update();
  }

  private row(session: Session, replica: number): HTMLElement {
    const row = document.createElement('li');
    row.innerHTML = `<div><b></b> <span></span></div><div class="kills"></div><code></code>`;
    (row.querySelector('b') as HTMLElement).textContent = `Replica ${replica}`;
    const kills = row.querySelector('.kills') as HTMLElement;
    const { threads } = session.store.stats();
    const button = (text: string, label: string, thread?: number) => {
      const made = document.createElement('button');
      made.type = 'button';
      made.textContent = text;
      made.setAttribute('aria-label', label);
      made.addEventListener('click', () => {
        if (made.getAttribute('aria-disabled') !== 'true') this.kill(session, replica, label, thread);
      });
      kills.append(made);
    };
    if (threads === 0) return row;
    button('Kill replica', `Kill replica ${replica}`);
    if (threads > 1) button('Kill an executor', `Kill an executor of replica ${replica}`, threads - 1);
    return row;
  }

  private kill(session: Session, replica: number, label: string, thread: number | undefined): void {
    this.dying.add(replica);
    this.tell(`${label}…`);
    this.update();
    session.store
      .kill(replica, thread)
      .catch((error: Error) => this.tell(error.message))
      .finally(() => {
        if (this.session === session) this.dying.delete(replica);
      });
  }

  /** Kills the replica that answers. @returns false if that would be the end of the store, or there is none */
  killHome(): boolean {
    const { session } = this;
    if (session === undefined) return false;
    const { replicas } = session.store.status();
    const home = replicas.find(({ state }) => state === 'home');
    if (home === undefined || !replicas.some(({ state }) => state === 'ready')) return false;
    if (!this.dying.has(home.replica)) this.kill(session, home.replica, `Kill replica ${home.replica}`, undefined);
    return true;
  }

  /** Adds a line to what has happened. */
  tell(text: string): void {
    const { events } = this.places;
    const line = document.createElement('li');
    const time = document.createElement('time');
    time.textContent = `${((performance.now() - this.begun) / 1000).toFixed(1)} s`;
    line.append(time, ' ', text);
    events.append(line);
    while (events.children.length > 50) events.firstElementChild?.remove();
    events.scrollTop = events.scrollHeight;
  }

  private note(event: StoreEvent): void {
    const until = performance.now() + NOTED;
    if (event.type === 'lost') this.dying.delete(event.replica);
    else if (event.type === 'failover') {
      const text = `took over in ${event.pauseMs.toFixed(0)} ms`;
      this.notes.set(event.replica, { state: 'home', text, until });
    } else if (event.type === 'rebuilt') {
      this.notes.set(event.replica, { state: 'ready', text: `was rebuilt in ${event.ms.toFixed(0)} ms`, until });
    }
  }

  /** Brings everything up to date; a few times a second. */
  update(): void {
    const { session, dying, notes } = this;
    if (session === undefined) return;
    const now = performance.now();
    const { replicas, state: open } = session.store.status();
    for (const { replica, state } of replicas) {
      const row = this.places.list.children[replica] as HTMLElement;
      const alive = state === 'home' || state === 'ready';
      const shown = alive && dying.has(replica) ? 'dying' : state;
      row.dataset.state = shown;
      const note = notes.get(replica);
      const fresh = note !== undefined && note.state === shown && note.until > now;
      (row.querySelector('span') as HTMLElement).textContent = fresh ? note.text : STATES[shown];
      const digest = alive ? this.digests.find((one) => one.replica === replica) : undefined;
      (row.querySelector('code') as HTMLElement).textContent =
        digest === undefined ? 'digest –' : `digest ${digest.digest.toString(16).padStart(16, '0')}`;
      // Not `disabled`, which would take the focus away from somebody who kills by the keyboard.
      for (const button of row.querySelectorAll('button')) {
        button.setAttribute('aria-disabled', String(shown !== 'home' && shown !== 'ready'));
      }
    }
    this.compare();
    this.audit(session, open === 'failed');
  }

  private compare(): void {
    const { contents } = this.places;
    const n = this.digests.length;
    if (n < 2) judge(contents, n === 0 ? '–' : 'One copy: there is none to compare it with.');
    else if (this.agree) judge(contents, `${n} copies, equal: the same digest at the same place of the order.`, 'good');
    else judge(contents, 'The copies differ.', 'bad');
  }

  private audit(session: Session, ended: boolean): void {
    const { ledger } = this.places;
    const number = (n: number) => n.toLocaleString('en');
    const { answered, checked, lost } = session.audit();
    ledger.dataset.answered = String(answered);
    // Where no copy is left, everything is lost, whatever the memory still holds.
    ledger.dataset.lost = String(ended ? answered : lost);
    if (ended) judge(ledger, `All is lost, ${number(answered)} batches of answered writes.`, 'bad');
    else if (answered === 0) judge(ledger, 'Nothing was answered yet.');
    else {
      const found = lost === 0 ? 'all found' : `${number(lost)} lost`;
      const text = `${number(answered)} batches answered; a write of each of the last ${number(checked)} looked up: ${found}.`;
      judge(ledger, text, lost === 0 ? 'good' : 'bad');
    }
  }

  /** Asks all replicas for their digest at one place of the order; nothing if the last question is still under way. */
  async ask(): Promise<void> {
    const { session } = this;
    if (session === undefined || this.asking || !['open', 'read-only'].includes(session.store.status().state)) return;
    this.asking = true;
    try {
      const digests = await session.store.digests();
      if (this.session === session) this.digests = digests;
    } catch {
      // The store has ended meanwhile.
    } finally {
      this.asking = false;
    }
  }

  /** Whether those that answered had the same content at the same place. */
  get agree(): boolean {
    return this.digests.length > 0 && this.digests.every(({ digest }) => digest === this.digests[0].digest);
  }
}

/** Says something, and whether it is good or bad. */
function judge(place: HTMLElement, text: string, verdict?: 'good' | 'bad'): void {
  if (place.textContent !== text) place.textContent = text;
  place.toggleAttribute('data-good', verdict === 'good');
  place.toggleAttribute('data-bad', verdict === 'bad');
}

/** An event in words. */
function textOf(event: StoreEvent): string {
  switch (event.type) {
    case 'lost':
      return `replica ${event.replica}${event.home ? ', which answered,' : ''} is lost: ${event.reason}`;
    case 'failover':
      return `replica ${event.replica} took over after ${event.pauseMs.toFixed(1)} ms`;
    case 'rebuilt':
      return `replica ${event.replica} was rebuilt from replica ${event.from} in ${event.ms.toFixed(0)} ms`;
    case 'rebuild-failed':
      return `replica ${event.replica} could not be rebuilt: ${event.reason}`;
    case 'diverged':
      return 'the replicas’ contents differ';
    case 'failed':
      return `the store has ended: ${event.reason}`;
    default:
      return event.type;
  }
}
