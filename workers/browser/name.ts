/** What a thread of a store is told by its name: it can be read before any message comes. */

/** What the name says. */
export interface ThreadName {
  /** For people. */
  readonly title: string;
  /** Which entry it runs. */
  readonly role: 'executor' | 'supervisor' | 'snapshot' | 'waiter';
  /** The lock that it holds as long as it lives. */
  readonly life: string;
}

const BETWEEN = ' | ';

/** The name of a thread that is to be started. */
export function nameOf({ title, role, life }: ThreadName): string {
  return [title, role, life].join(BETWEEN);
}

/** In a thread: what its name says. */
export function ownName(): ThreadName {
  const [title, role, life] = self.name.split(BETWEEN);
  return { title, role: role as ThreadName['role'], life };
}
