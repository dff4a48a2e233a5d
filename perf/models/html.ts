/** The report as one page with charts, which needs nothing but itself: no network, no other file. */
import { readFileSync } from 'node:fs';
import { MODELS } from '../../workers/models/index.ts';
import { STYLE } from './page/style.ts';
import type { Machine, Report } from './types.ts';

/** The modules of the page's script, each before those that import it. */
const MODULES = ['series', 'charts', 'main'];
/** Chart.js and its licence; the build puts it there. */
const CHART_LIBRARY = 'chart.umd.js';

const pageFile = (name: string) => readFileSync(new URL(`./page/${name}`, import.meta.url), 'utf8');

function escapeHtml(text: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return text.replace(/[&<>"']/g, (character) => entities[character] as string);
}

/** JSON that can stand in a script element, of any script language: no tag, and no end of line that JSON does not know. */
function escapeJson(value: unknown): string {
  const hex = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return JSON.stringify(value).replace(/[<>&\u2028\u2029]/g, hex);
}

/** Code that can stand in a script element. */
function escapeScript(code: string): string {
  return code.replace(/<(?=\/script|!--)/gi, '\\x3c').replace(/^\/\/# sourceMappingURL=.*$/gm, '');
}

/** One module of several: their imports are of each other, and of types. */
function joined(): string {
  return MODULES.map((name) => pageFile(`${name}.js`))
    .join('\n')
    .replace(/^import .*;$/gm, '')
    .replace(/^export /gm, '');
}

function aboutMachine({ cpu, cores, memoryGiB, platform, node, sabtree, commit, date }: Machine): string {
  const facts: [string, string][] = [
    ['Machine', cpu],
    ['Cores', String(cores)],
    ['Memory', `${memoryGiB} GiB`],
    ['Platform', platform],
    ['Node.js', node.replace(/^v/, '')],
    ['sabtree', sabtree],
    ['Commit', commit === '' ? '-' : commit],
    ['Date', date],
  ];
  const items = facts.map(([name, value]) => `<div><dt>${name}</dt><dd>${escapeHtml(value)}</dd></div>`);
  return `<dl class="machine">${items.join('')}</dl>`;
}

function verdict({ cells }: Report): string {
  const wrong = cells.filter(({ verified }) => !verified).length;
  if (wrong > 0) return `<p class="wrong">${wrong} of ${cells.length} cells NOT VERIFIED: do not trust them.</p>`;
  const simulated = cells.filter(({ kind }) => kind === 'simulated').length;
  const measured = cells.length - simulated;
  return `<p class="soft">${measured} cells measured, answers and content verified${
    simulated > 0 ? `; ${simulated} cells <strong>simulated</strong>, not measured` : ''
  }.</p>`;
}

const filter = (name: string, text: string) => `<label>${text}<select name="${name}"></select></label>`;

/** A figure's place. @param none what to say if there is no number for it. */
function figure(name: string, title: string, about: string, none = 'Nothing was measured here.'): string {
  return `<figure data-figure="${name}" data-none="${none}">
<h3>${title}</h3><p class="soft">${about}</p>
<ul class="keys" aria-hidden="true"></ul>
<div class="scroll"><div class="plot"><canvas role="img"></canvas></div></div>
<figcaption></figcaption>
<details><summary>Numbers</summary><div></div></details>
</figure>`;
}

const NO_EVENTS = 'None, in any model shown.';

const BODY = `
<section class="controls" aria-label="What is shown">
<div class="filters">
${filter('kind', 'Kind')}
${filter('workload', 'Workload')}
${filter('distribution', 'Distribution of keys')}
${filter('window', 'Window')}
${filter('replicas', 'Replicas')}
${filter('clients', 'Clients')}
${filter('fanout', 'Leaf capacity')}
<label class="check"><input type="checkbox" name="logarithmic">Logarithmic scales</label>
</div>
<fieldset><legend>Models</legend><div id="models"></div></fieldset>
<p id="moved" class="soft" role="status"></p>
</section>

<section>
<h2>By executors</h2>
<p class="soft">Executors are the threads that execute commands in each replica. Those of smr and direct do not grow with the number asked for.</p>
<div class="figures pair">
${figure('throughput', 'Throughput', 'Commands per second, median of all runs.')}
${figure('ratio', 'Compared with smr', 'Throughput over the median of smr at the same point.', 'smr was not measured here, or nothing else was.')}
</div>
</section>

<section>
<div class="at"><h2>At <span data-says="executors"></span></h2>${filter('executors', 'Executors')}</div>
<div class="figures pair">
${figure(
  'latency',
  'Latency',
  'Milliseconds from the call to the answer of a whole window: <span class="glyph">●</span> p50, <span class="glyph">◆</span> p99, <span class="glyph">▶</span> p99.9. Logarithmic.',
  'No latencies: no client waits for answers here.',
)}
${figure('workloads', 'Throughput by workload', 'Commands per second, median of all runs.')}
</div>
</section>

<section>
<div class="at"><h2>Refusals and sync points</h2><label id="by">By<select name="by"><option value="workload">workload</option><option value="fanout">leaf capacity</option></select></label></div>
<p class="soft">Per 1,000 commands, at <span data-says="executors"></span>. In opt-psmr a command that does not fit into its leaf is refused, and later ones on its key are deferred: they all run at the next sync point, which a retry asks for if none is on its way.</p>
<div class="figures pair small">
${figure('refused', 'Refused', 'Commands that did not fit into their leaf.', NO_EVENTS)}
${figure('deferred', 'Deferred', 'Commands put off because they came after a refused one on the same key.', NO_EVENTS)}
${figure('retried', 'Retried', 'Sync points asked for (opt-psmr); batches undone and repeated in order (execute-verify).', NO_EVENTS)}
${figure('syncPoints', 'Sync points', 'Times that executors met; batches verified (execute-verify).', NO_EVENTS)}
</div>
</section>

<section class="wide">
<h2>All cells</h2>
<p class="soft"><span id="count"></span>. A heading sorts by its column.</p>
<label class="check"><input type="checkbox" name="only">Only what is chosen above</label>
<div class="cells" tabindex="0" role="region" aria-label="Table of all cells">
<table id="cells"><thead></thead><tbody></tbody></table>
</div>
</section>`;

const KINDS = `<dt>clients</dt><dd>Client threads send windows of commands and wait for the answers.</dd>
<dt>drain</dt><dd>Rings are filled while the executors stand still, then drained: no client competes for cores.</dd>
<dt>simulated</dt><dd>Computed by a model of the machine, not measured.</dd>
<dt>oversubscribed</dt><dd>More threads, executors of all replicas and clients, than the machine has cores.</dd>`;

function glossary({ cells }: Report): string {
  const names = [...new Set(cells.map(({ model }) => model))];
  const models = names.map(
    (name) =>
      `<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(Object.hasOwn(MODELS, name) ? MODELS[name].title : '-')}</dd>`,
  );
  return `<section><h2>Words</h2><dl class="glossary">${models.join('\n')}\n${KINDS}</dl></section>`;
}

const EMPTY = '<section><h2>Nothing measured</h2><p>This report has no cells.</p></section>';

/** The page of a report. It loads nothing, and says so to the browser: its policy forbids all requests. */
export function renderHtml(report: Report): string {
  const { machine, cells } = report;
  const empty = cells.length === 0;
  const scripts = empty
    ? ''
    : `<script>${escapeScript(pageFile(CHART_LIBRARY))}</script>
<script type="module">${escapeScript(joined())}</script>`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>sabtree: execution models, ${escapeHtml(machine.date)}</title>
<link rel="icon" href="data:,">
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>Execution models of sabtree</h1>
<p class="soft">Throughput and latency of a replicated state machine on a concurrent B+-tree, by how it orders and executes commands.</p>
${aboutMachine(machine)}
${empty ? '' : verdict(report)}
</header>
<main>
<noscript><p class="wrong">The charts need JavaScript. The numbers stand in this page as JSON.</p></noscript>
${empty ? EMPTY : BODY}
${empty ? '' : glossary(report)}
</main>
<footer>Made by sabtree bench. Ratios taken on a busy machine say more than times. ${empty ? '' : "The charts are drawn by Chart.js (MIT); its licence stands in this page's source."}</footer>
<script type="application/json" id="report">${escapeJson(report)}</script>
${scripts}
</body>
</html>
`;
}
