//! The command line of Consul, for scripts that call `consul`: the same words, flags, texts and exit codes. Called through a
//! link named `consul`, or as `leno consul …`.

mod absent;
mod acl;
mod agent;
mod catalog;
mod client;
mod command;
mod config;
mod connect;
mod document;
mod event;
mod flags;
mod handler;
mod intention;
mod keys;
mod kv;
mod local;
mod lock;
mod login;
mod members;
mod operator;
mod peering;
mod print;
mod rtt;
mod services;
mod snapshot;
mod tls;
pub(crate) mod trust;
mod version;
mod watch;

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use self::command::{Call, Command, Reach};
pub(crate) use self::flags::GoDuration;
use crate::output::{self, note};

/// All commands, by groups.
static COMMANDS: &[&[Command]] = &[
    acl::COMMANDS,
    acl::auth_method::COMMANDS,
    acl::binding_rule::COMMANDS,
    acl::policy::COMMANDS,
    acl::role::COMMANDS,
    acl::templated_policy::COMMANDS,
    acl::token::COMMANDS,
    agent::COMMANDS,
    catalog::COMMANDS,
    config::COMMANDS,
    connect::COMMANDS,
    event::COMMANDS,
    intention::COMMANDS,
    keys::COMMANDS,
    kv::COMMANDS,
    local::COMMANDS,
    lock::COMMANDS,
    login::COMMANDS,
    members::COMMANDS,
    operator::COMMANDS,
    peering::COMMANDS,
    rtt::COMMANDS,
    services::COMMANDS,
    snapshot::COMMANDS,
    tls::COMMANDS,
    version::COMMANDS,
    watch::COMMANDS,
    absent::COMMANDS,
];

/// What shells get from a program that does not know a command.
const UNKNOWN_COMMAND: u8 = 127;

/// The arguments for Consul's commands, if this process was called as `consul` or `leno consul`.
pub(crate) fn arguments() -> Option<Vec<OsString>> {
    let mut arguments = env::args_os();
    let program = arguments.next()?;
    let is_link = Path::new(&program).file_name().is_some_and(|name| name == "consul");
    if is_link || arguments.next()? == "consul" { Some(arguments.collect()) } else { None }
}

/// Runs a command of Consul's.
pub(crate) fn run(arguments: Vec<OsString>) -> ExitCode {
    let mut words = Vec::with_capacity(arguments.len());
    for argument in arguments {
        match argument.into_string() {
            Ok(word) => words.push(word),
            Err(word) => {
                note(&format!(
                    "{word:?} is not UTF-8; values of other bytes can be read from a file with @FILE"
                ));
                return ExitCode::FAILURE;
            }
        }
    }
    let code = route(&words).unwrap_or_else(|error| {
        note(&format!("{error:#}"));
        1
    });
    match output::finish() {
        Ok(()) => ExitCode::from(code),
        Err(error) => {
            note(&format!("cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn route(words: &[String]) -> command::Outcome {
    let is_one_of = |word: &String, names: &[&str]| names.contains(&word.as_str());
    let asks_for_help = words
        .iter()
        .take_while(|word| *word != "--")
        .any(|word| is_one_of(word, &["-h", "-help", "--help"]));
    let start = words.iter().position(|word| !word.starts_with('-')).unwrap_or(words.len());
    let (before, words) = words.split_at(start);
    if before.iter().any(|word| is_one_of(word, &["-v", "-version", "--version"])) {
        return route(&["version".to_owned()]);
    }
    let group = command::common_words(words);
    match command::find(words) {
        Some((command, count)) if !asks_for_help || command.reach == Reach::Raw => {
            if !before.is_empty() {
                note("Flags before the command are not known; write them after it.");
                return Ok(1);
            }
            Call::run(command, &words[count..])
        }
        Some((command, _)) => Ok(command::print_usage(&command::usage(command))),
        None if asks_for_help => Ok(command::print_usage(&command::group_usage(&group))),
        None => {
            note(command::group_usage(&group).trim_end());
            Ok(if group.is_empty() { UNKNOWN_COMMAND } else { 1 })
        }
    }
}
