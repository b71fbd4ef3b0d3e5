// Where a request would go, and why: by the registry and its configuration entries, with the command that asks the proxy.

import { at, find, get } from './api.js';
import { alarm, badge, code, empty, field, fill, h, link, plural, section, select, table } from './dom.js';
import { target, way } from './routing.js';
import { instancesOf } from './services.js';

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'].map((it) => [it, it]);

export function explain(page) {
  const box = page.open('Explain');
  const url = h('input', { type: 'text', inputmode: 'url', required: true, autocomplete: 'off', spellcheck: 'false', placeholder: 'http://web/cart', value: page.query.get('url') ?? '' });
  const method = select(page.query.get('method') ?? 'GET', METHODS);
  const headers = h('textarea', { rows: 3, spellcheck: 'false', placeholder: 'x-debug: 1' });
  headers.value = page.query.get('headers') ?? '';
  const listener = select(page.query.get('listener') ?? 'outbound', [['outbound', 'Mesh (outbound)'], ['ingress', 'Ingress']]);
  const result = h('div', { 'aria-live': 'polite' });
  const run = async () => {
    const given = /^[a-z]+:\/\//i.test(url.value) ? url.value : `http://${url.value}`;
    const asked = { method: method.value, headers: new Map(), listener: listener.value };
    try {
      asked.url = new URL(given);
    } catch {
      return fill(result, alarm('This is no URL', h('p', null, 'Write it as in http://web/cart?page=2.')));
    }
    for (const line of headers.value.split('\n')) {
      const [, name, value] = /^([^:]+):\s*(.*)$/.exec(line.trim()) ?? [];
      if (name) asked.headers.set(name.trim().toLowerCase(), value);
    }
    fill(result, h('p', { class: 'quiet' }, 'Looking…'));
    const answer = await page.attempt('Explaining the request', result, () => explanation(page, asked));
    if (answer) fill(result, answer);
  };
  const submit = (event) => {
    event.preventDefault();
    page.setQuery({ url: url.value, method: method.value === 'GET' ? '' : method.value, headers: headers.value, listener: listener.value === 'outbound' ? '' : listener.value });
    run();
  };
  fill(box, h('p', null, 'Where would a request go, and why? ', h('span', { class: 'quiet' }, 'Nothing is sent.')),
    h('form', { class: 'filters', on: { submit } }, field('URL', url), field('Method', method), field('Comes in at', listener), field('Headers', headers, 'One a line, as in x-debug: 1'),
      h('div', { class: 'field' }, h('button', { type: 'submit', class: 'main' }, 'Explain'))), result);
  if (url.value) run();
}

async function explanation(page, asked) {
  const command = section('Ask the proxy', h('p', null, 'The proxy has the last word: its routes, the pick of an endpoint and the revision behind each. It answers on its admin port (127.0.0.1:15000, unless --proxy-admin says otherwise), on the agent’s machine:'),
    code(`leno explain${asked.listener === 'ingress' ? ' --listener ingress' : ''} ${shellQuoted(asked.url.href)}`));
  if (asked.method !== 'GET' || asked.headers.size) command.append(h('p', { class: 'quiet' }, 'It asks with the host and the path alone: methods and headers are not weighed there.'));
  if (asked.listener === 'ingress') {
    return [section('What the registry says', h('p', null, 'Requests at the ingress listener go by declared Ingress documents (', h('code', null, 'leno get'), '), which only the proxy weighs against each other.')), command];
  }
  return [await byRegistry(page, asked), command];
}

function shellQuoted(text) {
  return `'${text.replaceAll("'", '%27')}'`;
}

/** The service that a host of the mesh names. */
function serviceIn(host, dc) {
  const domains = [`.service.${dc}.consul`, '.service.consul', `.service.${dc}.mesh`, '.service.mesh', '.mesh'];
  const domain = domains.find((it) => host.endsWith(it.toLowerCase()));
  return { name: domain ? host.slice(0, -domain.length) : host, isPlain: !domain };
}

