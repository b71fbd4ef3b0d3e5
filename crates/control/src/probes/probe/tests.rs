//! Each kind of probe against a real server on a port that the system chose.

use std::net::SocketAddr;
use std::sync::Arc;

use model::CheckDefinition;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, UdpSocket};
use tokio_rustls::TlsAcceptor;

use super::*;

mod http;
mod http2;

const PASS: CheckStatus = CheckStatus::Passing;
const WARN: CheckStatus = CheckStatus::Warning;
const FAIL: CheckStatus = CheckStatus::Critical;

async fn probe(definition: CheckDefinition) -> (CheckStatus, String) {
    probe_with(&Network::new(true), definition).await
}

async fn probe_with(network: &Network, definition: CheckDefinition) -> (CheckStatus, String) {
    let result = network.probe(&definition).await;
    (result.status, result.output)
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address at which nobody listens: nobody else gets its port while the socket, which never
/// listens, lives.
fn closed_port() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// The server side of TLS for `localhost`, and a network that trusts it.
fn tls_for_localhost(alpn: &[u8]) -> (TlsAcceptor, Network) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    let network = Network { script_checks: false, tls: Tls::with_roots(roots) };
    (TlsAcceptor::from(Arc::new(config)), network)
}

/// Shakes hands with everybody who comes, and closes.
async fn accept_tls(acceptor: TlsAcceptor) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Clients that do not trust us break off.
            let _ = acceptor.accept(stream).await;
        }
    });
    address
}

fn tcp(target: impl ToString) -> CheckDefinition {
    CheckDefinition { tcp: target.to_string(), ..CheckDefinition::default() }
}

#[tokio::test]
async fn tcp_passes_when_somebody_listens() {
    let (_listener, address) = listen().await;
    assert_eq!(probe(tcp(address)).await, (PASS, format!("TCP connect {address}: Success")));
}

#[tokio::test]
async fn tcp_fails_when_nobody_listens() {
    let (_socket, address) = closed_port();
    let expected = format!("dial tcp {address}: connect: connection refused");
    assert_eq!(probe(tcp(address)).await, (FAIL, expected));
}

#[tokio::test]
async fn tcp_target_without_port_fails() {
    let expected = "dial tcp: address localhost: missing port in address";
    assert_eq!(probe(tcp("localhost")).await, (FAIL, expected.into()));
}

#[tokio::test]
async fn tcp_with_tls_verifies_the_certificate() {
    let (acceptor, network) = tls_for_localhost(b"");
    let address = accept_tls(acceptor).await;
    let target = format!("localhost:{}", address.port());
    let check = |name: &str, skip: bool| CheckDefinition {
        tcp_use_tls: true,
        tls_server_name: name.into(),
        tls_skip_verify: skip,
        ..tcp(&target)
    };
    let success = (PASS, format!("TCP+TLS connect {target}: Success"));
    assert_eq!(probe_with(&network, check("", false)).await, success);
    assert_eq!(probe_with(&network, check("other", true)).await, success);
    let (status, output) = probe_with(&network, check("other", false)).await;
    assert_eq!(status, FAIL);
    assert!(output.starts_with("tls: ") && output.contains("other"), "{output}");
    let distrustful =
        Network { script_checks: false, tls: Tls::with_roots(RootCertStore::empty()) };
    assert_eq!(probe_with(&distrustful, check("", false)).await.0, FAIL);
}

#[tokio::test]
async fn tcp_with_tls_times_out_when_the_server_is_silent() {
    let (_listener, address) = listen().await;
    let timeout = Duration::from_millis(50);
    let definition =
        CheckDefinition { tcp_use_tls: true, tls_skip_verify: true, timeout, ..tcp(address) };
    assert_eq!(probe(definition).await, (FAIL, format!("dial tcp {address}: i/o timeout")));
}

fn udp(address: SocketAddr) -> CheckDefinition {
    let timeout = Duration::from_millis(100);
    CheckDefinition { udp: address.to_string(), timeout, ..CheckDefinition::default() }
}

