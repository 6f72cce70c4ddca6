// The page of a skill: a form, what is being done, the result with what was checked.

import { useEffect, useId, useRef, useState } from 'react';
import { ApiError, api, randomKey } from '../api/client';
import { followSkill } from '../api/follow';
import type { SkillInfo, SkillRun } from '../api/types';
import { chat, modelOf } from '../chat/chat';
import { useWords } from '../i18n';
import { prefs } from '../prefs';
import type { SkillPageName } from '../router';
import { explain } from '../ui/errors';
import { Documents } from './Documents';
import { bodyOf, type Field, fieldsOf, type Values } from './form';
import { ResultView } from './Result';

/** The skills that share a page have names that begin with the page's. */
const belongs = (page: SkillPageName, name: string) => name === page || name.startsWith(`${page}-`);

export default function SkillPage({ page }: { page: SkillPageName }) {
  const words = useWords();
  const { t } = words;
  const [skills, setSkills] = useState<SkillInfo[] | null>(null);
  const [failure, setFailure] = useState<ApiError | null>(null);
  const [name, setName] = useState('');
  useEffect(() => {
    api.skills().then((all) => setSkills(all.filter((skill) => belongs(page, skill.name))), setFailure);
  }, [page]);
  const skill = skills?.find((one) => one.name === name) ?? skills?.[0];
  return (
    <div className="scroll">
      <div className="column skill" aria-busy={!skills && !failure}>
        <div>
          <h2 className="skill-title">{t(`skill.${page}`)}</h2>
          <p className="soft">{t(`skill.about_${page}`)}</p>
        </div>
        {failure && <p role="alert">{explain(failure, words)}</p>}
        {page === 'documents' && <Documents />}
        {skills && skills.length > 1 && (
          <div className="skill-tabs" role="tablist" aria-label={t('skill.task')}>
            {skills.map((one) => (
              <button
                key={one.name}
                type="button"
                role="tab"
                className="button quiet"
                aria-selected={one === skill}
                onClick={() => setName(one.name)}
              >
                {t(`skill.task_${one.name.slice(page.length + 1)}` as 'skill.task_write')}
              </button>
            ))}
          </div>
        )}
        {skill && <Call key={skill.name} skill={skill} />}
      </div>
    </div>
  );
}

interface Progress {
  step: string;
  parts: { done: number; total: number } | null;
  text: string;
}

const NOTHING: Progress = { step: '', parts: null, text: '' };

function Call({ skill }: { skill: SkillInfo }) {
  const words = useWords();
  const { t } = words;
  const fields = fieldsOf(skill.input_schema, skill.name);
  const [values, setValues] = useState<Values>({});
  const [progress, setProgress] = useState(NOTHING);
  const [run, setRun] = useState<SkillRun | null>(null);
  const [failure, setFailure] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const control = useRef<AbortController | null>(null);
  useEffect(() => () => control.current?.abort(), []);

  const start = async () => {
    setBusy(true);
    setFailure(null);
    setRun(null);
    setProgress(NOTHING);
    const following = new AbortController();
    control.current = following;
    try {
      const initial = Object.fromEntries(fields.map((field) => [field.name, field.initial]));
      const model = modelOf(chat.get(), prefs.get().model);
      const body = { ...(await bodyOf(fields, { ...initial, ...values })), model };
      const started = await api.startSkill(skill.name, body, randomKey());
      setRun(started);
      await followSkill(
        started.id,
        {
          snapshot: ({ step, parts, text }) => setProgress({ step, parts, text }),
          step: ({ text }) => setProgress((old) => ({ ...old, step: text, text: '' })),
          parts: (parts) => setProgress((old) => ({ ...old, parts })),
          text: ({ text }) => setProgress((old) => ({ ...old, text: (old.text + text).slice(-2000) })),
          partial: () => {},
          done: setRun,
          connected: () => {},
          gone: setFailure,
        },
        following.signal,
      );
    } catch (error) {
      setFailure(error instanceof ApiError ? error : new ApiError(0, '', String(error)));
    }
    setBusy(false);
  };

  return (
    <>
      <form
        className="skill-form"
        onSubmit={(event) => {
          event.preventDefault();
          if (!busy) void start();
        }}
      >
        {fields.map((field) => (
          <Input
            key={field.name}
            field={field}
            value={values[field.name] ?? field.initial}
            onChange={(value) => setValues((old) => ({ ...old, [field.name]: value }))}
          />
        ))}
        <div className="ways-out">
          <button type="submit" className="button primary" disabled={busy}>
            {t('skill.start')}
          </button>
          {busy && run && (
            <button type="button" className="button" onClick={() => void api.stopSkill(run.id).catch(setFailure)}>
              {t('action.cancel')}
            </button>
          )}
        </div>
      </form>
      <div aria-live="polite">
        {busy && <ProgressView progress={progress} />}
        {failure && (
          <p className="state" data-status="failed" role="alert">
            {explain(failure, words)}
          </p>
        )}
      </div>
      {run && run.status !== 'running' && <ResultView run={run} />}
    </>
  );
}

