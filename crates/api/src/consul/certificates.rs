//! `/v1/connect/ca` and `/v1/agent/connect/ca/roots`: the authority of the mesh. Leaf certificates are the shell's, for
//! they need keys.

use std::time::Duration;

use ca::Authority;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use model::{Found, Record, Revision, Setting, Table, Timestamp, WatchKey, go};
use registry::{Command, RecordCondition};
use serde_json::{Map, Value, json};

use super::read::{Read, with_cache_hit};
use super::response::Reply;
use super::write::Door;
use super::{Answer, Call, Outcome, decode};
use crate::CA;
use crate::json::JsonWriter;

/// `GET /v1/agent/connect/ca/roots`: the agent's cache is always warm.
pub(super) fn agent_roots(call: &Call<'_>) -> Outcome {
    match roots(call)? {
        Answer::Reply(reply) => Ok(Answer::Reply(with_cache_hit(reply))),
        other => Ok(other),
    }
}

/// `GET /v1/connect/ca/roots`; with `pem` the certificates alone.
pub(super) fn roots(call: &Call<'_>) -> Outcome {
    require_connect(call)?;
    let read = Read::of(call)?;
    let (authorities, stored) = authorities(call)?;
    let watched = || vec![WatchKey::Table(Table::Setting)];
    let is_pem = matches!(call.query.first("pem"), Some(text) if text != "false");
    Ok(read.reply(stored.modified, watched, || {
        if is_pem {
            let certificates: String = authorities.iter().map(|it| it.cert_pem.as_str()).collect();
            let reply = Reply::bytes(certificates.as_bytes());
            return reply.with(CONTENT_TYPE, "application/pem-certificate-chain");
        }
        call.json(|w| shape(w, &authorities, &stored))
    }))
}

/// # Errors
/// 500 with the text that clients look for, when the mesh is off.
pub(super) fn require_connect(call: &Call<'_>) -> Result<(), Reply> {
    if call.agent().settings.connect {
        return Ok(());
    }
    let text = "Connect must be enabled in order to use this endpoint";
    Err(Reply::text(StatusCode::INTERNAL_SERVER_ERROR, text))
}

/// The authorities of the mesh, the active one first.
fn authorities<'a>(call: &Call<'a>) -> Result<(Vec<Authority>, Found<'a, Setting>), Reply> {
    let not_ready = || {
        let text = "the certificate authority is not ready yet";
        Reply::text(StatusCode::INTERNAL_SERVER_ERROR, text)
    };
    let stored = call.catalog().record::<Setting>(CA).ok_or_else(not_ready)?;
    let authorities = Authority::all_of(&stored.value.body["Roots"]);
    if authorities.is_empty() {
        return Err(not_ready());
    }
    Ok((authorities, stored))
}

fn shape(w: &mut JsonWriter, authorities: &[Authority], stored: &Found<'_, Setting>) {
    let active = &authorities[0];
    w.object(|w| {
        w.string_field("ActiveRootID", &active.id);
        w.string_field("TrustDomain", &active.trust_domain());
        w.key("Roots");
        w.array(|w| {
            for (at, root) in authorities.iter().enumerate() {
                w.object(|w| {
                    w.string_field("ID", &root.id);
                    w.string_field("Name", "Leno CA Primary Cert");
                    w.number_field("SerialNumber", root.serial);
                    w.string_field("SigningKeyID", &root.key_id);
                    w.string_field("ExternalTrustDomain", &root.cluster_id);
                    w.string_field("NotBefore", &rfc3339(root.not_before));
                    w.string_field("NotAfter", &rfc3339(root.not_after));
                    w.string_field("RootCert", &root.cert_pem);
                    w.key("IntermediateCerts");
                    w.null();
                    w.boolean_field("Active", at == 0);
                    w.string_field("PrivateKeyType", "ec");
                    w.number_field("PrivateKeyBits", 256_u32);
                    w.number_field("CreateIndex", stored.created.0);
                    w.number_field("ModifyIndex", stored.modified.0);
                });
            }
        });
    });
}

/// A time as Go writes it, for example `2026-01-02T03:04:05.678Z`.
#[must_use]
pub fn rfc3339(time: Timestamp) -> String {
    let ms = i64::try_from(time.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX).to_string()
}

/// Roots that are kept: the active one, and those whose certificates may still be about.
const ROOTS_MAX: usize = 8;

