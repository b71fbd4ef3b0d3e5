//! Commands of Consul's that Leno does not have, each with what does its work here.

use super::command::{Command, Reach, refuse};

macro_rules! absent {
    ($($name:literal => $synopsis:literal, $instead:literal;)*) => {
        &[$(Command {
            name: $name,
            synopsis: concat!($synopsis, " (not in Leno)"),
            arguments: "",
            flags: &[],
            reach: Reach::Raw,
            run: |_| refuse(concat!("consul ", $name, " is not in Leno: ", $instead)),
        }),*]
    };
}

pub(crate) const COMMANDS: &[Command] = absent! {
    "exec" => "Runs a command on all nodes.",
        "run it by ssh, or by what manages your machines; `consul event` and `consul watch -type=event` \
         tell nodes to do something";
    "debug" => "Collects what is known about an agent.",
        "`consul info`, `consul monitor` and `/v1/agent/metrics` say it; the proxy says its part at \
         /stats, /clusters and /config_dump of its admin pages";
    "troubleshoot proxy" => "Looks for faults of a proxy.",
        "`leno explain http://SERVICE/` says where a request would go, and why";
    "troubleshoot upstreams" => "Lists the upstreams of a proxy.",
        "/clusters of the proxy's admin pages lists them";
    "troubleshoot ports" => "Tries the ports of a server.",
        "Leno's agent logs where it listens";
    "connect envoy" => "Starts an Envoy for a service.",
        "the agent has a proxy of its own (its mesh listener); `leno proxy -c FILE` runs one by an \
         Envoy bootstrap file";
    "connect proxy" => "Starts a proxy for a service.",
        "the agent has a proxy of its own: send requests to its mesh listener";
    "connect expose" => "Exposes a service through a gateway.",
        "declare an `Ingress` with `leno apply -f FILE`";
    "connect redirect-traffic" => "Redirects a service's traffic to its proxy.",
        "send requests to the agent's mesh listener, or use it as an HTTP proxy (`http_proxy`)";
    "snapshot decode" => "Prints what a snapshot holds.",
        "`consul snapshot inspect` says what is in it; the HTTP API lists each object";
    "resource" => "Reads and writes resources of Consul's second API.",
        "that API is not spoken; `consul config` has the same settings";
    "acl translate-rules" => "Translates rules of Consul before 1.4.",
        "write rules in the language of today, as `key_prefix \"app/\" { policy = \"read\" }`";
};
