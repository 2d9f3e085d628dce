/** The status page: one file of HTML with its styles and its script in it, and what a browser may do with it. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** Set by the build: the files of the page by name. */
declare const GRACE_ADMIN_PAGE: Readonly<Record<(typeof pageFiles)[number], string>> | undefined;

/** The files of the page; the build puts them into the executable. */
export const pageFiles = ['page.html', 'page.css', 'page.js'] as const;

/** What is sent for `/`, and the Content-Security-Policy with it, which lets nothing in but this style and this script. */
export type Page = { html: string; policy: string };

/** Put the page together. */
export function loadPage(): Page {
  const [css, js] = [fileText('page.css'), fileText('page.js')];
  const html = fileText('page.html')
    .replace('/*STYLE*/', () => css)
    .replace('/*SCRIPT*/', () => js);
  return {
    html,
    policy: [
      "default-src 'none'",
      `style-src ${hashOf(css)}`,
      `script-src ${hashOf(js)}`,
      "connect-src 'self'",
      'img-src data:',
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
    ].join('; '),
  };
}

function hashOf(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}

function fileText(name: (typeof pageFiles)[number]): string {
  if (typeof GRACE_ADMIN_PAGE !== 'undefined') return GRACE_ADMIN_PAGE[name];
  return readFileSync(new URL(name, import.meta.url), 'utf8');
}
