// Access control: log in, and look at tokens, policies, roles and auth methods. Secrets of tokens are never put in lists.

import { at, get, setToken, token } from './api.js';
import { alarm, button, code, empty, facts, field, fill, goDuration, h, link, listing, map, notice, section, table, tabs, when } from './dom.js';

const TABS = { tokens: 'Tokens', policies: 'Policies', roles: 'Roles', 'auth-methods': 'Auth methods', login: 'Log in' };
const LISTS = { tokens: tokenList, policies: policyList, roles: roleList, 'auth-methods': methodList };
const VIEWS = { tokens: oneToken, policies: onePolicy, roles: oneRole, 'auth-methods': oneMethod };

export function acl(page) {
  const [given = '', id] = page.segments;
  const what = Object.hasOwn(TABS, given) ? given : token() ? 'tokens' : 'login';
  if (Object.hasOwn(VIEWS, what) && id && id !== 'create') return VIEWS[what](page, id);
  const under = tabs('Parts of access control', what, Object.entries(TABS).map(([key, text]) => [key, text, page.url('acls', key)]));
  const box = page.open(`Access: ${TABS[what].toLowerCase()}`, { under });
  if (what === 'login') return fill(box, loginForm(page));
  return LISTS[what](page, box);
}

function loginForm(page) {
  const secret = h('input', { type: 'password', required: true, autocomplete: 'current-password', spellcheck: 'false', value: '' });
  const said = h('div');
  const submit = async (event) => {
    event.preventDefault();
    const as = secret.value.trim();
    const answer = await page.attempt('Logging in', said, () => get('/v1/acl/token/self', { as }).catch((error) => {
      if (error.status === 401 || error.status === 403) return { refused: error };
      throw error;
    }));
    if (!answer) return;
    if (answer.refused) return fill(said, refusal(answer.refused));
    setToken(as);
    history.pushState(null, '', page.url('overview'));
    document.dispatchEvent(new Event('leno-session'));
    notice('You are logged in, in this tab, until you close it or log out.');
  };
  return h('div', null, token() && h('p', null, 'You are logged in. Another token takes its place.'), said,
    h('form', { on: { submit } }, field('Secret of a token', secret, 'The SecretID. It stays in this tab’s session storage, and is sent to this agent only.'),
      h('p', { class: 'actions' }, h('button', { type: 'submit', class: 'main' }, 'Log in'))),
    section('No token yet?', h('p', null, 'On a new agent with access control, this makes the first one, once:'), code('leno consul acl bootstrap')));
}

function refusal(error) {
  const isOff = error.status === 401;
  return alarm(isOff ? 'Access control is off' : 'Not logged in',
    isOff ? [h('p', null, 'Nobody needs a token on this agent: everybody may do everything.'), howToEnable()]
      : h('p', null, /ACL not found/.test(error.text) ? 'There is no such token, or it has expired. Give its secret (SecretID), not its AccessorID.' : error.text));
}

export function howToEnable() {
  return [h('p', null, 'To turn it on, start the agent with this in a configuration file (--config-file), then log in with that token:'),
    code('acl {\n  enabled        = true\n  default_policy = "deny"\n  tokens {\n    initial_management = "a UUID of your own"\n  }\n}')];
}

/** A list that does not wait for changes: these change seldom. */
async function showList(page, box, doing, path, options) {
  const list = listing(page, { ...options, filters: [] });
  const answer = await page.attempt(doing, box, () => get(path, { signal: page.signal }).catch((error) => {
    if (error.status === 401) return { isOff: true };
    throw error;
  }));
  if (!answer || page.signal.aborted) return;
  if (answer.isOff) return fill(box, empty('Access control is off on this agent: there is nothing here, and everybody may do everything.', howToEnable()));
  fill(box, list.node);
  list.show(answer.data.map(options.keep ?? ((it) => it)));
}

function withoutSecret({ SecretID, ...rest }) {
  return rest;
}

const links = (page, kind, list, field) => (list?.length
  ? h('ul', { class: 'tags' }, list.map((it) => h('li', null, link(page.url('acls', kind, it[field]), it.Name)))) : h('span', { class: 'quiet' }, 'none'));

