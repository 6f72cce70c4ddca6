// Addresses: `/` is a new conversation, `/c/ID` an old one, `/skills/NAME` the page of a skill.

import { createStore } from './chat/store';

export const SKILL_PAGES = ['translate', 'summarize', 'code', 'search', 'documents'] as const;
export type SkillPageName = (typeof SKILL_PAGES)[number];

export interface Route {
  /** The thread that the address names. */
  threadId: string | null;
  /** The skill that it names instead. */
  skill: SkillPageName | null;
}

const read = (): Route => ({
  threadId: /^\/c\/([A-Za-z0-9_-]{1,64})$/.exec(location.pathname)?.[1] ?? null,
  skill: SKILL_PAGES.find((name) => location.pathname === skillPath(name)) ?? null,
});

export const skillPath = (name: SkillPageName) => `/skills/${name}`;
export const pathOf = (threadId: string | null) => (threadId ? `/c/${threadId}` : '/');

export const route = createStore<Route>(read());

/** Go to a thread; `replace` when the present address was only on the way there. */
export function navigate(threadId: string | null, replace = false): void {
  const now = route.get();
  if (threadId === now.threadId && !now.skill) return;
  history[replace ? 'replaceState' : 'pushState'](null, '', pathOf(threadId));
  route.set({ threadId, skill: null });
}

/** Go to the page of a skill. */
export function openSkill(skill: SkillPageName): void {
  if (skill === route.get().skill) return;
  history.pushState(null, '', skillPath(skill));
  route.set({ threadId: null, skill });
}

window.addEventListener('popstate', () => route.set(read()));
