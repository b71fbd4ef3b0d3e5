use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::{KvEntry, KvKey, NodeName, Revision, SessionId};
use registry::{KvCondition, KvOperation, TxnOperation, TxnVerb};
use serde_json::Value;

use super::fields::Fields;
use super::{BadRequest, catalog, json};

/// Why a transaction is none.
pub(in super::super) enum BadTransaction {
    /// It cannot be read.
    Request(BadRequest),
    /// An operation of which nobody knows what it would do.
    Verb {
        /// Which of the operations.
        at: usize,
        /// What is wrong.
        text: String,
    },
}

/// Reads the body of `txn`: operations of keys, nodes, services and checks.
pub(in super::super) fn transaction(
    body: &[u8],
    value_bytes_max: usize,
) -> Result<Vec<TxnOperation>, BadTransaction> {
    let failed = |text: &str| BadRequest::new(format!("Failed to parse body: {text}"));
    let unreadable = |bad| BadTransaction::Request(reworded(bad, &failed));
    let value = json::read(body).map_err(|bad| BadTransaction::Request(failed(&reason(&bad))))?;
    let items = match &value {
        Value::Array(items) => items.as_slice(),
        Value::Null => &[],
        _ => {
            let text = "json: cannot unmarshal object into Go value of type api.TxnOps";
            return Err(BadTransaction::Request(failed(text)));
        }
    };
    let mut operations = Vec::with_capacity(items.len());
    let mut unknown = None;
    for (at, item) in items.iter().enumerate() {
        match read(item, value_bytes_max).map_err(unreadable)? {
            Ok(operation) => operations.push(operation),
            Err(UnknownVerb(text)) => {
                unknown = unknown.or(Some(BadTransaction::Verb { at, text }));
            }
        }
    }
    unknown.map_or(Ok(operations), Err)
}

/// A verb that is none of the kind's, in words.
struct UnknownVerb(String);

impl UnknownVerb {
    fn of(kind: &str, verb: &str) -> Self {
        Self(format!("unknown {kind} verb {verb:?}"))
    }
}

/// An operation as it was read.
type Operation = Result<TxnOperation, UnknownVerb>;

/// What follows the usual beginning of an error.
fn reason(bad: &BadRequest) -> String {
    bad.text.strip_prefix("Request decode failed: ").unwrap_or(&bad.text).to_owned()
}

fn reworded(bad: BadRequest, failed: &impl Fn(&str) -> BadRequest) -> BadRequest {
    if bad.text.starts_with("Request decode failed: ") { failed(&reason(&bad)) } else { bad }
}

fn read(item: &Value, value_bytes_max: usize) -> Result<Operation, BadRequest> {
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
        (Some(kv), ..) => Ok(read_kv(kv, value_bytes_max)?.map(TxnOperation::Kv)),
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

fn read_node(mut fields: Fields<'_>) -> Result<Operation, BadRequest> {
    let text = fields.text("Verb")?;
    let (node, modified) = catalog::txn_node(object(&mut fields, "Node", "Node")?)?;
    fields.finish()?;
    Ok(verb("Node", &text, modified).map(|it| TxnOperation::Node(it, node)))
}

fn read_service(mut fields: Fields<'_>) -> Result<Operation, BadRequest> {
    let text = fields.text("Verb")?;
    let node = NodeName::from(fields.text("Node")?);
    let service = object(&mut fields, "Service", "AgentService")?;
    let (instance, modified) = catalog::txn_service(service, &node)?;
    fields.finish()?;
    Ok(verb("Service", &text, modified).map(|it| TxnOperation::Instance(it, instance)))
}

fn read_check(mut fields: Fields<'_>) -> Result<Operation, BadRequest> {
    let text = fields.text("Verb")?;
    let check = object(&mut fields, "Check", "HealthCheck")?;
    let (check, modified) = catalog::txn_check(check)?;
    fields.finish()?;
    Ok(verb("Check", &text, modified).map(|it| TxnOperation::Check(it, check)))
}

fn verb(kind: &str, text: &str, modified: Revision) -> Result<TxnVerb, UnknownVerb> {
    Ok(match text {
        "get" => TxnVerb::Get,
        "set" => TxnVerb::Set,
        "cas" => TxnVerb::SetAt(modified),
        "delete" => TxnVerb::Delete,
        "delete-cas" => TxnVerb::DeleteAt(modified),
        other => return Err(UnknownVerb::of(kind, other)),
    })
}

fn read_kv(
    mut kv: Fields<'_>,
    value_bytes_max: usize,
) -> Result<Result<KvOperation, UnknownVerb>, BadRequest> {
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
    Ok(Ok(match verb.as_str() {
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
        other => return Ok(Err(UnknownVerb::of("KV", other))),
    }))
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