function tokenList(page, box) {
  return showList(page, box, 'Reading the tokens', '/v1/acl/tokens', {
    one: 'token', many: 'tokens', keep: withoutSecret,
    words: (it) => [it.AccessorID, it.Description, it.AuthMethod ?? '', ...[...(it.Policies ?? []), ...(it.Roles ?? [])].map((to) => to.Name)],
    none: empty('There are no tokens that you may see.', code('leno consul acl token create -policy-name web')),
    draw: (shown) => table('Tokens', ['Token', 'Description', 'Policies', 'Roles', 'Created', 'Expires'], shown.map((it) => [
      link(page.url('acls', 'tokens', it.AccessorID), it.AccessorID), it.Description || '–', links(page, 'policies', it.Policies, 'ID'), links(page, 'roles', it.Roles, 'ID'),
      when(Date.parse(it.CreateTime)), it.ExpirationTime ? when(Date.parse(it.ExpirationTime)) : 'never'])),
  });
}

function policyList(page, box) {
  return showList(page, box, 'Reading the policies', '/v1/acl/policies', {
    one: 'policy', many: 'policies', words: (it) => [it.Name, it.Description, it.ID],
    none: empty('There are no policies that you may see.', code('leno consul acl policy create -name web -rules \'service "web" { policy = "write" }\'')),
    draw: (shown) => table('Policies', ['Policy', 'Description', 'ID'], shown.map((it) => [link(page.url('acls', 'policies', it.ID), it.Name), it.Description || '–', it.ID])),
  });
}

function roleList(page, box) {
  return showList(page, box, 'Reading the roles', '/v1/acl/roles', {
    one: 'role', many: 'roles', words: (it) => [it.Name, it.Description, it.ID, ...(it.Policies ?? []).map((to) => to.Name)],
    none: empty('There are no roles.', h('p', null, 'A role is a name for policies that many tokens share:'), code('leno consul acl role create -name shop -policy-name web')),
    draw: (shown) => table('Roles', ['Role', 'Description', 'Policies', 'Identities'], shown.map((it) => [
      link(page.url('acls', 'roles', it.ID), it.Name), it.Description || '–', links(page, 'policies', it.Policies, 'ID'), identities(page, it) ?? h('span', { class: 'quiet' }, 'none')])),
  });
}

function methodList(page, box) {
  return showList(page, box, 'Reading the auth methods', '/v1/acl/auth-methods', {
    one: 'auth method', many: 'auth methods', words: (it) => [it.Name, it.DisplayName ?? '', it.Type, it.Description],
    none: empty('There are no auth methods.', h('p', null, 'With one of type jwt, programs log in by tokens of your identity provider:'), code('leno consul acl auth-method create -type jwt -name ci -config @ci.json')),
    draw: (shown) => table('Auth methods', ['Auth method', 'Type', 'Description', 'Longest login'], shown.map((it) => [
      link(page.url('acls', 'auth-methods', it.Name), it.DisplayName || it.Name), it.Type, it.Description || '–', it.MaxTokenTTL ? goDuration(it.MaxTokenTTL) : 'without end'])),
  });
}

function identities(page, it) {
  const list = [...(it.ServiceIdentities ?? []).map((to) => ['service ', link(page.url('services', to.ServiceName), to.ServiceName)]),
    ...(it.NodeIdentities ?? []).map((to) => ['node ', link(page.url('nodes', to.NodeName), to.NodeName)]),
    ...(it.TemplatedPolicies ?? []).map((to) => [`${to.TemplateName} `, Object.values(to.TemplateVariables ?? {}).join(' ')])];
  return list.length ? h('ul', { class: 'tags' }, list.map((to) => h('li', null, to))) : null;
}

async function view(page, kind, one, path, draw) {
  const box = page.open(`Access: ${one}`, { trail: [[TABS[kind], page.url('acls', kind)]] });
  const answer = await page.attempt(`Reading the ${one}`, box, () => get(path, { signal: page.signal }));
  if (!answer || page.signal.aborted) return;
  await draw(answer.data, box);
}

function rename(text) {
  document.querySelector('main h1').textContent = text;
  document.title = `${text} – Leno`;
}

