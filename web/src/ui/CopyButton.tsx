import { useEffect, useState } from 'react';
import { useWords } from '../i18n';
import { CheckIcon, CopyIcon } from './icons';

export function CopyButton({ text, label }: { text: string; label: string }) {
  const { t } = useWords();
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), 1800);
    return () => clearTimeout(timer);
  }, [copied]);
  const name = copied ? t('action.copied') : label;
  return (
    <button
      type="button"
      className="tool"
      aria-label={name}
      title={name}
      onClick={async () => setCopied(await copy(text))}
    >
      {copied ? <CheckIcon /> : <CopyIcon />}
    </button>
  );
}

/** The clipboard's own interface exists on secure origins only; a selection works on any. */
async function copy(text: string): Promise<boolean> {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Refused: the other way.
    }
  }
  const field = document.createElement('textarea');
  field.value = text;
  field.className = 'sr-only';
  const before = document.activeElement;
  (document.querySelector('dialog[open]') ?? document.body).append(field);
  field.select();
  const done = document.execCommand('copy');
  field.remove();
  if (before instanceof HTMLElement) before.focus();
  return done;
}
