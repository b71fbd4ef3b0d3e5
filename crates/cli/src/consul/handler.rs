//! A program that a command starts: a handler of `watch`, or what runs under a lock.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::time::Duration;

use runtime::{ChildSpec, Exit, Foreground};
use tokio::time::timeout;

/// How long a program may take to end after SIGTERM.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// What starts a program: by a shell, `SHELL` or `/bin/sh`, or itself.
pub(crate) fn spec(words: &[String], shell: bool, environment: &[(&str, &str)]) -> ChildSpec {
    let (program, arguments): (OsString, Vec<OsString>) = if shell {
        let program = env::var_os("SHELL").filter(|it| !it.is_empty());
        let program = program.unwrap_or_else(|| "/bin/sh".into());
        (program, vec!["-c".into(), words.join(" ").into()])
    } else {
        let mut words = words.iter().map(OsString::from);
        (words.next().unwrap_or_default(), words.collect())
    };
    let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    let environment: BTreeMap<String, String> = environment.collect();
    ChildSpec { program: program.into(), arguments, environment }
}

/// What Go says about a process that did not end well.
pub(crate) fn complaint(exit: Exit) -> Option<String> {
    match exit {
        Exit::Code(0) => None,
        Exit::Code(code) => Some(format!("exit status {code}")),
        Exit::Signal(2) => Some("signal: interrupt".to_owned()),
        Exit::Signal(9) => Some("signal: killed".to_owned()),
        Exit::Signal(15) => Some("signal: terminated".to_owned()),
        Exit::Signal(signal) => Some(format!("signal: {signal}")),
    }
}

/// Asks a program to end, and kills it if it does not; false if it had to be killed.
pub(crate) async fn stop(child: &mut Foreground) -> bool {
    child.terminate();
    if timeout(GRACE, child.end()).await.is_ok() {
        return true;
    }
    child.kill();
    let _ = child.end().await;
    false
}
