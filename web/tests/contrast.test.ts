import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

/** Each colour of the style sheet, light and dark. */
const TOKENS = new Map(
  [...readFileSync('src/styles/tokens.css', 'utf8').matchAll(/--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)/g)].map(
    ([, name, light, dark]) => [String(name), [String(light), String(dark)] as const],
  ),
);

function luminance(colour: string): number {
  const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => {
    const value = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

const GROUNDS = ['paper', 'side', 'surface', 'raised', 'bubble'];
const CODE = [...TOKENS.keys()].filter((name) => name.startsWith('code-') && name !== 'code-ground');
const PAIRS = [
  ...GROUNDS.flatMap((ground) => ['ink', 'soft'].map((text) => [text, ground])),
  ...['paper', 'surface', 'raised'].flatMap((ground) => ['accent', 'danger'].map((text) => [text, ground])),
  ['on-accent', 'accent'],
  ['on-danger', 'danger'],
  ...['ink', ...CODE].map((text) => [text, 'code-ground']),
] as [string, string][];

// WCAG 2.2, level AA: 4.5 to 1 for text.
test.each(PAIRS)('%s on %s can be read', (text, ground) => {
  for (const theme of [0, 1] as const) {
    const [a = 0, b = 0] = [text, ground]
      .map((name) => luminance(TOKENS.get(name)?.[theme] ?? ''))
      .sort((x, y) => y - x);
    expect((a + 0.05) / (b + 0.05), theme ? 'dark' : 'light').toBeGreaterThanOrEqual(4.5);
  }
});
