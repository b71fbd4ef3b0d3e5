//! Answers without an end: the log, and the metrics.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use runtime::{Drain, Tasks};
use tokio::sync::mpsc;

/// How often the metrics are told (Consul's interval of gathering them).
const METRICS_PERIOD: Duration = Duration::from_secs(10);
/// Intervals that wait for a client.
const INTERVALS_MAX: usize = 4;

/// The pieces of a body as they come. An extension of a response, whose own body is empty then.
#[derive(Debug)]
pub(crate) struct Pieces(pub(crate) tokio::sync::Mutex<Option<mpsc::Receiver<Bytes>>>);

impl Clone for Pieces {
    /// Extensions must be cloneable; the pieces go with one of the copies only, and nothing copies responses.
    fn clone(&self) -> Self {
        Self(tokio::sync::Mutex::new(None))
    }
}

/// 200 with a body that comes in pieces.
pub(crate) fn response(
    pieces: mpsc::Receiver<Bytes>,
    content_type: &'static str,
) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let vary = HeaderValue::from_static("Accept-Encoding");
    response.headers_mut().insert(http::header::VARY, vary);
    response.extensions_mut().insert(Pieces(tokio::sync::Mutex::new(Some(pieces))));
    response
}

/// Tells the metrics at once and then every ten seconds, until the client goes or the agent ends.
pub(crate) fn metrics(
    tasks: &Tasks,
    read: impl Fn() -> String + Send + 'static,
) -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(INTERVALS_MAX);
    let drain: Drain = tasks.drain();
    tasks.spawn("metrics stream", async move {
        loop {
            let mut text = read();
            text.push('\n');
            let sent = tokio::select! {
                sent = sender.send(Bytes::from(text)) => sent.is_ok(),
                () = drain.begun() => false,
            };
            if !sent {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(METRICS_PERIOD) => {}
                () = sender.closed() => return,
                () = drain.begun() => return,
            }
        }
    });
    receiver
}

/// The same pieces until the agent ends, so that a client that follows for ever does not hold it.
pub(crate) fn until(tasks: &Tasks, mut pieces: mpsc::Receiver<Bytes>) -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(INTERVALS_MAX);
    let drain = tasks.drain();
    tasks.spawn("log stream", async move {
        loop {
            let piece = tokio::select! {
                piece = pieces.recv() => piece,
                () = sender.closed() => None,
                () = drain.begun() => None,
            };
            let Some(piece) = piece else { return };
            let sent = tokio::select! {
                sent = sender.send(piece) => sent.is_ok(),
                () = drain.begun() => false,
            };
            if !sent {
                return;
            }
        }
    });
    receiver
}
