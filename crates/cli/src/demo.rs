//! `leno demo`: the main job, shown and measured.
//!
//! One line a claim, `ok` or `FAILED`, with figures. Everything is real: the processes, the probes, the sockets.

mod balance;
mod discovery;
mod loss;
mod report;
mod stage;

use std::process::ExitCode;

use anyhow::Context;

use crate::args::DemoArguments;
use crate::output::print_line;
use report::Report;
use stage::Stage;

pub(crate) async fn run(arguments: DemoArguments) -> anyhow::Result<ExitCode> {
    let terminated = tokio::spawn(runtime::terminated());
    let mut report = Report::new();
    let stage = tokio::select! {
        stage = Stage::set(&arguments, &mut report) => stage?,
        _ = runtime::terminated() => return Ok(ExitCode::from(130)),
    };
    let show = async {
        discovery::show(&stage, &mut report).await?;
        balance::show(&stage, &mut report, arguments.requests).await?;
        loss::show_kill(&stage, &mut report).await?;
        loss::show_sickness(&stage, &mut report).await
    };
    let shown = tokio::select! {
        shown = show => shown,
        _ = runtime::terminated() => {
            stage.clear().await;
            return Ok(ExitCode::from(130));
        }
    };
    if let Err(error) = shown {
        stage.clear().await;
        return Err(error);
    }
    let code = report.close();
    if !arguments.once {
        print_line("");
        for line in stage.what_to_try() {
            print_line(&line);
        }
        terminated.await.context("the signal handler ended")??;
    }
    stage.clear().await;
    Ok(code)
}
