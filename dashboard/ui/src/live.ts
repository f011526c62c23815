// What changes without a click: how many are here now, and the first visit of a new site.
import { num } from './local';
import { refresh } from './swap';

const every = 30_000;

async function ask(): Promise<number | undefined> {
  const live = document.getElementById('live');
  if (!live?.dataset.live) return undefined;
  try {
    const res = await fetch(live.dataset.live, { credentials: 'same-origin' });
    if (!res.ok) return undefined;
    const { visitors, fewer_than: few } = (await res.json()) as { visitors: number | null; fewer_than?: number };
    live.hidden = false;
    live.querySelector('[data-count]')!.textContent = visitors === null ? `fewer than ${few}` : num(visitors);
    return visitors ?? few;
  } catch {
    return undefined; // the next time will tell
  }
}

/** Keeps the live count fresh while somebody looks. */
export function keepLive(): void {
  let last = Date.now();
  const tick = () => {
    if (document.hidden || Date.now() - last < every - 500) return;
    last = Date.now();
    void ask();
  };
  setInterval(tick, every);
  document.addEventListener('visibilitychange', tick);
}

let waiting = 0;

/** On the page of a site without hits: looks for the first, and offers to copy the tag. */
export function wait(): void {
  clearInterval(waiting);
  const box = document.querySelector('[data-wait]');
  if (!box) return;
  waiting = window.setInterval(() => {
    if (!document.hidden) void ask().then((n) => n && refresh());
  }, 3000);
  box.querySelectorAll<HTMLButtonElement>('.copy').forEach((b) => {
    if (!navigator.clipboard) return;
    b.hidden = false;
    b.onclick = async () => {
      await navigator.clipboard.writeText(b.parentElement!.querySelector('code')!.textContent ?? '');
      b.textContent = 'Copied';
    };
  });
}
