import { chat } from '../chat/chat';
import { useStore } from '../chat/store';
import { useWords } from '../i18n';
import { navigate, route } from '../router';
import { NewIcon, PanelIcon } from './icons';
import { ModelPicker } from './ModelPicker';

export function Header({ sidebar, onToggle }: { sidebar: boolean; onToggle: () => void }) {
  const { t } = useWords();
  const threadId = useStore(route, (value) => value.threadId);
  const skill = useStore(route, (value) => value.skill);
  const thread = useStore(chat, (value) => value.threads.find(({ id }) => id === threadId)?.title ?? '');
  const title = skill ? t(`skill.${skill}`) : thread;
  return (
    <header className="header">
      {!sidebar && (
        <button
          type="button"
          className="tool"
          aria-label={t('nav.open')}
          title={t('nav.open')}
          aria-expanded={false}
          onClick={onToggle}
        >
          <PanelIcon />
        </button>
      )}
      <ModelPicker />
      <h1 className={title ? 'header-title' : 'sr-only'}>{title || 'Colosse'}</h1>
      {!sidebar && (
        <button
          type="button"
          className="tool"
          aria-label={t('nav.new')}
          title={t('nav.new')}
          onClick={() => navigate(null)}
        >
          <NewIcon />
        </button>
      )}
    </header>
  );
}
