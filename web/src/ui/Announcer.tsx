import { useEffect, useState } from 'react';
import { chat, isBusy } from '../chat/chat';
import { useStore } from '../chat/store';
import { useWords } from '../i18n';

/** Longest answer, in characters, that is read out by itself. */
const LONGEST = 1500;

/** Tells screen readers what others see: that an answer began, and the whole of it once it is there. */
export function Announcer() {
  const { t } = useWords();
  const busy = useStore(chat, isBusy);
  const ended = useStore(chat, (value) => value.ended);
  const [text, setText] = useState('');
  useEffect(() => {
    if (busy) setText(t('live.started'));
    else if (!ended) setText('');
    else if (ended.status === 'complete') setText(t('live.finished', { text: ended.content.slice(0, LONGEST) }));
    else setText(t(ended.status === 'stopped' ? 'live.stopped' : 'live.failed'));
  }, [busy, ended, t]);
  return (
    <div className="sr-only" role="status" aria-live="polite">
      {text}
    </div>
  );
}
