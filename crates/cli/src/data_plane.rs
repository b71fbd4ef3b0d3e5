//! `leno proxy`: the data plane alone, by an Envoy bootstrap file.

use std::convert::Infallible;
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use proxy::{LogLevels, Proxy, ProxyHandle, ProxyOptions, Quit};
use runtime::{Drain, Hangup, LogRotation, Termination};
use tokio::sync::Notify;
use tokio::time::sleep;
use xds::bootstrap::{Bootstrap, Finding, Severity};

use crate::args::ProxyArguments;
use crate::bootstrap_file::{BootstrapFile, Watch};
use crate::remote;

/// How long files that are written one after the other are waited for: a key follows its certificate at once.
const SETTLE_TIME: Duration = Duration::from_millis(100);

/// What is used at the beginning is not all used when a proxy is ready: the first handshakes and the first answers of
/// health checks come then. So code that is not used any more is let go of again after this time, and after ten times as
/// long each further time, up to the longest; what a change of the configuration needed goes with it. What is in use
/// comes back within some 0.1 ms.
const RELEASE_AFTER: Duration = Duration::from_secs(2);
const RELEASE_AFTER_MAX: Duration = Duration::from_mins(30);

/// Runs until a signal ends it. One thread of its own waits here; the proxy has the others.
pub(crate) fn run(arguments: &ProxyArguments, log_levels: LogLevels) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match (&arguments.remote.agent, &arguments.config) {
            (Some(agent), _) => remote::serve(agent, arguments, log_levels).await,
            (None, Some(file)) => serve(file, arguments, log_levels).await,
            (None, None) => bail!("give a file with --config, or an agent with --agent"),
        }
    })
}

async fn serve(
    file: &Path,
    arguments: &ProxyArguments,
    log_levels: LogLevels,
) -> anyhow::Result<ExitCode> {
    let mut termination = Termination::listen().context("cannot listen to signals")?;
    let mut hangup = Hangup::listen().context("cannot listen to signals")?;
    let mut rotation = LogRotation::listen().context("cannot listen to signals")?;
    let mut file = BootstrapFile::new(file);
    let (bootstrap, findings) = file.read()?;
    tell(&findings, arguments.strict)?;
    let admin = arguments.admin.map_or(bootstrap.admin, |it| it.address());
    let asked_to_quit = Arc::new(Notify::new());
    let on_quit = asked_to_quit.clone();
    let options = ProxyOptions {
        admin,
        quit: Some(Quit::new(move || on_quit.notify_one())),
        log_levels: Some(log_levels),
        ..proxy_options(arguments)?
    };
    let proxy = Proxy::start(options, Arc::new(bootstrap.config.clone()))
        .context("the proxy does not start")?;
    let mut is_ready = false;
    let mut releasing = pin!(release_unused_code());
    let mut watch = Watch::start(file.named());
    let mut running = Running { file, bootstrap, proxy, strict: arguments.strict };
    // What changed before it was watched.
    running.renew().await;
    say_where(&running.proxy, &running.bootstrap);
    loop {
        tokio::select! {
            warm = running.proxy.warmed(), if !is_ready => {
                is_ready = true;
                if warm {
                    runtime::release_unused_code();
                    tracing::info!("ready");
                }
            }
            never = releasing.as_mut() => match never {},
            () = asked_to_quit.notified() => return Ok(ExitCode::SUCCESS),
            signal = termination.next() => {
                tracing::info!(signal = signal.name(), "draining; once more ends it at once");
                break;
            }
            () = hangup.next() => {
                running.reload().await;
                watch.follow(running.file.named());
            }
            () = rotation.next() => running.proxy.reopen_access_logs(),
            () = watch.next() => {
                sleep(SETTLE_TIME).await;
                running.renew().await;
                watch.follow(running.file.named());
            }
        }
    }
    let (proxy, drain_time_s) = (&running.proxy, arguments.drain_time_s);
    Ok(drain(proxy, &Drain::new(), drain_time_s, &asked_to_quit, &mut termination).await)
}

