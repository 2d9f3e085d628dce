/** The status page in a browser: what it shows, to whom, and that nothing of it comes from elsewhere. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { chromium } from 'playwright-core';
import type { BrowserContextOptions, Page } from 'playwright-core';
import { openClient, startBackend } from './backend.ts';
import { makeGrace } from './grace.ts';

const executablePath = '/usr/bin/chromium';
const options = {
  timeout: 240_000,
  skip: existsSync(executablePath) ? false : 'there is no /usr/bin/chromium (Debian: chromium)',
};
const src = 'tcp:0:interface=127.0.0.1';

type Opened = { page: Page; complaints: string[]; requests: Set<string> };

/** A page of its own, with what the browser complained of and which hosts it asked. */
async function openPage(t: TestContext, url: string, context: BrowserContextOptions = {}): Promise<Opened> {
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  t.after(() => browser.close());
  const page = await browser.newPage(context);
  page.setDefaultTimeout(60_000);
  const complaints: string[] = [];
  const requests = new Set<string>();
  page.on('console', (message) => void (message.type() === 'error' && complaints.push(message.text())));
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (request) => requests.add(new URL(request.url()).host));
  await page.goto(url);
  return { page, complaints, requests };
}

async function adminUrl(grace: { status(): Promise<{ admin?: string }> }): Promise<string> {
  return `http://${(await grace.status()).admin}/`;
}

test(
  'it shows rules, what drains, rates and events, through a restart, and loads nothing from elsewhere',
  options,
  async (t) => {
    const grace = makeGrace(t);
    const dir = mkdtempSync(join(tmpdir(), 'grace-page-'));
    t.after(() => rmSync(dir, { recursive: true, force: true }));
    const [blue, green] = [await startBackend(t, 'blue'), await startBackend(t, 'green')];
    await grace.ok('start', '--admin', src, '--name', 'web', src, blue.endpoint);
    // What is somebody else's text stays text.
    await grace.ok('start', `unix:${dir}/<img src\\=x onerror\\=document.title\\=1>.sock`, blue.endpoint);
    const client = await openClient(t, { port: await grace.port(src) });
    await client.line();
    const url = await adminUrl(grace);
    const { page, complaints, requests } = await openPage(t, url);
    await page.getByRole('status').filter({ hasText: 'healthy' }).waitFor();
    const rules = page.getByRole('table', { name: 'Rules' });
    const web = rules.getByRole('row', { name: 'web' });
    assert.match(await web.innerText(), /active\s+1\s/);
    assert.equal(await rules.getByRole('rowheader').count(), 2);
    assert.equal(await page.locator('img').count(), 0);
    assert.match(await page.title(), /^grace · /);
    await client.echo('x'.repeat(100_000));
    await page
      .locator('#now-in')
      .filter({ hasNotText: /^(–|0 B\/s)$/ })
      .waitFor();
    assert.match(
      (await page.locator('#chart-in').getAttribute('aria-label')) ?? '',
      /bytes in per second: now .*, at most [1-9]/,
    );
    await grace.ok('switch', 'web', green.endpoint);
    const draining = page.getByRole('table', { name: 'Draining' });
    assert.match(await draining.getByRole('row', { name: 'web' }).innerText(), /blue|\b1\b/);
    await grace.ok('restart');
    await page
      .getByRole('listitem')
      .filter({ hasText: 'serving' })
      .filter({ hasText: /^.*restart/s })
      .first()
      .waitFor();
    await page.getByRole('listitem').filter({ hasText: 'rule switched' }).waitFor();
    await client.end();
    await page.getByText('Nothing drains').waitFor();
    assert.deepEqual(complaints, []);
    assert.deepEqual([...requests], [new URL(url).host]);
  },
);

test('by keyboard, on a phone, in light and dark', options, async (t) => {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'backend');
  await grace.ok('start', '--admin', src, src, backend.endpoint);
  const url = await adminUrl(grace);
  const { page, complaints } = await openPage(t, url, { viewport: { width: 390, height: 844 }, colorScheme: 'dark' });
  await page.getByRole('status').filter({ hasText: 'healthy' }).waitFor();
  const background = () => page.evaluate('getComputedStyle(document.body).backgroundColor');
  const dark = await background();
  await page.emulateMedia({ colorScheme: 'light' });
  assert.notEqual(await background(), dark);
  assert.equal(await page.evaluate('document.documentElement.scrollWidth'), 390);
  assert.equal(await page.getByRole('table', { name: 'Rules' }).getByRole('cell').count(), 6);
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate('document.activeElement.textContent'), 'Skip to the rules');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  assert.equal(await page.getByRole('button', { name: 'Pause' }).getAttribute('aria-pressed'), 'true');
  assert.deepEqual(complaints, []);
});

test('where a token is asked for, so does the page', options, async (t) => {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'backend');
  const dir = mkdtempSync(join(tmpdir(), 'grace-page-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const file = join(dir, 'token');
  writeFileSync(file, '0123456789abcdef0123', { mode: 0o600 });
  await grace.ok('start', '--admin', src, '--admin-token', file, src, backend.endpoint);
  const { page } = await openPage(t, await adminUrl(grace));
  const field = page.getByLabel('This daemon asks for the token');
  await field.fill('a wrong one');
  await page.keyboard.press('Enter');
  await page.getByRole('status').filter({ hasText: 'wrong token' }).waitFor();
  assert.equal(await page.getByRole('table').count(), 0);
  await field.fill('0123456789abcdef0123');
  await page.getByRole('button', { name: 'Show' }).click();
  await page.getByRole('table', { name: 'Rules' }).waitFor();
  await page.reload();
  await page.getByRole('table', { name: 'Rules' }).waitFor();
  assert.equal(new URL(page.url()).search, '');
});
