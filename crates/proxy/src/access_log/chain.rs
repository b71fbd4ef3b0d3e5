//! The access logs of one filter chain.

use std::cell::RefCell;
use std::sync::Arc;

use http::HeaderName;
use proxy_config::{FilterChain, ListenerProtocol, LogFilter, LogFormat};
use traffic::{Facts, LineFormat, LogCondition};

use super::{Sink, Sinks, Target};
use crate::error::ProxyError;

/// The access logs of one filter chain; usually none.
#[derive(Debug, Default)]
pub(crate) struct ChainLogs {
    logs: Vec<Log>,
    /// Request headers that lines or conditions are made of, each once.
    request_headers: Vec<HeaderName>,
}

#[derive(Debug)]
struct Log {
    sink: Arc<Sink>,
    format: LineFormat,
    condition: Option<LogCondition>,
}

impl ChainLogs {
    /// A log that cannot be written as it is said is left out, and why is added to `errors`.
    pub(crate) fn new(chain: &FilterChain, sinks: &Sinks, errors: &mut Vec<ProxyError>) -> Self {
        let own = match &chain.protocol {
            ListenerProtocol::Http(http) => &http.access_logs,
            ListenerProtocol::Tcp(tcp) => &tcp.access_logs,
        };
        let default = LogFormat::Default;
        let everywhere = sinks.default.as_ref().map(|it| (it.clone(), &default, None));
        let own = own.iter().map(|it| (Target::of(&it.sink), &it.format, it.filter.as_ref()));
        let mut made = Self::default();
        for (target, format, filter) in everywhere.into_iter().chain(own) {
            match Log::new(&target, format, filter, sinks) {
                Ok(log) => made.add(log, filter),
                Err(why) => errors.push(ProxyError::AccessLogOf {
                    chain: chain.name.clone(),
                    target: target.to_string(),
                    why,
                }),
            }
        }
        made
    }

    fn add(&mut self, log: Log, filter: Option<&LogFilter>) {
        let mut names: Vec<HeaderName> =
            log.format.request_headers().into_iter().cloned().collect();
        if let Some(filter) = filter {
            headers_of(filter, &mut names);
        }
        for name in names {
            if !self.request_headers.contains(&name) {
                self.request_headers.push(name);
            }
        }
        self.logs.push(log);
    }

    /// True when nothing is written, whatever happens.
    pub(crate) fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// Request headers that lines or conditions are made of.
    pub(crate) fn request_headers(&self) -> &[HeaderName] {
        &self.request_headers
    }

    /// Writes about a request or a connection that is over. `random` draws a number for each log.
    pub(crate) fn write(&self, facts: &impl Facts, mut random: impl FnMut() -> u32) {
        thread_local! {
            static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        for log in &self.logs {
            if log.condition.as_ref().is_some_and(|it| !it.holds(facts, random())) {
                continue;
            }
            LINE.with_borrow_mut(|line| {
                line.clear();
                log.format.write(facts, line);
                log.sink.append(line);
            });
        }
    }
}

impl Log {
    fn new(
        target: &Target,
        format: &LogFormat,
        filter: Option<&LogFilter>,
        sinks: &Sinks,
    ) -> Result<Self, String> {
        let format = LineFormat::new(format, false).map_err(|it| it.to_string())?;
        let condition = filter.map(LogCondition::new).transpose()?;
        let sink = sinks.open(target).map_err(|it| it.to_string())?;
        Ok(Self { sink, format, condition })
    }
}

fn headers_of(filter: &LogFilter, names: &mut Vec<HeaderName>) {
    match filter {
        // A pseudo-header is no name of a header, and kept in any case.
        LogFilter::Header(header) => names.extend(header.name.parse::<HeaderName>().ok()),
        LogFilter::And(filters) | LogFilter::Or(filters) => {
            filters.iter().for_each(|it| headers_of(it, names));
        }
        LogFilter::Status(..)
        | LogFilter::DurationMs(..)
        | LogFilter::ResponseFlags(_)
        | LogFilter::PerMillion(_)
        | LogFilter::GrpcStatus { .. } => {}
    }
}
