// Highlighted code as a tree, never as HTML. The highlighter and each language are loaded when first needed.

import type { Root } from 'hast';
import type { LanguageFn } from 'highlight.js';

type Load = () => Promise<{ default: LanguageFn }>;

const LANGUAGES: Record<string, Load> = {
  bash: () => import('highlight.js/lib/languages/bash'),
  c: () => import('highlight.js/lib/languages/c'),
  cpp: () => import('highlight.js/lib/languages/cpp'),
  csharp: () => import('highlight.js/lib/languages/csharp'),
  css: () => import('highlight.js/lib/languages/css'),
  diff: () => import('highlight.js/lib/languages/diff'),
  dockerfile: () => import('highlight.js/lib/languages/dockerfile'),
  go: () => import('highlight.js/lib/languages/go'),
  haskell: () => import('highlight.js/lib/languages/haskell'),
  ini: () => import('highlight.js/lib/languages/ini'),
  java: () => import('highlight.js/lib/languages/java'),
  javascript: () => import('highlight.js/lib/languages/javascript'),
  json: () => import('highlight.js/lib/languages/json'),
  julia: () => import('highlight.js/lib/languages/julia'),
  kotlin: () => import('highlight.js/lib/languages/kotlin'),
  latex: () => import('highlight.js/lib/languages/latex'),
  lua: () => import('highlight.js/lib/languages/lua'),
  makefile: () => import('highlight.js/lib/languages/makefile'),
  markdown: () => import('highlight.js/lib/languages/markdown'),
  perl: () => import('highlight.js/lib/languages/perl'),
  php: () => import('highlight.js/lib/languages/php'),
  powershell: () => import('highlight.js/lib/languages/powershell'),
  python: () => import('highlight.js/lib/languages/python'),
  r: () => import('highlight.js/lib/languages/r'),
  ruby: () => import('highlight.js/lib/languages/ruby'),
  rust: () => import('highlight.js/lib/languages/rust'),
  scala: () => import('highlight.js/lib/languages/scala'),
  scss: () => import('highlight.js/lib/languages/scss'),
  sql: () => import('highlight.js/lib/languages/sql'),
  swift: () => import('highlight.js/lib/languages/swift'),
  typescript: () => import('highlight.js/lib/languages/typescript'),
  xml: () => import('highlight.js/lib/languages/xml'),
  yaml: () => import('highlight.js/lib/languages/yaml'),
};

const ALIASES: Record<string, string> = {
  'c#': 'csharp',
  'c++': 'cpp',
  cc: 'cpp',
  conf: 'ini',
  console: 'bash',
  cs: 'csharp',
  docker: 'dockerfile',
  golang: 'go',
  h: 'c',
  hpp: 'cpp',
  hs: 'haskell',
  html: 'xml',
  jl: 'julia',
  js: 'javascript',
  jsonc: 'json',
  jsx: 'javascript',
  kt: 'kotlin',
  make: 'makefile',
  md: 'markdown',
  patch: 'diff',
  pl: 'perl',
  postgresql: 'sql',
  ps1: 'powershell',
  py: 'python',
  python3: 'python',
  rb: 'ruby',
  rs: 'rust',
  sh: 'bash',
  shell: 'bash',
  sqlite: 'sql',
  svg: 'xml',
  tex: 'latex',
  toml: 'ini',
  ts: 'typescript',
  tsx: 'typescript',
  yml: 'yaml',
  zsh: 'bash',
};

/** Longest code, in characters, that is highlighted. */
const LONGEST = 60_000;

/** Our name of the language that a fence is marked with; empty when it is unknown. */
export function languageOf(info: string): string {
  const name =
    info
      .trim()
      .split(/[\s{:,]/, 1)[0]
      ?.toLowerCase() ?? '';
  const known = ALIASES[name] ?? name;
  return Object.hasOwn(LANGUAGES, known) ? known : '';
}

export type Highlight = (code: string) => Root | null;

const ready = new Map<string, Highlight>();
const loading = new Map<string, Promise<Highlight>>();

/** The highlighter of `language` if it is loaded. */
export function highlighterNow(language: string): Highlight | undefined {
  return ready.get(language);
}

/** Load the highlighter of `language`. */
export function loadHighlighter(language: string): Promise<Highlight> {
  let promise = loading.get(language);
  if (!promise) {
    promise = load(language);
    loading.set(language, promise);
    promise.catch(() => loading.delete(language)); // the next block tries again
  }
  return promise;
}

async function load(language: string): Promise<Highlight> {
  const [{ createLowlight }, grammar] = await Promise.all([import('./lowlight'), (LANGUAGES[language] as Load)()]);
  const lowlight = createLowlight({ [language]: grammar.default });
  const highlight: Highlight = (code) => (code.length > LONGEST ? null : lowlight.highlight(language, code));
  ready.set(language, highlight);
  return highlight;
}
