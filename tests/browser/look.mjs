// Opens each page of a plan in Chromium, in every look, and reports what is wrong with it; LOOK_PAGES=now,edit only those.
//
//   node look.mjs PLAN
//
// PLAN is a JSON file: {base, cookies: {name: value}, out, chromium, pages: [{name, path, as?, signed_out?, press?, spoil?}]}.
// `press` names the button whose answer is the page, `spoil` a hidden field that is wrong then. One line of JSON a fault goes to standard output; screenshots and the HTML go to `out`.
import { readFileSync, writeFileSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const plan = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const require = createRequire(join(plan.modules, 'package.json'));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
const LOOKS = [
  { look: 'light', colorScheme: 'light', width: 1280 },
  { look: 'dark', colorScheme: 'dark', width: 1280 },
  { look: 'narrow', colorScheme: 'light', width: 320 },
  { look: 'narrow-dark', colorScheme: 'dark', width: 320 },
  { look: 'forced', colorScheme: 'dark', forcedColors: 'active', width: 1280 },
];

mkdirSync(plan.out, { recursive: true });
const fault = (page, look, what) => console.log(JSON.stringify({ page, look, what }));
const browser = await chromium.launch({ executablePath: plan.chromium, args: ['--no-sandbox'] });

async function visit(page, { look, colorScheme, forcedColors, width }, heights) {
  const context = await browser.newContext({ colorScheme, forcedColors, viewport: { width, height: 900 } });
  if (!page.signed_out) {
    const { hostname } = new URL(plan.base);
    await context.addCookies([{ name: 'bw', value: plan.cookies[page.as || 'editor'], domain: hostname, path: '/' }]);
  }
  const tab = await context.newPage();
  // Other tests take the machine, too.
  tab.setDefaultTimeout(120000);
  const requests = [];
  tab.on('console', (message) => {
    const expected = page.status && message.text().includes(`status of ${page.status}`);
    if (message.type() === 'error' && !expected) fault(page.name, look, `console: ${message.text()}`);
  });
  tab.on('pageerror', (error) => fault(page.name, look, `error: ${error}`));
  tab.on('dialog', (dialog) => { fault(page.name, look, 'a dialog opened'); dialog.dismiss(); });
  tab.on('request', (request) => {
    requests.push(request.url());
    if (!request.url().startsWith(plan.base)) fault(page.name, look, `left the origin: ${request.url()}`);
  });
  let answer = await tab.goto(plan.base + page.path, { waitUntil: 'load' });
  if (page.press) {
    const button = tab.getByRole('button', { name: page.press, exact: true }).first();
    if (page.spoil) await tab.evaluate((name) => { document.querySelector(`[name=${name}]`).value = '0'; }, page.spoil);
    [answer] = await Promise.all([tab.waitForNavigation(), button.click()]);
    requests.splice(0, requests.length - 1);
  }
  if (answer.status() !== (page.status || 200)) fault(page.name, look, `status ${answer.status()}`);
  if (requests.length > 4) fault(page.name, look, `${requests.length} requests`);
  if (look === 'light') await weigh(page, answer);
  if (look === 'light') writeFileSync(join(plan.out, `${page.name}.html`), await answer.text());
  await tab.screenshot({ path: join(plan.out, `${page.name}.${look}.png`), fullPage: true });
  await tab.evaluate(() => { for (const one of document.querySelectorAll('details')) one.open = true; });
  await tab.evaluate(axe);
  const { violations } = await tab.evaluate((tags) => window.axe.run(document, { runOnly: tags }), TAGS);
  for (const { id, nodes } of violations) fault(page.name, look, `axe ${id}: ${nodes.map((node) => node.html).join(' ').slice(0, 300)}`);
  const shape = await tab.evaluate(() => {
    const thin = [];
    for (const one of document.querySelectorAll('main *')) {
      const own = [...one.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join('');
      if (own.length > 8 && one.clientWidth > 1 && one.clientWidth < 64 && one.offsetParent) thin.push(own.slice(0, 40));
    }
    return { sideways: document.documentElement.scrollWidth - innerWidth, height: document.documentElement.scrollHeight, thin };
  });
  for (const text of await tab.evaluate(smallTargets)) fault(page.name, look, `a small target: ${text}`);
  if (shape.sideways > 0) fault(page.name, look, `scrolls sideways by ${shape.sideways} px`);
  if (width === 320) {
    for (const text of shape.thin) fault(page.name, look, `under 64 px wide: ${text}`);
    if (shape.height > 4 * Math.max(heights[page.name], 900)) fault(page.name, look, `${shape.height} px high, ${heights[page.name]} at 1280`);
  } else {
    heights[page.name] = shape.height;
  }
  if (look === 'light') await onPaper(page, tab);
  if (width === 320) await widelySpaced(page, look, tab);
  await context.close();
}

// What can be pressed is 44 px high, and 24 px in lists, tables and sentences; a box is as high as its label. Whatever
// is narrow is at least 24 px wide.
function smallTargets() {
  const small = [];
  for (const one of document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary')) {
    if (!one.getClientRects().length || getComputedStyle(one).visibility !== 'visible' || one.matches('.skip')) continue;
    const box = one.matches('[type=checkbox], [type=radio]') ? one.closest('.tick') || one : one;
    const { width, height } = box.getBoundingClientRect();
    const around = one.parentElement.textContent.trim().length - one.textContent.trim().length;
    const isWithin = one.tagName === 'A' && !one.closest('nav') && (one.closest('li, dl, table') || around > 1) && !one.closest('.actions');
    if (height < (isWithin ? 24 : 44) - 0.1 || width < 24) {
      small.push(`${one.tagName} "${(one.textContent || one.name).trim().slice(0, 40)}" ${Math.round(width)} × ${Math.round(height * 10) / 10}`);
    }
  }
  return small;
}

// At most 12 KB of HTML come over the wire.
async function weigh(page, answer) {
  const { responseBodySize } = await answer.request().sizes();
  if (responseBodySize > 12 * 1024) fault(page.name, 'light', `${responseBodySize} bytes of HTML`);
}

// Doubled spaces between letters, words and lines: nothing may be cut off or need sideways scrolling.
async function widelySpaced(page, look, tab) {
  const sideways = await tab.evaluate(() => {
    const { style } = document.documentElement;
    for (const [name, value] of [['letter-spacing', '.12em'], ['word-spacing', '.16em'], ['line-height', '2']]) style.setProperty(name, value);
    return document.documentElement.scrollWidth - innerWidth;
  });
  if (sideways > 0) fault(page.name, look, `scrolls sideways by ${sideways} px when widely spaced`);
}

// On paper there are no forms and no navigation, and the heading is there.
async function onPaper(page, tab) {
  await tab.emulateMedia({ media: 'print' });
  const seen = await tab.evaluate(() => {
    const shown = (css) => [...document.querySelectorAll(css)].filter((one) => one.offsetParent || one.getClientRects().length).length;
    return { forms: shown('form'), nav: shown('nav'), heading: shown('h1') };
  });
  if (seen.forms || seen.nav || seen.heading !== 1) fault(page.name, 'print', JSON.stringify(seen));
  await tab.pdf({ path: join(plan.out, `${page.name}.pdf`) });
}

const heights = {};
const named = (process.env.LOOK_PAGES || '').split(',').filter(Boolean);
const rest = plan.pages.filter((page) => !named.length || named.includes(page.name));
// Some pages at a time: most of the time goes by waiting for the browser.
await Promise.all([1, 2, 3].map(async () => {
  for (let page = rest.shift(); page; page = rest.shift()) {
    for (const look of LOOKS) await visit(page, look, heights);
  }
}));
await browser.close();
