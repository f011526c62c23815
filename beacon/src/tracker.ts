// The tracker. One page view a page shown, and on leaving it how long it was looked at.
//
// It sets no cookie and writes no storage; it reads one flag by which a person keeps
// out of the numbers. It talks to one address, that of its own script unless data-api
// names another. Every byte of it is loaded by every reader of every page: the budget
// in beacon_test.go is what shapes the code.

import type { Footfall, Options, Result } from './types';

type Attributes = Record<string, string>;

const version = 1;
const win = window as Window & { footfall?: Footfall };
const doc = document as Document & { prerendering?: boolean };
const loc = location;
const stub = win.footfall;

// A module has no currentScript. The other name of this file, /js/script.js, is not looked
// for: another product's script may have it, and its host would get our hits.
const script = (doc.currentScript || doc.querySelector('script[src*="/ff.js"]')) as HTMLScriptElement | null;
const data: DOMStringMap = script ? script.dataset : {};
const api = data.api || new URL('/api/event', script ? script.src : loc.href).href;
const hashRouting = 'hash' in data;

/** What was called before the first page view: it goes out after it. */
const early: [string, Options?][] = (stub && stub.q) || [];
/** The page counted last (none: not begun yet), and where its reader came from. */
let url: string | undefined;
/** The address seen last, counted or not. */
let seen: string;
let referrer: string | 0 = doc.referrer;
/** The timer of a page view that waits for its title. */
let pending = 0;
/** Milliseconds engaged and not sent yet; when engagement began, 0 while there is none. */
let engaged = 0;
let since = 0;
/** The deepest pixel seen, the height of the page, the percentage sent last. */
let deepest = 0;
let height = 1;
let depthSent = 0;

const on = (types: string, listener: (e: any) => void): void =>
  // Capturing at the window sees events that do not bubble, and those that pages stop.
  types.split(' ').forEach((type) => addEventListener(type, listener, true));

const visible = (): boolean => doc.visibilityState == 'visible' && !doc.prerendering;

/** The page's address; a fragment may hold secrets and leaves only where it is the route. */
const here = (): string => (hashRouting ? loc.href : loc.href.split('#')[0]);

