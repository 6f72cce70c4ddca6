// Names for what the server's OpenAPI document describes (`npm run api` makes `schema.d.ts` of it).

import type { components } from './schema';

type Schemas = components['schemas'];

export type Message = Schemas['Message'];
export type ModelInfo = Schemas['ModelInfo'];
export type Run = Schemas['Run'];
export type RunIn = Partial<Schemas['RunIn']>;
export type RunStarted = Schemas['RunStarted'];
export type State = Schemas['State'];
export type Thread = Schemas['Thread'];
export type ThreadPage = Schemas['ThreadPage'];
export type ThreadPatch = Schemas['ThreadPatch'];
export type ThreadWithMessages = Schemas['ThreadWithMessages'];
export type Usage = NonNullable<Message['usage']>;

/** Bodies of server-sent events; a `delta` carries only what it adds to. */
export type SkillRun = Schemas['SkillRun'];
export type SkillInfo = Schemas['SkillOut'];
export type Source = Schemas['Source'];
export type Document = Schemas['Document'];
export type Passage = Schemas['Passage'];
export type FileOut = Schemas['FileOut'];
export type FileIn = Schemas['FileIn'];

/** Event `snapshot` of a skill: everything so far. */
export interface SkillSnapshot {
  step: string;
  parts: { done: number; total: number } | null;
  text: string;
  partials: unknown[];
}
export type Step = Schemas['Step'];
export type Snapshot = Schemas['Snapshot'];
export type Delta = Partial<Schemas['Delta']>;
export type Done = Schemas['Done'];
