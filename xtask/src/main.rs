//! All automation of the repository: `cargo xtask COMMAND`.

mod bench;
mod dist;
mod peers;
mod tidy;
mod tools;

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};

use crate::tools::{say, step};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test             set up what the tests need, then formatting, clippy, tidy and every test
  tidy             hold the rules of the house that no compiler knows
  peers            set up the real clients that the tests talk to
  dist             build the binary that is shipped, guided by what it does under load: target/dist/leno
  bench registry   measure the registry: writes, reads, wake-ups, locks, names, memory; `--help` says more
  bench data-plane measure the proxy beside Envoy, HAProxy and nginx; `bench data-plane --help` says more

LENO_REQUIRE_PEERS=1 makes a peer that cannot be set up a failure.
";

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["test"] => test(),
        ["tidy"] => tidy::run(),
        ["peers"] => peers::set_up().map(|_| ()),
        ["dist"] => dist::run_command(),
        ["bench", "registry", rest @ ..] => bench::registry::run(rest),
        ["bench", "data-plane", rest @ ..] => bench::data_plane::run(rest),
        _ => {
            say(USAGE);
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("\nFAILED: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Everything that must hold before a change lands, cheapest first; the tests last, so that their sum is what one sees
/// at the end.
fn test() -> anyhow::Result<()> {
    step("peers");
    let peers = peers::set_up()?;
    step("formatting");
    cargo(&["fmt", "--all", "--check"])?;
    step("clippy");
    cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"])?;
    step("tidy");
    tidy::run()?;
    step("tests");
    let (passed, failed) = run_tests(&peers)?;
    for (peer, reason) in &peers.left_out {
        say(&format!("left out: the tests with {peer}, because {reason}"));
    }
    say(&format!("{passed} passed, {failed} failed"));
    Ok(())
}

/// Runs every test, shows what they print, and counts them over all test programs.
fn run_tests(peers: &peers::Peers) -> anyhow::Result<(u64, u64)> {
    let mut tests = Command::new(env!("CARGO"))
        .args(["test", "--workspace", "--no-fail-fast"])
        .env("LENO_PEERS", &peers.folder)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo")?;
    let out = tests.stdout.take().context("it is piped")?;
    let (mut passed, mut failed) = (0, 0);
    for line in BufReader::new(out).lines() {
        let line = line.context("cannot read what the tests print")?;
        say(&line);
        if line.starts_with("test result:") {
            passed += count_before(&line, " passed");
            failed += count_before(&line, " failed");
        }
    }
    let status = tests.wait().context("cannot wait for cargo")?;
    if !status.success() {
        say(&format!("{passed} passed, {failed} failed"));
        bail!("tests failed");
    }
    Ok((passed, failed))
}

/// The number that stands before a word, as in `12 passed`.
fn count_before(line: &str, word: &str) -> u64 {
    let before = line.split(word).next().unwrap_or_default();
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn cargo(arguments: &[&str]) -> anyhow::Result<()> {
    let status =
        Command::new(env!("CARGO")).args(arguments).status().context("cannot run cargo")?;
    if status.success() { Ok(()) } else { bail!("`cargo {}` failed", arguments.join(" ")) }
}
