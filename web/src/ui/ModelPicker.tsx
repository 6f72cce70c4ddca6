import type { ModelInfo } from '../api/types';
import { chat, chooseModel, modelOf } from '../chat/chat';
import { useStore } from '../chat/store';
import { useWords, type Words } from '../i18n';
import { prefs } from '../prefs';
import { CheckIcon, ChevronIcon } from './icons';
import { Menu, MenuItem } from './Menu';

export function ModelPicker() {
  const words = useWords();
  const { t } = words;
  const server = useStore(chat, (value) => value.server);
  const preferred = useStore(prefs, (value) => value.model);
  const current = useStore(chat, (value) => modelOf(value, preferred));
  const models = (server?.models ?? []).filter((model) => model.capabilities.includes('chat'));
  const chosen = models.find(({ id }) => id === current);
  const name = chosen?.id ?? (current || t('model.none'));
  return (
    <Menu
      label={t('model.label', { name })}
      className="picker"
      button={
        <>
          {chosen && chosen.state !== 'ready' && <span className={`dot ${chosen.state}`} />}
          <span className="picker-name">{name}</span>
          <ChevronIcon />
        </>
      }
    >
      {(close) => (
        <>
          <p className="menu-title">{models.length ? t('model.choose') : t('model.none_help')}</p>
          {models.map((model) => (
            <MenuItem
              key={model.id}
              checked={model.id === current}
              onSelect={() => {
                close();
                void chooseModel(model.id);
              }}
            >
              <span className="menu-text">
                <span>
                  {model.id}
                  {model.id === server?.default_model && <small className="badge">{t('model.default')}</small>}
                </span>
                <small className="menu-detail">
                  <span className={`dot ${model.state}`} />
                  {detail(model, words)}
                </small>
              </span>
              {model.id === current && <CheckIcon />}
            </MenuItem>
          ))}
        </>
      )}
    </Menu>
  );
}

function detail(model: ModelInfo, { t }: Words): string {
  const state = t(`model.${model.state}`);
  if (model.state === 'failed' && model.error) return `${state} · ${model.error}`;
  return model.max_model_len ? `${state} · ${t('model.context', { tokens: model.max_model_len })}` : state;
}
