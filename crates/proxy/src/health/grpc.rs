//! `grpc.health.v1.Health/Check`. Its messages have one field each, so they are written and read here.

use ::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE, USER_AGENT};
use ::http::{Method, Request, StatusCode, Uri, Version};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Limited};
use proxy_config::HealthProbe;
use traffic::ProbeResult;

use super::connection::{Connection, ProbeBody, exchange};
use super::http::PROBE_AGENT;
use super::probe::Subject;
use crate::headers::GRPC_STATUS;

/// An answer is some 7 bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// Statuses of gRPC.
const UNKNOWN: u8 = 2;
const UNAVAILABLE: u8 = 14;

pub(super) async fn probe(subject: &Subject, connection: &mut Option<Connection>) -> ProbeResult {
    let Some(request) = request(subject) else {
        let cluster = &*subject.cluster;
        tracing::warn!(cluster, "the authority of the health check is not one");
        return ProbeResult::NoAnswer;
    };
    let response = match exchange(subject, connection, true, request).await {
        Ok(response) => response,
        Err(failed) => return failed,
    };
    if response.status() != StatusCode::OK {
        return ProbeResult::of_grpc(grpc_status_of(response.status()), None);
    }
    let (head, body) = response.into_parts();
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
        *connection = None;
        return ProbeResult::NoAnswer;
    };
    let status = body.trailers().and_then(grpc_status).or_else(|| grpc_status(&head.headers));
    ProbeResult::of_grpc(status.unwrap_or(UNKNOWN), serving_status(&body.to_bytes()))
}

/// `None` when the authority is not one.
fn request(subject: &Subject) -> Option<Request<ProbeBody>> {
    let HealthProbe::Grpc { service, authority } = &subject.check.probe else { return None };
    let scheme = if subject.transport.tls.is_some() { "https" } else { "http" };
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(subject.authority(authority)?)
        .path_and_query("/grpc.health.v1.Health/Check")
        .build()
        .ok()?;
    let mut request = Request::new(ProbeBody::new(message(service)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(USER_AGENT, PROBE_AGENT);
    let timeout_ms = subject.check.timeout.as_millis().min(99_999_999);
    let timeout = HeaderValue::try_from(format!("{timeout_ms}m")).ok()?;
    headers.insert(HeaderName::from_static("grpc-timeout"), timeout);
    Some(request)
}

/// `HealthCheckRequest { service }` with gRPC's prefix: not compressed, its length.
fn message(service: &str) -> Bytes {
    let mut message = BytesMut::with_capacity(service.len() + 11);
    if !service.is_empty() {
        // Field 1, with a length.
        message.put_u8(1 << 3 | 2);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8(length as u8 & 0x7F | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put_slice(&message);
    framed.freeze()
}

/// `status` of a `HealthCheckResponse`; `None` when there is no message or it is none.
fn serving_status(framed: &[u8]) -> Option<u32> {
    let (&flags, rest) = framed.split_first()?;
    let (length, message) = rest.split_at_checked(4)?;
    let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
    if flags != 0 {
        return None;
    }
    let mut message = message.get(..length)?;
    // As Protobuf has it, what is not there is 0: `UNKNOWN`.
    let mut status = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match (key >> 3, key & 7) {
            (1, 0) => status = u32::try_from(varint(&mut message)?).ok()?,
            (_, 0) => _ = varint(&mut message)?,
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn grpc_status(headers: &HeaderMap) -> Option<u8> {
    headers.get(GRPC_STATUS)?.to_str().ok()?.parse().ok()
}

/// What a status of HTTP means for gRPC (grpc/doc/http-grpc-status-mapping.md).
fn grpc_status_of(status: StatusCode) -> u8 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_framed_as_grpc_asks() {
        assert_eq!(&message("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&message("ab")[..], [0, 0, 0, 0, 4, 0x0A, 2, b'a', b'b']);
        let long = message(&"s".repeat(200));
        assert_eq!(&long[..8], [0, 0, 0, 0, 203, 0x0A, 0xC8, 1]);
    }

    #[test]
    fn the_status_is_read_from_among_unknown_fields() {
        assert_eq!(serving_status(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
        assert_eq!(serving_status(&[0, 0, 0, 0, 0]), Some(0));
        let with_others = [0, 0, 0, 0, 12, 0x12, 1, 0xFF, 0x1D, 1, 2, 3, 4, 8, 2, 0x18, 9];
        assert_eq!(serving_status(&with_others), Some(2));
        for bad in [&[][..], &[0, 0, 0, 0, 2, 8], &[1, 0, 0, 0, 2, 8, 1], &[0, 0, 0, 0, 1, 0x0F]] {
            assert_eq!(serving_status(bad), None, "{bad:?}");
        }
    }
}
