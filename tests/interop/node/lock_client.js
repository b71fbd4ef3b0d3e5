// What a Node user of Consul does with sessions and keys: watch, lock, several at once. Argument: the agent's address as
// HOST:PORT.
"use strict";

const { createRequire } = require("node:module");
const { once } = require("node:events");
const path = require("node:path");

const peers = createRequire(path.join(process.env.LENO_PEERS, "node", "package.json"));
const Consul = peers("consul");

const [host, port] = process.argv[2].split(":");
const TIMEOUT_MS = 60_000;

function check(holds, claim) {
  if (!holds) {
    console.error(`FAILED: ${claim}`);
    process.exit(1);
  }
  console.log(`ok: ${claim}`);
}

// This client makes `undefined` of an answer that is `false`.
const isRefused = async (promise) => !(await promise);

// What the promise was refused with, and whether it was at all.
const refused = (promise) => promise.then(() => "", (error) => `${error.message} ${error.statusCode}`);

// Follows a key as `consul.watch` does: `until` resolves with the first state, past or coming, that it accepts.
function follow(consul, options) {
  const seen = [];
  const watch = consul.watch({ method: consul.kv.get, options: { wait: "30s", ...options } });
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  watch.on("change", (data) => {
    seen.push(data);
    watch.emit("seen");
  });
  watch.on("error", (error) => check(false, `the watch goes on (${error})`));
  const until = async (accepts) => {
    for (let next = 0; ; next += 1) {
      while (next >= seen.length) await once(watch, "seen", { signal });
      if (accepts(seen[next])) return seen.splice(0, next + 1).pop();
    }
  };
  return { until, end: () => watch.end() };
}

async function sessions(consul) {
  const { ID: first } = await consul.session.create({ name: "first", ttl: "60s", lockdelay: "1ms" });
  const { ID: second } = await consul.session.create({ name: "second" });
  const told = await consul.session.get(first);
  check(told.Name === "first" && told.TTL === "60s" && told.LockDelay === 1e6, "session.get tells what was asked for");
  const ids = (list) => list.map((it) => it.ID).sort().join();
  check(ids(await consul.session.list()) === [first, second].sort().join(), "session.list has both");
  check(ids(await consul.session.node(told.Node)) === [first, second].sort().join(), "session.node has them, too");
  check((await consul.session.renew(first))[0].ID === first, "session.renew answers with the session");
  return [first, second];
}

async function locks(consul, first, second) {
  const key = "node/lock";
  check(await consul.kv.set({ key, value: "one", acquire: first }), "a free key is acquired");
  check(await isRefused(consul.kv.set({ key, value: "two", acquire: second })), "one that is held is not");
  const watch = follow(consul, { key });
  const held = await watch.until(() => true);
  check(held.Session === first && held.LockIndex === 1 && held.Value === "one", "the watch begins with what is");
  check(await isRefused(consul.kv.set({ key, value: "x", release: second })), "only the holder releases it");
  check(await consul.kv.set({ key, value: "free", release: first }), "the holder releases it");
  check((await watch.until((it) => !it.Session)).Value === "free", "the watch sees it");
  check(await consul.kv.set({ key, value: "two", acquire: second }), "the next one acquires it");
  check((await watch.until((it) => it.Session === second)).LockIndex === 2, "the watch sees that, too");
  await consul.session.destroy(second);
  check((await watch.until((it) => !it.Session)).Value === "two", "a destroyed session lets go of it");
  check((await consul.session.get(second)) === undefined, "and is gone");
  check(await isRefused(consul.kv.set({ key, value: "x", acquire: first })), "until the lock delay is over it is not free");
  check((await refused(consul.session.renew(second))).includes("404"), "an ended session is not renewed");
  const late = await refused(consul.kv.set({ key, value: "x", acquire: second }));
  check(late.includes("500"), `and acquires nothing: ${late}`);
  await consul.kv.del(key);
  check((await watch.until((it) => it === undefined)) === undefined, "the watch sees that the key is deleted");
  await consul.kv.set(key, "back");
  check((await watch.until((it) => it !== undefined)).Value === "back", "and that it is back");
  watch.end();
}

async function ephemeral(consul) {
  const key = "node/ephemeral";
  const { ID: id } = await consul.session.create({ behavior: "delete", lockdelay: "1ms", ttl: "60s" });
  await consul.kv.set({ key, value: "here", acquire: id });
  const watch = follow(consul, { key });
  await watch.until((it) => it.Session === id);
  await consul.session.destroy(id);
  check((await watch.until((it) => it === undefined)) === undefined, "a session that deletes takes its keys along");
  watch.end();
}

async function transactions(consul, session) {
  const base64 = (text) => Buffer.from(text).toString("base64");
  const watch = follow(consul, { key: "node/txn/", recurse: true });
  const done = await consul.transaction.create([
    { KV: { Verb: "check-not-exists", Key: "node/txn/a" } },
    { KV: { Verb: "set", Key: "node/txn/a", Value: base64("1"), Flags: 7 } },
    { KV: { Verb: "lock", Key: "node/txn/b", Value: base64("2"), Session: session } },
    { KV: { Verb: "get-tree", Key: "node/txn/" } },
  ]);
  const read = done.Results.slice(-2).map(({ KV }) => [KV.Key, KV.Value, KV.Flags, KV.Session].join(" "));
  check(read.join() === `node/txn/a ${base64("1")} 7 ,node/txn/b ${base64("2")} 0 ${session}`, `a transaction reads what it wrote: ${read}`);
  const entries = await watch.until((it) => it !== undefined);
  check(entries.length === 2, "the watch of the prefix sees both writes at once");
  const old = entries[0].ModifyIndex;
  check(await consul.kv.set({ key: "node/txn/a", value: "newer", cas: old }), "kv.set with the newest index writes");
  const late = await refused(consul.transaction.create([
    { KV: { Verb: "delete", Key: "node/txn/b" } },
    { KV: { Verb: "cas", Key: "node/txn/a", Value: base64("lost"), Index: old } },
  ]));
  check(late.includes("409"), `a transaction that cannot be done is refused: ${late}`);
  const keys = await consul.kv.keys("node/txn/");
  check(keys.join() === "node/txn/a,node/txn/b", "and does nothing");
  check((await consul.kv.get("node/txn/a")).Value === "newer", "not even a part");
  check((await consul.kv.get({ key: "node/txn/a", raw: true })).toString() === "newer", "kv.get reads raw bytes");
  await consul.kv.del({ key: "node/txn/", recurse: true });
  check((await consul.kv.get("node/txn/a")) === undefined, "kv.del removes all of them");
  watch.end();
}

async function main() {
  const consul = new Consul({ host, port: Number(port) });
  const [first, second] = await sessions(consul);
  await locks(consul, first, second);
  await ephemeral(consul);
  await transactions(consul, first);
  process.exit(0);
}

main().catch((error) => {
  console.error(`FAILED: ${error.stack || error}`);
  process.exit(1);
});