/// The times that the authority uses when nobody says otherwise.
fn default_config() -> Map<String, Value> {
    let hours = |hours: u64| json!(format!("{hours}h"));
    [
        ("IntermediateCertTTL", hours(8760)),
        ("LeafCertTTL", hours(72)),
        ("RootCertTTL", hours(87_600)),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// `GET` and `PUT /v1/connect/ca/configuration`
pub(super) fn configuration(call: &Call<'_>) -> Outcome {
    require_connect(call)?;
    if call.request.method() == http::Method::PUT {
        return configure(call);
    }
    call.require_our_datacenter()?;
    let stored = call.catalog().record::<Setting>(CA);
    let of = |name: &str| stored.map_or(Value::Null, |it| it.value.body[name].clone());
    let config = match of("Config") {
        Value::Object(config) => config,
        _ => default_config(),
    };
    let revisions = stored.map_or((Revision(1), Revision(1)), |it| (it.created, it.modified));
    Ok(Answer::Reply(call.json(|w| {
        w.object(|w| {
            w.string_field("Provider", "consul");
            w.key("Config");
            w.value(&Value::Object(config));
            w.key("State");
            w.value(&of("State"));
            w.boolean_field("ForceWithoutCrossSigning", false);
            w.number_field("CreateIndex", revisions.0.0);
            w.number_field("ModifyIndex", revisions.1.0);
        });
    })))
}

fn configure(call: &Call<'_>) -> Outcome {
    call.require_our_datacenter()?;
    let failed = |text: String| Reply::text(StatusCode::INTERNAL_SERVER_ERROR, text);
    let body = decode::ca_configuration(call.request.body())?;
    if !body.provider.is_empty() && body.provider != "consul" {
        let given = body.provider;
        return Err(failed(format!("unknown CA provider {given:?}; Leno has its own, \"consul\"")));
    }
    let mut config = default_config();
    let mut state = Value::Null;
    let (mut certificate, mut key) = (String::new(), String::new());
    for (name, value) in body.config {
        let text = || value.as_str().unwrap_or_default().to_owned();
        let known = config.keys().find(|it| is_same(it, &name)).cloned();
        match known {
            Some(known) => {
                let time = duration_of(&value);
                let shortest = Duration::from_hours(1);
                if time.is_none_or(|it| it < shortest) {
                    return Err(failed(format!("{known} must be a duration of one hour or more")));
                }
                config.insert(known, value);
            }
            None if is_same("rootcert", &name) => certificate = text(),
            None if is_same("privatekey", &name) => key = text(),
            // Consul's own tests hand a provider's state in by it.
            None if is_same("teststate", &name) => state = value,
            None if is_blank(&value) => {}
            None => {
                return Err(failed(format!(
                    "the CA's setting {name:?} is not supported by this version of Leno"
                )));
            }
        }
    }
    let (mut roots, stored) = authorities(call)?;
    if certificate.is_empty() != key.is_empty() {
        return Err(failed("RootCert and PrivateKey must be given together".into()));
    }
    if !certificate.is_empty() {
        let cluster = roots[0].cluster_id.clone();
        let given = Authority::given(&cluster, &certificate, &key);
        let given = given.map_err(|error| failed(error.to_string()))?;
        roots.retain(|it| it.id != given.id);
        roots = roots.into_iter().map(Authority::retired).collect();
        roots.insert(0, given);
        roots.truncate(ROOTS_MAX);
    }
    let body = json!({"Roots": roots, "Config": config, "State": state});
    let record = Record::Setting(Setting { name: CA.to_owned(), body });
    let when = RecordCondition::ModifiedAt(stored.modified);
    Ok(Answer::Write(Command::PutRecord { record, when }, Door::Agent))
}

/// Keys are written in either of two ways, `leaf_cert_ttl` and `LeafCertTTL`.
fn is_same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(&b.replace('_', ""))
}

/// How long leaf certificates are valid, by the configuration of the authority.
#[must_use]
pub fn leaf_ttl(config: &Value) -> Duration {
    duration_of(&config["LeafCertTTL"]).unwrap_or(ca::LEAF_TTL)
}

/// A duration in Go's notation, or a number of nanoseconds.
fn duration_of(value: &Value) -> Option<Duration> {
    match value {
        Value::String(text) => go::parse_duration(text).ok(),
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Of the range checked.
        Value::Number(number) => {
            let nanoseconds = number.as_f64().filter(|it| (0.0..9e18).contains(it))?;
            Some(Duration::from_nanos(nanoseconds as u64))
        }
        _ => None,
    }
}

fn is_blank(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Bool(false))
        || value.as_str() == Some("")
        || *value == json!(0)
}
