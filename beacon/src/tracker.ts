// The tracker. One page view a page shown, and on leaving it how long it was looked at.
//
// It sets no cookie: where the reader chooses, it tells the server. It stores one flag, of
// readers who opt out by footfall.optout, and reads it and those of other products. It talks to one host, that of its own script unless data-api names another.
// Every byte of it is loaded by every reader of every page: the budget in
// beacon_test.go is what shapes the code.

import type { Choice, Footfall, Options, Result } from './types';

type Attributes = Record<string, string>;

const version = 1;
const win = window as Window & { footfall?: Footfall };
const doc = document as Document & { prerendering?: boolean };
const loc = location;
const stub = win.footfall || ({} as Partial<Footfall>);

// A module has no currentScript. The other name of this file, /js/script.js, is not looked
// for: another product's script may have it, and its host would get our hits.
const script = (doc.currentScript || doc.querySelector('[src*="/ff.js"]') || new Image()) as HTMLScriptElement;
const data: DOMStringMap = script.dataset;
const api = new URL(data.api || '/api/event', (!data.api && script.src) || loc.href).href;
const hashRouting = data.hash != null;

/** What was called before the first page view: it goes out after it. */
const early: [any, any?][] = stub.q || [];
/** What was chosen on this page, as the server is told. */
const choices = new URLSearchParams({ site: data.domain || loc.hostname });
/** The reader opted out on this page: storage may be blocked. */
let out: boolean;
/**
 * What keeps hits from being sent. 1: the answer to consent(), since before it they would be
 * somebody else's than with the cookie. 2: consent is needed, neither given nor refused. Both
 * hold them back. 4: it was refused, which drops them. 0: nothing.
 */
const closed = data.consent == 'required' ? 2 : 0;
let gate = closed;
/** The hits held back. */
const held: string[] = [];
/** The page counted last (none: not begun yet), and where its reader came from. */
let url: string | undefined;
/** The address seen last, counted or not. */
let seen: string;
let referrer = doc.referrer;
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

const visible = (): boolean => !(doc.hidden || doc.prerendering);

/** The page's address; a fragment may hold secrets and leaves only where it is the route. */
const here = (): string => (hashRouting ? loc.href : loc.href.split('#')[0]);

/** Storage throws where a page is sandboxed or storage is blocked. */
const ignored = (): boolean | void => {
  try {
    return out || gate > 3 || ['footfall_ignore', 'plausible_ignore', 'umami.disabled'].some((key) => /^(1|true)$/.test(localStorage[key]));
  } catch {}
};

const attributes = (element: Element, prefix: string): Attributes => {
  const found: Attributes = {};
  for (const { name, value } of element.attributes as any) {
    if (name.startsWith(prefix)) found[name.slice(prefix.length)] = value;
  }
  return found;
};

const nothing = (): void => {};

/** Delivers body, a hit unless to says else, again if the network or the server fails. */
const post = (body: BodyInit, done: (r: Result) => void, tries: number, to?: URL): void => {
  if (!to && ignored()) return done({});
  fetch(to || api, { body, method: 'POST', credentials: 'include', mode: 'no-cors', keepalive: true })
    .then((r) => (r.status < 500 ? r : Promise.reject(r)))
    .then(done, (error) => (tries ? setTimeout(post, 3e4 / tries ** 2, body, done, tries - 1, to) : done({ error })));
};

/** Sends what was held, or forgets it if it must not be sent. */
const flush = (): void => {
  gate &= 6;
  held.splice(0).forEach((body) => post(body, nothing, 3));
};

const send = (n: string, o: Options & { e?: number; sd?: number }, leaving?: unknown): void => {
  const done = o.callback || nothing;
  settle();
  if (ignored()) return done({});
  const body = JSON.stringify({
    ...o,
    url: o.url || url,
    n,
    d: data.domain,
    r: referrer,
    t: doc.title,
    w: screen.width,
    h: hashRouting,
    v: version,
    id: '' + Math.random(), // 52 bits, and it is remembered for an hour
  });
  if (gate) {
    if (held.length < 50) held.push(body);
    done({}); // a page may wait for it before it goes on
  } else if (!leaving || !navigator.sendBeacon(api, body)) post(body, done, 3);
};

