import { useCallback, useMemo, useRef, useState } from 'react';
import type { FileIn } from '../api/types';
import { chat, dismiss, isBusy, open, send } from '../chat/chat';
import { useStore } from '../chat/store';
import { childrenOf, pathTo } from '../chat/tree';
import { useWords } from '../i18n';
import { Verbatim } from '../markdown/Verbatim';
import { navigate } from '../router';
import { Composer, type ComposerHandle } from './Composer';
import { Greeting, Starters } from './EmptyState';
import { explain } from './errors';
import { AlertIcon, CloseIcon, DownIcon } from './icons';
import { Answer, Question, Waiting } from './Message';
import { useStick } from './useStick';

/** Messages shown at first: more are one click away, and cost nothing until then. */
const SHOWN = 60;

export function Conversation() {
  const words = useWords();
  const { t } = words;
  const openId = useStore(chat, (value) => value.openId);
  const opening = useStore(chat, (value) => value.opening);
  const messages = useStore(chat, (value) => value.messages);
  const headId = useStore(chat, (value) => value.headId);
  const pending = useStore(chat, (value) => value.pending);
  const notice = useStore(chat, (value) => value.notice);
  const busy = useStore(chat, isBusy);

  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const composer = useRef<ComposerHandle>(null);
  const { atEnd, toEnd } = useStick(scroller, content);
  const [limit, setLimit] = useState(SHOWN);

  const path = useMemo(() => pathTo(messages, pending ? pending.parentId : headId), [messages, headId, pending]);
  const children = useMemo(() => childrenOf(messages), [messages]);

  const ask = useCallback(
    async (text: string, parentId?: string | null, files?: readonly FileIn[]) => {
      toEnd();
      const sent = await send(text, parentId, (id) => navigate(id, true), files);
      if (sent) toEnd();
      return sent;
    },
    [toEnd],
  );

  if (opening === 'missing' || opening === 'away') {
    const missing = opening === 'missing';
    return (
      <div className="conversation" data-empty="true">
        <div className="page" role="alert">
          <h2>{t(missing ? 'thread.missing_title' : 'away.title')}</h2>
          <p>{t(missing ? 'thread.missing_body' : 'away.body')}</p>
          <button
            type="button"
            className="button primary"
            onClick={() => (missing ? navigate(null) : void open(openId))}
          >
            {t(missing ? 'nav.new' : 'action.retry')}
          </button>
        </div>
      </div>
    );
  }

  const empty = opening === 'no' && path.length === 0 && !pending;
  return (
    <div className="conversation" data-empty={empty}>
      <div className="scroll" ref={scroller}>
        <div className="column" ref={content} aria-busy={opening === 'loading'}>
          {empty && <Greeting />}
          {opening === 'loading' && <p className="sr-only">{t('thread.loading')}</p>}
          {path.length > limit && (
            <button type="button" className="button quiet" onClick={() => setLimit(limit + 2 * SHOWN)}>
              {t('thread.earlier')}
            </button>
          )}
          {path.slice(-limit).map((message) => {
            const versions = children.get(message.parent_id) ?? [message];
            return message.role === 'user' ? (
              <Question key={message.id} message={message} versions={versions} busy={busy} ask={ask} />
            ) : (
              <Answer
                key={message.id}
                message={message}
                versions={versions}
                busy={busy}
                last={message.id === headId}
                ask={ask}
              />
            );
          })}
          {pending?.content !== undefined && (
            <article className="message user" aria-label={t('message.user')}>
              <div className="bubble" dir="auto">
                <Verbatim text={pending.content} />
              </div>
            </article>
          )}
          {pending && (
            <article className="message assistant" aria-label={t('message.assistant')}>
              <Waiting />
            </article>
          )}
        </div>
      </div>
      <div className="dock">
        {!atEnd && (
          <button
            type="button"
            className="latest"
            aria-label={t('action.latest')}
            title={t('action.latest')}
            onClick={() => toEnd(true)}
          >
            <DownIcon />
          </button>
        )}
        {notice && (
          <div className="notice" role="alert">
            <AlertIcon />
            <p>{explain(notice, words)}</p>
            <button
              type="button"
              className="tool"
              aria-label={t('action.dismiss')}
              title={t('action.dismiss')}
              onClick={dismiss}
            >
              <CloseIcon />
            </button>
          </div>
        )}
        <Composer ref={composer} threadId={openId} busy={busy} onSend={(text, files) => ask(text, undefined, files)} />
        {!empty && <p className="hint">{t('composer.hint')}</p>}
      </div>
      {empty && <Starters onChoose={(text) => composer.current?.fill(text)} />}
    </div>
  );
}
