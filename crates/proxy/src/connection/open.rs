//! How a client connection that speaks HTTP begins: which HTTP it is.

use std::io;

use bytes::Bytes;
use proxy_config::{HttpCodec, HttpListener};
use tokio::time::{sleep, timeout};

use super::phase::LINGER;
use crate::stream::{DownstreamStream, Transport};
use crate::view::{ListenerSlot, ListenerView};

/// Finds out whether HTTP/2 is spoken. `None` when the listener closes meanwhile.
pub(super) async fn open_http(
    slot: &ListenerSlot,
    view: &ListenerView,
    config: &HttpListener,
    transport: Transport,
    read_ahead: Bytes,
) -> io::Result<Option<(DownstreamStream, bool)>> {
    let agreed = match &transport {
        Transport::Tls(stream) => stream.get_ref().1.alpn_protocol().map(|it| it == b"h2"),
        Transport::Tcp(_) => None,
    };
    let known = match config.codec {
        HttpCodec::Auto => agreed,
        HttpCodec::Http1 => Some(false),
        HttpCodec::Http2 => Some(true),
    };
    let mut stream = DownstreamStream::new(transport, &read_ahead, view.http_counters.clone());
    if let Some(is_http2) = known {
        return Ok(Some((stream, is_http2)));
    }
    let detected = async {
        let is_http2 = timeout(config.head_timeout, stream.detect_http2()).await??;
        Ok(Some((stream, is_http2)))
    };
    let closing = async {
        slot.closing.cancelled().await;
        sleep(LINGER).await;
    };
    tokio::select! {
        detected = detected => detected,
        () = closing => Ok(None),
    }
}
