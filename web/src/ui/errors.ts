import type { ApiError } from '../api/client';
import type { Words } from '../i18n';

const BY_CODE = {
  context_length_exceeded: 'error.context',
  model_not_found: 'error.model',
  engine_error: 'error.engine',
  unavailable: 'error.unavailable',
  server_stopped: 'error.stopped',
  tools_not_supported: 'error.tools',
  empty_input: 'error.empty',
  unknown_language: 'error.language',
  address_refused: 'error.address',
} as const;

/** What a code of the server means, in plain words of the language; null where only its own message tells. */
export function explainCode(code: string, { t }: Words): string | null {
  return code in BY_CODE ? t(BY_CODE[code as keyof typeof BY_CODE]) : null;
}

/** What went wrong, in plain words of the language, with the way out. */
export function explain(error: ApiError, words: Words): string {
  const { t } = words;
  if (error.away) return t('error.away');
  const known = explainCode(error.code, words);
  if (known) return known;
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
