use std::collections::BTreeMap;

use model::FlatMap;
use model::workload::{Registration, WorkloadKind};

use crate::fields::{At, Field, Fields, Report};
use crate::reference::is_label;
use crate::values::{set, whole};

/// Consul's bounds on metadata.
const META_ENTRIES_MAX: usize = 64;
const META_KEY_BYTES_MAX: usize = 128;
const META_VALUE_BYTES_MAX: usize = 512;

/// Reads `service`: a name, `None`, or a map. A service is registered under its own name by default, a job not at all.
pub(super) fn read(
    fields: &mut Fields<'_>,
    kind: WorkloadKind,
    own_name: &str,
    report: &mut Report<'_>,
) -> Option<Registration> {
    let named = |name: &str| Registration { name: name.into(), ..Registration::default() };
    let Some(field) = fields.take("service") else {
        return (kind == WorkloadKind::Service).then(|| named(own_name));
    };
    match field.node.text() {
        Some("None") => None,
        Some(name) => {
            check_name(name, &field.at, report);
            Some(named(name))
        }
        None => {
            let mut registration = named(own_name);
            read_map(&field, &mut registration, report);
            Some(registration)
        }
    }
}

fn check_name(name: &str, at: &At, report: &mut Report<'_>) {
    if !is_label(name) {
        let remedy = "use a-z, 0-9 and `-`, at most 63 characters: it is a name of DNS; or None";
        report.error(at, format!("`{name}` is not a name of a service"), remedy);
    }
}

fn read_map(field: &Field<'_>, registration: &mut Registration, report: &mut Report<'_>) {
    let Some(mut fields) = field.fields(report) else { return };
    if let Some(field) = fields.take("name")
        && let Some(name) = field.text(report)
    {
        check_name(name, &field.at, report);
        registration.name = name.into();
    }
    for field in fields.items("tags", report) {
        let Some(tag) = field.text(report) else { continue };
        if tag.is_empty() || tag.contains(char::is_control) {
            report.error(&field.at, "is not a tag", "write a text of at least one character");
        } else if registration.tags.iter().any(|it| it == tag) {
            report.error(&field.at, format!("`{tag}` is listed twice"), "keep one of the two");
        } else {
            registration.tags.push(tag.to_owned());
        }
    }
    if let Some(field) = fields.take("meta") {
        registration.meta = read_meta(&field, report);
    }
    let weight = fields.take("weight").and_then(|it| whole(&it, 1..=65_535, report));
    set(&mut registration.weight, weight.and_then(|it| u16::try_from(it).ok()));
    fields.finish(report);
}

fn read_meta(field: &Field<'_>, report: &mut Report<'_>) -> FlatMap<String> {
    let mut meta = BTreeMap::new();
    for (key, value, at) in field.texts(report) {
        let is_fine = |it: u8| it.is_ascii_alphanumeric() || it == b'-' || it == b'_';
        if key.is_empty() || key.len() > META_KEY_BYTES_MAX || !key.bytes().all(is_fine) {
            let remedy = "use letters, digits, `-` and `_`, at most 128 characters";
            report.error(&at, "is not a key of metadata", remedy);
        } else if key == "version" {
            let remedy = "write `spec.version`: it is registered as that";
            report.error(&at, "is the version of the workload", remedy);
        } else if value.len() > META_VALUE_BYTES_MAX {
            let message = format!("{} bytes are more than the 512 allowed", value.len());
            report.error(&at, message, "shorten it");
        }
        meta.insert(key.to_owned(), value.to_owned());
    }
    // `version` is one of them.
    if meta.len() >= META_ENTRIES_MAX {
        let message = format!("{} entries are more than the 63 allowed", meta.len());
        report.error(&field.at, message, "remove some");
    }
    meta.into_iter().collect()
}
