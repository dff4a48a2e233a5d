/** Whether threads can share memory here at all. */
import { SabtreeError } from './errors.ts';

/**
 * Call before the first shared memory is made or looked at.
 * @throws ERR_NOT_ISOLATED in a page (or its worker) that has no SharedArrayBuffer, for it is not cross-origin isolated.
 */
export function requireSharedMemory(): void {
  if (typeof SharedArrayBuffer !== 'undefined') return;
  const { crossOriginIsolated, isSecureContext } = globalThis;
  const reason = isSecureContext
    ? 'the server has to send the headers "Cross-Origin-Opener-Policy: same-origin" and "Cross-Origin-Embedder-Policy: require-corp" (or credentialless) with the page, and the second one with the scripts of its workers'
    : 'it is not a secure context: serve it over https, or from localhost, and with the headers "Cross-Origin-Opener-Policy: same-origin" and "Cross-Origin-Embedder-Policy: require-corp" (or credentialless)';
  throw new SabtreeError(
    'ERR_NOT_ISOLATED',
    `this page has no SharedArrayBuffer, because it is not cross-origin isolated: ${reason}`,
    { crossOriginIsolated, isSecureContext },
  );
}
