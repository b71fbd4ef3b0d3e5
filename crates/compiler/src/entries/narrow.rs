//! The routes of a service below a path of an Ingress: both conditions must hold.

use proxy_config::{HeaderMatch, PathMatch, PathRewrite, Pattern, Route, RouteAction, ValueMatch};

/// A route for those of its requests only whose path is `within`, which is a whole path or a prefix of whole segments.
/// `None` when there are none. What its own condition matches of a path is still what a rewrite replaces.
pub(crate) fn narrow(within: &PathMatch, mut route: Route) -> Option<Route> {
    if matches!(within, PathMatch::PathPrefix(it) if it == "/") {
        return Some(route);
    }
    let needs_both = route.conditions.ignore_path_case;
    match (within, &route.path) {
        (PathMatch::Exact(path), PathMatch::Exact(own)) if !needs_both => {
            return (path == own).then_some(route);
        }
        (PathMatch::PathPrefix(prefix), PathMatch::Exact(own)) if !needs_both => {
            return is_under(own, prefix).then_some(route);
        }
        (PathMatch::Exact(path), PathMatch::Prefix(own)) if !needs_both => {
            let rest = path.strip_prefix(own.as_str())?;
            rewrite(&mut route.action, |with| PathRewrite::Whole(format!("{with}{rest}")));
            route.path = within.clone();
        }
        (PathMatch::PathPrefix(prefix), PathMatch::Prefix(own)) if !needs_both => {
            let Some(rest) = prefix.strip_prefix(own.as_str()) else {
                let is_deeper = own.len() > prefix.len() && is_under(own, prefix);
                return is_deeper.then_some(route);
            };
            rewrite(&mut route.action, |with| PathRewrite::Prefix(format!("{with}{rest}")));
            route.path = within.clone();
        }
        _ => route.conditions.headers.push(path_condition(within)?),
    }
    Some(route)
}

/// Whether a path is a prefix or below it. A prefix ends with no slash.
fn is_under(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn rewrite(action: &mut RouteAction, by: impl FnOnce(&str) -> PathRewrite) {
    let RouteAction::Forward(forward) = action else { return };
    if let PathRewrite::Prefix(with) = &forward.path {
        forward.path = by(with);
    }
}

/// A condition on the path beside that of a route: on `:path`, which has the query, too.
fn path_condition(within: &PathMatch) -> Option<HeaderMatch> {
    let pattern = match within {
        PathMatch::Exact(path) => format!(r"{}(?:\?.*)?", escape(path)),
        PathMatch::PathPrefix(prefix) => format!(r"{}(?:[/?].*)?", escape(prefix)),
        PathMatch::Prefix(_) | PathMatch::Regex(_) | PathMatch::Template(_) => return None,
    };
    Some(HeaderMatch {
        name: ":path".to_owned(),
        value: ValueMatch { pattern: Pattern::Regex(pattern), ignore_case: false },
        invert: false,
        missing_as_empty: false,
    })
}

/// A regular expression that matches this text only.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(char) {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    escaped
}
