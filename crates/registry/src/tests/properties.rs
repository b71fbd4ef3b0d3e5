//! Any sequence of commands, valid or not, leaves a sound catalog, and its changes replay to the same one.

use std::sync::Arc;
use std::time::Duration;

use model::{
    Catalog, Check, CheckId, CheckStatus, Document, DocumentChange, DocumentKey, Instance, KvEntry,
    Node, Origin, Revision, SecretSpec, Session, SessionBehavior, Spec,
};
use proptest::prelude::*;
use serde_json::json;

use super::documents::{delete, put};
use super::records::{any_record_command, check_records};
use super::run;
use crate::{
    CatalogRegistration, CatalogTarget, Command, KvCondition, KvOperation, RecordCondition,
    ServiceRegistration, SidecarPorts, TxnOperation, TxnVerb,
};

pub(super) fn name(prefix: &'static str) -> impl Strategy<Value = String> {
    (0..4u8, any::<bool>()).prop_map(move |(number, upper)| {
        let name = format!("{prefix}{number}");
        if upper { name.to_uppercase() } else { name }
    })
}

fn any_status() -> impl Strategy<Value = CheckStatus> {
    prop_oneof![Just(CheckStatus::Passing), Just(CheckStatus::Warning), Just(CheckStatus::Critical)]
}

fn any_instance() -> impl Strategy<Value = Instance> {
    (name("node"), name("id"), name("svc"), 0..3u16, any::<bool>()).prop_map(
        |(node, id, service, port, agent)| Instance {
            // Some are proxies, and some speak mutual TLS themselves.
            kind: if port == 1 { "connect-proxy".to_owned() } else { String::new() },
            proxy: (port == 1).then(|| Arc::new(json!({"DestinationServiceName": id}))),
            connect_native: port == 2,
            node: node.into(),
            id: id.into(),
            service: service.into(),
            port,
            origin: if agent { Origin::Agent } else { Origin::Catalog },
            ..Instance::default()
        },
    )
}

fn any_check() -> impl Strategy<Value = Check> {
    (name("node"), name("check"), proptest::option::of(name("id")), any_status()).prop_map(
        |(node, id, service, status)| Check {
            node: node.into(),
            id: id.into(),
            service_id: service.unwrap_or_default().into(),
            status,
            origin: Origin::Agent,
            ..Check::default()
        },
    )
}

fn any_node() -> impl Strategy<Value = Node> {
    (name("node"), proptest::option::of(0..3u8), 0..2u8).prop_map(|(name, id, address)| Node {
        name: name.into(),
        id: id.map(|id| format!("0000000{id}-0000-0000-0000-000000000000")).unwrap_or_default(),
        address: format!("127.0.0.{address}"),
        ..Node::default()
    })
}

fn any_document() -> impl Strategy<Value = Document> {
    (name("doc"), 0..3u8).prop_map(|(name, body)| Document {
        key: DocumentKey {
            kind: "Secret".into(),
            namespace: "default".into(),
            name,
            ..DocumentKey::default()
        },
        api_version: "v1".into(),
        body: body.into(),
        spec: Spec::Secret(SecretSpec::default()),
        diagnostics: Vec::new(),
        source: String::new(),
        line: 0,
    })
}

pub(super) fn any_session() -> impl Strategy<Value = Session> {
    let checks = proptest::collection::vec(name("check"), 0..2);
    (name("node"), name("session"), checks, any::<bool>(), 0..3u64).prop_map(
        |(node, id, checks, deletes, lock_delay_ms)| Session {
            // Ids are unique: no two nodes have the same.
            id: format!("{}-{}", id.to_lowercase(), node.to_lowercase()).into(),
            node: node.into(),
            lock_delay: Duration::from_millis(10 * lock_delay_ms),
            behavior: if deletes { SessionBehavior::Delete } else { SessionBehavior::Release },
            node_checks: checks.into_iter().map(CheckId::from).collect(),
            ..Session::default()
        },
    )
}

fn any_condition() -> impl Strategy<Value = KvCondition> {
    let session = || any_session().prop_map(|it| it.id);
    prop_oneof![
        1 => Just(KvCondition::Always),
        1 => (0..20u64).prop_map(|it| KvCondition::ModifiedAt(Revision(it))),
        4 => session().prop_map(KvCondition::Acquire),
        2 => session().prop_map(KvCondition::Release),
    ]
}

fn any_entry() -> impl Strategy<Value = KvEntry> {
    ("[ab]{1,2}", 0..2u8).prop_map(|(key, value)| KvEntry {
        key: key.into(),
        value: [value].into(),
        ..KvEntry::default()
    })
}

fn any_operation() -> impl Strategy<Value = KvOperation> {
    let key = || any_entry().prop_map(|it| it.key);
    prop_oneof![
        4 => (any_entry(), any_condition()).prop_map(|(entry, when)| KvOperation::Set { entry, when }),
        2 => (key(), any_condition()).prop_map(|(key, when)| KvOperation::Delete { key, when }),
        1 => "a?".prop_map(|prefix| KvOperation::DeleteUnder(prefix.into())),
        1 => key().prop_map(KvOperation::GetOrEmpty),
        1 => "a?".prop_map(|prefix| KvOperation::GetUnder(prefix.into())),
        1 => key().prop_map(KvOperation::CheckNotExists),
    ]
}

fn any_verb() -> impl Strategy<Value = TxnVerb> {
    prop_oneof![
        1 => Just(TxnVerb::Get),
        3 => Just(TxnVerb::Set),
        1 => (0..8u64).prop_map(|at| TxnVerb::SetAt(Revision(at))),
        1 => Just(TxnVerb::Delete),
        1 => (0..8u64).prop_map(|at| TxnVerb::DeleteAt(Revision(at))),
    ]
}

