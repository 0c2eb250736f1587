import { Html } from './html.ts';

/** Inline, because the page must work on a node without access to other hosts. */
export const statusPageStyle = new Html(`
:root {
  color-scheme: light dark;
  --page: #f5f6f8; --card: #fff; --line: #dfe2e8; --text: #1b1f27; --dim: #5d6675;
  --past: #c3cad6; --good: #17804a; --warn: #a65b00; --bad: #c0262d; --idle: #8a93a3;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12151b; --card: #1b2029; --line: #2d3440; --text: #e7eaf0; --dim: #98a2b3;
    --past: #454e5d; --good: #4ac283; --warn: #e9a13b; --bad: #ff6b6b; --idle: #6d7788;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem; max-width: 60rem; background: var(--page);
  color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: .25rem 1rem; margin-bottom: 1.25rem; }
h1 { margin: 0; font-size: 1.5rem; letter-spacing: -.01em; overflow-wrap: anywhere; }
header p { margin: 0; color: var(--dim); }
header .verdict { margin-left: auto; font-weight: 600; }
article { margin-bottom: 1rem; padding: 1.1rem 1.25rem 1.25rem; background: var(--card);
  border: 1px solid var(--line); border-left: 4px solid var(--tone); border-radius: 8px; }
.good { --tone: var(--good); } .warn { --tone: var(--warn); } .bad { --tone: var(--bad); }
.tone { color: var(--tone); }
.head { display: flex; flex-wrap: wrap; align-items: baseline; gap: .25rem .75rem; }
h2 { margin: 0; font-size: 1.1rem; overflow-wrap: anywhere; }
.state { padding: 0 .55rem; border: 1px solid currentColor; border-radius: 1rem; color: var(--tone);
  font-size: .8rem; font-weight: 600; white-space: nowrap; }
.since { color: var(--dim); font-size: .85rem; }
.left { margin-left: auto; font-weight: 600; font-variant-numeric: tabular-nums; }
.life { margin: .9rem 0 1rem; font-size: .8rem; color: var(--dim); font-variant-numeric: tabular-nums; }
.due, .ends { display: flex; justify-content: space-between; gap: 1rem; }
.due span { margin-left: auto; margin-right: -.35em; text-align: right; white-space: nowrap; }
.bar { position: relative; height: .8rem; margin: .25rem 0; border-radius: .4rem; background: var(--tone); }
.past { height: 100%; border-radius: .4rem 0 0 .4rem; background: var(--past); }
.past.all { border-radius: .4rem; }
.mark { position: absolute; top: -.4rem; bottom: -.4rem; width: 2px; margin-left: -1px;
  background: var(--text); outline: 2px solid var(--card); }
dl { display: grid; grid-template-columns: 5.5rem 1fr; gap: .15rem 1rem; margin: 0; font-size: .9rem; }
dt { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; }
code { font: .92em ui-monospace, monospace; }
.missing { margin: .75rem 0 .9rem; padding-left: 1.1rem; }
.missing li::marker { color: var(--tone); }
.missing li { overflow-wrap: anywhere; }
footer { margin-top: 1.5rem; color: var(--dim); font-size: .85rem; overflow-wrap: anywhere; }
footer p { margin: .2rem 0; }
a { color: inherit; }
`);
