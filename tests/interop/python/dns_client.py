"""Asks the agent's DNS as a resolver does. Arguments: the DNS address and the HTTP address, both HOST:PORT."""

import json
import sys
import urllib.request

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

INSTANCES = 100

dns_host, dns_port = sys.argv[1].rsplit(":", 1)
api = f"http://{sys.argv[2]}"


def check(holds, claim):
    if not holds:
        sys.exit(f"FAILED: {claim}")
    print(f"ok: {claim}")


def register(**body):
    request = urllib.request.Request(
        f"{api}/v1/agent/service/register", data=json.dumps(body).encode(), method="PUT")
    urllib.request.urlopen(request, timeout=10).read()


def ask(name, kind, over=dns.query.udp, **options):
    query = dns.message.make_query(name, kind, **options)
    return over(query, dns_host, port=int(dns_port), timeout=10)


def records(answer):
    return [record for rrset in answer.answer for record in rrset]


register(ID="web-1", Name="web", Address="127.0.0.9", Port=8080, Tags=["primary"])
register(ID="web-2", Name="web", Address="127.0.0.10", Port=8081)
answer = ask("web.service.consul", "A")
check(sorted(it.address for it in records(answer)) == ["127.0.0.10", "127.0.0.9"], "A has both instances")
check(bool(answer.flags & dns.flags.AA), "the answer is authoritative")
answer = ask("primary.web.service.consul", "A")
check([it.address for it in records(answer)] == ["127.0.0.9"], "a tag selects")
answer = ask("web.mesh", "A")
check(len(records(answer)) == 2, "web.mesh means the same service")
answer = ask("_web._tcp.service.consul", "SRV")
check(sorted(it.port for it in records(answer)) == [8080, 8081], "SRV has the ports")
target = str(records(answer)[0].target)
check(ask(target, "A").rcode() == dns.rcode.NOERROR and records(ask(target, "A")), f"{target} resolves")
check(len(answer.additional) >= 2, "SRV brings the addresses along")
answer = ask("nobody.service.consul", "A")
check(answer.rcode() == dns.rcode.NXDOMAIN, "an unknown service is NXDOMAIN")
check(answer.authority[0].rdtype == dns.rdatatype.SOA, "with a SOA")
answer = ask("web.service.consul", "AAAA")
check(answer.rcode() == dns.rcode.NOERROR and not answer.answer, "a known one without IPv6 is empty, not NXDOMAIN")
answer = ask("9.0.0.127.in-addr.arpa", "PTR")
check(str(records(answer)[0].target).startswith("web.service."), "reverse finds the service")

for number in range(INSTANCES):
    register(ID=f"many-{number}", Name="many", Address=f"127.1.0.{number + 1}", Port=8080)
answer = ask("many.service.consul", "A")
check(bool(answer.flags & dns.flags.TC) and len(records(answer)) < INSTANCES,
      f"over UDP {INSTANCES} instances are truncated to {len(records(answer))}")
answer = ask("many.service.consul", "A", use_edns=0, payload=1232)
check(bool(answer.flags & dns.flags.TC) and len(records(answer)) > 3,
      f"with EDNS more of them fit: {len(records(answer))}")
answer = ask("many.service.consul", "A", over=dns.query.tcp)
check(not answer.flags & dns.flags.TC and len({it.address for it in records(answer)}) == INSTANCES,
      "over TCP all of them arrive")
first = {records(ask("many.service.consul", "A"))[0].address for _ in range(20)}
check(len(first) > 1, f"the order is shuffled ({len(first)} different firsts of 20)")