fn any_txn_operation() -> impl Strategy<Value = TxnOperation> {
    prop_oneof![
        4 => any_operation().prop_map(TxnOperation::Kv),
        1 => (any_verb(), any_node()).prop_map(|(verb, it)| TxnOperation::Node(verb, it)),
        1 => (any_verb(), any_instance()).prop_map(|(verb, it)| TxnOperation::Instance(verb, it)),
        1 => (any_verb(), any_check()).prop_map(|(verb, it)| TxnOperation::Check(verb, it)),
    ]
}

pub(super) fn any_command() -> impl Strategy<Value = Command> {
    let checks = || proptest::collection::vec(any_check(), 0..3);
    prop_oneof![
        4 => (any_node(), proptest::option::of(any_instance()), checks(), any::<bool>()).prop_map(
            |(node, instance, mut checks, skip_node_update)| {
                for check in &mut checks {
                    check.node = node.name.clone();
                }
                Command::RegisterInCatalog(CatalogRegistration { node, skip_node_update, instance, checks })
            }
        ),
        4 => (any_instance(), checks(), any::<bool>()).prop_map(
            |(instance, mut checks, replace_existing_checks)| {
                for check in &mut checks {
                    check.node = instance.node.clone();
                }
                Command::RegisterService(ServiceRegistration { instance, checks, sidecar: None, sidecar_ports: SidecarPorts::default(), replace_existing_checks })
            }
        ),
        2 => any_check().prop_map(Command::RegisterCheck),
        2 => (name("node"), name("check"), any_status(), ".{0,3}", any::<bool>()).prop_map(
            |(node, id, status, output, output_matters)| Command::SetCheckStatus {
                node: node.into(), id: id.into(), status, output, output_matters,
            }
        ),
        1 => (name("node"), name("id")).prop_map(|(node, id)| Command::DeregisterService {
            node: node.into(), id: id.into(),
        }),
        1 => (name("node"), name("check")).prop_map(|(node, id)| Command::DeregisterCheck {
            node: node.into(), id: id.into(),
        }),
        1 => (name("node"), proptest::option::of(name("id")), proptest::option::of(".{0,2}"))
            .prop_map(|(node, service, reason)| Command::SetMaintenance {
                node: node.into(), service: service.map(Into::into), reason,
            }),
        1 => (name("node"), name("id"), proptest::option::of(".{0,2}"))
            .prop_map(|(node, id, seen)| Command::SetSightings {
                node: node.into(), id: id.into(), seen,
            }),
        1 => (name("node"), name("id"), name("check"), 0..3u8).prop_map(|(node, id, check, what)| {
            let target = match what {
                0 => CatalogTarget::Node,
                1 => CatalogTarget::Service(id.into()),
                _ => CatalogTarget::Check(check.into()),
            };
            Command::DeregisterFromCatalog { node: node.into(), target }
        }),
        2 => any_session().prop_map(Command::CreateSession),
        1 => any_session().prop_map(|it| Command::EndSession(it.id)),
        1 => any_session().prop_map(|it| Command::RenewSession(it.id)),
        4 => (any_entry(), any_condition()).prop_map(|(entry, when)| Command::SetKv { entry, when }),
        1 => (any_entry(), any_condition())
            .prop_map(|(entry, when)| Command::DeleteKv { key: entry.key, when }),
        1 => "a?".prop_map(|prefix| Command::DeleteKvUnder(prefix.into())),
        3 => proptest::collection::vec(any_txn_operation(), 0..5).prop_map(Command::Transact),
        1 => any_document().prop_map(|it| put(vec![it])),
        1 => any_document().prop_map(|it| delete(vec![it.key])),
        1 => (any_document(), any_document()).prop_map(|(before, after)| {
            let key = after.key.clone();
            let before = Some(before).filter(|it| it.key == key);
            Command::RestoreDocuments(vec![DocumentChange { key, before, after: Some(after) }])
        }),
        6 => any_record_command(),
    ]
}

proptest! {
    #[test]
    fn any_commands_leave_a_sound_catalog_that_replays(
        commands in proptest::collection::vec(any_command(), 0..60)
    ) {
        let mut catalog = Catalog::default();
        let mut changes = Vec::new();
        for (at, command) in commands.iter().enumerate() {
            let before = catalog.clone();
            match run(&mut catalog, command, at as u64) {
                Ok(Some(change)) => {
                    changes.push(change);
                    // What was made true is true: the same command again changes nothing.
                    let is_of_once = matches!(
                        command,
                        Command::DeregisterService { .. }
                            | Command::DeregisterCheck { .. }
                            | Command::SetKv {
                                when: KvCondition::ModifiedAt(_) | KvCondition::Release(_),
                                ..
                            }
                            | Command::Transact(_)
                            | Command::FireEvent(_)
                            | Command::PutRecord { when: RecordCondition::ModifiedAt(_), .. }
                            | Command::DeleteRecord {
                                when: RecordCondition::ModifiedAt(_) | RecordCondition::Exists,
                                ..
                            }
                    );
                    if !is_of_once {
                        prop_assert_eq!(run(&mut catalog.clone(), command, at as u64), Ok(None));
                    }
                }
                Ok(None) | Err(_) => prop_assert_eq!(&catalog, &before),
            }
            check_records(&catalog);
        }
        let mut replayed = Catalog::default();
        for change in &changes {
            let (_, errors) = replayed.apply(change);
            prop_assert!(errors.is_empty());
        }
        prop_assert_eq!(replayed, catalog);
    }
}
