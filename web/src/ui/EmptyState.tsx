import { type Key, useWords } from '../i18n';
import { CodeIcon, IdeaIcon, SummariseIcon, TranslateIcon } from './icons';

/** Good morning, and so on. */
export function Greeting() {
  const { t } = useWords();
  const hour = new Date().getHours();
  const part: Key =
    hour >= 5 && hour < 12 ? 'empty.morning' : hour >= 12 && hour < 18 ? 'empty.afternoon' : 'empty.evening';
  return (
    <h2 className="greeting">
      <span>{t(part)}</span> {t('empty.question')}
    </h2>
  );
}

const STARTERS = [
  { name: 'translate', Icon: TranslateIcon },
  { name: 'summarise', Icon: SummariseIcon },
  { name: 'code', Icon: CodeIcon },
  { name: 'explain', Icon: IdeaIcon },
] as const;

/** Beginnings of a question, to be completed. */
export function Starters({ onChoose }: { onChoose: (text: string) => void }) {
  const { t } = useWords();
  return (
    <ul className="starters">
      {STARTERS.map(({ name, Icon }) => (
        <li key={name}>
          <button type="button" onClick={() => onChoose(t(`starter.${name}_prompt`))}>
            <Icon />
            <span>
              <strong>{t(`starter.${name}`)}</strong> <small>{t(`starter.${name}_hint`)}</small>
            </span>
          </button>
        </li>
      ))}
    </ul>
  );
}
