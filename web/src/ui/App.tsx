import { lazy, Suspense, useEffect, useRef } from 'react';
import { chat } from '../chat/chat';
import { useStore } from '../chat/store';
import { useWords } from '../i18n';
import { prefs, setSidebar } from '../prefs';
import { route } from '../router';
import { Announcer } from './Announcer';
import { Conversation } from './Conversation';
import { Header } from './Header';
import { Mark } from './icons';
import { KeyPage } from './KeyPage';
import { Sidebar, useDrawer } from './Sidebar';

const SkillPage = lazy(() => import('../skills/SkillPage'));

export function App() {
  const { t } = useWords();
  const phase = useStore(chat, (value) => value.phase);
  const seen = useRef(false);
  if (phase === 'ready') seen.current = true;
  if (phase === 'key') return <KeyPage />;
  if (phase === 'ready' || (phase === 'away' && seen.current)) return <Workspace />;
  return (
    <main className="page" aria-busy={phase === 'starting'}>
      <Mark />
      {phase === 'away' ? (
        <div role="alert">
          <h1>{t('away.title')}</h1>
          <p>{t('away.body')}</p>
        </div>
      ) : (
        <p className="sr-only">{t('app.starting')}</p>
      )}
    </main>
  );
}

function Workspace() {
  const { t } = useWords();
  const { narrow, drawer, setDrawer } = useDrawer();
  const sidebar = useStore(prefs, (value) => value.sidebar);
  const threadId = useStore(route, (value) => value.threadId);
  const skill = useStore(route, (value) => value.skill);
  const visit = useStore(chat, (value) => value.visit);
  const title = useStore(chat, (value) => value.threads.find(({ id }) => id === threadId)?.title);
  useEffect(() => {
    const name = skill ? t(`skill.${skill}`) : title;
    document.title = name ? `${name} · Colosse` : 'Colosse';
  }, [title, skill, t]);
  const shown = narrow ? drawer : sidebar;
  const toggle = () => (narrow ? setDrawer(!drawer) : setSidebar(!sidebar));
  return (
    <div className="workspace" data-sidebar={shown ? 'open' : 'closed'}>
      <a className="skip" href="#message">
        {t('app.skip')}
      </a>
      <Sidebar shown={shown} modal={narrow} onClose={toggle} onNavigate={() => setDrawer(false)} />
      <main className="main">
        <Header sidebar={shown && !narrow} onToggle={toggle} />
        {skill ? (
          <Suspense>
            <SkillPage key={skill} page={skill} />
          </Suspense>
        ) : (
          <Conversation key={visit} />
        )}
      </main>
      <Announcer />
    </div>
  );
}
