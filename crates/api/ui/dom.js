// Elements, and how things look to people. Whatever comes from the API becomes text here, never markup.

/** An element. `on` in `props` holds listeners; `true` is an attribute without value, `false` and `null` none. */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (name === 'on') {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === 'value' || name === 'checked') {
      element[name] = value;
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value === true ? '' : value);
    }
  }
  element.append(...kept(children));
  return element;
}

function kept(children) {
  return children.flat(Infinity).filter((it) => it !== null && it !== undefined && it !== false && it !== '');
}

/** Replaces what is in `box`; focus and opened details stay where they were. */
export function fill(box, ...children) {
  const focused = box.contains(document.activeElement) ? keyOf(document.activeElement) : null;
  const toggled = new Map();
  for (const it of box.querySelectorAll('details[data-key]')) toggled.set(it.dataset.key, it.open);
  box.replaceChildren(...kept(children));
  for (const it of box.querySelectorAll('details[data-key]')) {
    if (toggled.has(it.dataset.key)) it.open = toggled.get(it.dataset.key);
  }
  if (focused) {
    const again = [...box.querySelectorAll('a, button, summary, input')].find((it) => keyOf(it) === focused);
    again?.focus({ preventScroll: true });
  }
}

function keyOf(element) {
  const key = element.id || element.getAttribute('href') || element.closest('[data-key]')?.dataset.key;
  return key ? `${element.tagName} ${key} ${element.textContent}` : null;
}

export function link(href, ...children) {
  return h('a', { href }, ...children);
}

export function button(text, onclick, kind = '') {
  return h('button', { type: 'button', class: kind, on: { click: onclick } }, text);
}

const SIGNS = { passing: '✓', warning: '!', critical: '✕', maintenance: '‖', allow: '✓', deny: '✕' };
export const STATES = ['critical', 'warning', 'maintenance', 'passing'];
/** What a filter by state offers. */
export const STATUS = [['all', 'Any'], ['critical', 'Critical'], ['warning', 'Warning'], ['maintenance', 'Maintenance'], ['passing', 'Passing']];

/** A state by colour, sign and word. */
export function badge(state, text = state) {
  return h('span', { class: `badge ${SIGNS[state] ? state : ''}` },
    h('span', { 'aria-hidden': 'true' }, SIGNS[state] ?? '·'), ' ', text);
}

/** The state that a check gives; maintenance is a critical check of its own name. */
export function stateOf(check) {
  const isMaintenance = check.CheckID === '_node_maintenance' || check.CheckID.startsWith('_service_maintenance:');
  return isMaintenance ? 'maintenance' : check.Status;
}

/** What a check says; the reason of a maintenance stands in its notes. */
export function outputOf(check) {
  return h('pre', { class: 'output' }, check.Output || (stateOf(check) === 'maintenance' && check.Notes) || 'no output');
}

export function worstOf(checks) {
  return worst(checks.map(stateOf));
}

/** How many there are of each. */
export function tally(states) {
  const byState = {};
  for (const state of states) byState[state] = (byState[state] ?? 0) + 1;
  return byState;
}

/** `{passing: 2, critical: 1}` as badges, worst first; zeros are left out. */
export function counts(byState, none = 'none') {
  const shown = STATES.filter((state) => byState[state] > 0);
  if (!shown.length) return h('span', { class: 'quiet' }, none);
  return h('span', { class: 'badges' }, shown.map((state) => badge(state, `${byState[state]} ${state}`)));
}

function worst(states) {
  const order = ['maintenance', 'critical', 'warning', 'passing'];
  return order.find((state) => states.includes(state)) ?? 'passing';
}

export function tags(list) {
  if (!list?.length) return h('span', { class: 'quiet' }, 'none');
  return h('ul', { class: 'tags' }, list.map((tag) => h('li', null, tag)));
}

