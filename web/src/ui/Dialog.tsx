import { useEffect, useId, useRef } from 'react';
import { useWords } from '../i18n';

interface Props {
  title: string;
  body: string;
  confirm: string;
  onConfirm: () => void;
  onClose: () => void;
}

/** A question before something that cannot be undone. The browser keeps the focus inside and gives it back. */
export function ConfirmDialog({ title, body, confirm, onConfirm, onClose }: Props) {
  const { t } = useWords();
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog
      ref={dialog}
      className="dialog"
      aria-labelledby={`${id}-title`}
      aria-describedby={`${id}-body`}
      onClose={onClose}
    >
      <form method="dialog">
        <h2 id={`${id}-title`}>{title}</h2>
        <p id={`${id}-body`}>{body}</p>
        <div className="dialog-actions">
          <button type="submit" className="button">
            {t('action.cancel')}
          </button>
          <button type="submit" className="button danger" onClick={onConfirm}>
            {confirm}
          </button>
        </div>
      </form>
    </dialog>
  );
}
