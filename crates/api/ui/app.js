// The frame of all pages: which page a path means, navigation, errors, and who is logged in.

import { find, get, retryNow, setToken, token, watch, watchConnection } from './api.js';
import { alarm, button, code, confirm, facts, fill, h, link, refreshTimes } from './dom.js';
import { acl, howToEnable } from './acl.js';
import { explain } from './explain.js';
import { intentions } from './intentions.js';
import { kv } from './kv.js';
import { nodes } from './nodes.js';
import { overview } from './overview.js';
import { services } from './services.js';

const BASE = '/ui/';
const PAGES = { overview, services, nodes, kv, intentions, acls: acl, explain };
/** Names that pages have in Consul's UI. */
const OLD_NAMES = { overview: 'overview', settings: 'acls', login: 'acls', acl: 'acls', 'routing-config': 'services' };

const main = document.getElementById('main');
let page = null;
let agent = null;

function urlOf(dc, segments) {
  return BASE + [dc, ...segments].map(encodeURIComponent).join('/');
}

class Page {
  constructor(dc, segments, query) {
    this.stop = new AbortController();
    Object.assign(this, { dc, segments, query, signal: this.stop.signal, isDirty: () => false, here: location.href });
  }

  url(...segments) {
    return urlOf(this.dc, segments);
  }

  /** Names the page; what it shows goes into the box that is returned. */
  open(title, { under, trail = [] } = {}) {
    document.title = `${title} – Leno`;
    const box = h('div');
    const crumbs = trail.length > 0 && h('nav', { 'aria-label': 'Where this is', class: 'trail' },
      h('ol', null, trail.map(([text, href]) => h('li', null, link(href, text)))));
    fill(main, crumbs, h('h1', { tabindex: '-1' }, title), under, box);
    return box;
  }

  setQuery(changes) {
    for (const [name, value] of Object.entries(changes)) {
      if (value) this.query.set(name, value); else this.query.delete(name);
    }
    const search = this.query.toString();
    history.replaceState(null, '', location.pathname + (search ? `?${search}` : ''));
    this.here = location.href;
  }

  go(url) {
    this.isDirty = () => false;
    history.pushState(null, '', url);
    show(true);
  }

  reload() {
    show(false);
  }

  problem(doing, error, retry) {
    return problem(doing, error, retry);
  }

  /** Shows what a read says, and again with each change. */
  watch(doing, path, box, draw, options = {}) {
    fill(box, h('p', { class: 'quiet', role: 'status' }, 'Loading…'));
    const start = () => watch(path, { ...options, signal: this.signal }, draw,
      (error) => fill(box, problem(doing, error, start)));
    start();
  }

  /** Does what may fail; says so in `box` if it does, and resolves to `null`. */
  async attempt(doing, box, act) {
    box.replaceChildren();
    try {
      return await act();
    } catch (error) {
      if (this.signal.aborted) return null;
      fill(box, problem(doing, error));
      box.scrollIntoView({ block: 'nearest' });
      return null;
    }
  }
}

/** What went wrong, where, and what to do. */
function problem(doing, error, retry) {
  if (error.status === undefined) console.error(error);
  const { what, todo } = diagnosis(error);
  return alarm(`${doing} failed`, h('p', null, what), todo,
    error.path && h('p', { class: 'quiet' }, `${error.method} ${error.path} answered ${error.status || 'nothing'}${error.text ? `: ${error.text.slice(0, 500)}` : '.'}`),
    retry && h('p', null, button('Try again', retry)));
}