/** Rows of cells; the first cell of a row is its header. */
export function table(caption, columns, rows) {
  const head = columns.map((title) => h('th', { scope: 'col', role: 'columnheader' }, title));
  const cell = (content, at) => at === 0
    ? h('th', { scope: 'row', role: 'rowheader' }, content)
    : h('td', { role: 'cell', 'data-label': columns[at] }, h('div', null, content));
  // The roles are written out: narrow screens lay rows out as blocks, and browsers then forget that it is a table.
  return h('table', { role: 'table' },
    h('caption', { class: 'unseen' }, caption),
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, head)),
    h('tbody', { role: 'rowgroup' }, rows.map((row) => h('tr', { role: 'row' }, row.map(cell)))));
}

/** Names and values; pairs without a value are left out. */
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== '');
  return h('dl', null, shown.map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value))));
}

export function map(object, none) {
  const pairs = Object.entries(object ?? {}).map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)]);
  return pairs.length ? facts(pairs) : h('p', { class: 'quiet' }, none);
}

export function section(title, ...children) {
  return h('section', null, h('h2', null, title), ...children);
}

/** Something went wrong, or is not as it was: said at once. */
export function alarm(title, ...what) {
  return h('section', { class: 'problem', role: 'alert' }, h('h2', null, title), ...what);
}

export function empty(title, ...what) {
  return h('div', { class: 'empty' }, h('p', null, h('strong', null, title)), ...what);
}

export function code(text) {
  const copy = navigator.clipboard
    && button('Copy', async (event) => {
      await navigator.clipboard.writeText(text);
      event.target.textContent = 'Copied';
    }, 'small');
  return h('div', { class: 'code' }, h('pre', { tabindex: '0' }, h('code', null, text)), copy);
}

export function field(label, control, hint) {
  control.id ||= `f-${label.toLowerCase().replace(/[^a-z]+/g, '-')}`;
  if (hint) control.setAttribute('aria-describedby', `${control.id}-hint`);
  return h('div', { class: 'field' }, h('label', { for: control.id }, label), control,
    hint && h('p', { class: 'hint', id: `${control.id}-hint` }, hint));
}

export function select(value, options) {
  return h('select', null, options.map(([key, text]) => h('option', { value: key, selected: key === value }, text)));
}

export function tabs(label, current, items) {
  return h('nav', { class: 'tabs', 'aria-label': label }, h('ul', null, items.map(([key, text, href]) =>
    h('li', null, h('a', { href, 'aria-current': key === current ? 'page' : null }, text)))));
}

/** Asks in a modal dialog; resolves to whether it was confirmed. */
export function confirm(title, confirmText, ...body) {
  const dialog = document.getElementById('dialog');
  return new Promise((resolve) => {
    let answer = false;
    const no = button('Cancel', () => dialog.close());
    const yes = button(confirmText, () => { answer = true; dialog.close(); }, 'danger');
    dialog.replaceChildren(h('h2', { id: 'dialog-title' }, title), ...kept(body), h('p', { class: 'actions' }, yes, no));
    dialog.addEventListener('close', () => resolve(answer), { once: true });
    dialog.showModal();
    no.focus();
  });
}

/** Says what happened, to eyes and to screen readers. */
export function notice(text, kind = 'good') {
  const box = document.getElementById('notice');
  box.replaceChildren(h('div', { class: `notice ${kind}` }, h('span', null, text),
    button('Dismiss', () => box.replaceChildren(), 'small')));
}

const UNITS = [['d', 86400], ['h', 3600], ['min', 60], ['s', 1]];

