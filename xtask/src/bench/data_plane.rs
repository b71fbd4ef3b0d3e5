//! `cargo xtask bench data-plane`: Leno beside Envoy, HAProxy and nginx, in one run.
//!
//! Leno and Envoy run the same file, `examples/envoy/bench.yaml`; HAProxy and nginx get their equivalents. All proxies of a
//! scenario are alive at once, each pinned to core 0; backend and load have other cores. Rounds are interleaved. What is
//! compared is the CPU time of a proxy's process per request, which survives a noisy machine as a ratio within one run.
//! A request that fails fails the run; a bar that is missed does not.

mod backend;
mod bar;
mod bootstrap;
mod client;
mod files;
mod h2load;
mod kernel;
mod load;
mod machine;
mod measure;
mod peer_files;
mod probe;
mod proxies;
mod report;
mod scenario;
mod units;
mod wrk;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use self::backend::Backend;
use self::files::Files;
use self::machine::Layout;
use self::measure::Outcome;
use self::proxies::{Kind, Programs, Stand};
use self::scenario::Scenario;
use crate::dist;
use crate::peers;
use crate::tools::{remove_folder, root, say};

const USAGE: &str = "\
usage: cargo xtask bench data-plane [SCENARIO]… [OPTION]…

  --rounds N            rounds of each scenario [default: 5]
  --seconds N           load on each proxy in a round [default: 4]
  --proxies NAME,…      of leno, envoy, haproxy, nginx [default: all]
  --rate N              requests a second of fixed-rate [default: 4000]
  --idle N              connections of idle-100k [default: 100000]
  --reloads N           reloads of reloads [default: 1000]
  --leno PATH           a built binary [default: builds what is shipped, as `cargo xtask dist`]
  --leno-arguments TEXT how it is called [default: proxy -c {config} --concurrency {workers} -l error --drain-time-s 1]
  -o json               JSON on standard output; the default is text

Without a scenario, all of them run, in half an hour:
";

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    scenarios: Vec<Scenario>,
    proxies: Vec<Kind>,
    rounds: usize,
    seconds: u64,
    rate: u64,
    idle: u64,
    reloads: u32,
    leno: Option<PathBuf>,
    leno_arguments: String,
    json: bool,
}

impl Options {
    fn parse(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut options = Self {
            scenarios: Vec::new(),
            proxies: Kind::ALL.to_vec(),
            rounds: 5,
            seconds: 4,
            rate: 4000,
            idle: 100_000,
            reloads: 1000,
            leno: None,
            leno_arguments: "proxy -c {config} --concurrency {workers} -l error --drain-time-s 1"
                .to_owned(),
            json: false,
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            if !word.starts_with('-') {
                options.scenarios.push(scenario_of(word)?);
                continue;
            }
            let value =
                words.next().with_context(|| format!("{word} needs a value\n{}", usage()))?;
            match *word {
                "--rounds" => options.rounds = at_least_one(word, value)?,
                "--seconds" => options.seconds = at_least_one(word, value)?,
                "--rate" => options.rate = at_least_one(word, value)?,
                "--idle" => options.idle = at_least_one(word, value)?,
                "--reloads" => options.reloads = at_least_one(word, value)?,
                "--proxies" => {
                    options.proxies = value.split(',').map(kind_of).collect::<Result<_, _>>()?;
                }
                "--leno" => options.leno = Some(PathBuf::from(value)),
                "--leno-arguments" => options.leno_arguments = (*value).to_owned(),
                "-o" if *value == "json" => options.json = true,
                "-o" if *value == "text" => options.json = false,
                _ => bail!("no option {word} {value}\n{}", usage()),
            }
        }
        if options.scenarios.is_empty() {
            options.scenarios = Scenario::ALL.to_vec();
        }
        Ok(options)
    }
}

fn usage() -> String {
    let lines = Scenario::ALL.map(|it| format!("  {:<16} {}\n", it.name(), it.title()));
    format!("{USAGE}\n{}", lines.concat())
}