function diagnosis(error) {
  const { status, text, lacks } = error;
  if (status === 0) return { what: 'The agent does not answer.', todo: h('p', null, `Check that it runs, and that ${location.origin} reaches it.`) };
  if (status === 401) {
    return { what: 'Access control is off on this agent: there are no tokens, and everybody may do everything.', todo: howToEnable() };
  }
  if (lacks) {
    const who = token() ? 'Your token' : 'Without a token, you';
    const of = lacks.name === undefined ? '' : ` on “${lacks.name}”`;
    const verb = token() ? 'lacks' : 'lack';
    return { what: `${who} ${verb} the permission ${lacks.resource}:${lacks.right}${of}.`, todo: [
      h('p', null, 'A policy grants it with this rule:'), code(ruleFor(lacks)),
      h('p', null, link(urlOf(agent.dc, ['acls', 'login']), token() ? 'Log in with another token' : 'Log in'), '.')] };
  }
  if (status === 403 && /ACL not found/.test(text)) {
    return { what: 'The token that you logged in with is not known: it was deleted, or has expired.', todo: h('p', null, button('Log out', () => logout())) };
  }
  if (status === 403) return { what: 'This is not allowed.', todo: h('p', null, link(urlOf(agent.dc, ['acls', 'login']), 'Log in'), ' with a token that may do it.') };
  if (status === 404) return { what: 'It is not there (any more).' };
  if (status === 413) return { what: 'It is too large.' };
  if (status === 429) return { what: 'Too many requests or connections from your address.', todo: h('p', null, 'Close other tabs, or wait a moment.') };
  if (status === 501) return { what: 'This version of the agent cannot do that.' };
  if (status === undefined) return { what: 'This page has a fault.', todo: h('p', null, `Please report it: ${error.message}`) };
  return { what: 'The agent refused it.' };
}

function ruleFor({ resource, right, name }) {
  const quoted = JSON.stringify(name ?? '');
  if (['acl', 'operator', 'keyring', 'mesh', 'peering'].includes(resource)) return `${resource} = "${right}"`;
  if (resource === 'intention') return `service ${quoted} { policy = "read", intentions = "${right}" }`;
  return name === undefined ? `${resource}_prefix "" { policy = "${right}" }` : `${resource} ${quoted} { policy = "${right}" }`;
}

/** The page for the path that the browser shows. */
function read() {
  const path = location.pathname.slice(BASE.length);
  let segments;
  try {
    segments = path.split('/').map(decodeURIComponent);
  } catch {
    return { unknown: path };
  }
  const isPage = (name) => Object.hasOwn(PAGES, name) || Object.hasOwn(OLD_NAMES, name);
  if (segments[0] === '' || (isPage(segments[0]) && segments[0] !== agent.dc)) {
    segments = [agent.dc, ...(segments[0] === '' ? ['overview'] : segments)];
    history.replaceState(null, '', urlOf(agent.dc, segments.slice(1)) + location.search);
  }
  const [dc, given = '', ...rest] = segments;
  const name = given === '' ? 'overview' : OLD_NAMES[given] ?? given;
  if (dc && dc.toLowerCase() !== agent.dc.toLowerCase()) return { dc };
  return Object.hasOwn(PAGES, name) ? { name, rest } : { unknown: path };
}

/** Shows the page for the path; `isMove` when somebody went there from another one. */
function show(isMove) {
  page?.stop.abort();
  const { name, rest, dc, unknown } = read();
  page = new Page(agent.dc, rest ?? [], new URLSearchParams(location.search));
  if (isMove) document.getElementById('notice').replaceChildren();
  for (const it of document.querySelectorAll('#nav a')) {
    const [, own] = it.pathname.slice(BASE.length).split('/');
    const isShown = own === name;
    if (isShown) it.setAttribute('aria-current', 'page'); else it.removeAttribute('aria-current');
    // On narrow screens the bar scrolls.
    if (isShown) it.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }
  if (dc !== undefined) {
    fill(page.open(`There is no datacenter “${dc}” here`), h('p', null, `This agent is of ${agent.dc}. `, link(page.url('overview'), `Go to ${agent.dc}`)));
  } else if (unknown !== undefined) {
    fill(page.open('There is no such page'), h('p', null, `Nothing is at ${BASE}${unknown}. `, link(page.url('overview'), 'Go to the overview')));
  } else {
    try {
      PAGES[name](page);
    } catch (error) {
      fill(main, problem('Showing this page', error));
    }
  }
  if (isMove) {
    scrollTo(0, 0);
    main.querySelector('h1')?.focus({ preventScroll: true });
  }
}

