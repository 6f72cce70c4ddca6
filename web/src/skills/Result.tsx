// A result: whether it was verified, what was checked, the answer, and what it rests on.

import type { SkillRun, Source } from '../api/types';
import { catalogues, type Key, useWords, type Words } from '../i18n';
import { Markdown } from '../markdown/Markdown';
import { Verbatim } from '../markdown/Verbatim';
import { CopyButton } from '../ui/CopyButton';
import { explainCode } from '../ui/errors';
import { Sources } from './Sources';

interface Check {
  name: string;
  passed: boolean;
  detail: string;
}

/** What the page reads of every skill's result; each has more fields of its own. */
interface Result {
  answer: string;
  verified: boolean;
  checks: Check[];
  note: string;
  seconds: number;
  model: string;
  usage: { prompt_tokens: number; completion_tokens: number };
  language?: string;
  diff?: string;
  /** Of a fix: path to new text. */
  files?: Record<string, string>;
  speedup?: number;
  interval?: [number, number];
  tests?: string;
  transcript?: Step[];
  sources?: Source[];
}

/** One run of a program: what was tried, and what came of it. */
interface Step {
  attempt: string;
  command: string;
  passed: number;
  failed: number;
  output: string;
}

const CODE_ANSWERS = ['code-write', 'code-fix', 'code-optimize', 'code-translate'];

export function ResultView({ run }: { run: SkillRun }) {
  const words = useWords();
  const { t } = words;
  const result = run.result as unknown as Result | null;
  if (!result)
    return (
      <p className="state" data-status={run.status} role="status">
        {t(run.status === 'stopped' ? 'skill.stopped' : 'skill.failed')}
        {explainCode(run.error_code, words) && <small>{explainCode(run.error_code, words)}</small>}
        {run.error && (
          <small lang="en" dir="auto">
            {run.error}
          </small>
        )}
      </p>
    );
  const failed = result.checks.filter((check) => !check.passed);
  const passed = result.checks.length - failed.length;
  return (
    <section className="skill-result" aria-label={t('skill.result')}>
      <p className="verdict" data-verified={result.verified} role="status">
        {t(result.verified ? 'skill.verified' : 'skill.unverified')}
      </p>
      {result.speedup !== undefined && result.speedup > 1 && result.interval && (
        <p>{t('skill.speedup', { times: result.speedup, from: result.interval[0], to: result.interval[1] })}</p>
      )}
      <div className="skill-answer" dir="auto">
        <Answer skill={run.skill} result={result} />
      </div>
      {(run.file_name || result.files) && (
        <ul className="files" aria-label={t('skill.files')}>
          {run.file_name && <Download name={run.file_name} href={`/api/skills/runs/${run.id}/file`} />}
          {Object.entries(result.files ?? {}).map(([path, text]) => (
            <Download key={path} name={path} href={`data:application/octet-stream,${encodeURIComponent(text)}`} />
          ))}
        </ul>
      )}
      <div className="tools" data-last="true">
        {!CODE_ANSWERS.includes(run.skill) && <CopyButton text={result.answer} label={t('action.copy')} />}
        <small className="usage">
          {[
            result.model,
            t('usage.tokens', { count: result.usage.completion_tokens }),
            t('skill.seconds', { count: result.seconds }),
          ].join(' · ')}
        </small>
      </div>
      {result.note && (
        <p className="soft" dir="auto">
          {result.note}
        </p>
      )}
      {result.sources && result.sources.length > 0 && <Sources sources={result.sources} />}
      <details open={failed.length > 0}>
        <summary>{t('skill.checks', { passed, count: result.checks.length })}</summary>
        <ul className="checks">
          {result.checks.map((check, index) => (
            <li key={index} data-passed={check.passed}>
              <span className="sr-only">{t(check.passed ? 'skill.passed' : 'skill.not_passed')}</span>
              {nameOf(check, words)}
              {check.detail && (
                <small dir="auto">
                  {check.passed && check.name === 'supported'
                    ? t('skill.left_out', { text: check.detail })
                    : check.detail}
                </small>
              )}
            </li>
          ))}
        </ul>
      </details>
      {result.diff !== result.answer && <More title={t('skill.diff')} text={result.diff} language="diff" open />}
      {run.skill !== 'code-fix' && (
        <More title={t('skill.tests')} text={result.tests} language={result.language ?? ''} />
      )}
      {result.transcript && result.transcript.length > 0 && <Transcript steps={result.transcript} />}
    </section>
  );
}

function Answer({ skill, result }: { skill: string; result: Result }) {
  const language = result.answer === result.diff ? 'diff' : (result.language ?? '');
  if (CODE_ANSWERS.includes(skill)) return <Fenced text={result.answer} language={language} />;
  if (skill === 'translate') return <Verbatim text={result.answer} />;
  return <Markdown text={result.answer} live={false} />;
}

/** What a check looked at, in words; one that is newer than the words has its name. */
function nameOf({ name }: Check, { t }: Words): string {
  const key = `skill.check_${name}`;
  return key in catalogues.en ? t(key as Key) : name.replaceAll('_', ' ');
}

function Download({ name, href }: { name: string; href: string }) {
  const { t } = useWords();
  return (
    <li>
      <a className="button" href={href} download={name.split('/').at(-1)}>
        {t('skill.download', { name })}
      </a>
    </li>
  );
}

function More(props: { title: string; text: string | undefined; language: string; open?: boolean }) {
  const { title, text, language, open = false } = props;
  if (!text) return null;
  return (
    <details open={open}>
      <summary>{title}</summary>
      <Fenced text={text} language={language} />
    </details>
  );
}

/** `text` as a block of code; the fence is longer than any within. */
function Fenced({ text, language }: { text: string; language: string }) {
  const fence = '`'.repeat(Math.max(3, ...(text.match(/`+/g) ?? []).map((run) => run.length + 1)));
  return <Markdown text={`${fence}${language}\n${text.replace(/\n$/, '')}\n${fence}`} live={false} />;
}

function Transcript({ steps }: { steps: readonly Step[] }) {
  const { t } = useWords();
  return (
    <details>
      <summary>{t('skill.transcript')}</summary>
      <ol className="transcript">
        {steps.map(({ attempt, command, passed, failed, output }, index) => (
          <li key={index}>
            {attempt} · <code>{command}</code> · {t('skill.ran', { passed, failed })}
            {output && <pre dir="auto">{output}</pre>}
          </li>
        ))}
      </ol>
    </details>
  );
}
