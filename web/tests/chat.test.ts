import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Message, Thread } from '../src/api/types';
import {
  chat,
  deleteThread,
  dismiss,
  isBusy,
  modelOf,
  open,
  regenerate,
  renameThread,
  send,
  stop,
} from '../src/chat/chat';

/** A server in a few lines: what the page asked, and answers that a test can replace. */
let asked: { method: string; path: string; body: Record<string, unknown> | null; headers: Record<string, string> }[] =
  [];
let answers: Record<string, () => Response | Promise<Response>> = {};
let streams: Record<string, ReadableStreamDefaultController<Uint8Array>> = {};

const json = (body: unknown, status = 200) => new Response(JSON.stringify(body), { status });
const failure = (status: number, code: string) => () => json({ error: { message: 'told', code } }, status);
const thread = (over: Partial<Thread> = {}): Thread => ({
  id: 't1',
  title: '',
  model: 'small',
  system: '',
  head_id: null,
  created_at: '2026-01-01T00:00:00.000Z',
  updated_at: '2026-01-01T00:00:00.000Z',
  ...over,
});
const message = (over: Partial<Message>): Message => ({
  id: 'q1',
  thread_id: 't1',
  parent_id: null,
  role: 'user',
  content: 'hello',
  reasoning: '',
  status: 'complete',
  model: '',
  run_id: null,
  error: '',
  error_code: '',
  usage: null,
  sources: null,
  files: null,
  created_at: '2026-01-01T00:00:00.000Z',
  ...over,
});
const running = message({ id: 'a1', parent_id: 'q1', role: 'assistant', content: '', status: 'running', run_id: 'r1' });
const model = (id: string) => ({ id, state: 'ready' as const, engine: 'e', capabilities: ['chat'], error: '' });

function say(run: string, name: string, data: unknown): void {
  streams[run]?.enqueue(new TextEncoder().encode(`id: 1\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`));
}

beforeEach(async () => {
  asked = [];
  streams = {};
  answers = {
    'GET /threads?limit=50': () => json({ items: [thread({ title: 'hello' })], next_cursor: null }),
    'GET /state': () => json(chat.get().server),
    'POST /threads': () => json(thread(), 201),
    'POST /threads/t1/runs': () => json({ run: { id: 'r1' }, user_message: message({}), message: running }, 202),
    'DELETE /runs/r1': () => json({}),
  };
  vi.stubGlobal('fetch', async (url: string, init: RequestInit = {}) => {
    const method = init.method ?? 'GET';
    const path = url.replace('/api', '');
    const events = /^\/runs\/(\w+)\/events$/.exec(path)?.[1];
    if (events) {
      return new Response(
        new ReadableStream({
          start(controller) {
            streams[events] = controller;
          },
        }),
      );
    }
    asked.push({
      method,
      path,
      body: init.body ? JSON.parse(String(init.body)) : null,
      headers: init.headers as Record<string, string>,
    });
    const answer = answers[`${method} ${path}`];
    if (!answer) throw new TypeError(`no network for ${method} ${path}`);
    return answer();
  });
  await open(null);
  chat.set({
    phase: 'ready',
    threads: [],
    server: {
      version: '1',
      user: { id: 'local', name: 'local' },
      default_model: 'big',
      models: [model('big'), model('small')],
      limits: { max_body_bytes: 1, max_concurrent_runs: 1 },
    },
  });
});

afterEach(async () => {
  await open(null); // lets go of every run
});

const posted = () => asked.filter(({ method }) => method === 'POST').map(({ path, body }) => [path, body]);

