use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::{KvEntry, KvKey, Revision, SessionId};
use registry::{KvCondition, KvOperation};
use serde_json::Value;

use super::fields::Fields;
use super::{BadRequest, json};

/// Reads the body of `txn`: operations of keys. Those of nodes, services and checks are refused.
pub(in super::super) fn transaction(
    body: &[u8],
    value_bytes_max: usize,
) -> Result<Vec<KvOperation>, BadRequest> {
    let failed = |text: &str| BadRequest::new(format!("Failed to parse body: {text}"));
    let value = json::read(body).map_err(|bad| failed(&reason(&bad)))?;
    let items = match &value {
        Value::Array(items) => items.as_slice(),
        Value::Null => &[],
        _ => return Err(failed("json: cannot unmarshal object into Go value of type api.TxnOps")),
    };
    items
        .iter()
        .map(|item| read(item, value_bytes_max).map_err(|bad| reworded(bad, &failed)))
        .collect()
}

/// What follows the usual beginning of an error.
fn reason(bad: &BadRequest) -> String {
    bad.text.strip_prefix("Request decode failed: ").unwrap_or(&bad.text).to_owned()
}

fn reworded(bad: BadRequest, failed: &impl Fn(&str) -> BadRequest) -> BadRequest {
    if bad.text.starts_with("Request decode failed: ") { failed(&reason(&bad)) } else { bad }
}

fn read(item: &Value, value_bytes_max: usize) -> Result<KvOperation, BadRequest> {
    let mut fields = Fields::root(item, "TxnOp")?;
    for name in ["Node", "Service", "Check", "Intention"] {
        if fields.take(name).is_some() {
            return Err(BadRequest::unsupported(&format!("{name} in a transaction")));
        }
    }
    let kv = fields.fields("KV", "KVTxnOp")?;
    fields.finish()?;
    let Some(mut kv) = kv else { return Err(BadRequest::new("Transaction operation is empty")) };
    let verb = kv.text("Verb")?;
    let key = KvKey::from(kv.text("Key")?);
    let value = value(&mut kv, &key, value_bytes_max)?;
    let flags = number(&mut kv, "Flags")?;
    let index = Revision(number(&mut kv, "Index")?);
    let session = SessionId::from(kv.text("Session")?);
    kv.skip(&["Namespace", "Partition"]);
    kv.finish()?;
    let set = |when: KvCondition| {
        let entry =
            KvEntry { key: key.clone(), value: value.clone().into(), flags, ..KvEntry::default() };
        KvOperation::Set { entry, when }
    };
    let delete = |when: KvCondition| KvOperation::Delete { key: key.clone(), when };
    Ok(match verb.as_str() {
        "set" => set(KvCondition::Always),
        "cas" => set(KvCondition::ModifiedAt(index)),
        "lock" => set(KvCondition::Acquire(session)),
        "unlock" => set(KvCondition::Release(session)),
        "delete" => delete(KvCondition::Always),
        "delete-cas" => delete(KvCondition::ModifiedAt(index)),
        "delete-tree" => KvOperation::DeleteUnder(key),
        "get" => KvOperation::Get(key),
        "get-or-empty" => KvOperation::GetOrEmpty(key),
        "get-tree" => KvOperation::GetUnder(key),
        "check-index" => KvOperation::CheckIndex(key, index),
        "check-session" => KvOperation::CheckSession(key, session),
        "check-not-exists" => KvOperation::CheckNotExists(key),
        other => return Err(BadRequest::new(format!("unknown KV operation: {other}"))),
    })
}

fn value(kv: &mut Fields<'_>, key: &KvKey, bytes_max: usize) -> Result<Vec<u8>, BadRequest> {
    let text = kv.text("Value")?;
    let value = STANDARD.decode(&text).map_err(|error| {
        BadRequest::undecodable(format!("the value of key \"{key}\" is not base64: {error}"))
    })?;
    if value.len() > bytes_max {
        let text =
            format!("Value for key \"{key}\" is too large ({} > {bytes_max} bytes)", value.len());
        return Err(BadRequest { status: 413, text });
    }
    Ok(value)
}

fn number(kv: &mut Fields<'_>, name: &str) -> Result<u64, BadRequest> {
    match kv.take(name) {
        None => Ok(0),
        Some(value) => value.as_u64().ok_or_else(|| {
            BadRequest::undecodable(format!(
                "json: cannot unmarshal {value} into Go struct field {name} of type uint64"
            ))
        }),
    }
}
