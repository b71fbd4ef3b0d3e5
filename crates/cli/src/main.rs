//! # cli: the binary `leno`
//!
//! Arguments in, tables and exit codes out: 0 done, 1 failed, 2 usage. Errors go to standard error and say what to
//! do next.

mod agent;
mod args;
mod bootstrap_file;
mod client;
mod consul;
mod data_plane;
mod demo;
mod documents;
mod echo;
mod explain_instance;
mod import;
mod kv;
mod list;
mod load;
mod node;
mod output;
mod proxies;
mod remote;
mod usable;
mod validate;
mod workloads;

use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};

use crate::args::{Arguments, Command};

/// How long work that cannot be interrupted may still take in the end.
pub(crate) const LEFTOVERS_TIMEOUT: Duration = Duration::from_secs(1);

/// The word by which an agent starts this program between itself and a job; nobody types it.
const RECORDER: &str = "run-recorded";

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|it| it == RECORDER) {
        let arguments: Vec<_> = words.collect();
        return match runtime::run_recorded(&arguments) {
            Ok(code) => ExitCode::from(code),
            Err(error) => output::fail(&anyhow::Error::new(error)),
        };
    }
    if let Some(arguments) = consul::arguments() {
        return consul::run(arguments);
    }
    let arguments = Arguments::parse();
    if let Command::Consul { arguments } = arguments.command {
        return consul::run(arguments);
    }
    let log_levels = output::set_up_logging(&arguments);
    runtime::raise_open_files_limit();
    // These need none of the control plane's threads.
    let alone = match &arguments.command {
        Command::Proxy(options) => Some(data_plane::run(options, log_levels)),
        Command::Validate(options) => Some(validate::run(options)),
        Command::Import { what } => Some(import::run(what)),
        _ => None,
    };
    if let Some(result) = alone {
        return finish(result);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::fail(&anyhow::Error::new(error)),
    };
    let result = runtime.block_on(run(arguments));
    // Whatever still blocks must not keep the process.
    runtime.shutdown_timeout(LEFTOVERS_TIMEOUT);
    finish(result)
}

fn finish(result: anyhow::Result<ExitCode>) -> ExitCode {
    match (result, output::finish()) {
        (Ok(code), Ok(())) => code,
        (Err(error), _) => output::fail(&error),
        (Ok(_), Err(error)) => {
            output::fail(&anyhow::Error::new(error).context("cannot write to standard output"))
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Agent(options) => agent::run(*options).await,
        Command::Proxy(_)
        | Command::Validate(_)
        | Command::Import { .. }
        | Command::Consul { .. } => {
            unreachable!("they run without this runtime")
        }
        Command::Demo(options) => demo::run(options).await,
        Command::Echo(options) => echo::run(options).await,
        Command::Apply(options) => documents::apply(options).await,
        Command::Get(options) => documents::get(options).await,
        Command::Delete(options) => documents::delete(options).await,
        Command::Ps(options) => workloads::ps(options).await,
        Command::Start(options) => workloads::order("start", options).await,
        Command::Stop(options) => workloads::order("stop", options).await,
        Command::Restart(options) => workloads::order("restart", options).await,
        Command::Scale(options) => workloads::scale(options).await,
        Command::Logs(options) => workloads::logs(options).await,
        Command::Rollout { what } => workloads::rollout(what).await,
        Command::Services(options) => list::services(options).await,
        Command::Catalog(options) => list::catalog(options).await,
        Command::Kv { what } => kv::run(what).await,
        Command::Members(options) => list::members(options).await,
        Command::Proxies(options) => proxies::list(options).await,
        Command::Explain(options) => list::explain(options).await,
        Command::Completion { shell } => {
            // Into memory first: the generator panics when a pipe is closed.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "leno", &mut script);
            output::print(&String::from_utf8_lossy(&script));
            Ok(ExitCode::SUCCESS)
        }
    }
}
