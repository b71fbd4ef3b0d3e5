// Keys and values: folders, and one key. Saving and deleting hold only for the version that was read.

import { del, encodeKey, find, put } from './api.js';
import { alarm, button, bytes, code, confirm, empty, facts, field, fill, h, link, listing, notice, plural, section, table } from './dom.js';

export function kv(page) {
  const path = page.segments.join('/');
  const last = page.segments.at(-1);
  if (page.segments.length > 1 && last === 'edit') return edit(page, path.slice(0, -'/edit'.length));
  if (last === 'create') return create(page, path.slice(0, -'create'.length));
  const folder = path === '' || path.endsWith('/') ? path : `${path}/`;
  return browse(page, folder);
}

const apiOf = (key) => `/v1/kv/${encodeKey(key)}`;

function folderUrl(page, folder) {
  return `${page.url('kv')}/${encodeKey(folder)}`;
}

function keyUrl(page, key) {
  return `${page.url('kv')}/${encodeKey(key)}/edit`;
}

function parentOf(key) {
  return key.slice(0, key.replace(/\/$/, '').lastIndexOf('/') + 1);
}

/** The folders above a key or folder, from the top. */
function trailTo(page, key) {
  const trail = [['Key/Value', folderUrl(page, '')]];
  for (let end = key.indexOf('/'); end >= 0 && end < key.length - 1; end = key.indexOf('/', end + 1)) {
    trail.push([key.slice(key.lastIndexOf('/', end - 1) + 1, end) || '(no name)', folderUrl(page, key.slice(0, end + 1))]);
  }
  return trail;
}

/** Links cannot be made for the few keys that no path can name. */
function linkTo(urlOf, key, text) {
  try {
    return link(urlOf(key), text);
  } catch {
    return [text, h('div', { class: 'quiet' }, 'This name cannot stand in a path: use ', h('code', null, 'leno kv'), '.')];
  }
}

function browse(page, folder) {
  const name = folder.slice(parentOf(folder).length, -1);
  const box = page.open(folder === '' ? 'Key/Value' : `${name || '(no name)'}/`, { trail: folder === '' ? [] : trailTo(page, folder) });
  const said = h('div');
  const created = `${page.url('kv')}/${encodeKey(folder)}create`;
  const actions = h('div', { class: 'actions' }, link(created, 'Create a key'), folder !== '' && button('Delete this folder', () => deleteFolder(page, folder, said), 'danger'));
  const list = listing(page, {
    one: 'entry', many: 'entries',
    words: (it) => [it.slice(folder.length)],
    filters: [{ name: 'type', label: 'Type', options: [['all', 'All'], ['folders', 'Folders'], ['keys', 'Keys']], test: (it, value) => value === 'all' || it.endsWith('/') === (value === 'folders') }],
    none: empty(folder === '' ? 'There is no key that you may see.' : 'There is no key in this folder (any more).',
      h('p', null, link(created, 'Create a key'), ', or write one with a command:'), code(`leno kv put ${quoted(`${folder}limit`)} 100`)),
    draw: (shown) => table(folder === '' ? 'Keys and folders' : `Keys and folders in ${folder}`, ['Name', 'Type'], shown.map((it) => {
      const text = it.slice(folder.length);
      return it.endsWith('/') ? [linkTo((key) => folderUrl(page, key), it, text), 'folder'] : [linkTo((key) => keyUrl(page, key), it, text), 'key'];
    })),
    actions,
  });
  page.watch(`Reading the keys under “${folder}”`, apiOf(folder), box, (keys) => {
    if (!list.node.isConnected) fill(box, said, list.node);
    // The folder's own key is how Consul's UI makes an empty folder.
    const inside = (keys ?? []).filter((it) => it !== folder);
    inside.sort((a, b) => b.endsWith('/') - a.endsWith('/') || (a < b ? -1 : 1));
    list.show(inside);
  }, { query: { keys: '', separator: '/' } });
}

