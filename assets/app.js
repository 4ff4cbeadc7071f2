'use strict';
(() => {
const one = (css, from) => (from || document).querySelector(css);
const all = (css) => [...document.querySelectorAll(css)];
const say = (text) => { one('#said').textContent = text; };
document.documentElement.classList.add('on');

// One send a form: a second click finds it under way.
for (const form of all('form[method=post]')) {
  form.addEventListener('submit', (event) => {
    if (form.dataset.sent) event.preventDefault();
    else form.dataset.sent = '1';
  });
}
// A page that comes back from the history may be sent again.
addEventListener('pageshow', () => { for (const form of all('form')) delete form.dataset.sent; });

for (const button of all('button[data-copy]')) {
  button.hidden = !navigator.clipboard;
  button.addEventListener('click', () => {
    navigator.clipboard.writeText(one(button.dataset.copy).textContent.trim())
      .then(() => say('Copied.'), () => say('Copying is not allowed here. Select the text instead.'));
  });
}

// A test is sent and its result shown in place.
const test = one('#test');
if (test) {
  const shown = one('#tested');
  const [words, answer] = [one('p', shown), one('pre', shown)];
  const button = one('button', test);
  const tell = (text, kind) => {
    shown.hidden = false;
    shown.className = `js box ${kind}`;
    words.textContent = text;
    say(text);
  };
  test.addEventListener('submit', (event) => {
    if (event.defaultPrevented) return;
    event.preventDefault();
    answer.hidden = true;
    tell('Sending, up to 30 s', 'idle');
    fetch(test.action, { method: 'POST', headers: { Accept: 'application/json' }, body: new URLSearchParams(new FormData(test)) })
      .then((reply) => { if (!reply.ok) throw new Error(reply.status); return reply.json(); })
      .then((result) => {
        test.elements.once.value = result.once;
        tell(result.words, result.is_ok ? 'ok' : 'bad');
        answer.hidden = !result.response;
        answer.textContent = result.response || '';
      })
      .catch(() => { tell('The test could not be sent. Load the page again and try once more.', 'bad'); })
      .finally(() => {
        delete test.dataset.sent;
        // Who has gone elsewhere meanwhile stays there.
        if (document.activeElement === document.body) button.focus();
      });
  });
}

const ask = (url) => fetch(url, { headers: { Accept: 'application/json' } });

// How many deliveries are newer than the list: said above it, never put into it.
const newer = one('#newer');
if (newer) {
  newer.hidden = true;
  const look = () => {
    if (document.hidden) return;
    const url = new URL(location);
    url.searchParams.set('newer_than', newer.dataset.newest);
    ask(url).then((answer) => answer.json()).then(({ newer: count }) => {
      if (!count) return;
      one('span', newer).textContent = `${count < 50 ? count : '50 or more'} newer.`;
      one('a', newer).href = location.href;
      newer.hidden = false;
    }).catch(() => {});
  };
  setInterval(look, 10000);
}

// The present of a site: asked for every 5 s, not while the page is hidden or held.
const live = one('#live');
if (live) {
  const pause = one('#pause');
  const state = one('#live-state');
  const time = one('[data-live=as_of]');
  let held = false;
  let failures = 0;
  let tag = '';
  let spoken = one('[data-live=state]').textContent;
  // The server's clock tells how old the count is: ours may be wrong.
  let ahead = Date.parse(live.dataset.now) - Date.now();
  const put = (place, text) => { if (place.textContent !== text) place.textContent = text; };
  const units = [[172800, 86400, 'days'], [7200, 3600, 'h'], [120, 60, 'min'], [2, 1, 's']];
  const grow = () => {
    const age = Math.floor((Date.now() + ahead - Date.parse(time.dateTime)) / 1000);
    const unit = units.find(([least]) => age >= least);
    put(one('#age'), unit ? `${Math.floor(age / unit[1])} ${unit[2]} ago` : 'just now');
    if (held || failures > 2) return;
    if (one('#as-of').hidden) put(state, 'Waiting for the first count.');
    else put(state, age > 30 ? 'Nothing newer yet.' : 'Live.');
  };
  const add = (parent, tagName, text) => {
    const child = document.createElement(tagName);
    if (text !== undefined) child.textContent = text;
    return parent.appendChild(child);
  };
  const show = (now) => {
    for (const place of all('[data-live]')) {
      const text = now[place.dataset.live];
      if (text !== null && text !== undefined) put(place, text);
    }
    if (now.as_of_utc) time.dateTime = now.as_of_utc;
    one('#as-of').hidden = !now.as_of;
    one('#uncounted').hidden = now.rows.length > 0;
    one('#counted').hidden = !now.rows.length;
    one('#untold').hidden = now.triggers.length > 0;
    for (const path of all('.chart path')) path.setAttribute('d', now.paths[path.getAttribute('class')]);
    all('.chart text').forEach((place, index) => put(place, now.texts[index]));
    const rows = document.createDocumentFragment();
    for (const { at, at_utc: utc, fewest, most } of now.rows) {
      const row = add(rows, 'tr');
      add(add(row, 'td'), 'time', at).dateTime = utc;
      add(row, 'td', fewest);
      add(row, 'td', most);
    }
    one('#hours').replaceChildren(rows);
    const list = document.createDocumentFragment();
    for (const line of now.triggers) add(add(list, 'li'), 'bdi', line);
    one('#triggers').replaceChildren(list);
    if (now.state !== spoken) { spoken = now.state; say(now.state); }
  };
  const look = () => {
    if (pause.hidden) return;
    grow();
    if (held || document.hidden) return;
    const headers = { Accept: 'application/json' };
    if (tag) headers['If-None-Match'] = tag;
    fetch(live.dataset.poll, { headers, redirect: 'manual' }).then((answer) => {
      if (answer.type === 'opaqueredirect') { leave(); return null; }
      if (answer.status !== 304 && !answer.ok) throw new Error(answer.status);
      tag = answer.headers.get('ETag') || '';
      const date = Date.parse(answer.headers.get('Date'));
      if (date) ahead = date - Date.now();
      failures = 0;
      return answer.status === 304 ? null : answer.json();
    }).then((now) => {
      if (now && !held) show(now);
      if (!pause.hidden) grow();
    }).catch(() => {
      failures += 1;
      if (failures === 3 && !held) { state.textContent = 'Connection lost. Trying again.'; say(state.textContent); }
    });
  };
  // The session has ended: whoever asks is led to the page to sign in.
  const leave = () => {
    clearInterval(asking);
    pause.hidden = true;
    const link = document.createElement('a');
    link.href = `/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`;
    link.textContent = 'Sign in';
    state.replaceChildren('You are signed out. ', link);
    say('You are signed out.');
  };
  pause.addEventListener('click', () => {
    held = !held;
    put(pause, held ? 'Go on' : 'Pause');
    if (held) put(state, 'Paused.');
    look();
  });
  document.addEventListener('visibilitychange', look);
  const asking = setInterval(look, 5000);
}
})();
