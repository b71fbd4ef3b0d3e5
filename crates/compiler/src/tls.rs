//! Certificates of the HTTPS ingress, from the `tls` of Ingress documents and the secrets that they name.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Catalog, Document, DocumentKey, IngressSpec, SecretSpec, Severity, Spec, Stored};
use proxy_config::{PrivateKey, Secret, TlsServer};

use crate::declared::finding;
use crate::{Finding, Settings};

/// Type of a secret that is meant for TLS.
const TLS: &str = "kubernetes.io/tls";

/// What the HTTPS ingress shows.
#[derive(Default)]
pub(crate) struct Certificates {
    pub(crate) server: TlsServer,
    pub(crate) secrets: BTreeMap<String, Secret>,
}

/// Collects the certificates. `documents` come in the order of their age: for a host that two documents give different
/// certificates the older wins.
pub(crate) fn certificates(
    catalog: &Catalog,
    documents: &[(&Arc<Stored<Document>>, &IngressSpec)],
    settings: &Settings,
) -> (Certificates, Vec<Finding>) {
    let mut certificates = Certificates::default();
    let mut findings = Vec::new();
    let mut untyped: BTreeMap<String, (&Document, &str)> = BTreeMap::new();
    for (document, ingress) in documents {
        if !ingress.tls.is_empty() && settings.ingress_https.is_none() {
            let message = "there is no HTTPS ingress listener: served on plain HTTP only";
            let remedy = "give the proxy an HTTPS ingress address";
            findings.push(finding(document, Severity::Ignored, "spec.tls", message, remedy));
            continue;
        }
        for (idx, tls) in ingress.tls.iter().enumerate() {
            let field = format!("spec.tls[{idx}]");
            match secret(catalog, &document.key.namespace, &tls.secret) {
                Ok((secret, declared, kind)) => {
                    let hosts = hosts_of(ingress, &tls.hosts);
                    if kind != TLS {
                        untyped.insert(secret.name.clone(), (declared, kind));
                    }
                    let name = secret.name.clone();
                    certificates.secrets.insert(name.clone(), secret);
                    for host in certificates.assign(&hosts, &name) {
                        let message = format!("{host} has another certificate already");
                        let remedy = "give a host the same secret everywhere";
                        let severity = Severity::Ignored;
                        findings.push(finding(document, severity, &field, message, remedy));
                    }
                }
                Err(reason) => {
                    let message = format!("{reason}: these hosts are not served on HTTPS");
                    let remedy = "declare a Secret of type kubernetes.io/tls";
                    let field = format!("{field}.secretName");
                    findings.push(finding(document, Severity::Ignored, field, message, remedy));
                }
            }
        }
    }
    certificates.drop_unused();
    for (document, kind) in
        untyped.iter().filter(|it| certificates.secrets.contains_key(it.0)).map(|it| it.1)
    {
        let message = format!("type {kind}, used as TLS all the same");
        let remedy = format!("write `type: {TLS}`");
        findings.push(finding(document, Severity::Approximated, "type", message, remedy));
    }
    (certificates, findings)
}

impl Certificates {
    /// Gives hosts a certificate (`*` stands for any); returns those that have another.
    fn assign(&mut self, hosts: &[String], name: &str) -> Vec<String> {
        let mut refused = Vec::new();
        for host in hosts {
            let holder = if host == "*" {
                self.server.default.get_or_insert_with(|| name.to_owned())
            } else {
                let by_name = &mut self.server.by_server_name;
                by_name.entry(host.clone()).or_insert_with(|| name.to_owned())
            };
            if holder != name {
                refused.push(host.clone());
            }
        }
        refused
    }

    /// A secret that lost all its hosts to others is not handed out.
    fn drop_unused(&mut self) {
        let server = &self.server;
        let used = |name: &String| {
            server.default.as_ref() == Some(name)
                || server.by_server_name.values().any(|it| it == name)
        };
        self.secrets.retain(|name, _| used(name));
    }
}

/// The hosts of a `tls` entry; those of the rules when it names none, `*` for a rule without a host.
fn hosts_of(ingress: &IngressSpec, named: &[String]) -> Vec<String> {
    if !named.is_empty() {
        return named.to_vec();
    }
    if ingress.rules.is_empty() {
        return vec!["*".to_owned()];
    }
    let any = |host: &String| if host.is_empty() { "*".to_owned() } else { host.clone() };
    ingress.rules.iter().map(|rule| any(&rule.host)).collect()
}

/// A certificate with its key, the document that it is from, and the type that this one gives.
fn secret<'a>(
    catalog: &'a Catalog,
    namespace: &str,
    name: &str,
) -> Result<(Secret, &'a Document, &'a str), String> {
    let key = DocumentKey {
        group: String::new(),
        kind: "Secret".to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let document = catalog.document(&key).ok_or_else(|| format!("{key} does not exist"))?;
    let SecretSpec { kind, data } = match &document.spec {
        Spec::Secret(secret) => secret,
        Spec::Service(_) | Spec::Ingress(_) | Spec::Workload(_) | Spec::Rollout(_) => {
            return Err(format!("{key} is no secret"));
        }
    };
    let (Some(certificate), Some(private)) = (data.get("tls.crt"), data.get("tls.key")) else {
        return Err(format!("{key} holds no certificate with its key"));
    };
    let secret = Secret {
        name: format!("{namespace}/{name}"),
        certificate_chain_pem: certificate.clone(),
        private_key: PrivateKey(private.clone()),
        trust_bundle_pem: String::new(),
    };
    Ok((secret, document, kind))
}
