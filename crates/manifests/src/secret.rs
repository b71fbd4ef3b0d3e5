use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::SecretSpec;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use crate::fields::{At, Fields, Report};

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const TLS: &str = "kubernetes.io/tls";

/// A value, unless it cannot be decoded, with its place.
type Decoded = (Option<Vec<u8>>, At);

/// Reads what a `Secret` holds. Only a certificate with its key is of use here; other values are not kept.
pub(crate) fn read(document: &mut Fields<'_>, report: &mut Report<'_>) -> SecretSpec {
    document.skip(&["immutable"]);
    let kind = document.text("type", report).unwrap_or("Opaque").to_owned();
    let values = read_values(document, report);
    let is_tls = values.contains_key(CERTIFICATE) && values.contains_key(KEY);
    if kind != TLS && !is_tls {
        let message = format!("a secret of type {kind} is not used by anything: no value is kept");
        report.ignored(&document.at, message, format!("only `{TLS}` is used, by an Ingress"));
        return SecretSpec { kind, data: BTreeMap::new() };
    }
    let mut data = BTreeMap::new();
    for name in [CERTIFICATE, KEY] {
        let Some((bytes, at)) = values.get(name) else {
            let message = format!("a secret of type {TLS} needs `{name}`");
            report.error(&document.at.missing("data").missing(name), message, "add it");
            continue;
        };
        if let Some(text) = bytes.as_ref().and_then(|it| check_pem(name, it, at, report)) {
            data.insert(name.to_owned(), text);
        }
    }
    if let (Some(certificate), Some(key)) = (data.get(CERTIFICATE), data.get(KEY)) {
        check_pair(certificate, key, &values, report);
    }
    for (name, (_, at)) in values.iter().filter(|it| ![CERTIFICATE, KEY].contains(it.0)) {
        let message = if *name == "ca.crt" {
            "certificates of clients are not asked for"
        } else {
            "not used by anything: the value is not kept"
        };
        report.ignored(at, message, "remove it");
    }
    SecretSpec { kind, data }
}

/// Replaces every confidential value of a document's JSON, also in the copy that `kubectl apply` leaves.
pub(crate) fn hide(body: &mut Value) {
    let hidden = || Value::String("(hidden)".to_owned());
    for name in ["data", "stringData"] {
        match body.get_mut(name) {
            Some(Value::Object(values)) => values.values_mut().for_each(|it| *it = hidden()),
            Some(other) => *other = hidden(),
            None => {}
        }
    }
    let copy =
        body.pointer_mut("/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration");
    if let Some(copy) = copy {
        *copy = hidden();
    }
}

/// The values of `data`, decoded, and over them those of `stringData`.
fn read_values<'a>(
    document: &mut Fields<'a>,
    report: &mut Report<'_>,
) -> BTreeMap<&'a str, Decoded> {
    let mut values = BTreeMap::new();
    if let Some(field) = document.take("data") {
        for (name, text, at) in field.texts(report) {
            let compact: String = text.split_whitespace().collect();
            // The library's reason may quote a byte of the secret, so it is not passed on.
            let bytes = STANDARD.decode(compact).ok();
            if bytes.is_none() {
                let remedy = "encode it, or write it as it is under `stringData`";
                report.error(&at, "is not base64", remedy);
            }
            values.insert(name, (bytes, at));
        }
    }
    if let Some(field) = document.take("stringData") {
        for (name, text, at) in field.texts(report) {
            values.insert(name, (Some(text.as_bytes().to_vec()), at));
        }
    }
    values
}

/// The PEM text of a certificate chain or of a key, if it can be read.
fn check_pem(name: &str, bytes: &[u8], at: &At, report: &mut Report<'_>) -> Option<String> {
    let (good, wanted) = if name == CERTIFICATE {
        let mut chain = CertificateDer::pem_slice_iter(bytes).peekable();
        (chain.peek().is_some() && chain.all(|it| it.is_ok()), "a certificate")
    } else {
        (PrivateKeyDer::from_pem_slice(bytes).is_ok(), "a private key")
    };
    let text = std::str::from_utf8(bytes).ok().filter(|_| good);
    if text.is_none() {
        let message = format!("holds no PEM of {wanted}");
        report.error(at, message, format!("give {wanted} as `-----BEGIN …`, in base64"));
    }
    text.map(str::to_owned)
}

/// Reports a key that no proxy could serve the certificate with. Whether the certificate is of today is not known here:
/// there is no clock.
fn check_pair(
    certificate: &str,
    key: &str,
    values: &BTreeMap<&str, Decoded>,
    report: &mut Report<'_>,
) {
    let mut error = |name: &str, message: &str, remedy: &str| {
        if let Some((_, at)) = values.get(name) {
            report.error(at, message, remedy);
        }
    };
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).filter_map(Result::ok);
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).ok();
    // The library's reasons may tell of the key, so they are not passed on.
    let Some(key) = key.and_then(|it| any_supported_type(&it).ok()) else {
        let remedy = "use a key for RSA of 2048 bits or more, ECDSA P-256 to P-521, or Ed25519";
        error(KEY, "is not a key that can be used", remedy);
        return;
    };
    match CertifiedKey::new(chain.collect(), key).keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(Error::InconsistentKeys(_)) => {
            let message = "is not the key of the certificate in `tls.crt`";
            error(KEY, message, "give the key that the certificate was made for");
        }
        Err(_) => {
            let remedy = "give an X.509 certificate of version 3, the server's own first";
            error(CERTIFICATE, "is not a certificate that can be used", remedy);
        }
    }
}
