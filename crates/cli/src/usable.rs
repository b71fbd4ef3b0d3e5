//! Whether a configuration can be used, asked before it is taken: so that a certificate whose key is still being written
//! never replaces one that works, and a regular expression that is none is found when the file is, not by a request.

use proxy_config::{AccessLog, ListenerProtocol, ProxyConfig, Secret};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use traffic::{LineFormat, LogCondition, Router};
use xds::bootstrap::{Finding, Severity};

/// What cannot be used, or not as it is written.
pub(crate) fn check(config: &ProxyConfig) -> Vec<Finding> {
    let mut findings = Vec::new();
    for secret in config.secrets.values() {
        if let Err(message) = check_secret(secret) {
            findings.push(Finding {
                severity: Severity::Error,
                path: secret.name.clone(),
                message,
                remedy: "name a certificate and the key that belongs to it".to_owned(),
            });
        }
    }
    for (name, table) in &config.route_tables {
        findings.extend(Router::check(table).into_iter().map(|problem| Finding {
            severity: if problem.disables_route { Severity::Error } else { Severity::Ignored },
            path: name.clone(),
            message: problem.to_string(),
            remedy: "correct it".to_owned(),
        }));
    }
    for (listener, log) in access_logs(config) {
        let format = LineFormat::new(&log.format, false).map_err(|it| it.to_string());
        let condition = log.filter.as_ref().map_or(Ok(()), |it| LogCondition::new(it).map(drop));
        for (wrong, remedy) in
            [(format.err(), "correct the format"), (condition.err(), "correct the filter")]
        {
            findings.extend(wrong.map(|message| Finding {
                severity: Severity::Error,
                path: format!("access log of listener {listener}"),
                message,
                remedy: remedy.to_owned(),
            }));
        }
    }
    findings
}

fn access_logs(config: &ProxyConfig) -> impl Iterator<Item = (&str, &AccessLog)> {
    config.listeners.values().flat_map(|listener| {
        let chains = listener.chains.iter().chain(&listener.default_chain);
        chains
            .flat_map(|chain| match &chain.protocol {
                ListenerProtocol::Http(http) => &http.access_logs,
                ListenerProtocol::Tcp(tcp) => &tcp.access_logs,
            })
            .map(|log| (listener.name.as_str(), log))
    })
}

fn check_secret(secret: &Secret) -> Result<(), String> {
    if !secret.certificate_chain_pem.is_empty() {
        let chain = certificates(&secret.certificate_chain_pem)?;
        let key = PrivateKeyDer::from_pem_slice(secret.private_key.0.as_bytes())
            .map_err(|error| format!("the private key cannot be read ({error})"))?;
        CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(|error| format!("the certificate and its key do not fit ({error})"))?;
    }
    if !secret.trust_bundle_pem.is_empty() {
        let (good, _) = RootCertStore::empty()
            .add_parsable_certificates(certificates(&secret.trust_bundle_pem)?);
        if good == 0 {
            return Err("none of the certificates of authorities can be used".to_owned());
        }
    }
    Ok(())
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the certificates cannot be read ({error})"))
}
