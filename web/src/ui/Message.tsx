import { memo, useRef, useState } from 'react';
import type { Message, Usage } from '../api/types';
import { chat, regenerate, showVersion } from '../chat/chat';
import { useStore } from '../chat/store';
import { useWords, type Words } from '../i18n';
import { Markdown } from '../markdown/Markdown';
import { Verbatim } from '../markdown/Verbatim';
import { Files, Sources } from '../skills/Sources';
import { useGrowing } from './Composer';
import { CopyButton } from './CopyButton';
import { explainCode } from './errors';
import { AgainIcon, ChevronIcon, EditIcon, LeftIcon, RightIcon } from './icons';

type Ask = (text: string, parentId?: string | null) => Promise<boolean>;

interface Props {
  message: Message;
  /** This one and its siblings, oldest first. */
  versions: readonly Message[];
  /** An answer is being written: nothing new can be asked. */
  busy: boolean;
  ask: Ask;
}

export const Question = memo(function Question({ message, versions, busy, ask }: Props) {
  const { t } = useWords();
  const [editing, setEditing] = useState(false);
  return (
    <article className="message user" aria-label={t('message.user')}>
      {editing ? (
        <Edit message={message} ask={ask} onDone={() => setEditing(false)} />
      ) : (
        <>
          <div className="bubble" dir="auto">
            <Verbatim text={message.content} />
          </div>
          {message.files && <Files files={message.files} />}
          <div className="tools">
            <Versions message={message} versions={versions} busy={busy} />
            <CopyButton text={message.content} label={t('action.copy')} />
            {!busy && (
              <button
                type="button"
                className="tool"
                aria-label={t('action.edit')}
                title={t('action.edit')}
                onClick={() => setEditing(true)}
              >
                <EditIcon />
              </button>
            )}
          </div>
        </>
      )}
    </article>
  );
});

function Edit({ message, ask, onDone }: { message: Message; ask: Ask; onDone: () => void }) {
  const { t } = useWords();
  const [text, setText] = useState(message.content);
  const field = useRef<HTMLTextAreaElement>(null);
  useGrowing(field, text);
  const submit = () => {
    const value = text.trim();
    if (!value) return;
    onDone();
    if (value !== message.content) void ask(value, message.parent_id);
  };
  return (
    <form
      className="edit"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <textarea
        ref={field}
        autoFocus
        rows={1}
        dir="auto"
        aria-label={t('composer.edit_label')}
        value={text}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          if (event.nativeEvent.isComposing) return;
          if (event.key === 'Escape') onDone();
          if (event.key !== 'Enter' || event.shiftKey || event.keyCode === 229) return;
          event.preventDefault();
          submit();
        }}
      />
      <div className="dialog-actions">
        <button type="button" className="button" onClick={onDone}>
          {t('action.cancel')}
        </button>
        <button type="submit" className="button primary" disabled={!text.trim()}>
          {t('action.send')}
        </button>
      </div>
    </form>
  );
}

interface AnswerProps extends Props {
  /** It ends what is shown. */
  last: boolean;
}

export const Answer = memo(function Answer({ message, versions, busy, last, ask }: AnswerProps) {
  const words = useWords();
  const { t } = words;
  const live = useStore(chat, (value) => value.live.get(message.id));
  const running = message.status === 'running';
  const { content, reasoning } = live ?? message;
  /** It was not finished, and nothing came after it: the ways on are spelled out. */
  const broken = last && !running && message.status !== 'complete';
  const again = () => message.parent_id && void regenerate(message.parent_id);
  return (
    <article className="message assistant" aria-label={t('message.assistant')} aria-busy={running}>
      {reasoning && <Reasoning text={reasoning} live={running && !content} />}
      {content ? (
        <Markdown text={content} live={running} />
      ) : (
        running && !reasoning && <Waiting model={message.model} step={live?.step} />
      )}
      {message.sources && <Sources sources={message.sources} />}
      {message.files && <Files files={message.files} />}
      {running && live && !live.connected && <p className="state">{t('message.reconnecting')}</p>}
      {!running && (
        <>
          <Outcome message={message} />
          {broken && (
            <div className="ways-out">
              {content && (
                <button
                  type="button"
                  className="button"
                  disabled={busy}
                  onClick={() => void ask(t('message.continue_prompt'))}
                >
                  {t('action.continue')}
                </button>
              )}
              <button type="button" className="button" disabled={busy} onClick={again}>
                {t('action.regenerate')}
              </button>
            </div>
          )}
          <div className="tools" data-last={last}>
            <Versions message={message} versions={versions} busy={busy} />
            {content && <CopyButton text={content} label={t('action.copy')} />}
            {!busy && !broken && (
              <button
                type="button"
                className="tool"
                aria-label={t('action.regenerate')}
                title={t('action.regenerate')}
                onClick={again}
              >
                <AgainIcon />
              </button>
            )}
            <UsageLine model={message.model} usage={message.usage} words={words} />
          </div>
        </>
      )}
    </article>
  );
});

