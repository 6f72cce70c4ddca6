import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type Follower, follow } from '../src/api/follow';

type Reply = () => Response | Promise<Response>;
const headers: Record<string, string>[] = [];
let replies: Reply[] = [];
let log: string[] = [];

const to: Follower = {
  snapshot: ({ content }) => log.push(`snapshot ${content}`),
  delta: ({ content }) => log.push(`delta ${content}`),
  done: ({ run }) => log.push(`done ${run.status}`),
  connected: (yes) => log.push(yes ? 'back' : 'lost'),
  gone: ({ status }) => log.push(`gone ${status}`),
};

const event = (id: number, name: string, data: unknown) =>
  `id: ${id}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
const events =
  (...parts: string[]): Reply =>
  () =>
    new Response(parts.join(''));
const DONE = event(9, 'done', { run: { status: 'complete' }, message: {} });

beforeEach(() => {
  vi.useFakeTimers();
  headers.length = 0;
  log = [];
  vi.stubGlobal('fetch', async (_url: string, init: RequestInit) => {
    headers.push(init.headers as Record<string, string>);
    const reply = replies.shift();
    if (!reply) throw new Error('not asked for');
    return reply();
  });
});

afterEach(() => {
  vi.useRealTimers();
});

async function run(signal = new AbortController().signal): Promise<void> {
  const following = follow('r1', to, signal);
  await vi.runAllTimersAsync();
  await following;
}

test('a run from its beginning to its end', async () => {
  replies = [events(event(3, 'snapshot', { content: 'a' }), event(4, 'delta', { content: 'b' }), DONE)];
  await run();
  expect(log).toEqual(['snapshot a', 'delta b', 'done complete']);
  expect(headers).toHaveLength(1);
});

test('a broken connection is taken up after the last event', async () => {
  replies = [
    events(event(3, 'snapshot', { content: 'a' }), event(4, 'delta', { content: 'b' })),
    () => Promise.reject(new TypeError('network')),
    () => new Response('bad gateway', { status: 502 }),
    events(event(5, 'delta', { content: 'c' }), DONE),
  ];
  await run();
  expect(log).toEqual(['snapshot a', 'delta b', 'lost', 'lost', 'lost', 'back', 'delta c', 'done complete']);
  expect(headers.map((sent) => sent['last-event-id'])).toEqual([undefined, '4', '4', '4']);
});

test.each([401, 404])('an answer of %i ends it', async (status) => {
  replies = [() => new Response(JSON.stringify({ error: { message: 'no', code: 'x' } }), { status })];
  await run();
  expect(log).toEqual([`gone ${status}`]);
});

test('silence counts as a broken connection', async () => {
  let aborted = false;
  vi.stubGlobal('fetch', (_url: string, init: RequestInit) => {
    if (aborted) return Promise.resolve(new Response(DONE));
    return new Promise((_, reject) => {
      init.signal?.addEventListener('abort', () => {
        aborted = true;
        reject(new DOMException('aborted', 'AbortError'));
      });
    });
  });
  await run();
  expect(log).toEqual(['lost', 'back', 'done complete']);
});

test('who gives up hears nothing more and asks no more', async () => {
  const control = new AbortController();
  replies = [
    () => {
      control.abort();
      return new Response(event(1, 'delta', { content: 'x' }));
    },
  ];
  await run(control.signal);
  expect(log).toEqual([]);
  expect(headers).toHaveLength(1);
});
