use proptest::prelude::*;

use super::*;

fn addresses(source: &str, destination: &str) -> Addresses {
    Addresses { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

fn header(
    version: Version,
    addresses: Option<Addresses>,
    length: usize,
) -> Result<Start, Malformed> {
    Ok(Start::Header { header: Header { version, addresses }, length })
}

fn v2(kind: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [V2_SIGNATURE.as_slice(), &[kind, family], &length, rest].concat()
}

#[test]
fn version_1_is_read_as_its_text_says() {
    let told = addresses("192.168.0.1:56324", "192.168.0.11:443");
    let tcp6 = addresses("[2001:db8::1]:1", "[::1]:65535");
    for (line, expected) in [
        ("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET /", Ok(Some(told))),
        ("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", Ok(Some(tcp6))),
        ("PROXY UNKNOWN\r\n", Ok(None)),
        ("PROXY UNKNOWN ffff:f...f:ffff ffff 1 x\r\nabc", Ok(None)),
        ("PROXY TCP4 192.168.0.1 192.168.0.11 56324\r\n", Err(Malformed::V1Form)),
        ("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443 \r\n", Err(Malformed::V1Form)),
        ("PROXY TCP4  192.168.0.1 192.168.0.11 56324 443\r\n", Err(Malformed::V1Form)),
        ("PROXY TCP4 192.168.0.1 192.168.0.11 056324 443\r\n", Err(Malformed::V1Form)),
        ("PROXY TCP4 192.168.0.1 192.168.0.11 +1 443\r\n", Err(Malformed::V1Form)),
        ("PROXY TCP4 192.168.0.1 192.168.0.11 65536 443\r\n", Err(Malformed::V1Form)),
        ("PROXY TCP4 ::1 ::1 1 443\r\n", Err(Malformed::V1Form)),
        ("PROXY TCP6 1.2.3.4 1.2.3.4 1 443\r\n", Err(Malformed::V1Form)),
        ("PROXY UDP4 192.168.0.1 192.168.0.11 1 443\r\n", Err(Malformed::V1Form)),
        ("PROXY \r\n", Err(Malformed::V1Form)),
        (&format!("PROXY UNKNOWN {}\r\n", "x".repeat(91)), Ok(None)),
        (&format!("PROXY UNKNOWN {}\r\n", "x".repeat(92)), Err(Malformed::V1TooLong)),
    ] {
        let length = line.find("\r\n").unwrap() + 2;
        let expected = expected.and_then(|it| header(Version::V1, it, length));
        assert_eq!(read(line.as_bytes()), expected, "{line}");
    }
}

#[test]
fn version_2_is_read_for_every_family() {
    let v4 = [192, 168, 0, 1, 10, 0, 0, 1, 0xDC, 0x04, 1, 187];
    let told = Some(addresses("192.168.0.1:56324", "10.0.0.1:443"));
    let mut v6 = [0; 36];
    v6[15] = 1;
    v6[31] = 2;
    v6[33] = 7;
    v6[35] = 8;
    let told6 = Some(addresses("[::1]:7", "[::2]:8"));
    let with_tlv = [v4.as_slice(), &[0x04, 0, 2, 9, 9], &[0xEA, 0, 0]].concat();
    for (kind, family, rest, expected) in [
        (0x21, 0x11, v4.as_slice(), Ok(told)),
        (0x21, 0x12, &v4, Ok(told)),
        (0x21, 0x11, &with_tlv, Ok(told)),
        (0x21, 0x21, &v6, Ok(told6)),
        (0x21, 0x31, &[0; 216], Ok(None)),
        (0x21, 0x00, b"anything", Ok(None)),
        (0x20, 0x00, b"", Ok(None)),
        (0x20, 0x11, &v4, Ok(None)),
        (0x21, 0x11, &v4[..11], Err(Malformed::V2Short)),
        (0x21, 0x21, &v6[..35], Err(Malformed::V2Short)),
        (0x21, 0x31, &[0; 215], Err(Malformed::V2Short)),
        (0x21, 0x11, &with_tlv[..14], Err(Malformed::V2Short)),
        (0x21, 0x11, &with_tlv[..16], Err(Malformed::V2Short)),
        (0x22, 0x11, &v4, Err(Malformed::V2Kind)),
        (0x11, 0x11, &v4, Err(Malformed::V2Kind)),
        (0x21, 0x41, &v4, Err(Malformed::V2Kind)),
        (0x21, 0x00, &[0; V2_REST_BYTES_MAX], Ok(None)),
        (0x21, 0x00, &[0; V2_REST_BYTES_MAX + 1], Err(Malformed::V2TooLong)),
    ] {
        let bytes = v2(kind, family, rest);
        let expected = expected.and_then(|it| header(Version::V2, it, bytes.len()));
        assert_eq!(read(&bytes), expected, "{kind:x} {family:x} {}", rest.len());
    }
}

#[test]
fn a_checksum_is_checked_where_there_is_one() {
    let mut rest =
        vec![1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 0, 2, TLV_CRC32C, 0, 4, 0, 0, 0, 0, 0x04, 0, 0];
    let sum = crc32c::checksum(&[&v2(0x21, 0x11, &rest)]);
    rest[15..19].copy_from_slice(&sum.to_be_bytes());
    assert!(matches!(read(&v2(0x21, 0x11, &rest)), Ok(Start::Header { .. })));
    rest[18] ^= 1;
    assert_eq!(read(&v2(0x21, 0x11, &rest)), Err(Malformed::V2Checksum));
    let short = [&rest[..12], &[TLV_CRC32C, 0, 0]].concat();
    assert_eq!(read(&v2(0x21, 0x11, &short)), Err(Malformed::V2Checksum));
}

#[test]
fn other_protocols_have_no_header() {
    for other in ["GET / HTTP/1.1\r\n", "PROX", "PROXYING", "\r\nGET", "\x16\x03\x01", ""] {
        let expected =
            if "PROXY ".starts_with(other) { Start::Incomplete } else { Start::NoHeader };
        assert_eq!(read(other.as_bytes()), Ok(expected), "{other:?}");
    }
}

#[test]
fn a_local_header_is_written_and_read() {
    for (version, text) in [(Version::V1, 15), (Version::V2, 16)] {
        let mut bytes = Vec::new();
        write(version, None, &mut bytes);
        assert_eq!(read(&bytes), header(version, None, text));
    }
}

fn verdict_of_every_split(bytes: &[u8]) -> Result<Start, Malformed> {
    for end in 0..bytes.len() {
        match read(&bytes[..end]) {
            Ok(Start::Incomplete) => {}
            told => {
                assert_eq!(told, read(bytes), "a part of {end} bytes says otherwise");
                return told;
            }
        }
    }
    read(bytes)
}

macro_rules! corpus {
    ($($file:literal)*) => {
        &[$(($file, include_bytes!(concat!("../../corpus/proxy_protocol/", $file)))),*]
    };
}

/// The verdict is the first word of the name.
const CORPUS: &[(&str, &[u8])] = corpus! {
    "header_v1_tcp4"
    "header_v1_tcp6"
    "header_v1_unknown_longest"
    "header_v2_local"
    "header_v2_tcp4"
    "header_v2_tlvs"
    "header_v2_udp6"
    "header_v2_unix"
    "incomplete_v2"
    "malformed_v1_107_bytes"
    "malformed_v1_bare_lf"
    "malformed_v1_padding"
    "malformed_v2_command"
    "malformed_v2_family"
    "malformed_v2_tlv_too_long"
    "none_blank_lines"
    "none_http"
    "none_tls"
};

#[test]
fn the_corpus_is_read_alike_however_it_is_split() {
    for (file, bytes) in CORPUS {
        let kind = match verdict_of_every_split(bytes) {
            Ok(Start::Incomplete) => "incomplete",
            Ok(Start::NoHeader) => "none",
            Ok(Start::Header { .. }) => "header",
            Err(_) => "malformed",
        };
        assert!(file.starts_with(kind), "{file} is {kind}");
    }
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        source in ip(), destination in ip(), ports: (u16, u16), is_v1: bool, tail: Vec<u8>, cut: usize,
    ) {
        let version = if is_v1 { Version::V1 } else { Version::V2 };
        let told = Addresses {
            source: SocketAddr::new(source, ports.0),
            destination: SocketAddr::new(destination, ports.1),
        };
        let mut bytes = Vec::new();
        write(version, Some(&told), &mut bytes);
        let length = bytes.len();
        bytes.extend(tail);
        let Ok(Start::Header { header, length: read_length }) = read(&bytes) else {
            panic!("not read")
        };
        prop_assert_eq!(read_length, length);
        let (source, destination) = of_one_family(&told);
        let back = header.addresses.unwrap();
        prop_assert_eq!((back.source.ip(), back.destination.ip()), (source, destination));
        prop_assert_eq!((back.source.port(), back.destination.port()), ports);
        prop_assert_eq!(read(&bytes[..cut % length]), Ok(Start::Incomplete));
    }

    #[test]
    fn no_bytes_make_it_panic(is_v1: bool, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let prefix: &[u8] = if is_v1 { V1_PREFIX } else { V2_SIGNATURE };
        let _ = read(&bytes);
        let _ = verdict_of_every_split(&[prefix, &bytes].concat());
        let kind = v2(0x20 | bytes.first().unwrap_or(&0) & 1, bytes.get(1).unwrap_or(&0) & 0x33, &bytes);
        let _ = verdict_of_every_split(&kind);
    }
}
