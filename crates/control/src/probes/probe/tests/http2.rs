use ::http::{HeaderMap, Response};
use bytes::Bytes;
use h2::RecvStream;
use h2::server::{self, SendResponse};

use super::super::dial::Io;
use super::*;

/// A health service for `grpc.health.v1`: the asked service's name is the answer that it wants.
async fn serve(acceptor: Option<TlsAcceptor>) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stream: Box<dyn Io> = match &acceptor {
                None => Box::new(stream),
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(stream) => Box::new(stream),
                    Err(_) => continue,
                },
            };
            tokio::spawn(serve_connection(stream));
        }
    });
    address
}

async fn serve_connection(stream: Box<dyn Io>) {
    let Ok(mut connection) = server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        assert_eq!(request.headers()["content-type"], "application/grpc");
        tokio::spawn(answer(request.into_body(), respond));
    }
}

async fn answer(mut body: RecvStream, mut respond: SendResponse<Bytes>) {
    let mut frame = Vec::new();
    while let Some(Ok(chunk)) = body.data().await {
        frame.extend_from_slice(&chunk);
    }
    let service = String::from_utf8_lossy(frame.get(7..).unwrap_or_default()).into_owned();
    let status = match service.as_str() {
        "" => 1,
        "resting" => 2,
        "hanging" => std::future::pending().await,
        _ => {
            let head = Response::builder()
                .header("grpc-status", "5")
                .header("grpc-message", "unknown%20service");
            respond.send_response(head.body(()).unwrap(), true).unwrap();
            return;
        }
    };
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut stream = respond.send_response(head, false).unwrap();
    let message: &[u8] = &[0, 0, 0, 0, 2, 0x08, status];
    stream.send_data(Bytes::copy_from_slice(message), false).unwrap();
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
    stream.send_trailers(trailers).unwrap();
}

fn grpc(target: String) -> CheckDefinition {
    CheckDefinition { grpc: target, ..CheckDefinition::default() }
}

#[tokio::test]
async fn grpc_passes_when_the_service_is_serving() {
    let target = serve(None).await.to_string();
    let expected = format!("gRPC check {target}: success");
    assert_eq!(probe(grpc(target)).await, (PASS, expected));
}

#[tokio::test]
async fn grpc_fails_when_the_service_is_not_serving_or_unknown() {
    let address = serve(None).await;
    let expected = format!("gRPC {address}/resting serving status: NOT_SERVING");
    assert_eq!(probe(grpc(format!("{address}/resting"))).await, (FAIL, expected));
    let expected = "rpc error: code = NotFound desc = unknown service";
    assert_eq!(probe(grpc(format!("{address}/nobody"))).await, (FAIL, expected.into()));
}

#[tokio::test]
async fn grpc_fails_when_no_answer_comes_in_time() {
    let address = serve(None).await;
    let timeout = Duration::from_millis(50);
    let definition = CheckDefinition { timeout, ..grpc(format!("{address}/hanging")) };
    let expected = "rpc error: code = DeadlineExceeded desc = context deadline exceeded";
    assert_eq!(probe(definition).await, (FAIL, expected.into()));
}

#[tokio::test]
async fn grpc_speaks_tls_when_asked_to() {
    let (acceptor, network) = tls_for_localhost(b"h2");
    let address = serve(Some(acceptor)).await;
    let target = format!("localhost:{}", address.port());
    let definition = CheckDefinition { grpc_use_tls: true, ..grpc(target.clone()) };
    let expected = format!("gRPC check {target}: success");
    assert_eq!(probe_with(&network, definition).await, (PASS, expected));
    assert_eq!(probe_with(&network, grpc(target)).await.0, FAIL);
}

#[tokio::test]
async fn h2ping_passes_when_the_ping_is_answered() {
    let success = (PASS, "HTTP2 ping was successful".to_owned());
    let h2ping = serve(None).await.to_string();
    let plain = CheckDefinition { h2ping, ..CheckDefinition::default() };
    assert_eq!(probe(plain).await, success);

    let (acceptor, network) = tls_for_localhost(b"h2");
    let h2ping = format!("localhost:{}", serve(Some(acceptor)).await.port());
    let tls = CheckDefinition { h2ping, h2ping_use_tls: true, ..CheckDefinition::default() };
    assert_eq!(probe_with(&network, tls).await, success);
}

#[tokio::test]
async fn h2ping_fails_when_nobody_answers() {
    let (_socket, address) = closed_port();
    let h2ping = address.to_string();
    let definition = CheckDefinition { h2ping, ..CheckDefinition::default() };
    let refused = format!("dial tcp {address}: connect: connection refused");
    let expected = format!("Failed to dial to {address}: {refused}");
    assert_eq!(probe(definition).await, (FAIL, expected));

    let (_listener, address) = listen().await;
    let definition = CheckDefinition {
        h2ping: address.to_string(),
        timeout: Duration::from_millis(50),
        ..CheckDefinition::default()
    };
    let expected = "HTTP2 ping failed: context deadline exceeded";
    assert_eq!(probe(definition).await, (FAIL, expected.into()));
}
