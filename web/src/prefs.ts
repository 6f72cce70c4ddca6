// What this browser remembers: language, theme, side bar, model for new conversations, drafts.

import { createStore } from './chat/store';

export const LANGUAGES = ['en', 'fr'] as const;
export type Language = (typeof LANGUAGES)[number];
export const THEMES = ['system', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

export interface Prefs {
  language: Language;
  theme: Theme;
  sidebar: boolean;
  model: string;
  /** Logged in with a key, so that one can log out; the cookie itself is out of a script's reach. */
  session: boolean;
}

const PREFIX = 'colosse.';

/** Storage may be refused (private windows, policies): then nothing is remembered, and nothing breaks. */
function recall(name: string): string {
  try {
    return localStorage.getItem(PREFIX + name) ?? '';
  } catch {
    return '';
  }
}

function remember(name: string, value: string): void {
  try {
    if (value) localStorage.setItem(PREFIX + name, value);
    else localStorage.removeItem(PREFIX + name);
  } catch {
    // As above.
  }
}

/** The first of the browser's languages that we speak. */
export function browserLanguage(wanted: readonly string[] = navigator.languages): Language {
  for (const tag of wanted) {
    const found = LANGUAGES.find((language) => language === tag.slice(0, 2).toLowerCase());
    if (found) return found;
  }
  return 'en';
}

export const prefs = createStore<Prefs>({
  language: LANGUAGES.find((language) => language === recall('language')) ?? browserLanguage(),
  theme: THEMES.find((theme) => theme === recall('theme')) ?? 'system',
  sidebar: recall('sidebar') !== 'closed',
  model: recall('model'),
  session: recall('session') !== '',
});

export function setLanguage(language: Language): void {
  remember('language', language);
  prefs.set({ language });
}

export function setTheme(theme: Theme): void {
  remember('theme', theme === 'system' ? '' : theme);
  prefs.set({ theme });
}

export function setSidebar(sidebar: boolean): void {
  remember('sidebar', sidebar ? '' : 'closed');
  prefs.set({ sidebar });
}

export function setPreferredModel(model: string): void {
  remember('model', model);
  prefs.set({ model });
}

export function setSession(session: boolean): void {
  remember('session', session ? 'yes' : '');
  prefs.set({ session });
}

/** What was being written in a thread (`null`: in a new one) and not sent. */
export const drafts = {
  get: (threadId: string | null) => recall(`draft.${threadId ?? 'new'}`),
  set: (threadId: string | null, text: string) => remember(`draft.${threadId ?? 'new'}`, text),
};

/** Keep the document's language and theme in step with the preferences. */
export function applyPrefs(): void {
  const apply = () => {
    const { language, theme } = prefs.get();
    const root = document.documentElement;
    root.lang = language;
    if (theme === 'system') delete root.dataset.theme;
    else root.dataset.theme = theme;
  };
  prefs.subscribe(apply);
  apply();
}
