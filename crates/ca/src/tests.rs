use std::sync::Arc;

use model::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;

use super::*;

const CLUSTER: &str = "11111111-2222-3333-4444-555555555555";
/// 2026-01-01.
const NOW: Timestamp = Timestamp(1_767_225_600_000);

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// Whether a TLS library takes the leaf as one of the authority, at a time.
fn is_trusted(authority: &Authority, leaf: &Leaf, at: Timestamp) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(der(&authority.cert_pem)).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_millis(at.0));
    builder.build().unwrap().verify_client_cert(&der(&leaf.cert_pem), &[], at).is_ok()
}

#[test]
fn a_leaf_is_trusted_by_its_own_root_while_it_is_valid() {
    let authority = Authority::new(CLUSTER, NOW).unwrap();
    // What was stored issues as well as what was made.
    let stored = serde_json::to_string(&authority).unwrap();
    let authority: Authority = serde_json::from_str(&stored).unwrap();
    let leaf = authority.issue("web", "dc1", NOW, LEAF_TTL).unwrap();
    assert_eq!(leaf.uri, format!("spiffe://{CLUSTER}.consul/ns/default/dc/dc1/svc/web"));
    assert!(is_trusted(&authority, &leaf, NOW));
    assert!(leaf.renew_at() > NOW && leaf.renew_at() < leaf.not_after);
    let after = leaf.not_after.plus(std::time::Duration::from_secs(1));
    assert!(!is_trusted(&authority, &leaf, after));
    let other = Authority::new(CLUSTER, NOW).unwrap();
    assert!(!is_trusted(&other, &leaf, NOW));
    assert_ne!(other.id, authority.id);
}

#[test]
fn a_leaf_never_outlives_its_root() {
    let authority = Authority::new(CLUSTER, NOW).unwrap();
    let late = Timestamp(authority.not_after.0 - 60_000);
    let leaf = authority.issue("web", "dc1", late, LEAF_TTL).unwrap();
    assert_eq!(leaf.not_after, authority.not_after);
    assert!(matches!(
        authority.issue("web", "dc1", authority.not_after, LEAF_TTL),
        Err(CaError::RootExpired)
    ));
}

#[test]
fn keys_are_not_printed_and_odd_names_are_refused() {
    let authority = Authority::new(CLUSTER, NOW).unwrap();
    let leaf = authority.issue("web", "dc1", NOW, LEAF_TTL).unwrap();
    assert!(!format!("{authority:?} {leaf:?}").contains("PRIVATE KEY"));
    assert!(matches!(
        authority.issue("w\u{e9}b", "dc1", NOW, LEAF_TTL),
        Err(CaError::Certificate { .. })
    ));
}

#[test]
fn a_root_that_is_given_issues_as_one_that_was_made() {
    let made = Authority::new(CLUSTER, NOW).unwrap();
    let given = Authority::given(CLUSTER, &made.cert_pem, &made.key_pem).unwrap();
    assert_eq!(given, made);
    let leaf = given.issue("web", "dc1", NOW, LEAF_TTL).unwrap();
    assert!(is_trusted(&given, &leaf, NOW));
    let other = Authority::new(CLUSTER, NOW).unwrap();
    let refused =
        |cert: &str, key: &str| Authority::given(CLUSTER, cert, key).unwrap_err().to_string();
    assert!(refused(&made.cert_pem, &other.key_pem).contains("another certificate's"));
    assert!(refused(&leaf.cert_pem, &leaf.key_pem).contains("not the certificate of an authority"));
    assert!(refused("nonsense", &made.key_pem).contains("no PEM"));
    assert!(refused(&made.cert_pem, "nonsense").contains("private key"));
    assert!(made.retired().issue("web", "dc1", NOW, LEAF_TTL).is_err());
}
