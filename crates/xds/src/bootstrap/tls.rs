//! TLS contexts of both sides, and the secrets that they name.

use std::sync::Arc;

use proxy_config::{
    CertificatesByServerName, Pattern, PrivateKey, ProxyProtocolVersion, Secret, TlsClient,
    TlsServer, TlsVersion, TlsVersions, ValueMatch,
};

use super::fields::{Field, Message};
use super::{Build, certificate, matching, schema};

/// A secret that the file holds under a name.
#[derive(Clone, Default)]
pub(crate) struct StaticSecret {
    /// `None` when there is none; in it `None` when it cannot be used, which has been said.
    certificate: Option<Option<Certificate>>,
    /// The same.
    validation: Option<Option<Validation>>,
}

/// A certificate that was put among the secrets.
#[derive(Clone)]
struct Certificate {
    secret: String,
    dns_names: Vec<String>,
}

/// Whom to trust.
#[derive(Clone, Default)]
struct Validation {
    /// Name of the secret with the certificates of authorities.
    trust: Option<String>,
    names: Vec<ValueMatch>,
}

/// Reads one of `static_resources.secrets`.
pub(crate) fn read_static_secret<'a>(field: &Field<'a>, build: &mut Build<'a>) {
    let Some(mut it) = field.message(&schema::SECRET) else { return };
    let Some(name) = it.required_text("name").map(str::to_owned) else { return };
    let mut secret = StaticSecret::default();
    if let Some(certificate) = it.take("tls_certificate") {
        secret.certificate = Some(read_certificate(&certificate, build));
    }
    if let Some(context) = it.take("validation_context") {
        secret.validation = Some(read_validation(&context, build));
    }
    if build.secrets.insert(name.clone(), secret).is_some() {
        field.error(format!("there are two of the name {name:?}"), "give each a name of its own");
    }
}

/// The `transport_socket` of a filter chain; `None` for plain text.
pub(crate) fn read_downstream<'a>(field: &Field<'a>, build: &mut Build<'a>) -> Option<TlsServer> {
    let mut it = field.message(&schema::TRANSPORT_SOCKET)?;
    it.required_text("name");
    let (kind, config) = it.required("typed_config")?.typed()?;
    match kind {
        "extensions.transport_sockets.tls.v3.DownstreamTlsContext" => read_server(&config, build),
        "extensions.transport_sockets.raw_buffer.v3.RawBuffer" => None,
        other => {
            let remedy = "use DownstreamTlsContext, or leave transport_socket out for plain text";
            config.error(format!("{other} is not supported"), remedy);
            None
        }
    }
}

fn read_server<'a>(field: &Field<'a>, build: &mut Build<'a>) -> Option<TlsServer> {
    let mut it = field.message(&schema::DOWNSTREAM_TLS)?;
    let mut common = it.required("common_tls_context")?.message(&schema::COMMON_TLS)?;
    let certificates = read_certificates(&mut common, build);
    let Some(first) = certificates.of.first() else {
        // What is wrong with those that are named has been said.
        if !certificates.are_named {
            common.at("tls_certificates").error("there is no certificate", "add one");
        }
        return None;
    };
    let validation = read_any_validation(&mut common, build).unwrap_or_default();
    let require_client_certificate = it.is("require_client_certificate");
    if require_client_certificate && validation.trust.is_none() {
        let remedy = "add a validation_context with trusted_ca";
        it.at("require_client_certificate").error("nobody says whom to trust", remedy);
    }
    Some(TlsServer {
        by_server_name: by_server_name(&certificates.of),
        default: Some(first.secret.clone()),
        alpn: common.texts("alpn_protocols"),
        versions: read_versions(&mut common),
        client_trust: validation.trust,
        require_client_certificate,
        client_names: validation.names,
        forward_client_certificate: false,
    })
}

/// A single certificate is shown to everybody; of several, the first one that has the name.
fn by_server_name(certificates: &[Certificate]) -> CertificatesByServerName {
    let mut names = CertificatesByServerName::new();
    if let [_] = certificates {
        return names;
    }
    for certificate in certificates {
        for name in &certificate.dns_names {
            names.entry(name.clone()).or_insert_with(|| certificate.secret.clone());
        }
    }
    names
}

/// What a cluster's `transport_socket` asks for.
#[derive(Default)]
pub(crate) struct UpstreamTransport {
    pub(crate) tls: Option<TlsClient>,
    pub(crate) proxy_protocol: Option<ProxyProtocolVersion>,
}