/** Adds up the time since the last call, if the page was visible and had the focus. */
const tick = (): void => {
  const now = performance.now();
  if (since && !ignored()) engaged += now - since;
  since = visible() && doc.hasFocus() ? now : 0;
};

const measure = (): void => {
  deepest = Math.max(deepest, scrollY + innerHeight);
  height = doc.documentElement.scrollHeight;
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

/** Sends how the page was read since this was last sent; if the page goes, what is held, too. */
const leave = (going?: unknown): void => {
  settle();
  measure();
  tick();
  const depth = Math.round((deepest * 100) / height);
  if (url && (depth > depthSent || engaged > 999)) {
    send('engagement', { e: engaged | 0, sd: depth }, 1);
    engaged = 0;
    depthSent = depth;
  }
  if (going) {
    since = 0; // the time in the back/forward cache is nobody's
    if (gate == 1) flush();
  }
};

const view = (from: string): void => {
  leave();
  referrer = from;
  url = seen = here();
  engaged = deepest = depthSent = 0;
  // A single-page application sets its title after its address.
  pending = setTimeout(settle, 100);
};

/** Counts an address that differs in more than what is ignored of it. An event ignores nothing. */
const moved = (ignore: any): void => {
  const before = seen;
  seen = here();
  if (seen.replace(ignore, '') != before.replace(ignore, '')) view(url!);
};

/** Tells the server what was chosen: its cookies are for it to set and remove. */
const tell = (choice: string, on: boolean, done: () => void): void => {
  choices.set(choice, +on as any);
  post(choices, done, 3, new URL('../' + choice, api));
};

const track = ((name: string, options?: Options | boolean): void => {
  if (options === !!options) track[name as Choice](options as boolean);
  else if (url) send(name, (options || {}) as Options);
  else early.push([name, options]);
}) as Footfall;
track.v = version;
track.optout = (on) => {
  tick();
  out = on;
  try {
    localStorage[on ? 'setItem' : 'removeItem']('footfall_ignore', '1');
  } catch {}
  tell('optout', on, nothing);
};
track.consent = (given) => {
  tick();
  gate = given || !closed ? 1 : 4;
  tell('consent', given, flush);
};

const replay = (): void => early.splice(0).forEach((call) => track(...call));

const clicked = (e: Event & { button?: number }): void => {
  if (e.button! > 1) return;
  const path = e.composedPath() as (HTMLElement & HTMLAnchorElement)[];
  const link = path.find((n) => /^http/.test(n.protocol));
  const marked = path.find((n) => (n.dataset || {}).ffEvent && (n.tagName == 'FORM') == (e.type == 'submit'));
  const go = (name: string, props: Attributes): void => {
    send(name, { props }, 1);
  };
  if (marked) {
    const { event, ...props } = attributes(marked, 'data-ff-');
    go(event, props);
  }
  if (link) {
    const props = { url: link.origin + link.pathname };
    if (link.hasAttribute('download') || /\.(pdf|docx?|xlsx?|pptx?|od.|rtf|txt|csv|epub|zip|rar|7z|gz|tar|dmg|exe|msi|pkg|deb|rpm|apk|iso|mp\d|m4a|avi|mov|wav|webm)$/i.test(link.pathname)) go('File Download', props);
    else if (link.host != loc.host) go('Outbound Link: Click', props);
  }
};

/** Begins once the page is really shown: not while it is prerendered or in a background tab. */
const start = (): void => {
  if (url || !visible()) return;
  view(referrer);
  settle();
  replay();

  // Replacing only the query is filtering, sorting or zooming.
  (['pushState', 'replaceState'] as const).forEach((name, replaces) => {
    const original = history[name];
    history[name] = function (...args) {
      original.apply(this, args);
      moved(replaces ? /\?[^#]*/ : '');
    };
  });
  on('popstate hashchange', moved);
  on('click auxclick submit', clicked);
  on('scroll', measure);
  on('pagehide', leave);
  // A page that comes back from the back/forward cache is shown again.
  on('pageshow', (e: PageTransitionEvent) => {
    if (e.persisted) view('');
  });
};

// A page that carries the tag twice is counted once.
if (!stub.v) {
  win.footfall = track;
  replay();
  on('visibilitychange prerenderingchange focus blur', () => {
    start();
    if (visible()) tick();
    else leave(1);
  });
  start();
}