#[tokio::test]
async fn udp_passes_on_a_reply_and_on_silence() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let success = (PASS, format!("UDP connect {address}: Success"));
    assert_eq!(probe(udp(address)).await, success);

    tokio::spawn(async move {
        while let Ok((_, from)) = socket.recv_from(&mut [0; 16]).await {
            let _ = socket.send_to(b"pong", from).await;
        }
    });
    let patient = CheckDefinition { timeout: Duration::from_secs(60), ..udp(address) };
    assert_eq!(probe(patient).await, success);
}

#[tokio::test]
async fn udp_fails_when_the_port_is_unreachable() {
    // A socket that is connected to somebody else holds the port and takes nothing from us.
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    socket.connect("127.0.0.1:9").await.unwrap();
    let patient = CheckDefinition { timeout: Duration::from_secs(60), ..udp(address) };
    let expected = format!("read udp {address}: connection refused");
    assert_eq!(probe(patient).await, (FAIL, expected));
}

fn script(text: &str) -> CheckDefinition {
    CheckDefinition {
        args: vec!["/bin/sh".into(), "-c".into(), text.into()],
        ..CheckDefinition::default()
    }
}

#[tokio::test]
async fn script_is_judged_by_its_exit_code() {
    assert_eq!(probe(script("echo fine")).await, (PASS, "fine\n".into()));
    assert_eq!(probe(script("echo hm >&2; exit 1")).await, (WARN, "hm\n".into()));
    assert_eq!(probe(script("echo bad; exit 2")).await, (FAIL, "bad\n".into()));
    assert_eq!(probe(script("kill -9 $$")).await, (FAIL, String::new()));
}

#[tokio::test]
async fn script_keeps_the_end_of_a_long_output() {
    let definition = CheckDefinition { output_bytes_max: 4, ..script("printf 0123456789") };
    assert_eq!(probe(definition).await, (PASS, "Captured 4 of 10 bytes\n...\n6789".into()));
}

#[tokio::test]
async fn script_that_takes_too_long_is_killed() {
    let timeout = Duration::from_millis(1500);
    let definition = CheckDefinition { timeout, ..script("echo begun; sleep 1000") };
    let expected = "Timed out (1.5s) running check\n\nbegun\n";
    assert_eq!(probe(definition).await, (FAIL, expected.into()));
}

#[tokio::test]
async fn script_that_cannot_start_fails() {
    let args = vec!["/no/such/program".to_owned()];
    let (status, output) = probe(CheckDefinition { args, ..CheckDefinition::default() }).await;
    assert_eq!(status, FAIL);
    assert!(output.starts_with("cannot start /no/such/program: No such file"), "{output}");
}

#[tokio::test]
async fn script_does_not_run_unless_scripts_are_enabled() {
    let (status, output) = probe_with(&Network::new(false), script("true")).await;
    assert_eq!(status, FAIL);
    assert!(output.contains("enable_script_checks"), "{output}");
}

#[tokio::test]
async fn kinds_that_are_not_supported_fail_and_say_so() {
    let docker = CheckDefinition { docker_container_id: "c".into(), ..CheckDefinition::default() };
    let os_service = CheckDefinition { os_service: "sshd".into(), ..CheckDefinition::default() };
    for definition in [docker, os_service] {
        let (status, output) = probe(definition).await;
        assert_eq!(status, FAIL);
        assert!(output.contains("not supported"), "{output}");
    }
}

#[test]
fn a_tail_holds_the_last_bytes() {
    let mut tail = tail::Tail::new(5);
    for chunk in ["abc", "", "defg", "h"] {
        tail.push(chunk.as_bytes());
    }
    assert_eq!(tail.into_text(), "defgh");
    let mut tail = tail::Tail::new(5);
    tail.push("0123456789é1".as_bytes());
    assert_eq!(tail.into_text(), "89é1");
    let mut tail = tail::Tail::new(2);
    tail.push("é1".as_bytes());
    assert_eq!(tail.into_text(), "1");
}
