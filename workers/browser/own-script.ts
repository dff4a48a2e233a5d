/** Stands for `script.ts` in the threads: they start others from the script that they run themselves. */

/** The URL. */
export function scriptUrl(): string {
  return globalThis.location.href;
}
