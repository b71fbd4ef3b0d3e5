//! What is measured, with which load.

use anyhow::Context;

use super::h2load::H2Load;
use super::load::{Load, Pace, Plan, with_tls};
use super::machine::Layout;
use super::proxies::{Bootstrap, Kind, Proxy, Stand};
use super::units::{BODY_LARGE, BODY_SMALL, GRPC_MESSAGE};
use super::wrk::Wrk;

/// Connections of the scenarios with small answers.
const CONNECTIONS: usize = 64;
/// Connections with 10 MiB answers: enough to keep a core busy, and few answers in memory.
const CONNECTIONS_LARGE: usize = 8;
/// Connections that do nothing but open.
const CONNECTIONS_NEW: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scenario {
    H1Get,
    H1GetPolicies,
    H1Post16k,
    TlsGet,
    TlsHandshake,
    H2Get,
    Grpc,
    TcpSmall,
    Tcp10m,
    Http10m,
    FixedRate,
    Workers2,
    Idle100k,
    Reloads,
}

impl Scenario {
    pub(super) const ALL: [Self; 14] = [
        Self::H1Get,
        Self::H1GetPolicies,
        Self::H1Post16k,
        Self::TlsGet,
        Self::TlsHandshake,
        Self::H2Get,
        Self::Grpc,
        Self::TcpSmall,
        Self::Tcp10m,
        Self::Http10m,
        Self::FixedRate,
        Self::Workers2,
        Self::Idle100k,
        Self::Reloads,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::H1Get => "h1-get",
            Self::H1GetPolicies => "h1-get-policies",
            Self::H1Post16k => "h1-post-16k",
            Self::TlsGet => "tls-get",
            Self::TlsHandshake => "tls-handshake",
            Self::H2Get => "h2-get",
            Self::Grpc => "grpc",
            Self::TcpSmall => "tcp-small",
            Self::Tcp10m => "tcp-10m",
            Self::Http10m => "http-10m",
            Self::FixedRate => "fixed-rate",
            Self::Workers2 => "workers-2",
            Self::Idle100k => "idle-100k",
            Self::Reloads => "reloads",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::H1Get => "HTTP/1.1 GET, 1 KiB, keep-alive, 64 connections, 11 headers (wrk)",
            Self::H1GetPolicies => {
                "the same, with retries, breakers and outlier detection configured (wrk)"
            }
            Self::H1Post16k => "HTTP/1.1 POST, 16 KiB, keep-alive, 64 connections (wrk)",
            Self::TlsGet => "HTTPS GET, 1 KiB, TLS 1.3, keep-alive, 64 connections (wrk)",
            Self::TlsHandshake => {
                "HTTPS GET, 1 KiB, a new TLS 1.3 connection for each request (own generator)"
            }
            Self::H2Get => "h2c GET, 1 KiB, 10 connections with 20 streams, h2c upstream (h2load)",
            Self::Grpc => {
                "gRPC call with trailers, 10 connections with 20 streams, h2c upstream (h2load)"
            }
            Self::TcpSmall => "TCP proxy, a small HTTP GET through it, 64 connections (wrk)",
            Self::Tcp10m => "TCP proxy, a 10 MiB answer through it, 8 connections (own generator)",
            Self::Http10m => "HTTP/1.1 GET, 10 MiB, 8 connections (own generator)",
            Self::FixedRate => {
                "HTTP/1.1 GET at a fixed rate, times from when each was due (own generator)"
            }
            Self::Workers2 => "HTTP/1.1 GET with one worker and with two (wrk)",
            Self::Idle100k => "idle keep-alive connections (own generator)",
            Self::Reloads => "configuration reloads by SIGHUP under load (own generator)",
        }
    }

    /// Who takes part: not everybody can do everything.
    pub(super) fn has(self, kind: Kind) -> bool {
        match self {
            // The file is an Envoy bootstrap.
            Self::H1GetPolicies => matches!(kind, Kind::Leno | Kind::Envoy),
            // Envoy does not read its bootstrap again, and HAProxy starts another process.
            Self::Reloads => matches!(kind, Kind::Leno | Kind::Nginx),
            _ => true,
        }
    }

    pub(super) fn bootstrap(self) -> Bootstrap {
        match self {
            Self::H1GetPolicies => Bootstrap::Policies,
            _ => Bootstrap::Plain,
        }
    }
}

