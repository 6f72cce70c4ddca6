import { type FormEvent, useState } from 'react';
import { ApiError } from '../api/client';
import { logIn } from '../chat/chat';
import { useWords } from '../i18n';
import { explain } from './errors';
import { Mark } from './icons';

/** Where the server wants to know who is asking. */
export function KeyPage() {
  const words = useWords();
  const { t } = words;
  const [error, setError] = useState('');
  const [busy, setBusy] = useState(false);
  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const key = String(new FormData(event.currentTarget).get('key') ?? '').trim();
    if (!key || busy) return;
    setBusy(true);
    setError('');
    try {
      await logIn(key);
    } catch (failure) {
      const known = failure instanceof ApiError ? failure : new ApiError(-1, 'page', String(failure));
      setError(known.status === 401 ? t('key.wrong') : explain(known, words));
    } finally {
      setBusy(false);
    }
  };
  return (
    <main className="page">
      <Mark />
      <h1>{t('key.title')}</h1>
      <p>{t('key.body')}</p>
      <form className="key-form" onSubmit={submit}>
        <label htmlFor="key">{t('key.label')}</label>
        <div className="key-row">
          <input
            id="key"
            name="key"
            type="password"
            autoComplete="current-password"
            required
            autoFocus
            aria-invalid={error !== ''}
            aria-describedby="key-error"
          />
          <button type="submit" className="button primary" aria-busy={busy}>
            {t('key.submit')}
          </button>
        </div>
        <p id="key-error" className="form-error" role="alert">
          {error}
        </p>
      </form>
    </main>
  );
}
