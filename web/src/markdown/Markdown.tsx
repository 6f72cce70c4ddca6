// Markdown as React elements. There is no way from a model's text to HTML: raw HTML is shown as the text that it is.

import type { Token, Tokens } from 'marked';
import { Fragment, memo, type ReactNode, useRef } from 'react';
import { useWords } from '../i18n';
import { Blocks } from './blocks';
import { Code } from './Code';
import { safeHref } from './links';

/** `live`: the text is still being written. */
export const Markdown = memo(function Markdown({ text, live = false }: { text: string; live?: boolean }) {
  const blocks = useRef<Blocks>(null);
  blocks.current ??= new Blocks();
  return (
    <div className="prose">
      {blocks.current.update(text, !live).map((block) => (
        <BlockView key={block.start} token={block.token} />
      ))}
    </div>
  );
});

const BlockView = memo(function BlockView({ token }: { token: Token }): ReactNode {
  switch (token.type) {
    case 'space':
    case 'def':
      return null;
    case 'heading': {
      // The page's own headings stand above an answer's.
      const Level = `h${Math.min(token.depth + 2, 6)}` as 'h3';
      return <Level className={`h-${token.depth}`}>{inline(token.tokens)}</Level>;
    }
    case 'paragraph':
      return <p>{inline(token.tokens)}</p>;
    case 'text': // of a tight list's item
      return <>{token.tokens ? inline(token.tokens) : plain(token.text)}</>;
    case 'code':
      return <Code code={token.text} info={token.lang ?? ''} />;
    case 'blockquote':
      return <blockquote>{blocksOf(token.tokens ?? [])}</blockquote>;
    case 'list':
      return <List token={token as Tokens.List} />;
    case 'table':
      return <Table token={token as Tokens.Table} />;
    case 'hr':
      return <hr />;
    case 'html':
      return <p className="raw">{token.raw.trimEnd()}</p>;
    default:
      return <p>{token.raw}</p>;
  }
});

function blocksOf(tokens: Token[]): ReactNode {
  return tokens.map((token, index) => <BlockView key={index} token={token} />);
}

function List({ token }: { token: Tokens.List }) {
  const items = token.items.map((item, index) => <Item key={index} raw={item.raw} item={item} />);
  if (!token.ordered) return <ul>{items}</ul>;
  return <ol start={token.start === '' ? 1 : token.start}>{items}</ol>;
}

/** One item; a long list that grows renders its last item only. */
const Item = memo(
  function Item({ item }: { raw: string; item: Tokens.ListItem }) {
    const { t } = useWords();
    const tokens = item.tokens.filter((token) => token.type !== 'checkbox');
    if (!item.task) return <li>{blocksOf(tokens)}</li>;
    return (
      <li className="task">
        <input
          type="checkbox"
          checked={item.checked ?? false}
          readOnly
          disabled
          aria-label={t(item.checked ? 'markdown.done' : 'markdown.to_do')}
        />
        <div>{blocksOf(tokens)}</div>
      </li>
    );
  },
  (before, after) => before.raw === after.raw && before.item.loose === after.item.loose,
);

function Table({ token }: { token: Tokens.Table }) {
  const { t } = useWords();
  const cells = (row: Tokens.TableCell[], Cell: 'th' | 'td') =>
    row.map((cell, index) => (
      <Cell
        key={index}
        className={cell.align ? `align-${cell.align}` : undefined}
        scope={Cell === 'th' ? 'col' : undefined}
      >
        {inline(cell.tokens)}
      </Cell>
    ));
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
    <section className="table" tabIndex={0} aria-label={t('markdown.table')}>
      <table>
        <thead>
          <tr>{cells(token.header, 'th')}</tr>
        </thead>
        <tbody>
          {token.rows.map((row, index) => (
            <tr key={index}>{cells(row, 'td')}</tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function inline(tokens: Token[] = []): ReactNode {
  return tokens.map((token, index) => <Fragment key={index}>{inlineNode(token)}</Fragment>);
}

function inlineNode(token: Token): ReactNode {
  switch (token.type) {
    case 'strong':
      return <strong>{inline(token.tokens)}</strong>;
    case 'em':
      return <em>{inline(token.tokens)}</em>;
    case 'del':
      return <del>{inline(token.tokens)}</del>;
    case 'codespan':
      return <code>{token.text}</code>;
    case 'br':
      return <br />;
    case 'link':
      return <Link href={token.href}>{inline(token.tokens)}</Link>;
    case 'image':
      return <ImageLink href={token.href} alt={token.text} />;
    case 'escape':
      return token.text;
    case 'text':
      return token.tokens ? inline(token.tokens) : plain(token.text);
    default: // raw HTML, and whatever is new: as it was written
      return token.raw;
  }
}

function Link({ href, children }: { href: string; children: ReactNode }) {
  const safe = safeHref(href);
  if (!safe) return children;
  return (
    <a href={safe} target="_blank" rel="noopener noreferrer">
      {children}
    </a>
  );
}

/** A picture in an answer is not loaded: its address could carry away what was said. It can be opened by hand. */
function ImageLink({ href, alt }: { href: string; alt: string }) {
  const { t } = useWords();
  return <Link href={href}>{alt ? t('markdown.image', { alt }) : t('markdown.image_unnamed')}</Link>;
}

const ENTITIES: Record<string, string> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  nbsp: '\u00a0',
  copy: '©',
  hellip: '…',
  mdash: '—',
  ndash: '–',
  rarr: '→',
  larr: '←',
  times: '×',
  euro: '€',
  laquo: '«',
  raquo: '»',
  eacute: 'é',
  egrave: 'è',
  agrave: 'à',
};

/** Text between marks; a space that French puts inside guillemets or before a mark does not break the line. */
function plain(text: string): string {
  return unescapeEntities(text).replace(/ (?=[;:?!»](?:\s|$))|(?<=«) /g, '\u00a0');
}

/** Character references of plain text, as CommonMark reads them; the result is a string, which React escapes. */
export function unescapeEntities(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#[xX]([\da-fA-F]{1,6})|(\w{2,8}));/g, (whole, decimal, hex, name) => {
    if (name) return ENTITIES[name] ?? whole;
    const code = decimal ? Number.parseInt(decimal, 10) : Number.parseInt(hex, 16);
    return code === 0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) ? '\ufffd' : String.fromCodePoint(code);
  });
}