/// The `transport_socket` of a cluster.
pub(crate) fn read_upstream<'a>(field: &Field<'a>, build: &mut Build<'a>) -> UpstreamTransport {
    let mut transport = UpstreamTransport::default();
    read_upstream_socket(field, build, &mut transport);
    transport
}

fn read_upstream_socket<'a>(
    field: &Field<'a>,
    build: &mut Build<'a>,
    transport: &mut UpstreamTransport,
) -> Option<()> {
    let mut it = field.message(&schema::TRANSPORT_SOCKET)?;
    it.required_text("name");
    let (kind, config) = it.required("typed_config")?.typed()?;
    match kind {
        "extensions.transport_sockets.tls.v3.UpstreamTlsContext" => {
            transport.tls = read_client(&config, build);
        }
        "extensions.transport_sockets.raw_buffer.v3.RawBuffer" => {}
        "extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport" => {
            let mut outer = config.message(&schema::PROXY_PROTOCOL_TRANSPORT)?;
            let header = outer.message("config", &schema::PROXY_PROTOCOL_CONFIG);
            let versions =
                [("V1", 0, ProxyProtocolVersion::V1), ("V2", 1, ProxyProtocolVersion::V2)];
            let version = header.and_then(|mut it| it.choice("version", &versions));
            transport.proxy_protocol = Some(version.unwrap_or(ProxyProtocolVersion::V1));
            let inner = outer.required("transport_socket")?;
            // The depth of the file bounds this.
            read_upstream_socket(&inner, build, transport);
        }
        other => {
            let remedy = "use UpstreamTlsContext, or leave transport_socket out for plain text";
            config.error(format!("{other} is not supported"), remedy);
        }
    }
    Some(())
}

fn read_client<'a>(field: &Field<'a>, build: &mut Build<'a>) -> Option<TlsClient> {
    let mut it = field.message(&schema::UPSTREAM_TLS)?;
    let common = it.message("common_tls_context", &schema::COMMON_TLS);
    let mut tls = TlsClient {
        server_name: it.text("sni").unwrap_or_default().to_owned(),
        ..TlsClient::default()
    };
    if it.is("auto_host_sni") {
        it.at("auto_host_sni").approximated(
            "the server name is the host of the request, not of the endpoint",
            "set sni, or auto_sni of upstream_http_protocol_options",
        );
        tls.server_name_from_host = true;
    }
    let verifies_name = it.is("auto_sni_san_validation");
    let Some(mut common) = common else {
        caution_about_trust(field);
        return Some(tls);
    };
    let certificates = read_certificates(&mut common, build).of;
    if certificates.len() > 1 {
        let message = "only the first certificate is shown to endpoints";
        common.at("tls_certificates").ignored(message, "keep one");
    }
    tls.certificate = certificates.first().map(|it| it.secret.clone());
    tls.alpn = common.texts("alpn_protocols");
    tls.versions = read_versions(&mut common);
    let validation = read_any_validation(&mut common, build).unwrap_or_default();
    tls.trust = validation.trust;
    tls.names = validation.names;
    if tls.trust.is_none() {
        caution_about_trust(field);
    } else if tls.names.is_empty() && !verifies_name {
        // Envoy looks at no name unless it is told to.
        tls.names = vec![any_name()];
        field.caution(
            "the certificate of an endpoint may be for any name",
            "add match_typed_subject_alt_names to the validation_context",
        );
    }
    Some(tls)
}

/// What [`TlsClient::names`] holds where no name is verified.
pub(crate) fn any_name() -> ValueMatch {
    ValueMatch { pattern: Pattern::Present, ignore_case: false }
}

fn caution_about_trust(field: &Field<'_>) {
    field.caution(
        "certificates of endpoints are not verified",
        "add a validation_context with trusted_ca",
    );
}

/// The certificates of a context.
struct Certificates {
    of: Vec<Certificate>,
    /// Some are named, whether they can be used or not.
    are_named: bool,
}

fn read_certificates<'a>(common: &mut Message<'a>, build: &mut Build<'a>) -> Certificates {
    let inline = common.items("tls_certificates");
    let mut of: Vec<Certificate> =
        inline.iter().filter_map(|it| read_certificate(it, build)).collect();
    let named = common.items("tls_certificate_sds_secret_configs");
    let are_named = !inline.is_empty() || !named.is_empty();
    if let (Some(first), false) = (named.first(), inline.is_empty()) {
        first.error("cannot be given beside tls_certificates", "put all certificates in secrets");
    }
    for field in named {
        let Some(secret) = find_secret(&field, build) else { continue };
        match secret.certificate {
            Some(certificate) => of.extend(certificate),
            None => field.error("the secret has no tls_certificate", "name another one"),
        }
    }
    for name in ["tls_certificate_provider_instance", "custom_tls_certificate_selector"] {
        common.forbid(name, "certificates are not provided by extensions", "use tls_certificates");
    }
    Certificates { of, are_named }
}

