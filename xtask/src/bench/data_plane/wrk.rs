//! wrk: HTTP/1.1 from one thread over many connections.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::client::BROWSER_HEADERS;
use super::load::Load;
use super::machine::pinned;
use super::units::{self, BODY_POSTED};
use crate::tools::run;

/// One run of wrk.
pub(super) struct Wrk<'a> {
    pub(super) program: &'a Path,
    pub(super) cores: Option<&'a str>,
    pub(super) threads: usize,
    pub(super) connections: usize,
    pub(super) seconds: u64,
    pub(super) url: String,
    /// Script that makes the requests, when they are not plain GETs.
    pub(super) script: Option<PathBuf>,
    /// OpenSSL's configuration: the cipher that all proxies share.
    pub(super) openssl: PathBuf,
}

impl Wrk<'_> {
    pub(super) fn run(&self) -> anyhow::Result<Load> {
        let output = run(&mut self.command())?;
        parse(&String::from_utf8_lossy(&output.stdout))
    }

    fn command(&self) -> Command {
        let mut command = pinned(self.program, self.cores);
        command
            .env("OPENSSL_CONF", &self.openssl)
            .arg(format!("-t{}", self.threads))
            .arg(format!("-c{}", self.connections))
            .arg(format!("-d{}s", self.seconds))
            .arg("--latency");
        for header in BROWSER_HEADERS {
            command.args(["-H", header]);
        }
        if let Some(script) = &self.script {
            command.arg("-s").arg(script);
        }
        command.arg(&self.url);
        command
    }
}

/// The script that posts 16 KiB.
pub(super) fn post_script() -> String {
    format!(
        "wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", {BODY_POSTED})\n\
         wrk.headers[\"Content-Type\"] = \"application/octet-stream\"\n"
    )
}

/// Reads what wrk printed. Its count of requests is the count of whole answers.
fn parse(text: &str) -> anyhow::Result<Load> {
    for bad in ["Socket errors:", "Non-2xx or 3xx responses:"] {
        if let Some(line) = text.lines().find(|line| line.trim_start().starts_with(bad)) {
            bail!("requests failed: {}", line.trim());
        }
    }
    let line = text.lines().find(|line| line.contains(" requests in "));
    let line = line.with_context(|| format!("wrk tells no count of requests:\n{text}"))?;
    let (requests, rest) = line.split_once(" requests in ").context("the line has both parts")?;
    let took = rest.split(',').next().unwrap_or_default();
    let percentile = |wanted: &str| {
        let mut lines = text.lines().map(str::split_ascii_whitespace);
        lines
            .find_map(|mut it| (it.next() == Some(wanted)).then(|| it.next()).flatten())
            .and_then(units::seconds)
            .with_context(|| format!("wrk tells no {wanted}:\n{text}"))
    };
    Ok(Load {
        requests: requests.trim().parse().with_context(|| format!("not a count: {line}"))?,
        seconds: units::seconds(took).with_context(|| format!("not a time: {line}"))?,
        p50_us: percentile("50%")? * 1e6,
        p99_us: percentile("99%")? * 1e6,
        failures: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
Running 5s test @ http://127.0.0.1:10080/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.48ms  402.11us  12.05ms   91.53%
    Req/Sec    43.47k     1.20k   46.11k    70.00%
  Latency Distribution
     50%    1.43ms
     75%    1.60ms
     90%    1.82ms
     99%  980.00us
  216264 requests in 5.02s, 239.42MB read
Requests/sec:  43079.13
Transfer/sec:     47.69MB
";

    #[test]
    fn a_run_without_failures_is_read() {
        let load = parse(GOOD).expect("it is whole");
        assert_eq!(load.requests, 216_264);
        assert!((load.seconds - 5.02).abs() < 1e-9);
        assert!((load.p50_us - 1430.0).abs() < 1e-6);
        assert!((load.p99_us - 980.0).abs() < 1e-6);
    }

    #[test]
    fn a_failed_request_fails_the_run() {
        let timeout = format!("{GOOD}  Socket errors: connect 0, read 3, write 0, timeout 1\n");
        let error = parse(&timeout).expect_err("3 reads failed").to_string();
        assert_eq!(error, "requests failed: Socket errors: connect 0, read 3, write 0, timeout 1");
        let status = format!("{GOOD}  Non-2xx or 3xx responses: 17\n");
        assert!(parse(&status).is_err());
    }

    #[test]
    fn output_that_was_cut_is_an_error() {
        assert!(parse("unable to connect to 127.0.0.1:1 Connection refused\n").is_err());
        assert!(parse("  12 requests in 5.00s, 1.0KB read\n").is_err());
    }
}
