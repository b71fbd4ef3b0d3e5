//! The proxies that are compared: their files, their processes.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::Signal;

use super::backend::Backend;
use super::bootstrap::fill;
use super::files::Files;
use super::machine::pinned;
use super::{kernel, peer_files, probe};
use crate::tools::{self, root};

/// How long a proxy may take to start, or to end.
const DEADLINE: Duration = Duration::from_secs(20);
/// How often it is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Leno,
    Envoy,
    Haproxy,
    Nginx,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Leno, Self::Envoy, Self::Haproxy, Self::Nginx];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Leno => "leno",
            Self::Envoy => "envoy",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
        }
    }
}

/// The programs, and how Leno is called.
pub(super) struct Programs {
    pub(super) leno: PathBuf,
    /// Leno's arguments; `{config}` and `{workers}` are put in.
    pub(super) leno_arguments: String,
    pub(super) envoy: PathBuf,
    pub(super) haproxy: PathBuf,
    pub(super) nginx: PathBuf,
    pub(super) nginx_stream_module: PathBuf,
    pub(super) wrk: PathBuf,
    pub(super) h2load: PathBuf,
}

/// What all proxies of a run have in common.
pub(super) struct Stand {
    pub(super) programs: Programs,
    pub(super) files: Files,
    pub(super) backend: Backend,
}

/// Which of the two bootstraps Leno and Envoy are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bootstrap {
    Plain,
    Policies,
}

/// What to start.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) kind: Kind,
    pub(super) workers: u16,
    pub(super) bootstrap: Bootstrap,
    pub(super) cores: Option<String>,
    /// Connections that it must bear at once, on both sides.
    pub(super) connections: u64,
}

impl Order {
    pub(super) fn name(&self) -> String {
        match self.workers {
            1 => self.kind.name().to_owned(),
            workers => format!("{} x{workers}", self.kind.name()),
        }
    }
}

/// Ports of one proxy's listeners.
#[derive(Clone, Debug)]
pub(super) struct Ports {
    pub(super) admin: u16,
    pub(super) http1: u16,
    pub(super) https: u16,
    pub(super) h2c: u16,
    pub(super) tcp: u16,
}

impl Ports {
    /// Ports that were free a moment ago, all different.
    fn free() -> anyhow::Result<Self> {
        let listeners: Vec<TcpListener> = (0..5)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .collect::<Result<_, _>>()?;
        let port = |index: usize| listeners[index].local_addr().map(|it| it.port());
        Ok(Self { admin: port(0)?, http1: port(1)?, https: port(2)?, h2c: port(3)?, tcp: port(4)? })
    }
}

/// What a proxy's file is made from, beside its ports.
pub(super) struct Place<'a> {
    pub(super) folder: &'a Path,
    pub(super) workers: u16,
    pub(super) certificate: &'a Path,
    pub(super) key: &'a Path,
    pub(super) certificate_and_key: &'a Path,
    pub(super) backend_http1: [u16; 2],
    pub(super) backend_http2: [u16; 2],
    /// What `/generation` answers.
    pub(super) generation: u32,
}

/// A running proxy; it is ended when this is dropped.
pub(super) struct Proxy {
    pub(super) order: Order,
    pub(super) ports: Ports,
    /// Resident memory after one request, in KiB: an answer shows that all of its processes are there.
    pub(super) idle_kib: u64,
    child: Child,
    folder: PathBuf,
    config: PathBuf,
}

impl Proxy {
    pub(super) fn start(order: &Order, stand: &Stand) -> anyhow::Result<Self> {
        let name = order.name();
        let folder = stand.files.folder.join(name.replace(' ', "-"));
        fs::create_dir_all(&folder)?;
        let ports = Ports::free()?;
        let config = folder.join(match order.kind {
            Kind::Leno | Kind::Envoy => "bootstrap.yaml",
            Kind::Haproxy => "haproxy.cfg",
            Kind::Nginx => "nginx.conf",
        });
        fs::write(&config, render(order, &ports, &folder, 0, stand)?)?;
        let log = fs::File::create(folder.join("output.log"))?;
        let mut command = command(order, &stand.programs, &folder, &config);
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let mut proxy = Self { order: order.clone(), ports, idle_kib: 0, child, folder, config };
        proxy.wait_until_ready()?;
        proxy.idle_kib = proxy.resident_kib()?;
        Ok(proxy)
    }

    pub(super) fn name(&self) -> String {
        self.order.name()
    }

    pub(super) fn cpu_ns(&self) -> anyhow::Result<u64> {
        kernel::cpu_ns(self.child.id())
    }

    pub(super) fn resident_kib(&self) -> anyhow::Result<u64> {
        kernel::resident_kib(self.child.id())
    }

