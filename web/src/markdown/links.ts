// What an address in a model's answer may be.

const SCHEMES = new Set(['http:', 'https:', 'mailto:']);

/** `href` when it is an absolute http, https or mailto address, else null: the text is shown without a link. */
export function safeHref(href: string): string | null {
  let url: URL;
  try {
    url = new URL(href); // relative addresses would lead into our own page, so they are refused too
  } catch {
    return null;
  }
  return SCHEMES.has(url.protocol) ? url.href : null;
}
