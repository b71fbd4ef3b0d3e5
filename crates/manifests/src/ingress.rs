use model::{Backend, IngressPath, IngressRule, IngressSpec, IngressTls, PathKind};

use crate::fields::{At, Field, Fields, Report};
use crate::metadata::Metadata;
use crate::reference::{host, is_subdomain, note_wildcard, port_ref};

/// Reads what an `Ingress` asks for. The forms of all API versions are read whatever the version says: no field
/// of one means something else in another.
pub(crate) fn read(
    document: &mut Fields<'_>,
    metadata: &mut Metadata<'_>,
    report: &mut Report<'_>,
) -> IngressSpec {
    document.skip(&["status"]);
    let mut ingress = IngressSpec {
        timing_headers: metadata.annotations.take_flag("envoy.insert_header", report),
        timing_trailer: metadata.annotations.take_flag("envoy.insert_footer", report),
        ..IngressSpec::default()
    };
    if let Some((class, at)) = metadata.annotations.take("kubernetes.io/ingress.class") {
        note_class(class, &at, report);
    }
    let fields = document.require("spec", report).and_then(|it| it.fields(report));
    let Some(mut fields) = fields else { return ingress };
    if let Some(field) = fields.take("ingressClassName")
        && let Some(class) = field.text(report)
    {
        note_class(class, &field.at, report);
    }
    ingress.default_backend = read_default_backend(&mut fields, report);
    for item in fields.items("rules", report) {
        ingress.rules.extend(read_rule(&item, report));
    }
    for item in fields.items("tls", report) {
        ingress.tls.extend(read_tls(&item, report));
    }
    if ingress.rules.is_empty() && ingress.default_backend.is_none() {
        let message = "neither rules nor a default backend: it routes nothing";
        report.ignored(&fields.at, message, "add `rules` or `defaultBackend`");
    }
    fields.finish(report);
    ingress
}

/// Here no other controller would take the document, so it is served, and the difference is told.
fn note_class(class: &str, at: &At, report: &mut Report<'_>) {
    if class != "leno" {
        let message = format!("class `{class}` is of another controller; served all the same");
        report.approximated(at, message, "write `leno`, or leave it out");
    }
}

fn read_default_backend(fields: &mut Fields<'_>, report: &mut Report<'_>) -> Option<Backend> {
    let (new, old) = (fields.take("defaultBackend"), fields.take("backend"));
    if let (Some(_), Some(old)) = (&new, &old) {
        report.error(&old.at, "is the same as `defaultBackend`", "keep one of the two");
    }
    read_backend(&new.or(old)?, report)
}

fn read_rule(item: &Field<'_>, report: &mut Report<'_>) -> Option<IngressRule> {
    let mut fields = item.fields(report)?;
    let mut rule = IngressRule::default();
    if let Some(field) = fields.take("host")
        && field.node.text() != Some("")
    {
        // A bad host is an error, so nothing comes of the rule; its paths are read for their own errors.
        rule.host = host(&field, report).unwrap_or_default();
        note_wildcard(&rule.host, &field.at, report);
    }
    if let Some(mut http) = fields.take("http").and_then(|it| it.fields(report)) {
        if let Some(paths) = http.require("paths", report) {
            let items = paths.items(report);
            rule.paths = items.iter().filter_map(|it| read_path(it, report)).collect();
        }
        http.finish(report);
    }
    fields.finish(report);
    Some(rule)
}

fn read_path(item: &Field<'_>, report: &mut Report<'_>) -> Option<IngressPath> {
    let mut fields = item.fields(report)?;
    let path = fields.take("path");
    let kind = read_path_kind(&mut fields, report);
    let backend = fields.require("backend", report).and_then(|it| read_backend(&it, report));
    fields.finish(report);
    let path = match (path, kind) {
        (None, Some(PathKind::Exact | PathKind::Prefix)) => {
            report.error(&item.at.missing("path"), "missing", "add `path`, for example /");
            None
        }
        (None, Some(PathKind::Implementation) | None) => Some("/".to_owned()),
        (Some(field), kind) => check_path(&field, kind.unwrap_or(PathKind::Implementation), report),
    };
    Some(IngressPath { path: path?, kind: kind?, backend: backend? })
}

fn read_path_kind(fields: &mut Fields<'_>, report: &mut Report<'_>) -> Option<PathKind> {
    let Some(field) = fields.take("pathType") else { return Some(PathKind::Implementation) };
    match field.text(report)? {
        "Exact" => Some(PathKind::Exact),
        "Prefix" => Some(PathKind::Prefix),
        "ImplementationSpecific" => Some(PathKind::Implementation),
        word => {
            let message = format!("`{word}` is not a type of path");
            report.error(&field.at, message, "use Exact, Prefix or ImplementationSpecific");
            None
        }
    }
}

