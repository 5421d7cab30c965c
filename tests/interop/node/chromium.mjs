// Tabs of a real Chromium, by its DevTools protocol. Pages come from a folder, over HTTP on loopback;
// each line that a page adds to its <ol> is told.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { event, serve } from './driver.mjs';
import WebSocket from 'ws';

let browser;
let profile;
let devtools;
let pages;
let number = 0;
const answers = new Map();
const tabs = new Map(); // by session

function ask(method, params = {}, sessionId = undefined) {
  const id = ++number;
  devtools.send(JSON.stringify({ id, method, params, sessionId }));
  return new Promise((done, refuse) => answers.set(id, { done, refuse }));
}

function onDevtools(data) {
  const { id, result, error, method, params, sessionId } = JSON.parse(data);
  if (id) {
    const { done, refuse } = answers.get(id);
    answers.delete(id);
    if (error) refuse(new Error(error.message));
    else done(result);
  } else if (method === 'Runtime.bindingCalled') {
    event('message', { tab: tabs.get(sessionId), line: params.payload });
  }
}

// Before the page's own script.
const watch = `new MutationObserver((changes) => {
  for (const { addedNodes } of changes) for (const node of addedNodes)
    if (node.nodeName === 'LI') tell(node.textContent);
}).observe(document, { childList: true, subtree: true });`;

const end = () => {
  browser?.kill('SIGKILL');
  if (profile) rmSync(profile, { recursive: true, force: true });
};
process.on('exit', end);

serve({
  async start({ program, folder }) {
    pages = createServer((request, response) => {
      const path = new URL(request.url, 'http://x').pathname;
      if (path !== '/index.html') return void response.writeHead(404).end();
      response.writeHead(200, { 'Content-Type': 'text/html' }).end(readFileSync(join(folder, path)));
    });
    await new Promise((done) => pages.listen(0, '127.0.0.1', done));
    profile = mkdtempSync(join(tmpdir(), 'parley-chromium-'));
    browser = spawn(program, ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
      '--disable-background-networking', '--no-first-run', '--remote-debugging-port=0',
      '--ignore-certificate-errors', `--user-data-dir=${profile}`, 'about:blank'],
    { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    const url = await new Promise((done, refuse) => {
      browser.stderr.on('data', (data) => {
        said += data;
        const found = said.match(/DevTools listening on (ws:\S+)/);
        if (found) done(found[1]);
      });
      browser.on('exit', (code) => refuse(new Error(`chromium ended with ${code}: ${said.slice(-2000)}`)));
      browser.on('error', refuse);
    });
    devtools = new WebSocket(url, { perMessageDeflate: false });
    devtools.on('message', onDevtools);
    await new Promise((done, refuse) => devtools.on('open', done).on('error', refuse));
    return { origin: `http://127.0.0.1:${pages.address().port}` };
  },

  async open({ tab, query }) {
    const url = `http://127.0.0.1:${pages.address().port}/index.html?${new URLSearchParams(query)}`;
    const { targetId } = await ask('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await ask('Target.attachToTarget', { targetId, flatten: true });
    tabs.set(sessionId, tab);
    await ask('Runtime.enable', {}, sessionId);
    await ask('Page.enable', {}, sessionId);
    await ask('Runtime.addBinding', { name: 'tell' }, sessionId);
    await ask('Page.addScriptToEvaluateOnNewDocument', { source: watch }, sessionId);
    await ask('Page.navigate', { url }, sessionId);
    return { session: sessionId };
  },

  async evaluate({ session, expression }) {
    const { result, exceptionDetails } = await ask('Runtime.evaluate',
      { expression, awaitPromise: true, returnByValue: true }, session);
    if (exceptionDetails) throw new Error(exceptionDetails.text);
    return { value: result.value ?? null };
  },

  async key({ session, text }) {
    await ask('Input.insertText', { text }, session);
    for (const type of ['rawKeyDown', 'char', 'keyUp']) {
      await ask('Input.dispatchKeyEvent',
        { type, key: 'Enter', code: 'Enter', windowsVirtualKeyCode: 13, text: '\r' }, session);
    }
  },
});
