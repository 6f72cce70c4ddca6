// The state of the page and everything that changes it. Components read `chat` and call the functions below.

import { ApiError, api, randomKey } from '../api/client';
import { follow, pause } from '../api/follow';
import type { Done, FileIn, Message, RunIn, State, Thread } from '../api/types';
import { prefs, setPreferredModel, setSession } from '../prefs';
import { createStore } from './store';
import { leafBelow, type Messages } from './tree';

/** An answer while it is being written. */
export interface Live {
  content: string;
  reasoning: string;
  /** What is being done before the answer comes. */
  step: string;
  connected: boolean;
}

/** A question on its way to the server; `content` is absent when an earlier one is answered again. */
export interface Pending {
  content?: string;
  parentId: string | null;
}

/** How questions are answered: by the model alone, with tools that it calls, or by a skill that checks its citations. */
export type Way = 'chat' | 'search' | 'documents' | 'tools';

const HOW: Record<Way, RunIn> = {
  chat: {},
  search: { mode: 'search' },
  documents: { mode: 'documents' },
  tools: { tools: ['python', 'search', 'documents'] },
};

export interface Chat {
  phase: 'starting' | 'key' | 'away' | 'ready';
  server: State | null;
  threads: readonly Thread[];
  cursor: string | null;
  listed: boolean;
  /** The thread of the address, `null` for a new one. */
  openId: string | null;
  /** Counts the threads that were opened: another number is another page, the same one goes on. */
  visit: number;
  opening: 'no' | 'loading' | 'missing' | 'away';
  messages: Messages;
  headId: string | null;
  live: ReadonlyMap<string, Live>;
  pending: Pending | null;
  notice: ApiError | null;
  way: Way;
  /** The run that ended last, for those who listen instead of look. */
  ended: Message | null;
}

const NOTHING: Pick<Chat, 'messages' | 'headId' | 'live' | 'pending' | 'notice' | 'ended'> = {
  messages: new Map(),
  headId: null,
  live: new Map(),
  pending: null,
  notice: null,
  ended: null,
};

export const chat = createStore<Chat>({
  phase: 'starting',
  server: null,
  threads: [],
  cursor: null,
  listed: false,
  openId: null,
  visit: 0,
  opening: 'no',
  way: 'chat',
  ...NOTHING,
});

const followers = new Map<string, AbortController>();
const tabs = typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel('colosse');

// ---- the server

/** Learn who is asking and which models there are; keeps trying while the server is away. */
export async function connect(): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      const server = await api.state();
      chat.set({ server, phase: 'ready' });
      break;
    } catch (error) {
      const { status } = asApiError(error);
      if (status === 401) {
        chat.set({ phase: 'key' });
        return;
      }
      chat.set({ phase: 'away' });
      await pause(Math.min(1000 * 1.5 ** attempt, 8000));
    }
  }
  void watchModels();
  await Promise.all([listThreads(), open(chat.get().openId)]);
}

export async function logIn(key: string): Promise<void> {
  await api.logIn(key);
  setSession(true);
  await connect();
}

export async function logOut(): Promise<void> {
  await attempt(async () => {
    await api.logOut();
    setSession(false);
    detach();
    chat.set({ ...NOTHING, threads: [], listed: false, cursor: null, server: null, phase: 'starting' });
    await connect();
  });
}

let watching = false;

/** Look at the models again while one is loading, or while an answer waits for its first word. */
async function watchModels(): Promise<void> {
  if (watching) return;
  watching = true;
  try {
    for (;;) {
      const { server, live } = chat.get();
      const waits = [...live.values()].some((answer) => !answer.content && !answer.reasoning);
      if (!waits && !server?.models.some((model) => model.state === 'loading')) return;
      await pause(1200);
      await refreshState();
    }
  } finally {
    watching = false;
  }
}

async function refreshState(): Promise<void> {
  try {
    chat.set({ server: await api.state() });
  } catch (error) {
    if (asApiError(error).status === 401) chat.set({ phase: 'key' });
  }
}

// ---- threads

export async function listThreads(): Promise<void> {
  await attempt(async () => {
    const { items, next_cursor } = await api.threads();
    chat.set(({ threads, cursor }) => {
      // Older pages that were asked for stay.
      const last = items.at(-1)?.updated_at ?? '';
      const older = next_cursor ? threads.filter((thread) => thread.updated_at < last) : [];
      return { threads: [...items, ...older], cursor: older.length ? cursor : next_cursor, listed: true };
    });
  });
}

