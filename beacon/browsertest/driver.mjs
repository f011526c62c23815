// The node half of package browsertest: starts one Chromium, then reads requests as JSON lines
// from standard input and answers each with one JSON line on standard output. It ends,
// and ends the browser, when standard input does, so no test can leave a browser behind.
import { createInterface } from 'node:readline';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import axePlaywright from '@axe-core/playwright';

const config = JSON.parse(process.argv[2]);
const answer = (o) => process.stdout.write(JSON.stringify(o) + '\n');
// Standard output carries the protocol; what a script logs belongs to the test's log.
console.log = console.info = console.error;

const browser = await chromium.launch({
  executablePath: config.chromium,
  headless: true,
  args: config.args,
  ignoreDefaultArgs: config.ignoreArgs,
});
const { userAgent } = config;
answer({ ready: true, version: browser.version() });

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Calls check until it returns something true and returns that; throws after ms. */
async function until(check, ms = 20_000) {
  for (const end = Date.now() + ms; ;) {
    const got = await check();
    if (got) return got;
    if (Date.now() > end) throw new Error(`until: not true within ${ms} ms: ${check}`);
    await sleep(20);
  }
}

/** Runs axe on the page and returns only what a test prints: the violations. */
async function axe(page, { include, exclude, tags, disable } = {}) {
  const Builder = axePlaywright.default ?? axePlaywright.AxeBuilder ?? axePlaywright;
  const b = new Builder({ page });
  for (const s of [].concat(include ?? [])) b.include(s);
  for (const s of [].concat(exclude ?? [])) b.exclude(s);
  if (tags) b.withTags(tags);
  if (disable) b.disableRules(disable);
  const { violations } = await b.analyze();
  return violations.map(({ id, impact, help, nodes }) => ({
    id, impact, help,
    nodes: nodes.slice(0, 5).map((n) => ({ target: n.target.join(' '), html: n.html.slice(0, 200), why: n.failureSummary })),
  }));
}

/** Screenshots into the artefacts folder: one for each of schemes and widths, name-scheme-width.png. */
async function shots(page, name, { schemes = ['light', 'dark'], widths = [1280, 390], fullPage = true } = {}) {
  const files = [];
  const before = page.viewportSize();
  for (const colorScheme of schemes) {
    await page.emulateMedia({ colorScheme });
    for (const width of widths) {
      await page.setViewportSize({ width, height: width < 600 ? 844 : 900 });
      files.push(await shot(page, `${name}-${colorScheme}-${width}`, { fullPage }));
    }
  }
  await page.emulateMedia({ colorScheme: null });
  if (before) await page.setViewportSize(before);
  return files;
}

async function shot(page, name, options = {}) {
  mkdirSync(config.artifacts, { recursive: true });
  const path = join(config.artifacts, name + '.png');
  await page.screenshot({ path, animations: 'disabled', ...options });
  return path;
}

/** Notes whatever went wrong in a page that the page's own user would not see. */
function watch(context, problems) {
  const note = (kind, page, text) => problems.push(`${kind} at ${page?.url() ?? '?'}: ${text}`);
  context.on('console', (m) => {
    // Violations of the content security policy are errors on the console, too.
    if (m.type() === 'error' || m.type() === 'warning') note(`console ${m.type()}`, m.page(), `${m.text()} (${m.location().url})`);
  });
  context.on('weberror', (e) => note('uncaught', e.page(), e.error().stack ?? String(e.error())));
  context.on('requestfailed', (r) => {
    const why = r.failure()?.errorText ?? '';
    // A navigation that becomes a download or is replaced by the next one is aborted by design.
    if (why !== 'net::ERR_ABORTED') note('failed request', null, `${r.method()} ${r.url()} ${why}`);
  });
}

const AsyncFunction = (async () => {}).constructor;

async function run(request) {
  const problems = [];
  const context = await browser.newContext({ userAgent, viewport: { width: 1280, height: 900 }, ...request.context });
  context.setDefaultTimeout(Math.min(request.timeout, 30_000));
  let timer;
  try {
    watch(context, problems);
    const names = {
      args: request.args, context, browser, page: await context.newPage(),
      newContext: async (o) => {
        const c = await browser.newContext({ userAgent, ...request.context, ...o });
        watch(c, problems);
        extra.push(c);
        return c;
      },
      axe, shot, shots, sleep, until,
    };
    const body = new AsyncFunction(`{${Object.keys(names)}}`, request.script + '\n//# sourceURL=' + request.name);
    const late = new Promise((_, no) => {
      timer = setTimeout(() => no(new Error(`the script did not end within ${request.timeout} ms`)), request.timeout);
    });
    const value = await Promise.race([body(names), late]);
    return { value: value ?? null, problems };
  } catch (e) {
    return { error: String(e?.stack ?? e), problems };
  } finally {
    clearTimeout(timer);
    const contexts = [context, ...extra.splice(0)];
    // Pages first: what they send while closing is cut off with their profile.
    await Promise.allSettled(contexts.flatMap((c) => c.pages()).map((p) => p.close()));
    await sleep(100);
    await Promise.allSettled(contexts.map((c) => c.close()));
  }
}
const extra = [];

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  answer({ id: request.id, ...(await run(request)) });
}
await browser.close();
process.exit(0);