function ProgressView({ progress: { step, parts, text } }: { progress: Progress }) {
  const { t } = useWords();
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => void box.current?.scrollIntoView({ block: 'nearest' }), []);
  return (
    <div className="skill-progress" ref={box}>
      <p className="waiting">
        <span className="pulse" aria-hidden="true" />
        {step || t('skill.working')}
      </p>
      {parts && parts.total > 1 && <progress value={parts.done} max={parts.total} aria-label={t('skill.working')} />}
      {text && (
        <pre dir="auto" aria-hidden="true">
          {text}
        </pre>
      )}
    </div>
  );
}

interface InputProps {
  field: Field;
  value: string | boolean | File[];
  onChange: (value: string | boolean | File[]) => void;
}

/** As people write them; the server knows more, and their names in English and French. */
const CODE_LANGUAGES = 'Python JavaScript TypeScript C C++ Rust Go Java Ruby PHP Shell SQL'.split(' ');
const LANGUAGES = 'ar bn cs da de el en es fi fr he hi hu id it ja ko nl no pl pt ro ru sv th tr uk vi zh'.split(' ');

function Suggestions({ id, of }: { id: string; of: NonNullable<Field['suggestions']> }) {
  const { language } = useWords();
  const names = new Intl.DisplayNames(language, { type: 'language' });
  const known = of === 'languages' ? LANGUAGES.map((code) => names.of(code) ?? code) : CODE_LANGUAGES;
  return (
    <datalist id={id}>
      {known.map((name) => (
        <option key={name}>{name}</option>
      ))}
    </datalist>
  );
}

function Input({
  field: { name, kind, label, hint, rows, required, choices, suggestions },
  value,
  onChange,
}: InputProps) {
  const { t } = useWords();
  const id = useId();
  const shared = { id, name, required };
  const placeholder = hint ? t(hint) : undefined;
  const text = typeof value === 'string' ? value : '';
  let input = (
    <>
      <input
        {...shared}
        list={suggestions ? `${id}-known` : undefined}
        type={name === 'url' ? 'url' : 'text'}
        value={text}
        placeholder={placeholder}
        dir="auto"
        onChange={(event) => onChange(event.target.value)}
      />
      {suggestions && <Suggestions id={`${id}-known`} of={suggestions} />}
    </>
  );
  if (kind === 'text' || kind === 'code')
    input = (
      <textarea
        {...shared}
        rows={rows}
        placeholder={placeholder}
        className={kind}
        spellCheck={kind === 'text'}
        dir={kind === 'text' ? 'auto' : 'ltr'}
        value={text}
        onChange={(event) => onChange(event.target.value)}
      />
    );
  else if (kind === 'choice')
    input = (
      <select {...shared} value={text} onChange={(event) => onChange(event.target.value)}>
        {choices.map((choice) => (
          <option key={choice} value={choice}>
            {t(`skill.choice_${choice || 'none'}` as 'skill.choice_none')}
          </option>
        ))}
      </select>
    );
  else if (kind === 'check')
    input = (
      <input
        id={id}
        name={name}
        type="checkbox"
        checked={value === true}
        onChange={(event) => onChange(event.target.checked)}
      />
    );
  else if (kind === 'number')
    input = <input {...shared} type="number" value={text} onChange={(event) => onChange(event.target.value)} />;
  else if (kind === 'file' || kind === 'files')
    input = (
      <input
        {...shared}
        type="file"
        multiple={kind === 'files'}
        onChange={(event) => onChange([...(event.target.files ?? [])])}
      />
    );
  return (
    <div className="skill-field" data-kind={kind}>
      <label htmlFor={id}>{t(label)}</label>
      {input}
    </div>
  );
}
