// Markdown text as top-level blocks, lexed again only where it can still change.

import { Lexer, type Token, type Tokens } from 'marked';

export interface Block {
  /** Where it begins in the text: its identity while it grows. */
  start: number;
  raw: string;
  token: Token;
}

/**
 * A lexer for one text that grows. What stands before the last two blocks cannot change any more by what follows,
 * reference links apart, and those are settled by the last call, with `final`.
 */
export class Blocks {
  private text = '';
  private blocks: Block[] = [];

  update(text: string, final: boolean): readonly Block[] {
    if (final) return this.keep(lex(text, 0));
    let settled: Block[] = [];
    if (text.startsWith(this.text)) settled = this.blocks.slice(0, -2);
    const end = settled.at(-1);
    const start = end ? end.start + end.raw.length : 0;
    this.text = text;
    // While it is kept as it was written, so that the next text can be compared with it; only the lexer sees it mended.
    this.blocks = [...settled, ...lex(text.slice(start), start)];
    const shown = [...settled, ...lex(mend(text.slice(start)), start)];
    return this.reuse(shown);
  }

  private last: readonly Block[] = [];

  /** The same objects for the same blocks, so that their components need not render again. */
  private reuse(blocks: Block[]): readonly Block[] {
    const old = new Map(this.last.map((block) => [block.start, block]));
    this.last = blocks.map((block) => {
      const same = old.get(block.start);
      return same && same.raw === block.raw && same.token.type === block.token.type ? same : block;
    });
    return this.last;
  }

  private keep(blocks: Block[]): readonly Block[] {
    this.blocks = blocks;
    // Reference definitions at the end change links before them: then nothing is taken over.
    if (blocks.some(({ token }) => token.type === 'def')) this.last = [];
    return this.reuse(blocks);
  }
}

function lex(text: string, offset: number): Block[] {
  const blocks: Block[] = [];
  let start = offset;
  for (const token of new Lexer({ gfm: true, breaks: false }).lex(text)) {
    // Blank lines belong to what stands before them.
    if (token.type !== 'space') blocks.push({ start, raw: token.raw, token });
    else if (blocks.length) (blocks[blocks.length - 1] as Block).raw += token.raw;
    else blocks.push({ start, raw: token.raw, token });
    start += token.raw.length;
  }
  return blocks;
}

/**
 * `text`, which is still being written, so that what is half there does not flicker: a line that may become a rule, a
 * list or a table is held back, and marks that are open are closed.
 */
export function mend(text: string): string {
  const fences = text.match(/^ {0,3}(`{3,}|~{3,})/gm) ?? [];
  if (fences.length % 2 === 1) {
    // Inside a code block: only the backticks that may be its end are held back.
    return text.replace(/\n {0,3}(`{1,}|~{1,})$/, '');
  }
  let mended = text
    .replace(/(^|\n)[ \t]*([-*+_=>#`~|]+|\d+[.)]?|[-*+] \[[ xX]?\]?)[ \t]*$/, '$1')
    .replace(/!?\[([^\][\n]*)(\]\([^)\s]*)?$/, '$1');
  const from = mended.lastIndexOf('\n\n') + 1;
  mended = withoutHalfTable(mended, from);
  return mended + closing(mended.slice(from));
}

/** A table's header is a line of text until the line below it is there. */
function withoutHalfTable(text: string, from: number): string {
  const lines = text.slice(from).trim().split('\n');
  if (lines.length > 2 || !lines[0]?.startsWith('|')) return text;
  const complete = lines.length === 2 && /^\|?[ :|-]*-[ :|-]*\|?$/.test(lines[1] ?? '') && text.endsWith('\n');
  return complete ? text : text.slice(0, from);
}

/** What closes the emphasis and code that `text`, one paragraph or list, leaves open. */
function closing(text: string): string {
  const open: string[] = [];
  const marks = /\\.|`+|\*\*\*|\*\*|\*|~~/g;
  for (let match = marks.exec(text); match; match = marks.exec(text)) {
    const mark = match[0];
    if (mark.startsWith('\\')) continue;
    const before = text[match.index - 1] ?? ' ';
    const after = text[match.index + mark.length] ?? '';
    if (mark.startsWith('`')) {
      const end = text.indexOf(mark, match.index + mark.length);
      if (end < 0) {
        open.push(mark);
        break;
      }
      marks.lastIndex = end + mark.length;
    } else if (open.at(-1) === mark && /\S/.test(before)) open.pop();
    else if (/\S/.test(after)) open.push(mark);
  }
  // Spaces before a closing mark would keep it from closing.
  return /\s$/.test(text) && open.length && !open.at(-1)?.startsWith('`') ? '' : open.reverse().join('');
}

export type { Token, Tokens };
