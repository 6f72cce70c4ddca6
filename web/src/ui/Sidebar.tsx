import { type KeyboardEvent, useEffect, useMemo, useRef, useState } from 'react';
import type { Thread } from '../api/types';
import { chat, deleteThread, listMoreThreads, logOut, renameThread } from '../chat/chat';
import { groupByDay } from '../chat/days';
import { useStore } from '../chat/store';
import { useWords } from '../i18n';
import { LANGUAGES, prefs, setLanguage, setTheme, THEMES } from '../prefs';
import { navigate, openSkill, pathOf, route, SKILL_PAGES, skillPath } from '../router';
import { ConfirmDialog } from './Dialog';
import { CheckIcon, EditIcon, GearIcon, Mark, MoreIcon, NewIcon, PanelIcon, TrashIcon } from './icons';
import { Menu, MenuItem } from './Menu';

const NARROW = '(max-width: 760px)';
const LANGUAGE_NAMES = { en: 'English', fr: 'Français' } as const;

/** On a narrow window the side bar is a drawer over the page, closed at first. */
export function useDrawer() {
  const [narrow, setNarrow] = useState(() => matchMedia(NARROW).matches);
  const [drawer, setDrawer] = useState(false);
  useEffect(() => {
    const query = matchMedia(NARROW);
    const change = () => {
      setNarrow(query.matches);
      setDrawer(false);
    };
    query.addEventListener('change', change);
    return () => query.removeEventListener('change', change);
  }, []);
  return { narrow, drawer, setDrawer };
}

interface Props {
  shown: boolean;
  /** A drawer that keeps the focus. */
  modal: boolean;
  onClose: () => void;
  onNavigate: () => void;
}

export function Sidebar({ shown, modal, onClose, onNavigate }: Props) {
  const drawer = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (!modal) return;
    if (shown) drawer.current?.showModal();
    else drawer.current?.close();
  }, [modal, shown]);
  const contents = <Contents onClose={onClose} onNavigate={onNavigate} />;
  if (!modal) return shown && <div className="sidebar">{contents}</div>;
  return (
    <dialog
      ref={drawer}
      className="sidebar drawer"
      onClose={() => shown && onClose()}
      onClick={(event) => event.target === drawer.current && onClose()}
      onKeyDown={() => {}}
    >
      {shown && contents}
    </dialog>
  );
}

function Contents({ onClose, onNavigate }: Pick<Props, 'onClose' | 'onNavigate'>) {
  const words = useWords();
  const { t } = words;
  const threads = useStore(chat, (value) => value.threads);
  const listed = useStore(chat, (value) => value.listed);
  const cursor = useStore(chat, (value) => value.cursor);
  const groups = useMemo(() => groupByDay(threads, words), [threads, words]);
  const go = (id: string | null) => {
    navigate(id);
    onNavigate();
  };
  return (
    <>
      <div className="sidebar-top">
        <a
          className="brand"
          href="/"
          onClick={(event) => {
            if (event.metaKey || event.ctrlKey || event.shiftKey) return;
            event.preventDefault();
            go(null);
          }}
        >
          <Mark />
          Colosse
        </a>
        <button
          type="button"
          className="tool"
          aria-label={t('nav.close')}
          title={t('nav.close')}
          aria-expanded
          onClick={onClose}
        >
          <PanelIcon />
        </button>
      </div>
      <button type="button" className="new-thread" onClick={() => go(null)}>
        <NewIcon />
        {t('nav.new')}
      </button>
      <SkillLinks onNavigate={onNavigate} />
      <nav className="threads" aria-label={t('nav.label')}>
        {listed && threads.length === 0 && <p className="threads-empty">{t('nav.empty')}</p>}
        {groups.map((group) => (
          <section key={group.label} aria-label={group.label}>
            <h2>{group.label}</h2>
            <ul>
              {group.threads.map((thread) => (
                <ThreadRow key={thread.id} thread={thread} onOpen={() => go(thread.id)} />
              ))}
            </ul>
          </section>
        ))}
        {cursor && (
          <button type="button" className="button quiet" onClick={() => void listMoreThreads()}>
            {t('nav.more')}
          </button>
        )}
      </nav>
      <Settings />
    </>
  );
}

/** The pages of the skills. */
function SkillLinks({ onNavigate }: Pick<Props, 'onNavigate'>) {
  const { t } = useWords();
  const current = useStore(route, (value) => value.skill);
  return (
    <nav className="skill-links" aria-label={t('skill.label')}>
      {SKILL_PAGES.map((name) => (
        <a
          key={name}
          href={skillPath(name)}
          aria-current={name === current ? 'page' : undefined}
          onClick={(event) => {
            if (event.metaKey || event.ctrlKey || event.shiftKey) return;
            event.preventDefault();
            openSkill(name);
            onNavigate();
          }}
        >
          {t(`skill.${name}`)}
        </a>
      ))}
    </nav>
  );
}

