//! What the path and the host of a request become.

use std::borrow::Cow;

use http::HeaderName;
use proxy_config::{HostRewrite, PathMatch, PathRewrite};

use crate::matching::{Fields, Replacement, RequestView};
use crate::template::{TemplateRewrite, UriTemplate};

/// A change of paths, made ready for the paths that one route matches.
#[derive(Clone, Debug, Default)]
pub struct PathRewriter(Kind);

#[derive(Clone, Debug, Default)]
enum Kind {
    #[default]
    Keep,
    Whole {
        path: String,
        query: Option<String>,
    },
    /// So many bytes at the beginning are replaced.
    Bytes(usize, String),
    /// So many bytes at the beginning, which are whole segments.
    Segments(usize, String),
    Regex(Replacement),
    Template(TemplateRewrite),
}

impl PathRewriter {
    /// Makes a change ready for a route with this condition on the path.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(rewrite: &PathRewrite, condition: &PathMatch) -> Result<PathRewriter, String> {
        Ok(PathRewriter(match rewrite {
            PathRewrite::Keep => Kind::Keep,
            PathRewrite::Whole(target) => {
                check_literal(target)?;
                match target.split_once('?') {
                    Some((path, query)) => {
                        Kind::Whole { path: rooted(path.to_owned()), query: Some(query.to_owned()) }
                    }
                    None => Kind::Whole { path: rooted(target.clone()), query: None },
                }
            }
            PathRewrite::Prefix(with) => {
                check_literal(with)?;
                match condition {
                    PathMatch::Prefix(prefix) => Kind::Bytes(prefix.len(), with.clone()),
                    PathMatch::PathPrefix(prefix) => {
                        let segments = prefix.strip_suffix('/').unwrap_or(prefix);
                        Kind::Segments(
                            segments.len(),
                            with.strip_suffix('/').unwrap_or(with).to_owned(),
                        )
                    }
                    // The condition matched the whole path.
                    PathMatch::Exact(_) | PathMatch::Regex(_) | PathMatch::Template(_) => {
                        Kind::Whole { path: rooted(with.clone()), query: None }
                    }
                }
            }
            PathRewrite::Regex { pattern, substitution } => {
                Kind::Regex(Replacement::new(pattern, substitution)?)
            }
            PathRewrite::Template(rewrite) => match condition {
                PathMatch::Template(template) => {
                    Kind::Template(TemplateRewrite::new(&UriTemplate::new(template)?, rewrite)?)
                }
                _ => {
                    return Err(format!(
                        "the rewrite {rewrite:?} needs a route whose path is a template"
                    ));
                }
            },
        }))
    }

    /// Whether paths stay as they are.
    #[must_use]
    pub fn is_keep(&self) -> bool {
        matches!(self.0, Kind::Keep)
    }

    /// The new path and query (`/new?a=b`) of a request that the route has matched; `None` when
    /// nothing changes.
    #[must_use]
    pub fn target(&self, path: &str, query: Option<&str>) -> Option<String> {
        let (mut target, own_query) = self.path(path)?;
        if let Some(query) = own_query.or(query) {
            target.push('?');
            target.push_str(query);
        }
        Some(target)
    }

    /// The new path, and the query that comes with it.
    pub(crate) fn path(&self, path: &str) -> Option<(String, Option<&str>)> {
        Some(match &self.0 {
            Kind::Keep => return None,
            Kind::Whole { path, query } => (path.clone(), query.as_deref()),
            Kind::Bytes(length, with) => (rooted(format!("{with}{}", path.get(*length..)?)), None),
            // Gateway API: `/foo` to `/` makes `/foo/bar` into `/bar` and `/foo` into `/`.
            Kind::Segments(length, with) => {
                (rooted(format!("{with}{}", path.get(*length..)?)), None)
            }
            Kind::Regex(replacement) => match replacement.apply(path) {
                Cow::Borrowed(_) => return None,
                Cow::Owned(new) => (rooted(new), None),
            },
            Kind::Template(rewrite) => (rewrite.apply(path)?, None),
        })
    }
}

/// A path begins with a slash (RFC 9112, section 3.2.1).
fn rooted(path: String) -> String {
    if path.starts_with('/') { path } else { format!("/{path}") }
}