/// The path as it is matched. Where the meaning is left to the implementation, the `*` at the end that other
/// controllers want is read as what it means there.
fn check_path(field: &Field<'_>, kind: PathKind, report: &mut Report<'_>) -> Option<String> {
    let path = field.text(report)?;
    let remedy = if !path.starts_with('/') {
        format!("begin it with a slash: /{}", path.trim_start())
    } else if path.contains(['?', '#']) {
        "leave query and fragment out: only the path is matched".to_owned()
    } else if path.contains(|it: char| it.is_whitespace() || it.is_control()) {
        "leave blanks out, or encode them as %20".to_owned()
    } else if kind != PathKind::Implementation && !is_plain_path(path) {
        "leave `//`, `/./`, `/../` and encoded slashes out".to_owned()
    } else {
        if kind != PathKind::Implementation {
            return Some(path.to_owned());
        }
        if let Some(prefix) = path.strip_suffix('*') {
            let prefix = if prefix.is_empty() { "/" } else { prefix };
            let message = format!("`{path}` is matched as the prefix `{prefix}`, whole segments");
            report.approximated(&field.at, message, "write `pathType: Prefix`, and no `*`");
            return Some(prefix.to_owned());
        }
        if path.contains(['(', '*', '[', '^', '$', '|', '\\']) {
            let message = "looks like a regular expression; matched letter by letter, as a prefix";
            report.approximated(&field.at, message, "write plain paths");
        }
        return Some(path.to_owned());
    };
    report.error(&field.at, format!("`{path}` is not a path"), remedy);
    None
}

/// What Kubernetes asks of paths that it defines the matching of.
fn is_plain_path(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let odd = ["//", "/./", "/../", "%2f"].iter().any(|it| lower.contains(it));
    !odd && !lower.ends_with("/..") && !lower.ends_with("/.")
}

/// Reads a backend in either form: `service: {name, port: {number | name}}`, or `serviceName` and `servicePort`.
fn read_backend(field: &Field<'_>, report: &mut Report<'_>) -> Option<Backend> {
    let mut fields = field.fields(report)?;
    if let Some(resource) = fields.take("resource") {
        report.error(&resource.at, "a backend can only be a service", "name a service");
        return None;
    }
    let (name, port) = if let Some(service) = fields.take("service") {
        let mut service = service.fields(report)?;
        let name = service.require("name", report);
        let port = service.require("port", report).and_then(|it| read_port(&it, report));
        service.finish(report);
        (name, port)
    } else {
        let named = fields.take("serviceName");
        let port = fields.take("servicePort");
        if named.is_none() {
            let remedy = "add `service: {name: web, port: {number: 80}}`";
            report.error(&field.at.missing("service"), "missing", remedy);
        } else if port.is_none() {
            report.error(&field.at.missing("servicePort"), "missing", "add `servicePort`");
        }
        (named, port)
    };
    fields.finish(report);
    let service = name.and_then(|it| read_service_name(&it, report));
    let port = port.and_then(|it| port_ref(&it, report));
    Some(Backend { service: service?.to_owned(), port: port? })
}

/// The name or the number in `port: {name | number}`.
fn read_port<'a>(field: &Field<'a>, report: &mut Report<'_>) -> Option<Field<'a>> {
    let mut port = field.fields(report)?;
    let (by_name, by_number) = (port.take("name"), port.take("number"));
    if by_name.is_some() == by_number.is_some() {
        report.error(&port.at, "needs either a name or a number", "add one: `number: 80`");
    }
    port.finish(report);
    by_number.or(by_name)
}

fn read_service_name<'a>(field: &Field<'a>, report: &mut Report<'_>) -> Option<&'a str> {
    let service = field.text(report)?;
    // It may also be the name of a registered service, which is not as narrow as that of a document.
    let blank = |it: char| it.is_whitespace() || it.is_control() || it == '/';
    if service.is_empty() || service.contains(blank) {
        let remedy = "name a Service of the same namespace, or a registered service";
        report.error(&field.at, format!("`{service}` is not a name of a service"), remedy);
        return None;
    }
    Some(service)
}

fn read_tls(item: &Field<'_>, report: &mut Report<'_>) -> Option<IngressTls> {
    let mut fields = item.fields(report)?;
    let mut tls = IngressTls::default();
    for field in fields.items("hosts", report) {
        tls.hosts.extend(host(&field, report));
    }
    let secret = fields.take("secretName");
    fields.finish(report);
    let Some(secret) = secret else {
        let message = "there is no default certificate: these hosts are not served on HTTPS";
        report.ignored(&item.at.missing("secretName"), message, "name a TLS secret");
        return None;
    };
    tls.secret = secret.text(report)?.to_owned();
    if !is_subdomain(&tls.secret) {
        let message = format!("`{}` is not a name of a secret", tls.secret);
        report.error(&secret.at, message, "use a-z, 0-9, `-` and `.`");
    }
    Some(tls)
}
