//! What listeners and routes ask for beside sending requests on, made ready; one for all workers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Version};
use proxy_config::{HttpListener, ServerHeader};
use traffic::{Router, via_entry};

use crate::filters::FilterSet;

/// What the HTTP side of a filter chain asks for.
#[derive(Debug)]
pub(crate) struct HttpRules {
    pub(crate) filters: Option<FilterSet>,
    pub(crate) via: Option<Via>,
    /// `None` when nothing is done to every response.
    pub(crate) response: Option<ResponseRules>,
    /// `None` when no request is limited as a whole.
    pub(crate) limits: Option<StreamLimits>,
}

/// What is done to the head of every response.
#[derive(Debug)]
pub(crate) struct ResponseRules {
    pub(crate) server: Option<ServerName>,
    pub(crate) request_id: bool,
}

/// What the `server` header says.
#[derive(Debug)]
pub(crate) struct ServerName {
    pub(crate) name: HeaderValue,
    pub(crate) is_overwritten: bool,
}

/// Limits of requests as a whole; zero means none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamLimits {
    /// To the end of the request.
    pub(crate) request: Duration,
    /// To the end of the response.
    pub(crate) duration: Duration,
}

/// What is added to `via`, by the version of HTTP that came in.
#[derive(Debug)]
pub(crate) struct Via {
    http10: HeaderValue,
    http11: HeaderValue,
    http2: HeaderValue,
}

impl Via {
    fn new(name: &str) -> Option<Self> {
        if name.is_empty() {
            return None;
        }
        Some(Self {
            http10: via_entry(Version::HTTP_10, name)?,
            http11: via_entry(Version::HTTP_11, name)?,
            http2: via_entry(Version::HTTP_2, name)?,
        })
    }

    pub(crate) fn of(&self, version: Version) -> &HeaderValue {
        match version {
            Version::HTTP_10 => &self.http10,
            Version::HTTP_2 => &self.http2,
            _ => &self.http11,
        }
    }
}

impl HttpRules {
    /// What cannot be done is left out and added to `problems`.
    pub(crate) fn new(
        http: &HttpListener,
        previous: Option<&HttpRules>,
        now_ns: u64,
        problems: &mut Vec<String>,
    ) -> Self {
        let mut value = |text: &str, what: &str| {
            let made = HeaderValue::from_str(text);
            made.map_err(|_| problems.push(format!("{what} {text:?} is not a header value"))).ok()
        };
        let server = match &http.server_header {
            ServerHeader::PassThrough => None,
            ServerHeader::Overwrite(name) => {
                value(name, "server").map(|name| ServerName { name, is_overwritten: true })
            }
            ServerHeader::AppendIfAbsent(name) => {
                value(name, "server").map(|name| ServerName { name, is_overwritten: false })
            }
        };
        let via = Via::new(&http.via);
        if via.is_none() && !http.via.is_empty() {
            problems.push(format!("via {:?} is not a header value", http.via));
        }
        let request_id = http.request_id.in_response;
        let limits =
            StreamLimits { request: http.request_timeout, duration: http.stream_duration_max };
        let kept = previous.and_then(|it| it.filters.as_ref());
        Self {
            filters: FilterSet::new(&http.filters, kept, now_ns, problems),
            response: (server.is_some() || request_id || via.is_some())
                .then_some(ResponseRules { server, request_id }),
            via,
            limits: (!limits.request.is_zero() || !limits.duration.is_zero()).then_some(limits),
        }
    }
}

/// What the routes of a table ask for, in the order of the router's routes; `None` for a route that asks for nothing.
pub(crate) type TableRules = Vec<Option<Box<RouteRules>>>;

/// What a route asks for beside sending requests on.
#[derive(Debug)]
pub(crate) struct RouteRules {
    pub(crate) filters: Option<FilterSet>,
    pub(crate) edits_request: bool,
    pub(crate) edits_response: bool,
    /// Request headers that changes of the response are made of.
    pub(crate) request_headers: Vec<HeaderName>,
}

/// Makes the rules of a table. What is known of requests is taken from the table before, where a route of the same name
/// in a virtual host of the same name has the same settings.
pub(crate) fn table_rules(
    router: &Router,
    previous: Option<(&Router, &TableRules)>,
    now_ns: u64,
    problems: &mut Vec<String>,
) -> TableRules {
    let mut before = HashMap::new();
    if let Some((router, rules)) = previous {
        for (at, route) in router.routes().iter().enumerate() {
            if let Some(filters) = rules[at].as_ref().and_then(|it| it.filters.as_ref()) {
                before.entry((router.virtual_host_name(at), &*route.name)).or_insert(filters);
            }
        }
    }
    let made = router.routes().iter().zip(router.plans()).enumerate().map(|(at, (route, plan))| {
        let name = (router.virtual_host_name(at), &*route.name);
        let mut own_problems = Vec::new();
        let kept = before.get(&name).copied();
        let filters = FilterSet::new(&route.filters, kept, now_ns, &mut own_problems);
        problems.extend(
            own_problems
                .into_iter()
                .map(|why| format!("virtual host {}, route {}: {why}", name.0, name.1)),
        );
        let edits_request = !plan.request_headers.is_empty();
        let edits_response = !plan.response_headers.is_empty();
        if filters.is_none() && !edits_request && !edits_response {
            return None;
        }
        let request_headers = plan.response_headers.request_headers().cloned().collect();
        Some(Box::new(RouteRules { filters, edits_request, edits_response, request_headers }))
    });
    made.collect()
}

/// Rules of tables, shared.
pub(crate) type SharedRules = Arc<TableRules>;
