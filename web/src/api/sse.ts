// Server-sent events out of a byte stream, as the HTML standard parses them.

export interface ServerEvent {
  id: string;
  event: string;
  data: string;
}

/** Give every event of `body` to `emit`; `alive` is called for whatever arrives, comments too. */
export async function readEvents(
  body: ReadableStream<Uint8Array>,
  emit: (event: ServerEvent) => void,
  alive: () => void = () => {},
): Promise<void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  let id = '';
  let event = '';
  let data: string[] = [];

  const line = (text: string) => {
    if (text === '') {
      if (data.length) emit({ id, event: event || 'message', data: data.join('\n') });
      event = '';
      data = [];
      return;
    }
    const colon = text.indexOf(':');
    if (colon === 0) return;
    const field = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? '' : text.slice(text[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (field === 'data') data.push(value);
    else if (field === 'event') event = value;
    else if (field === 'id' && !value.includes('\0')) id = value;
  };

  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return; // an event without its empty line is not whole, and is dropped
      alive();
      rest += decoder.decode(value, { stream: true });
      // A carriage return at the very end may be half of a line end.
      for (let match = /\r\n|\n|\r(?!$)/.exec(rest); match; match = /\r\n|\n|\r(?!$)/.exec(rest)) {
        const text = rest.slice(0, match.index);
        rest = rest.slice(match.index + match[0].length);
        line(text);
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
