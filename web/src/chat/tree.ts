// A conversation is a tree of messages; what is shown is the path from a root to the head.

import type { Message } from '../api/types';

export type Messages = ReadonlyMap<string, Message>;

/** The messages from the root down to `headId`. */
export function pathTo(messages: Messages, headId: string | null): Message[] {
  const path: Message[] = [];
  for (let id = headId; id !== null; ) {
    const message = messages.get(id);
    if (!message || path.length > messages.size) break;
    path.push(message);
    id = message.parent_id;
  }
  return path.reverse();
}

/** The children of each message (of `null`: the roots), oldest first. */
export function childrenOf(messages: Messages): Map<string | null, Message[]> {
  const children = new Map<string | null, Message[]>();
  for (const message of messages.values()) {
    const list = children.get(message.parent_id);
    if (list) list.push(message);
    else children.set(message.parent_id, [message]);
  }
  return children;
}

/** The end of the branch below `id` that was written last. */
export function leafBelow(messages: Messages, id: string): string {
  const children = childrenOf(messages);
  let leaf = id;
  for (let below = children.get(leaf); below?.length; below = children.get(leaf)) {
    leaf = (below[below.length - 1] as Message).id;
  }
  return leaf;
}
