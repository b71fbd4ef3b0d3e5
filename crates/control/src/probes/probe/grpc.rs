use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request};
use model::CheckDefinition;
use percent_encoding::percent_decode_str;
use tokio::time::timeout;

use super::dial::{self, Io};
use super::h2ping::{connect, drive};
use super::tls::Tls;
use super::{ProbeResult, TIMEOUT_DEFAULT, timeout_of};

/// Most bytes of an answer: the message is an enum of two bytes, anything much larger is not a
/// health check's.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Names of `grpc.health.v1.HealthCheckResponse.ServingStatus`, by number.
const SERVING_STATUSES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
const SERVING: u64 = 1;

/// Why an application is not healthy, in the words of Consul and of Go's gRPC.
#[derive(Debug, thiserror::Error)]
enum GrpcError {
    #[error("{0}")]
    Dial(#[from] dial::DialError),
    #[error("rpc error: code = Unavailable desc = {0}")]
    Http2(#[from] h2::Error),
    #[error("rpc error: code = DeadlineExceeded desc = context deadline exceeded")]
    Deadline,
    #[error("rpc error: code = {code} desc = {message}")]
    Status { code: String, message: String },
    #[error("rpc error: code = Internal desc = {0}")]
    Answer(&'static str),
    #[error("gRPC {target} serving status: {status}")]
    NotServing { target: String, status: String },
}

/// Asks `grpc.health.v1.Health/Check` at `host:port[/service]`.
pub(super) async fn probe(definition: &CheckDefinition, tls: &Tls) -> ProbeResult {
    let limit = timeout_of(definition, TIMEOUT_DEFAULT);
    let answer = timeout(limit, check(definition, tls)).await.unwrap_or(Err(GrpcError::Deadline));
    match answer {
        Ok(()) => ProbeResult::passing(format!("gRPC check {}: success", definition.grpc)),
        Err(error) => ProbeResult::critical(error.to_string()),
    }
}

async fn check(definition: &CheckDefinition, tls: &Tls) -> Result<(), GrpcError> {
    let target = &definition.grpc;
    let (address, service) = target.split_once('/').unwrap_or((target, ""));
    let (host, port) = dial::split_host_port("tcp", address)?;
    let stream = connect(host, port, definition.grpc_use_tls, definition, tls).await?;
    let scheme = if definition.grpc_use_tls { "https" } else { "http" };
    let request = Request::post(format!("{scheme}://{address}/grpc.health.v1.Health/Check"))
        .version(http::Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "Consul Health Check")
        .body(())
        .map_err(|_| GrpcError::Answer("the address is not valid"))?;
    let message = exchange(stream, request, request_frame(service)).await?;
    match decode_status(&message).ok_or(GrpcError::Answer("the answer cannot be read"))? {
        SERVING => Ok(()),
        other => {
            let known = usize::try_from(other).ok().and_then(|idx| SERVING_STATUSES.get(idx));
            let status = known.map_or_else(|| other.to_string(), |name| (*name).to_owned());
            Err(GrpcError::NotServing { target: target.clone(), status })
        }
    }
}

/// One unary call; returns the message of the answer.
async fn exchange(
    stream: Box<dyn Io>,
    request: Request<()>,
    frame: Bytes,
) -> Result<Bytes, GrpcError> {
    let (requests, connection) = h2::client::handshake(stream).await?;
    let call = async {
        let mut requests = requests.ready().await?;
        let (response, mut sending) = requests.send_request(request, false)?;
        sending.send_data(frame, true)?;
        let (head, mut body) = response.await?.into_parts();
        if !head.status.is_success() {
            let message =
                format!("unexpected HTTP status code received from server: {}", head.status);
            return Err(GrpcError::Status { code: "Unavailable".into(), message });
        }
        // An error without a message comes as headers only.
        check_status(&head.headers)?;
        let mut answer = BytesMut::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            body.flow_control().release_capacity(chunk.len())?;
            if answer.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(GrpcError::Answer("the answer is too long"));
            }
            answer.extend_from_slice(&chunk);
        }
        if let Some(trailers) = body.trailers().await? {
            check_status(&trailers)?;
        }
        unframe(&answer.freeze())
    };
    tokio::select! {
        answer = call => answer,
        never = drive(connection) => match never {},
    }
}

fn check_status(headers: &HeaderMap) -> Result<(), GrpcError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        None | Some("0") => Ok(()),
        Some(code) => {
            let message = text("grpc-message").unwrap_or_default();
            let message = percent_decode_str(message).decode_utf8_lossy().into_owned();
            Err(GrpcError::Status { code: code_name(code).to_owned(), message })
        }
    }
}

