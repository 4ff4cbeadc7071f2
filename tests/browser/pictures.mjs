// Takes the pictures of the pages that the README shows, from a demo.
//
//   node pictures.mjs LINK MODULES FOLDER
import { createRequire } from 'node:module';
import { existsSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';

const [link, modules, folder] = process.argv.slice(2);
const require = createRequire(join(resolve(modules), 'package.json'));
const { chromium } = require('playwright-core');
const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
mkdirSync(folder, { recursive: true });
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
const tab = await browser.newPage({ viewport: { width: 900, height: 860 } });
const base = new URL(link).origin;
const picture = (name) => tab.screenshot({ path: join(folder, `${name}.png`) });

await tab.goto(link);
await tab.getByRole('button', { name: 'Open the pages' }).click();
await tab.waitForURL(`${base}/sites`);
// Long enough for a spike, and for tries that failed.
await new Promise((done) => { setTimeout(done, 45000); });
await tab.goto(`${base}/sites/docs.example`);
await picture('now');
await tab.goto(`${base}/sites/docs.example/webhooks`);
await tab.getByRole('heading', { level: 2 }).first().getByRole('link').click();
await tab.waitForLoadState();
await picture('webhook');
// One that did not arrive at once, of whichever site has one.
const line = tab.locator('tr', { hasText: 'tries' }).first();
for (const site of ['docs.example', 'blog.example', 'shop.example']) {
  await tab.goto(`${base}/sites/${site}/webhooks`);
  await tab.getByRole('heading', { level: 2 }).first().getByRole('link').click();
  await tab.waitForLoadState();
  await tab.goto(`${tab.url()}/deliveries`);
  if (await line.count()) break;
}
if (await line.count()) await line.getByRole('link').click();
else await tab.locator('tbody a').first().click();
await tab.waitForLoadState();
await picture('delivery');
await browser.close();
