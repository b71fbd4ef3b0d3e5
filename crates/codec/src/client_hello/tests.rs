use proptest::prelude::*;

use super::*;

fn vector(width: usize, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u32).to_be_bytes();
    [&length[4 - width..], content].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().as_slice(), &vector(2, content)].concat()
}

fn name(host: &[u8]) -> Vec<u8> {
    extension(SERVER_NAME, &vector(2, &[&[HOST_NAME], vector(2, host).as_slice()].concat()))
}

fn alpn(names: &[&[u8]]) -> Vec<u8> {
    let names: Vec<u8> = names.iter().flat_map(|it| vector(1, it)).collect();
    extension(APPLICATION_PROTOCOLS, &vector(2, &names))
}

fn grease() -> Vec<u8> {
    extension(0x3A3A, &[0])
}

fn message(extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend(vector(1, &[9; 32]));
    body.extend(vector(2, &[0x1A, 0x1A, 0x13, 0x01]));
    body.extend(vector(1, &[0]));
    body.extend(vector(2, extensions));
    [&[CLIENT_HELLO], vector(3, &body).as_slice()].concat()
}

fn records(message: &[u8], bytes: usize) -> Vec<u8> {
    message.chunks(bytes).flat_map(|it| [&[22, 3, 1], vector(2, it).as_slice()].concat()).collect()
}

fn whole(bytes: &[u8]) -> Start {
    ClientHelloReader::default().advance(bytes)
}

/// The verdict when the bytes come one by one.
fn dribbled(bytes: &[u8]) -> Start {
    let mut reader = ClientHelloReader::default();
    for end in 0..=bytes.len() {
        match reader.advance(&bytes[..end]) {
            Start::Incomplete => {}
            told => return told,
        }
    }
    Start::Incomplete
}

fn told(server_name: Option<&str>, protocols: &[&[u8]]) -> Start {
    let protocols = protocols.iter().map(|it| it.to_vec()).collect();
    Start::Tls(ClientHello { server_name: server_name.map(ToOwned::to_owned), protocols })
}

#[test]
fn name_and_protocols_are_read_over_any_records() {
    let extensions =
        [grease(), name(b"Web.Example.com"), alpn(&[b"h2", b"http/1.1"]), grease()].concat();
    let message = message(&extensions);
    let expected = told(Some("web.example.com"), &[b"h2", b"http/1.1"]);
    for size in [1, 2, 5, 40, 16384] {
        let bytes = [records(&message, size), b"what follows".to_vec()].concat();
        assert_eq!(whole(&bytes), expected, "records of {size}");
        assert_eq!(dribbled(&bytes), expected, "records of {size}");
    }
}

#[test]
fn a_hello_may_say_nothing() {
    assert_eq!(whole(&records(&message(&[]), 100)), told(None, &[]));
    let mut old = message(&[]);
    old.truncate(old.len() - 2);
    old[3] -= 2;
    assert_eq!(whole(&records(&old, 100)), told(None, &[]));
}

#[test]
fn what_is_malformed_is_no_tls() {
    let two_names = [name(b"a"), name(b"b")].concat();
    let two_lists = [alpn(&[b"a"]), alpn(&[b"b"])].concat();
    let two_hosts = vector(2, &[0, 0, 1, b'a', 0, 0, 1, b'b']);
    let mut not_a_hello = message(&[]);
    not_a_hello[0] = 2;
    let mut too_long = message(&[]);
    too_long[2] = 0x40;
    too_long[3] = 1;
    let mut trailing = message(&[]);
    trailing[3] += 1;
    trailing.push(0);
    for (what, bytes) in [
        ("http", b"GET / HTTP/1.1".to_vec()),
        ("two server names", records(&message(&two_names), 999)),
        ("two lists of protocols", records(&message(&two_lists), 999)),
        ("two hosts", records(&message(&extension(SERVER_NAME, &two_hosts)), 999)),
        ("an empty host", records(&message(&name(b"")), 999)),
        ("a host with a zero", records(&message(&name(b"a\0b")), 999)),
        ("a protocol without a name", records(&message(&alpn(&[b""])), 999)),
        ("an extension cut off", records(&message(&[0, 0, 0, 9, 0]), 999)),
        ("another message", records(&not_a_hello, 999)),
        ("a message too long", records(&too_long, 999)),
        ("bytes after the extensions", records(&trailing, 999)),
        ("an empty record", vec![22, 3, 1, 0, 0]),
        ("a record too long", vec![22, 3, 1, 0x40, 1]),
        ("another version", vec![22, 2]),
        ("an alert", vec![21, 3, 1, 0, 2, 1, 0]),
        ("SSL 2.0", vec![0x80, 0x2E, 1, 0, 2]),
    ] {
        assert_eq!(whole(&bytes), Start::NotTls, "{what}");
        assert_eq!(dribbled(&bytes), Start::NotTls, "{what}");
    }
}

#[test]
fn what_is_kept_is_bounded() {
    let filler = extension(0x0A0A, &[0; 12 * 1024]);
    let bytes = records(&message(&filler), 1);
    assert_eq!(dribbled(&bytes[..BYTES_MAX - 1]), Start::Incomplete);
    assert_eq!(dribbled(&bytes[..BYTES_MAX]), Start::NotTls);
}

macro_rules! corpus {
    ($($file:literal)*) => {
        &[$(($file, include_bytes!(concat!("../../corpus/client_hello/", $file)))),*]
    };
}

/// The verdict is the first word of the name.
const CORPUS: &[(&str, &[u8])] = corpus! {
    "incomplete_half"
    "incomplete_one_byte"
    "other_all_ones"
    "other_http"
    "other_length_lies"
    "other_server_hello"
    "other_zeros"
    "tls_openssl_12"
    "tls_openssl_13"
    "tls_openssl_alpn_only"
    "tls_two_records"
    "tls_with_more"
};

#[test]
fn the_corpus_is_read_alike_however_it_is_split() {
    for (file, bytes) in CORPUS {
        let verdict = whole(bytes);
        assert_eq!(dribbled(bytes), verdict, "{file}");
        let kind = match verdict {
            Start::Incomplete => "incomplete",
            Start::NotTls => "other",
            Start::Tls(_) => "tls",
        };
        assert!(file.starts_with(kind), "{file} is {kind}");
    }
}

proptest! {
    #[test]
    fn what_a_client_says_is_read(
        host in "[a-z0-9.-]{1,60}",
        names in proptest::collection::vec("[a-z/0-9.]{1,20}", 0..5),
        size in 1_usize..300,
        before in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let protocols: Vec<&[u8]> = names.iter().map(|it| it.as_bytes()).collect();
        let extensions = [extension(51, &before), name(host.as_bytes()), alpn(&protocols)].concat();
        let bytes = records(&message(&extensions), size);
        prop_assert_eq!(whole(&bytes), told(Some(&host), &protocols));
        prop_assert_eq!(dribbled(&bytes), told(Some(&host), &protocols));
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        at in 0_usize..200,
        byte: u8,
    ) {
        prop_assert_eq!(whole(&bytes), dribbled(&bytes));
        let framed = records(&[&[CLIENT_HELLO, 0, 0, bytes.len() as u8], bytes.as_slice()].concat(), 64);
        prop_assert_eq!(whole(&framed), dribbled(&framed));
        let mut bent = records(&message(&[name(b"a.b"), alpn(&[b"h2"])].concat()), 50);
        let at = at % bent.len();
        bent[at] = byte;
        prop_assert_eq!(whole(&bent), dribbled(&bent));
    }
}
