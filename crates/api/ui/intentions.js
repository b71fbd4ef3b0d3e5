// Intentions: who may call whom. List, create, edit, delete.

import { del, find, get, put } from './api.js';
import { alarm, badge, button, confirm, empty, facts, field, fill, h, link, listing, map, notice, section, select, table } from './dom.js';
import { matchText } from './routing.js';

const EXACT = '/v1/connect/intentions/exact';

export function intentions(page) {
  const [what, source, destination] = page.segments;
  if (what === 'create') return create(page);
  if (what === 'exact' && source && destination) return edit(page, source, destination);
  if (what) return byOldName(page, what);
  const box = page.open('Intentions');
  const list = listing(page, {
    one: 'intention', many: 'intentions',
    words: (it) => [it.SourceName, it.DestinationName, it.Action ?? '', it.Description ?? ''],
    filters: [{ name: 'access', label: 'Access', options: [['all', 'Any'], ['allow', 'Allow'], ['deny', 'Deny'], ['permissions', 'By request']], test: (it, value) => value === 'all' || (it.Action || 'permissions') === value }],
    none: empty('There is no intention that you may see.', h('p', null, 'Then the default policy of access control decides who may call whom: without access control, everybody. ', link(page.url('intentions', 'create'), 'Create an intention'), '.')),
    draw: (shown) => intentionTable(page, shown, 'Intentions'),
    actions: link(page.url('intentions', 'create'), 'Create an intention'),
  });
  page.watch('Reading the intentions', '/v1/connect/intentions', box, (all) => {
    if (!list.node.isConnected) fill(box, notEnforced(), list.node);
    list.show(byPrecedence(all ?? []));
  });
}

export function notEnforced() {
  return h('p', { class: 'why warning' }, 'This version keeps intentions and answers who may call whom, but refuses no connection by them: whoever reaches an instance may call it.');
}

/** What decides first comes first. */
export function byPrecedence(list) {
  return [...list].sort((a, b) => b.Precedence - a.Precedence || (a.DestinationName < b.DestinationName ? -1 : 1));
}

export function intentionTable(page, list, caption) {
  return table(caption, ['Source', 'May it call?', 'Destination', 'Precedence', 'Description', 'Action'], list.map((it) => [
    serviceLink(page, it.SourceName),
    it.Action ? badge(it.Action) : h('span', null, `by request (${it.Permissions?.length ?? 0})`),
    serviceLink(page, it.DestinationName), it.Precedence, it.Description || h('span', { class: 'quiet' }, 'none'),
    link(urlOf(page, it.SourceName, it.DestinationName), h('span', null, 'Edit', h('span', { class: 'unseen' }, ` the intention from ${it.SourceName} to ${it.DestinationName}`)))]));
}

function serviceLink(page, name) {
  return name === '*' ? '* (all services)' : link(page.url('services', name), name);
}

function urlOf(page, source, destination) {
  return page.url('intentions', 'exact', source, destination);
}

/** Consul's UI named intentions by `ns:source:ns:destination` or by a UUID. */
async function byOldName(page, name) {
  const parts = name.split(':').filter((it) => it !== 'default' || !name.startsWith('default:'));
  if (name.includes(':') && parts.length >= 2) return replaceUrl(page, parts[0], parts.at(-1));
  const box = page.open('Intention', { trail: [['Intentions', page.url('intentions')]] });
  const found = await page.attempt('Reading the intention', box, () => get(`/v1/connect/intentions/${encodeURIComponent(name)}`, { signal: page.signal }));
  if (found) replaceUrl(page, found.data.SourceName, found.data.DestinationName);
}

function replaceUrl(page, source, destination) {
  history.replaceState(null, '', urlOf(page, source, destination));
  page.reload();
}

async function create(page) {
  const box = page.open('Create an intention', { trail: [['Intentions', page.url('intentions')]] });
  const names = await serviceNames(page);
  if (page.signal.aborted) return;
  const choices = h('datalist', { id: 'service-names' }, ['*', ...names].map((value) => h('option', { value })));
  const input = (name) => h('input', { type: 'text', required: true, autocomplete: 'off', spellcheck: 'false', list: 'service-names', value: page.query.get(name) ?? '' });
  const source = input('source');
  const destination = input('destination');
  const said = h('div');
  const rest = bodyFields({ Action: 'allow' });
  const before = [source.value, destination.value, rest.text()].join();
  page.isDirty = () => [source.value, destination.value, rest.text()].join() !== before;
  const save = async (event) => {
    event.preventDefault();
    const query = { source: source.value.trim(), destination: destination.value.trim() };
    // `exact` overwrites: look first, so that nobody's intention is lost.
    const there = await page.attempt('Looking for the intention', said, async () => ({ found: (await find(EXACT, { query })).data }));
    if (!there) return;
    if (there.found) {
      return fill(said, alarm('Not created', h('p', null, `There is an intention from ${query.source} to ${query.destination} already. Nothing was changed.`),
        h('p', null, link(urlOf(page, query.source, query.destination), 'Edit it'))));
    }
    if (!await page.attempt('Creating the intention', said, () => put(EXACT, { query, body: JSON.stringify(rest.body()) }))) return;
    page.go(page.url('intentions'));
    notice(`The intention from ${query.source} to ${query.destination} is created.`);
  };
  fill(box, said, choices, h('form', { on: { submit: save } },
    field('Source', source, 'The service that calls; * for all.'), field('Destination', destination, 'The service that is called; * for all.'), rest.node,
    h('p', { class: 'actions' }, h('button', { type: 'submit', class: 'main' }, 'Create'), link(page.url('intentions'), 'Cancel'))));
}

