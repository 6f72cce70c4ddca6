import { defineConfig } from 'vitest/config';

export default defineConfig({
  // React's own JSX runtime; the compiler that Vite carries needs no plugin for it.
  oxc: { jsx: { runtime: 'automatic' } },
  build: {
    outDir: '../src/colosse/server/static',
    emptyOutDir: true,
    target: ['chrome123', 'firefox121', 'safari17.5'],
    // The page's policy lets nothing be inlined but what is ours; small files stay files.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: {
    // `npm run dev` beside a running `colosse serve`.
    proxy: { '/api': { target: process.env.COLOSSE_URL ?? 'http://127.0.0.1:8420', headers: { origin: '' } } },
  },
  test: { environment: 'happy-dom', include: ['tests/**/*.test.{ts,tsx}'], restoreMocks: true, unstubGlobals: true },
});
