import { type KeyboardEvent, type Ref, useEffect, useImperativeHandle, useLayoutEffect, useRef, useState } from 'react';
import { packed } from '../api/files';
import type { FileIn } from '../api/types';
import { chat, stop, type Way } from '../chat/chat';
import { useStore } from '../chat/store';
import { useWords } from '../i18n';
import { drafts } from '../prefs';
import { BookIcon, ClipIcon, CloseIcon, GlobeIcon, SendIcon, StopIcon, ToolsIcon } from './icons';

export interface ComposerHandle {
  /** Begin with `text` and put the cursor where it goes on. */
  fill(text: string): void;
}

interface Props {
  ref: Ref<ComposerHandle>;
  threadId: string | null;
  busy: boolean;
  /** False when it could not be sent. */
  onSend: (text: string, files: readonly FileIn[]) => Promise<boolean>;
}

const WAYS = [
  { way: 'search', Icon: GlobeIcon },
  { way: 'documents', Icon: BookIcon },
  { way: 'tools', Icon: ToolsIcon },
] as const;

export function Composer({ ref, threadId, busy, onSend }: Props) {
  const { t } = useWords();
  const field = useRef<HTMLTextAreaElement>(null);
  const [text, setText] = useState(() => drafts.get(threadId));
  const [files, setFiles] = useState<readonly File[]>([]);
  const [dropping, setDropping] = useState(false);
  const picker = useRef<HTMLInputElement>(null);
  const way = useStore(chat, (value) => value.way);
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
    setFiles([]);
    if (await onSend(value, await Promise.all(files.map(packed)))) return;
    // Not sent: the text comes back, unless something else was begun meanwhile.
    setText((now) => now || value);
    setFiles((now) => (now.length ? now : files));
    drafts.set(chat.get().openId, value);
  };

  /** Files are for the programs of an answer, so that adding some switches the tools on. */
  const attach = (added: readonly File[]) => {
    if (!added.length) return;
    setFiles((now) => [...now.filter(({ name }) => !added.some((file) => file.name === name)), ...added]);
    chat.set({ way: 'tools' });
    field.current?.focus();
  };

  const choose = (chosen: Way) => {
    const next = chosen === way ? 'chat' : chosen;
    chat.set({ way: next });
    if (next !== 'tools') setFiles([]);
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
      data-dropping={dropping}
      onDragOver={(event) => {
        if (!event.dataTransfer.types.includes('Files')) return;
        event.preventDefault();
        setDropping(true);
      }}
      onDragLeave={() => setDropping(false)}
      onDrop={(event) => {
        setDropping(false);
        if (!event.dataTransfer.files.length) return;
        event.preventDefault();
        attach([...event.dataTransfer.files]);
      }}
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
      {files.length > 0 && (
        <ul className="attached" aria-label={t('composer.files')}>
          {files.map((file) => (
            <li key={file.name}>
              <span dir="auto">{file.name}</span>
              <button
                type="button"
                className="tool"
                aria-label={t('skill.remove', { name: file.name })}
                onClick={() => {
                  setFiles(files.filter((one) => one !== file));
                  field.current?.focus();
                }}
              >
                <CloseIcon />
              </button>
            </li>
          ))}
        </ul>
      )}
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
        onPaste={(event) => {
          // A table copied from a spreadsheet is text and a picture of it: the text is meant.
          if (event.clipboardData.types.includes('text/plain') || !event.clipboardData.files.length) return;
          event.preventDefault();
          attach([...event.clipboardData.files]);
        }}
      />
      <fieldset className="composer-bar" aria-label={t('composer.ways')}>
        <input
          ref={picker}
          type="file"
          multiple
          hidden
          onChange={(event) => {
            const added = [...(event.target.files ?? [])];
            event.target.value = '';
            attach(added);
          }}
        />
        <button
          type="button"
          className="tool"
          aria-label={t('composer.attach')}
          title={t('composer.attach')}
          onClick={() => picker.current?.click()}
        >
          <ClipIcon />
        </button>
        {WAYS.map(({ way: one, Icon }) => (
          <button
            key={one}
            type="button"
            className="way"
            aria-pressed={way === one}
            aria-label={t(`composer.way_${one}`)}
            title={t(`composer.hint_${one}`)}
            onClick={() => choose(one)}
          >
            <Icon />
            <span>{t(`composer.way_${one}`)}</span>
          </button>
        ))}
      </fieldset>
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
