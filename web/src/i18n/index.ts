// The page's words. Keys are typed by the English catalogue; a test holds the others to the same keys and parameters.

import { useStore } from '../chat/store';
import { type Language, prefs } from '../prefs';
import en from './en.json';
import fr from './fr.json';

export type Key = keyof typeof en;
type Entry = string | { one: string; other: string };
type Params = Record<string, string | number>;

export const catalogues: Record<Language, Record<Key, Entry>> = { en, fr };

/** The words of `language` for `key`; `params.count` chooses the plural, numbers are written as the language does. */
export function translate(language: Language, key: Key, params: Params = {}): string {
  const entry = catalogues[language][key];
  let text: string;
  if (typeof entry === 'string') text = entry;
  else {
    const plural = new Intl.PluralRules(language).select(Number(params.count ?? 0));
    text = plural === 'one' ? entry.one : entry.other;
  }
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = params[name];
    if (value === undefined) return whole;
    return typeof value === 'number' ? formatNumber(language, value) : value;
  });
}

export function formatNumber(language: Language, value: number): string {
  return new Intl.NumberFormat(language, { maximumFractionDigits: value < 100 ? 1 : 0 }).format(value);
}

export interface Words {
  language: Language;
  t(key: Key, params?: Params): string;
}

const words: Record<Language, Words> = {
  en: { language: 'en', t: (key, params) => translate('en', key, params) },
  fr: { language: 'fr', t: (key, params) => translate('fr', key, params) },
};

export function useWords(): Words {
  return words[useStore(prefs, (value) => value.language)];
}
