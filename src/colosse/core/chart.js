// Says the values where somebody points, touches or goes with the arrow keys. Without it the page is whole.
'use strict';

const THIN = '\u202f';

function text(value, kind) {
  const digits = (v, n) => String(Number(v.toPrecision(n)));
  if (kind === 'percent') return digits(100 * value, 3) + THIN + '%';
  if (kind === 'seconds')
    return Math.abs(value) < 1 && value ? digits(1000 * value, 3) + THIN + 'ms' : digits(value, 3) + THIN + 's';
  if (kind === 'dollars') {
    const size = [[1e9, 'B'], [1e6, 'M'], [1e3, 'k'], [0, '']].find(([least]) => Math.abs(value) >= least);
    return '$' + digits(value / (size[0] || 1), 3) + (size[1] && THIN + size[1]);
  }
  if (kind === 'bytes') {
    const units = ['B', 'kB', 'MB', 'GB', 'TB'];
    while (value >= 1000 && units.length > 1) {
      value /= 1000;
      units.shift();
    }
    return digits(value, 3) + THIN + units[0];
  }
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en').replaceAll(',', THIN);
  return value && Math.abs(value) < 1e-3 ? value.toExponential(2) : digits(value, 4);
}

function nearest(xs, x) {
  let low = 0;
  let high = xs.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle;
    else high = middle;
  }
  return Math.abs(xs[low] - x) <= Math.abs(xs[high] - x) ? low : high;
}

function element(name, className, parent) {
  const made = document.createElement(name);
  made.className = className;
  parent.append(made);
  return made;
}

for (const chart of document.querySelectorAll('.chart')) {
  const area = chart.querySelector('.area');
  const data = JSON.parse(chart.querySelector('script').textContent);
  const longest = data.series.reduce((a, b) => (b.xs.length > a.xs.length ? b : a)).xs;
  const scale = data.log ? Math.log10 : (v) => v;
  const [bottom, top] = data.y.map(scale);
  const along = data.log_x ? Math.log10 : (v) => v;
  const [first, last] = data.x.map(along);
  const left = (x) => (last > first ? (100 * (along(x) - first)) / (last - first) : 50);
  const down = (y) => 100 - (100 * (scale(Math.max(y, data.y[0])) - bottom)) / (top - bottom || 1);
  let at = -1;
  let marks = [];

  const hide = () => {
    for (const mark of marks) mark.remove();
    marks = [];
    at = -1;
  };

  const show = (index) => {
    hide();
    at = index;
    const x = longest[index];
    const rule = element('div', 'rule', area);
    rule.style.left = `${left(x)}%`;
    const tip = element('div', 'tip', area);
    element('p', '', tip).textContent = `${data.step} ${text(x, 'number')}`;
    marks = [rule, tip];
    for (const series of data.series) {
      const near = nearest(series.xs, x);
      // A value far from where somebody points (an evaluation, a run that ended) is not the value there.
      const reach = series.xs.length > 1 ? (series.xs.at(-1) - series.xs[0]) / (series.xs.length - 1) : 1;
      if (Math.abs(series.xs[near] - x) > reach) continue;
      const spot = element('div', `spot c${series.color}`, area);
      spot.style.left = `${left(series.xs[near])}%`;
      spot.style.top = `${Math.min(100, Math.max(0, down(series.ys[near])))}%`;
      marks.push(spot);
      const row = element('p', `c${series.color}`, tip);
      row.append(series.name);
      element('b', '', row).textContent = text(series.ys[near], data.kind);
    }
    const room = area.clientWidth - tip.offsetWidth;
    const place = (left(x) / 100) * area.clientWidth;
    tip.style.left = `${Math.max(0, place + 12 + tip.offsetWidth < area.clientWidth ? place + 12 : Math.min(room, place - 12 - tip.offsetWidth))}px`;
  };

  area.addEventListener('pointermove', (event) => {
    const box = area.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    const place = first + share * (last - first);
    show(nearest(longest, data.log_x ? 10 ** place : place));
  });
  area.addEventListener('pointerleave', hide);
  area.addEventListener('blur', hide);
  area.addEventListener('keydown', (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20 }[event.key];
    if (event.key === 'Escape') hide();
    if (by === undefined) return;
    event.preventDefault();
    show(Math.min(longest.length - 1, Math.max(0, at < 0 ? longest.length - 1 : at + by)));
  });
}
