//! The HTTP API over TLS as the configuration says, asked by the command line with certificates that it made.

use std::path::Path;
use std::process::Command;

use crate::configuration::Started;
use crate::consul::{Link, said};
use crate::program::free_port;

/// A folder with an authority, a server's and a client's certificate.
fn authority(link: &Link, name: &str) -> std::path::PathBuf {
    let folder = link.folder().join(name);
    std::fs::create_dir(&folder).expect("a folder");
    for line in [
        &["tls", "ca", "create"][..],
        &["tls", "cert", "create", "-server", "-additional-ipaddress", "127.0.0.1"],
        &["tls", "cert", "create", "-client"],
    ] {
        let output = link.command().current_dir(&folder).args(line).output().expect("it runs");
        let (code, _, errors) = said(&output);
        assert_eq!(code, Some(0), "{line:?}: {errors}");
    }
    folder
}

fn file(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    assert!(path.exists(), "{} was made", path.display());
    path.to_str().expect("a readable path").to_owned()
}

struct Secure {
    link: Link,
    _agent: Started,
    https: u16,
    ours: std::path::PathBuf,
    theirs: std::path::PathBuf,
}

impl Secure {
    fn start(more: &str) -> Self {
        let link = Link::new();
        let (ours, theirs) = (authority(&link, "ours"), authority(&link, "theirs"));
        let (http, https) = (free_port(), free_port());
        let config = format!(
            "ports {{ http = {http} https = {https} dns = -1 }}\n\
             tls {{ defaults {{ ca_file = \"{}\" }} }}\n\
             tls {{ https {{ cert_file = \"{}\" key_file = \"{}\" {more} }} }}\n",
            file(&ours, "consul-agent-ca.pem"),
            file(&ours, "dc1-server-consul-0.pem"),
            file(&ours, "dc1-server-consul-0-key.pem"),
        );
        let config = link.file("tls.hcl", &config);
        let mut command = link.command();
        let agent = Started::new(command.args(["agent", "-dev", "-config-file", &config]), http);
        Self { link, _agent: agent, https, ours, theirs }
    }

    /// A command that trusts the authority of `trusted`.
    fn client(&self, trusted: &Path) -> Command {
        let mut command = self.link.command();
        command.env("CONSUL_HTTP_ADDR", format!("https://127.0.0.1:{}", self.https));
        command.env("CONSUL_CACERT", file(trusted, "consul-agent-ca.pem")).arg("members");
        command
    }

    fn with_certificate(&self, of: &Path) -> Command {
        let mut command = self.client(&self.ours);
        command.env("CONSUL_CLIENT_CERT", file(of, "dc1-client-consul-0.pem"));
        command.env("CONSUL_CLIENT_KEY", file(of, "dc1-client-consul-0-key.pem"));
        command
    }
}

fn run(mut command: Command) -> (Option<i32>, String, String) {
    said(&command.output().expect("the binary runs"))
}

#[test]
fn with_verify_incoming_only_certificates_of_our_authority_are_let_in() {
    let secure = Secure::start("verify_incoming = true");
    let (code, printed, errors) = run(secure.with_certificate(&secure.ours));
    assert_eq!(code, Some(0), "{errors}");
    assert!(printed.contains("alive"), "{printed}");
    for refused in [secure.client(&secure.ours), secure.with_certificate(&secure.theirs)] {
        let (code, printed, errors) = run(refused);
        assert_eq!((code, printed.as_str()), (Some(1), ""), "{errors}");
    }
    // Those who were refused have harmed nobody.
    assert_eq!(run(secure.with_certificate(&secure.ours)).0, Some(0));
}

#[test]
fn without_it_clients_need_none_and_know_whom_they_ask() {
    let secure = Secure::start("tls_min_version = \"TLSv1_3\"");
    assert_eq!(run(secure.client(&secure.ours)).0, Some(0));
    assert_eq!(run(secure.with_certificate(&secure.theirs)).0, Some(0), "it is not asked for");
    let (code, _, errors) = run(secure.client(&secure.theirs));
    assert_eq!(code, Some(1), "the server's certificate is of another authority: {errors}");
}

#[test]
fn files_that_do_not_go_together_are_told_before_anything_starts() {
    let link = Link::new();
    let ours = authority(&link, "ours");
    let certificate = file(&ours, "dc1-server-consul-0.pem");
    let key = file(&ours, "dc1-server-consul-0-key.pem");
    let other_key = file(&ours, "dc1-client-consul-0-key.pem");
    let none = ours.join("none.pem").display().to_string();
    let https = |settings: &str| {
        format!("data_dir = \"/none\" ports {{ https = 1 }} tls {{ https {{ {settings} }} }}")
    };
    for (settings, words) in [
        (format!("cert_file = \"{certificate}\""), "cert_file and key_file"),
        (format!("cert_file = \"{none}\" key_file = \"{key}\""), "none.pem"),
        (format!("cert_file = \"{key}\" key_file = \"{key}\""), "no certificate in"),
        (
            format!("cert_file = \"{certificate}\" key_file = \"{certificate}\""),
            "no private key in",
        ),
        (format!("cert_file = \"{certificate}\" key_file = \"{other_key}\""), "cannot be used"),
        (
            format!("cert_file = \"{certificate}\" key_file = \"{key}\" verify_incoming = true"),
            "verify_incoming needs",
        ),
    ] {
        let config = link.file("bad.hcl", &https(&settings));
        let output = link.command().args(["validate", &config]).output().expect("it runs");
        let (code, _, errors) = said(&output);
        assert_eq!(code, Some(1), "{settings}: {errors}");
        assert!(errors.contains(words), "{settings}: {errors}");
    }
}
