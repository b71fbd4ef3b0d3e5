// What a Node user of Consul does: register, list, wait. Argument: the agent's address as HOST:PORT.
"use strict";

const { createRequire } = require("node:module");
const path = require("node:path");

const peers = createRequire(path.join(process.env.LENO_PEERS, "node", "package.json"));
const Consul = peers("consul");

const ROUNDS = 9;
const [host, port] = process.argv[2].split(":");

function check(holds, claim) {
  if (!holds) {
    console.error(`FAILED: ${claim}`);
    process.exit(1);
  }
  console.log(`ok: ${claim}`);
}

async function blocked() {
  for (;;) {
    const text = await (await fetch(`http://${host}:${port}/metrics`)).text();
    const line = text.split("\n").find((it) => it.startsWith("leno_blocked_queries{"));
    if (line && !line.endsWith(" 0")) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function main() {
  const consul = new Consul({ host, port: Number(port) });
  const register = (tags) =>
    consul.agent.service.register({ name: "node-web", id: "node-1", address: "127.0.0.1", port: 8081, tags });
  await register(["one"]);
  const services = await consul.agent.service.list();
  check(services["node-1"].Service === "node-web", "agent.service.list has what was registered");
  const nodes = await consul.catalog.service.nodes("node-web");
  check(nodes.length === 1 && nodes[0].ServicePort === 8081, "catalog.service.nodes lists it");
  const health = await consul.health.service({ service: "node-web", passing: true });
  check(health.length === 1 && health[0].Service.Tags[0] === "one", "health.service lists it as passing");
  const leader = await consul.status.leader();
  check(/:\d+$/.test(leader), "status.leader names an address");

  const delays = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const head = await fetch(`http://${host}:${port}/v1/health/service/node-web?passing`);
    await head.arrayBuffer();
    const index = head.headers.get("x-consul-index");
    const waiting = consul.health.service({ service: "node-web", passing: true, index, wait: "30s" })
      .then((data) => [data, performance.now()]);
    await blocked();
    const changed = performance.now();
    await register([`round-${round}`]);
    const [data, at] = await waiting;
    check(data[0].Service.Tags[0] === `round-${round}`, `round ${round}: the blocked query wakes with the change`);
    delays.push(at - changed);
  }
  delays.sort((a, b) => a - b);
  const median = delays[ROUNDS >> 1];
  check(median <= 100, `it wakes within 100 ms (median ${median.toFixed(1)} ms of ${ROUNDS})`);

  const watch = consul.watch({ method: consul.health.service, options: { service: "node-web" } });
  const seen = new Promise((resolve, reject) => {
    watch.on("change", resolve);
    watch.on("error", reject);
  });
  check((await seen).length === 1, "consul.watch reports the service");
  watch.end();
  await consul.agent.service.deregister("node-1");
  check((await consul.catalog.service.nodes("node-web")).length === 0, "after deregistering it is gone");
  process.exit(0);
}

main().catch((error) => {
  console.error(`FAILED: ${error.stack || error}`);
  process.exit(1);
});
