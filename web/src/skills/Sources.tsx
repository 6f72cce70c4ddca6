// What an answer rests on, and the files that came with it.

import { useState } from 'react';
import { api } from '../api/client';
import type { FileOut, Source } from '../api/types';
import { useWords } from '../i18n';
import { Verbatim } from '../markdown/Verbatim';

export function Sources({ sources }: { sources: readonly Source[] }) {
  const { t } = useWords();
  return (
    <section className="sources" aria-label={t('skill.sources')}>
      <h3>{t('skill.sources')}</h3>
      <ol>
        {sources.map((source) => (
          <li key={source.id} value={source.id}>
            <SourceRow source={source} />
          </li>
        ))}
      </ol>
    </section>
  );
}

/** A source opens to its passage; one of a document can be read on in both directions. */
function SourceRow({ source }: { source: Source }) {
  const { t } = useWords();
  const [around, setAround] = useState<string[] | null>(null);
  const { document_id: document, position } = source;
  const { title, url, page, section, id } = source;
  // A section that begins with the title says it already.
  const named = title && section.startsWith(title) ? '' : title || url || t('skill.source', { id });
  const place = [named, section, page === null ? '' : t('skill.page', { page })];
  const more = async () => {
    const here = Number(position);
    try {
      const own = await api.passage(document, here);
      const read = async (at: number) =>
        at < 0 || at >= own.num_passages ? [] : [(await api.passage(document, at)).text];
      setAround([...(await read(here - 1)), own.text, ...(await read(here + 1))]);
    } catch {
      setAround([source.text]); // the document was removed: what was cited is all that is left
    }
  };
  return (
    <details>
      <summary>{place.filter(Boolean).join(' · ')}</summary>
      <blockquote dir="auto">
        {(around ?? [source.text]).map((text) => (
          <p key={text}>
            <Verbatim text={text} />
          </p>
        ))}
      </blockquote>
      {/^https?:\/\//.test(source.url) && (
        <a href={source.url} target="_blank" rel="noopener noreferrer">
          {source.url}
        </a>
      )}
      {document && position !== null && !around && (
        <button type="button" className="more" onClick={() => void more()}>
          {t('skill.around')}
        </button>
      )}
    </details>
  );
}

const PLOTS = ['image/png', 'image/jpeg', 'image/gif', 'image/webp'];

export function Files({ files }: { files: readonly FileOut[] }) {
  const { t } = useWords();
  return (
    <ul className="files" aria-label={t('skill.files')}>
      {files.map(({ name, media_type, content_base64 }) => (
        <li key={name}>
          {PLOTS.includes(media_type) && <img src={`data:${media_type};base64,${content_base64}`} alt={name} />}
          <a className="button" href={`data:application/octet-stream;base64,${content_base64}`} download={name}>
            {name}
          </a>
        </li>
      ))}
    </ul>
  );
}
