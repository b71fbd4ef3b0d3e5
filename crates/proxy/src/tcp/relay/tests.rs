use std::cell::Cell;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;

use super::*;

impl ByteStream for DuplexStream {
    fn socket(&self) -> Option<&TcpStream> {
        None
    }
}

async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
    (one.unwrap(), other.unwrap().0)
}

async fn exchange(from: &mut TcpStream, to: &mut TcpStream, bytes: usize) {
    let sent = vec![5; bytes];
    let mut received = vec![0; bytes];
    let both = tokio::join!(from.write_all(&sent), to.read_exact(&mut received));
    both.0.unwrap();
    both.1.unwrap();
    assert!(sent == received);
}

const NEVER: Duration = Duration::ZERO;

#[tokio::test]
async fn nothing_is_held_while_nothing_moves() {
    let pools = Pools::default();
    let (mut client, near) = connected().await;
    let (far, mut endpoint) = connected().await;
    let relayed = relay(&pools, (near, Bytes::new()), (far, Bytes::new()), NEVER, |_, _| {});
    let test = async {
        exchange(&mut client, &mut endpoint, 10).await;
        assert_eq!(pools.counts(), (1, 0, 0));
        exchange(&mut client, &mut endpoint, 4 << 20).await;
        exchange(&mut endpoint, &mut client, 4 << 20).await;
        exchange(&mut client, &mut endpoint, 10).await;
        let (buffers, pipes, pipes_made) = pools.counts();
        assert!(buffers >= 1 && pipes >= 1, "bulk goes through pipes");
        assert_eq!(pipes, pipes_made, "no pipe is held");
        drop(client);
        drop(endpoint);
    };
    let (relayed, ()) = tokio::join!(relayed, test);
    assert!(matches!(relayed.ended, Ended::Whole), "{:?}", relayed.ended);
    assert_eq!((relayed.to_endpoint, relayed.to_client), ((4 << 20) + 20, 4 << 20));
}

#[tokio::test]
async fn what_was_read_ahead_comes_first() {
    let pools = Pools::default();
    let (mut client, near) = connected().await;
    let (far, mut endpoint) = connected().await;
    let told = Cell::new(0);
    let counted = |way, bytes| {
        if way == Way::ToEndpoint {
            told.set(told.get() + bytes);
        }
    };
    let of_client = Bytes::from_static(b"first ");
    let of_endpoint = Bytes::from_static(b"hello ");
    let relayed = relay(&pools, (near, of_client), (far, of_endpoint), NEVER, counted);
    let test = async {
        client.write_all(b"second").await.unwrap();
        client.shutdown().await.unwrap();
        let mut seen = String::new();
        endpoint.read_to_string(&mut seen).await.unwrap();
        assert_eq!(seen, "first second");
        endpoint.write_all(b"there").await.unwrap();
        drop(endpoint);
        let mut seen = String::new();
        client.read_to_string(&mut seen).await.unwrap();
        assert_eq!(seen, "hello there");
    };
    let (relayed, ()) = tokio::join!(relayed, test);
    assert_eq!((relayed.to_endpoint, relayed.to_client), (12, 11));
    assert_eq!(told.get(), 12);
}

#[tokio::test]
async fn a_side_without_a_socket_is_copied_and_flushed() {
    let pools = Pools::default();
    let (mut client, near) = duplex(1000);
    let (far, mut endpoint) = connected().await;
    let relayed = relay(&pools, (near, Bytes::new()), (far, Bytes::new()), NEVER, |_, _| {});
    let test = async {
        let sent = vec![9; 1 << 20];
        let mut received = vec![0; 1 << 20];
        let both = tokio::join!(endpoint.write_all(&sent), client.read_exact(&mut received));
        both.0.unwrap();
        both.1.unwrap();
        assert!(sent == received);
        drop(client);
        drop(endpoint);
    };
    tokio::join!(relayed, test);
    assert_eq!(pools.counts().2, 0);
}

#[tokio::test]
async fn without_pipes_bulk_is_copied() {
    let pools = Pools::default();
    let mut all = Vec::new();
    while let Some(pipe) = pools.pipe() {
        all.push(pipe);
    }
    let (mut client, near) = connected().await;
    let (far, mut endpoint) = connected().await;
    let relayed = relay(&pools, (near, Bytes::new()), (far, Bytes::new()), NEVER, |_, _| {});
    let test = async {
        exchange(&mut client, &mut endpoint, 4 << 20).await;
        drop(client);
        drop(endpoint);
    };
    tokio::join!(relayed, test);
    assert_eq!(pools.counts().2, all.len());
    drop(all);
    assert_eq!(pools.counts().2, 0);
}

#[tokio::test]
async fn a_relay_on_which_nothing_moves_ends() {
    let pools = Pools::default();
    let (client, near) = duplex(1000);
    let (far, endpoint) = duplex(1000);
    let limit = Duration::from_millis(20);
    let relayed = relay(&pools, (near, Bytes::new()), (far, Bytes::new()), limit, |_, _| {}).await;
    assert!(matches!(relayed.ended, Ended::Idle), "{:?}", relayed.ended);
    drop((client, endpoint));
}

#[tokio::test]
async fn a_relay_ends_when_bytes_have_moved_and_nothing_more_comes() {
    // More operations than tokio lets a task do in one turn, then silence.
    const BYTES: usize = 1000;
    let pools = Pools::default();
    let (mut client, near) = duplex(BYTES);
    let (far, mut endpoint) = duplex(1);
    let limit = Duration::from_millis(20);
    client.write_all(&[b'x'; BYTES]).await.unwrap();
    let test = async {
        endpoint.read_exact(&mut [0; BYTES]).await.unwrap();
        (client, endpoint)
    };
    let relayed = relay(&pools, (near, Bytes::new()), (far, Bytes::new()), limit, |_, _| {});
    let hang = Duration::from_secs(20);
    let ended = tokio::time::timeout(hang, async { tokio::join!(relayed, test) }).await;
    let (relayed, _both) = ended.expect("it ends");
    assert!(matches!(relayed.ended, Ended::Idle), "{:?}", relayed.ended);
    assert_eq!(relayed.to_endpoint, BYTES as u64);
}
