//! `/leno/v1/workloads`, with its orders and logs, and `/leno/v1/rollouts`; and which of these paths and those of proxies is whose.

use std::path::PathBuf;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::{Door, TEXT, reply};
use crate::workloads::{Ask, WorkloadName, WorkloadReport};

const JSON: &str = "application/json";
/// Lines of a log that are shown when nobody says how many.
const LINES: usize = 100;
/// Most bytes of a log in one answer, for each copy.
const LOG_BYTES_MAX: u64 = 1 << 20;
/// Most bytes of an answer, over all copies.
const LOGS_BYTES_MAX: u64 = 8 << 20;
/// Logs of copies that live and of the release that failed last: with more, those of the failed ones are left out.
const LOGS_MAX: usize = 64;

/// What a copy wrote.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CopyLog {
    /// What the copy is registered as.
    pub id: String,
    /// What it wrote; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// Where the log ended then, to be given as `after` for what comes next.
    pub end: u64,
}

/// Parameters of a query.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn of(request: &Request<Bytes>) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let pairs = query.split('&').map(|it| it.split_once('=').unwrap_or((it, "")));
        Self(pairs.map(|(name, value)| (decoded(name), decoded(value))).collect())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|it| it.0 == name).map(|it| it.1.as_str())
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Refused> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let wrong = |_| bad(format!("{name}: {text:?} is not a number"));
        text.parse().map(Some).map_err(wrong)
    }

    fn workload(&self) -> Result<WorkloadName, Refused> {
        match self.text("name") {
            Some(name) if !name.is_empty() => Ok(WorkloadName::parse(name)),
            _ => Err(bad("name: say which workload: NAME or NAMESPACE/NAME".to_owned())),
        }
    }
}

/// Why something is not done.
pub(super) struct Refused {
    status: StatusCode,
    text: String,
}

impl From<Refused> for Response<Bytes> {
    fn from(it: Refused) -> Self {
        reply(it.status, TEXT, it.text + "\n")
    }
}

pub(super) fn refused(status: StatusCode, text: String) -> Refused {
    Refused { status, text }
}

pub(super) fn bad(text: String) -> Refused {
    refused(StatusCode::BAD_REQUEST, text)
}

pub(super) fn json(value: &impl Serialize) -> Response<Bytes> {
    let body = serde_json::to_string(value).expect("it has text keys only");
    reply(StatusCode::OK, JSON, body + "\n")
}

impl Door {
    /// Answers what is about workloads and proxies; whoever asks may.
    pub(super) async fn workloads(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let parameters = Parameters::of(request);
        let path = request.uri().path();
        let rest = path.strip_prefix("/leno/v1/").unwrap_or_default();
        let answer = match (request.method(), rest) {
            (&Method::GET, "workloads") => self.list(&parameters),
            (&Method::GET, "rollouts") => self.rollouts(&parameters),
            (&Method::GET, "workloads/logs") => self.logs(&parameters).await,
            (&Method::GET, "proxies") => Ok(self.proxies()),
            (&Method::POST, "proxies/follow") => self.follow(request).await,
            (&Method::POST, "proxies/report") => self.take_report(request),
            (_, "proxies/follow" | "proxies/report") => {
                Err(refused(StatusCode::METHOD_NOT_ALLOWED, "POST it".into()))
            }
            (&Method::POST, _) => match rest.strip_prefix("workloads/") {
                Some(order) => self.order(order, &parameters).await,
                None => Err(refused(StatusCode::METHOD_NOT_ALLOWED, "GET reads it".into())),
            },
            _ => Err(refused(
                StatusCode::NOT_FOUND,
                format!("there is nothing at {path}; /leno/v1 lists what there is"),
            )),
        };
        answer.unwrap_or_else(Response::from)
    }

    fn list(&self, parameters: &Parameters) -> Result<Response<Bytes>, Refused> {
        if parameters.text("name").is_none() {
            return Ok(json(&self.workloads.reports()));
        }
        Ok(json(&[self.one(&parameters.workload()?)?]))
    }

    fn rollouts(&self, parameters: &Parameters) -> Result<Response<Bytes>, Refused> {
        if parameters.text("name").is_none() {
            return Ok(json(&self.workloads.rollout_reports()));
        }
        Ok(json(&[self.rollout(&parameters.workload()?)?]))
    }

    fn rollout(&self, name: &WorkloadName) -> Result<WorkloadReport, Refused> {
        let text = || format!("there is no workload and no rollout {name}");
        let missing = || refused(StatusCode::NOT_FOUND, text());
        self.workloads.rollout_report(name).ok_or_else(missing)
    }

