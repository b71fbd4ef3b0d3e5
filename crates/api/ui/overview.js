// The first page: is all well, and if not, what is critical right now.

import { get } from './api.js';
import { STATES, badge, empty, fill, h, link, outputOf, plural, section, stateOf, table, tally, when, worstOf } from './dom.js';

/** Every change in the catalog wakes this page; it reads much, so not more often than this. */
const GAP_MS = 2000;
const SHOWN_MAX = 50;

export function overview(page) {
  const box = page.open('Overview');
  page.watch('Reading the overview', '/leno/v1/services', box, async (services) => {
    const read = (path) => get(path, { signal: page.signal }).then((it) => it.data);
    const [nodes, checks] = await Promise.all(['/v1/catalog/nodes', '/v1/health/state/any'].map(read));
    const bad = checks.filter((it) => it.Status !== 'passing').map((it) => ({ ...it, state: stateOf(it) }));
    const since = await reasons(page, services, bad);
    fill(box, verdict(bad, checks.length), numbers(page, services, nodes, checks),
      ['critical', 'warning', 'maintenance'].map((state) => trouble(page, bad, since, state)),
      services.length === 0 && nothing(page));
  }, { gap: GAP_MS });
}

/** When checks of services got into their state, by node and check: only the verdicts know. */
async function reasons(page, services, bad) {
  const since = new Map();
  const ofServices = [...new Set(bad.slice(0, SHOWN_MAX).map((it) => it.ServiceName).filter(Boolean))].slice(0, 10);
  const lists = await Promise.all(ofServices.map((name) =>
    get(`/leno/v1/services/${encodeURIComponent(name)}`, { signal: page.signal }).then((it) => it.data, () => [])));
  for (const instance of lists.flat()) {
    for (const it of instance.Reasons) since.set(`${instance.Node} ${it.Check}`, it.SinceMs);
  }
  return since;
}

function verdict(bad, total) {
  if (!total) return h('p', { class: 'verdict' }, 'There are no checks, or you may see none.');
  const { critical, warning } = tally(bad.map((it) => it.state));
  if (critical) return h('p', { class: 'verdict critical' }, `${plural(critical, 'check')} critical${warning ? `, ${warning} warning` : ''}.`);
  if (warning) return h('p', { class: 'verdict warning' }, `${plural(warning, 'check')} warning, none critical.`);
  return h('p', { class: 'verdict passing' }, bad.length ? 'All checks pass but for what is in maintenance.' : 'All checks pass.');
}

function numbers(page, services, nodes, checks) {
  const sum = (name) => services.reduce((n, it) => n + it[name], 0);
  const instances = { critical: sum('Critical'), warning: sum('Warning'), maintenance: sum('Maintenance'), passing: sum('Passing') };
  const field = (state) => state[0].toUpperCase() + state.slice(1);
  const byService = tally(services.map((it) => STATES.find((state) => it[field(state)] > 0) ?? 'passing'));
  const ofNode = new Map(nodes.map((it) => [it.Node, []]));
  for (const it of checks) if (!it.ServiceID) ofNode.get(it.Node)?.push(it);
  return h('ul', { class: 'cards' }, [
    card('Services', services.length, byService, (state) => `${page.url('services')}?status=${state}`),
    card('Instances', sum('Instances'), instances),
    card('Nodes', nodes.length, tally([...ofNode.values()].map(worstOf)), (state) => `${page.url('nodes')}?status=${state}`),
    card('Checks', checks.length, tally(checks.map(stateOf)))]);
}

function card(title, total, byState, urlOf) {
  const shown = STATES.filter((state) => byState[state]);
  return h('li', { class: 'card' }, h('h2', null, title), h('p', { class: 'number' }, total.toLocaleString('en')),
    h('ul', { class: 'plain' }, shown.map((state) => {
      const text = badge(state, `${byState[state]} ${state}`);
      return h('li', null, urlOf ? link(urlOf(state), text) : text);
    })));
}

const TITLES = { critical: 'Critical now', warning: 'Warnings', maintenance: 'In maintenance' };

function trouble(page, bad, since, state) {
  const list = bad.filter((it) => it.state === state);
  if (!list.length) return null;
  const rows = list.slice(0, SHOWN_MAX).map((it) => [
    it.ServiceName ? link(page.url('services', it.ServiceName, 'instances', it.Node, it.ServiceID), it.ServiceName, ' ', h('span', { class: 'quiet' }, it.ServiceID))
      : ['Node ', link(page.url('nodes', it.Node), it.Node)],
    it.Name || it.CheckID,
    outputOf(it),
    link(page.url('nodes', it.Node), it.Node),
    since.has(`${it.Node} ${it.CheckID}`) ? when(since.get(`${it.Node} ${it.CheckID}`)) : h('span', { class: 'quiet' }, '–')]);
  const title = TITLES[state];
  return section(title, table(title, ['What', 'Check', 'Output', 'Node', 'Since'], rows),
    list.length > SHOWN_MAX && h('p', null, `${list.length - SHOWN_MAX} more are under `, link(`${page.url('services')}?status=${state}`, 'Services'), ' and ', link(`${page.url('nodes')}?status=${state}`, 'Nodes'), '.'));
}

function nothing(page) {
  return empty('No service is registered, or you may see none.',
    h('p', null, 'Register one with a Consul client, or with ', h('code', null, 'leno consul services register web.hcl'), '.'),
    h('p', null, 'If access control hides what there is, ', link(page.url('acls', 'login'), 'log in'), '.'));
}
