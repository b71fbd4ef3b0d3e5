// The list of nodes, and one node: checks, services, lock sessions, meta, coordinates.

import { at, find, put } from './api.js';
import { STATUS, badge, button, code, confirm, counts, empty, facts, fill, goDuration, h, link, listing, map, notice, plural, section, table, tags, stateOf, tally, worstOf } from './dom.js';
import { checkTable } from './services.js';

export function nodes(page) {
  const [name] = page.segments;
  if (name) return node(page, name);
  const box = page.open('Nodes');
  const list = listing(page, {
    one: 'node', many: 'nodes',
    words: (it) => [it.Node, it.Address, it.ID, ...Object.entries(it.Meta ?? {}).flat(), ...it.Services.map((service) => service.Service)],
    filters: [{ name: 'status', label: 'Status', options: STATUS, test: (it, value) => value === 'all' || it.state === value }],
    none: empty('There is no node that you may see.', h('p', null, 'An agent registers its own. Others come by'), code("curl -X PUT …/v1/catalog/register -d '{\"Node\": \"n2\", \"Address\": \"10.0.0.2\"}'")),
    draw: (shown) => table('Nodes', ['Node', 'Status', 'Address', 'Instances', 'Checks'], shown.map((it) => [
      link(page.url('nodes', it.Node), it.Node), badge(it.state), it.Address, plural(it.Services.length, 'instance'), counts(it.byState)])),
  });
  page.watch('Reading the nodes', '/v1/internal/ui/nodes', box, (all) => {
    for (const it of all) {
      it.byState = tally(it.Checks.map(stateOf));
      it.state = worstOf(it.Checks.filter((check) => !check.ServiceID));
    }
    if (!list.node.isConnected) fill(box, list.node);
    list.show(all);
  });
}

function node(page, name) {
  const box = page.open(name, { trail: [['Nodes', page.url('nodes')]] });
  const sessions = h('div');
  const trips = h('div');
  page.watch(`Reading node ${name}`, at`/v1/internal/ui/node/${name}`, box, (it) => {
    if (!it) {
      return fill(box, empty(`There is no node ${name}, or you may not see it.`, h('p', null, link(page.url('nodes'), 'All nodes'), '. This page shows it as soon as it is there.')));
    }
    const own = it.Checks.filter((check) => !check.ServiceID);
    const stateOn = (service) => worstOf([...own, ...it.Checks.filter((check) => check.ServiceID === service.ID)]);
    fill(box, facts([['Status', badge(worstOf(own))], ['Address', it.Address], ['ID', it.ID]]),
      section('Checks', checkTable(it.Checks, page)),
      section('Services', it.Services.length
        ? table('Services on this node', ['Instance', 'Service', 'Status', 'Port', 'Tags'], it.Services.map((service) => [
          link(page.url('services', service.Service, 'instances', it.Node, service.ID), service.ID), link(page.url('services', service.Service), service.Service),
          badge(stateOn(service)), service.Port || '–', tags(service.Tags)]))
        : h('p', { class: 'quiet' }, 'None.')),
      sessions,
      section('Meta', map(it.Meta, 'No meta entries.')),
      section('Addresses', facts([['Node', it.Address], ...Object.entries(it.TaggedAddresses ?? {})])), trips);
  });
  lockSessions(page, name, sessions);
  roundTrips(page, name, trips);
}

/** Sessions, while the page is shown: locks come and go. */
function lockSessions(page, name, box) {
  page.watch(`Reading the sessions of ${name}`, at`/v1/session/node/${name}`, box, (list) => {
    const end = async (it) => {
      const isSure = await confirm('End this session?', 'End session', h('p', null, `The locks that ${it.Name || it.ID} holds are ${it.Behavior === 'delete' ? 'deleted with their keys' : 'released'}.`));
      if (isSure && await page.attempt('Ending the session', said, () => put(at`/v1/session/destroy/${it.ID}`))) notice('The session has ended.');
    };
    const said = h('div');
    fill(box, section('Lock sessions', said, list?.length
      ? table('Lock sessions', ['Session', 'Behaviour', 'Time to live', 'Lock delay', 'Checks', 'Action'], list.map((it) => [
        [it.Name || 'unnamed', h('div', { class: 'quiet' }, it.ID)], it.Behavior, it.TTL ? goDuration(it.TTL) : 'without end', goDuration(it.LockDelay),
        (it.NodeChecks ?? []).join(', ') || 'none', button('End', () => end(it), 'small danger')]))
      : h('p', { class: 'quiet' }, 'None: nothing on this node holds a lock.')));
  });
}

async function roundTrips(page, name, box) {
  try {
    const { data: all } = await find('/v1/coordinate/nodes', { signal: page.signal });
    const own = (all ?? []).find((it) => it.Node === name);
    if (!own) return fill(box, section('Round trips', h('p', { class: 'quiet' }, 'This node has no network coordinates.')));
    const others = all.filter((it) => it.Node !== name && it.Segment === own.Segment).map((it) => [it.Node, distance(own.Coord, it.Coord)]).sort((a, b) => a[1] - b[1]);
    fill(box, section('Round trips', facts([['Error', own.Coord.Error], ['Height', `${(own.Coord.Height * 1000).toFixed(2)} ms`], ['Coordinates', own.Coord.Vec.map((it) => it.toPrecision(3)).join(', ')]]),
      others.length ? table('Estimated round trips', ['To', 'Estimated time'], others.slice(0, 50).map(([to, seconds]) => [link(page.url('nodes', to), to), `${(seconds * 1000).toFixed(2)} ms`]))
        : h('p', { class: 'quiet' }, 'No other node has coordinates to compare with.')));
  } catch (error) {
    if (!page.signal.aborted) fill(box, page.problem('Reading the coordinates', error));
  }
}

/** Estimated round trip in seconds between two points of Vivaldi's network coordinates, with heights and adjustments. */
function distance(a, b) {
  const straight = Math.hypot(...a.Vec.map((value, i) => value - b.Vec[i])) + a.Height + b.Height;
  const adjusted = straight + a.Adjustment + b.Adjustment;
  return adjusted > 0 ? adjusted : straight;
}
