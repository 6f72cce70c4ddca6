// Our own icons: 20 units wide, drawn in strokes of the text's colour.

import type { ReactNode } from 'react';

function Icon({ children }: { children: ReactNode }) {
  return (
    <svg className="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      {children}
    </svg>
  );
}

export const PlusIcon = () => (
  <Icon>
    <path d="M10 4.5v11M4.5 10h11" />
  </Icon>
);
export const NewIcon = () => (
  <Icon>
    <path d="M9 4H6a2.5 2.5 0 0 0-2.5 2.5v7.5A2.5 2.5 0 0 0 6 16.5h7.5A2.5 2.5 0 0 0 16 14v-3M8.5 11.5l.6-2.7 6-6 2.1 2.1-6 6z" />
  </Icon>
);
export const PanelIcon = () => (
  <Icon>
    <rect x="3" y="4" width="14" height="12" rx="2.5" />
    <path d="M8 4v12" />
  </Icon>
);
export const MoreIcon = () => (
  <Icon>
    <g fill="currentColor" stroke="none">
      <circle cx="4.5" cy="10" r="1.4" />
      <circle cx="10" cy="10" r="1.4" />
      <circle cx="15.5" cy="10" r="1.4" />
    </g>
  </Icon>
);
export const SendIcon = () => (
  <Icon>
    <path d="M10 16V4.5M5 9.3l5-5 5 5" />
  </Icon>
);
export const StopIcon = () => (
  <Icon>
    <rect x="4.5" y="4.5" width="11" height="11" rx="2.5" fill="currentColor" stroke="none" />
  </Icon>
);
export const DownIcon = () => (
  <Icon>
    <path d="M10 4v11.5M5 10.7l5 5 5-5" />
  </Icon>
);
export const ChevronIcon = () => (
  <Icon>
    <path d="m6 8 4 4 4-4" />
  </Icon>
);
export const LeftIcon = () => (
  <Icon>
    <path d="m12 5.5-4.5 4.5 4.5 4.5" />
  </Icon>
);
export const RightIcon = () => (
  <Icon>
    <path d="m8 5.5 4.5 4.5-4.5 4.5" />
  </Icon>
);
export const CopyIcon = () => (
  <Icon>
    <rect x="7" y="7" width="9.5" height="9.5" rx="2" />
    <path d="M13 4.2A2 2 0 0 0 11.5 3.5h-6a2 2 0 0 0-2 2v6c0 .6.3 1.1.7 1.5" />
  </Icon>
);
export const CheckIcon = () => (
  <Icon>
    <path d="m4.5 10.5 3.7 3.7 7.3-8" />
  </Icon>
);
export const AgainIcon = () => (
  <Icon>
    <path d="M16 10a6 6 0 1 1-1.9-4.4L16 7.4M16 3.5v3.9h-3.9" />
  </Icon>
);
export const EditIcon = () => (
  <Icon>
    <path d="M4 16l.7-3.3 8.6-8.6a1.6 1.6 0 0 1 2.3 0l.3.3a1.6 1.6 0 0 1 0 2.3l-8.6 8.6z" />
  </Icon>
);
export const TrashIcon = () => (
  <Icon>
    <path d="M4 6h12M8 6V4.5h4V6M5.5 6l.7 9.5h7.6l.7-9.5M8.5 9v4M11.5 9v4" />
  </Icon>
);
export const GearIcon = () => (
  <Icon>
    <path d="M3.5 6h6M14 6h2.5M3.5 14H6M10.5 14h6M9.5 6a2.2 2.2 0 1 0 4.5 0 2.2 2.2 0 1 0-4.5 0M6 14a2.2 2.2 0 1 0 4.5 0A2.2 2.2 0 1 0 6 14" />
  </Icon>
);
export const CloseIcon = () => (
  <Icon>
    <path d="m5 5 10 10M15 5 5 15" />
  </Icon>
);
export const ClipIcon = () => (
  <Icon>
    <path d="m15.5 9.3-5.6 5.6a3.4 3.4 0 0 1-4.8-4.8l6-6a2.3 2.3 0 0 1 3.2 3.2l-5.9 5.9a1.1 1.1 0 0 1-1.6-1.6l5.2-5.2" />
  </Icon>
);
export const GlobeIcon = () => (
  <Icon>
    <circle cx="10" cy="10" r="6.5" />
    <path d="M3.5 10h13M10 3.5c4 4.2 4 8.8 0 13-4-4.2-4-8.8 0-13z" />
  </Icon>
);
export const BookIcon = () => (
  <Icon>
    <path d="M10 5.5C8.2 4.2 6 3.9 3.5 4v11c2.5-.1 4.7.2 6.5 1.5 1.8-1.3 4-1.6 6.5-1.5V4c-2.5-.1-4.7.2-6.5 1.5zm0 0v11" />
  </Icon>
);
export const ToolsIcon = () => (
  <Icon>
    <rect x="3" y="4" width="14" height="12" rx="2.5" />
    <path d="m6 8 2.2 2L6 12M10.5 12.5H14" />
  </Icon>
);
export const AlertIcon = () => (
  <Icon>
    <circle cx="10" cy="10" r="7" />
    <path d="M10 6.5v4.2M10 13.4v.1" />
  </Icon>
);
export const TranslateIcon = () => (
  <Icon>
    <path d="M3 5.5h8M7 3.5v2M9.5 5.5c-.8 3-2.8 5.2-5.8 6.5M5 7.5c.9 1.8 2.5 3.3 4.5 4.2M9.7 16.5l3.6-8 3.6 8M11 13.8h4.7" />
  </Icon>
);
export const SummariseIcon = () => (
  <Icon>
    <path d="M4 5h12M4 8.5h12M4 12h7M4 15.5h4" />
  </Icon>
);
export const CodeIcon = () => (
  <Icon>
    <path d="m7 6-4 4 4 4M13 6l4 4-4 4M11.2 4.5l-2.4 11" />
  </Icon>
);
export const IdeaIcon = () => (
  <Icon>
    <path d="M7.5 14.5v-1.3A5 5 0 1 1 12.5 13.2v1.3zM8 17h4" />
  </Icon>
);

/** The mark: a figure that stands over a harbour, feet wide apart, the sun for a head. */
export function Mark() {
  return (
    <svg className="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <circle cx="16" cy="7" r="4.5" />
      <path d="M4 29V26.5C4 19.6 9.4 14 16 14s12 5.6 12 12.5V29h-6.5v-2.5c0-3.3-2.5-6-5.5-6s-5.5 2.7-5.5 6V29z" />
    </svg>
  );
}
