use bytes::Bytes;
use codec::certificate::{AlternativeName, Certificate};
use http::Response;
use proxy_config::{ProxyConfig, Secret};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value as Json, json};

use super::{AdminView, json as json_answer};

/// Seconds of a day.
const DAY_S: u64 = 24 * 60 * 60;

/// Envoy's `/certs`.
pub(super) fn respond(view: &AdminView<'_>) -> Response<Bytes> {
    let now_s = view.now_unix_ms / 1000;
    let certificates: Vec<Json> = view
        .config
        .secrets
        .values()
        .map(|secret| {
            json!({
                "ca_cert": described(secret, &secret.trust_bundle_pem, now_s),
                "cert_chain": described(secret, &secret.certificate_chain_pem, now_s),
            })
        })
        .collect();
    json_answer(&json!({ "certificates": certificates }))
}

/// Whole days until the first of all certificates expires; 0 when one has.
pub(super) fn first_expiry_days(config: &ProxyConfig, now_unix_ms: u64) -> Option<u64> {
    let now_s = now_unix_ms / 1000;
    let secrets = config.secrets.values();
    let all = secrets.flat_map(|it| [&it.certificate_chain_pem, &it.trust_bundle_pem]);
    let ends = all.flat_map(|pem| ders(pem)).filter_map(|der| {
        let (_, until_s) = Certificate::read(&der)?.validity_unix_s()?;
        Some(until_s)
    });
    ends.min().map(|until_s| until_s.saturating_sub(now_s) / DAY_S)
}

fn ders(pem: &str) -> impl Iterator<Item = CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok)
}

fn described(secret: &Secret, pem: &str, now_s: u64) -> Vec<Json> {
    ders(pem).filter_map(|der| one(secret, &Certificate::read(&der)?, now_s)).collect()
}

fn one(secret: &Secret, certificate: &Certificate<'_>, now_s: u64) -> Option<Json> {
    let (from_s, until_s) = certificate.validity_unix_s()?;
    let names: Vec<Json> = certificate
        .names
        .iter()
        .map(|name| match name {
            AlternativeName::Dns(it) => json!({ "dns": it }),
            AlternativeName::Uri(it) => json!({ "uri": it }),
            AlternativeName::Ip(it) => json!({ "ip_address": it.to_string() }),
            AlternativeName::Email(it) => json!({ "email": it }),
        })
        .collect();
    Some(json!({
        "path": secret.name,
        "subject": certificate.subject(),
        "serial_number": certificate.serial_number(),
        "subject_alt_names": names,
        "days_until_expiration": (until_s.saturating_sub(now_s) / DAY_S).to_string(),
        "valid_from": timestamp(from_s),
        "expiration_time": timestamp(until_s),
    }))
}

/// As RFC 3339 has it.
fn timestamp(unix_s: u64) -> String {
    let seconds = i64::try_from(unix_s).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "-".to_owned(), |it| it.to_string())
}
