import { expect, test } from 'vitest';
import type { SkillRun } from '../src/api/types';
import { setLanguage } from '../src/prefs';
import { bodyOf, fieldsOf } from '../src/skills/form';
import { ResultView } from '../src/skills/Result';
import { Sources } from '../src/skills/Sources';
import { render } from './dom';

const FILE = { $ref: '#/$defs/FileIn' };
const SCHEMA = {
  properties: {
    model: { type: 'string', default: '' },
    text: { type: 'string', maxLength: 10_000_000 },
    to: { type: 'string', maxLength: 200 },
    code: { type: 'string', maxLength: 10_000_000 },
    length: { enum: ['short', 'medium'], default: 'medium', type: 'string' },
    file: { anyOf: [FILE, { type: 'null' }], default: null },
    files: { type: 'array', items: FILE, default: [] },
  },
  required: ['to'],
};

test('a form has a field for each property that has words', () => {
  const fields = fieldsOf(SCHEMA);
  expect(fields.map(({ name, kind }) => `${name} ${kind}`)).toEqual([
    'text text',
    'to line',
    'code code',
    'length choice',
    'file file',
    'files files',
  ]);
  expect(fields.filter(({ required }) => required).map(({ name }) => name)).toEqual(['to']);
  expect(fields.find(({ name }) => name === 'length')?.initial).toBe('medium');
});

test('what was left empty is left out, files become base64', async () => {
  const fields = fieldsOf(SCHEMA);
  const body = await bodyOf(fields, { text: 'é', to: '', files: [new File([new Uint8Array([0, 255])], 'a.bin')] });
  expect(body).toEqual({ text: 'é', files: [{ name: 'a.bin', content_base64: 'AP8=' }] });
  expect(await bodyOf(fields, { file: [new File(['hi'], 'b.txt')] })).toEqual({
    file: { name: 'b.txt', content_base64: 'aGk=' },
  });
});

const RUN: SkillRun = {
  id: 'skill_1',
  skill: 'code-write',
  status: 'complete',
  error: '',
  error_code: '',
  created_at: '2026-01-01T00:00:00.000Z',
  finished_at: null,
  input: {},
  file_name: null,
  result: {
    answer: 'print("<b>hi</b>")\n```\n',
    verified: true,
    checks: [
      { name: 'tests_pass', passed: true, detail: '' },
      { name: 'syntax', passed: false, detail: 'line 1' },
    ],
    note: '',
    seconds: 2,
    model: 'm',
    usage: { prompt_tokens: 1, completion_tokens: 2 },
    language: 'python',
    diff: '-a\n+b',
    transcript: [{ attempt: 'before', command: 'pytest', passed: 3, failed: 1, output: 'assert' }],
  },
};

test('a result says whether it was verified, and shows its checks, changes and runs', async () => {
  setLanguage('en');
  const { box, again } = await render(<ResultView run={RUN} />);
  expect(box.querySelector('.verdict')?.textContent).toMatch(/^Verified/);
  expect(box.querySelector('.skill-answer pre')?.textContent).toContain('print("<b>hi</b>")\n```');
  expect(box.querySelector('b')).toBeNull();
  expect(box.textContent).toContain('Checks: 1 of 2 passed');
  expect(box.textContent).toContain('+b');
  expect(box.querySelector('.transcript')?.textContent).toBe('before · pytest · 3 passed, 1 failedassert');
  await again(<ResultView run={{ ...RUN, result: { ...RUN.result, verified: false } }} />);
  expect(box.querySelector('.verdict')?.getAttribute('data-verified')).toBe('false');
  await again(<ResultView run={{ ...RUN, result: null, status: 'failed', error: 'no model' }} />);
  expect(box.textContent).toContain('no model');
});

test('sources lead to web pages alone, and their passages are text', async () => {
  const source = { id: 2, text: '<img src=x>', title: 'T', page: 3, section: 'S', document_id: '', position: null };
  const { box, again } = await render(<Sources sources={[{ ...source, url: 'https://a.example/' }]} />);
  expect(box.querySelector('li')?.value).toBe(2);
  expect(box.querySelector('summary')?.textContent).toBe('T · S · page 3');
  expect(box.querySelector('img')).toBeNull();
  expect(box.querySelector('a')?.rel).toBe('noopener noreferrer');
  await again(<Sources sources={[{ ...source, url: 'javascript:alert(1)' }]} />);
  expect(box.querySelector('a')).toBeNull();
});
