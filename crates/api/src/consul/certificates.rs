//! `/v1/connect/ca` and `/v1/agent/connect/ca/roots`: the authority of the mesh. Leaf certificates are the shell's, for
//! they need keys.

use http::StatusCode;
use http::header::CONTENT_TYPE;
use model::{Found, Record, Revision, Setting, Table, Timestamp, WatchKey};
use registry::{Command, RecordCondition};
use serde_json::{Map, Value, json};

use super::read::{Read, with_cache_hit};
use super::response::Reply;
use super::write::Door;
use super::{Answer, Call, Outcome, decode};
use crate::json::JsonWriter;
use crate::{CA_CONFIG, CA_ROOT};

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
    let Some(root) = call.catalog().record::<Setting>(CA_ROOT) else {
        let text = "the certificate authority is not ready yet";
        return Err(Reply::text(StatusCode::INTERNAL_SERVER_ERROR, text));
    };
    let watched = || vec![WatchKey::Table(Table::Setting)];
    let is_pem = matches!(call.query.first("pem"), Some(text) if text != "false");
    Ok(read.reply(root.modified, watched, || {
        if is_pem {
            let reply = Reply::bytes(text_of(&root, "cert_pem").as_bytes());
            return reply.with(CONTENT_TYPE, "application/pem-certificate-chain");
        }
        call.json(|w| shape(w, &root))
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

fn text_of<'a>(setting: &Found<'a, Setting>, name: &str) -> &'a str {
    setting.value.body[name].as_str().unwrap_or_default()
}

fn number_of(setting: &Found<'_, Setting>, name: &str) -> u64 {
    setting.body[name].as_u64().unwrap_or_default()
}

fn shape(w: &mut JsonWriter, root: &Found<'_, Setting>) {
    let cluster = text_of(root, "cluster_id");
    w.object(|w| {
        w.string_field("ActiveRootID", text_of(root, "id"));
        w.string_field("TrustDomain", &format!("{cluster}.consul"));
        w.key("Roots");
        w.array(|w| {
            w.object(|w| {
                w.string_field("ID", text_of(root, "id"));
                w.string_field("Name", "Leno CA Primary Cert");
                w.number_field("SerialNumber", number_of(root, "serial"));
                w.string_field("SigningKeyID", text_of(root, "key_id"));
                w.string_field("ExternalTrustDomain", cluster);
                for (name, field) in [("NotBefore", "not_before"), ("NotAfter", "not_after")] {
                    w.string_field(name, &rfc3339(Timestamp(number_of(root, field))));
                }
                w.string_field("RootCert", text_of(root, "cert_pem"));
                w.key("IntermediateCerts");
                w.null();
                w.boolean_field("Active", true);
                w.string_field("PrivateKeyType", "ec");
                w.number_field("PrivateKeyBits", 256_u32);
                w.number_field("CreateIndex", root.created.0);
                w.number_field("ModifyIndex", root.modified.0);
            });
        });
    });
}

/// A time as Go writes it, for example `2026-01-02T03:04:05.678Z`.
#[must_use]
pub fn rfc3339(time: Timestamp) -> String {
    let ms = i64::try_from(time.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX).to_string()
}

/// Nanoseconds of the times that the authority uses when nobody says otherwise.
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
    let stored = call.catalog().record::<Setting>(CA_CONFIG);
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
    for (key, value) in body.config {
        let known = config.keys().find(|it| is_same(it, &key)).cloned();
        match known {
            Some(known) => {
                config.insert(known, value);
            }
            // Consul's own tests hand a provider's state in by it.
            None if is_same("teststate", &key) => state = value,
            None if is_blank(&value) => {}
            None => {
                return Err(failed(format!(
                    "the CA's setting {key:?} is not supported by this version of Leno"
                )));
            }
        }
    }
    let body = json!({"Config": config, "State": state});
    let record = Record::Setting(Setting { name: CA_CONFIG.to_owned(), body });
    let command = Command::PutRecord { record, when: RecordCondition::Always };
    Ok(Answer::Write(command, Door::Agent))
}

/// Keys are written in either of two ways, `leaf_cert_ttl` and `LeafCertTTL`.
fn is_same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(&b.replace('_', ""))
}

fn is_blank(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Bool(false))
        || value.as_str() == Some("")
        || *value == json!(0)
}
