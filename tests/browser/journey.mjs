// Walks through the pages as a new owner does: link, goal, webhook, error, fix, test, rotate, finish, failing endpoint,
// send again, recover, delete. Once without the script, and once by keyboard alone in the dark on a narrow screen.
//
//   node journey.mjs PLAN     PLAN: {links: [link, link], receiver, stage, out, chromium, modules}
//
// `stage` is where the endpoint is broken (`break`), mended (`mend`), and a goal reached (`reach-0`, `reach-1`). What is
// secret goes to `secrets.json` in `out`, so that the log can be searched for it; the headers that a delivery shows go
// to `headers.json`.
import { readFileSync, writeFileSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const plan = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const require = createRequire(join(plan.modules, 'package.json'));
const { chromium } = require('playwright-core');
mkdirSync(plan.out, { recursive: true });
const browser = await chromium.launch({ executablePath: plan.chromium, args: ['--no-sandbox'] });

// With a mouse, or by Tab, Space and Enter until the named thing has the focus.
let at = '';

function hands(tab, byKeyboard) {
  const focused = () => tab.evaluate(() => {
    const one = document.activeElement;
    const label = one.labels && one.labels[0] ? one.labels[0].textContent : one.textContent;
    return { tag: one.tagName, name: (label || one.value || '').trim(), type: one.type || '' };
  });
  const reach = async (name, tags) => {
    for (let step = 0; step < 120; step += 1) {
      const { tag, name: found } = await focused();
      if (tags.includes(tag) && found === name) return;
      await tab.keyboard.press('Tab');
    }
    throw new Error(`Tab does not reach ${name}`);
  };
  const enter = async () => {
    at = (await focused()).name;
    await Promise.all([tab.waitForNavigation(), tab.keyboard.press('Enter')]);
  };
  return {
    async follow(name) {
      if (!byKeyboard) return Promise.all([tab.waitForNavigation(), tab.getByRole('link', { name, exact: true }).first().click()]);
      await reach(name, ['A']);
      return enter();
    },
    async press(name) {
      if (!byKeyboard) return Promise.all([tab.waitForNavigation(), tab.getByRole('button', { name, exact: true }).first().click()]);
      await reach(name, ['BUTTON']);
      return enter();
    },
    // The script answers in place: no other page comes.
    async stay(name) {
      await reach(name, ['BUTTON']);
      at = name;
      return tab.keyboard.press('Enter');
    },
    async tick(name) {
      if (!byKeyboard) return tab.getByLabel(name, { exact: true }).check();
      await reach(name, ['INPUT']);
      return tab.keyboard.press('Space');
    },
    async fill(name, text) {
      if (!byKeyboard) return tab.getByLabel(name, { exact: true }).fill(text);
      await reach(name, ['INPUT', 'TEXTAREA']);
      await tab.keyboard.press('Control+A');
      return tab.keyboard.type(text);
    },
  };
}

const secrets = [];
const headers = new Set();

async function journey(name, number, options, byKeyboard) {
  const link = plan.links[number];
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const tab = await context.newPage();
  const { follow, press, stay, tick, fill } = hands(tab, byKeyboard);
  const sees = async (text) => {
    const body = await tab.textContent('body');
    if (!body.replace(/\s+/g, ' ').includes(text)) throw new Error(`${name}: no "${text}" on ${tab.url()}: ${body.slice(0, 600)}`);
  };
  const read = [];
  tab.on('response', (answer) => {
    const isPage = (answer.headers()['content-type'] || '').startsWith('text/html');
    if (answer.request().method() === 'GET' && isPage) read.push(answer.text().then((text) => [answer.url(), text], () => ['', '']));
  });
  // Loads the page again until it says so.
  const until = async (text) => {
    for (let look = 0; look < 150; look += 1) {
      if ((await tab.textContent('body')).replace(/\s+/g, ' ').includes(text)) return;
      await tab.waitForTimeout(100);
      await tab.reload();
    }
    await sees(text);
  };
  const stage = (what) => fetch(`${plan.stage}${what}`, { method: 'POST' });
  // The newest delivery fails.
  const fail = async () => {
    await stage('break');
    await stage(`reach-${number}`);
    await until('The last delivery failed: HTTP 500.');
  };
  let step = 0;
  const picture = () => { step += 1; return tab.screenshot({ path: join(plan.out, `${name}.${step}.png`), fullPage: true }); };

  await tab.goto(link);
  await press('Open the pages');
  await sees('Nothing is sent yet.');
  await follow('Goals');
  await follow('Add a goal');
  await fill('Name', `Signup ${name}`);
  await fill('Event', 'signup');
  await press('Save');
  await sees(`Signup ${name}`);
  await follow('Webhooks');
  await follow('Add a webhook');
  await fill('Name', name);
  await fill('Address', 'ftp://wrong');
  await tick('A goal is completed');
  await picture();
  await press('Add webhook');
  await sees('There is a problem');
  await sees('Enter an address that starts with https://');
  const focus = await tab.evaluate(() => document.activeElement.className);
  if (focus !== 'problem') throw new Error(`${name}: the focus is not on the problem`);
  await picture();
  await fill('Address', plan.receiver);
  await press('Add webhook');
  await sees('Copy your secret.');
  secrets.push((await tab.textContent('#secret')).trim());
  if (byKeyboard) {
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    await stay('Copy');
    await tab.waitForFunction(() => document.querySelector('#said').textContent === 'Copied.');
    const copied = await tab.evaluate(() => navigator.clipboard.readText());
    if (copied !== secrets.at(-1)) throw new Error(`${name}: something else was copied`);
  }
  await picture();
  await follow(`Go on to ${name}`);
  await sees('Nothing sent yet.');
  await picture();
  if (byKeyboard) {
    await stay('Send a test');
    await tab.getByText('Arrived: HTTP 200').first().waitFor();
    const said = await tab.textContent('#said');
    if (!said.includes('Arrived: HTTP 200')) throw new Error(`${name}: the result of the test is not said`);
    await picture();
  } else {
    await press('Send a test');
    await sees('Arrived: HTTP 200');
    await picture();
    await follow(`Back to ${name}`);
  }
  await follow('Rotate the secret');
  await press('Rotate the secret');
  await sees('The secret is rotated');
  for (const secret of await tab.locator('.secret').allTextContents()) secrets.push(secret.trim());
  await follow(`Go on to ${name}`);
  await sees('Two secrets are valid until');
  await picture();
  await press('End the old one now');
  await fail();
  await picture();
  await follow(await tab.locator('tbody tr').filter({ hasText: 'Failed' }).locator('a').first().textContent());
  await sees('It did not arrive: every try failed: HTTP 500.');
  for (const header of await tab.locator('[aria-labelledby=headers] dt').allTextContents()) headers.add(header.toLowerCase());
  await picture();
  await stage('mend');
  await press('Send again');
  await until('Your server took it after 1 try');
  await picture();
  await follow(name);
  await until('Working');
  await fail();
  await stage('mend');
  await follow('Send what was missed');
  await picture();
  await press('Send what was missed');
  await until('Done: sent 1 of');
  await picture();
  await follow(`Back to ${name}`);
  await until('Working');
  await press('Pause');
  await sees('Paused until');
  await press('Go on now');
  await press('Switch off');
  await sees('Nothing is sent and nothing is kept for later.');
  await picture();
  await press('Switch on');
  await follow('Delete');
  await picture();
  await press(`Delete ${name}`);
  await sees('Nothing is sent yet.');
  await press('Sign out');
  await tab.goBack();
  const body = await tab.textContent('body');
  if (body.includes('whsec_')) throw new Error(`${name}: a secret after signing out`);
  for (const [url, text] of await Promise.all(read)) {
    if (secrets.some((secret) => text.includes(secret))) throw new Error(`${name}: a secret in ${url}`);
  }
  await context.close();
}

try {
  await journey('Plain', 0, { javaScriptEnabled: false }, false);
  await journey('Keys', 1, { colorScheme: 'dark', viewport: { width: 320, height: 800 } }, true);
  writeFileSync(join(plan.out, 'secrets.json'), JSON.stringify(secrets));
  writeFileSync(join(plan.out, 'headers.json'), JSON.stringify([...headers].sort()));
} catch (error) {
  console.log(JSON.stringify({ page: 'journey', look: '', what: `${at}: ${error}` }));
} finally {
  await browser.close();
}
// Connections to the stage would keep the program for minutes.
process.exit();
