// Files as requests carry them.

import type { FileIn } from './types';

export async function packed(file: File): Promise<FileIn> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = '';
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return { name: file.name, content_base64: btoa(text) };
}
