/** What the store needs of the platform it runs on. `#platform` resolves to platform-node or platform-browser. */
export interface ChildThread {
  /** The thread's end of a comlink channel: the control plane. */
  readonly endpoint: import('comlink').Endpoint;
  /** Ends the thread at once, wherever it is. */
  terminate(): Promise<void>;
  /** Calls back once, when the thread has ended: with the error that ended it, if one did. */
  onEnd(listener: (error: unknown) => void): void;
  /** Calls back with every message of the thread, those of comlink included. */
  onMessage(listener: (message: unknown) => void): void;
}
