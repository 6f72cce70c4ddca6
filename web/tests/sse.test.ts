import { expect, test } from 'vitest';
import { readEvents, type ServerEvent } from '../src/api/sse';

const TEXT =
  ': hello\n\nid: 1\nevent: delta\ndata: {"content":"é"}\n\nid: 2\r\ndata: a\r\ndata: b\r\n\r\n' +
  'event: done\rdata:c\r\rid: 3\nevent: lost\ndata: no empty line follows';

const EVENTS: ServerEvent[] = [
  { id: '1', event: 'delta', data: '{"content":"é"}' },
  { id: '2', event: 'message', data: 'a\nb' },
  { id: '2', event: 'done', data: 'c' },
];

function stream(text: string, size: number): ReadableStream<Uint8Array> {
  const bytes = new TextEncoder().encode(text);
  return new ReadableStream({
    start(controller) {
      for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
      controller.close();
    },
  });
}

// However it is cut, also inside a letter or a line end.
test.each([1, 2, 3, 5, 1000])('events out of pieces of %i bytes', async (size) => {
  const seen: ServerEvent[] = [];
  let alive = 0;
  await readEvents(
    stream(TEXT, size),
    (event) => seen.push(event),
    () => {
      alive += 1;
    },
  );
  expect(seen).toEqual(EVENTS);
  expect(alive).toBeGreaterThan(0);
});