fn scenario_of(name: &str) -> anyhow::Result<Scenario> {
    let found = Scenario::ALL.into_iter().find(|it| it.name() == name);
    found.with_context(|| format!("no scenario {name}\n{}", usage()))
}

fn kind_of(name: &str) -> anyhow::Result<Kind> {
    let found = Kind::ALL.into_iter().find(|it| it.name() == name);
    found.with_context(|| format!("no proxy {name}: there are leno, envoy, haproxy and nginx"))
}

fn at_least_one<N: std::str::FromStr + PartialOrd + From<u8>>(
    option: &str,
    value: &str,
) -> anyhow::Result<N> {
    let number: Option<N> = value.parse().ok().filter(|it| *it >= N::from(1));
    number.with_context(|| format!("{option} takes a number from 1 on, not {value}"))
}

pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<()> {
    match arguments {
        ["--help" | "-h"] => {
            say(&usage());
            Ok(())
        }
        // What it starts of itself, on other cores.
        ["backend"] => backend::serve(),
        ["load", plan] => load::generate(plan),
        _ => compare(&Options::parse(arguments)?),
    }
}

/// Puts a binary that counts what it does under every load that is measured, once.
pub(crate) fn train(leno: &Path) -> anyhow::Result<()> {
    let scenarios = [
        Scenario::H1Get,
        Scenario::H1GetPolicies,
        Scenario::H1Post16k,
        Scenario::TlsGet,
        Scenario::TlsHandshake,
        Scenario::H2Get,
        Scenario::Grpc,
        Scenario::TcpSmall,
        Scenario::Tcp10m,
        Scenario::Http10m,
    ];
    let options = Options {
        scenarios: scenarios.to_vec(),
        proxies: vec![Kind::Leno],
        rounds: 1,
        seconds: 2,
        leno: Some(leno.to_owned()),
        ..Options::parse(&[])?
    };
    let stand = stand(&options)?;
    for scenario in &options.scenarios {
        measure::measure(*scenario, &options, &stand)?;
    }
    Ok(())
}

/// What a run needs: programs, files, the backend.
fn stand(options: &Options) -> anyhow::Result<Stand> {
    let file_limit = machine::raise_file_limit();
    let layout = Layout::one_worker(machine::cores())?;
    let programs = programs(options)?;
    let folder = root().join("target/tmp/bench-data-plane");
    remove_folder(&folder)?;
    let backend = Backend::start(layout.backend.as_deref())?;
    Ok(Stand { programs, files: Files::write(&folder, file_limit)?, backend })
}

fn compare(options: &Options) -> anyhow::Result<()> {
    let stand = stand(options)?;
    let mut outcomes = Vec::new();
    for scenario in &options.scenarios {
        outcomes.extend(measure::measure(*scenario, options, &stand)?);
    }
    print(options, &stand, &outcomes)?;
    for outcome in &outcomes {
        if let Outcome::Reloads(reloads) = outcome
            && let Some(ours) = reloads.iter().find(|it| it.kind == Kind::Leno)
            && ours.load.failures > 0
        {
            bail!("{} requests failed during reloads", ours.load.failures);
        }
    }
    Ok(())
}

fn print(options: &Options, stand: &Stand, outcomes: &[Outcome]) -> anyhow::Result<()> {
    let bar = bar::judge(outcomes);
    let machine = machine::describe();
    let versions = versions(&stand.programs, &options.proxies)?;
    let (rounds, seconds) = (options.rounds, options.seconds);
    let mut method = format!(
        "{versions}\nmedian (lowest–highest) of {rounds} interleaved rounds of {seconds} s; one worker on core 0, the rest on \
         other cores"
    );
    if !machine::fits_two_workers(machine::cores()) {
        method.push_str("; in workers-2 nothing is pinned, for want of cores");
    }
    if options.json {
        let json = report::json(&machine, &method, outcomes, &bar);
        say(&serde_json::to_string_pretty(&json)?);
    } else {
        say(&report::text(&machine, &method, outcomes, &bar));
    }
    Ok(())
}

