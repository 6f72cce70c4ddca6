// A form out of the JSON schema of a skill's input: one field for each property whose words we have.

import { catalogues, type Key } from '../i18n';

export type Kind = 'line' | 'text' | 'code' | 'choice' | 'check' | 'number' | 'file' | 'files';

export interface Field {
  name: string;
  kind: Kind;
  label: Key;
  required: boolean;
  choices: string[];
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
const LINE = 1000;
const CODE = ['code', 'tests', 'error', 'bench'];

export function fieldsOf(schema: unknown): Field[] {
  const { properties = {}, required = [] } = schema as {
    properties?: Record<string, Property>;
    required?: string[];
  };
  const fields: Field[] = [];
  for (const [name, given] of Object.entries(properties)) {
    const label = `skill.field_${name}`;
    if (!(label in catalogues.en)) continue;
    const property = given.anyOf?.find(({ type }) => type !== 'null') ?? given;
    const initial = given.default;
    fields.push({
      name,
      kind: kindOf(name, property),
      label: label as Key,
      required: required.includes(name),
      choices: property.enum ?? [],
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
      const files = await Promise.all(value.map(asFile));
      if (files.length) body[name] = kind === 'file' ? files[0] : files;
    } else if (value !== '' && value !== undefined) body[name] = kind === 'number' ? Number(value) : value;
  }
  return body;
}

async function asFile(file: File): Promise<{ name: string; content_base64: string }> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = '';
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return { name: file.name, content_base64: btoa(text) };
}
