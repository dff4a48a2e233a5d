/** The replicas: how each is, its content's digest, and buttons that end its threads. */
import type { ReplicaDigest, StoreEvent } from 'sabtree';
import type { Audit, Session } from './session.ts';

const STATES = {
  home: 'is home: it answers',
  ready: 'is ready to take over',
  rebuilding: 'is being rebuilt',
  lost: 'is lost',
} as const;

/** Shows replicas. */
export class Replicas {
  private readonly list: HTMLElement;
  private readonly ledger: HTMLElement;
  private readonly events: HTMLElement;
  private session: Session | undefined;
  private digests: readonly ReplicaDigest[] = [];
  private asking = false;
  private begun = 0;

  constructor(list: HTMLElement, ledger: HTMLElement, events: HTMLElement) {
    this.list = list;
    this.ledger = ledger;
    this.events = events;
  }

  /** Shows those of a session from now on. */
  follow(session: Session | undefined): void {
    this.session = session;
    this.digests = [];
    this.list.replaceChildren();
    this.ledger.textContent = '–';
    delete this.ledger.dataset.lost;
    if (session === undefined) return;
    this.events.replaceChildren();
    this.begun = performance.now();
    this.tell(
      `a store of ${session.setup.replicas} × ${session.store.stats().threads} threads, model ${session.setup.model}`,
    );
    session.onEvent((event) => {
      if (this.session === session) this.tell(textOf(event));
    });
    for (const { replica } of session.store.status().replicas) this.list.append(this.row(session, replica));
  }

  private row(session: Session, replica: number): HTMLElement {
    const row = document.createElement('li');
    row.innerHTML = `<div><b></b> <span></span></div><div class="kills"></div><code></code>`;
    (row.querySelector('b') as HTMLElement).textContent = `Replica ${replica}`;
    const kills = row.querySelector('.kills') as HTMLElement;
    const { threads } = session.store.stats();
    const button = (text: string, label: string, act: () => Promise<void>) => {
      const made = document.createElement('button');
      made.type = 'button';
      made.textContent = text;
      made.setAttribute('aria-label', label);
      made.addEventListener('click', () => {
        made.disabled = true;
        this.tell(`${label}…`);
        void act().catch((error: Error) => this.tell(error.message));
      });
      kills.append(made);
    };
    if (threads === 0) return row;
    button('Kill replica', `Kill replica ${replica}`, () => session.store.kill(replica));
    if (threads > 1) {
      button('Kill an executor', `Kill an executor of replica ${replica}`, () =>
        session.store.kill(replica, threads - 1),
      );
    }
    return row;
  }

  /** Adds a line to what has happened. */
  tell(text: string): void {
    const line = document.createElement('li');
    const time = document.createElement('time');
    time.textContent = `${((performance.now() - this.begun) / 1000).toFixed(1)} s`;
    line.append(time, text);
    this.events.append(line);
    while (this.events.children.length > 50) this.events.firstElementChild?.remove();
    this.events.scrollTop = this.events.scrollHeight;
  }

  /** Brings everything up to date; a few times a second. */
  update(): void {
    const { session } = this;
    if (session === undefined) return;
    const { replicas } = session.store.status();
    for (const { replica, state } of replicas) {
      const row = this.list.children[replica] as HTMLElement;
      row.dataset.state = state;
      (row.querySelector('span') as HTMLElement).textContent = STATES[state];
      const digest = this.digests.find((one) => one.replica === replica);
      (row.querySelector('code') as HTMLElement).textContent =
        digest === undefined ? 'digest –' : `digest ${digest.digest.toString(16).padStart(16, '0')}`;
      for (const button of row.querySelectorAll('button')) button.disabled = state === 'lost' || state === 'rebuilding';
    }
    this.show(session.audit());
  }

  private show({ answered, checked, lost }: Audit): void {
    const number = (n: number) => n.toLocaleString('en');
    this.ledger.dataset.lost = String(lost);
    this.ledger.dataset.answered = String(answered);
    this.ledger.toggleAttribute('data-bad', lost > 0);
    this.ledger.textContent =
      answered === 0
        ? 'Nothing was written into the ledger yet.'
        : `Ledger: ${number(answered)} writes answered, the last ${number(checked)} looked up, ${number(lost)} lost.`;
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

/** An event in words. */
function textOf(event: StoreEvent): string {
  switch (event.type) {
    case 'lost':
      return `replica ${event.replica}${event.home ? ', the home one,' : ''} is lost: ${event.reason}`;
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