export async function listMoreThreads(): Promise<void> {
  const { cursor } = chat.get();
  if (!cursor) return;
  await attempt(async () => {
    const { items, next_cursor } = await api.threads(cursor);
    chat.set(({ threads }) => {
      const known = new Set(threads.map((thread) => thread.id));
      return { threads: [...threads, ...items.filter((thread) => !known.has(thread.id))], cursor: next_cursor };
    });
  });
}

/** Show thread `id`; `null` shows the beginning of a new one. */
export async function open(id: string | null): Promise<void> {
  detach();
  chat.set(({ visit }) => ({ ...NOTHING, openId: id, visit: visit + 1, opening: id ? 'loading' : 'no' }));
  if (id) await load(id);
}

async function load(id: string): Promise<void> {
  try {
    const { thread, messages } = await api.thread(id);
    if (chat.get().openId !== id) return;
    chat.set({
      opening: 'no',
      messages: new Map(messages.map((message) => [message.id, message])),
      headId: thread.head_id ?? messages.at(-1)?.id ?? null,
    });
    putThread(thread);
    for (const message of messages) if (message.status === 'running') attach(message);
  } catch (error) {
    if (chat.get().openId !== id) return;
    const failure = asApiError(error);
    if (failure.status === 401) chat.set({ phase: 'key' });
    else if (failure.status === 404) chat.set({ ...NOTHING, opening: 'missing' });
    else if (chat.get().opening === 'loading') chat.set({ opening: 'away' });
  }
}

export async function renameThread(id: string, title: string): Promise<void> {
  await attempt(async () => {
    putThread(await api.patchThread(id, { title }));
    tell(id);
  });
}

export async function deleteThread(id: string): Promise<boolean> {
  return attempt(async () => {
    await api.deleteThread(id).catch((error) => {
      if (asApiError(error).status !== 404) throw error;
    });
    chat.set(({ threads }) => ({ threads: threads.filter((thread) => thread.id !== id) }));
    tell(id);
  });
}

/** Answer with `model` from now on, here and in new conversations. */
export async function chooseModel(model: string): Promise<void> {
  setPreferredModel(model);
  const { openId } = chat.get();
  if (!openId) return;
  await attempt(async () => putThread(await api.patchThread(openId, { model })));
}

/** The model that the next answer comes from: the thread's, else the preferred one, else the server's default. */
export function modelOf({ server, threads, openId }: Chat, preferred: string): string {
  const known = (name: string | undefined) => (server?.models.some((model) => model.id === name) ? name : undefined);
  const thread = openId ? threads.find(({ id }) => id === openId)?.model : undefined;
  return known(thread) ?? known(preferred) ?? server?.default_model ?? '';
}

/** Put `thread` where it belongs in the list: last changed first. */
function putThread(thread: Thread): void {
  chat.set(({ threads }) => ({
    threads: [...threads.filter(({ id }) => id !== thread.id), thread].sort((a, b) =>
      b.updated_at.localeCompare(a.updated_at),
    ),
  }));
}

// ---- messages

/** Whether an answer on the shown branch is being written. */
export function isBusy({ pending, headId, messages }: Chat): boolean {
  return pending !== null || (headId !== null && messages.get(headId)?.status === 'running');
}

/**
 * Ask `content` below the head (or, edited, below `parentId`), making the thread first if there is none.
 * False when it could not be sent: the caller keeps the text.
 */
export async function send(
  content: string,
  parentId: string | null | undefined,
  onThread: (id: string) => void,
  files: readonly FileIn[] = [],
): Promise<boolean> {
  const before = chat.get();
  const parent = parentId === undefined ? before.headId : parentId;
  chat.set({ pending: { content, parentId: parent }, notice: null });
  const model = modelOf(before, prefs.get().model);
  let id = before.openId;
  return attempt(async () => {
    if (!id) {
      const thread = await api.createThread({ model });
      id = thread.id;
      putThread(thread);
      if (chat.get().openId === null) {
        chat.set({ openId: id });
        onThread(id);
      }
    }
    await start(id, {
      content,
      parent_id: parent,
      model,
      ...HOW[before.way],
      ...(files.length ? { files: [...files] } : {}),
    });
  });
}

