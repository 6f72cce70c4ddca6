import { act } from 'react';
import { describe, expect, test } from 'vitest';
import { languageOf, loadHighlighter } from '../src/markdown/highlight';
import { safeHref } from '../src/markdown/links';
import { Markdown, unescapeEntities } from '../src/markdown/Markdown';
import { Verbatim } from '../src/markdown/Verbatim';
import { prefs } from '../src/prefs';
import { expectHarmless, render } from './dom';
import corpus from './xss.json';

const html = async (text: string) => (await render(<Markdown text={text} />)).box.querySelector('.prose')?.innerHTML;

describe('what markdown becomes', () => {
  test.each([
    ['**a** *b* ~~c~~ `d`', '<p><strong>a</strong> <em>b</em> <del>c</del> <code>d</code></p>'],
    ['# One\n\n### Three', '<h3 class="h-1">One</h3><h5 class="h-3">Three</h5>'],
    ['- a\n- b', '<ul><li>a</li><li>b</li></ul>'],
    ['3. a\n4. b', '<ol start="3"><li>a</li><li>b</li></ol>'],
    ['- a\n\n- b', '<ul><li><p>a</p></li><li><p>b</p></li></ul>'],
    ['> q\n\n---', '<blockquote><p>q</p></blockquote><hr>'],
    ['a  \nb', '<p>a<br>b</p>'],
    ['a &amp; b &lt;i&gt;', '<p>a &amp; b &lt;i&gt;</p>'],
    ['<b>x</b>', '<p>&lt;b&gt;x&lt;/b&gt;</p>'],
    ['\\*a\\*', '<p>*a*</p>'],
  ])('%j', async (text, expected) => {
    expect(await html(text)).toBe(expected);
  });

  test('a table, with its alignment', async () => {
    const { box } = await render(<Markdown text={'| a | b |\n|:--|--:|\n| 1 | **2** |'} />);
    expect(box.querySelectorAll('th')).toHaveLength(2);
    expect(box.querySelector('td.align-right')?.innerHTML).toBe('<strong>2</strong>');
  });

  test('tasks are said in the language of the page', async () => {
    await act(async () => prefs.set({ language: 'fr' }));
    const { box } = await render(<Markdown text={'- [x] a\n- [ ] b'} />);
    const boxes = [...box.querySelectorAll('input')];
    expect(boxes.map((input) => [input.checked, input.getAttribute('aria-label')])).toEqual([
      [true, 'Fait'],
      [false, 'À faire'],
    ]);
    await act(async () => prefs.set({ language: 'en' }));
  });

  test('links open elsewhere and say nothing of where they were', async () => {
    const { box } = await render(<Markdown text="[a](https://example.org/x?y=1) <me@example.org>" />);
    const links = [...box.querySelectorAll('a')];
    expect(links.map((link) => link.getAttribute('href'))).toEqual([
      'https://example.org/x?y=1',
      'mailto:me@example.org',
    ]);
    expectHarmless(box);
  });

  test('a picture is a link, not a request', async () => {
    const { box } = await render(<Markdown text="![a cat](https://example.org/cat.png)" />);
    expect(box.querySelector('img')).toBeNull();
    expect(box.querySelector('a')?.textContent).toBe('Image: a cat');
  });

  test('code is coloured once its language is loaded, and its text is unchanged', async () => {
    await loadHighlighter('python');
    const code = 'def f(x):\n    return "<b>" + x';
    const { box } = await render(<Markdown text={`\`\`\`py\n${code}\n\`\`\``} />);
    expect(box.querySelector('.code-language')?.textContent).toBe('py');
    expect(box.querySelector('.hljs-keyword')?.textContent).toBe('def');
    expect(box.querySelector('pre')?.textContent).toBe(code);
  });

  test('French marks stay on the line of their word', async () => {
    expect(await html('Vraiment ? « Oui » : oui')).toBe('<p>Vraiment&nbsp;? «&nbsp;Oui&nbsp;»&nbsp;: oui</p>');
  });
});

describe('what markdown must not become', () => {
  test.each(corpus)('%j', async (text) => {
    const { box } = await render(<Markdown text={text} />);
    expectHarmless(box);
    for (const live of [true, false]) expectHarmless((await render(<Markdown text={text} live={live} />)).box);
  });

  test('nor any beginning of it, while it is written', async () => {
    const { box, again } = await render(null);
    const text = corpus.join('\n\n');
    for (let end = 0; end <= text.length; end += 7) {
      await again(<Markdown text={text.slice(0, end)} live />);
      if (end % 5 === 0) expectHarmless(box);
    }
    expectHarmless(box);
  });

  test.each(corpus)('nor, as a question, %j', async (text) => {
    expectHarmless((await render(<Verbatim text={text} />)).box);
  });

  test('the check itself sees what is harmful', () => {
    const box = document.createElement('div');
    for (const bad of ['<script></script>', '<p onclick="x"></p>', '<a href="javascript:1">x</a>', '<img src="x">']) {
      box.innerHTML = bad;
      expect(() => expectHarmless(box)).toThrow();
    }
  });
});

test('a question is shown as it was written, its fenced code as code', async () => {
  const { box } = await render(
    <Verbatim text={'Why does **this** fail?\n\n```py\nx =+ 1\n```\n\n    not code\n<b>'} />,
  );
  expect(box.querySelector('pre')?.textContent).toBe('x =+ 1');
  const [before, after] = [...box.children].filter(({ tagName }) => tagName === 'SPAN');
  expect(before?.textContent).toBe('Why does **this** fail?');
  expect(after?.textContent).toBe('    not code\n<b>');
});

test.each([
  ['https://a.example/', 'https://a.example/'],
  ['mailto:a@b.example', 'mailto:a@b.example'],
  ['javascript:alert(1)', null],
  [' javascript:alert(1)', null],
  ['java\nscript:alert(1)', null],
  ['data:text/html,x', null],
  ['/relative', null],
  ['//host/path', null],
  ['', null],
])('safeHref(%j)', (href, expected) => {
  expect(safeHref(href)).toBe(expected);
});

test('languageOf', () => {
  expect(
    ['js', 'Python title="x"', 'c++', 'ts{1,2}', 'klingon', '', '__proto__', 'constructor'].map(languageOf),
  ).toEqual(['javascript', 'python', 'cpp', 'typescript', '', '', '', '']);
});

test('unescapeEntities', () => {
  expect(unescapeEntities('&lt;a&gt; &#233; &#x1F600; &#0; &bogus; &constructor; &#xD800;')).toBe(
    '<a> é 😀 \ufffd &bogus; &constructor; \ufffd',
  );
});
