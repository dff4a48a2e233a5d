/** A server of static files on this machine, with or without the headers that make a page cross-origin isolated. */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize, sep } from 'node:path';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.wasm': 'application/wasm',
  '.svg': 'image/svg+xml',
  '.ico': 'image/x-icon',
};

/** The headers without which a page has no SharedArrayBuffer. */
export const ISOLATION: Readonly<Record<string, string>> = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

/** What is served, and how. */
export interface PageServerOptions {
  /** Folders by the path below which they are served, which ends with a slash: `{ '/': 'page', '/sabtree/': 'dist' }`. */
  readonly folders?: Readonly<Record<string, string>>;
  /** Contents by path: `{ '/index.html': '<!doctype html>...' }`; they come before the folders. */
  readonly files?: Readonly<Record<string, string>>;
  /** Whether the isolation headers are sent. Default true. */
  readonly isolated?: boolean;
  /** Further headers for every answer; they win over the isolation headers. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** A server that listens. */
export interface PageServer {
  /** Its address, without a slash at the end: `http://127.0.0.1:41234`. */
  readonly url: string;
  /** Paths that were asked for and not found. */
  readonly missing: string[];
  /** Ends it, and every connection. */
  close(): Promise<void>;
}

/** Serves files on a free port. A path that ends with a slash means its index.html. */
export async function servePages(options: PageServerOptions): Promise<PageServer> {
  const { folders = {}, files = {}, isolated = true } = options;
  const headers = { ...(isolated && ISOLATION), 'Cache-Control': 'no-store', ...options.headers };
  // The longest path first: '/' takes what no other does.
  const mounts = Object.entries(folders).sort(([a], [b]) => b.length - a.length);
  const missing: string[] = [];

  const read = async (path: string): Promise<Buffer | string | undefined> => {
    if (Object.hasOwn(files, path)) return files[path];
    const mount = mounts.find(([prefix]) => path.startsWith(prefix));
    if (mount === undefined) return undefined;
    const inside = normalize(path.slice(mount[0].length));
    if (inside.split(sep).includes('..')) return undefined;
    return readFile(join(mount[1], inside)).catch(() => undefined);
  };
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    const path = decodeURIComponent(pathname).replace(/\/$/, '/index.html');
    void read(path).then((content) => {
      // Browsers ask for an icon by themselves; a page without one is not wrong.
      if (content === undefined && path !== '/favicon.ico') missing.push(path);
      const status = content !== undefined ? 200 : path === '/favicon.ico' ? 204 : 404;
      response.writeHead(status, { 'Content-Type': TYPES[extname(path)] ?? 'application/octet-stream', ...headers });
      response.end(content);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    // A secure context, as a page needs for shared memory, although it is plain http: it comes from this machine.
    url: `http://127.0.0.1:${port}`,
    missing,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
