// Watches the present of a site while its answers change: a state is said once, Pause holds, a hidden page asks for
// nothing, and after three failures the page says so.
//
//   node live.mjs PLAN     PLAN: {base, cookies: {editor}, path, list, chromium, modules}
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const plan = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const require = createRequire(join(plan.modules, 'package.json'));
const { chromium } = require('playwright-core');
const fault = (what) => console.log(JSON.stringify({ page: 'live', look: '', what }));
const browser = await chromium.launch({ executablePath: plan.chromium, args: ['--no-sandbox'] });
const context = await browser.newContext();
await context.addCookies([{ name: 'bw', value: plan.cookies.editor, domain: new URL(plan.base).hostname, path: '/' }]);
const tab = await context.newPage();
await tab.clock.install({ time: Date.now() });

let asked = 0;
let answer = { status: 200 };
// The clock of the page is stepped, and so is the time of the count: `old` seconds before.
let stepped = Date.now();
const now = (visitors, state, old = 3) => {
  const asOf = new Date(stepped - old * 1000);
  const body = {
    visitors,
    state,
    usual: 'Usual: 80.',
    as_of: asOf.toISOString().slice(11, 19),
    as_of_utc: asOf.toISOString(),
    triggers: ['Spike (<b>Team</b>) armed'],
    last_event: 'Last event 14:03:06.',
    paths: { a: 'M70 20h9v206h-9z', u: 'M64 99H712', t: '', v: `M64 99L90 ${visitors}` },
    texts: ['0', '500', '1,000', '11:03', '12:03', '13:03', '14:03'],
    finding: `At most ${visitors} visitors at once, <b>1</b> alert.`,
    rows: [
      { at: '13:45', at_utc: '2026-11-22T12:45:00Z', fewest: '80', most: '<i>90</i>' },
      { at: '14:00', at_utc: '2026-11-22T13:00:00Z', fewest: '87', most: visitors },
    ],
    usual_key: 'usual now: 80',
    fires_key: '',
  };
  return { status: 200, contentType: 'application/json', body: JSON.stringify(body) };
};
await tab.route(`${plan.base}${plan.path}/now`, (route) => {
  asked += 1;
  return answer ? route.fulfill(answer) : route.abort();
});
await tab.goto(plan.base + plan.path);
const turn = async () => {
  stepped = await tab.evaluate(() => Date.now()) + 5000;
  await tab.clock.runFor(5000);
  await new Promise((done) => { setTimeout(done, 150); });
};
const text = (css) => tab.textContent(css);
const expect = (is, what) => { if (!is) fault(what); };

answer = now('88', 'Normal.');
await turn();
expect(await text('[data-live=visitors]') === '88', 'the number does not follow');
expect(await text('#triggers') === 'Spike (<b>Team</b>) armed', 'a trigger is not shown as text');
// The picture and its table follow, too.
const drawn = () => tab.getAttribute('.chart .v', 'd');
expect(await drawn() === 'M64 99L90 88', 'the chart does not follow');
expect(await tab.getAttribute('.chart .t', 'd') === '', 'a line that is gone is drawn');
expect((await tab.locator('.chart text').allTextContents()).join(' ') === '0 500 1,000 11:03 12:03 13:03 14:03', 'the axes do not follow');
expect(await text('#chart-desc') === 'At most 88 visitors at once, <b>1</b> alert.', 'the finding does not follow');
expect((await tab.locator('#hours tr').last().locator('td').allTextContents()).join(' ') === '14:00 87 88', 'the table does not follow');
expect(await text('#hours tr:first-child td:last-child') === '<i>90</i>', 'a figure is not shown as text');
expect(await tab.isVisible('[data-live=usual_key]') && !(await tab.isVisible('.key.t')), 'the keys do not follow');
await tab.evaluate(() => { document.querySelector('#said').textContent = ''; });
answer = now('90', 'Normal.');
await turn();
expect(await text('#said') === '', 'a number is said');

