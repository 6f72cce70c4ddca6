import { createRoot } from 'react-dom/client';
import { chat, connect, listenToTabs, open } from './chat/chat';
import { applyPrefs } from './prefs';
import { route } from './router';
import './styles/index.css';
import { App } from './ui/App';

applyPrefs();
chat.set({ openId: route.get().threadId });
route.subscribe(() => {
  const { threadId } = route.get();
  if (threadId !== chat.get().openId) void open(threadId);
});
listenToTabs();
void connect();
createRoot(document.getElementById('root') as HTMLElement).render(<App />);
