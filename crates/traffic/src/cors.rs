//! Which pages of other origins may ask, as Envoy's filter decides (the Fetch standard, section
//! 3.3).

use codec::message::HeaderMap;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderName, HeaderValue};
use proxy_config::{Cors, Pattern};

use crate::matching::{Fields, TextMatch};

/// Rules for requests of other origins, made ready.
#[derive(Clone, Debug)]
pub struct CorsPolicy {
    /// Any origin.
    any: bool,
    origins: Vec<TextMatch>,
    allow_methods: Option<HeaderValue>,
    allow_headers: Option<HeaderValue>,
    expose_headers: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
    allow_credentials: bool,
    forward_not_matching_preflights: bool,
}

/// What is to be done with a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CorsDecision {
    /// It goes on; its response is given what the grant says, with [`CorsPolicy::grant`].
    Forward(CorsGrant),
    /// It is answered at once, with 200, these headers and no body.
    Answer(HeaderMap),
}

/// What is added to a response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CorsGrant {
    /// Nothing: no page of another origin asks.
    Nothing,
    /// That responses differ by origin.
    Vary,
    /// That this origin may read it.
    Origin(HeaderValue),
}

impl CorsPolicy {
    /// Makes rules ready. An origin or a header that is none is left out, and what is wrong with it
    /// is in the second part.
    #[must_use]
    pub fn new(cors: &Cors) -> (CorsPolicy, Vec<String>) {
        let mut problems = Vec::new();
        let mut origins = Vec::new();
        for origin in &cors.allow_origins {
            match TextMatch::new(origin) {
                Ok(origin) => origins.push(origin),
                Err(why) => problems.push(format!("cors: {why}")),
            }
        }
        let mut value = |text: &str, name: &HeaderName| {
            if text.is_empty() {
                return None;
            }
            HeaderValue::from_str(text)
                .inspect_err(|_| {
                    problems.push(format!("cors: {text:?} cannot be the value of {name}"));
                })
                .ok()
        };
        let policy = CorsPolicy {
            any: cors.allow_origins.iter().any(|it| it.pattern == Pattern::Exact("*".to_owned())),
            origins,
            allow_methods: value(&cors.allow_methods, &ACCESS_CONTROL_ALLOW_METHODS),
            allow_headers: value(&cors.allow_headers, &ACCESS_CONTROL_ALLOW_HEADERS),
            expose_headers: value(&cors.expose_headers, &ACCESS_CONTROL_EXPOSE_HEADERS),
            max_age: value(&cors.max_age, &ACCESS_CONTROL_MAX_AGE),
            allow_credentials: cors.allow_credentials,
            forward_not_matching_preflights: cors.forward_not_matching_preflights,
        };
        (policy, problems)
    }

    /// What is to be done with a request.
    #[must_use]
    pub fn decide(&self, method: &str, fields: &impl Fields) -> CorsDecision {
        let origin = match fields.all(&ORIGIN).next() {
            None | Some(b"") => return CorsDecision::Forward(CorsGrant::Nothing),
            Some(origin) => origin,
        };
        let is_allowed = self.any || self.origins.iter().any(|it| it.matches(origin));
        // What came as a value is one.
        let allowed = if is_allowed { HeaderValue::from_bytes(origin).ok() } else { None };
        let asked = fields.all(&ACCESS_CONTROL_REQUEST_METHOD).next().unwrap_or_default();
        let is_preflight = method == "OPTIONS" && !asked.is_empty();
        match allowed {
            Some(origin) if is_preflight => {
                CorsDecision::Answer(self.preflight(origin, asked, fields))
            }
            Some(origin) => CorsDecision::Forward(CorsGrant::Origin(origin)),
            None if is_preflight && !self.forward_not_matching_preflights => {
                let mut headers = HeaderMap::new();
                headers.insert(VARY, HeaderValue::from_static("origin"));
                CorsDecision::Answer(headers)
            }
            None => CorsDecision::Forward(CorsGrant::Vary),
        }
    }