const withoutQuery = (u: string): string => u.replace(/\?[^#]*/, '');

/** Reading storage throws where a page is sandboxed or storage is blocked. */
const ignored = (): boolean => {
  try {
    return ['footfall_ignore', 'plausible_ignore', 'umami.disabled'].some((key) => /^(1|true)$/.test(localStorage[key]));
  } catch {
    return false;
  }
};

const attributes = (element: Element | null, prefix: string): Attributes => {
  const found: Attributes = {};
  for (const { name, value } of element ? element.attributes : []) {
    if (name.startsWith(prefix)) found[name.slice(prefix.length)] = value;
  }
  return found;
};

/** Delivers body, again with the same id if the network or the server fails. */
const post = (body: string, done: (r: Result) => void, tries: number): void => {
  fetch(api, { method: 'POST', body, keepalive: true, credentials: 'include', mode: 'no-cors' })
    .then((r) => (r.status < 500 ? r : Promise.reject(r)))
    .then(done, (error) => (tries ? setTimeout(post, 3e4 / tries ** 2, body, done, tries - 1) : done({ error })));
};

const send = (n: string, o: Options, leaving?: unknown, e?: number, sd?: number): void => {
  const done = o.callback || (() => {});
  if (ignored()) return done({});
  const body = JSON.stringify({
    n,
    u: o.url || url,
    d: data.domain,
    r: referrer || null,
    t: doc.title,
    w: screen.width,
    h: hashRouting || undefined,
    p: o.props,
    $: o.revenue,
    i: o.interactive,
    e,
    sd,
    v: version,
    id: crypto.getRandomValues(new Uint32Array(3)).join(''),
  });
  if (!leaving || !navigator.sendBeacon(api, body)) post(body, done, 3);
};

/** Adds up the time since the last call, if the page was visible and had the focus. */
const tick = (): void => {
  const now = performance.now();
  if (since) engaged += now - since;
  since = visible() && doc.hasFocus() ? now : 0;
};

const measure = (): void => {
  deepest = Math.max(deepest, scrollY + innerHeight);
  height = (doc.scrollingElement || doc.documentElement).scrollHeight;
};

/** Sends the page view that waits for its title. */
const settle = (): void => {
  if (pending) {
    clearTimeout(pending);
    pending = 0;
    measure(); // by now the application has scrolled to the top
    send('pageview', { props: attributes(script, 'data-props-') });
  }
};

/** Sends how the page was read since this was last sent. */
const leave = (): void => {
  settle();
  measure();
  tick();
  const depth = Math.min(100, Math.round((deepest * 100) / height));
  if (url && (depth > depthSent || engaged > 999)) {
    send('engagement', {}, 1, engaged | 0, depth);
    engaged = 0;
    depthSent = depth;
  }
};

const view = (from: string | 0): void => {
  leave();
  referrer = from;
  url = seen = here();
  engaged = deepest = depthSent = 0;
  // A single-page application sets its title after its address.
  pending = setTimeout(settle, 100);
};

/** Counts a new address. Replacing only the query is filtering, sorting or zooming. */
const moved = (replaced?: unknown): void => {
  const before = seen;
  seen = here();
  if (replaced === true ? withoutQuery(seen) != withoutQuery(before) : seen != before) view(url!);
};

const track: Footfall = (name, options) => {
  if (!url) {
    early.push([name, options]);
    return;
  }
  settle();
  send(name, options || {});
};
track.v = version;

const clicked = (e: Event & { button?: number }): void => {
  if (e.button! > 1) return;
  const path = e.composedPath() as (HTMLElement & HTMLAnchorElement)[];
  const link = path.find((n) => /^http/.test(n.protocol));
  const marked = path.find((n) => n.dataset && n.dataset.ffEvent && (n.tagName == 'FORM') == (e.type == 'submit'));
  const go = (name: string, props: Attributes): void => {
    settle();
    send(name, { props }, 1);
  };
  if (marked) {
    const { event, ...props } = attributes(marked, 'data-ff-');
    go(event, props);
  }
  if (link) {
    const props = { url: link.origin + link.pathname };
    if (link.hasAttribute('download') || /\.(pdf|docx?|xlsx?|pptx?|od[tsp]|rtf|txt|csv|epub|zip|rar|7z|gz|tar|dmg|exe|msi|pkg|deb|rpm|apk|iso|mp[34]|m4a|avi|mov|wav|webm)$/i.test(link.pathname)) go('File Download', props);
    else if (link.host != loc.host) go('Outbound Link: Click', props);
  }
};

/** Begins once the page is really shown: not while it is prerendered or in a background tab. */
const start = (): void => {
  if (url || !visible()) return;
  view(referrer);
  settle();
  early.forEach((call) => track(...call));

  (['pushState', 'replaceState'] as const).forEach((name) => {
    const original = history[name];
    history[name] = function (...args) {
      original.apply(this, args);
      moved(name == 'replaceState');
    };
  });
  on('popstate hashchange', moved);
  on('click auxclick submit', clicked);
  on('scroll', measure);
  on('focus blur', tick);
  on('pagehide', () => {
    leave();
    since = 0; // the time in the back/forward cache is nobody's
  });
  // A page that comes back from the back/forward cache is shown again.
  on('pageshow', (e: PageTransitionEvent) => {
    if (e.persisted) {
      view(0);
      settle();
    }
  });
};

// A page that carries the tag twice is counted once.
if (!stub || !stub.v) {
  win.footfall = track;
  on('visibilitychange', () => {
    start();
    if (visible()) tick();
    else leave();
  });
  on('prerenderingchange', start);
  start();
}
