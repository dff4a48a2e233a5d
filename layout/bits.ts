/**
 * Integer arithmetic that means the same in TypeScript and in AssemblyScript.
 *
 * Every file of `layout/` is compiled twice: by tsc for the threads' JavaScript and by asc into the WebAssembly core,
 * so an offset has exactly one source. That is why these files hold nothing but integer constants.
 */

/** Bytes in a cache line; slots, latches and counters that different threads write are kept this far apart. */
export const CACHE_LINE = 64;

/** Bytes in a WebAssembly page. */
export const PAGE = 65536;

/** The most pages one tree may have: 4 GiB less one page, so that no address computation can wrap 32 bits. */
export const MAX_PAGES = 65535;
