/**
 * The script of the store's threads in a browser, as a URL. It travels as a string inside the package and is given to
 * workers as a Blob, so no bundler has to find, copy or name a file. `.ci/build.mjs` makes the string; in the threads themselves
 * `own-script.ts` stands for this file.
 */
import { CORE_BASE64 } from '../../engine/core-bytes.ts';
import { THREAD_SOURCE } from './thread-source.ts';

let url: string | undefined;

/** The URL. One for the life of this thread. */
export function scriptUrl(): string {
  // The core is in the package once: the threads get it from whoever starts them.
  url ??= URL.createObjectURL(
    new Blob([`const sabtreeCore=${JSON.stringify(CORE_BASE64)};`, THREAD_SOURCE], { type: 'text/javascript' }),
  );
  return url;
}