/// What is put into a request line must not end it.
fn check_literal(text: &str) -> Result<(), String> {
    match text.chars().find(|it| !it.is_ascii_graphic()) {
        Some(char) => Err(format!("the path {text:?} has {char:?}, which must be percent-encoded")),
        None => Ok(()),
    }
}

/// A change of hosts.
#[derive(Clone, Debug, Default)]
pub struct HostRewriter(HostKind);

#[derive(Clone, Debug, Default)]
enum HostKind {
    #[default]
    Keep,
    Literal(String),
    Endpoint,
    Header(HeaderName),
    PathRegex(Replacement),
}

/// What becomes of a host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NewHost<'a> {
    /// It stays.
    Keep,
    /// The host name of the endpoint that is picked.
    Endpoint,
    /// This; not checked to be a host.
    To(Cow<'a, str>),
}

impl HostRewriter {
    /// Makes a change ready.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(rewrite: &HostRewrite) -> Result<HostRewriter, String> {
        Ok(HostRewriter(match rewrite {
            HostRewrite::Keep => HostKind::Keep,
            HostRewrite::Literal(host) => {
                if host.is_empty() || !host.bytes().all(|it| it.is_ascii_graphic()) {
                    return Err(format!("{host:?} is not a host"));
                }
                HostKind::Literal(host.clone())
            }
            HostRewrite::Endpoint => HostKind::Endpoint,
            HostRewrite::Header(name) => HostKind::Header(
                HeaderName::from_bytes(name.as_bytes())
                    .map_err(|_| format!("{name:?} is not the name of a header"))?,
            ),
            HostRewrite::PathRegex { pattern, substitution } => {
                HostKind::PathRegex(Replacement::new(pattern, substitution)?)
            }
        }))
    }

    /// What becomes of the host of a request.
    #[must_use]
    pub fn host<'a, F: Fields>(&'a self, request: &RequestView<'a, F>) -> NewHost<'a> {
        match &self.0 {
            HostKind::Keep => NewHost::Keep,
            HostKind::Literal(host) => NewHost::To(Cow::Borrowed(host)),
            HostKind::Endpoint => NewHost::Endpoint,
            HostKind::Header(name) => {
                let value = request.fields.all(name).next();
                match value.and_then(|it| std::str::from_utf8(it).ok()) {
                    Some(host) if !host.is_empty() => NewHost::To(Cow::Borrowed(host)),
                    Some(_) | None => NewHost::Keep,
                }
            }
            HostKind::PathRegex(replacement) => NewHost::To(replacement.apply(request.path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use codec::message::HeaderMap;
    use http::HeaderValue;
    use proxy_config::{HostRewrite, PathMatch, PathRewrite};

    use super::{HostRewriter, NewHost, PathRewriter};
    use crate::matching::RequestView;

    fn target(rewrite: PathRewrite, condition: PathMatch, path: &str) -> Option<String> {
        PathRewriter::new(&rewrite, &condition).unwrap().target(path, None)
    }

    #[test]
    fn whole_segments_are_replaced_as_gateway_api_says() {
        for (path, prefix, with, expected) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/foo/bar", "/", "/xyz", "/xyz/foo/bar"),
        ] {
            let rewrite = PathRewrite::Prefix(with.to_owned());
            let condition = PathMatch::PathPrefix(prefix.to_owned());
            let new = target(rewrite, condition, path);
            assert_eq!(new.as_deref(), Some(expected), "{path} under {prefix} to {with}");
        }
    }

    #[test]
    fn a_prefix_of_bytes_is_replaced_as_it_stands() {
        let check = |prefix: &str, with: &str, path: &str, expected: &str| {
            let condition = PathMatch::Prefix(prefix.to_owned());
            let new = target(PathRewrite::Prefix(with.to_owned()), condition, path);
            assert_eq!(new.as_deref(), Some(expected));
        };
        check("/api/", "/", "/api/v1", "/v1");
        check("/api", "/", "/api/v1", "//v1");
        check("/a", "", "/ab", "/b");
        let exact = PathMatch::Exact("/a".to_owned());
        let new = target(PathRewrite::Prefix("/b".to_owned()), exact, "/a");
        assert_eq!(new.as_deref(), Some("/b"));
    }

    #[test]
    fn a_query_stays_unless_the_new_path_brings_its_own() {
        let any = PathMatch::Prefix("/".to_owned());
        let new = |path: &str| {
            PathRewriter::new(&PathRewrite::Whole(path.to_owned()), &any)
                .unwrap()
                .target("/old", Some("a=b"))
        };
        assert_eq!(new("/new").as_deref(), Some("/new?a=b"));
        assert_eq!(new("/new?c=d").as_deref(), Some("/new?c=d"));
        assert_eq!(new("/new?").as_deref(), Some("/new?"));
        assert_eq!(PathRewriter::default().target("/old", Some("a=b")), None);
    }

    #[test]
    fn every_match_of_a_regular_expression_is_replaced() {
        let check = |pattern: &str, substitution: &str, path: &str, expected: Option<&str>| {
            let rewrite = PathRewrite::Regex {
                pattern: pattern.to_owned(),
                substitution: substitution.to_owned(),
            };
            let any = PathMatch::Prefix("/".to_owned());
            assert_eq!(target(rewrite, any, path).as_deref(), expected, "{pattern} {path}");
        };
        check(
            "^/service/([^/]+)(/.*)$",
            r"\2/instance/\1",
            "/service/foo/v1/api",
            Some("/v1/api/instance/foo"),
        );
        check("one", "two", "/xxx/one/yyy/one/zzz", Some("/xxx/two/yyy/two/zzz"));
        check("^(.*?)one(.*)$", r"\1two\2", "/xxx/one/yyy/one", Some("/xxx/two/yyy/one"));
        check("(?i)/xxx/", "/yyy/", "/aaa/XxX/bbb", Some("/aaa/yyy/bbb"));
        check("one", r"\\\0", "/one", Some(r"/\one"));
        check("one", "two", "/three", None);
        check("^/", "", "/a", Some("/a"));
        check(".", "", "/é", Some("/"));
        check("\u{c3}|\\xc3", "", "/é", Some("/%A9"));
    }

    #[test]
    fn a_rewrite_that_is_not_one_is_refused() {
        let any = PathMatch::Prefix("/".to_owned());
        let error = |rewrite: PathRewrite| PathRewriter::new(&rewrite, &any).unwrap_err();
        let regex = |pattern: &str, substitution: &str| PathRewrite::Regex {
            pattern: pattern.to_owned(),
            substitution: substitution.to_owned(),
        };
        assert!(error(regex("(", "")).contains("not valid"));
        assert!(error(regex("a", r"\1")).contains("names group 1"));
        assert!(error(regex("a", r"\x")).contains("backslash"));
        assert!(error(PathRewrite::Whole("/a b".to_owned())).contains("percent-encoded"));
        assert!(error(PathRewrite::Template("/a".to_owned())).contains("needs a route"));
    }

    #[test]
    fn a_host_is_taken_from_where_the_route_says() {
        let mut headers = HeaderMap::new();
        headers.insert("x-host", HeaderValue::from_static("b.example"));
        let request = RequestView {
            method: "GET",
            path: "/tenants/c.example/x",
            query: None,
            host: "a.example",
            is_tls: false,
            fields: &headers,
            random: 0,
        };
        let check = |rewrite: HostRewrite, expected: NewHost<'_>| {
            assert_eq!(HostRewriter::new(&rewrite).unwrap().host(&request), expected);
        };
        let to = |host: &'static str| NewHost::To(Cow::Borrowed(host));
        check(HostRewrite::Keep, NewHost::Keep);
        check(HostRewrite::Endpoint, NewHost::Endpoint);
        check(HostRewrite::Literal("d.example:80".to_owned()), to("d.example:80"));
        check(HostRewrite::Header("x-host".to_owned()), to("b.example"));
        check(HostRewrite::Header("x-other".to_owned()), NewHost::Keep);
        let (pattern, substitution) = ("^/tenants/([^/]+)/.*$".to_owned(), r"\1".to_owned());
        check(HostRewrite::PathRegex { pattern, substitution }, to("c.example"));
        assert!(HostRewriter::new(&HostRewrite::Literal("a b".to_owned())).is_err());
    }
}