/// How much load, and from where.
pub(super) struct Amount<'a> {
    pub(super) seconds: u64,
    /// Requests, for a tool that counts instead of looking at the clock.
    pub(super) requests: u64,
    /// Requests a second in the scenario with a fixed rate.
    pub(super) rate: u64,
    pub(super) layout: &'a Layout,
}

/// Puts one proxy under a scenario's load.
///
/// # Errors
/// A tool that cannot be run, or any request that failed.
pub(super) fn apply(
    scenario: Scenario,
    proxy: &Proxy,
    stand: &Stand,
    amount: &Amount<'_>,
) -> anyhow::Result<Load> {
    let ports = &proxy.ports;
    let seconds = amount.seconds;
    let cores = amount.layout.load.as_deref();
    let closed = Pace::Closed { seconds };
    let load = match scenario {
        Scenario::H1Get | Scenario::H1GetPolicies | Scenario::Workers2 => {
            wrk(stand, amount, format!("http://127.0.0.1:{}/", ports.http1)).run()
        }
        Scenario::H1Post16k => {
            let mut wrk = wrk(stand, amount, format!("http://127.0.0.1:{}/", ports.http1));
            wrk.script = Some(stand.files.post_script());
            wrk.run()
        }
        Scenario::TlsGet => wrk(stand, amount, format!("https://127.0.0.1:{}/", ports.https)).run(),
        Scenario::TcpSmall => wrk(stand, amount, format!("http://127.0.0.1:{}/", ports.tcp)).run(),
        Scenario::TlsHandshake => {
            let plan = Plan::new(ports.https, "/", BODY_SMALL, CONNECTIONS_NEW, closed);
            let mut plan = with_tls(plan, &stand.files.certificate);
            plan.connection_each = true;
            plan.run(cores)
        }
        Scenario::Tcp10m => {
            Plan::new(ports.tcp, "/10m", BODY_LARGE, CONNECTIONS_LARGE, closed).run(cores)
        }
        Scenario::Http10m => {
            Plan::new(ports.http1, "/10m", BODY_LARGE, CONNECTIONS_LARGE, closed).run(cores)
        }
        Scenario::FixedRate => {
            let pace = Pace::Open { rate: amount.rate, seconds };
            Plan::new(ports.http1, "/", BODY_SMALL, CONNECTIONS, pace).run(cores)
        }
        Scenario::H2Get => h2load(proxy, stand, amount, false).run(),
        Scenario::Grpc => h2load(proxy, stand, amount, true).run(),
        Scenario::Idle100k | Scenario::Reloads => {
            unreachable!("{} has no rounds", scenario.name())
        }
    };
    load.with_context(|| format!("{} under {}", proxy.name(), scenario.name()))
}

fn wrk<'a>(stand: &'a Stand, amount: &'a Amount<'_>, url: String) -> Wrk<'a> {
    Wrk {
        program: &stand.programs.wrk,
        cores: amount.layout.load.as_deref(),
        threads: 1,
        connections: CONNECTIONS,
        seconds: amount.seconds,
        url,
        script: None,
        openssl: stand.files.openssl(),
    }
}

fn h2load<'a>(proxy: &Proxy, stand: &'a Stand, amount: &'a Amount<'_>, grpc: bool) -> H2Load<'a> {
    let path = if grpc { "/bench.Echo/Unary" } else { "/" };
    H2Load {
        program: &stand.programs.h2load,
        cores: amount.layout.load.as_deref(),
        requests: amount.requests,
        url: format!("http://127.0.0.1:{}{path}", proxy.ports.h2c),
        message: grpc.then(|| stand.files.grpc_message()),
        answer_bytes: if grpc { GRPC_MESSAGE } else { BODY_SMALL },
        log: stand.files.folder.join("h2load.log"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_different_and_ours_and_envoy_take_part_in_every_comparison() {
        let names: BTreeSet<&str> = Scenario::ALL.iter().map(|it| it.name()).collect();
        assert_eq!(names.len(), Scenario::ALL.len());
        for scenario in Scenario::ALL {
            assert!(scenario.has(Kind::Leno));
            assert!(scenario.has(Kind::Envoy) || scenario == Scenario::Reloads);
        }
    }
}
