// The main graph with uPlot, in the box and with the measures of the drawing that the server
// made: only hovering, keys and zooming are new.
import uPlot from 'uplot';
import { isEnglish, num, shortNum, stepName } from './local';
import { follow } from './swap';

interface Data {
  metric: string;
  label: string;
  step: string;
  local: string[];
  now: (number | null)[];
  prev?: (number | null)[];
  prevAt?: string[];
  running: number;
  ticks: number[];
  labels: string[];
  every: number;
}

let plot: uPlot | undefined;
let box: HTMLElement | undefined;
let watch: ResizeObserver | undefined;

/** Draws the graph, unless what is drawn is still on the page. */
export function drawChart(): void {
  const el = document.getElementById('chart');
  if (el === box && plot) return;
  watch?.disconnect();
  plot?.destroy();
  plot = box = undefined;
  if (!el?.dataset.chart) return;
  const d = JSON.parse(el.dataset.chart) as Data;
  if (d.local.length < 2) return;
  box = el;
  build(el, d);
  watch = new ResizeObserver(() => {
    const w = el.clientWidth;
    if (plot && w > 0 && w !== plot.width) plot.setSize({ width: w, height: 236 });
  });
  watch.observe(el);
}

// Colours live in the style sheet; a canvas has to be told them again when they change.
for (const q of ['(prefers-color-scheme: dark)', '(max-width: 700px)']) {
  matchMedia(q).addEventListener('change', () => {
    plot?.destroy();
    plot = undefined;
    drawChart();
  });
}

function build(el: HTMLElement, d: Data): void {
  const css = getComputedStyle(el);
  const colour = (name: string) => css.getPropertyValue(name).trim();
  const left = parseFloat(css.paddingLeft);
  const right = parseFloat(css.paddingRight);
  const narrow = matchMedia('(max-width: 700px)').matches;
  const font = '11.5px ' + css.fontFamily;
  const n = d.local.length;
  const solid = d.now.map((y, i) => (d.running >= 0 && i >= d.running ? null : y));
  const running = d.now.map((y, i) => (d.running >= 0 && (i === d.running || i === d.running - 1) ? y : null));
  const every = d.every * (narrow ? 2 : 1);
  const data = [d.local.map((_, i) => i), d.now, d.prev ?? d.now.map(() => null), solid, running] as uPlot.AlignedData;

  const tip = document.createElement('div');
  tip.className = 'tip';
  tip.hidden = true;
  tip.setAttribute('role', 'status');

  const u = new uPlot(
    {
      width: el.clientWidth,
      height: 236,
      padding: [10, right, 0, 0],
      legend: { show: false },
      scales: { x: { time: false, range: [0, n - 1] }, y: { range: [0, d.ticks[d.ticks.length - 1]!] } },
      cursor: {
        y: false,
        points: { size: 8, fill: colour('--accent'), stroke: colour('--card'), width: 2, show: (_, i) => (i === 1 ? dot(colour) : hiddenDot()) },
        move: (self, left, top) => [left < 0 ? left : Math.round(self.valToPos(self.posToIdx(left), 'x')), top],
        drag: { x: true, y: false, setScale: false },
        focus: { prox: -1 },
      },
      select: { show: true, left: 0, top: 0, width: 0, height: 0 },
      axes: [
        {
          size: 26,
          gap: 6,
          font,
          stroke: colour('--muted'),
          grid: { show: false },
          ticks: { show: false },
          splits: () => d.local.map((_, i) => i).filter((i) => i % every === 0 && (i < n - 1 || n < 3)),
          values: (_, at) => at.map((i) => tickName(d, i)),
        },
        {
          size: left,
          gap: 8,
          font,
          stroke: colour('--muted'),
          grid: { stroke: colour('--hair'), width: 1 },
          ticks: { show: false },
          splits: () => d.ticks,
          values: (_, at) => at.map((y, i) => (isEnglish || !plain(d) ? (d.labels[i] ?? '') : shortNum(y))),
        },
      ],
      series: [
        {},
        { stroke: 'transparent', width: 0, fill: colour('--area'), points: { show: false } },
        { stroke: colour('--prev'), width: 1.5, dash: [5, 4], points: { show: false } },
        { stroke: colour('--accent'), width: 2, points: { show: false } },
        { stroke: colour('--accent'), width: 2, dash: [5, 4], points: { show: false } },
      ],
      hooks: {
        setCursor: [(self) => showTip(self, tip, d)],
        setSelect: [(self) => zoom(self, d)],
      },
    },
    data,
    el,
  );
  plot = u;
  el.classList.add('drawn');
  u.over.append(tip);
  keys(el, u, d);
}