/// Go's name of a gRPC status code.
fn code_name(code: &str) -> &str {
    match code {
        "1" => "Canceled",
        "2" => "Unknown",
        "3" => "InvalidArgument",
        "4" => "DeadlineExceeded",
        "5" => "NotFound",
        "6" => "AlreadyExists",
        "7" => "PermissionDenied",
        "8" => "ResourceExhausted",
        "9" => "FailedPrecondition",
        "10" => "Aborted",
        "11" => "OutOfRange",
        "12" => "Unimplemented",
        "13" => "Internal",
        "14" => "Unavailable",
        "15" => "DataLoss",
        "16" => "Unauthenticated",
        other => other,
    }
}

/// `HealthCheckRequest { string service = 1; }` as protobuf (tag `0x0a`, length, bytes; nothing
/// when empty), behind gRPC's prefix: one byte "not compressed", four bytes of length. Two messages
/// of one field each are not worth a protobuf library in this room.
fn request_frame(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        put_varint(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("a check's definition is under 4 GiB"));
    frame.put_slice(&message);
    frame.freeze()
}

fn put_varint(buffer: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        buffer.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    buffer.put_u8(value as u8);
}

/// The message behind gRPC's prefix.
fn unframe(answer: &Bytes) -> Result<Bytes, GrpcError> {
    let Some((prefix, message)) = answer.split_first_chunk::<5>() else {
        return Err(GrpcError::Answer("the answer has no message"));
    };
    let [compressed, length @ ..] = *prefix;
    if compressed != 0 {
        return Err(GrpcError::Answer("the answer is compressed"));
    }
    if message.len() != u32::from_be_bytes(length) as usize {
        return Err(GrpcError::Answer("the answer is not one message"));
    }
    Ok(answer.slice_ref(message))
}

/// `HealthCheckResponse { ServingStatus status = 1; }`: the last field 1 of type varint, 0 when
/// there is none; other fields are skipped. `None` when it is not protobuf.
fn decode_status(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let tag = take_varint(&mut message)?;
        let skipped = match tag & 7 {
            0 => {
                let value = take_varint(&mut message)?;
                if tag >> 3 == 1 {
                    status = value;
                }
                0
            }
            1 => 8,
            2 => usize::try_from(take_varint(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        message = message.get(skipped..)?;
    }
    Some(status)
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_is_the_protobuf_message_of_the_service() {
        assert_eq!(request_frame("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(request_frame("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = request_frame(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 0x01, 0x2f, 0x0a, 0xac, 0x02]);
    }

    #[test]
    fn status_is_field_one_among_others() {
        assert_eq!(decode_status(&[]), Some(0));
        assert_eq!(decode_status(&[0x08, 0x01]), Some(1));
        let others = [0x12, 2, 9, 9, 0x19, 0, 0, 0, 0, 0, 0, 0, 0, 0x25, 0, 0, 0, 0, 0x08, 0x02];
        assert_eq!(decode_status(&others), Some(2));
    }

    #[test]
    fn bytes_that_are_no_message_are_refused() {
        for bytes in [&[0x08][..], &[0x08, 0x80], &[0x12, 5, 1], &[0x0b], &[0xff; 12]] {
            assert_eq!(decode_status(bytes), None, "{bytes:?}");
        }
    }
}