async function serviceNames(page) {
  try {
    return Object.keys((await get('/v1/catalog/services', { signal: page.signal })).data);
  } catch {
    return []; // Names can be typed, too.
  }
}

/** What an intention says, and not of whom: allow, deny, or permissions by request. */
function bodyFields(it) {
  const action = select(it.Permissions?.length ? 'permissions' : it.Action, [['allow', 'Allow all calls'], ['deny', 'Deny all calls'], ['permissions', 'By request (HTTP only)']]);
  const description = h('input', { type: 'text', value: it.Description ?? '', maxlength: 512, autocomplete: 'off' });
  const sample = [{ Action: 'allow', HTTP: { PathPrefix: '/', Methods: ['GET'] } }];
  const permissions = h('textarea', { rows: 10, spellcheck: 'false' });
  permissions.value = JSON.stringify(it.Permissions?.length ? it.Permissions : sample, null, 2);
  const wrap = field('Permissions', permissions, 'JSON as of Consul: a list of Action and HTTP. The first that matches decides; what none matches is denied.');
  const check = () => {
    wrap.hidden = action.value !== 'permissions';
    permissions.setCustomValidity('');
    if (wrap.hidden) return;
    try {
      if (!Array.isArray(JSON.parse(permissions.value))) permissions.setCustomValidity('This must be a list: [ … ]');
    } catch (error) {
      permissions.setCustomValidity(`This is no JSON: ${error.message}`);
    }
  };
  action.addEventListener('change', check);
  permissions.addEventListener('input', check);
  check();
  return {
    node: [field('May it call?', action), wrap, field('Description', description)],
    body: () => ({ ...(action.value === 'permissions' ? { Permissions: JSON.parse(permissions.value) } : { Action: action.value }), Description: description.value, ...(it.Meta ? { Meta: it.Meta } : {}) }),
    text: () => JSON.stringify([action.value, permissions.value, description.value]),
  };
}

async function edit(page, source, destination) {
  const box = page.open(`${source} → ${destination}`, { trail: [['Intentions', page.url('intentions')]] });
  const query = { source, destination };
  const read = async () => (await find(EXACT, { query, signal: page.signal })).data;
  const answer = await page.attempt('Reading the intention', box, async () => ({ it: await read() }));
  if (!answer || page.signal.aborted) return;
  const { it } = answer;
  if (!it) {
    return fill(box, empty('There is no such intention (any more).', h('p', null, link(`${page.url('intentions', 'create')}?source=${encodeURIComponent(source)}&destination=${encodeURIComponent(destination)}`, 'Create it'))));
  }
  const said = h('div');
  const rest = bodyFields(it);
  const before = rest.text();
  page.isDirty = () => rest.text() !== before;
  const isUnchanged = async () => {
    const now = await read();
    if (now?.ModifyIndex === it.ModifyIndex) return true;
    fill(said, alarm('Changed by somebody else',
      h('p', null, now ? 'Somebody has changed this intention since you opened it. Nothing was done.' : 'Somebody has deleted this intention since you opened it. Nothing was done.'),
      h('p', null, button('Reload', () => { page.isDirty = () => false; page.reload(); }))));
    return false;
  };
  const act = async (doing, change, done) => {
    const isDone = await page.attempt(doing, said, async () => await isUnchanged() && await change());
    if (!isDone) return;
    page.go(page.url('intentions'));
    notice(done);
  };
  const save = (event) => {
    event.preventDefault();
    act('Saving the intention', () => put(EXACT, { query, body: JSON.stringify(rest.body()) }), `The intention from ${source} to ${destination} is saved.`);
  };
  const remove = async () => {
    const text = `Whether ${source} may call ${destination} is then decided by the next intention, or by the default policy.`;
    if (await confirm('Delete this intention?', 'Delete', h('p', null, text))) act('Deleting the intention', () => del(EXACT, { query }), `The intention from ${source} to ${destination} is deleted.`);
  };
  fill(box, facts([['Source', serviceLink(page, source)], ['Destination', serviceLink(page, destination)], ['Precedence', it.Precedence]]), said,
    h('form', { on: { submit: save } }, rest.node, h('p', { class: 'actions' }, h('button', { type: 'submit', class: 'main' }, 'Save'), button('Delete', remove, 'danger'), link(page.url('intentions'), 'Cancel'))),
    it.Permissions?.length > 0 && section('What it says', h('ol', null, it.Permissions.map((permission) => h('li', null, badge(permission.Action), ` if ${matchText({ HTTP: permission.HTTP })}`)))),
    it.Meta && section('Meta', map(it.Meta, 'No meta entries.')));
}