function dot(colour: (name: string) => string): HTMLElement {
  const e = document.createElement('div');
  e.style.background = colour('--accent');
  return e;
}

function hiddenDot(): HTMLElement {
  const e = document.createElement('div');
  e.hidden = true;
  return e;
}

function tickName(d: Data, i: number): string {
  if (d.step === 'hour' && d.local.length > 48) return stepName(d.local[i]!, 'day', false);
  return stepName(d.local[i]!, d.step, false);
}

// A number without a unit of its own.
function plain(d: Data): boolean {
  return d.metric !== 'bounce_rate' && d.metric !== 'visit_duration';
}

function value(d: Data, y: number | null | undefined): string {
  if (y == null) return '–';
  if (d.metric === 'bounce_rate') return Math.round(y) + '%';
  if (d.metric === 'visit_duration') return duration(y);
  return num(y);
}

function duration(sec: number): string {
  const s = Math.round(sec);
  const two = (x: number) => String(x).padStart(2, '0');
  if (s < 60) return s + 's';
  if (s < 3600) return Math.floor(s / 60) + 'm ' + two(s % 60) + 's';
  return Math.floor(s / 3600) + 'h ' + two(Math.floor((s % 3600) / 60)) + 'm';
}

function showTip(u: uPlot, tip: HTMLElement, d: Data): void {
  const i = u.cursor.idx;
  tip.hidden = i == null || (d.now[i] == null && d.prev?.[i] == null);
  if (i == null || tip.hidden) return;
  const line = (tag: string, text: string) => {
    const e = document.createElement(tag);
    e.textContent = text;
    return e;
  };
  const parts = [line('span', stepName(d.local[i]!, d.step, true) + (i === d.running ? ', still running' : '')), line('b', value(d, d.now[i]) + ' ' + d.label.toLowerCase())];
  if (d.prev && d.prevAt?.[i]) parts.push(line('span', value(d, d.prev[i]) + ' before, ' + stepName(d.prevAt[i]!, d.step, true)));
  tip.replaceChildren(...parts);
  const x = u.valToPos(i, 'x');
  const w = tip.offsetWidth;
  const space = u.over.clientWidth;
  const at = x + 14 + w < space ? x + 14 : Math.max(0, x - 14 - w);
  tip.style.transform = `translate(${Math.round(at)}px, 4px)`;
}

// Dragging over some steps shows their dates alone.
function zoom(u: uPlot, d: Data): void {
  const { left, width } = u.select;
  if (width < 8) return;
  const from = Math.max(0, Math.round(u.posToVal(left, 'x')));
  const to = Math.min(d.local.length - 1, Math.round(u.posToVal(left + width, 'x')));
  u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  dates(d, from, to);
}

function dates(d: Data, from: number, to: number): void {
  const end = d.local[to + 1];
  let last = d.local[to]!.slice(0, 10);
  if (end && (d.step === 'week' || d.step === 'month')) {
    last = new Date(Date.parse(end.slice(0, 10) + 'T00:00Z') - 86_400_000).toISOString().slice(0, 10);
  }
  follow({ period: 'custom', from: d.local[from]!.slice(0, 10), to: last, interval: '' });
}

// Arrows walk the steps, Enter opens the one under the cursor.
function keys(el: HTMLElement, u: uPlot, d: Data): void {
  el.tabIndex = 0;
  el.setAttribute('role', 'group');
  el.setAttribute('aria-label', 'Graph. Arrow keys walk along it, Enter opens a step. The table below has all figures.');
  const last = d.now.reduce<number>((a, y, i) => (y == null ? a : i), 0);
  const set = (i: number) => u.setCursor({ left: u.valToPos(i, 'x'), top: 40 });
  el.onkeydown = (e) => {
    const i = u.cursor.idx ?? null;
    const to =
      e.key === 'ArrowRight' ? Math.min(last, i == null ? 0 : i + 1)
      : e.key === 'ArrowLeft' ? Math.max(0, i == null ? last : i - 1)
      : e.key === 'Home' ? 0
      : e.key === 'End' ? last
      : -1;
    if (to >= 0) {
      e.preventDefault();
      set(to);
    } else if (e.key === 'Enter' && i != null) dates(d, i, i);
    else if (e.key === 'Escape') u.setCursor({ left: -10, top: -10 });
  };
  el.onblur = () => u.setCursor({ left: -10, top: -10 });
}
