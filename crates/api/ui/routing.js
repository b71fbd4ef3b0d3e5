// A discovery chain for people: as a tree, and as the way of one request through it.

import { fill, goDuration, h, link } from './dom.js';

/** The chain from its start as nested lists. */
export function chainTree(page, chain) {
  return h('ul', { class: 'tree' }, branch(page, chain, chain.StartNode, []));
}

function branch(page, chain, id, above) {
  const node = chain.Nodes[id];
  if (!node) return h('li', null, `${id} (missing in the answer)`);
  if (above.includes(id)) return h('li', null, `back to ${id}`);
  const below = (next) => h('ul', null, branch(page, chain, next, [...above, id]));
  const name = node.Name.split('.')[0];
  if (node.Type === 'router') {
    return h('li', null, title('Router', name), h('ol', null, node.Routes.map((route) => h('li', null,
      'If ', h('strong', null, matchText(route.Definition?.Match)), destination(route.Definition?.Destination), below(route.NextNode)))));
  }
  if (node.Type === 'splitter') {
    return h('li', null, title('Splitter', name), h('ul', null, node.Splits.map((split) => h('li', null,
      h('strong', null, `${split.Weight} %`), below(split.NextNode)))));
  }
  return h('li', null, resolver(page, chain, node));
}

function title(kind, name) {
  return h('span', null, h('span', { class: 'kind' }, kind), ' ', name);
}

function resolver(page, chain, { Resolver, LoadBalancer }) {
  const { Target, Default, ConnectTimeout, RequestTimeout, Failover } = Resolver;
  const backups = Failover?.Targets ?? [];
  const limits = [ConnectTimeout && `connect within ${goDuration(ConnectTimeout)}`, RequestTimeout && `answer within ${goDuration(RequestTimeout)}`, LoadBalancer?.Policy && `balanced by ${LoadBalancer.Policy}`].filter(Boolean).join(', ');
  return [h('span', { class: 'kind' }, 'Instances'), ' of ', target(page, chain, Target), Default ? '' : h('span', { class: 'quiet' }, ' (by a resolver)'),
    limits && h('div', { class: 'quiet' }, limits),
    backups.length > 0 && h('div', null, 'When none may be called:', h('ol', null, backups.map((id) => h('li', null, target(page, chain, id)))))];
}

export function target(page, chain, id) {
  const it = chain.Targets[id];
  if (!it) return id;
  const subset = it.ServiceSubset && [', subset ', h('strong', null, it.ServiceSubset), it.Subset?.Filter && [' (', h('code', null, it.Subset.Filter), ')'],
    it.Subset?.OnlyPassing && ', passing ones only'];
  const elsewhere = (it.Peer && ` at peer ${it.Peer}`) || (it.Datacenter && it.Datacenter.toLowerCase() !== page.dc.toLowerCase() && ` in ${it.Datacenter}, which is not reached`);
  return [link(page.url('services', it.Service), it.Service), subset, elsewhere];
}

function destination(to) {
  if (!to) return null;
  const parts = [to.PrefixRewrite && `the path's start becomes ${to.PrefixRewrite}`, to.RequestTimeout && `answer within ${goDuration(to.RequestTimeout)}`,
    to.IdleTimeout && `idle for at most ${goDuration(to.IdleTimeout)}`, to.NumRetries && `${to.NumRetries} retries`,
    to.RetryOnConnectFailure && 'again when not connected', to.RetryOnStatusCodes?.length && `again on ${to.RetryOnStatusCodes.join(', ')}`,
    to.RetryOn?.length && `again on ${to.RetryOn.join(', ')}`, (to.RequestHeaders || to.ResponseHeaders) && 'headers are changed'].filter(Boolean);
  return parts.length > 0 && h('div', { class: 'quiet' }, parts.join('; '));
}

function valueText(it) {
  for (const [field, words] of [['Exact', 'is'], ['Prefix', 'starts with'], ['Suffix', 'ends with'], ['Contains', 'contains'], ['Regex', 'matches']]) {
    if (it[field]) return `${words} “${it[field]}”`;
  }
  return 'is there';
}

export function matchText(match) {
  const http = match?.HTTP;
  if (!http) return 'anything';
  const parts = [http.Methods?.length && `the method is ${http.Methods.join(' or ')}`,
    http.PathExact && `the path is ${http.PathExact}`, http.PathPrefix && http.PathPrefix !== '/' && `the path starts with ${http.PathPrefix}`,
    http.PathRegex && `the path matches ${http.PathRegex}`, http.CaseInsensitive && 'whatever its case',
    ...(http.Header ?? []).map((it) => `header ${it.Name} ${it.Invert ? 'not: ' : ''}${valueText(it)}`),
    ...(http.QueryParam ?? []).map((it) => `parameter ${it.Name} ${valueText(it)}`)].filter(Boolean);
  return parts.join(', and ') || 'anything';
}

