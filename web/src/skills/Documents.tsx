// One's own documents: given, listed, taken back.

import { useCallback, useEffect, useId, useState } from 'react';
import { ApiError, api } from '../api/client';
import type { Document } from '../api/types';
import { useWords } from '../i18n';
import { explain } from '../ui/errors';
import { TrashIcon } from '../ui/icons';

export function Documents() {
  const words = useWords();
  const { t } = words;
  const id = useId();
  const [documents, setDocuments] = useState<Document[]>([]);
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<ApiError | null>(null);
  const attempt = useCallback(async (work: () => Promise<unknown>) => {
    setBusy(true);
    setFailure(null);
    try {
      await work();
    } catch (error) {
      setFailure(error instanceof ApiError ? error : new ApiError(0, '', String(error)));
    }
    setDocuments(await api.documents().catch(() => []));
    setBusy(false);
  }, []);
  useEffect(() => void attempt(async () => {}), [attempt]);
  const upload = async (files: readonly File[]) => {
    for (const file of files) await api.addDocument(file);
  };
  return (
    <section className="documents" aria-label={t('skill.documents')} aria-busy={busy}>
      <div className="skill-field">
        <label htmlFor={id}>{t('skill.upload')}</label>
        <input
          id={id}
          type="file"
          multiple
          disabled={busy}
          onChange={(event) => {
            const files = [...(event.target.files ?? [])];
            event.target.value = '';
            void attempt(() => upload(files));
          }}
        />
      </div>
      {failure && (
        <p className="state" data-status="failed" role="alert">
          {explain(failure, words)}
        </p>
      )}
      <ul>
        {documents.map((document) => (
          <li key={document.id}>
            <span dir="auto" title={document.name}>
              {document.title || document.name}
              {document.title && document.title !== document.name && <small> {document.name}</small>}
            </span>
            <small>{t('skill.passages', { count: document.num_passages })}</small>
            <button
              type="button"
              className="tool"
              aria-label={t('skill.remove', { name: document.name })}
              disabled={busy}
              onClick={() => void attempt(() => api.removeDocument(document.id))}
            >
              <TrashIcon />
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