/** Before the first word; says so when the model must be loaded first. */
export function Waiting({ model = '', step = '' }: { model?: string; step?: string | undefined }) {
  const { t } = useWords();
  const loading = useStore(chat, ({ server }) =>
    server?.models.some(({ id, state }) => id === model && state === 'loading'),
  );
  return (
    <p className="waiting">
      <span className="pulse" aria-hidden="true" />
      <span className={loading || step ? '' : 'sr-only'}>
        {loading ? t('message.loading_model', { model }) : step || t('message.thinking')}
      </span>
    </p>
  );
}

function Reasoning({ text, live }: { text: string; live: boolean }) {
  const { t } = useWords();
  return (
    <details className="reasoning">
      <summary>
        <ChevronIcon />
        {t(live ? 'message.reasoning_live' : 'message.reasoning')}
      </summary>
      <Markdown text={text} live={live} />
    </details>
  );
}

/** How an answer ended, unless all is well. */
function Outcome({ message }: { message: Message }) {
  const words = useWords();
  const { t } = words;
  const { status, content, error, error_code } = message;
  if (status === 'running' || (status === 'complete' && content)) return null;
  const text = status === 'complete' ? t('message.empty') : t(`message.${status}`);
  const known = explainCode(error_code, words);
  return (
    <p className="state" data-status={status}>
      {text}
      {known && <small>{known}</small>}
      {error && (
        <small lang="en" dir="auto">
          {error}
        </small>
      )}
    </p>
  );
}

function Versions({ message, versions, busy }: Pick<Props, 'message' | 'versions' | 'busy'>) {
  const { t } = useWords();
  if (versions.length < 2) return null;
  const index = versions.indexOf(message);
  const show = (at: number) => {
    const other = versions[at];
    if (other) void showVersion(other.id);
  };
  return (
    // biome-ignore lint/a11y/useSemanticElements: a group of buttons, no form
    <span className="versions" role="group" aria-label={t('message.versions')}>
      <button
        type="button"
        className="tool"
        aria-label={t('message.previous')}
        disabled={busy || index < 1}
        onClick={() => show(index - 1)}
      >
        <LeftIcon />
      </button>
      <span title={t('message.version', { index: index + 1, count: versions.length })}>
        {index + 1}/{versions.length}
      </span>
      <button
        type="button"
        className="tool"
        aria-label={t('message.next')}
        disabled={busy || index + 1 >= versions.length}
        onClick={() => show(index + 1)}
      >
        <RightIcon />
      </button>
    </span>
  );
}

function UsageLine({ model, usage, words: { t } }: { model: string; usage: Usage | null; words: Words }) {
  if (!usage) return model ? <small className="usage">{model}</small> : null;
  const details = [t('usage.prompt', { count: usage.prompt_tokens })];
  if (usage.ttft_ms !== null) details.push(t('usage.first', { seconds: usage.ttft_ms / 1000 }));
  const parts = [model, t('usage.tokens', { count: usage.completion_tokens })];
  if (usage.tokens_per_second !== null) parts.push(t('usage.speed', { speed: usage.tokens_per_second }));
  return (
    <small className="usage" title={details.join(', ')}>
      {parts.filter(Boolean).join(' · ')}
    </small>
  );
}
