// A button with a menu: arrow keys, Home, End, Escape and a click elsewhere do what people expect.

import { type KeyboardEvent, type ReactNode, useEffect, useId, useLayoutEffect, useRef, useState } from 'react';

interface Props {
  /** Name of the button and of its menu. */
  label: string;
  className: string;
  button: ReactNode;
  /** `MenuItem`s, titles, lines; `close` puts the focus back on the button. */
  children: (close: () => void) => ReactNode;
  align?: 'start' | 'end';
}

const MARGIN = 8;

export function Menu({ label, className, button, children, align = 'start' }: Props) {
  const [shown, setShown] = useState(false);
  const trigger = useRef<HTMLButtonElement>(null);
  const menu = useRef<HTMLDivElement>(null);
  const id = useId();

  const close = () => {
    setShown(false);
    trigger.current?.focus();
  };

  useLayoutEffect(() => {
    const [box, from] = [menu.current, trigger.current?.getBoundingClientRect()];
    if (!shown || !box || !from) return;
    // Fixed to the window, so that no scrolling list cuts it off; above the button where there is no room below.
    const { offsetWidth: width, offsetHeight: height } = box;
    const left = align === 'start' ? from.left : from.right - width;
    const below = from.bottom + 6;
    const top = below + height + MARGIN > innerHeight ? Math.max(MARGIN, from.top - height - 6) : below;
    box.style.left = `${Math.max(MARGIN, Math.min(left, innerWidth - width - MARGIN))}px`;
    box.style.top = `${top}px`;
    (
      box.querySelector<HTMLElement>('[aria-checked=true]') ?? box.querySelector<HTMLElement>('[role^=menuitem]')
    )?.focus();
  }, [shown, align]);

  useEffect(() => {
    if (!shown) return;
    const away = ({ target }: Event) => {
      if (target instanceof Node && !menu.current?.contains(target) && !trigger.current?.contains(target))
        setShown(false);
    };
    const hide = () => setShown(false);
    document.addEventListener('pointerdown', away);
    window.addEventListener('resize', hide);
    return () => {
      document.removeEventListener('pointerdown', away);
      window.removeEventListener('resize', hide);
    };
  }, [shown]);

  const onKeyDown = (event: KeyboardEvent) => {
    const items = [...(menu.current?.querySelectorAll<HTMLElement>('[role^=menuitem]') ?? [])];
    const at = items.indexOf(document.activeElement as HTMLElement);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (next !== undefined) items[(next + items.length) % items.length]?.focus();
    else if (event.key === 'Escape') close();
    else if (event.key === 'Tab') setShown(false);
    else return;
    if (event.key !== 'Tab') event.preventDefault();
    event.stopPropagation();
  };

  return (
    <>
      <button
        ref={trigger}
        type="button"
        className={className}
        aria-label={label}
        aria-haspopup="menu"
        aria-expanded={shown}
        aria-controls={shown ? id : undefined}
        title={label}
        onClick={() => setShown(!shown)}
        onKeyDown={(event) => {
          if (event.key !== 'ArrowDown') return;
          event.preventDefault();
          setShown(true);
        }}
      >
        {button}
      </button>
      {shown && (
        <div ref={menu} id={id} className="menu" role="menu" aria-label={label} tabIndex={-1} onKeyDown={onKeyDown}>
          {children(close)}
        </div>
      )}
    </>
  );
}

interface ItemProps {
  onSelect: () => void;
  /** Given for one choice out of several. */
  checked?: boolean;
  danger?: boolean;
  disabled?: boolean;
  children: ReactNode;
}

export function MenuItem({ onSelect, checked, danger, disabled, children }: ItemProps) {
  return (
    <button
      type="button"
      className={danger ? 'menu-item danger' : 'menu-item'}
      {...(checked === undefined ? { role: 'menuitem' } : { role: 'menuitemradio', 'aria-checked': checked })}
      aria-disabled={disabled}
      tabIndex={-1}
      onClick={() => !disabled && onSelect()}
    >
      {children}
    </button>
  );
}
