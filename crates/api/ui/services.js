// The list of services, and one service: its instances with the reasons of their states, intentions, routing, tags.

import { at, find, get } from './api.js';
import { STATES, STATUS, badge, code, counts, empty, facts, fill, goDuration, h, link, listing, map, outputOf, plural, section, stateOf, table, tabs, tags, when, worstOf } from './dom.js';
import { byPrecedence, intentionTable, notEnforced } from './intentions.js';
import { chainTree } from './routing.js';

const REGISTER = `curl -X PUT ${location.origin}/v1/agent/service/register -d '{
  "Name": "web", "ID": "web-1", "Address": "127.0.0.1", "Port": 8080,
  "Check": {"HTTP": "http://127.0.0.1:8080/health", "Interval": "1s"}
}'`;
const SIDECAR = 'connect-proxy';

export function services(page) {
  const [name, tab, node, id] = page.segments;
  if (name && name !== 'create') return service(page, name, tab || 'instances', node && id && { node, id });
  const box = page.open('Services');
  const list = listing(page, {
    one: 'service', many: 'services',
    words: (it) => [it.Name, it.Kind ?? '', ...it.Tags, ...it.ExternalSources],
    filters: [
      { name: 'status', label: 'Status', options: STATUS, test: (it, value) => value === 'all' || it.states.has(value) },
      { name: 'kind', label: 'Kind', options: [['services', 'All but sidecars'], ['all', 'All'], ['typical', 'Plain services'], ['gateway', 'Gateways'], [SIDECAR, 'Sidecars']], test: isOfKind }],
    none: empty('No service is registered, or you may see none.', h('p', null, 'Register one:'), code(REGISTER)),
    draw: (shown) => table('Services', ['Service', 'Instances', 'Checks', 'Kind', 'Tags'], shown.map((it) => [
      link(page.url('services', it.Name), it.Name),
      counts(it.instances, plural(it.InstanceCount, 'instance')),
      counts({ passing: it.ChecksPassing, warning: it.ChecksWarning, critical: it.ChecksCritical }),
      it.Kind || (it.ConnectNative ? 'native to the mesh' : 'service'),
      tags(it.Tags)])),
  });
  page.watch('Reading the services', '/v1/internal/ui/services', box, async (summaries) => {
    const { data: verdicts } = await get('/leno/v1/services', { signal: page.signal });
    const byName = new Map(verdicts.map((it) => [it.Name, it]));
    for (const it of summaries) {
      const { Passing, Warning, Critical, Maintenance } = byName.get(it.Name) ?? {};
      it.instances = { passing: Passing, warning: Warning, critical: Critical, maintenance: Maintenance };
      it.states = new Set(Object.keys(it.instances).filter((state) => it.instances[state] > 0));
      // A service is passing when all of its instances are.
      if (it.states.size > 1) it.states.delete('passing');
    }
    if (!list.node.isConnected) fill(box, list.node);
    list.show(summaries);
  });
}

function isOfKind(it, value) {
  const kind = it.Kind ?? '';
  if (value === 'services') return kind !== SIDECAR;
  if (value === 'gateway') return kind.endsWith('gateway');
  return value === 'all' || (value === 'typical' ? kind === '' : kind === value);
}

function service(page, name, tab, only) {
  const isKnown = Object.hasOwn(TABS, tab);
  const shown = isKnown ? tab : 'instances';
  const under = tabs(`Parts of ${name}`, shown, Object.entries(TABS).map(([key, [text]]) => [key, text, page.url('services', name, key)]));
  const box = page.open(name, { under, trail: [['Services', page.url('services')]] });
  TABS[shown][1](page, name, box, only);
}

const TABS = {
  instances: ['Instances', instances],
  intentions: ['Intentions', serviceIntentions],
  routing: ['Routing', routing],
  tags: ['Tags', serviceTags],
};

