import { type KeyboardEvent, type Ref, useEffect, useImperativeHandle, useLayoutEffect, useRef, useState } from 'react';
import type { Mode } from '../api/types';
import { chat, stop } from '../chat/chat';
import { useStore } from '../chat/store';
import { useWords } from '../i18n';
import { drafts } from '../prefs';
import { SendIcon, StopIcon } from './icons';

export interface ComposerHandle {
  /** Begin with `text` and put the cursor where it goes on. */
  fill(text: string): void;
}

interface Props {
  ref: Ref<ComposerHandle>;
  threadId: string | null;
  busy: boolean;
  /** False when it could not be sent. */
  onSend: (text: string, mode: Mode) => Promise<boolean>;
}

const MODES = ['chat', 'search', 'documents'] as const;

export function Composer({ ref, threadId, busy, onSend }: Props) {
  const { t } = useWords();
  const field = useRef<HTMLTextAreaElement>(null);
  const [text, setText] = useState(() => drafts.get(threadId));
  const [mode, setMode] = useState<Mode>('chat');
  const noModel = useStore(chat, ({ server }) => server !== null && server.models.length === 0);
  const ready = !busy && !noModel && text.trim() !== '';

  const change = (value: string) => {
    setText(value);
    drafts.set(threadId, value);
  };

  useGrowing(field, text);

  useEffect(() => {
    // Where a keyboard would not come up over half the screen.
    if (matchMedia('(pointer: fine)').matches) field.current?.focus();
  }, []);

  useImperativeHandle(ref, () => ({
    fill(value) {
      setText(value);
      drafts.set(threadId, value);
      requestAnimationFrame(() => {
        const at = value.endsWith('\n```') ? value.length - 4 : value.length;
        field.current?.focus();
        field.current?.setSelectionRange(at, at);
      });
    },
  }));

  const submit = async () => {
    if (!ready) return;
    const value = text;
    change('');
    if (await onSend(value, mode)) return;
    // Not sent: the text comes back, unless something else was begun meanwhile.
    setText((now) => now || value);
    drafts.set(chat.get().openId, value);
  };

  const onKeyDown = (event: KeyboardEvent) => {
    // Enter also ends the writing of a character in Japanese, Chinese, Korean; Safari says so by 229 only.
    if (event.key !== 'Enter' || event.shiftKey || event.nativeEvent.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    void submit();
  };

  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
      onPointerDown={(event) => {
        if (event.target !== event.currentTarget) return;
        event.preventDefault();
        field.current?.focus();
      }}
    >
      <select
        className="mode"
        aria-label={t('composer.mode')}
        value={mode}
        onChange={(event) => setMode(event.target.value as Mode)}
      >
        {MODES.map((value) => (
          <option key={value} value={value}>
            {t(`composer.mode_${value}`)}
          </option>
        ))}
      </select>
      <textarea
        ref={field}
        id="message"
        rows={1}
        dir="auto"
        enterKeyHint="send"
        aria-label={t('composer.label')}
        placeholder={t(noModel ? 'composer.no_model' : 'composer.placeholder')}
        value={text}
        onChange={(event) => change(event.target.value)}
        onKeyDown={onKeyDown}
      />
      {busy ? (
        <button
          type="button"
          className="send"
          aria-label={t('action.stop')}
          title={t('action.stop')}
          onClick={() => {
            field.current?.focus(); // this button is about to go
            void stop();
          }}
        >
          <StopIcon />
        </button>
      ) : (
        <button type="submit" className="send" aria-label={t('action.send')} title={t('action.send')} disabled={!ready}>
          <SendIcon />
        </button>
      )}
    </form>
  );
}

/** Make a field as high as its text; the style sheet limits it. */
export function useGrowing(field: React.RefObject<HTMLTextAreaElement | null>, text: string): void {
  // biome-ignore lint/correctness/useExhaustiveDependencies: the height follows the text
  useLayoutEffect(() => {
    const box = field.current;
    if (!box) return;
    box.style.height = 'auto';
    box.style.height = `${box.scrollHeight}px`;
  }, [field, text]);
}
