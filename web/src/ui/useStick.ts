import { type RefObject, useCallback, useEffect, useLayoutEffect, useRef, useState } from 'react';

/** How near the end, in pixels, counts as being there. */
const NEAR = 40;

/**
 * Keep a scrolling box at its end while its content grows, until the user scrolls up; at its end again, hold on again.
 */
export function useStick(scroller: RefObject<HTMLElement | null>, content: RefObject<HTMLElement | null>) {
  const stuck = useRef(true);
  const [atEnd, setAtEnd] = useState(true);

  const toEnd = useCallback(
    (smooth = false) => {
      const box = scroller.current;
      if (!box) return;
      stuck.current = true;
      const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
      box.scrollTo({ top: box.scrollHeight, behavior: smooth && !calm ? 'smooth' : 'instant' });
    },
    [scroller],
  );

  useLayoutEffect(() => toEnd(), [toEnd]);

  useEffect(() => {
    const [box, inner] = [scroller.current, content.current];
    if (!box || !inner) return;
    let top = box.scrollTop;
    const look = () => {
      const near = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
      if (near) stuck.current = true;
      else if (box.scrollTop < top - 1) stuck.current = false;
      top = box.scrollTop;
      setAtEnd(near || stuck.current);
    };
    // A wheel turned up lets go at once, also while the content grows faster than one can scroll.
    const wheel = (event: WheelEvent) => {
      if (event.deltaY < 0 && box.scrollHeight > box.clientHeight) stuck.current = false;
    };
    const observer = new ResizeObserver(() => {
      if (stuck.current) box.scrollTop = box.scrollHeight;
      look();
    });
    observer.observe(inner);
    observer.observe(box);
    box.addEventListener('scroll', look, { passive: true });
    box.addEventListener('wheel', wheel, { passive: true });
    return () => {
      observer.disconnect();
      box.removeEventListener('scroll', look);
      box.removeEventListener('wheel', wheel);
    };
  }, [scroller, content]);

  return { atEnd, toEnd };
}
