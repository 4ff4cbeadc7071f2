// Measures when the largest part of a page is shown, beside a blank page with the same style sheet, and the shift of
// its layout. Medians of ten loads each, with an empty cache.
//
//   node paint.mjs '{"base", "path", "modules", "cookie"}'
import { createRequire } from 'node:module';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const plan = JSON.parse(process.argv[2]);
const require = createRequire(join(plan.modules, 'package.json'));
const { chromium } = require('playwright-core');
const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
const [name, value] = plan.cookie.split('=');

async function load(path, blank) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  await context.addCookies([{ name, value, domain: new URL(plan.base).hostname, path: '/' }]);
  const tab = await context.newPage();
  if (blank) await tab.route(`${plan.base}/blank`, (route) => route.fulfill({ contentType: 'text/html', body: blank }));
  await tab.goto(plan.base + path, { waitUntil: 'load' });
  const seen = await tab.evaluate(() => new Promise((resolve) => {
    let shift = 0;
    new PerformanceObserver((list) => { for (const one of list.getEntries()) shift += one.value; }).observe({ type: 'layout-shift', buffered: true });
    new PerformanceObserver((list) => {
      const last = list.getEntries().pop();
      setTimeout(() => resolve({ ms: last.startTime, shift }), 300);
    }).observe({ type: 'largest-contentful-paint', buffered: true });
  }));
  const css = await tab.evaluate(() => document.querySelector('link[rel=stylesheet]').getAttribute('href'));
  await context.close();
  return { ...seen, css };
}

const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
const { css } = await load(plan.path);
const blank = `<!doctype html><title>Blank</title><link rel="stylesheet" href="${css}"><p>Blank</p>`;
const [pages, blanks, shifts] = [[], [], []];
for (let round = 0; round < 10; round += 1) {
  const page = await load(plan.path);
  pages.push(page.ms);
  shifts.push(page.shift);
  blanks.push((await load('/blank', blank)).ms);
}
console.log(JSON.stringify({ page: median(pages), blank: median(blanks), shift: Math.max(...shifts) }));
await browser.close();
