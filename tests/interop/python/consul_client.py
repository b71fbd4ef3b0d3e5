"""What a Python user of Consul does: register, list, wait. Argument: the agent's address as HOST:PORT."""

import base64
import statistics
import sys
import threading
import time

import consul

ROUNDS = 9

host, port = sys.argv[1].rsplit(":", 1)
client = consul.Consul(host=host, port=int(port))


def check(holds, claim):
    if not holds:
        sys.exit(f"FAILED: {claim}")
    print(f"ok: {claim}")


client.agent.service.register(
    "py-web", service_id="py-1", address="127.0.0.1", port=8080, tags=["one"],
    check=consul.Check.ttl("10m"),
)
check("py-1" in client.agent.services(), "agent.services lists what was registered")
_, nodes = client.catalog.service("py-web")
check([it["ServiceID"] for it in nodes] == ["py-1"], "catalog.service lists it")
_, passing = client.health.service("py-web", passing=True)
check(passing == [], "without a heartbeat it is not passing")
client.agent.check.ttl_pass("service:py-1", "beat")
index, passing = client.health.service("py-web", passing=True)
check([it["Service"]["Port"] for it in passing] == [8080], "after a heartbeat it is")
_, services = client.catalog.services()
check(services.get("py-web") == ["one"], "catalog.services has its tags")
_, none = client.catalog.service("nobody")
check(none == [], "an unknown service has no instances")

kv = client.kv
check(kv.put("py/a", "one", flags=7), "kv.put writes")
index, entry = kv.get("py/a")
check((entry["Value"], entry["Flags"]) == (b"one", 7), "kv.get reads what was written")
check(kv.put("py/a", "lost", cas=entry["ModifyIndex"] - 1) is False, "kv.put with an old index does not write")
check(kv.put("py/a", "two", cas=entry["ModifyIndex"]), "with the newest it does")
check(kv.put("py/a", "lost", cas=0) is False, "with 0 it does not, for the key exists")
kv.put("py/b/c", b"\x00\xff")
_, entries = kv.get("py/", recurse=True)
check([(it["Key"], it["Value"]) for it in entries] == [("py/a", b"two"), ("py/b/c", b"\x00\xff")], "recurse lists values")
_, keys = kv.get("py/", keys=True, separator="/")
check(keys == ["py/a", "py/b/"], "keys are cut at the separator")
index, _ = kv.get("py/", recurse=True)
seen = {}
reader = threading.Thread(target=lambda: seen.update(entries=kv.get("py/", index=index, wait="30s", recurse=True)[1]))
reader.start()
kv.put("py/b/d", "late")
reader.join(timeout=60)
check([it["Key"] for it in seen.get("entries") or []] == ["py/a", "py/b/c", "py/b/d"], "a blocked read wakes for its prefix")
one, two = base64.b64encode(b"1").decode(), base64.b64encode(b"2").decode()
done = client.txn.put([
    {"KV": {"Verb": "check-not-exists", "Key": "py/t"}},
    {"KV": {"Verb": "set", "Key": "py/t", "Value": one}},
    {"KV": {"Verb": "get", "Key": "py/t"}},
])
check([it["KV"]["Value"] for it in done["Results"]] == [None, one], "a transaction reads what it wrote")
refused = client.http.session.put(f"http://{host}:{port}/v1/txn", json=[
    {"KV": {"Verb": "set", "Key": "py/t", "Value": two}},
    {"KV": {"Verb": "check-not-exists", "Key": "py/t"}},
])
check(refused.status_code == 409 and kv.get("py/t")[1]["Value"] == b"1", "one that cannot be done does nothing")
check(kv.delete("py/", recurse=True) and kv.get("py/", recurse=True)[1] is None, "kv.delete removes all of them")
check(kv.get("py/a")[1] is None, "what was deleted is gone")

delays = []
for number in range(ROUNDS):
    woken = {}

    def wait(at):
        started.set()
        woken["index"], woken["nodes"] = client.health.service("py-web", index=at, wait="30s")
        woken["at"] = time.monotonic()

    started = threading.Event()
    waiter = threading.Thread(target=wait, args=(index,))
    waiter.start()
    started.wait()
    while not [line for line in client.http.session.get(f"http://{host}:{port}/metrics").text.splitlines()
               if line.startswith("leno_blocked_queries{") and not line.endswith(" 0")]:
        time.sleep(0.005)
    changed = time.monotonic()
    client.agent.service.register(
        "py-web", service_id="py-1", address="127.0.0.1", port=8080, tags=[f"round-{number}"],
    )
    waiter.join(timeout=60)
    check(woken.get("nodes", [{}])[0].get("Service", {}).get("Tags") == [f"round-{number}"],
          f"round {number}: the blocked query wakes with the change")
    delays.append((woken["at"] - changed) * 1000)
    index = woken["index"]
median = statistics.median(delays)
check(median <= 100, f"it wakes within 100 ms (median {median:.1f} ms of {ROUNDS})")
client.agent.service.deregister("py-1")
_, nodes = client.catalog.service("py-web")
check(nodes == [], "after deregistering it is gone")