/// Says how it goes, on standard error: standard output is for the result.
fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Finds or installs all that the run needs.
fn programs(options: &Options) -> anyhow::Result<Programs> {
    let folder = peers::folder()?;
    peers::system_program("taskset", &["util-linux"])?;
    peers::system_program("setpriv", &["util-linux"])?;
    if options.proxies.contains(&Kind::Envoy) {
        peers::envoy(&folder).context("cannot set Envoy up")?;
    }
    let if_wanted = |kind, find: fn() -> anyhow::Result<PathBuf>| {
        if options.proxies.contains(&kind) { find() } else { Ok(PathBuf::new()) }
    };
    let leno = match &options.leno {
        Some(leno) => leno.clone(),
        None if options.proxies.contains(&Kind::Leno) => dist::build()?,
        None => PathBuf::new(),
    };
    Ok(Programs {
        leno,
        leno_arguments: options.leno_arguments.clone(),
        envoy: folder.join("envoy"),
        haproxy: if_wanted(Kind::Haproxy, || peers::system_program("haproxy", &["haproxy"]))?,
        nginx: if_wanted(Kind::Nginx, || peers::system_program("nginx", &["nginx-light"]))?,
        nginx_stream_module: if_wanted(Kind::Nginx, nginx_stream_module)?,
        wrk: peers::system_program("wrk", &["wrk"])?,
        h2load: peers::system_program("h2load", &["nghttp2-client"])?,
    })
}

fn nginx_stream_module() -> anyhow::Result<PathBuf> {
    let module = Path::new("/usr/lib/nginx/modules/ngx_stream_module.so");
    if !module.is_file() {
        peers::install(&["libnginx-mod-stream"])?;
    }
    Ok(module.to_owned())
}

/// What each proxy says of itself, in its first line.
fn versions(programs: &Programs, proxies: &[Kind]) -> anyhow::Result<String> {
    let mut versions = Vec::new();
    for kind in proxies {
        let (program, argument) = match kind {
            Kind::Leno => (&programs.leno, "--version"),
            Kind::Envoy => (&programs.envoy, "--version"),
            Kind::Haproxy => (&programs.haproxy, "-v"),
            Kind::Nginx => (&programs.nginx, "-v"),
        };
        let output = crate::tools::run(Command::new(program).arg(argument))?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        let line = text.lines().next().unwrap_or_default();
        // Envoy names its path and its whole build.
        let line = line.rsplit("version: ").next().unwrap_or(line);
        versions.push(format!("{}: {line}", kind.name()));
    }
    Ok(versions.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_words_everything_runs_with_everybody() {
        let options = Options::parse(&[]).expect("nothing is wrong");
        assert_eq!(options.scenarios, Scenario::ALL);
        assert_eq!(options.proxies, Kind::ALL);
    }

    #[test]
    fn scenarios_and_options_may_be_mixed() {
        let words = ["grpc", "--rounds", "7", "tcp-10m", "--proxies", "envoy,nginx", "-o", "json"];
        let options = Options::parse(&words).expect("nothing is wrong");
        assert_eq!(options.scenarios, [Scenario::Grpc, Scenario::Tcp10m]);
        assert_eq!(options.proxies, [Kind::Envoy, Kind::Nginx]);
        assert_eq!((options.rounds, options.json), (7, true));
    }

    #[test]
    fn what_is_not_known_is_an_error_that_lists_what_is() {
        for words in [&["h3-get"] as &[&str], &["--round", "1"], &["--rounds"], &["--rounds", "0"]]
        {
            assert!(Options::parse(words).is_err(), "{words:?}");
        }
        let error = Options::parse(&["h3-get"]).expect_err("there is none").to_string();
        assert!(error.starts_with("no scenario h3-get") && error.contains("tls-handshake"));
    }

    #[test]
    fn the_bootstraps_have_a_value_for_each_of_their_marks() {
        for file in ["bench.yaml", "bench-policies.yaml"] {
            let text = std::fs::read_to_string(root().join("examples/envoy").join(file));
            let text = text.expect("the example is there");
            let filled = proxies::fill_for_test(&text).expect("every mark is known");
            assert!(!filled.contains(" # bench: ") && filled.contains("port_value: 7001"));
        }
    }
}