function quoted(text) {
  return /^[\w./:@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

async function deleteFolder(page, folder, said) {
  const keys = await page.attempt('Counting the keys', said, () => find(apiOf(folder), { query: { keys: '' } }));
  if (!keys) return;
  const all = keys.data ?? [];
  const isSure = await confirm(`Delete ${folder} ?`, `Delete ${plural(all.length, 'key')}`,
    h('p', null, `${plural(all.length, 'key')} under “${folder}” will be deleted. This cannot be undone.`),
    h('ul', null, all.slice(0, 10).map((key) => h('li', null, key)), all.length > 10 && h('li', null, `and ${all.length - 10} more`)));
  if (!isSure || !await page.attempt(`Deleting ${folder}`, said, () => del(apiOf(folder), { query: { recurse: '' } }))) return;
  page.go(folderUrl(page, parentOf(folder)));
  notice(`${folder} is deleted.`);
}

function create(page, folder) {
  const box = page.open('Create a key', { trail: [...trailTo(page, `${folder}x`)] });
  const name = h('input', { type: 'text', value: '', required: true, autocomplete: 'off', spellcheck: 'false', maxlength: 1024 });
  const value = h('textarea', { rows: 12, spellcheck: 'false' });
  const said = h('div');
  const save = async (event) => {
    event.preventDefault();
    const key = folder + name.value;
    const saved = await page.attempt(`Creating ${key}`, said, () => put(apiOf(key), { query: { cas: 0 }, body: value.value }));
    if (!saved) return;
    if (saved.data !== true) {
      return fill(said, alarm('Not created', h('p', null, `There is a key ${key} already. Nothing was changed.`), h('p', null, linkTo((it) => keyUrl(page, it), key, 'Edit it'))));
    }
    page.go(key.endsWith('/') ? folderUrl(page, key) : keyUrl(page, key));
    notice(`${key} is created.`);
  };
  page.isDirty = () => name.value !== '' || value.value !== '';
  fill(box, said, h('form', { on: { submit: save } }, folder !== '' && h('p', null, 'In ', h('strong', null, folder)),
    field('Key', name, 'A / makes folders. A name that ends with / is an empty folder.'), field('Value', value),
    h('p', { class: 'actions' }, h('button', { type: 'submit', class: 'main' }, 'Create'), link(folderUrl(page, folder), 'Cancel'))));
}

function decode(base64) {
  return Uint8Array.from(atob(base64 ?? ''), (it) => it.charCodeAt(0));
}

/** The text of bytes; `null` when they are none. */
function textOf(data) {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data);
    // eslint-disable-next-line no-control-regex -- these are what makes it binary
    return /[\u0000-\u0008\u000b\u000c\u000e-\u001f]/.test(text) ? null : text;
  } catch {
    return null;
  }
}

/** Reads a key; `Flags` has 64 bits, more than a number of JavaScript. */
async function readKey(page, key) {
  const { data, raw } = await find(apiOf(key), { signal: page.signal });
  if (!data) return null;
  return { ...data[0], Flags: /"Flags":\s*(\d+)/.exec(raw)[1], bytes: decode(data[0].Value) };
}

async function edit(page, key) {
  const name = key.slice(parentOf(key).length);
  const box = page.open(name, { trail: trailTo(page, key) });
  const said = h('div');
  fill(box, h('p', { class: 'quiet', role: 'status' }, 'Loading…'));
  const entry = await page.attempt(`Reading ${key}`, box, async () => ({ read: await readKey(page, key) }));
  if (!entry || page.signal.aborted) return;
  if (!entry.read) {
    return fill(box, empty(`There is no key ${key} (any more).`, h('p', null, link(`${page.url('kv')}/${encodeKey(parentOf(key))}create`, 'Create a key'), ' or look at ', link(folderUrl(page, parentOf(key)), 'its folder'), '.')));
  }
  const it = entry.read;
  const session = h('div');
  fill(box, said, session, form(page, key, it, said), section('About', facts([['Key', key], ['Size', bytes(it.bytes.length)],
    ['Flags', it.Flags === '0' ? null : it.Flags], ['Written at index', it.ModifyIndex], ['Created at index', it.CreateIndex], ['Locked', `${plural(it.LockIndex, 'time')} so far`]])));
  if (it.Session) showLock(page, it.Session, session);
  watchChange(page, key, it, said);
}

/** Says that the key was changed under the reader's eyes, but leaves what was typed. */
function watchChange(page, key, it, said) {
  page.watch(`Following ${key}`, apiOf(key), h('div'), (now) => {
    if (now?.[0].ModifyIndex === it.ModifyIndex || page.isSaving) return;
    conflict(page, key, said, now ? 'Somebody has changed this key since you opened it.' : 'Somebody has deleted this key since you opened it.');
  });
}

function conflict(page, key, said, text) {
  document.getElementById('notice').replaceChildren();
  const copy = h('p', null, 'What you typed is still below: copy it before you reload, if you need it.');
  fill(said, alarm('Changed by somebody else', h('p', null, text), page.isDirty() && copy,
    h('p', null, button('Reload', () => { page.isDirty = () => false; page.reload(); }))));
}

