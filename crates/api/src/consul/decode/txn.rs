use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::{KvEntry, KvKey, NodeName, Revision, SessionId};
use registry::{KvCondition, KvOperation, TxnOperation, TxnVerb};
use serde_json::Value;

use super::fields::Fields;
use super::{BadRequest, catalog, json};

/// Reads the body of `txn`: operations of keys. Those of nodes, services and checks are refused.
pub(in super::super) fn transaction(
    body: &[u8],
    value_bytes_max: usize,
) -> Result<Vec<TxnOperation>, BadRequest> {
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

fn read(item: &Value, value_bytes_max: usize) -> Result<TxnOperation, BadRequest> {
    let mut fields = Fields::root(item, "TxnOp")?;
    if fields.take("Intention").is_some() {
        return Err(BadRequest::unsupported("Intention in a transaction"));
    }
    let kv = fields.fields("KV", "KVTxnOp")?;
    let node = fields.fields("Node", "NodeTxnOp")?;
    let service = fields.fields("Service", "ServiceTxnOp")?;
    let check = fields.fields("Check", "CheckTxnOp")?;
    fields.finish()?;
    match (kv, node, service, check) {
        (Some(kv), ..) => read_kv(kv, value_bytes_max).map(TxnOperation::Kv),
        (_, Some(node), ..) => read_node(node),
        (_, _, Some(service), _) => read_service(service),
        (.., Some(check)) => read_check(check),
        (None, None, None, None) => Err(BadRequest::new("Transaction operation is empty")),
    }
}

/// The object of an operation, which must be there.
fn object<'a>(
    fields: &mut Fields<'a>,
    name: &str,
    struct_name: &'static str,
) -> Result<Fields<'a>, BadRequest> {
    fields
        .fields(name, struct_name)?
        .ok_or_else(|| BadRequest::new(format!("Transaction operation has no {name}")))
}

fn read_node(mut fields: Fields<'_>) -> Result<TxnOperation, BadRequest> {
    let text = fields.text("Verb")?;
    let (node, modified) = catalog::txn_node(object(&mut fields, "Node", "Node")?)?;
    fields.finish()?;
    Ok(TxnOperation::Node(verb("Node", &text, modified)?, node))
}

fn read_service(mut fields: Fields<'_>) -> Result<TxnOperation, BadRequest> {
    let text = fields.text("Verb")?;
    let node = NodeName::from(fields.text("Node")?);
    let service = object(&mut fields, "Service", "AgentService")?;
    let (instance, modified) = catalog::txn_service(service, &node)?;
    fields.finish()?;
    Ok(TxnOperation::Instance(verb("Service", &text, modified)?, instance))
}

fn read_check(mut fields: Fields<'_>) -> Result<TxnOperation, BadRequest> {
    let text = fields.text("Verb")?;
    let check = object(&mut fields, "Check", "HealthCheck")?;
    let (check, modified) = catalog::txn_check(check)?;
    fields.finish()?;
    Ok(TxnOperation::Check(verb("Check", &text, modified)?, check))
}

fn verb(of: &str, text: &str, modified: Revision) -> Result<TxnVerb, BadRequest> {
    Ok(match text {
        "get" => TxnVerb::Get,
        "set" => TxnVerb::Set,
        "cas" => TxnVerb::SetAt(modified),
        "delete" => TxnVerb::Delete,
        "delete-cas" => TxnVerb::DeleteAt(modified),
        other => return Err(BadRequest::new(format!("unknown {of} operation: {other}"))),
    })
}

fn read_kv(mut kv: Fields<'_>, value_bytes_max: usize) -> Result<KvOperation, BadRequest> {
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
