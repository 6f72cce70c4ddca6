// The app's API, typed. Every failure is an `ApiError`; `status` 0 means that the server could not be reached.

import type {
  Document,
  Passage,
  Run,
  RunIn,
  RunStarted,
  SkillInfo,
  SkillRun,
  State,
  Thread,
  ThreadPage,
  ThreadPatch,
  ThreadWithMessages,
} from './types';

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
    this.name = 'ApiError';
  }

  /** The server is not there right now: trying again may work. */
  get away(): boolean {
    return this.status === 0 || (this.status >= 502 && this.status <= 504 && this.code === 'no_answer');
  }
}

interface Options {
  body?: unknown;
  /** The body as it is, instead. */
  file?: File;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

async function call<T>(method: string, path: string, { body, file, headers, signal }: Options = {}): Promise<T> {
  const init: RequestInit = { method, headers: { accept: 'application/json', ...headers } };
  if (signal) init.signal = signal;
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { ...init.headers, 'content-type': 'application/json' };
  }
  if (file) {
    init.body = file;
    init.headers = { ...init.headers, 'content-type': 'application/octet-stream' };
  }
  let response: Response;
  try {
    response = await fetch(`/api${path}`, init);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, 'unreachable', String(error));
  }
  if (!response.ok) throw await errorOf(response);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

/** The error that `response`, not a success, tells of, in OpenAI's shape; a proxy's page of its own has no code. */
export async function errorOf(response: Response): Promise<ApiError> {
  const body = (await response.json().catch(() => null)) as { error?: { message?: string; code?: string } } | null;
  const { message = response.statusText, code } = body?.error ?? {};
  return new ApiError(response.status, code ?? (body?.error ? '' : 'no_answer'), message);
}

const at = encodeURIComponent;

export const api = {
  state: (signal?: AbortSignal) => call<State>('GET', '/state', signal ? { signal } : {}),
  logIn: (key: string) => call<unknown>('POST', '/session', { body: { key } }),
  logOut: () => call<void>('DELETE', '/session'),
  threads: (cursor?: string) => call<ThreadPage>('GET', `/threads?limit=50${cursor ? `&cursor=${at(cursor)}` : ''}`),
  createThread: (body: { title?: string; model?: string }) => call<Thread>('POST', '/threads', { body }),
  thread: (id: string) => call<ThreadWithMessages>('GET', `/threads/${at(id)}`),
  patchThread: (id: string, body: ThreadPatch) => call<Thread>('PATCH', `/threads/${at(id)}`, { body }),
  deleteThread: (id: string) => call<void>('DELETE', `/threads/${at(id)}`),
  startRun: (threadId: string, body: RunIn, idempotencyKey: string) =>
    call<RunStarted>('POST', `/threads/${at(threadId)}/runs`, { body, headers: { 'idempotency-key': idempotencyKey } }),
  stopRun: (id: string) => call<Run>('DELETE', `/runs/${at(id)}`),
  documents: () => call<Document[]>('GET', '/documents'),
  addDocument: (file: File) => call<Document>('POST', `/documents?name=${at(file.name)}`, { file }),
  removeDocument: (id: string) => call<void>('DELETE', `/documents/${at(id)}`),
  passage: (id: string, position: number) => call<Passage>('GET', `/documents/${at(id)}/passages/${position}`),
  skills: () => call<SkillInfo[]>('GET', '/skills'),
  startSkill: (name: string, body: unknown, idempotencyKey: string) =>
    call<SkillRun>('POST', `/skills/${at(name)}/runs`, { body, headers: { 'idempotency-key': idempotencyKey } }),
  stopSkill: (id: string) => call<SkillRun>('DELETE', `/skills/runs/${at(id)}`),
};

export type Api = typeof api;

/** 128 random bits; `crypto.randomUUID` exists on secure origins only. */
export function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