async function followLink(event) {
  const anchor = event.target.closest?.('a[href]');
  if (!anchor || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  if (anchor.origin !== location.origin || !anchor.pathname.startsWith(BASE) || anchor.hasAttribute('download') || anchor.target) return;
  if (anchor.hash && anchor.pathname === location.pathname) return;
  event.preventDefault();
  if (page?.isDirty() && !await mayLeave()) return;
  history.pushState(null, '', anchor.href);
  show(true);
}

async function goBack() {
  const to = location.href;
  if (page && to.split('#')[0] === page.here.split('#')[0]) return;
  if (page?.isDirty()) {
    history.pushState(null, '', page.here);
    if (!await mayLeave()) return;
    history.replaceState(null, '', to);
  }
  show(true);
}

function mayLeave() {
  return confirm('Leave without saving?', 'Leave', h('p', null, 'What you changed on this page would be lost.'));
}

function logout() {
  setToken('');
  start();
}

/** Who is logged in, with a way out or in. */
async function showSession() {
  const box = document.getElementById('session');
  const login = link(urlOf(agent.dc, ['acls', 'login']), 'Log in');
  if (!token()) return fill(box, login);
  let name = 'a token';
  try {
    const { data } = await get('/v1/acl/token/self');
    name = data.Description || `token ${data.AccessorID.slice(0, 8)}`;
  } catch (error) {
    if (error.status === 401) name = 'a token that is not needed';
    if (error.status === 403) name = 'a token that is not known';
  }
  fill(box, h('span', null, `As ${name}`), ' ', button('Log out', logout, 'small'));
}

async function showVersions() {
  const box = document.getElementById('footer');
  const [status, consul] = await Promise.all(['/leno/v1/status', '/v1/agent/version'].map((path) => find(path).then((it) => it.data, () => null)));
  fill(box, facts([['Leno', status?.version], ['Speaks Consul', status?.consul_version ?? consul?.HumanVersion], ['Agent', status?.node],
    ['Datacenter', agent.dc], ['Data', status?.dev && 'in memory only (--dev)'], ['Times', Intl.DateTimeFormat().resolvedOptions().timeZone]]));
}

function showConnection(error) {
  const box = document.getElementById('connection');
  if (!error) return box.firstChild && fill(box);
  const what = error.status === 0 ? 'Not connected to the agent' : `The agent cannot answer now (${error.status})`;
  const text = `${what}: ${error.text || 'no reason given'} What you see may be out of date. Trying again…`;
  if (box.querySelector('span')?.textContent !== text) fill(box, h('div', { class: 'notice bad' }, h('span', null, text), button('Try now', retryNow, 'small')));
}

async function start() {
  page?.stop.abort();
  try {
    const { data } = await get('/v1/catalog/datacenters', { as: '' });
    agent = { dc: data[0] };
  } catch (error) {
    document.title = 'Not connected – Leno';
    agent ??= { dc: 'dc1' };
    return fill(main, h('h1', null, 'Not connected'), problem('Finding the agent', error, start));
  }
  showConnection(null);
  for (const it of document.querySelectorAll('#nav a')) {
    const path = it.pathname.slice(BASE.length);
    if (!path.startsWith(`${encodeURIComponent(agent.dc)}/`)) it.href = `${BASE}${encodeURIComponent(agent.dc)}/${path}`;
  }
  showSession();
  showVersions();
  show(false);
}

watchConnection(showConnection);
document.addEventListener('click', followLink);
document.addEventListener('leno-session', start);
addEventListener('popstate', goBack);
addEventListener('beforeunload', (event) => { if (page?.isDirty()) event.preventDefault(); });
setInterval(refreshTimes, 15_000);
start();