/// A secret of the file by its name.
fn find_secret<'a>(field: &Field<'a>, build: &Build<'a>) -> Option<StaticSecret> {
    let mut it = field.message(&schema::SDS_SECRET_CONFIG)?;
    it.forbid(
        "sds_config",
        "secrets are not asked for from a server",
        "name files, or a secret of static_resources.secrets",
    );
    let name = it.required("name")?;
    let secret = build.secrets.get(name.text()?).cloned();
    if secret.is_none() {
        let message = format!("there is no secret {}", name.value);
        name.error(message, "add it to static_resources.secrets");
    }
    secret
}

fn read_certificate<'a>(field: &Field<'a>, build: &mut Build<'a>) -> Option<Certificate> {
    let mut it = field.message(&schema::TLS_CERTIFICATE)?;
    const REMEDY: &str = "write the certificate and its key as PEM";
    it.forbid("pkcs12", "PKCS #12 is not supported", REMEDY);
    it.forbid("password", "encrypted keys are not supported", "decrypt the key");
    it.forbid("private_key_provider", "keys are not kept by extensions", REMEDY);
    // Every file is watched.
    it.skip(&["watched_directory"]);
    let chain_field = it.required("certificate_chain")?;
    let chain = read_source(&chain_field);
    let key_field = it.required("private_key")?;
    let key = read_source(&key_field);
    let (chain, key) = (chain?, key?);
    if !certificate::has_block(&chain, "CERTIFICATE") {
        chain_field.error("holds no certificate in PEM", REMEDY);
    }
    if !certificate::has_block(&key, "PRIVATE KEY") {
        key_field.error("holds no private key in PEM", REMEDY);
    }
    let dns_names = certificate::dns_names(&chain);
    let secret = Secret {
        name: field.path.clone(),
        certificate_chain_pem: chain,
        private_key: PrivateKey(key),
        trust_bundle_pem: String::new(),
    };
    Some(Certificate { secret: keep(secret, build), dns_names })
}

fn keep(secret: Secret, build: &mut Build<'_>) -> String {
    let name = secret.name.clone();
    build.config.secrets.insert(name.clone(), Arc::new(secret));
    name
}

/// Any of the three ways to say whom to trust.
fn read_any_validation<'a>(common: &mut Message<'a>, build: &mut Build<'a>) -> Option<Validation> {
    let names = [
        "validation_context",
        "validation_context_sds_secret_config",
        "combined_validation_context",
    ];
    match common.one_of(&names)? {
        ("validation_context", field) => read_validation(&field, build),
        ("combined_validation_context", field) => {
            let mut it = field.message(&schema::COMBINED_VALIDATION)?;
            let own = it.take("default_validation_context");
            let own = own.and_then(|it| read_validation(&it, build)).unwrap_or_default();
            let other = it.required("validation_context_sds_secret_config");
            let other = other.and_then(|it| find_validation(&it, build)).unwrap_or_default();
            let names = own.names.into_iter().chain(other.names).collect();
            Some(Validation { trust: other.trust.or(own.trust), names })
        }
        (_, field) => find_validation(&field, build),
    }
}

fn find_validation<'a>(field: &Field<'a>, build: &Build<'a>) -> Option<Validation> {
    let validation = find_secret(field, build)?.validation;
    if validation.is_none() {
        field.error("the secret has no validation_context", "name another one");
    }
    validation.flatten()
}

