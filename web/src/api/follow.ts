// Follow a run to its end: attach, take up again where the connection broke, give up only when the run is unknown.

import { type ApiError, errorOf } from './client';
import { readEvents } from './sse';
import type { Delta, Done, SkillRun, SkillSnapshot, Snapshot, Step } from './types';

export interface Connection {
  /** The connection was lost (`false`) or is back (`true`). */
  connected(yes: boolean): void;
  /** The server does not know the run (any more), or refuses to tell. */
  gone(error: ApiError): void;
}

export interface Follower extends Connection {
  snapshot(value: Snapshot): void;
  step?(value: Step): void;
  delta(value: Delta): void;
  done(value: Done): void;
}

export interface SkillFollower extends Connection {
  snapshot(value: SkillSnapshot): void;
  step(value: Step): void;
  parts(value: { done: number; total: number }): void;
  text(value: { text: string }): void;
  partial(value: unknown): void;
  done(value: SkillRun): void;
}

/** Longest silence in ms: the server sends a comment every 15 s, so that more means a dead connection. */
const SILENCE = 40_000;
const NAMES = new Set(['snapshot', 'step', 'delta', 'parts', 'text', 'partial', 'done']);
const FIRST_WAIT = 400;
const LONGEST_WAIT = 8_000;

/** Follow a chat answer. */
export const follow = (runId: string, to: Follower, signal: AbortSignal) => listen(`/runs/${at(runId)}`, to, signal);

/** Follow a call of a skill. */
export const followSkill = (runId: string, to: SkillFollower, signal: AbortSignal) =>
  listen(`/skills/runs/${at(runId)}`, to, signal);

const at = encodeURIComponent;

async function listen(path: string, to: Follower | SkillFollower, signal: AbortSignal): Promise<void> {
  const hear = to as unknown as Record<string, ((value: unknown) => void) | undefined>;
  let lastId = '';
  let failures = 0;
  while (!signal.aborted) {
    const attempt = new AbortController();
    const abort = () => attempt.abort();
    signal.addEventListener('abort', abort, { once: true });
    let timer = setTimeout(abort, SILENCE);
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(abort, SILENCE);
    };
    let ended = false;
    try {
      const headers: Record<string, string> = { accept: 'text/event-stream' };
      if (lastId) headers['last-event-id'] = lastId;
      const response = await fetch(`/api${path}/events`, {
        headers,
        signal: attempt.signal,
      });
      if (response.status === 401 || response.status === 403 || response.status === 404) {
        to.gone(await errorOf(response));
        return;
      }
      if (response.ok && response.body) {
        await readEvents(
          response.body,
          ({ id, event, data }) => {
            if (ended || signal.aborted) return;
            if (failures) to.connected(true);
            failures = 0;
            lastId = id || lastId;
            const value = JSON.parse(data);
            if (event === 'done') ended = true;
            if (NAMES.has(event)) hear[event]?.(value);
          },
          alive,
        );
      }
    } catch {
      // The network, or our own silence timer: the loop tries again.
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
      attempt.abort();
    }
    if (ended || signal.aborted) return;
    failures += 1;
    to.connected(false);
    await pause(Math.min(FIRST_WAIT * 2 ** (failures - 1), LONGEST_WAIT) * (0.75 + Math.random() / 2), signal);
  }
}

/** Wait `ms`, less when the machine comes back online or the caller gives up. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const over = () => {
      clearTimeout(timer);
      window.removeEventListener('online', over);
      signal?.removeEventListener('abort', over);
      resolve();
    };
    const timer = setTimeout(over, ms);
    window.addEventListener('online', over);
    signal?.addEventListener('abort', over);
    if (signal?.aborted) over();
  });
}