/** What only the proxy can tell. */
class Doubt extends Error {}

/** Why a route does not match; empty when it does. Throws a `Doubt`. */
function mismatch(match, { method, url, headers }) {
  const http = match?.HTTP;
  if (!http) return '';
  const fold = (text) => (http.CaseInsensitive ? text.toLowerCase() : text);
  const path = fold(url.pathname);
  if (http.Methods?.length && !http.Methods.includes(method)) return `the method is ${method}`;
  if (http.PathExact && path !== fold(http.PathExact)) return `the path is ${url.pathname}`;
  if (http.PathPrefix && !path.startsWith(fold(http.PathPrefix))) return `the path is ${url.pathname}`;
  if (http.PathRegex && !matches(http.PathRegex, url.pathname, http.CaseInsensitive)) return `the path is ${url.pathname}`;
  for (const it of http.Header ?? []) {
    const value = headers.get(it.Name.toLowerCase());
    if (holds(it, value) === Boolean(it.Invert)) return `header ${it.Name} is ${value === undefined ? 'not there' : `“${value}”`}`;
  }
  for (const it of http.QueryParam ?? []) {
    const value = url.searchParams.get(it.Name) ?? undefined;
    if (!holds(it, value)) return `parameter ${it.Name} is ${value === undefined ? 'not there' : `“${value}”`}`;
  }
  return '';
}

function holds(it, value) {
  if (value === undefined) return false;
  const fold = (text) => (it.IgnoreCase ? text.toLowerCase() : text);
  const given = fold(value);
  if (it.Exact) return given === fold(it.Exact);
  if (it.Prefix) return given.startsWith(fold(it.Prefix));
  if (it.Suffix) return given.endsWith(fold(it.Suffix));
  if (it.Contains) return given.includes(fold(it.Contains));
  if (it.Regex) return matches(it.Regex, value, it.IgnoreCase);
  return true;
}

/** Whether the whole of `text` matches. The proxy's expressions are not quite a browser's: what this cannot read is a doubt. */
function matches(expression, text, isFolded) {
  try {
    return new RegExp(`^(?:${expression})$`, isFolded ? 'iu' : 'u').test(text);
  } catch {
    throw new Doubt(`only the proxy can judge the expression ${expression}`);
  }
}

/** The way of a request: what was decided, as list items, and the targets that may get it, with their percentages. */
export function way(page, chain, asked) {
  const steps = [];
  const ends = [];
  const walk = (id, share, depth) => {
    const node = chain.Nodes[id];
    if (!node || depth > 20) return;
    if (node.Type === 'router') {
      const tried = h('ol');
      const list = h('li', null, `Router of ${node.Name.split('.')[0]}: the first route that matches is taken.`, tried);
      steps.push(list);
      let next = null;
      let doubt = null;
      fill(tried, node.Routes.map((route) => {
        if (next || doubt) return h('li', { class: 'quiet' }, `${matchText(route.Definition?.Match)}: not looked at`);
        let why;
        try {
          why = mismatch(route.Definition?.Match, asked);
        } catch (error) {
          if (!(error instanceof Doubt)) throw error;
          doubt = error;
          return h('li', { class: 'taken' }, `${matchText(route.Definition?.Match)}: ${error.message}`);
        }
        if (!why) next = route.NextNode;
        return h('li', { class: why ? 'quiet' : 'taken' }, `${matchText(route.Definition?.Match)}: `, why ? `no, ${why}` : h('strong', null, 'taken'), why ? '' : destination(route.Definition?.Destination));
      }));
      if (next) walk(next, share, depth + 1);
      return;
    }
    if (node.Type === 'splitter') {
      steps.push(h('li', null, `Splitter of ${node.Name.split('.')[0]}: chance decides.`, h('ul', null, node.Splits.map((split) =>
        h('li', null, `${split.Weight} % to `, target(page, chain, chain.Nodes[split.NextNode]?.Resolver?.Target ?? split.NextNode))))));
      for (const split of node.Splits) if (split.Weight > 0) walk(split.NextNode, share * split.Weight / 100, depth + 1);
      return;
    }
    ends.push({ share, target: chain.Targets[node.Resolver.Target], id: node.Resolver.Target, backups: node.Resolver.Failover?.Targets ?? [] });
  };
  walk(chain.StartNode, 1, 0);
  return { steps, ends };
}
