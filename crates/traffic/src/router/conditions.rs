//! Conditions of a route beyond its path, made ready.

use proxy_config::{Conditions, Pattern, ValueMatch};

use crate::matching::{Fields, HeaderCondition, QueryCondition, RequestView};

/// Conditions of a route, cheap ones first.
#[derive(Debug)]
pub(super) struct RouteConditions {
    methods: Vec<String>,
    grpc: bool,
    connect: bool,
    per_million: Option<u32>,
    query: Vec<QueryCondition>,
    headers: Vec<HeaderCondition>,
}

/// The condition that does not hold; the numbers are positions in [`Conditions`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mismatch {
    Method,
    Grpc,
    Connect,
    Share,
    Query(usize),
    Header(usize),
}

impl RouteConditions {
    /// `None` when there are none.
    pub(super) fn new(conditions: &Conditions) -> Result<Option<RouteConditions>, String> {
        let ignore_path_case = conditions.ignore_path_case;
        if *conditions == (Conditions { ignore_path_case, ..Conditions::default() }) {
            return Ok(None);
        }
        let (query, headers) = (conditions.query.iter(), conditions.headers.iter());
        Ok(Some(RouteConditions {
            methods: conditions.methods.clone(),
            grpc: conditions.grpc,
            connect: conditions.connect,
            per_million: conditions.per_million,
            query: query.map(QueryCondition::new).collect::<Result<_, _>>()?,
            headers: headers.map(HeaderCondition::new).collect::<Result<_, _>>()?,
        }))
    }

    /// The first condition that does not hold.
    pub(super) fn mismatch<F: Fields>(&self, request: &RequestView<'_, F>) -> Option<Mismatch> {
        if !self.methods.is_empty() && !self.methods.iter().any(|it| it == request.method) {
            return Some(Mismatch::Method);
        }
        if self.connect && request.method != "CONNECT" {
            return Some(Mismatch::Connect);
        }
        if self.per_million.is_some_and(|share| request.random % 1_000_000 >= share) {
            return Some(Mismatch::Share);
        }
        if self.grpc && !request.is_grpc() {
            return Some(Mismatch::Grpc);
        }
        if let Some(idx) = self.query.iter().position(|it| !it.holds(request.query)) {
            return Some(Mismatch::Query(idx));
        }
        self.headers.iter().position(|it| !it.holds(request)).map(Mismatch::Header)
    }
}

impl Mismatch {
    /// In words.
    pub(super) fn words(self, conditions: &Conditions) -> String {
        match self {
            Mismatch::Method => "the method is another one".to_owned(),
            Mismatch::Grpc => "the request is not gRPC".to_owned(),
            Mismatch::Connect => "the request is not a CONNECT".to_owned(),
            Mismatch::Share => "the request is not in this share".to_owned(),
            Mismatch::Query(idx) => {
                format!("the query parameter {} is not so", conditions.query[idx].name)
            }
            Mismatch::Header(idx) => {
                format!("the header {} is not so", conditions.headers[idx].name)
            }
        }
    }
}

/// Conditions in words, each with a comma before it.
pub(super) fn words(conditions: &Conditions) -> String {
    let mut words = Vec::new();
    if conditions.ignore_path_case {
        words.push("in any case".to_owned());
    }
    if !conditions.methods.is_empty() {
        words.push(format!("method {}", conditions.methods.join(" or ")));
    }
    for header in &conditions.headers {
        let not = if header.invert { "not " } else { "" };
        words.push(format!("{not}header {} {}", header.name, value(&header.value)));
    }
    for query in &conditions.query {
        words.push(format!("query {} {}", query.name, value(&query.value)));
    }
    if conditions.grpc {
        words.push("gRPC".to_owned());
    }
    if conditions.connect {
        words.push("CONNECT".to_owned());
    }
    if let Some(share) = conditions.per_million {
        words.push(format!("{share} of a million"));
    }
    words.into_iter().map(|it| format!(", {it}")).collect()
}

fn value(value: &ValueMatch) -> String {
    let words = match &value.pattern {
        Pattern::Present => "is there".to_owned(),
        Pattern::Exact(text) => format!("= {text}"),
        Pattern::Prefix(text) => format!("starts with {text}"),
        Pattern::Suffix(text) => format!("ends with {text}"),
        Pattern::Contains(text) => format!("contains {text}"),
        Pattern::Regex(pattern) => format!("matches {pattern}"),
        Pattern::Range { start, end } => format!("is in {start}..{end}"),
    };
    if value.ignore_case { format!("{words} in any case") } else { words }
}
