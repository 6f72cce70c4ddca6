// In a module of its own, so that the bundler leaves out the grammars that lowlight brings and we load one by one.
export { createLowlight } from 'lowlight';
