import { describe, expect, test } from 'vitest';
import { catalogues, formatNumber, type Key, translate } from '../src/i18n';
import { browserLanguage, LANGUAGES } from '../src/prefs';

const keys = (language: keyof typeof catalogues) => Object.keys(catalogues[language]).sort();
const parameters = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort();

describe.each(LANGUAGES)('%s', (language) => {
  test('has every key, and no other', () => {
    expect(keys(language)).toEqual(keys('en'));
  });

  test('has words for each, with the same parameters', () => {
    for (const key of keys('en') as Key[]) {
      const [here, english] = [catalogues[language][key], catalogues.en[key]];
      expect(typeof here, key).toBe(typeof english);
      const forms = typeof here === 'string' ? [here] : [here.one, here.other];
      const wanted = parameters(typeof english === 'string' ? english : english.other);
      for (const form of forms) {
        expect(form.trim(), key).not.toBe('');
        expect(parameters(form), key).toEqual(wanted);
      }
    }
  });
});

test('every key is used', async () => {
  const sources = import.meta.glob('../src/**/*.{ts,tsx}', { query: '?raw', import: 'default', eager: true });
  const text = Object.values(sources).join('\n');
  const made = [
    /^message\.(stopped|interrupted|failed)$/,
    /^model\.(ready|loading|available|failed)$/,
    /^settings\.(system|light|dark)$/,
    /^starter\./,
    /^composer\.(way|hint)_/,
    /^skill\.(translate|summarize|code|search|documents)$/,
    /^skill\.(about|check|choice|field|hint|task)_/,
  ];
  const unused = keys('en').filter((key) => !text.includes(`'${key}'`) && !made.some((pattern) => pattern.test(key)));
  expect(unused).toEqual([]);
});

test('French keeps its marks on the line', () => {
  for (const [key, entry] of Object.entries(catalogues.fr)) {
    const text = typeof entry === 'string' ? entry : entry.other;
    expect(text, key).not.toMatch(/ [;:?!»]|« /);
  }
});

test('plurals and numbers follow the language', () => {
  expect(translate('en', 'usage.tokens', { count: 0 })).toBe('0 tokens');
  expect(translate('fr', 'usage.tokens', { count: 0 })).toBe('0 token');
  expect(translate('en', 'usage.tokens', { count: 1 })).toBe('1 token');
  expect(formatNumber('en', 12.34)).toBe('12.3');
  expect(formatNumber('fr', 12.34)).toBe('12,3');
  expect(translate('fr', 'usage.tokens', { count: 12345 })).toBe('12\u202f345 tokens');
});

test('what was written by a user is not taken for a parameter', () => {
  expect(translate('en', 'thread.delete_body', { title: '{title} {x}' })).toBe('“{title} {x}” will be gone for good.');
});

test('the language of the browser', () => {
  expect(browserLanguage(['fr-CA', 'en'])).toBe('fr');
  expect(browserLanguage(['de', 'fr'])).toBe('fr');
  expect(browserLanguage(['de'])).toBe('en');
  expect(browserLanguage([])).toBe('en');
});