    /// Gives it a file of another generation, whole from one moment to the next, and tells it by SIGHUP.
    pub(super) fn reload(&self, generation: u32, stand: &Stand) -> anyhow::Result<()> {
        let next = self.config.with_extension("next");
        fs::write(&next, render(&self.order, &self.ports, &self.folder, generation, stand)?)?;
        fs::rename(&next, &self.config)?;
        self.signal(Signal::HUP)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        tools::signal(&self.child, signal)
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let mut ports = vec![self.ports.http1];
        if self.order.bootstrap == Bootstrap::Plain {
            ports.extend([self.ports.https, self.ports.h2c, self.ports.tcp]);
        }
        let began = Instant::now();
        while !ports.iter().all(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_ok()) {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at its start ({status}):\n{}", self.name(), self.output());
            }
            if began.elapsed() > DEADLINE {
                bail!("{} does not listen:\n{}", self.name(), self.output());
            }
            thread::sleep(LOOK_EVERY);
        }
        probe::generation(self).with_context(|| format!("{} does not answer", self.name()))?;
        Ok(())
    }

    /// The end of what it printed.
    fn output(&self) -> String {
        let text = fs::read_to_string(self.folder.join("output.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The signal that also ends nginx's workers.
        let _ = self.signal(Signal::TERM);
        let began = Instant::now();
        while began.elapsed() < DEADLINE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(LOOK_EVERY);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The text of a proxy's file.
fn render(
    order: &Order,
    ports: &Ports,
    folder: &Path,
    generation: u32,
    stand: &Stand,
) -> anyhow::Result<String> {
    let files = &stand.files;
    let place = Place {
        folder,
        workers: order.workers,
        certificate: &files.certificate,
        key: &files.key,
        certificate_and_key: &files.certificate_and_key,
        backend_http1: stand.backend.http1,
        backend_http2: stand.backend.http2,
        generation,
    };
    match order.kind {
        Kind::Leno | Kind::Envoy => {
            let file = match order.bootstrap {
                Bootstrap::Plain => "examples/envoy/bench.yaml",
                Bootstrap::Policies => "examples/envoy/bench-policies.yaml",
            };
            let text = fs::read_to_string(root().join(file))
                .with_context(|| format!("cannot read {file}"))?;
            fill(&text, &bootstrap_values(&place, ports)).with_context(|| file.to_owned())
        }
        Kind::Haproxy => Ok(peer_files::haproxy(&place, ports, order.connections)),
        Kind::Nginx => {
            let module = &stand.programs.nginx_stream_module;
            Ok(peer_files::nginx(&place, ports, module, order.connections))
        }
    }
}

/// What the marks in the bootstrap stand for.
fn bootstrap_values(place: &Place<'_>, ports: &Ports) -> BTreeMap<String, String> {
    let values = [
        ("admin", ports.admin.to_string()),
        ("http1", ports.http1.to_string()),
        ("https", ports.https.to_string()),
        ("h2c", ports.h2c.to_string()),
        ("tcp", ports.tcp.to_string()),
        ("backend-1", place.backend_http1[0].to_string()),
        ("backend-2", place.backend_http1[1].to_string()),
        ("backend-h2-1", place.backend_http2[0].to_string()),
        ("backend-h2-2", place.backend_http2[1].to_string()),
        ("certificate", place.certificate.display().to_string()),
        ("key", place.key.display().to_string()),
        ("generation", format!("\"{}\"", place.generation)),
    ];
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn command(order: &Order, programs: &Programs, folder: &Path, config: &Path) -> Command {
    let cores = order.cores.as_deref();
    let workers = order.workers.to_string();
    match order.kind {
        Kind::Leno => {
            let mut command = pinned(&programs.leno, cores);
            for word in programs.leno_arguments.split_ascii_whitespace() {
                let word = word.replace("{workers}", &workers);
                command.arg(word.replace("{config}", &config.display().to_string()));
            }
            command
        }
        Kind::Envoy => {
            let mut command = pinned(&programs.envoy, cores);
            command.arg("-c").arg(config).args(["--concurrency", &workers]);
            command.args(["-l", "error", "--disable-hot-restart"]);
            command
        }
        Kind::Haproxy => {
            let mut command = pinned(&programs.haproxy, cores);
            command.arg("-db").arg("-q").arg("-f").arg(config);
            command
        }
        Kind::Nginx => {
            let mut command = pinned(&programs.nginx, cores);
            command.arg("-e").arg(folder.join("nginx.log")).arg("-c").arg(config);
            command
        }
    }
}

/// A bootstrap with ports from 7001 on.
#[cfg(test)]
pub(super) fn fill_for_test(text: &str) -> anyhow::Result<String> {
    let path = Path::new("here");
    let place = Place {
        folder: path,
        workers: 1,
        certificate: path,
        key: path,
        certificate_and_key: path,
        backend_http1: [7006, 7007],
        backend_http2: [7008, 7009],
        generation: 0,
    };
    let ports = Ports { admin: 7001, http1: 7002, https: 7003, h2c: 7004, tcp: 7005 };
    fill(text, &bootstrap_values(&place, &ports))
}
