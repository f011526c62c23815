// Menus that close by themselves, and tabs that switch without asking the server.

/** One menu is open at a time; Escape, a click elsewhere and a choice close it. */
export function menus(): void {
  const open = () => document.querySelectorAll<HTMLDetailsElement>('.menu[open]');
  document.addEventListener('click', (e) => {
    open().forEach((m) => {
      if (!m.contains(e.target as Node)) m.open = false;
    });
  });
  document.addEventListener('keydown', (e) => {
    if (e.key !== 'Escape') return;
    open().forEach((m) => {
      m.open = false;
      m.querySelector('summary')?.focus();
    });
  });
  document.addEventListener('focusin', (e) => {
    open().forEach((m) => {
      if (!m.contains(e.target as Node)) m.open = false;
    });
  });
}

/** Offers the commonest values of what is chosen in the filter form. */
export function suggestions(): void {
  let asked = '';
  document.addEventListener('focusin', async (e) => {
    const input = e.target as HTMLInputElement;
    const form = input.form;
    if (input.name !== 'value' || !form?.dataset.values) return;
    const data = new FormData(form);
    const by = data.get('add') === 'event:props' ? 'event:props:' + data.get('key') : String(data.get('add'));
    const url = new URL(form.dataset.values, location.href);
    url.searchParams.set('by', by);
    const list = form.querySelector('datalist')!;
    if (asked === url.href && list.children.length) return;
    asked = url.href;
    list.replaceChildren();
    try {
      const res = await fetch(url, { credentials: 'same-origin' });
      if (!res.ok || asked !== url.href) return;
      const values = (await res.json()) as string[];
      list.replaceChildren(...values.map((v) => Object.assign(document.createElement('option'), { value: v })));
    } catch {
      // The form works without.
    }
  });
}

/** The tabs chosen here, which addresses made on the server do not know yet. */
const chosen = new Map<string, string>();

/** Writes the chosen tabs into an address of this page. */
export function withTabs(url: URL): URL {
  for (const [panel, tab] of chosen) {
    if (tab) url.searchParams.set(panel, tab);
    else url.searchParams.delete(panel);
  }
  return tidy(url);
}

/** Writes an address as the server does: legible where it may be. */
export function tidy(url: URL): URL {
  url.search = url.searchParams.toString().replace(/%3A/g, ':').replace(/%2C/g, ',').replace(/%2F/g, '/').replace(/\+/g, '%20');
  return url;
}

/** Forgets the chosen tabs: the address now holds them. */
export function forgetTabs(): void {
  chosen.clear();
}

/** Makes links that pick a panel's table into tabs: all tables are already there. */
export function tabs(): void {
  document.querySelectorAll<HTMLElement>('[data-tabs]:not([role])').forEach((list) => {
    const panel = list.closest<HTMLElement>('[data-panel]');
    if (!panel) return;
    const links = [...list.querySelectorAll<HTMLAnchorElement>('a')];
    list.setAttribute('role', 'tablist');
    const show = (link: HTMLAnchorElement) => {
      for (const l of links) {
        const on = l === link;
        l.setAttribute('aria-selected', String(on));
        l.tabIndex = on ? 0 : -1;
        body(l)!.hidden = !on;
      }
    };
    for (const l of links) {
      const selected = l.hasAttribute('aria-current');
      l.removeAttribute('aria-current');
      l.setAttribute('role', 'tab');
      l.setAttribute('aria-controls', 'rows-' + l.dataset.tab);
      l.setAttribute('aria-selected', String(selected));
      l.tabIndex = selected ? 0 : -1;
      const b = body(l)!;
      b.setAttribute('role', 'tabpanel');
      b.setAttribute('aria-labelledby', l.id);
    }
    list.addEventListener('click', (e) => {
      const link = (e.target as Element).closest('a');
      if (!link || e.ctrlKey || e.metaKey || e.shiftKey) return;
      e.preventDefault();
      show(link);
      chosen.set(panel.dataset.panel!, link === links[0] ? '' : link.dataset.tab!);
      history.replaceState(history.state, '', withTabs(new URL(location.href)));
    });
    list.addEventListener('keydown', (e) => {
      const at = links.indexOf(document.activeElement as HTMLAnchorElement);
      const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
      const to = e.key === 'Home' ? 0 : e.key === 'End' ? links.length - 1 : step ? (at + step + links.length) % links.length : -1;
      if (e.key === ' ') links[at]?.click();
      if (to >= 0) {
        links[to]!.focus();
        links[to]!.click();
      }
      if (to >= 0 || e.key === ' ') e.preventDefault();
    });
  });
}

function body(link: HTMLAnchorElement): HTMLElement | null {
  return document.getElementById('rows-' + link.dataset.tab);
}
