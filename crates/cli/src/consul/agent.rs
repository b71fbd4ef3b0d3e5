//! `consul agent` and `consul validate`: an agent by Consul's flags and configuration files.

use std::path::PathBuf;

use agent_config::Source;
use anyhow::{Context, bail};
use clap::Parser;
use serde_json::{Map, Value, json};

use super::command::{Call, Command, Outcome, Reach};
use super::flags::{Flag, Given, Kind, flag, list, switch, text, text_or};
use crate::agent::{Told, advertise, check_files, run_as};
use crate::args::{Arguments, Command as Own};
use crate::output::{self, print};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "agent",
        synopsis: "Runs an agent until it is told to end.",
        arguments: "[options]",
        flags: AGENT_FLAGS,
        reach: Reach::Nobody,
        run,
    },
    Command {
        name: "validate",
        synopsis: "Checks configuration files, or folders of them, without starting an agent.",
        arguments: "[options] FILE_OR_DIRECTORY...",
        flags: &[
            text_or("config-format", "", "Format of all files: hcl or json; both are recognized."),
            switch("quiet", "Print nothing when all is well."),
        ],
        reach: Reach::Nobody,
        run: validate,
    },
];

const AGENT_FLAGS: &[Flag] = &[
    text("advertise", "IP address at which others reach the node."),
    text("advertise-wan", "The same, between datacenters."),
    list("allow-write-http-from", "Network from which writes are taken."),
    text("alt-domain", "Second zone of DNS."),
    switch("auto-reload-config", "Read files again when they change."),
    text("bind", "IP address of the node."),
    switch("bootstrap", "Start a cluster of one server."),
    flag("bootstrap-expect", Kind::Number(0), "Servers to wait for."),
    flag("check_output_max_size", Kind::Number(4096), "Most bytes of a check's output."),
    text("client", "Addresses for clients: HTTP and DNS."),
    list("config-dir", "Folder of files that end in .hcl or .json."),
    list("config-file", "File of settings, HCL or JSON."),
    text("config-format", "Format of all files; both are recognized."),
    text("data-dir", "Folder for data."),
    text("datacenter", "Datacenter."),
    text("default-query-time", "How long a blocking query waits when it does not say."),
    switch("dev", "Keep everything in memory."),
    switch("disable-host-node-id", "Do not make the node's id of the machine's."),
    switch("disable-keyring-file", "Do not keep gossip keys."),
    flag("dns-port", Kind::Number(0), "Port of DNS; -1 for none."),
    text("domain", "Zone of DNS."),
    switch("enable-local-script-checks", "Files may define checks that run programs."),
    switch("enable-script-checks", "Everybody may register checks that run programs."),
    text("encrypt", "Gossip key."),
    flag("grpc-port", Kind::Number(0), "Port of gRPC; -1 for none."),
    flag("grpc-tls-port", Kind::Number(0), "Port of gRPC with TLS; -1 for none."),
    list("hcl", "Settings in HCL, merged after the files."),
    flag("http-port", Kind::Number(0), "Port of HTTP; -1 for none."),
    flag("https-port", Kind::Number(0), "Port of HTTPS; -1 for none."),
    list("join", "Agent to join."),
    list("join-wan", "Server of another datacenter to join."),
    text("log-file", "File for the log."),
    switch("log-json", "Log as JSON."),
    text("log-level", "trace, debug, info, warn or error."),
    flag("log-rotate-bytes", Kind::Number(0), "Most bytes of a file of the log."),
    text("log-rotate-duration", "Most time of a file of the log."),
    flag("log-rotate-max-files", Kind::Number(0), "Files of the log to keep."),
    text("max-query-time", "How long a blocking query may wait."),
    text("node", "Name of the node."),
    text("node-id", "UUID of the node."),
    list("node-meta", "Metadata of the node, KEY:VALUE."),
    text("pid-file", "File for the process id."),
    flag("protocol", Kind::Number(-1), "Version of the gossip protocol."),
    flag("raft-protocol", Kind::Number(-1), "Version of the raft protocol."),
    list("recursor", "Resolver for names outside of the mesh."),
    switch("rejoin", "Join again after a leave."),
    text("retry-interval", "Time between attempts to join."),
    text("retry-interval-wan", "The same, between datacenters."),
    list("retry-join", "Agent to join, again and again."),
    list("retry-join-wan", "The same, between datacenters."),
    flag("retry-max", Kind::Number(0), "Most attempts to join."),
    flag("retry-max-wan", Kind::Number(0), "The same, between datacenters."),
    list("serf-lan-allowed-cidrs", "Networks from which others may join."),
    text("serf-lan-bind", "Address of gossip."),
    flag("serf-lan-port", Kind::Number(0), "Port of gossip."),
    list("serf-wan-allowed-cidrs", "Networks from which other datacenters may join."),
    text("serf-wan-bind", "Address of gossip between datacenters."),
    flag("serf-wan-port", Kind::Number(0), "Port of gossip between datacenters."),
    switch("server", "Hold the registry."),
    flag("server-port", Kind::Number(0), "Port of servers among themselves."),
    switch("syslog", "Log to syslog."),
    switch("ui", "Serve the UI."),
    text("ui-content-path", "Path of the UI."),
    text("ui-dir", "Folder of the UI."),
];