/** Seconds as at most two units: `1 h 5 min`. */
export function duration(seconds) {
  if (seconds > 0 && seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  let rest = Math.round(seconds);
  const parts = [];
  for (const [unit, size] of UNITS) {
    const n = Math.floor(rest / size);
    if (n > 0) parts.push(`${n} ${unit}`);
    rest -= n * size;
  }
  return parts.slice(0, 2).join(' ') || '0 s';
}

const GO_UNITS = { h: 3600, m: 60, s: 1, ms: 1e-3, 'µs': 1e-6, us: 1e-6, ns: 1e-9 };

/** A duration as Go writes it (`1h0m0s`, or nanoseconds as a number), for people. */
export function goDuration(text) {
  if (typeof text === 'number') return duration(text / 1e9);
  const parts = [...String(text).matchAll(/([\d.]+)(h|ms|us|µs|ns|m|s)/g)];
  return parts.length ? duration(parts.reduce((sum, [, n, unit]) => sum + n * GO_UNITS[unit], 0)) : text;
}

/** A moment in milliseconds since 1970 as `5 min ago`, with the exact time at hand. */
export function when(ms) {
  if (!(ms > 0)) return h('span', { class: 'quiet' }, 'unknown');
  const at = new Date(ms);
  return h('time', { datetime: at.toISOString(), title: at.toLocaleString(), 'data-ms': ms }, relative(ms));
}

function relative(ms) {
  const seconds = (Date.now() - ms) / 1000;
  const text = duration(Math.abs(seconds) < 60 ? Math.abs(seconds) : Math.round(Math.abs(seconds) / 60) * 60);
  if (Math.abs(seconds) < 1) return 'now';
  return seconds < 0 ? `in ${text}` : `${text} ago`;
}

export function refreshTimes() {
  for (const it of document.querySelectorAll('time[data-ms]')) it.textContent = relative(Number(it.dataset.ms));
}

export function bytes(n) {
  return n < 1024 ? `${n} ${n === 1 ? 'byte' : 'bytes'}` : `${(n / 1024).toFixed(1)} KiB`;
}

export function plural(n, one, many = `${one}s`) {
  return `${n.toLocaleString('en')} ${n === 1 ? one : many}`;
}

/** Rows that are drawn at first: more are slow to lay out, and nobody reads them. */
const ROWS_FIRST = 200;

/**
 * A list with a search box, filters (`{name, label, options, test(item, value)}`) and a live count. What is chosen stands
 * in the page's query. `draw` turns the items that are shown into an element.
 */
export function listing(page, { one, many, words, filters = [], draw, none, actions }) {
  let items = null;
  let limit = ROWS_FIRST;
  const search = h('input', { type: 'search', value: page.query.get('filter') ?? '', autocomplete: 'off', spellcheck: 'false' });
  const controls = filters.map((it) => [it, select(page.query.get(it.name) ?? it.options[0][0], it.options)]);
  const count = h('p', { class: 'count', role: 'status' });
  const body = h('div');
  const changed = () => {
    const query = { filter: search.value };
    for (const [it, control] of controls) query[it.name] = control.value === it.options[0][0] ? '' : control.value;
    page.setQuery(query);
    limit = ROWS_FIRST;
    render();
  };
  search.addEventListener('input', changed);
  for (const [, control] of controls) control.addEventListener('change', changed);
  const clear = () => {
    search.value = '';
    for (const [it, control] of controls) control.value = (it.options.find(([value]) => value === 'all') ?? it.options[0])[0];
    changed();
    search.focus();
  };

  function render() {
    if (!items) return;
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = items.filter((item) => {
      const text = words(item).join(' ').toLowerCase();
      return wanted.every((word) => text.includes(word)) && controls.every(([it, control]) => it.test(item, control.value));
    });
    const text = shown.length === items.length ? plural(shown.length, one, many) : `${shown.length} of ${plural(items.length, one, many)}`;
    if (count.textContent !== text) count.textContent = text;
    if (!items.length) return fill(body, none);
    if (!shown.length) return fill(body, empty(`No ${one} matches what is asked for.`, h('p', null, button('Show all', clear))));
    fill(body, draw(shown.slice(0, limit)), shown.length > limit
      && h('p', null, `The first ${limit} are shown. `, button(`Show all ${shown.length}`, () => { limit = Infinity; render(); })));
  }

  const form = h('form', { class: 'filters', role: 'search', on: { submit: (event) => event.preventDefault() } },
    field(`Search ${many}`, search), controls.map(([it, control]) => field(it.label, control)), actions && h('div', { class: 'field' }, actions));
  return { node: h('div', null, form, count, body), show(list) { items = list; render(); } };
}