function oneToken(page, id) {
  return view(page, 'tokens', 'token', at`/v1/acl/token/${id}`, (it, box) => {
    rename(it.Description || `Token ${id.slice(0, 8)}`);
    fill(box, facts([['AccessorID', it.AccessorID], ['Secret', secretOf(it)], ['Policies', links(page, 'policies', it.Policies, 'ID')], ['Roles', links(page, 'roles', it.Roles, 'ID')],
      ['Identities', identities(page, it)], ['Auth method', it.AuthMethod && link(page.url('acls', 'auth-methods', it.AuthMethod), it.AuthMethod)],
      ['Created', when(Date.parse(it.CreateTime))], ['Expires', it.ExpirationTime ? when(Date.parse(it.ExpirationTime)) : 'never']]));
  });
}

function secretOf(it) {
  if (!it.SecretID || it.SecretID === '<hidden>') return h('span', { class: 'quiet' }, 'hidden from you');
  const box = h('span', null, button('Show', () => fill(box, h('code', null, it.SecretID), ' ', button('Hide', () => box.replaceWith(secretOf(it)), 'small')), 'small'));
  return box;
}

function onePolicy(page, id) {
  return view(page, 'policies', 'policy', at`/v1/acl/policy/${id}`, async (it, box) => {
    rename(it.Name);
    const used = h('div');
    fill(box, facts([['Description', it.Description], ['ID', it.ID], ['Datacenters', it.Datacenters?.join(', ')]]),
      section('Rules', it.Rules ? code(it.Rules) : h('p', { class: 'quiet' }, 'It has no rules: it grants nothing.')), used);
    await usedBy(page, used, { policy: it.ID });
  });
}

function oneRole(page, id) {
  return view(page, 'roles', 'role', at`/v1/acl/role/${id}`, async (it, box) => {
    rename(it.Name);
    const used = h('div');
    fill(box, facts([['Description', it.Description], ['ID', it.ID], ['Policies', links(page, 'policies', it.Policies, 'ID')], ['Identities', identities(page, it)]]), used);
    await usedBy(page, used, { role: it.ID });
  });
}

async function usedBy(page, box, query) {
  const answer = await page.attempt('Reading the tokens', box, () => get('/v1/acl/tokens', { query, signal: page.signal }));
  if (!answer || page.signal.aborted) return;
  const list = answer.data.map(withoutSecret);
  fill(box, section('Tokens with it', list.length
    ? h('ul', null, list.map((it) => h('li', null, link(page.url('acls', 'tokens', it.AccessorID), it.Description || it.AccessorID)))) : h('p', { class: 'quiet' }, 'None directly.')));
}

/** Settings of auth methods whose values are secret. */
const SECRET = /^ServiceAccountJWT$|Secret/i;

function oneMethod(page, name) {
  return view(page, 'auth-methods', 'auth method', at`/v1/acl/auth-method/${name}`, async (it, box) => {
    rename(it.DisplayName || it.Name);
    const config = Object.fromEntries(Object.entries(it.Config ?? {}).map(([key, value]) => [key, SECRET.test(key) ? '(hidden)' : value]));
    const rules = await page.attempt('Reading the binding rules', box, () => get('/v1/acl/binding-rules', { query: { authmethod: name }, signal: page.signal }));
    if (!rules) return;
    fill(box, facts([['Name', it.Name], ['Type', it.Type], ['Description', it.Description], ['Longest login', it.MaxTokenTTL ? goDuration(it.MaxTokenTTL) : 'without end'], ['Tokens are', it.TokenLocality]]),
      section('Binding rules', rules.data.length
        ? table('Binding rules', ['Gives', 'To whom', 'Description'], rules.data.map((rule) => [`${rule.BindType} ${rule.BindName ?? ''}`, rule.Selector ? h('code', null, rule.Selector) : 'everybody who logs in', rule.Description || '–']))
        : empty('No binding rule: nobody gets anything by logging in.', code(`leno consul acl binding-rule create -method ${name} -bind-type role -bind-name shop`))),
      section('Settings', map(config, 'No settings.')));
  });
}