    /// Adds to a response what [`CorsPolicy::decide`] has granted, in place of what the endpoint
    /// says about it.
    pub fn grant(&self, grant: CorsGrant, headers: &mut HeaderMap) {
        match grant {
            CorsGrant::Nothing => {}
            CorsGrant::Vary => vary_by_origin(headers),
            CorsGrant::Origin(origin) => {
                self.allow(origin, headers);
                if let Some(value) = &self.expose_headers {
                    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, value);
                }
                vary_by_origin(headers);
            }
        }
    }

    fn allow(&self, origin: HeaderValue, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.allow_credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    fn preflight(&self, origin: HeaderValue, asked: &[u8], fields: &impl Fields) -> HeaderMap {
        let mut headers = HeaderMap::new();
        self.allow(origin, &mut headers);
        let asked_headers = fields.all(&ACCESS_CONTROL_REQUEST_HEADERS).next();
        let lists = [
            (ACCESS_CONTROL_ALLOW_METHODS, &self.allow_methods, Some(asked)),
            (ACCESS_CONTROL_ALLOW_HEADERS, &self.allow_headers, asked_headers),
        ];
        for (name, allowed, asked) in lists {
            // A `*` does not mean all where credentials are sent, so what was asked for is
            // repeated.
            let value = match allowed {
                Some(all) if all == "*" => asked.and_then(|it| HeaderValue::from_bytes(it).ok()),
                Some(list) => Some(list.clone()),
                None => None,
            };
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
        if let Some(value) = &self.max_age {
            headers.insert(ACCESS_CONTROL_MAX_AGE, value);
        }
        vary_by_origin(&mut headers);
        headers
    }
}

/// A cache must not give one origin's response to another.
fn vary_by_origin(headers: &mut HeaderMap) {
    let is_said = headers.get_all(VARY).any(|value| {
        let mut names = value.as_bytes().split(|it| *it == b',').map(<[u8]>::trim_ascii);
        names.any(|it| it == b"*" || it.eq_ignore_ascii_case(b"origin"))
    });
    if !is_said {
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
}

#[cfg(test)]
mod tests {
    use codec::message::HeaderMap;
    use http::{HeaderName, HeaderValue};
    use proxy_config::{Cors, Pattern, ValueMatch};

    use super::{CorsDecision, CorsGrant, CorsPolicy};

    fn cors() -> Cors {
        let suffix = Pattern::Suffix(".shop.example".to_owned());
        Cors {
            allow_origins: vec![
                ValueMatch::exact("https://a.example"),
                ValueMatch { pattern: suffix, ignore_case: false },
            ],
            allow_methods: "GET,POST".to_owned(),
            allow_headers: "content-type".to_owned(),
            expose_headers: "x-sum".to_owned(),
            max_age: "600".to_owned(),
            allow_credentials: true,
            forward_not_matching_preflights: false,
        }
    }

    fn policy(cors: &Cors) -> CorsPolicy {
        let (policy, problems) = CorsPolicy::new(cors);
        assert!(problems.is_empty(), "{problems:?}");
        policy
    }

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        lines.iter().map(line).collect()
    }

    fn answer(cors: &Cors, lines: &[(&'static str, &'static str)]) -> HeaderMap {
        match policy(cors).decide("OPTIONS", &map(lines)) {
            CorsDecision::Answer(headers) => headers,
            CorsDecision::Forward(grant) => panic!("forwarded with {grant:?}"),
        }
    }

    #[test]
    fn a_preflight_of_an_allowed_origin_is_answered() {
        let asked = [
            ("origin", "https://web.shop.example"),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "x-a, x-b"),
        ];
        let expected = [
            ("access-control-allow-origin", "https://web.shop.example"),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", "GET,POST"),
            ("access-control-allow-headers", "content-type"),
            ("access-control-max-age", "600"),
            ("vary", "origin"),
        ];
        assert_eq!(answer(&cors(), &asked), map(&expected));
        let all = Cors {
            allow_origins: vec![ValueMatch::exact("*")],
            allow_methods: "*".to_owned(),
            allow_headers: "*".to_owned(),
            ..Cors::default()
        };
        let expected = [
            ("access-control-allow-origin", "https://web.shop.example"),
            ("access-control-allow-methods", "PUT"),
            ("access-control-allow-headers", "x-a, x-b"),
            ("vary", "origin"),
        ];
        assert_eq!(answer(&all, &asked), map(&expected));
    }

    #[test]
    fn a_preflight_of_another_origin_is_answered_without_permission_or_sent_on() {
        let asked = [("origin", "https://evil.example"), ("access-control-request-method", "PUT")];
        assert_eq!(answer(&cors(), &asked), map(&[("vary", "origin")]));
        let forwarding = Cors { forward_not_matching_preflights: true, ..cors() };
        let decision = policy(&forwarding).decide("OPTIONS", &map(&asked));
        assert_eq!(decision, CorsDecision::Forward(CorsGrant::Vary));
    }

    #[test]
    fn a_response_to_an_allowed_origin_says_so() {
        let policy = policy(&cors());
        let fields = map(&[("origin", "https://a.example")]);
        let CorsDecision::Forward(grant) = policy.decide("GET", &fields) else { panic!() };
        let mut response = map(&[("access-control-allow-origin", "*"), ("vary", "accept")]);
        policy.grant(grant, &mut response);
        let mut expected = map(&[
            ("access-control-allow-origin", "https://a.example"),
            ("access-control-allow-credentials", "true"),
            ("access-control-expose-headers", "x-sum"),
            ("vary", "accept"),
        ]);
        expected.append("vary", HeaderValue::from_static("origin"));
        assert_eq!(response, expected);
    }

    #[test]
    fn other_requests_are_left_alone() {
        let policy = policy(&cors());
        let nothing = CorsDecision::Forward(CorsGrant::Nothing);
        assert_eq!(policy.decide("GET", &map(&[])), nothing);
        assert_eq!(policy.decide("OPTIONS", &map(&[("origin", "")])), nothing);
        // OPTIONS that asks for no method is no preflight.
        let decision = policy.decide("OPTIONS", &map(&[("origin", "https://a.example")]));
        assert!(matches!(decision, CorsDecision::Forward(CorsGrant::Origin(_))));
        let decision = policy.decide("GET", &map(&[("origin", "null")]));
        assert_eq!(decision, CorsDecision::Forward(CorsGrant::Vary));
        let mut response = map(&[("vary", "Accept, Origin")]);
        policy.grant(CorsGrant::Vary, &mut response);
        assert_eq!(response, map(&[("vary", "Accept, Origin")]));
    }

    #[test]
    fn what_cannot_be_said_is_reported() {
        let broken = ValueMatch { pattern: Pattern::Regex("(".to_owned()), ignore_case: false };
        let cors = Cors {
            allow_origins: vec![broken],
            allow_methods: "GET\n".to_owned(),
            ..Cors::default()
        };
        let (_, problems) = CorsPolicy::new(&cors);
        assert_eq!(problems.len(), 2, "{problems:?}");
    }
}
