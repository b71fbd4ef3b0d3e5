"""What a Python user of Consul does with sessions: take locks, wait for them, lose them. Argument: the agent's address
as HOST:PORT."""

import base64
import sys
import threading
import time

import consul

host, port = sys.argv[1].rsplit(":", 1)
client = consul.Consul(host=host, port=int(port))
kv, session = client.kv, client.session


def check(holds, claim):
    if not holds:
        sys.exit(f"FAILED: {claim}")
    print(f"ok: {claim}")


def holder(key):
    return kv.get(key)[1].get("Session")


class Waiter(threading.Thread):
    """Waits until a key has changed, as one that wants its lock does."""

    def __init__(self, key):
        super().__init__()
        self.key, self.entry = key, "never woke"
        self.index = kv.get(key)[0]
        self.start()
        while not [line for line in client.http.session.get(f"http://{host}:{port}/metrics").text.splitlines()
                   if line.startswith("leno_blocked_queries{") and not line.endswith(" 0")]:
            time.sleep(0.005)

    def run(self):
        self.entry = kv.get(self.key, index=self.index, wait="30s")[1]

    def woken(self):
        self.join(timeout=60)
        return self.entry


first = session.create(name="first", ttl=60, lock_delay=0)
second = session.create(name="second", ttl=3600)
node = session.info(first)[1]["Node"]
told = session.info(first)[1]
check((told["Name"], told["TTL"], told["Behavior"], told["LockDelay"]) == ("first", "60s", "release", 0),
      "session.info tells what was asked for")
check(session.info(second)[1]["LockDelay"] == 15e9, "the lock delay is 15 s where nothing is asked for")
check({it["ID"] for it in session.list()[1]} == {first, second}, "session.list has both")
check({it["ID"] for it in session.node(node)[1]} == {first, second}, "session.node has those of its node")
check(session.renew(first)["ID"] == first, "session.renew answers with the session")

check(kv.put("py/lock", "one", acquire=first), "a free key is acquired")
check(kv.put("py/lock", "two", acquire=second) is False, "one that is held is not")
check(holder("py/lock") == first and kv.get("py/lock")[1]["LockIndex"] == 1, "kv.get tells the holder")
check(kv.put("py/lock", "three", acquire=first), "the holder may acquire it again")
check(kv.get("py/lock")[1]["LockIndex"] == 1, "which is no new lock")
check(kv.put("py/lock", "four", release=second) is False, "only the holder releases it")
waiter = Waiter("py/lock")
check(kv.put("py/lock", "five", release=first), "the holder releases it")
entry = waiter.woken()
check((entry["Value"], entry.get("Session")) == (b"five", None), "who waits for it wakes")
check(kv.put("py/lock", "six", acquire=second), "the next one acquires it")
check(kv.get("py/lock")[1]["LockIndex"] == 2, "which is a new lock")
check(kv.put("py/lock", "seven") and holder("py/lock") == second, "a plain write leaves the lock alone")
waiter = Waiter("py/lock")
check(session.destroy(second), "session.destroy ends a session")
check(waiter.woken().get("Session") is None, "and lets go of its locks")
check(session.info(second)[1] is None, "session.info does not know it any more")
check(kv.put("py/lock", "eight", acquire=first) is False, "until the lock delay is over nobody gets them")

ephemeral = session.create(behavior="delete", lock_delay=0)
kv.put("py/ephemeral", "here", acquire=ephemeral)
waiter = Waiter("py/ephemeral")
session.destroy(ephemeral)
check(waiter.woken() is None, "a session that deletes takes its keys along")
check(kv.put("py/ephemeral", "again", acquire=first), "without a lock delay the key is free at once")

client.agent.service.register("py-lock", service_id="py-lock", port=1, check=consul.Check.ttl("10m"))
client.agent.check.ttl_pass("service:py-lock")
bound = session.create(checks=["serfHealth", "service:py-lock"], lock_delay=0)
kv.put("py/bound", "alive", acquire=bound)
waiter = Waiter("py/bound")
client.agent.check.ttl_fail("service:py-lock")
check(waiter.woken().get("Session") is None, "a session ends with the check that it depends on")
check(session.info(bound)[1] is None, "and is gone")


def refused(what):
    try:
        what()
    except consul.ConsulException as error:
        return str(error)
    return ""


check("invalid session" in refused(lambda: kv.put("py/none", "x", acquire=second)), "an ended session acquires nothing")
check("critical state" in refused(lambda: session.create(checks=["service:py-lock"])),
      "a session that depends on a critical check is not made")
check("Missing check" in refused(lambda: session.create(checks=["nothing"])), "nor one on a check that is not there")
check(second in refused(lambda: session.renew(second)), "an ended session is not renewed")


def b64(text):
    return base64.b64encode(text.encode()).decode()


done = client.txn.put([
    {"KV": {"Verb": "lock", "Key": "py/txn", "Value": b64("locked"), "Session": first}},
    {"KV": {"Verb": "check-session", "Key": "py/txn", "Session": first}},
    {"KV": {"Verb": "set", "Key": "py/fenced", "Value": b64("mine")}},
    {"KV": {"Verb": "get", "Key": "py/txn"}},
])
check(done["Results"][3]["KV"]["Session"] == first, "a transaction takes a lock")
check(kv.get("py/fenced")[1]["Value"] == b"mine", "and writes while it holds it")
done = client.txn.put([
    {"KV": {"Verb": "unlock", "Key": "py/txn", "Value": b64("free"), "Session": first}},
    {"KV": {"Verb": "get", "Key": "py/txn"}},
])
check("Session" not in done["Results"][1]["KV"] and holder("py/txn") is None, "another one lets go of it")
index, before = kv.get("py/fenced")
answer = client.http.session.put(f"http://{host}:{port}/v1/txn", json=[
    {"KV": {"Verb": "check-session", "Key": "py/txn", "Session": first}},
    {"KV": {"Verb": "set", "Key": "py/fenced", "Value": b64("lost")}},
])
check(answer.status_code == 409 and "failed session check" in answer.text, "who lost the lock is told so")
check(kv.get("py/fenced")[1] == before, "and writes nothing")
