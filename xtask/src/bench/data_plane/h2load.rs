//! h2load: HTTP/2 with prior knowledge, an exact number of requests.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::load::Load;
use super::machine::pinned;
use super::units::{self, percentile};
use crate::tools::run;

/// One run of h2load: 10 connections with 20 streams each.
pub(super) struct H2Load<'a> {
    pub(super) program: &'a Path,
    pub(super) cores: Option<&'a str>,
    pub(super) requests: u64,
    pub(super) url: String,
    /// File with a gRPC message to post; none: a GET.
    pub(super) message: Option<PathBuf>,
    /// Bytes of each answer's body.
    pub(super) answer_bytes: usize,
    /// Where it may write the times of single requests.
    pub(super) log: PathBuf,
}

impl H2Load<'_> {
    pub(super) fn run(&self) -> anyhow::Result<Load> {
        // It appends.
        let _ = fs::remove_file(&self.log);
        let mut command = pinned(self.program, self.cores);
        command.args(["-t1", "-c10", "-m20", "-n"]).arg(self.requests.to_string());
        command.arg("--log-file").arg(&self.log);
        if let Some(message) = &self.message {
            command.arg("-d").arg(message);
            command.args(["-H", "content-type: application/grpc", "-H", "te: trailers"]);
        }
        let output = run(command.arg(&self.url))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let (requests, seconds) = parse(&text, self.requests, self.answer_bytes)?;
        let log = fs::read_to_string(&self.log)
            .with_context(|| format!("cannot read {}", self.log.display()))?;
        let times = parse_log(&log)?;
        Ok(Load {
            requests,
            seconds,
            p50_us: percentile(&times, 0.5),
            p99_us: percentile(&times, 0.99),
            failures: 0,
        })
    }
}

/// Reads what h2load printed: the count of requests and the seconds that they took. A gRPC call that failed has the status
/// 200 and no body, so the bytes of all bodies are checked too.
fn parse(text: &str, wanted: u64, answer_bytes: usize) -> anyhow::Result<(u64, f64)> {
    let line = |start: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(start))
            .with_context(|| format!("h2load tells no `{start}`:\n{text}"))
    };
    let requests = line("requests: ")?;
    let count = |line: &str, word: &str| {
        let mut parts = line.split(", ").filter_map(|it| it.split_once(' '));
        parts.find(|(_, it)| *it == word).and_then(|(number, _)| number.parse::<u64>().ok())
    };
    if count(requests, "succeeded") != Some(wanted) || count(requests, "done") != Some(wanted) {
        bail!("requests failed: {requests}");
    }
    let codes = line("status codes: ")?;
    if count(codes, "2xx") != Some(wanted) {
        bail!("requests failed: {codes}");
    }
    let traffic = line("traffic: ")?;
    let bytes = traffic.rsplit(", ").next().and_then(parse_bytes);
    let bytes = bytes.with_context(|| format!("not a count of bytes: {traffic}"))?;
    if bytes != wanted * answer_bytes as u64 {
        bail!("{bytes} bytes in the answers to {wanted} requests of {answer_bytes} bytes each");
    }
    let finished = line("finished in ")?.split(',').next().unwrap_or_default();
    let seconds = units::seconds(finished).with_context(|| format!("not a time: {finished}"))?;
    Ok((wanted, seconds))
}

/// Reads `97.66MB (102400000) data`.
fn parse_bytes(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once('(')?;
    let (number, rest) = rest.split_once(')')?;
    (rest.trim() == "data").then(|| number.parse().ok()).flatten()
}

/// Reads the times of single requests, in microseconds, and sorts them: start, status, time, a line each.
fn parse_log(text: &str) -> anyhow::Result<Vec<u32>> {
    let mut times = Vec::new();
    for line in text.lines() {
        let time = line.split('\t').nth(2).and_then(|it| it.parse().ok());
        times.push(time.with_context(|| format!("not a line of h2load's log: {line}"))?);
    }
    times.sort_unstable();
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
starting benchmark...
spawning thread #0: 10 total client(s). 100000 total requests
Application protocol: h2c
progress: 100% done

finished in 2.61s, 38314.18 req/s, 38.33MB/s
requests: 100000 total, 100000 started, 100000 done, 100000 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 100000 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 100.04MB (104900730) total, 683.96KB (700370) headers (space savings 94.62%), 97.66MB (102400000) data
                     min         max         mean         sd        +/- sd
time for request:      612us     15.92ms      5.19ms       871us    79.32%
time for connect:      145us      1.61ms       815us       530us    60.00%
time to 1st byte:     5.11ms      8.32ms      6.79ms      1.12ms    60.00%
req/s           :    3831.52     3838.07     3834.15        2.33    60.00%
";

    #[test]
    fn a_run_without_failures_is_read() {
        let (requests, seconds) = parse(GOOD, 100_000, 1024).expect("it is whole");
        assert_eq!(requests, 100_000);
        assert!((seconds - 2.61).abs() < 1e-9);
    }

    #[test]
    fn a_failed_request_fails_the_run() {
        for (good, bad) in [
            ("100000 succeeded, 0 failed", "99999 succeeded, 1 failed"),
            ("100000 2xx, 0 3xx", "99999 2xx, 1 3xx"),
            ("(102400000) data", "(102398976) data"),
        ] {
            assert!(parse(&GOOD.replace(good, bad), 100_000, 1024).is_err(), "{bad}");
        }
        assert!(parse(GOOD, 100_001, 1024).is_err(), "a request is missing");
    }

    #[test]
    fn single_times_are_read_and_sorted() {
        let log = "1763830000000000\t200\t5190\n1763830000000100\t200\t612\n";
        assert_eq!(parse_log(log).expect("two lines"), [612, 5190]);
        assert!(parse_log("1763830000000000\t200\n").is_err());
    }
}
