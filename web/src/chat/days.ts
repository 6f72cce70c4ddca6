// Threads under the day on which they were last written in.

import type { Thread } from '../api/types';
import type { Words } from '../i18n';

export interface Group {
  label: string;
  threads: Thread[];
}

/** `threads`, newest first, cut into today, yesterday, the last seven days, and months before that. */
export function groupByDay(threads: readonly Thread[], { t, language }: Words, now = new Date()): Group[] {
  const month = new Intl.DateTimeFormat(language, { month: 'long', year: 'numeric' });
  const groups: Group[] = [];
  for (const thread of threads) {
    const when = new Date(thread.updated_at);
    const days = daysBetween(when, now);
    let label: string;
    if (days <= 0) label = t('nav.today');
    else if (days === 1) label = t('nav.yesterday');
    else if (days < 7) label = t('nav.week');
    else label = capital(month.format(when));
    const last = groups[groups.length - 1];
    if (last?.label === label) last.threads.push(thread);
    else groups.push({ label, threads: [thread] });
  }
  return groups;
}

/** Midnights between two moments, in local time; summer time makes some days 23 or 25 hours long. */
function daysBetween(from: Date, to: Date): number {
  const midnight = (date: Date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
  return Math.round((midnight(to) - midnight(from)) / 86_400_000);
}

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);
