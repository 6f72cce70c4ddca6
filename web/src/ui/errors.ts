import type { ApiError } from '../api/client';
import type { Words } from '../i18n';

/** What went wrong, in plain words of the language, with the way out. */
export function explain(error: ApiError, { t }: Words): string {
  if (error.away) return t('error.away');
  if (error.code === 'context_length_exceeded') return t('error.context');
  if (error.code === 'model_not_found') return t('error.model');
  switch (error.status) {
    case 401:
      return t('error.key');
    case 403: // a key's scope, or an address that the server does not answer to
      return error.code === 'permission_denied' ? t('error.key') : t('error.other', { detail: error.message });
    case 404:
      return t('error.not_found');
    case 409:
      return t('error.conflict');
    case 413:
      return t('error.too_large');
    case 429:
      return t('error.rate');
    case 502:
      return t('error.engine');
    case 503:
      return t('error.unavailable');
    default:
      return t('error.other', { detail: error.message });
  }
}