/** Answer the question `parentId` once more. */
export async function regenerate(parentId: string): Promise<boolean> {
  const { openId } = chat.get();
  if (!openId) return false;
  chat.set({ pending: { parentId }, notice: null });
  const model = modelOf(chat.get(), prefs.get().model);
  return attempt(() => start(openId, { parent_id: parentId, model, ...HOW[chat.get().way] }));
}

async function start(threadId: string, body: RunIn): Promise<void> {
  const key = randomKey();
  const { user_message, message } = await api.startRun(threadId, body, key).catch((error) => {
    // The connection may have broken after the server took the question: the same key makes asking again safe.
    if (asApiError(error).status !== 0) throw error;
    return api.startRun(threadId, body, key);
  });
  tell(threadId);
  if (chat.get().openId !== threadId) return;
  chat.set(({ messages }) => ({
    messages: new Map(messages).set(user_message.id, user_message).set(message.id, message),
    headId: message.id,
    pending: null,
  }));
  attach(message);
  void listThreads(); // the first question gives the thread its title
}

export async function stop(): Promise<void> {
  const { headId, messages } = chat.get();
  const runId = headId && messages.get(headId)?.run_id;
  if (runId) await attempt(() => api.stopRun(runId)); // its `done` event brings the rest
}

/** Show the version `id` of a message, with the conversation that followed it. */
export async function showVersion(id: string): Promise<void> {
  const { openId, messages } = chat.get();
  const headId = leafBelow(messages, id);
  chat.set({ headId });
  if (openId) await attempt(async () => putThread(await api.patchThread(openId, { head_id: headId })));
}

/** Follow the run that writes `message`, unless that is being done. */
function attach(message: Message): void {
  const { id, run_id: runId, thread_id: threadId } = message;
  if (!runId || followers.has(runId)) return;
  const control = new AbortController();
  followers.set(runId, control);
  const put = (change: (old: Live) => Partial<Live>) =>
    chat.set(({ live }) => {
      const old = live.get(id) ?? { content: message.content, reasoning: message.reasoning, step: '', connected: true };
      return { live: new Map(live).set(id, { ...old, ...change(old) }) };
    });
  put(() => ({}));
  void watchModels();
  void follow(
    runId,
    {
      snapshot: (value) => put(() => value),
      step: ({ text }) => put(() => ({ step: text })),
      delta: (value) =>
        put((old) => ({
          content: old.content + (value.content ?? ''),
          reasoning: old.reasoning + (value.reasoning ?? ''),
        })),
      connected: (connected) => put(() => ({ connected })),
      done: (value) => finish(runId, value),
      gone: (error) => {
        drop(runId, id);
        if (error.status === 401) chat.set({ phase: 'key' });
        else if (chat.get().openId === threadId) void load(threadId);
      },
    },
    control.signal,
  );
}

function finish(runId: string, { message }: Done): void {
  chat.set(({ messages }) => ({ messages: new Map(messages).set(message.id, message), ended: message }));
  drop(runId, message.id);
  touchThread(message.thread_id, message);
  void refreshState();
}

function drop(runId: string, messageId: string): void {
  followers.delete(runId);
  chat.set(({ live }) => {
    const rest = new Map(live);
    rest.delete(messageId);
    return { live: rest };
  });
}

function detach(): void {
  for (const control of followers.values()) control.abort();
  followers.clear();
}

/** The thread was written in just now: it comes first in the list. */
function touchThread(id: string, message: Message): void {
  const thread = chat.get().threads.find((candidate) => candidate.id === id);
  if (thread) putThread({ ...thread, head_id: message.id, updated_at: new Date().toISOString() });
}

// ---- other tabs, failures

function tell(threadId: string): void {
  tabs?.postMessage(threadId);
}

/** What another tab changed, or what happened while this one slept. */
export function listenToTabs(): void {
  const refresh = (threadId: string | null) => {
    if (chat.get().phase !== 'ready') return;
    void listThreads();
    if (threadId && chat.get().openId === threadId && !chat.get().pending) void load(threadId);
  };
  tabs?.addEventListener('message', ({ data }) => refresh(String(data)));
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') refresh(chat.get().openId);
  });
}

export function dismiss(): void {
  chat.set({ notice: null });
}

/** Do `work`; a failure becomes the notice above the composer and `false`. */
async function attempt(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    const notice = asApiError(error);
    chat.set({ pending: null, ...(notice.status === 401 ? { phase: 'key' } : { notice }) });
    return false;
  }
}

function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  console.error(error);
  return new ApiError(-1, 'page', String(error));
}
