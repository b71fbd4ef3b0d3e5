use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::SecretSpec;
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
