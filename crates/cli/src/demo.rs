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
use runtime::Termination;

use crate::args::DemoArguments;
use crate::output::print_line;
use report::Report;
use stage::Stage;

pub(crate) async fn run(arguments: DemoArguments) -> anyhow::Result<ExitCode> {
    let mut termination = Termination::listen().context("cannot listen to signals")?;
    let mut report = Report::new();
    let stage = tokio::select! {
        stage = Stage::set(&arguments, &mut report) => stage?,
        signal = termination.next() => return Ok(ExitCode::from(signal.exit_code())),
    };
    let show = async {
        discovery::show(&stage, &mut report).await?;
        balance::show(&stage, &mut report, arguments.requests).await?;
        loss::show_kill(&stage, &mut report).await?;
        loss::show_sickness(&stage, &mut report).await
    };
    let shown = tokio::select! {
        shown = show => shown,
        signal = termination.next() => {
            clear(&stage, &mut termination).await;
            return Ok(ExitCode::from(signal.exit_code()));
        }
    };
    if let Err(error) = shown {
        clear(&stage, &mut termination).await;
        return Err(error);
    }
    let code = report.close();
    if !arguments.once {
        print_line("");
        for line in stage.what_to_try() {
            print_line(&line);
        }
        termination.next().await;
    }
    clear(&stage, &mut termination).await;
    Ok(code)
}

/// Ends everything that the demo started; at once when there is another signal.
async fn clear(stage: &Stage, termination: &mut Termination) {
    tokio::select! {
        () = stage.clear() => {}
        _ = termination.next() => {}
    }
}
