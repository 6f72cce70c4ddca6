import { expect, test } from 'vitest';
import type { Message, Thread } from '../src/api/types';
import { groupByDay } from '../src/chat/days';
import { childrenOf, leafBelow, pathTo } from '../src/chat/tree';
import { translate } from '../src/i18n';

const message = (id: string, parent_id: string | null) => [id, { id, parent_id } as Message] as const;
const messages = new Map([
  message('q1', null),
  message('a1', 'q1'),
  message('a2', 'q1'),
  message('q2', 'a1'),
  message('b1', 'q2'),
  message('r1', null),
]);
const ids = (list: readonly Message[] | undefined) => list?.map(({ id }) => id);

test('the path to the head', () => {
  expect(ids(pathTo(messages, 'b1'))).toEqual(['q1', 'a1', 'q2', 'b1']);
  expect(pathTo(messages, null)).toEqual([]);
  expect(pathTo(messages, 'nowhere')).toEqual([]);
});

test('versions are the children of one parent, or the roots', () => {
  const children = childrenOf(messages);
  expect(ids(children.get('q1'))).toEqual(['a1', 'a2']);
  expect(ids(children.get(null))).toEqual(['q1', 'r1']);
});

test('another version is shown with what followed it', () => {
  expect(leafBelow(messages, 'a1')).toBe('b1');
  expect(leafBelow(messages, 'q1')).toBe('a2');
  expect(leafBelow(messages, 'r1')).toBe('r1');
});

test('a tree that bites its tail ends', () => {
  expect(pathTo(new Map([message('a', 'b'), message('b', 'a')]), 'a').length).toBeLessThanOrEqual(3);
});

test('threads by day, in the local time of the reader', () => {
  const now = new Date(2026, 10, 23, 0, 30);
  const thread = (id: string, date: Date) => ({ id, updated_at: date.toISOString() }) as Thread;
  const threads = [
    thread('now', now),
    thread('an hour ago', new Date(2026, 10, 22, 23, 30)),
    thread('last week', new Date(2026, 10, 18)),
    thread('this month', new Date(2026, 10, 2)),
    thread('in August', new Date(2026, 7, 2)),
  ];
  const labels = (language: 'en' | 'fr') =>
    groupByDay(threads, { language, t: (key, params) => translate(language, key, params) }, now).map(
      ({ label }) => label,
    );
  expect(labels('en')).toEqual(['Today', 'Yesterday', 'Last 7 days', 'November 2026', 'August 2026']);
  expect(labels('fr')).toEqual(['Aujourd’hui', 'Hier', '7 derniers jours', 'Novembre 2026', 'Août 2026']);
});