fn read_validation<'a>(field: &Field<'a>, build: &mut Build<'a>) -> Option<Validation> {
    let mut it = field.message(&schema::VALIDATION_CONTEXT)?;
    const MESSAGE: &str = "certificates would pass that this is to refuse";
    const REMEDY: &str = "remove it if that is wanted, and trust fewer authorities in trusted_ca";
    for name in [
        "verify_certificate_spki",
        "verify_certificate_hash",
        "crl",
        "custom_validator_config",
        "max_verify_depth",
        "require_signed_certificate_timestamp",
    ] {
        it.forbid(name, MESSAGE, REMEDY);
    }
    let chains = [("VERIFY_TRUST_CHAIN", 0, true), ("ACCEPT_UNTRUSTED", 1, false)];
    if it.choice("trust_chain_verification", &chains) == Some(false) {
        let message = "a certificate that leads to nobody who is trusted is always refused";
        it.at("trust_chain_verification").ignored(message, "remove it");
    }
    const NAME_FILE: &str = "name a file in trusted_ca, such as /etc/ssl/certs/ca-certificates.crt";
    it.forbid("system_root_certs", "the system's authorities are not known", NAME_FILE);
    it.forbid("ca_certificate_provider_instance", "there are no such extensions", NAME_FILE);
    it.skip(&["watched_directory"]);
    let mut names = Vec::new();
    for field in it.items("match_typed_subject_alt_names") {
        let Some(mut san) = field.message(&schema::SAN_MATCHER) else { continue };
        let kinds = [("EMAIL", 1, ()), ("DNS", 2, ()), ("URI", 3, ()), ("IP_ADDRESS", 4, ())];
        if let Some(kind) = san.required("san_type") {
            kind.choice(&kinds);
        }
        names.extend(san.required("matcher").and_then(|it| matching::read_string(&it)));
    }
    let old = it.items("match_subject_alt_names");
    names.extend(old.iter().filter_map(matching::read_string));
    let trust = it.take("trusted_ca").and_then(|field| {
        let trust_bundle_pem = read_source(&field)?;
        if !certificate::has_block(&trust_bundle_pem, "CERTIFICATE") {
            field.error("holds no certificate in PEM", "write the authorities as PEM");
        }
        let name = field.path.clone();
        Some(keep(Secret { name, trust_bundle_pem, ..Secret::default() }, build))
    });
    if trust.is_none() && !names.is_empty() {
        let message = "names mean nothing without anybody to trust";
        it.field.error(message, "add trusted_ca");
    }
    Some(Validation { trust, names })
}

/// `DataSource` as text.
pub(crate) fn read_source(field: &Field<'_>) -> Option<String> {
    let mut it = field.message(&schema::DATA_SOURCE)?;
    it.skip(&["watched_directory"]);
    let ways = ["filename", "inline_string", "inline_bytes", "environment_variable"];
    match it.required_one_of(&ways)? {
        ("filename", field) => field.file(),
        ("inline_string", field) => field.text().map(str::to_owned),
        ("inline_bytes", field) => {
            let text = String::from_utf8(field.bytes()?).ok();
            if text.is_none() {
                field.error("is not text in UTF-8", "write PEM or plain text");
            }
            text
        }
        (_, field) => {
            let message = "environment variables are not read";
            field.error(message, "put the value into a file and name it with `filename`");
            None
        }
    }
}

fn read_versions(common: &mut Message<'_>) -> TlsVersions {
    let mut versions = TlsVersions::default();
    let Some(mut it) = common.message("tls_params", &schema::TLS_PARAMETERS) else {
        return versions;
    };
    const MIN: &str = "tls_minimum_protocol_version";
    const MAX: &str = "tls_maximum_protocol_version";
    match it.choice(MIN, &VERSIONS) {
        Some(Version::Auto) | None => {}
        Some(Version::Old) => {
            let message = "versions before TLS 1.2 are not supported; 1.2 is the lowest";
            it.at(MIN).approximated(message, "write TLSv1_2");
        }
        Some(Version::Known(version)) => versions.min = version,
    }
    match it.choice(MAX, &VERSIONS) {
        Some(Version::Auto) | None => {}
        Some(Version::Old) => {
            let message = "versions before TLS 1.2 are not supported";
            it.at(MAX).error(message, "write TLSv1_2 or TLSv1_3");
        }
        Some(Version::Known(version)) => versions.max = version,
    }
    if versions.min > versions.max {
        it.field.error("the lowest version is above the highest", "exchange the two");
    }
    versions
}

/// `TlsProtocol`.
#[derive(Clone, Copy)]
enum Version {
    Auto,
    Old,
    Known(TlsVersion),
}

const VERSIONS: [(&str, i64, Version); 5] = [
    ("TLS_AUTO", 0, Version::Auto),
    ("TLSv1_0", 1, Version::Old),
    ("TLSv1_1", 2, Version::Old),
    ("TLSv1_2", 3, Version::Known(TlsVersion::V12)),
    ("TLSv1_3", 4, Version::Known(TlsVersion::V13)),
];