// How old it is, is always said; what is old is not called live.
const age = () => text('#age');
const seconds = async () => Number((await age()).match(/^([0-9]+) s ago$/)?.[1]);
const isLive = async () => await text('#live-state') === 'Live.';
expect(await isLive() && await seconds() > 3, `not live at once: ${await age()}`);
answer = { status: 304 };
for (let round = 0; round < 3; round += 1) await turn();
expect(await seconds() >= 20 && await isLive() === (await seconds() <= 30), `the age stands still: ${await age()}`);
for (let round = 0; round < 4; round += 1) await turn();
expect(await text('#live-state') === 'Nothing newer yet.' && await seconds() >= 40, `still live: ${await age()}`);
answer = now('90', 'Normal.', 250);
await turn();
expect(await text('#live-state') === 'Nothing newer yet.' && await age() === '4 min ago', `what is old is called live: ${await age()}`);
answer = now('90', 'Normal.');
await turn();
expect(await isLive(), 'what is new is not called live');
answer = now('512', 'Spike now.');
await turn();
expect(await text('#said') === 'Spike now.', 'a change of state is not said');
await tab.evaluate(() => { document.querySelector('#said').textContent = ''; });
await turn();
expect(await text('#said') === '', 'a state is said twice');

await tab.click('#pause');
const before = asked;
answer = now('7', 'Normal.');
await turn();
expect(asked === before && await text('[data-live=visitors]') === '512', 'Pause does not hold');
expect(await text('#pause') === 'Go on' && await text('#live-state') === 'Paused.', 'Pause is not shown');
expect(await age() !== 'just now', 'a pause stops the age');
await tab.click('#pause');
await turn();
expect(await text('[data-live=visitors]') === '7', 'it does not go on');

await tab.evaluate(() => Object.defineProperty(document, 'hidden', { value: true, configurable: true }));
const hidden = asked;
await turn();
expect(asked === hidden, 'a hidden page asks');
await tab.evaluate(() => Object.defineProperty(document, 'hidden', { value: false, configurable: true }));

// What the policy forbids fails, even on our own page. The driver's own code may compile strings, a
// timer's may not.
await tab.evaluate(() => setTimeout(() => {
  try { window.compiled = (0, eval)('true'); } catch { window.compiled = false; }
}));
await tab.waitForFunction(() => window.compiled !== undefined);
const forbidden = await tab.evaluate(() => {
  const fails = (run) => { try { run(); return false; } catch { return true; } };
  const script = document.createElement('script');
  const text = fails(() => { script.text = 'window.ran = 1'; });
  const markup = fails(() => { document.createElement('p').innerHTML = '<b>x</b>'; });
  const policy = fails(() => { trustedTypes.createPolicy('mine', { createHTML: (html) => html }); });
  const code = !window.compiled;
  const style = document.createElement('p');
  style.setAttribute('style', 'color: rgb(1, 2, 3)');
  document.body.append(style);
  const styled = getComputedStyle(style).color === 'rgb(1, 2, 3)';
  style.remove();
  return { text, markup, policy, code, unstyled: !styled };
});
for (const [what, isHeld] of Object.entries(forbidden)) expect(isHeld, `the policy lets pass: ${what}`);

answer = null;
for (let round = 0; round < 3; round += 1) await turn();
expect(await text('#live-state') === 'Connection lost. Trying again.', 'a lost connection is not shown');
expect(await text('#said') === 'Connection lost. Trying again.', 'a lost connection is not said');
expect(await seconds() > 10, 'a lost connection does not say how old it is');
answer = now('9', 'Normal.');
await turn();
expect(await isLive(), 'it does not come back');

answer = { status: 303, headers: { location: '/sign-in' } };
await turn();
expect(await text('#live-state') === 'You are signed out. Sign in', 'the end of the session is not shown');
expect(await text('#said') === 'You are signed out.', 'the end of the session is not said');
const last = asked;
await turn();
expect(asked === last, 'a page without a session asks');

// What is newer than the list is said above it, never put into it.
const list = await context.newPage();
await list.clock.install();
await list.goto(plan.base + plan.list);
const rows = await list.locator('tbody tr').count();
let newer = 0;
await list.route('**/deliveries?*newer_than=*', (route) => route.fulfill({ contentType: 'application/json', body: JSON.stringify({ newer }) }));
await list.clock.runFor(10000);
await new Promise((done) => { setTimeout(done, 150); });
expect(!(await list.isVisible('#newer')), 'nothing newer is said');
const top = () => list.evaluate(() => document.querySelector('tbody').getBoundingClientRect().top);
const stood = await top();
newer = 3;
await list.clock.runFor(10000);
await list.getByText('3 newer.').waitFor({ timeout: 5000 }).catch(() => fault('3 newer are not said'));
expect(await list.locator('tbody tr').count() === rows && await top() === stood, 'the list moves under its reader');
await browser.close();