async function byRegistry(page, asked) {
  const { name, isPlain } = serviceIn(asked.url.hostname.toLowerCase(), page.dc);
  const [chain, documents, registered] = await Promise.all([
    get(at`/v1/discovery-chain/${name}`, { signal: page.signal }),
    isPlain ? find('/leno/v1/documents', { signal: page.signal }).then((it) => it.data, () => null) : { documents: [] },
    get('/v1/catalog/services', { signal: page.signal })]);
  const declared = documents?.documents.find((it) => it.key.kind === 'Service' && it.key.group === '' && it.key.name === name);
  const { steps, ends } = way(page, chain.data.Chain, asked);
  const isKnown = Object.keys(registered.data).some((it) => it.toLowerCase() === name) || !chain.data.Chain.Default;
  if (!isKnown && !declared) {
    return section('What the registry says', empty(`No service ${name} is registered, and no configuration entry speaks of it.`, h('p', null, 'A request gets 404 from the mesh listener, unless a document has this host. ', link(page.url('services'), 'What is registered'))));
  }
  const targets = await Promise.all(ends.map((end) => endpoints(page, chain.data.Chain, end)));
  return section('What the registry says',
    declared && h('p', { class: 'why warning' }, `A declared document, Service ${declared.key.namespace}/${name} (${declared.source}), has this host: it decides, and not what is below. The proxy says how.`),
    documents === null && h('p', { class: 'quiet' }, 'Whether a declared document has this host cannot be read with your token (operator:read).'),
    h('ol', { class: 'steps' }, h('li', null, 'The host ', h('strong', null, asked.url.hostname), ' names the service ', link(page.url('services', name), name), '.'),
      steps.length ? steps : h('li', null, 'No router or splitter speaks of it.'), targets));
}

/** The instances of one end of the chain, and which of them may get the request. */
async function endpoints(page, chain, { share, target: to, id, backups }) {
  const head = [share < 1 ? h('strong', null, `${Math.round(share * 10000) / 100} %: `) : '', `${share < 1 ? 'one' : 'One'} of the instances of `, target(page, chain, id)];
  if (to.Datacenter && to.Datacenter.toLowerCase() !== page.dc.toLowerCase()) return h('li', null, head, '. That datacenter is not reached: 503.');
  const all = await instancesOf(to.Service, to.Subset?.Filter, page.signal);
  const state = (it) => it.verdict?.State ?? 'passing';
  const mayGet = (it) => it.verdict?.Weight > 0 && (!to.Subset?.OnlyPassing || state(it) === 'passing');
  const open = all.filter(mayGet);
  const nameOf = ({ verdict, Checks }) => Checks.find((check) => check.CheckID === verdict.Reasons[0].Check)?.Name || verdict.Reasons[0].Check;
  const rows = all.slice(0, 50).map((it) => [
    link(page.url('services', to.Service, 'instances', it.Node.Node, it.Service.ID), it.Service.ID), `${it.Service.Address || it.Node.Address}:${it.Service.Port}`, badge(state(it)),
    mayGet(it) ? `yes, weight ${it.verdict.Weight}` : h('span', null, 'no', it.verdict?.Reasons.length ? `: ${nameOf(it)} is ${it.verdict.Reasons[0].State}` : '')]);
  return h('li', null, head, `: ${open.length} of ${plural(all.length, 'instance')} may get it.`,
    all.length > 0 && table(`Instances of ${to.Service}`, ['Instance', 'Address', 'State', 'May get it?'], rows), all.length > 50 && h('p', null, `${all.length - 50} more are not shown.`),
    open.length === 0 && (backups.length ? h('p', null, 'So it goes to ', backups.map((it, i) => [i ? ', or else to ' : '', target(page, chain, it)]), '.') : h('p', null, 'So it gets 503: no instance may be called.')));
}
