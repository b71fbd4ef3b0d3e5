use std::net::SocketAddr;
use std::time::Duration;

use proxy_config::{Listener, ListenerProtocol, TcpListener as TcpChain, WeightedCluster};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{Backend, Refusing, Setup, access_log, lines_of, read_to_close, soon};
use crate::ProxyHandle;

async fn echo() -> Backend {
    Backend::tcp(|mut stream| async move {
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
        let _ = write.shutdown().await;
    })
    .await
}

/// An endpoint that says a word and ends.
async fn says(word: &'static str) -> Backend {
    Backend::tcp(move |mut stream| async move {
        stream.write_all(word.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await
}

fn setup(endpoints: &[SocketAddr], change: impl FnOnce(&mut TcpChain)) -> Setup {
    let mut chain = TcpChain::to("tcp/");
    change(&mut chain);
    Setup::new().route("tcp", "/", endpoints).listener_with("in", |listener: &mut Listener| {
        listener.chains[0].protocol = ListenerProtocol::Tcp(chain);
    })
}

fn start(setup: &Setup) -> (ProxyHandle, SocketAddr) {
    let proxy = setup.start_with(|options| options.workers = 1);
    let address = proxy.local_addr("in").unwrap();
    (proxy, address)
}

/// Bytes that tell where they are.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes as u64 / 8).flat_map(u64::to_le_bytes).collect()
}

#[tokio::test]
async fn bulk_arrives_whole_in_both_directions_at_once() {
    let echo = echo().await;
    let (proxy, address) = start(&setup(&[echo.address], |_| {}));
    let sent = pattern(24 << 20);
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut read, mut write) = stream.split();
    let mut received = Vec::with_capacity(sent.len());
    soon(async {
        let send = async {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        };
        tokio::join!(send, read.read_to_end(&mut received)).1.unwrap();
    })
    .await;
    assert!(received == sent);
    let (tcp, cluster) = (proxy.stats().tcp("in", 0), proxy.stats().cluster("tcp/", 0));
    let bytes = sent.len() as u64;
    soon(async {
        while cluster.upstream_cx_active.get() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(tcp.downstream_cx_rx_bytes_total.get(), bytes);
    assert_eq!(tcp.downstream_cx_tx_bytes_total.get(), bytes);
    assert_eq!(cluster.upstream_cx_rx_bytes_total.get(), bytes);
    assert_eq!(cluster.upstream_cx_tx_bytes_total.get(), bytes);
    assert_eq!((tcp.downstream_cx_total.get(), cluster.upstream_cx_total.get()), (1, 1));
}

#[tokio::test]
async fn small_and_bulk_may_follow_each_other() {
    let echo = echo().await;
    let (_proxy, address) = start(&setup(&[echo.address], |_| {}));
    let mut stream = TcpStream::connect(address).await.unwrap();
    for bytes in [8, 200_000, 16, 16 * 1024, 3_000_000, 8, 8] {
        let sent = pattern(bytes);
        let (mut read, mut write) = stream.split();
        let mut received = vec![0; sent.len()];
        soon(async {
            let both = tokio::join!(write.write_all(&sent), read.read_exact(&mut received));
            both.0.unwrap();
            both.1.unwrap();
        })
        .await;
        assert!(received == sent, "{bytes} bytes");
    }
}

#[tokio::test]
async fn each_side_may_end_first() {
    let speaker = says("goodbye").await;
    let (_proxy, address) = start(&setup(&[speaker.address], |_| {}));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut said = String::new();
    soon(stream.read_to_string(&mut said)).await.unwrap();
    assert_eq!(said, "goodbye");
    // The other direction is still open.
    stream.write_all(b"more").await.unwrap();
    stream.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_connection_on_which_nothing_moves_is_closed() {
    let echo = echo().await;
    let (proxy, address) =
        start(&setup(&[echo.address], |chain| chain.idle_timeout = Duration::from_millis(300)));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut word = [0; 4];
    for _ in 0..4 {
        stream.write_all(b"ping").await.unwrap();
        soon(stream.read_exact(&mut word)).await.unwrap();
    }
    assert_eq!(read_to_close(&mut stream).await, "");
    assert_eq!(proxy.stats().tcp("in", 0).idle_timeout.get(), 1);
}

#[tokio::test]
async fn clusters_are_chosen_by_weight() {
    let (one, other, none) = (says("one").await, says("other").await, says("none").await);
    let names = ["one/", "other/", "none/"];
    let setup = setup(&[one.address], |chain| {
        chain.clusters = [1, 3, 0]
            .into_iter()
            .zip(names)
            .map(|(weight, name)| WeightedCluster::new(name, weight))
            .collect();
    });
    let setup = setup
        .route("one", "/", &[one.address])
        .route("other", "/", &[other.address])
        .route("none", "/", &[none.address]);
    let (_proxy, address) = start(&setup);
    for _ in 0..200 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert_ne!(read_to_close(&mut stream).await, "");
    }
    let shares = (one.connections(), other.connections(), none.connections());
    assert!((30..70).contains(&shares.0) && shares.0 + shares.1 == 200, "{shares:?}");
}

#[tokio::test]
async fn a_client_is_closed_when_the_tries_are_used_up_or_there_is_no_cluster() {
    let (dead, dead_too) = (Refusing::new(), Refusing::new());
    let (target, path) = access_log("tcp");
    let setup = setup(&[dead.address, dead_too.address], |chain| chain.connect_tries_max = 1);
    let setup = setup.listener_with("nowhere", |listener| {
        listener.chains[0].protocol = ListenerProtocol::Tcp(TcpChain::to("no such cluster"));
    });
    let proxy = setup.start_with(|options| {
        options.workers = 1;
        options.access_log = Some(target);
    });
    for listener in ["in", "nowhere"] {
        let address = proxy.local_addr(listener).unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(read_to_close(&mut stream).await, "");
    }
    let cluster = proxy.stats().cluster("tcp/", 0);
    assert_eq!(cluster.upstream_cx_connect_fail.get(), 1);
    assert_eq!(cluster.upstream_cx_connect_attempts_exceeded.get(), 1);
    assert_eq!(proxy.stats().tcp("nowhere", 0).downstream_cx_no_route.get(), 1);
    let lines = lines_of(&path, 2).await;
    assert!(lines.contains("\"- - -\" 0 UF 0 0 "), "{lines}");
    assert!(lines.contains("\"- - -\" 0 NR 0 0 "), "{lines}");
}

#[tokio::test]
async fn a_connection_is_logged_when_it_has_ended() {
    let echo = echo().await;
    let (target, path) = access_log("tcp-bytes");
    let proxy = setup(&[echo.address], |_| {}).start_with(|options| {
        options.access_log = Some(target);
    });
    let mut stream = TcpStream::connect(proxy.local_addr("in").unwrap()).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(read_to_close(&mut stream).await, "hello");
    let line = lines_of(&path, 1).await;
    assert!(line.contains("\"- - -\" 0 - 5 5 "), "{line}");
    assert!(line.trim_end().ends_with(&format!("\"{}\"", echo.address)), "{line}");
}

#[tokio::test]
async fn a_client_that_breaks_off_ends_the_connection_to_the_endpoint() {
    let (told, mut ended) = tokio::sync::mpsc::channel(1);
    let endpoint = Backend::tcp(move |mut stream| {
        let told = told.clone();
        async move {
            let _ = stream.read_to_end(&mut Vec::new()).await;
            told.send(()).await.unwrap();
        }
    })
    .await;
    let (_proxy, address) = start(&setup(&[endpoint.address], |_| {}));
    let stream = TcpStream::connect(address).await.unwrap();
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    stream.try_write(b"x").unwrap();
    drop(stream);
    soon(ended.recv()).await.unwrap();
}

#[tokio::test]
async fn connections_of_a_removed_listener_end_by_themselves() {
    let echo = echo().await;
    let (proxy, address) = start(&setup(&[echo.address], |_| {}));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut word = [0; 4];
    stream.write_all(b"ping").await.unwrap();
    soon(stream.read_exact(&mut word)).await.unwrap();
    soon(proxy.update(setup(&[echo.address], |_| {}).without_listener("in").config()))
        .await
        .unwrap();
    stream.write_all(b"pong").await.unwrap();
    soon(stream.read_exact(&mut word)).await.unwrap();
    assert_eq!(&word, b"pong");
    assert_eq!(soon(proxy.drain(Duration::from_millis(50))).await, 1);
}

#[tokio::test]
async fn a_receiver_that_takes_nothing_holds_up_nobody_and_loses_nothing() {
    let endpoint = Backend::tcp(|mut stream| async move {
        let chunk = pattern(1 << 20);
        while stream.write_all(&chunk).await.is_ok() {}
    })
    .await;
    let (_proxy, address) = start(&setup(&[endpoint.address], |_| {}));
    let mut slow = TcpStream::connect(address).await.unwrap();
    let take = |mut stream: TcpStream| async move {
        let mut taken = vec![0; 1 << 20];
        for _ in 0..16 {
            soon(stream.read_exact(&mut taken)).await.unwrap();
            assert!(taken == pattern(1 << 20));
        }
    };
    slow.read_exact(&mut [0; 8]).await.unwrap();
    take(TcpStream::connect(address).await.unwrap()).await;
    soon(slow.read_exact(&mut vec![0; (1 << 20) - 8])).await.unwrap();
    take(slow).await;
}