function instances(page, name, box, only) {
  const list = listing(page, {
    one: 'instance', many: 'instances',
    words: (it) => [it.Service.ID, it.Node.Node, it.address, ...(it.Service.Tags ?? []), ...Object.entries(it.Service.Meta ?? {}).flat(), ...it.Checks.map((check) => check.Output)],
    filters: [{ name: 'status', label: 'Status', options: STATUS, test: (it, value) => value === 'all' || it.state === value }],
    none: absent(page, name),
    draw: (shown) => h('ol', { class: 'plain' }, shown.map((it) => h('li', null, instance(page, it, false)))),
  });
  page.watch(`Reading ${name}`, at`/v1/health/service/${name}`, box, async (entries) => {
    const { data: verdicts } = await get(at`/leno/v1/services/${name}`, { signal: page.signal });
    const byId = new Map(verdicts.map((it) => [`${it.Node}\n${it.ID}`, it]));
    for (const it of entries) {
      it.verdict = byId.get(`${it.Node.Node}\n${it.Service.ID}`);
      it.state = it.verdict?.State ?? worstOf(it.Checks);
      it.address = `${it.Service.Address || it.Node.Address}:${it.Service.Port}`;
    }
    if (only) return fill(box, oneInstance(page, name, entries, only));
    if (!list.node.isConnected) fill(box, list.node);
    list.show(entries);
  });
}

function absent(page, name) {
  return empty(`No instance of ${name} is registered, or you may not see it.`,
    h('p', null, 'Register one, or look at the ', link(page.url('services'), 'list of services'), '. This page shows it as soon as it is there.'), code(REGISTER));
}

function oneInstance(page, name, entries, { node, id }) {
  const it = entries.find((entry) => entry.Node.Node === node && entry.Service.ID === id);
  return [h('p', null, link(page.url('services', name, 'instances'), `All ${plural(entries.length, 'instance')} of ${name}`)),
    it ? instance(page, it, true) : empty(`There is no instance ${id} on ${node} (any more).`)];
}

function instance(page, it, isOpen) {
  const { Service, Node, Checks, verdict, state } = it;
  const key = `${Node.Node}/${Service.ID}`;
  const sum = h('summary', null, badge(state), ' ', h('strong', null, Service.ID), ' ', h('span', null, it.address), ' ',
    h('span', { class: 'quiet' }, 'on ', Node.Node, verdict?.Since ? [', ', state, ' since ', when(verdict.Since)] : ''));
  const why = verdict?.Reasons ?? [];
  const nameOf = (id) => Checks.find((check) => check.CheckID === id)?.Name || id;
  return h('details', { 'data-key': key, class: 'instance', open: isOpen || state !== 'passing' }, sum,
    why.length > 0 && h('div', { class: `why ${state}` }, h('h3', null, `Why it is ${state === 'maintenance' ? 'in ' : ''}${state}`), h('ul', null, why.map((reason) => h('li', null,
      badge(reason.State), ' ', h('strong', null, nameOf(reason.Check)), reason.OfNode ? ' of the node' : '', ', since ', when(reason.SinceMs), h('pre', { class: 'output' }, reason.Text || 'no output'))))),
    facts([['Traffic', traffic(Service, verdict)], ['Node', link(page.url('nodes', Node.Node), Node.Node)], ['Kind', Service.Kind], ['Tags', tags(Service.Tags)],
      ['Proxy for', Service.Proxy?.DestinationServiceName && link(page.url('services', Service.Proxy.DestinationServiceName), Service.Proxy.DestinationServiceName)],
      ['Link', h('a', { href: page.url('services', Service.Service, 'instances', Node.Node, Service.ID) }, 'this instance alone')]]),
    h('h3', null, 'Checks'), checkTable(Checks, page),
    h('h3', null, 'Meta'), map(Service.Meta, 'No meta entries.'),
    h('h3', null, 'Addresses'), facts([['Instance', it.address], ['Socket', Service.SocketPath],
      ...Object.entries(Service.TaggedAddresses ?? {}).map(([tag, to]) => [tag, `${to.Address}:${to.Port}`]),
      ...Object.entries(Node.TaggedAddresses ?? {}).map(([tag, to]) => [`node ${tag}`, to])]));
}

function traffic(Service, verdict) {
  const { Passing = 1, Warning = 1 } = Service.Weights ?? {};
  const weights = `weight ${Passing} when passing, ${Warning} when warning`;
  if (!verdict) return weights;
  return verdict.Weight > 0 ? `gets traffic with weight ${verdict.Weight} (${weights})` : `gets no traffic now (${weights})`;
}

