/** What the page needs before anything else: shared memory, and so two headers. */

const TRIED = 'sabtree service worker';
/** Milliseconds that a service worker may take to be there: where they are forbidden, some browsers never say so. */
const LIMIT = 3000;

/**
 * Whether the page is isolated. If not, it tries once to become so with the service worker, which loads the page again; and
 * if that does not help either, it says what is missing.
 */
export async function ensureIsolation(explain: (html: string) => void): Promise<boolean> {
  if (globalThis.crossOriginIsolated) {
    sessionStorage.removeItem(TRIED);
    return true;
  }
  const { serviceWorker } = navigator;
  if (globalThis.isSecureContext && serviceWorker !== undefined && sessionStorage.getItem(TRIED) === null) {
    // Once, whatever comes of it: the page must not load itself for ever.
    sessionStorage.setItem(TRIED, 'yes');
    try {
      await serviceWorker.register(new URL('service-worker.js', location.href));
      const late = new Promise<undefined>((resolve) => setTimeout(resolve, LIMIT));
      if ((await Promise.race([serviceWorker.ready, late])) !== undefined) {
        location.reload();
        return false;
      }
    } catch {
      // Then the page has to be served otherwise.
    }
  }
  explain(explanation());
  return false;
}

function explanation(): string {
  const secure = globalThis.isSecureContext
    ? ''
    : '<p>The page has to come over <b>https</b> (or from localhost): this one does not.</p>';
  return `
    <h2>This page needs shared memory</h2>
    <p>Browsers give it only to <em>cross-origin isolated</em> pages. This one came without the headers for that:</p>
    <pre>Cross-Origin-Opener-Policy: same-origin
Cross-Origin-Embedder-Policy: require-corp</pre>
    ${secure}
    <p><code>npm run demo</code> serves it with them. A host that sends only files is good enough if the browser allows
    service workers: then one adds the headers. (Private windows often do not.)</p>`;
}
