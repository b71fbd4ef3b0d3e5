//! Where a client is sent.

use proxy_config::{PathMatch, Redirect};

use crate::host::{port, without_port};
use crate::rewrite::PathRewriter;

/// A redirect, made ready for the requests that one route matches.
#[derive(Clone, Debug)]
pub struct Redirector {
    status: u16,
    scheme: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    path: PathRewriter,
    strip_query: bool,
}

impl Redirector {
    /// Makes a redirect ready for a route with this condition on the path.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(redirect: &Redirect, condition: &PathMatch) -> Result<Redirector, String> {
        if !matches!(redirect.status, 301 | 302 | 303 | 307 | 308) {
            return Err(format!("{} is not the status of a redirect", redirect.status));
        }
        if let Some(scheme) = &redirect.scheme
            && !(scheme.starts_with(|it: char| it.is_ascii_alphabetic())
                && scheme.chars().all(|it| it.is_ascii_alphanumeric() || "+-.".contains(it)))
        {
            return Err(format!("{scheme:?} is not a scheme"));
        }
        if let Some(host) = &redirect.host
            && (host.is_empty() || !host.bytes().all(|it| it.is_ascii_graphic() && it != b'/'))
        {
            return Err(format!("{host:?} is not a host"));
        }
        Ok(Redirector {
            status: redirect.status,
            scheme: redirect.scheme.as_deref().map(str::to_ascii_lowercase),
            host: redirect.host.clone(),
            port: redirect.port,
            path: PathRewriter::new(&redirect.path, condition)?,
            strip_query: redirect.strip_query,
        })
    }

    /// What a virtual host that requires TLS answers.
    #[must_use]
    pub fn to_https() -> Redirector {
        Redirector {
            status: 301,
            scheme: Some("https".to_owned()),
            host: None,
            port: None,
            path: PathRewriter::default(),
            strip_query: false,
        }
    }

    /// Status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The value of `location`, an absolute URI. `host` is as in the request; it may hold bytes
    /// that no header value may, which the caller finds out.
    #[must_use]
    pub fn location(&self, is_tls: bool, host: &str, path: &str, query: Option<&str>) -> String {
        let own_scheme = if is_tls { "https" } else { "http" };
        let scheme = self.scheme.as_deref().unwrap_or(own_scheme);
        let mut location = format!("{scheme}://");
        match (&self.host, self.port) {
            (Some(host), None) => location.push_str(host),
            (Some(host), Some(_)) => location.push_str(without_port(host)),
            (None, Some(_)) => location.push_str(without_port(host)),
            // As Envoy does it: the port of the old scheme would be wrong, any other may be meant.
            (None, None) if scheme != own_scheme && port(host) == default_port(own_scheme) => {
                location.push_str(without_port(host));
            }
            (None, None) => location.push_str(host),
        }
        if let Some(port) = self.port
            && Some(port) != default_port(scheme)
        {
            location.push_str(&format!(":{port}"));
        }
        let (rewritten, own_query) = match self.path.path(path) {
            Some((rewritten, query)) => (Some(rewritten), query),
            None => (None, None),
        };
        // A fragment comes last, also after the request's query.
        let path = rewritten.as_deref().unwrap_or(path);
        let (path, fragment) = match path.split_once('#') {
            Some((path, fragment)) => (path, Some(fragment)),
            None => (path, None),
        };
        location.push_str(path);
        let query = own_query.or(if self.strip_query { None } else { query });
        if let Some(query) = query {
            location.push('?');
            location.push_str(query);
        }
        if let Some(fragment) = fragment {
            location.push('#');
            location.push_str(fragment);
        }
        location
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proxy_config::{PathMatch, PathRewrite, Redirect};

    use super::Redirector;

    const NOTHING: Redirect = Redirect {
        status: 302,
        scheme: None,
        host: None,
        port: None,
        path: PathRewrite::Keep,
        strip_query: false,
    };

    /// A request to `http://HOST/old/a?x=1` on a route of the prefix `/old`.
    fn check(redirect: Redirect, host: &str, expected: &str) {
        let condition = PathMatch::PathPrefix("/old".to_owned());
        let redirector = Redirector::new(&redirect, &condition).unwrap();
        assert_eq!(redirector.location(false, host, "/old/a", Some("x=1")), expected);
    }

    fn https(port: Option<u16>) -> Redirect {
        Redirect { scheme: Some("https".to_owned()), port, ..NOTHING }
    }

    #[test]
    fn a_port_is_kept_unless_it_is_that_of_the_old_scheme() {
        check(NOTHING, "a.example:8080", "http://a.example:8080/old/a?x=1");
        check(https(None), "a.example", "https://a.example/old/a?x=1");
        check(https(None), "a.example:80", "https://a.example/old/a?x=1");
        check(https(None), "a.example:8080", "https://a.example:8080/old/a?x=1");
        check(https(None), "[::1]:8080", "https://[::1]:8080/old/a?x=1");
        check(https(None), "[::1]:80", "https://[::1]/old/a?x=1");
        check(https(Some(443)), "a.example:8080", "https://a.example/old/a?x=1");
        check(https(Some(8443)), "a.example:8080", "https://a.example:8443/old/a?x=1");
        let port = |port| Redirect { port: Some(port), ..NOTHING };
        check(port(8081), "a.example:8080", "http://a.example:8081/old/a?x=1");
        check(port(80), "a.example:8080", "http://a.example/old/a?x=1");
        let http = Redirect { scheme: Some("HTTP".to_owned()), ..NOTHING };
        check(http, "a.example:8080", "http://a.example:8080/old/a?x=1");
    }

    #[test]
    fn another_host_does_not_keep_the_port() {
        let host = |host: &str| Redirect { host: Some(host.to_owned()), ..NOTHING };
        check(host("b.example"), "a.example:8080", "http://b.example/old/a?x=1");
        check(host("b.example:81"), "a.example:8080", "http://b.example:81/old/a?x=1");
        let both = Redirect { port: Some(82), ..host("b.example:81") };
        check(both, "a.example", "http://b.example:82/old/a?x=1");
    }

    #[test]
    fn paths_are_replaced_and_queries_kept_or_left_out() {
        let whole = |path: &str| Redirect { path: PathRewrite::Whole(path.to_owned()), ..NOTHING };
        check(whole("/new"), "a", "http://a/new?x=1");
        check(whole("/new?y=2"), "a", "http://a/new?y=2");
        check(whole("/new#top"), "a", "http://a/new?x=1#top");
        check(Redirect { strip_query: true, ..NOTHING }, "a", "http://a/old/a");
        check(Redirect { strip_query: true, ..whole("/new?y=2") }, "a", "http://a/new?y=2");
        let prefix = Redirect { path: PathRewrite::Prefix("/new".to_owned()), ..NOTHING };
        check(prefix, "a", "http://a/new/a?x=1");
    }

    #[test]
    fn a_virtual_host_that_requires_tls_redirects_to_it() {
        let redirector = Redirector::to_https();
        assert_eq!(redirector.status(), 301);
        assert_eq!(redirector.location(false, "a:80", "/b", None), "https://a/b");
    }

    #[test]
    fn a_redirect_that_is_not_one_is_refused() {
        let any = PathMatch::Prefix("/".to_owned());
        let error = |redirect: Redirect| Redirector::new(&redirect, &any).unwrap_err();
        assert!(error(Redirect { status: 200, ..NOTHING }).contains("200"));
        assert!(error(Redirect { scheme: Some("a:".to_owned()), ..NOTHING }).contains("scheme"));
        assert!(error(Redirect { host: Some("a/b".to_owned()), ..NOTHING }).contains("host"));
    }
}
