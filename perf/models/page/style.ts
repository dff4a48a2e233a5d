/** How the page looks. */
export const STYLE: string = `
:root {
  color-scheme: light dark;
  --paper: #f6f6f4;
  --card: #ffffff;
  --ink: #1c1c1a;
  --ink-soft: #55554f;
  --rule: #e3e3de;
  --accent: #0063a8;
  --warn-paper: #fde8dc;
  --warn-ink: #8a2f00;
}
@media screen and (prefers-color-scheme: dark) {
  :root:not(.printing) {
    --paper: #16171a;
    --card: #1e2024;
    --ink: #ececea;
    --ink-soft: #b3b4b0;
    --rule: #34373d;
    --accent: #7cc8f4;
    --warn-paper: #4a2413;
    --warn-ink: #ffc9a8;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0;
  background: var(--paper);
  color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
}
main, header, footer { max-width: 80rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; text-wrap: balance; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .25rem; }
h3 { font-size: 1rem; margin: 0; }
p { margin: .25rem 0 1rem; max-width: 46rem; }
.soft, figcaption, caption { color: var(--ink-soft); }
[hidden] { display: none !important; }

.machine { display: flex; flex-wrap: wrap; gap: .6rem 2.2rem; margin: 1.25rem 0; }
.machine div { min-width: 0; }
.machine dt { font-size: .8rem; color: var(--ink-soft); }
.machine dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
.wrong { background: var(--warn-paper); color: var(--warn-ink); padding: .6rem .9rem; border-radius: .4rem; font-weight: 600; }

.controls { background: var(--card); border: 1px solid var(--rule); border-radius: .6rem; padding: .8rem 1rem; margin-top: 1rem; }
.filters { display: flex; flex-wrap: wrap; gap: .6rem 1rem; align-items: end; }
.filters label, .at label { display: grid; font-size: .8rem; color: var(--ink-soft); min-width: 0; }
label.check { display: flex; align-items: center; gap: .4rem; font-size: .9rem; color: var(--ink); min-height: 2.25rem; }
select {
  font: inherit; font-size: .95rem; color: var(--ink); background: var(--paper);
  border: 1px solid var(--ink-soft); border-radius: .35rem; padding: .3rem .4rem; min-height: 2.25rem; max-width: 100%;
}
input[type="checkbox"] { width: 1.05rem; height: 1.05rem; margin: 0; accent-color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
fieldset { border: 0; margin: .7rem 0 0; padding: 0; min-width: 0; }
legend { font-size: .8rem; color: var(--ink-soft); padding: 0; }
#models { display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; }
.hued { --hue: var(--light); }
#models label { display: flex; align-items: center; gap: .4rem; font-size: .95rem; min-height: 2rem; }
svg { width: .95em; height: .95em; flex: none; fill: var(--hue); overflow: visible; }
.simulated svg { fill: none; stroke: var(--hue); stroke-width: 1.5; stroke-dasharray: 3 2; }
.keys { display: flex; flex-wrap: wrap; gap: .1rem .9rem; margin: .2rem 0 .4rem; padding: 0; list-style: none; font-size: .8rem; }
.keys li { display: flex; align-items: center; gap: .3rem; }
#moved { min-height: 1.3em; margin: .4rem 0 0; font-size: .85rem; }
#moved:empty { min-height: 0; margin: 0; }
.at { display: flex; flex-wrap: wrap; gap: .4rem 1.5rem; align-items: end; margin: 2.5rem 0 .8rem; }
.at h2 { margin: 0; }

.figures { display: grid; grid-template-columns: minmax(0, 1fr); gap: 1rem; align-items: start; }
figure { margin: 0; background: var(--card); border: 1px solid var(--rule); border-radius: .6rem; padding: 1rem; min-width: 0; }
figure > p { font-size: .85rem; margin: 0 0 .3rem; }
.scroll { overflow-x: auto; }
.plot { position: relative; height: 21rem; }
.small .plot { height: 14rem; }
.empty .scroll, .empty .keys, .empty details { display: none; }
figcaption { font-size: .85rem; min-height: 1.3em; }
.empty figcaption { padding-top: .4rem; }
details { font-size: .85rem; margin-top: .4rem; }
summary { cursor: pointer; color: var(--accent); width: max-content; max-width: 100%; }
details > div { overflow-x: auto; }
.glyph { font-size: 1.05em; }

table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .85rem; }
caption { text-align: left; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--rule); text-align: left; white-space: nowrap; }
thead th { vertical-align: bottom; }
tbody th { font-weight: 600; }
tbody th svg { margin-right: .4rem; vertical-align: -.1em; }
.number { text-align: right; }
.cells { max-height: 80vh; overflow: auto; background: var(--card); border: 1px solid var(--rule); border-radius: .6rem; }
.cells thead th { position: sticky; top: 0; background: var(--card); z-index: 1; box-shadow: 0 1px var(--rule); padding: 0; }
.cells tbody th, .cells thead th:first-child { position: sticky; left: 0; background: var(--card); }
.cells thead th:first-child { z-index: 2; }
.cells tbody tr:hover > * { background: var(--paper); }
.cells button {
  font: inherit; font-weight: 600; color: inherit; background: none; border: 0; padding: .5rem .6rem; cursor: pointer;
  width: 100%; text-align: inherit;
}
.cells button:focus-visible { outline-offset: -3px; }
.cells button::after { content: ' \\2195'; opacity: .35; }
[aria-sort="ascending"] button::after { content: ' \\2191'; opacity: 1; }
[aria-sort="descending"] button::after { content: ' \\2193'; opacity: 1; }
.mark { border: 1px solid currentColor; border-radius: .3rem; padding: 0 .35rem; margin-right: .3rem; font-size: .8rem; color: var(--ink-soft); }
.mark.simulated { border-style: dashed; }
.mark.not { background: var(--warn-paper); color: var(--warn-ink); font-weight: 600; }
.glossary { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .3rem 1.2rem; font-size: .95rem; }
.glossary dt { font-weight: 600; }
.glossary dd { margin: 0; }
footer { padding-top: 2rem; padding-bottom: 3rem; font-size: .85rem; color: var(--ink-soft); }

@media screen and (prefers-color-scheme: dark) {
  :root:not(.printing) .hued { --hue: var(--dark); }
}
@media (min-width: 64rem) {
  .pair:not(:has(.broad)) { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}
@media (max-width: 40rem) {
  main, header, footer { padding-left: .8rem; padding-right: .8rem; }
  header { padding-top: 1.4rem; }
  h1 { font-size: 1.5rem; }
  figure { padding: .7rem; }
  .filters { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .filters select { width: 100%; }
  .glossary { grid-template-columns: minmax(0, 1fr); gap: 0; }
  .glossary dd { margin-bottom: .5rem; }
}
@page { margin: 12mm; }
@page wide { size: landscape; margin: 10mm; }
@media print {
  body { background: none; font-size: 10pt; }
  main, header, footer { max-width: none; padding: 0; }
  h2, .at, section > p { break-after: avoid; }
  figure, .controls, tr { break-inside: avoid; }
  figure, .controls { border-color: #bbb; }
  details, .cells button::after, .check { display: none !important; }
  canvas { max-width: 100%; }
  .scroll { overflow: visible; }
  .plot { min-width: 0 !important; }
  .wide { page: wide; }
  .cells { max-height: none; overflow: visible; border: 0; }
  .cells table { width: 100%; font-size: 6.5pt; }
  .cells th, .cells td, .cells button { padding: .1rem .2rem !important; position: static !important; }
  .cells thead th { white-space: normal; }
  .mark { font-size: 1em; border: 0; padding: 0; }
}
`;