/// Flags that are another key in a file than their name with underscores.
const KEYS: &[(&str, &str)] = &[
    ("advertise", "advertise_addr"),
    ("advertise-wan", "advertise_addr_wan"),
    ("allow-write-http-from", "http_config.allow_write_http_from"),
    ("bind", "bind_addr"),
    ("client", "client_addr"),
    ("dns-port", "ports.dns"),
    ("grpc-port", "ports.grpc"),
    ("grpc-tls-port", "ports.grpc_tls"),
    ("http-port", "ports.http"),
    ("https-port", "ports.https"),
    ("join", "start_join"),
    ("join-wan", "start_join_wan"),
    ("node", "node_name"),
    ("recursor", "recursors"),
    ("rejoin", "rejoin_after_leave"),
    ("serf-lan-bind", "serf_lan"),
    ("serf-lan-port", "ports.serf_lan"),
    ("serf-wan-bind", "serf_wan"),
    ("serf-wan-port", "ports.serf_wan"),
    ("server-port", "ports.server"),
    ("syslog", "enable_syslog"),
    ("ui", "ui_config.enabled"),
];

/// Flags that say where settings come from, and are none.
const SOURCES: [&str; 4] = ["config-dir", "config-file", "config-format", "hcl"];

/// Runs an agent until it ends.
fn run(call: &Call) -> Outcome {
    call.no_arguments()?;
    // The order among files and folders counts.
    let paths = call.lists(&["config-file", "config-dir"]);
    let paths = paths.into_iter().map(PathBuf::from).collect();
    let mut flags = vec![];
    for text in call.list("hcl") {
        let value = hcl::parse(text.as_bytes()).map_err(|it| anyhow::anyhow!("-hcl: {it}"))?;
        flags.push(Source { name: "-hcl".into(), value });
    }
    flags.push(Source { name: "command line".into(), value: settings(call)? });
    let defaults = Arguments::try_parse_from(["leno", "agent", "--workers", "1"])?;
    let Own::Agent(arguments) = defaults.command else { bail!("the arguments are an agent's") };
    let told = Told { paths, flags, over: |config, _| advertise(config), arguments: *arguments };
    let (config, _) = told.read()?;
    if !config.dev && config.data_dir.is_none() {
        bail!("data_dir cannot be empty; give -data-dir, or -dev to keep everything in memory");
    }
    let level = config.log_level.as_deref().unwrap_or(if config.dev { "debug" } else { "info" });
    output::log_to_stderr(level, config.log_json);
    runtime::raise_open_files_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let ended = runtime.block_on(run_as(told));
    runtime.shutdown_timeout(crate::LEFTOVERS_TIMEOUT);
    Ok(u8::from(ended? != std::process::ExitCode::SUCCESS))
}

/// What the flags say, in the form of a file.
fn settings(given: &Given) -> anyhow::Result<Value> {
    let mut settings = Map::new();
    for flag in AGENT_FLAGS.iter().filter(|it| given.has(it.name)) {
        let value = match (flag.name, flag.kind) {
            (name, _) if SOURCES.contains(&name) => continue,
            ("node-meta", _) => {
                let pairs = given.list("node-meta").into_iter().map(|it| {
                    let (key, value) = it.split_once(':').unwrap_or((it, ""));
                    (key.to_owned(), json!(value))
                });
                Value::Object(pairs.collect())
            }
            (name, Kind::Switch(_)) => json!(given.is(name)),
            (name, Kind::Number(_)) => json!(given.number(name)),
            (name, Kind::List) => json!(given.list(name)),
            (name, Kind::Text(_) | Kind::Unsigned | Kind::Duration) => json!(given.text(name)),
        };
        let key = KEYS.iter().find(|it| it.0 == flag.name).map(|it| it.1.to_owned());
        put(&mut settings, &key.unwrap_or_else(|| flag.name.replace('-', "_")), value)?;
    }
    Ok(Value::Object(settings))
}

/// Puts a value under a key whose parts are joined by dots.
fn put(settings: &mut Map<String, Value>, key: &str, value: Value) -> anyhow::Result<()> {
    let Some((section, rest)) = key.split_once('.') else {
        settings.insert(key.to_owned(), value);
        return Ok(());
    };
    let section = settings.entry(section).or_insert_with(|| json!({}));
    let section = section.as_object_mut().context("a section is an object")?;
    put(section, rest, value)
}

/// Checks configuration.
fn validate(call: &Call) -> Outcome {
    let paths: Vec<PathBuf> = call.positional().iter().map(PathBuf::from).collect();
    if paths.is_empty() {
        return call.wrong_use("Must specify at least one config file or directory");
    }
    for finding in check_files(&paths).context("Config validation failed")? {
        output::note(&format!("{finding}"));
    }
    if !call.is("quiet") {
        print("Configuration is valid!\n");
    }
    Ok(0)
}