describe('asking', () => {
  test('makes the thread, shows the question at once, then the answer as it comes', async () => {
    const went: string[] = [];
    const sending = send('hello', undefined, (id) => went.push(id));
    expect(chat.get().pending).toEqual({ content: 'hello', parentId: null });
    expect(isBusy(chat.get())).toBe(true);
    expect(await sending).toBe(true);
    expect(went).toEqual(['t1']);
    expect(posted()).toEqual([
      ['/threads', { model: 'big' }],
      ['/threads/t1/runs', { content: 'hello', parent_id: null, model: 'big' }],
    ]);
    expect(chat.get()).toMatchObject({ openId: 't1', headId: 'a1', pending: null });

    await vi.waitFor(() => expect(streams.r1).toBeDefined());
    say('r1', 'snapshot', { content: 'on', reasoning: '' });
    say('r1', 'delta', { content: 'e' });
    await vi.waitFor(() => expect(chat.get().live.get('a1')?.content).toBe('one'));
    expect(chat.get().messages.get('a1')?.content).toBe('');

    const done = { ...running, content: 'one two', status: 'complete' };
    say('r1', 'done', { run: { id: 'r1' }, message: done });
    await vi.waitFor(() => expect(chat.get().live.size).toBe(0));
    expect(chat.get().messages.get('a1')).toEqual(done);
    expect(chat.get().ended).toEqual(done);
    expect(isBusy(chat.get())).toBe(false);
    expect(chat.get().threads[0]?.title).toBe('hello');
  });

  test('again after the connection broke, under the same key', async () => {
    let calls = 0;
    const answer = answers['POST /threads/t1/runs'] as () => Response;
    answers['POST /threads/t1/runs'] = () => {
      calls += 1;
      if (calls === 1) throw new TypeError('network');
      return answer();
    };
    expect(await send('hello', undefined, () => {})).toBe(true);
    const keys = asked.filter(({ path }) => path.endsWith('/runs')).map(({ headers }) => headers['idempotency-key']);
    expect(keys).toHaveLength(2);
    expect(keys[0]).toMatch(/^[0-9a-f]{32}$/);
    expect(keys[1]).toBe(keys[0]);
  });

  test.each([
    ['the server is away', undefined, 0],
    ['there are too many runs', failure(429, 'rate_limit_exceeded'), 429],
  ])('in vain, when %s: the caller keeps the text, and a notice says why', async (_, answer, status) => {
    if (answer) answers['POST /threads/t1/runs'] = answer;
    else delete answers['POST /threads/t1/runs'];
    expect(await send('hello', undefined, () => {})).toBe(false);
    expect(chat.get()).toMatchObject({ pending: null, notice: { status } });
    dismiss();
    expect(chat.get().notice).toBeNull();
  });

  test('without a key any more leads to the page that asks for one', async () => {
    answers['POST /threads'] = failure(401, 'invalid_api_key');
    expect(await send('hello', undefined, () => {})).toBe(false);
    expect(chat.get()).toMatchObject({ phase: 'key', notice: null });
  });
});

describe('a thread that is opened', () => {
  beforeEach(() => {
    answers['GET /threads/t1'] = () =>
      json({ thread: thread({ head_id: 'a1' }), messages: [message({}), { ...running, content: 'so far' }] });
  });

  test('goes on with an answer that is being written', async () => {
    await open('t1');
    await vi.waitFor(() => expect(streams.r1).toBeDefined());
    expect(chat.get().live.get('a1')?.content).toBe('so far');
    expect(isBusy(chat.get())).toBe(true);
    await stop();
    expect(asked.at(-1)).toMatchObject({ method: 'DELETE', path: '/runs/r1' });
  });

  test('and left lets go of it', async () => {
    await open('t1');
    await vi.waitFor(() => expect(streams.r1).toBeDefined());
    await open(null);
    expect(chat.get().live.size).toBe(0);
    expect(chat.get().messages.size).toBe(0);
  });

  test('that is not there says so', async () => {
    answers['GET /threads/gone'] = failure(404, 'thread_not_found');
    await open('gone');
    expect(chat.get().opening).toBe('missing');
    await open('nowhere'); // no answer at all
    expect(chat.get().opening).toBe('away');
  });

  test('late does not come in the way of the next', async () => {
    let release = () => {};
    answers['GET /threads/slow'] = () =>
      new Promise((resolve) => {
        release = () => resolve(json({ thread: thread({ id: 'slow' }), messages: [message({ id: 'late' })] }));
      });
    const slow = open('slow');
    await open('t1');
    release();
    await slow;
    expect([...chat.get().messages.keys()]).toEqual(['q1', 'a1']);
  });

  test('regenerates by answering the question again', async () => {
    await open('t1');
    expect(await regenerate('q1')).toBe(true);
    expect(posted()).toEqual([['/threads/t1/runs', { parent_id: 'q1', model: 'small' }]]);
  });
});

test('renaming and deleting', async () => {
  chat.set({ threads: [thread()] });
  answers['PATCH /threads/t1'] = () => json(thread({ title: 'new' }));
  await renameThread('t1', 'new');
  expect(chat.get().threads.map(({ title }) => title)).toEqual(['new']);
  answers['DELETE /threads/t1'] = failure(503, 'unavailable');
  expect(await deleteThread('t1')).toBe(false);
  expect(chat.get().threads).toHaveLength(1);
  answers['DELETE /threads/t1'] = failure(404, 'thread_not_found'); // another tab was first
  expect(await deleteThread('t1')).toBe(true);
  expect(chat.get().threads).toHaveLength(0);
});

test('the model is the thread’s, else the preferred, else the default, and always one that is there', () => {
  const state = chat.get();
  expect(modelOf(state, '')).toBe('big');
  expect(modelOf(state, 'small')).toBe('small');
  expect(modelOf(state, 'removed')).toBe('big');
  const there = { ...state, openId: 't1', threads: [thread({ model: 'small' })] };
  expect(modelOf(there, 'big')).toBe('small');
  expect(modelOf({ ...there, threads: [thread({ model: 'removed' })] }, 'big')).toBe('big');
});
