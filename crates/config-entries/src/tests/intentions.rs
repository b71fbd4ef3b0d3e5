//! Who may call whom.

use super::*;
use crate::intentions::{
    Change, Intention, Side, all, apply, deciding, matching, of_entry, read_intention,
};

fn entry(destination: &str, sources: &[(&str, &str)]) -> Value {
    let sources: Vec<Value> =
        sources.iter().map(|(name, action)| json!({"Name": name, "Action": action})).collect();
    json!({"Kind": "service-intentions", "Name": destination, "Sources": sources})
}

fn names(found: &[Intention<'_>]) -> Vec<String> {
    found
        .iter()
        .map(|it| format!("{} {} {}", it.source_name(), it.destination_name(), it.precedence()))
        .collect()
}

#[test]
fn exact_names_hold_before_wildcards() {
    let catalog = catalog(&[
        entry("db", &[("*", "deny"), ("web", "allow")]),
        entry("*", &[("web", "deny"), ("*", "allow")]),
        entry("other", &[("web", "allow")]),
    ]);
    let order = ["web db 9", "web other 9", "* db 8", "web * 6", "* * 5"];
    assert_eq!(names(&all(&catalog)), order);
    assert_eq!(
        names(&matching(&catalog, Side::Destination, "DB")),
        ["web db 9", "* db 8", "web * 6", "* * 5"]
    );
    assert_eq!(names(&matching(&catalog, Side::Source, "api")), ["* db 8", "* * 5"]);
    let allows =
        |source, destination| deciding(&catalog, source, destination).and_then(|it| it.allows());
    assert_eq!(allows("web", "db"), Some(true));
    assert_eq!(allows("api", "db"), Some(false));
    assert_eq!(allows("web", "cache"), Some(false));
    assert_eq!(allows("api", "cache"), Some(true));
}

#[test]
fn rules_of_intentions() {
    let source = |source: Value| {
        verdict(&json!({"Kind": "service-intentions", "Name": "db", "Sources": [source]}), &[])
    };
    assert_eq!(source(json!({"Name": "web", "Action": "allow"})), Ok(()));
    for (of, text) in [
        (json!({"Action": "allow"}), "Sources[0].Name is required"),
        (json!({"Name": "web"}), "Sources[0].Action must be set to 'allow' or 'deny'"),
        (
            json!({"Name": "w*", "Action": "deny"}),
            "Sources[0].Name: wildcard character '*' cannot be used with partial values",
        ),
        (
            json!({"Name": "web", "Permissions": [{"Action": "allow", "HTTP": {}}]}),
            "Sources[0].Permissions[0].HTTP should not be empty",
        ),
        (
            json!({"Name": "web", "Permissions": [{"Action": "allow", "HTTP": {"PathPrefix": "/"}}]}),
            "service \"db\" has protocol \"tcp\", which does not support L7 intentions with Permissions",
        ),
        (
            json!({"Name": "web", "Action": "allow", "LegacyMeta": {"a": "b"}}),
            "Sources[0].LegacyMeta must be omitted",
        ),
    ] {
        assert_eq!(source(of), Err(text.to_owned()));
    }
    let twice = entry("db", &[("web", "allow"), ("web", "deny")]);
    assert_eq!(verdict(&twice, &[]), Err("Sources[1] defines \"web\" more than once".to_owned()));
}

#[test]
fn single_intentions_live_in_the_entry_of_who_is_called() {
    let intention = |source: &str, action: &str| {
        let body = json!({"SourceName": source, "DestinationName": "db", "Action": action, "SourceNS": "default"});
        read_intention(&body).expect("valid")
    };
    let mut entries = Vec::new();
    let mut run = |change: Change, now: &str| {
        let (_, changed) = apply(&with_entries(&entries), &change, now)?;
        entries = changed.into_iter().collect();
        Ok::<_, String>(entries.clone())
    };
    let create = |source: &str, id: &str| Change::Create {
        intention: intention(source, "allow"),
        id: id.to_owned(),
    };
    let made = run(create("web", "id-1"), "T1").expect("valid");
    let shown = of_entry(&made[0]).next().expect("there is one").show();
    assert_eq!(
        Value::Object(shown),
        json!({
            "ID": "id-1", "SourceNS": "default", "SourceName": "web", "DestinationNS": "default",
            "DestinationName": "db", "SourceType": "consul", "Action": "allow", "Precedence": 9,
            "CreatedAt": "T1", "UpdatedAt": "T1",
        })
    );
    assert_eq!(
        run(create("web", "id-2"), "T2"),
        Err("duplicate intention found: web => db".to_owned())
    );
    run(create("*", "id-2"), "T2").expect("valid");
    let changed =
        run(Change::Update { intention: intention("api", "deny"), id: "id-1".to_owned() }, "T3");
    let changed = changed.expect("valid");
    let shown = of_entry(&changed[0]).next().expect("there is one").show();
    assert_eq!(
        (&shown["CreatedAt"], &shown["UpdatedAt"], &shown["SourceName"]),
        (&json!("T1"), &json!("T3"), &json!("api"))
    );
    let left = run(Change::Delete { id: "id-2".to_owned() }, "T4").expect("valid");
    assert_eq!(of_entry(&left[0]).count(), 1);
    assert_eq!(
        run(Change::Delete { id: "id-2".to_owned() }, "T4"),
        Err("Cannot modify non-existent intention: 'id-2'".to_owned())
    );
    // Whoever names both services takes the entry over.
    let upserted =
        run(Change::Upsert { intention: intention("web", "allow") }, "T5").expect("valid");
    assert!(of_entry(&upserted[0]).all(|it| it.legacy_id().is_empty()));
    assert!(
        run(create("x", "id-3"), "T6")
            .expect_err("refused")
            .starts_with("cannot use legacy intention API")
    );
    let gone = |source: &str| Change::DeleteExact {
        source: source.to_owned(),
        destination: "db".to_owned(),
    };
    run(gone("web"), "T7").expect("valid");
    assert_eq!(run(gone("api"), "T7"), Ok(Vec::new()));
    assert_eq!(run(gone("api"), "T7"), Ok(Vec::new()));
}

fn with_entries(entries: &[model::ConfigEntry]) -> Catalog {
    let mut catalog = Catalog::default();
    let put = |it: &ConfigEntry| Object::Record(Record::ConfigEntry(it.clone())).put();
    let operations: Vec<_> = entries.iter().map(put).collect();
    let change = catalog.change_of(Revision(1), &operations);
    catalog.apply(&change);
    catalog
}

#[test]
fn intention_of_another_namespace_is_refused() {
    let refused = |body: Value| read_intention(&body).expect_err("refused");
    assert!(
        refused(json!({"SourceNS": "x"})).contains("Namespaces are a Consul Enterprise feature")
    );
    assert_eq!(refused(json!({"Foo": 1})), "json: unknown field \"Foo\"");
}
