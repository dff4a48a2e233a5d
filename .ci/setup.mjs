/**
 * Makes a checkout ready to run: the dependencies of package-lock.json installed, dist/ up to date. Does nothing, and
 * that fast, when both are. Several at once are safe. All output goes to stderr.
 */
const MIN_NODE = 20;

if (Number.parseInt(process.versions.node, 10) < MIN_NODE) {
  process.stderr.write(`sabtree needs Node.js ${MIN_NODE} or newer; this is ${process.version}.\n`);
  process.exit(1);
}

// Only now: an older Node.js may not even parse these.
const { install, isInstalled } = await import('./install.mjs');
const { buildAlone, isBuilt } = await import('./build.mjs');
const { alone } = await import('./lock.mjs');
const { fail } = await import('./steps.mjs');

try {
  if (!isInstalled() || !isBuilt()) {
    await alone(async () => {
      if (!isInstalled()) install();
      await buildAlone();
    });
  }
} catch (error) {
  fail(error);
}
