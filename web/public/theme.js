// Before the first paint: a theme chosen by hand, so that the page does not flash in the other one.
try {
  const theme = localStorage.getItem('colosse.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // Storage is refused: the system's theme it is.
}