function ThreadRow({ thread, onOpen }: { thread: Thread; onOpen: () => void }) {
  const { t } = useWords();
  const current = useStore(route, (value) => value.threadId === thread.id);
  const [renaming, setRenaming] = useState(false);
  const [deleting, setDeleting] = useState(false);
  const title = thread.title || t('nav.untitled');
  if (renaming) return <RenameRow thread={thread} onDone={() => setRenaming(false)} />;
  return (
    <li className="thread" data-current={current}>
      <a
        href={pathOf(thread.id)}
        aria-current={current ? 'page' : undefined}
        title={title}
        dir="auto"
        onClick={(event) => {
          if (event.metaKey || event.ctrlKey || event.shiftKey) return;
          event.preventDefault();
          onOpen();
        }}
      >
        {title}
      </a>
      <Menu label={t('nav.options', { title })} className="tool" button={<MoreIcon />}>
        {(close) => (
          <>
            <MenuItem
              onSelect={() => {
                close();
                setRenaming(true);
              }}
            >
              <EditIcon />
              {t('thread.rename')}
            </MenuItem>
            <MenuItem
              danger
              onSelect={() => {
                close();
                setDeleting(true);
              }}
            >
              <TrashIcon />
              {t('thread.delete')}
            </MenuItem>
          </>
        )}
      </Menu>
      {deleting && (
        <ConfirmDialog
          title={t('thread.delete_title')}
          body={t('thread.delete_body', { title })}
          confirm={t('thread.delete')}
          onClose={() => setDeleting(false)}
          onConfirm={async () => {
            if ((await deleteThread(thread.id)) && route.get().threadId === thread.id) navigate(null, true);
          }}
        />
      )}
    </li>
  );
}

function RenameRow({ thread, onDone }: { thread: Thread; onDone: () => void }) {
  const { t } = useWords();
  const [title, setTitle] = useState(thread.title);
  const done = useRef(false);
  const finish = (save: boolean) => {
    if (done.current) return; // leaving the field after Enter or Escape
    done.current = true;
    const text = title.trim();
    if (save && text && text !== thread.title) void renameThread(thread.id, text);
    onDone();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.nativeEvent.isComposing) return;
    if (event.key === 'Enter') finish(true);
    if (event.key !== 'Escape') return;
    event.preventDefault(); // the drawer stays open
    finish(false);
  };
  return (
    <li className="thread">
      <input
        className="rename"
        autoFocus
        aria-label={t('thread.rename_label')}
        maxLength={200}
        value={title}
        onFocus={(event) => event.target.select()}
        onChange={(event) => setTitle(event.target.value)}
        onBlur={() => finish(true)}
        onKeyDown={onKeyDown}
      />
    </li>
  );
}

function Settings() {
  const { t, language } = useWords();
  const theme = useStore(prefs, (value) => value.theme);
  const session = useStore(prefs, (value) => value.session);
  const version = useStore(chat, (value) => value.server?.version ?? '');
  return (
    <div className="sidebar-bottom">
      <Menu
        label={t('settings.label')}
        className="settings-button"
        button={
          <>
            <GearIcon />
            <span>{t('settings.label')}</span>
          </>
        }
      >
        {(close) => (
          <>
            <p className="menu-title">{t('settings.language')}</p>
            {LANGUAGES.map((value) => (
              <MenuItem key={value} checked={value === language} onSelect={() => setLanguage(value)}>
                <span className="menu-text" lang={value}>
                  {LANGUAGE_NAMES[value]}
                </span>
                {value === language && <CheckIcon />}
              </MenuItem>
            ))}
            <p className="menu-title">{t('settings.theme')}</p>
            {THEMES.map((value) => (
              <MenuItem key={value} checked={value === theme} onSelect={() => setTheme(value)}>
                <span className="menu-text">{t(`settings.${value}`)}</span>
                {value === theme && <CheckIcon />}
              </MenuItem>
            ))}
            {session && (
              <>
                <hr />
                <MenuItem
                  onSelect={() => {
                    close();
                    void logOut();
                  }}
                >
                  {t('settings.log_out')}
                </MenuItem>
              </>
            )}
            <p className="menu-title">{t('settings.version', { version })}</p>
          </>
        )}
      </Menu>
    </div>
  );
}
