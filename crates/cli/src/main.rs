//! # cli: the binary `leno`
//!
//! Arguments in, tables and exit codes out: 0 done, 1 failed, 2 usage. Errors go to standard error and say what to
//! do next.

mod agent;
mod args;
mod client;
mod demo;
mod documents;
mod echo;
mod list;
mod load;
mod node;
mod output;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::args::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    output::set_up_logging(&arguments);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::fail(&anyhow::Error::new(error)),
    };
    match runtime.block_on(run(arguments)) {
        Ok(code) => code,
        Err(error) => output::fail(&error),
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Agent(options) => agent::run(*options).await,
        Command::Demo(options) => demo::run(options).await,
        Command::Echo(options) => echo::run(options).await,
        Command::Apply(options) => documents::apply(options).await,
        Command::Get(options) => documents::get(options).await,
        Command::Delete(options) => documents::delete(options).await,
        Command::Services(options) => list::services(options).await,
        Command::Catalog(options) => list::catalog(options).await,
        Command::Members(options) => list::members(options).await,
        Command::Explain(options) => list::explain(options).await,
        Command::Completion { shell } => {
            clap_complete::generate(
                shell,
                &mut Arguments::command(),
                "leno",
                &mut std::io::stdout(),
            );
            Ok(ExitCode::SUCCESS)
        }
    }
}
