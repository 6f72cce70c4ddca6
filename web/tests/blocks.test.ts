import { Lexer } from 'marked';
import { describe, expect, test } from 'vitest';
import { Blocks, mend } from '../src/markdown/blocks';

const TEXT = `# Title

Some **bold** text and \`code\`, with a [link](https://example.org).

- one
- two
  - nested

1. first

2. second

\`\`\`python
def f():

    return "**"
\`\`\`

| a | b |
|---|---|
| 1 | 2 |

> quote

The end, [ref].

[ref]: https://example.org
`;

describe('blocks of a text that grows', () => {
  test.each([1, 3, 17, 64])('by %i characters end as those of the whole text', (step) => {
    const blocks = new Blocks();
    for (let end = 0; end < TEXT.length; end += step) blocks.update(TEXT.slice(0, end), false);
    const last = blocks.update(TEXT, true);
    expect(last.map(({ raw }) => raw).join('')).toBe(TEXT);
    const whole = new Lexer({ gfm: true }).lex(TEXT).filter(({ type }) => type !== 'space');
    expect(last.map(({ token }) => token.type)).toEqual(whole.map(({ type }) => type));
  });

  test('finished ones are the same objects, so that they are not rendered again', () => {
    const blocks = new Blocks();
    const before = blocks.update('one\n\ntwo\n\nthree\n\nfour', false);
    const after = blocks.update('one\n\ntwo\n\nthree\n\nfour and more', false);
    expect(after.slice(0, 3)).toEqual(before.slice(0, 3));
    for (const index of [0, 1, 2]) expect(after[index]).toBe(before[index]);
    expect(after[3]).not.toBe(before[3]);
  });

  test('another text starts anew', () => {
    const blocks = new Blocks();
    blocks.update('one\n\ntwo\n\nthree', false);
    expect(blocks.update('# other', false).map(({ token }) => token.type)).toEqual(['heading']);
  });

  test('no heading or rule flickers by while a list begins', () => {
    const blocks = new Blocks();
    const text = 'Here is a list:\n- one\n- two';
    for (let end = 1; end <= text.length; end += 1) {
      const types = blocks.update(text.slice(0, end), false).map(({ token }) => token.type);
      expect(['paragraph', 'list', 'text', 'space']).toEqual(expect.arrayContaining(types));
    }
  });
});

describe('a half-written end is mended', () => {
  test.each([
    ['a **bol', 'a **bol**'],
    ['a **bold**', 'a **bold**'],
    ['a *it', 'a *it*'],
    ['a `co', 'a `co`'],
    ['a `co**', 'a `co**`'],
    ['a ~~de', 'a ~~de~~'],
    ['2 * 3', '2 * 3'],
    ['a [lin', 'a lin'],
    ['a [link](http', 'a link'],
    ['a [link](https://x.example)', 'a [link](https://x.example)'],
    ['text\n-', 'text\n'],
    ['text\n1.', 'text\n'],
    ['text\n#', 'text\n'],
    ['| a | b |', ''],
    ['| a | b |\n|--', ''],
    ['| a | b |\n|---|---|\n', '| a | b |\n|---|---|\n'],
    ['```js\na **b', '```js\na **b'],
    ['```js\na\n``', '```js\na'],
  ])('%j', (text, expected) => {
    expect(mend(text)).toBe(expected);
  });
});