    fn one(&self, name: &WorkloadName) -> Result<WorkloadReport, Refused> {
        let missing = || refused(StatusCode::NOT_FOUND, format!("there is no workload {name}"));
        self.workloads.report(name).ok_or_else(missing)
    }

    async fn order(
        &self,
        order: &str,
        parameters: &Parameters,
    ) -> Result<Response<Bytes>, Refused> {
        let ask = match order {
            "start" => Ask::Start,
            "stop" => Ask::Stop,
            "restart" => Ask::Restart,
            "pause" => Ask::Pause,
            "resume" => Ask::Resume,
            "promote" => Ask::Promote,
            "undo" => Ask::Undo,
            "retry" => Ask::Retry,
            "scale" => match parameters.number("replicas")?.map(u32::try_from) {
                Some(Ok(0)) => return Err(bad("replicas: at least 1; stop stops it".into())),
                Some(Ok(replicas)) => Ask::Scale(replicas),
                _ => return Err(bad("replicas: say how many copies".into())),
            },
            _ => {
                let text = format!(
                    "there is no order {order:?}: start, stop, restart, scale, pause, resume, promote, undo, \
                     retry"
                );
                return Err(refused(StatusCode::NOT_FOUND, text));
            }
        };
        let name = parameters.workload()?;
        self.rollout(&name)?;
        match self.workloads.ask(name, ask).await {
            Ok(()) => Ok(reply(StatusCode::OK, JSON, "true\n".to_owned())),
            Err(text) => Err(refused(StatusCode::CONFLICT, text)),
        }
    }

    async fn logs(&self, parameters: &Parameters) -> Result<Response<Bytes>, Refused> {
        let name = parameters.workload()?;
        let report = self.one(&name)?;
        let lines = parameters
            .number("lines")?
            .map_or(LINES, |it| usize::try_from(it).unwrap_or(usize::MAX));
        let after = parameters.number("after")?;
        let copy = parameters.text("copy").map(str::to_owned);
        let wanted = |id: &str| copy.as_deref().is_none_or(|it| it == id);
        let mut files: Vec<(String, PathBuf)> = report
            .copies
            .iter()
            .filter(|it| wanted(&it.id))
            .map(|it| (it.id.clone(), it.log.clone().into()))
            .collect();
        if let (Some(id), true) = (&copy, files.is_empty()) {
            // The logs of copies that are gone are kept.
            let path = self.workloads.log_of(&report.namespace, id);
            match path.filter(|it| it.is_file()) {
                Some(path) => files.push((id.clone(), path)),
                None => {
                    let text = format!("there is no copy {id}, and no log of it");
                    return Err(refused(StatusCode::NOT_FOUND, text));
                }
            }
        }
        let failed = report.rollout.history.first().filter(|_| copy.is_none() && after.is_none());
        let failed = failed.filter(|it| !["promoted", "completed"].contains(&&*it.outcome));
        let (failed, workloads) = (failed.map(|it| it.release), self.workloads.clone());
        let read = tokio::task::spawn_blocking(move || {
            if files.is_empty() && after.is_none() {
                files = workloads.last_logs(&name);
                files.truncate(LOGS_MAX);
            }
            // Why it was taken back stands in what its copies wrote, and they are gone.
            for (id, path) in failed.iter().flat_map(|it| workloads.logs_of_release(&name, *it)) {
                if files.len() < LOGS_MAX && !files.iter().any(|it| it.0 == id) {
                    files.push((id, path));
                }
            }
            let bytes_max = LOG_BYTES_MAX.min(LOGS_BYTES_MAX / files.len().max(1) as u64);
            let read = |(id, path): (String, PathBuf)| -> std::io::Result<CopyLog> {
                let (text, end) = match after {
                    Some(after) => runtime::output_after(&path, after, bytes_max)?,
                    None => runtime::last_lines(&path, lines, bytes_max)?,
                };
                Ok(CopyLog { id, text: String::from_utf8_lossy(&text).into_owned(), end })
            };
            files.into_iter().map(read).collect::<std::io::Result<Vec<CopyLog>>>()
        });
        match read.await {
            Ok(Ok(logs)) => Ok(json(&logs)),
            Ok(Err(error)) => {
                let text = format!("the log cannot be read: {error}");
                Err(refused(StatusCode::INTERNAL_SERVER_ERROR, text))
            }
            Err(_) => Err(bad("the log cannot be read".into())),
        }
    }
}
