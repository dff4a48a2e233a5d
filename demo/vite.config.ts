/** How the demo page is built: `vite build demo`. Everything it needs comes with it; nothing is loaded from elsewhere. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { defineConfig, type Plugin } from 'vite';
import { packRanges } from './ip-ranges.ts';

const TABLE = '@ip-location-db/asn-country/asn-country-ipv4-num.csv';

/** The headers that make a page cross-origin isolated. */
export const ISOLATION = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

/** Which country has which IPv4 addresses, as `ip-country.bin` beside the page. */
function ipTable(): Plugin {
  const file = createRequire(import.meta.url).resolve(TABLE);
  const packed = () => packRanges(readFileSync(file, 'utf8'));
  return {
    name: 'ip-table',
    generateBundle() {
      this.emitFile({ type: 'asset', fileName: 'ip-country.bin', source: packed() });
    },
    configureServer(server) {
      server.middlewares.use('/ip-country.bin', (_request, response) => {
        response.setHeader('Content-Type', 'application/octet-stream');
        response.end(packed());
      });
    },
  };
}

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  // The same files work below any path of any host.
  base: './',
  resolve: { alias: { sabtree: fileURLToPath(new URL('../dist/index.js', import.meta.url)) } },
  worker: { format: 'es' },
  build: { target: 'es2022', outDir: 'dist', emptyOutDir: true, chunkSizeWarningLimit: 1000 },
  server: { headers: ISOLATION },
  preview: { headers: ISOLATION },
  plugins: [ipTable()],
});