async function showLock(page, id, box) {
  const found = await find(`/v1/session/info/${id}`, { signal: page.signal }).catch(() => null);
  const it = found?.data?.[0];
  if (page.signal.aborted) return;
  fill(box, h('section', { class: 'why warning' }, h('h2', null, 'Locked'),
    h('p', null, 'Its holder expects that nobody else writes it.'),
    facts([['Session', id], ['Name', it?.Name], ['Node', it && link(page.url('nodes', it.Node), it.Node)], ['When the session ends', it && (it.Behavior === 'delete' ? 'the key is deleted' : 'the key stays, unlocked')]]),
    !it && h('p', { class: 'quiet' }, 'More about the session cannot be read.')));
}

/** What ends the lines of a text area becomes \n: a value with \r\n gets it back. */
function lineEnds(text) {
  const crlf = (text.match(/\r\n/g) ?? []).length;
  const others = (text.match(/\r(?!\n)|(?<!\r)\n/g) ?? []).length;
  if (crlf && !others) return { write: (it) => it.replaceAll('\n', '\r\n'), hint: 'Its lines end with CRLF, and will.' };
  return { write: (it) => it, hint: text.includes('\r') ? 'It mixes line ends: saving makes all of them LF.' : undefined };
}

function form(page, key, it, said) {
  const text = textOf(it.bytes);
  const ends = lineEnds(text ?? '');
  const value = h('textarea', { rows: 16, spellcheck: 'false' });
  value.value = text ?? '';
  const before = value.value;
  page.isDirty = () => value.value !== before;
  if (text !== null) {
    return h('form', { on: { submit: (event) => { event.preventDefault(); save(page, key, it, ends.write(value.value), said); } } },
      field('Value', value, ends.hint), h('p', { class: 'actions' }, h('button', { type: 'submit', class: 'main' }, 'Save'),
        download(key, it.bytes), removal(page, key, it, said)));
  }
  const replace = async () => {
    if (!await confirm('Replace it by text?', 'Replace', h('p', null, `${bytes(it.bytes.length)} would be replaced by what you type next. Download them first, if nobody else has them.`))) return;
    box.replaceWith(form(page, key, { ...it, bytes: new Uint8Array() }, said));
  };
  const box = section('Value', h('p', null, `This value is binary (${bytes(it.bytes.length)}): it is no UTF-8 text, and is not shown as such.`),
    h('pre', { class: 'output hex', tabindex: '0', 'aria-label': 'The first bytes' }, hex(it.bytes.subarray(0, 256))),
    h('p', { class: 'actions' }, download(key, it.bytes), button('Replace by text…', replace), removal(page, key, it, said)));
  return box;
}

function hex(data) {
  const lines = [];
  for (let at = 0; at < data.length; at += 16) {
    const row = [...data.subarray(at, at + 16)];
    lines.push(`${at.toString(16).padStart(4, '0')}  ${row.map((it) => it.toString(16).padStart(2, '0')).join(' ').padEnd(47)}  ${row.map((it) => (it > 31 && it < 127 ? String.fromCharCode(it) : '.')).join('')}`);
  }
  return lines.join('\n');
}

function download(key, data) {
  const start = () => {
    const url = URL.createObjectURL(new Blob([data]));
    h('a', { href: url, download: key.split('/').filter(Boolean).at(-1) || 'value' }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  };
  return button('Download', start);
}

async function save(page, key, it, body, said) {
  page.isSaving = true;
  const saved = await page.attempt(`Saving ${key}`, said, () => put(apiOf(key), { query: { cas: it.ModifyIndex, flags: it.Flags }, body }));
  page.isSaving = false;
  if (!saved) return;
  if (saved.data !== true) return conflict(page, key, said, 'Nothing was saved: somebody has changed or deleted this key since you opened it.');
  page.isDirty = () => false;
  page.reload();
  notice(`${key} is saved.`);
}

function removal(page, key, it, said) {
  const remove = async () => {
    if (!await confirm(`Delete ${key} ?`, 'Delete', h('p', null, it.Session ? 'Somebody holds it as a lock. ' : '', 'This cannot be undone.'))) return;
    page.isSaving = true;
    const done = await page.attempt(`Deleting ${key}`, said, () => del(apiOf(key), { query: { cas: it.ModifyIndex } }));
    page.isSaving = false;
    if (!done) return;
    if (done.data !== true) return conflict(page, key, said, 'Nothing was deleted: somebody has changed this key since you opened it.');
    page.go(folderUrl(page, parentOf(key)));
    notice(`${key} is deleted.`);
  };
  return button('Delete', remove, 'danger');
}
