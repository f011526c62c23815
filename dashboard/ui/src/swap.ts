// Following links of the dashboard in place: the same address is fetched as a fragment, and
// only the parts that differ are replaced. Scroll position and focus stay.
import { forgetTabs, withTabs } from './parts';

let parts = new Map<string, string>();
let pending: AbortController | undefined;
let then: () => void = () => {};

const view = () => document.getElementById('view')!;

/** Starts following. enhance runs after each swap. */
export function navigate(enhance: () => void): void {
  then = enhance;
  parts = remember(view());
  history.scrollRestoration = 'auto';
  document.addEventListener('click', (e) => {
    const a = (e.target as Element).closest?.('a');
    if (!a || e.defaultPrevented || e.button !== 0 || e.ctrlKey || e.metaKey || e.shiftKey || e.altKey) return;
    if (a.hasAttribute('download') || !ours(a.href)) return;
    e.preventDefault();
    void go(withTabs(new URL(a.href)), true);
  });
  document.addEventListener('submit', (e) => {
    const form = e.target as HTMLFormElement;
    if (!form.hasAttribute('data-swap')) return;
    e.preventDefault();
    const url = new URL(form.action);
    for (const [k, v] of new FormData(form)) url.searchParams.append(k, String(v));
    void go(withTabs(url), true);
  });
  addEventListener('popstate', () => {
    forgetTabs();
    void go(new URL(location.href), false);
  });
  retry();
}

/** Follows an address as a click would. */
export function follow(params: Record<string, string>): void {
  const url = new URL(location.href);
  for (const [k, v] of Object.entries(params)) {
    if (v) url.searchParams.set(k, v);
    else url.searchParams.delete(k);
  }
  void go(withTabs(url), true);
}

/** Fetches the address on the screen again. */
export function refresh(): void {
  void go(new URL(location.href), false);
}

// Pages of one site share their head; another path is another page and loads as one.
function ours(href: string): boolean {
  const url = new URL(href);
  return url.origin === location.origin && url.pathname === location.pathname && !url.hash;
}

async function go(url: URL, push: boolean): Promise<void> {
  pending?.abort();
  const mine = (pending = new AbortController());
  view().classList.add('busy');
  let html: string;
  let at: URL;
  try {
    const res = await fetch(url, { headers: { 'Footfall-Fragment': '1' }, signal: mine.signal, credentials: 'same-origin' });
    at = new URL(res.url);
    if (at.pathname !== url.pathname) throw new Error('moved'); // to the login page
    html = await res.text();
  } catch {
    if (mine.signal.aborted) return;
    location.assign(url);
    return;
  }
  if (mine !== pending) return;
  if (push) history.pushState(null, '', at);
  forgetTabs();
  replace(html);
  view().classList.remove('busy');
  then();
  retry();
}

function replace(html: string): void {
  const next = document.createElement('div');
  next.innerHTML = html;
  const before = parts;
  parts = remember(next);
  const focus = document.activeElement?.id;
  const same = [...parts.keys()].join() === [...before.keys()].join();
  if (same) {
    // Chosen in an open menu: the menu closes and gives the focus back to its button.
    const menu = document.activeElement?.closest('.menu')?.id;
    for (const [id, text] of parts) {
      if (before.get(id) !== text) document.getElementById(id)!.replaceWith(next.querySelector('#' + CSS.escape(id))!);
    }
    document.querySelectorAll<HTMLDetailsElement>('.menu[open]').forEach((m) => (m.open = false));
    if (menu) document.querySelector<HTMLElement>('#' + CSS.escape(menu) + ' > summary')?.focus({ preventScroll: true });
  } else {
    view().replaceChildren(...next.childNodes);
  }
  if (document.activeElement === document.body && focus) document.getElementById(focus)?.focus({ preventScroll: true });
  if (document.activeElement === document.body) document.getElementById('main')?.focus({ preventScroll: true });
  const heading = document.querySelector('h1')?.textContent;
  if (heading) document.getElementById('say')!.textContent = 'Now showing ' + heading;
}

/** The server's own HTML of the parts that are replaced each for itself. */
function remember(root: ParentNode): Map<string, string> {
  const m = new Map<string, string>();
  root.querySelectorAll('#top, #chips, #main > [id], .panels > [id]').forEach((e) => {
    if (!e.querySelector('.panels > [id]') && !e.matches('#top *')) m.set(e.id, e.outerHTML);
  });
  return m;
}

// A page that says that the numbers are out of reach tries again by itself.
let timer = 0;
function retry(): void {
  clearTimeout(timer);
  const s = Number(document.querySelector<HTMLElement>('[data-retry]')?.dataset.retry);
  if (s) timer = window.setTimeout(refresh, s * 1000);
}
