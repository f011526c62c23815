// Dates, numbers and names of countries in the reader's language, by the browser's own Intl.
// The server writes English; an English reader of British habits sees no change.

const languages: readonly string[] = navigator.languages?.length ? navigator.languages : [navigator.language];
const numbers = new Intl.NumberFormat(languages as string[]);
const compact = new Intl.NumberFormat(languages as string[], { notation: 'compact', maximumSignificantDigits: 3 });

export const isEnglish = /^en/i.test(languages[0] ?? 'en');

/** Formats a whole number, or one with up to two decimals. */
export function num(x: number): string {
  return numbers.format(Math.round(x * 100) / 100);
}

/** Formats a number for an axis. */
export function shortNum(x: number): string {
  return compact.format(x);
}

/** A step's name: local is its start on the site's own clock, "2026-11-24T09:00". */
export function stepName(local: string, step: string, long: boolean): string {
  const at = new Date(local + 'Z');
  const options: Intl.DateTimeFormatOptions = { timeZone: 'UTC' };
  if (step === 'month') {
    options.month = long ? 'long' : 'short';
    options.year = 'numeric';
  } else {
    if (long || step !== 'hour') Object.assign(options, { day: 'numeric', month: 'short' });
    if (long && step !== 'week') options.weekday = 'short';
    if (long && step !== 'hour') options.year = 'numeric';
    if (step === 'hour') Object.assign(options, { hour: '2-digit', minute: '2-digit' });
  }
  return new Intl.DateTimeFormat(dateLanguages(), options).format(at);
}

// "en" alone means American dates to Intl; the server writes day before month.
function dateLanguages(): string[] {
  return languages.map((l) => (l.toLowerCase() === 'en' ? 'en-GB' : l));
}

/** Rewrites what the server marked inside root. Numbers are marked by their English form. */
export function localise(root: ParentNode): void {
  if (isEnglish) return;
  let names: Intl.DisplayNames | undefined;
  try {
    names = new Intl.DisplayNames(languages as string[], { type: 'region' });
  } catch {
    names = undefined;
  }
  root.querySelectorAll<HTMLElement>('[data-country]').forEach((a) => {
    const name = names?.of(a.dataset.country ?? '');
    if (name) a.textContent = a.title = name;
  });
  const step = (document.querySelector('#chart') as HTMLElement | null)?.dataset.step ?? 'day';
  root.querySelectorAll('time[datetime]').forEach((t) => {
    t.textContent = stepName(t.getAttribute('datetime') ?? '', step, true);
  });
  root.querySelectorAll('.rows td, .fig .n, .astable td, .all td, dd, [data-count]').forEach((cell) => {
    const node = cell.firstChild;
    if (node?.nodeType !== Node.TEXT_NODE) return;
    const text = node.textContent?.trim() ?? '';
    if (/^[\d,]+(\.\d+)?$/.test(text)) node.textContent = decimal(text);
  });
}

function decimal(text: string): string {
  const point = text.indexOf('.');
  const digits = point < 0 ? 0 : text.length - point - 1;
  return Number(text.replace(/,/g, '')).toLocaleString(languages as string[], { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
