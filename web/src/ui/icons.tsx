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
    <path d="M9 4H6a2.5 2.5 0 0 0-2.5 2.5v7.500A2.500 2.500 0 0 0 6 16.500h7.500A2.500 2.500 0 0 0 16 14v-3M8.500 11.500l.6-2.700 6-6 2.100 2.100-6 6z" />
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
    <path d="M10 16V4.500M5 9.300l5-5 5 5" />
  </Icon>
);
export const StopIcon = () => (
  <Icon>
    <rect x="6" y="6" width="8" height="8" rx="1.5" fill="currentColor" stroke="none" />
  </Icon>
);
export const DownIcon = () => (
  <Icon>
    <path d="M10 4v11.500M5 10.700l5 5 5-5" />
  </Icon>
);
export const ChevronIcon = () => (
  <Icon>
    <path d="m6 8 4 4 4-4" />
  </Icon>
);
export const LeftIcon = () => (
  <Icon>
    <path d="m12 5.500-4.500 4.500 4.500 4.500" />
  </Icon>
);
export const RightIcon = () => (
  <Icon>
    <path d="m8 5.500 4.500 4.500-4.500 4.500" />
  </Icon>
);
export const CopyIcon = () => (
  <Icon>
    <rect x="7" y="7" width="9.500" height="9.500" rx="2" />
    <path d="M13 4.200A2 2 0 0 0 11.500 3.500h-6a2 2 0 0 0-2 2v6c0 .6.300 1.100.7 1.500" />
  </Icon>
);
export const CheckIcon = () => (
  <Icon>
    <path d="m4.500 10.500 3.700 3.700 7.300-8" />
  </Icon>
);
export const AgainIcon = () => (
  <Icon>
    <path d="M16 10a6 6 0 1 1-1.900-4.400L16 7.400M16 3.500v3.900h-3.900" />
  </Icon>
);
export const EditIcon = () => (
  <Icon>
    <path d="M4 16l.7-3.300 8.600-8.600a1.600 1.600 0 0 1 2.300 0l.3.300a1.600 1.600 0 0 1 0 2.300l-8.600 8.600z" />
  </Icon>
);
export const TrashIcon = () => (
  <Icon>
    <path d="M4 6h12M8 6V4.500h4V6M5.500 6l.7 9.500h7.600l.7-9.500M8.500 9v4M11.500 9v4" />
  </Icon>
);
export const GearIcon = () => (
  <Icon>
    <path d="M3.500 6h6M14 6h2.500M3.500 14H6M10.500 14h6M9.500 6a2.200 2.200 0 1 0 4.500 0 2.200 2.200 0 1 0-4.500 0M6 14a2.200 2.200 0 1 0 4.500 0A2.200 2.200 0 1 0 6 14" />
  </Icon>
);
export const CloseIcon = () => (
  <Icon>
    <path d="m5 5 10 10M15 5 5 15" />
  </Icon>
);
export const AlertIcon = () => (
  <Icon>
    <circle cx="10" cy="10" r="7" />
    <path d="M10 6.500v4.200M10 13.400v.1" />
  </Icon>
);
export const TranslateIcon = () => (
  <Icon>
    <path d="M3 5.500h8M7 3.500v2M9.500 5.500c-.8 3-2.800 5.200-5.800 6.500M5 7.500c.9 1.800 2.500 3.300 4.500 4.200M9.700 16.500l3.600-8 3.600 8M11 13.800h4.700" />
  </Icon>
);
export const SummariseIcon = () => (
  <Icon>
    <path d="M4 5h12M4 8.500h12M4 12h7M4 15.500h4" />
  </Icon>
);
export const CodeIcon = () => (
  <Icon>
    <path d="m7 6-4 4 4 4M13 6l4 4-4 4M11.200 4.500l-2.400 11" />
  </Icon>
);
export const IdeaIcon = () => (
  <Icon>
    <path d="M7.500 14.500v-1.300A5 5 0 1 1 12.500 13.200v1.300zM8 17h4" />
  </Icon>
);

/** The mark: a figure that stands over a harbour, feet wide apart, the sun for a head. */
export function Mark() {
  return (
    <svg className="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <circle cx="16" cy="7" r="4.500" />
      <path d="M4 29V26.500C4 19.600 9.400 14 16 14s12 5.600 12 12.500V29h-6.500v-2.500c0-3.300-2.500-6-5.500-6s-5.500 2.700-5.500 6V29z" />
    </svg>
  );
}