export function checkTable(checks, page) {
  if (!checks.length) return h('p', { class: 'quiet' }, 'No checks: always passing.');
  const rank = (check) => STATES.indexOf(stateOf(check));
  const sorted = [...checks].sort((a, b) => rank(a) - rank(b));
  return table('Checks', ['Check', 'Status', 'Output', 'Of', 'Type'], sorted.map((it) => [
    [it.Name || it.CheckID, it.Name && it.Name !== it.CheckID ? h('div', { class: 'quiet' }, it.CheckID) : null, it.Notes && stateOf(it) !== 'maintenance' ? h('div', null, it.Notes) : null],
    badge(stateOf(it)), outputOf(it),
    it.ServiceID ? link(page.url('services', it.ServiceName, 'instances', it.Node, it.ServiceID), it.ServiceID) : 'the node',
    [it.Type || 'external', it.Interval ? ` every ${goDuration(it.Interval)}` : '', it.Timeout ? `, at most ${goDuration(it.Timeout)}` : '']]));
}

function serviceIntentions(page, name, box) {
  const create = (field) => `${page.url('intentions', 'create')}?${field}=${encodeURIComponent(name)}`;
  page.watch(`Reading the intentions of ${name}`, '/v1/connect/intentions', box, (all) => {
    const into = byPrecedence(all.filter((it) => it.DestinationName === name || it.DestinationName === '*'));
    const from = byPrecedence(all.filter((it) => it.SourceName === name || it.SourceName === '*'));
    const none = (text) => empty(text, h('p', null, 'Then the default policy of access control decides: without access control, allow.'));
    fill(box, notEnforced(),
      section(`Who may call ${name}`, h('p', null, link(create('destination'), 'New intention'), '. The first that matches a caller decides.'),
        into.length ? intentionTable(page, into, 'Intentions for calls to this service') : none(`No intention speaks of calls to ${name}.`)),
      section(`Whom ${name} may call`, h('p', null, link(create('source'), 'New intention')),
        from.length ? intentionTable(page, from, 'Intentions for calls from this service') : none(`No intention speaks of calls by ${name}.`)));
  });
}

function routing(page, name, box) {
  page.watch(`Reading the routing of ${name}`, at`/v1/discovery-chain/${name}`, box, ({ Chain }) => {
    fill(box, h('p', null, Chain.Default ? `No configuration entry speaks of ${name}: requests go to its healthy instances.`
      : `What the configuration entries make of a request to ${name}, top to bottom. The first route that matches is taken.`),
    facts([['Protocol', Chain.Protocol], ['Changed by', Chain.CustomizationHash ? 'the caller' : '']]), chainTree(page, Chain),
    h('p', null, link(`${page.url('explain')}?url=${encodeURIComponent(`http://${name}/`)}`, `Explain a request to ${name}`)),
    Chain.Default && [h('p', null, 'To route by path, to split, to fail over, or to time out, write an entry:'),
      code(`leno consul config write - <<'END'\nKind = "service-resolver"\nName = ${JSON.stringify(name)}\nConnectTimeout = "2s"\nFailover = { "*" = { Service = "another" } }\nEND`)]);
  });
}

function serviceTags(page, name, box) {
  page.watch(`Reading the tags of ${name}`, at`/v1/health/service/${name}`, box, (entries) => {
    const byTag = new Map();
    for (const { Service, Node } of entries) {
      for (const tag of Service.Tags ?? []) byTag.set(tag, [...(byTag.get(tag) ?? []), [Service, Node]]);
    }
    const sorted = [...byTag].sort(([a], [b]) => (a < b ? -1 : 1));
    fill(box, sorted.length
      ? table('Tags', ['Tag', 'Instances', 'Which'], sorted.map(([tag, who]) => [tag, `${who.length} of ${entries.length}`,
        h('ul', { class: 'tags' }, who.slice(0, 20).map(([it, node]) => h('li', null, link(page.url('services', name, 'instances', node.Node, it.ID), it.ID))), who.length > 20 && h('li', null, `and ${who.length - 20} more`))]))
      : empty(entries.length ? `No instance of ${name} has tags.` : `No instance of ${name} is registered, or you may not see it.`, h('p', null, 'Tags are given with ', h('code', null, '"Tags"'), ' when an instance is registered.')));
  });
}

/** Instances of a service that a filter (of a subset) leaves, with their verdicts. */
export async function instancesOf(name, filter, signal) {
  const [entries, verdicts] = await Promise.all([
    get(at`/v1/health/service/${name}`, { query: { filter: filter || undefined }, signal }),
    find(at`/leno/v1/services/${name}`, { signal })]);
  const byId = new Map((verdicts.data ?? []).map((it) => [`${it.Node}\n${it.ID}`, it]));
  return entries.data.map((it) => ({ ...it, verdict: byId.get(`${it.Node.Node}\n${it.Service.ID}`) }));
}
