// A result: whether it was verified, what was checked, the answer, and what it rests on.

import type { SkillRun, Source } from '../api/types';
import { useWords } from '../i18n';
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
  tests?: string;
  transcript?: unknown[];
  sources?: Source[];
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
      <div className="skill-answer" dir="auto">
        <Answer skill={run.skill} result={result} />
      </div>
      <div className="tools">
        <CopyButton text={result.answer} label={t('action.copy')} />
        <small className="usage">
          {[
            result.model,
            t('usage.tokens', { count: result.usage.completion_tokens }),
            t('skill.seconds', { count: result.seconds }),
          ].join(' · ')}
        </small>
      </div>
      {result.note && <p dir="auto">{result.note}</p>}
      {result.sources && result.sources.length > 0 && <Sources sources={result.sources} />}
      <details open={failed.length > 0}>
        <summary>{t('skill.checks', { passed, count: result.checks.length })}</summary>
        <ul className="checks">
          {result.checks.map((check, index) => (
            <li key={index} data-passed={check.passed}>
              <span className="sr-only">{t(check.passed ? 'skill.check_passed' : 'skill.check_failed')}</span>
              {check.name.replaceAll('_', ' ')}
              {check.detail && <small>{check.detail}</small>}
            </li>
          ))}
        </ul>
      </details>
      <More title={t('skill.diff')} text={result.diff} language="diff" />
      <More title={t('skill.tests')} text={result.tests} language={result.language ?? ''} />
      <More title={t('skill.transcript')} text={transcript(result.transcript)} language="" />
    </section>
  );
}

function Answer({ skill, result }: { skill: string; result: Result }) {
  if (CODE_ANSWERS.includes(skill)) return <Fenced text={result.answer} language={result.language ?? ''} />;
  if (skill === 'translate') return <Verbatim text={result.answer} />;
  return <Markdown text={result.answer} live={false} />;
}

function More({ title, text, language }: { title: string; text: string | undefined; language: string }) {
  if (!text) return null;
  return (
    <details>
      <summary>{title}</summary>
      <Fenced text={text} language={language} />
    </details>
  );
}

/** `text` as a block of code; the fence is longer than any within. */
function Fenced({ text, language }: { text: string; language: string }) {
  const fence = '`'.repeat(Math.max(3, ...(text.match(/`+/g) ?? []).map((run) => run.length + 1)));
  return <Markdown text={`${fence}${language}\n${text}\n${fence}`} live={false} />;
}

/** Each run as one line: what was tried, what was run, what came of it. */
function transcript(steps: unknown[] | undefined): string {
  return (steps ?? [])
    .map((step) =>
      Object.entries(step as Record<string, unknown>)
        .filter(([, value]) => value !== '' && value !== null)
        .map(([name, value]) => `${name}: ${typeof value === 'object' ? JSON.stringify(value) : value}`)
        .join('\n'),
    )
    .join('\n\n');
}
