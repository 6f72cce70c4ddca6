import type { ElementContent } from 'hast';
import { type ReactNode, useDeferredValue, useEffect, useMemo, useState } from 'react';
import { useWords } from '../i18n';
import { CopyButton } from '../ui/CopyButton';
import { type Highlight, highlighterNow, languageOf, loadHighlighter } from './highlight';

/** A block of code: its language, a button that copies it, and colours once the highlighter is there. */
export function Code({ code, info }: { code: string; info: string }) {
  const { t } = useWords();
  const language = languageOf(info);
  const label = info.trim().split(/\s/, 1)[0] || t('markdown.plain');
  const highlight = useHighlighter(language);
  // A long block that is being written is coloured when there is time, a moment after its text came.
  const settled = useDeferredValue(code);
  const tree = useMemo(() => highlight?.(settled) ?? null, [highlight, settled]);
  return (
    <figure className="code">
      <figcaption>
        <span className="code-language">{label}</span>
        <CopyButton text={code} label={t('action.copy_code')} />
      </figcaption>
      {/* Focusable, since it scrolls sideways. */}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard */}
      <pre tabIndex={0}>
        <code>{tree ? nodes(tree.children as ElementContent[]) : code}</code>
      </pre>
    </figure>
  );
}

function useHighlighter(language: string): Highlight | undefined {
  const [loaded, setLoaded] = useState<string>();
  useEffect(() => {
    if (!language || highlighterNow(language)) return;
    let wanted = true;
    loadHighlighter(language).then(
      () => wanted && setLoaded(language),
      () => {}, // the code is there, without colours
    );
    return () => {
      wanted = false;
    };
  }, [language]);
  return language || loaded ? highlighterNow(language) : undefined;
}

function nodes(children: ElementContent[]): ReactNode {
  return children.map((node, index) => {
    if (node.type === 'text') return node.value;
    if (node.type !== 'element') return null;
    const { className } = node.properties;
    return (
      <span key={index} className={Array.isArray(className) ? className.join(' ') : undefined}>
        {nodes(node.children)}
      </span>
    );
  });
}
