// Render into a document, and hold what came out against what a model's text may become.

import { act, type ReactNode } from 'react';
import { createRoot } from 'react-dom/client';
import { afterEach, expect } from 'vitest';

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

const clean: (() => void)[] = [];
afterEach(() => {
  for (const undo of clean.splice(0)) undo();
});

export async function render(
  node: ReactNode,
): Promise<{ box: HTMLElement; again: (node: ReactNode) => Promise<void> }> {
  const box = document.createElement('div');
  document.body.append(box);
  const root = createRoot(box);
  clean.push(() => {
    act(() => root.unmount());
    box.remove();
  });
  const again = (next: ReactNode) => act(async () => root.render(next));
  await again(node);
  return { box, again };
}

const ALLOWED: Record<string, string[]> = {
  '*': ['class', 'aria-label', 'title'],
  a: ['href', 'target', 'rel'],
  button: ['type'],
  code: [],
  input: ['type', 'checked', 'readonly', 'disabled'],
  ol: ['start'],
  pre: ['tabindex'],
  section: ['tabindex'],
  svg: ['viewBox', 'aria-hidden', 'focusable'],
  th: ['scope'],
};
const PLAIN =
  'blockquote br circle code del div em figcaption figure h3 h4 h5 h6 hr li p path rect span strong table tbody td thead tr ul g';
for (const tag of PLAIN.split(' ')) ALLOWED[tag] ??= [];

/** Nothing but the elements and attributes that we make, and links that lead where links may. */
export function expectHarmless(box: HTMLElement): void {
  for (const element of box.querySelectorAll('*')) {
    const tag = element.tagName.toLowerCase();
    const allowed = ALLOWED[tag];
    expect(allowed, `<${tag}> in ${box.innerHTML}`).toBeDefined();
    if (element.closest('svg') && tag !== 'svg') continue; // our own icons
    for (const { name, value } of element.attributes) {
      expect([...(allowed ?? []), ...(ALLOWED['*'] ?? [])], `${name} of <${tag}>`).toContain(name);
      if (name === 'href') expect(value).toMatch(/^(https?:\/\/|mailto:)/);
    }
    if (tag === 'a') {
      expect(element.getAttribute('rel')).toBe('noopener noreferrer');
      expect(element.getAttribute('target')).toBe('_blank');
    }
  }
}
