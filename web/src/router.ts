// Addresses: `/` is a new conversation, `/c/ID` an old one.

import { createStore } from './chat/store';

const read = () => /^\/c\/([A-Za-z0-9_-]{1,64})$/.exec(location.pathname)?.[1] ?? null;

/** The thread that the address names. */
export const route = createStore<{ threadId: string | null }>({ threadId: read() });

export const pathOf = (threadId: string | null) => (threadId ? `/c/${threadId}` : '/');

/** Go to a thread; `replace` when the present address was only on the way there. */
export function navigate(threadId: string | null, replace = false): void {
  if (threadId === route.get().threadId) return;
  history[replace ? 'replaceState' : 'pushState'](null, '', pathOf(threadId));
  route.set({ threadId });
}

window.addEventListener('popstate', () => route.set({ threadId: read() }));