/// Ends what is under way, within a time, unless it shall end at once.
/// `begun` begins when the proxy takes no new connection any more.
pub(crate) async fn drain(
    proxy: &ProxyHandle,
    begun: &Drain,
    drain_time_s: u64,
    asked_to_quit: &Notify,
    termination: &mut Termination,
) -> ExitCode {
    tokio::select! {
        () = asked_to_quit.notified() => ExitCode::SUCCESS,
        cut = proxy.drain_telling(Duration::from_secs(drain_time_s), begun.clone()) => {
            if cut > 0 {
                tracing::warn!(connections = cut, "cut as the drain time was over");
            }
            ExitCode::SUCCESS
        }
        signal = termination.next() => {
            tracing::warn!(signal = signal.name(), "ended at once");
            ExitCode::from(signal.exit_code())
        }
    }
}

/// Lets go of code that is not used any more, again and again.
pub(crate) async fn release_unused_code() -> Infallible {
    let mut after = RELEASE_AFTER;
    loop {
        sleep(after).await;
        runtime::release_unused_code();
        after = (10 * after).min(RELEASE_AFTER_MAX);
    }
}

pub(crate) fn proxy_options(arguments: &ProxyArguments) -> anyhow::Result<ProxyOptions> {
    let default = ProxyOptions::default();
    let workers = match arguments.concurrency {
        // As for Envoy, 0 is one for each core.
        Some(0) | None => default.workers,
        Some(workers) => usize::from(workers),
    };
    let drain_time = Duration::from_secs(arguments.drain_time_s);
    Ok(ProxyOptions { workers, drain_time, ..default })
}

/// Logs where the proxy listens.
fn say_where(proxy: &ProxyHandle, bootstrap: &Bootstrap) {
    for name in bootstrap.config.listeners.keys() {
        if let Some(address) = proxy.local_addr(name) {
            tracing::info!("listener       {name} {address}");
        }
    }
    if let Some(admin) = proxy.admin_addr() {
        tracing::info!("proxy admin    http://{admin}");
    }
}

/// Logs what is not honored as it is written.
fn tell(findings: &[Finding], strict: bool) -> anyhow::Result<()> {
    for finding in findings {
        tracing::warn!(kind = finding.severity.as_str(), "{finding}");
    }
    let worst = findings.iter().map(|it| it.severity).max();
    if strict && worst > Some(Severity::Caution) {
        bail!("with --strict a field that is not honored is an error; see above")
    }
    Ok(())
}

/// The proxy with what it does.
struct Running {
    file: BootstrapFile,
    bootstrap: Bootstrap,
    proxy: ProxyHandle,
    strict: bool,
}

impl Running {
    /// Takes the file as it is now, if it can be used.
    async fn reload(&mut self) {
        let read = self.file.read().and_then(|(bootstrap, findings)| {
            tell(&findings, self.strict)?;
            Ok(bootstrap)
        });
        match read {
            Ok(bootstrap) => self.take(bootstrap, "reloaded").await,
            Err(error) => refuse("the file is not taken, and what was before goes on", &error),
        }
    }

    /// Takes the files that the file names as they are now, if they can be used.
    async fn renew(&mut self) {
        match self.file.read_named() {
            Ok((bootstrap, _)) if bootstrap.config == self.bootstrap.config => {}
            Ok((bootstrap, _)) => self.take(bootstrap, "certificates renewed").await,
            Err(error) => refuse("files are not taken, and what was before goes on", &error),
        }
    }

    async fn take(&mut self, bootstrap: Bootstrap, what: &'static str) {
        if bootstrap.admin != self.bootstrap.admin {
            tracing::warn!("the address of the admin server changes with the next start");
        }
        // What cannot be done is logged there, and the rest holds.
        match self.proxy.update(Arc::new(bootstrap.config.clone())).await {
            Ok(errors) if errors.is_empty() => tracing::info!("{what}"),
            Ok(errors) => tracing::warn!(
                errors = errors.len(),
                "{what}, except what cannot be done as it is written: see the errors above"
            ),
            Err(error) => tracing::error!(%error, "the proxy takes no configuration"),
        }
        self.bootstrap = bootstrap;
    }
}

fn refuse(what: &str, error: &anyhow::Error) {
    let because: Vec<String> = error.chain().map(ToString::to_string).collect();
    tracing::error!("{what}: {}", because.join(": "));
}
