// A form out of the JSON schema of a skill's input: one field for each property whose words we have.

import { packed } from '../api/files';
import { catalogues, type Key } from '../i18n';

export type Kind = 'line' | 'text' | 'code' | 'choice' | 'check' | 'number' | 'file' | 'files';

export interface Field {
  name: string;
  kind: Kind;
  label: Key;
  /** What stands in the field while it is empty. */
  hint: Key | null;
  rows: number;
  required: boolean;
  choices: string[];
  /** What is often written there; anything else may be. */
  suggestions: 'languages' | 'code_languages' | null;
  initial: string | boolean;
}

interface Property {
  type?: string;
  enum?: string[];
  maxLength?: number;
  default?: unknown;
  $ref?: string;
  items?: Property;
  anyOf?: Property[];
}

/** Longer texts get a field of several lines. */
const LINE = 2000;
const LANGUAGES = ['to', 'source', 'language', 'target'];
const CODE = ['code', 'tests', 'error', 'bench'];
/** What is worked on gets the most room. */
const MAIN = ['text', 'code', 'task'];

export function fieldsOf(schema: unknown, skill = ''): Field[] {
  const code = skill.startsWith('code-');
  const { properties = {}, required = [] } = schema as {
    properties?: Record<string, Property>;
    required?: string[];
  };
  const fields: Field[] = [];
  for (const [name, given] of Object.entries(properties)) {
    const key = code && name === 'language' ? 'code_language' : name;
    const label = `skill.field_${key}`;
    if (!(label in catalogues.en)) continue;
    const hint = `skill.hint_${key}`;
    const property = given.anyOf?.find(({ type }) => type !== 'null') ?? given;
    const initial = given.default;
    fields.push({
      name,
      kind: kindOf(name, property),
      label: label as Key,
      hint: hint in catalogues.en ? (hint as Key) : null,
      rows: MAIN.includes(name) ? 6 : 2,
      required: required.includes(name),
      choices: property.enum ?? [],
      suggestions: LANGUAGES.includes(name) ? (code ? 'code_languages' : 'languages') : null,
      initial: typeof initial === 'boolean' ? initial : initial == null ? '' : String(initial),
    });
  }
  return fields;
}

function kindOf(name: string, property: Property): Kind {
  if (property.enum) return 'choice';
  if (property.$ref) return 'file';
  if (property.items?.$ref) return 'files';
  if (property.type === 'boolean') return 'check';
  if (property.type === 'integer' || property.type === 'number') return 'number';
  if ((property.maxLength ?? 0) <= LINE) return 'line';
  return CODE.includes(name) ? 'code' : 'text';
}

export type Values = Record<string, string | boolean | File[]>;

/** The request's body: what was left empty is left out. */
export async function bodyOf(fields: readonly Field[], values: Values): Promise<Record<string, unknown>> {
  const body: Record<string, unknown> = {};
  for (const { name, kind } of fields) {
    const value = values[name];
    if (Array.isArray(value)) {
      const files = await Promise.all(value.map(packed));
      if (files.length) body[name] = kind === 'file' ? files[0] : files;
    } else if (value !== '' && value !== undefined) body[name] = kind === 'number' ? Number(value) : value;
  }
  return body;
}
