import { Lexer } from 'marked';
import { memo } from 'react';
import { Code } from './Code';

type Part = { text: string } | { code: string; info: string };

/** What a person wrote, as it was written; only fenced code is shown as code. */
export const Verbatim = memo(function Verbatim({ text }: { text: string }) {
  return partsOf(text).map((part, index) =>
    'code' in part ? <Code key={index} {...part} /> : <span key={index}>{part.text}</span>,
  );
});

function partsOf(text: string): Part[] {
  if (!/^ {0,3}(```|~~~)/m.test(text)) return [{ text }];
  const parts: Part[] = [];
  let plain = '';
  const flush = () => {
    if (plain.trim()) parts.push({ text: plain.replace(/^\n+|\n+$/g, '') });
    plain = '';
  };
  for (const token of new Lexer({ gfm: true }).lex(text)) {
    if (token.type === 'code' && token.codeBlockStyle !== 'indented') {
      flush();
      parts.push({ code: token.text, info: token.lang ?? '' });
    } else plain += token.raw;
  }
  flush();
  return parts;
}
