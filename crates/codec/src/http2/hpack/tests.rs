//! The examples of RFC 7541, appendix C, and what one end makes of the other's blocks.

use bytes::BytesMut;
use http::header::{HeaderName, HeaderValue};
use http::{Method, StatusCode};
use proptest::prelude::*;

use super::{Decoder, Encoder, Field, HpackError, Name, TABLE_BYTES};
use crate::message::{FieldValue, IntoValue};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn text(field: &Field) -> (String, String) {
    match field {
        Field::Method(it) => (":method".into(), it.to_string()),
        Field::Scheme(it) => (":scheme".into(), it.to_string()),
        Field::Authority(it) => (":authority".into(), it.to_string()),
        Field::Path(it) => (":path".into(), it.to_string()),
        Field::Status(it) => (":status".into(), it.as_str().to_owned()),
        Field::Protocol(it) => (":protocol".into(), format!("{it:?}")),
        Field::Regular(name, value) => {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        }
        Field::Malformed(name) => (format!("{name:?}"), "malformed".into()),
    }
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, HpackError> {
    let mut fields = Vec::new();
    decoder.decode(block, |field, _| fields.push(text(&field)))?;
    Ok(fields)
}

/// Blocks of one connection, each with the lines that it stands for and the size of the table after it.
fn check(blocks: &[(&str, &str, usize)]) {
    check_with(Decoder::new(), blocks);
}

fn check_with(mut decoder: Decoder, blocks: &[(&str, &str, usize)]) {
    for (block, lines, table_bytes) in blocks {
        let fields = decode(&mut decoder, &bytes(block)).unwrap();
        let expected: Vec<(String, String)> = lines
            .lines()
            .map(str::trim)
            .filter(|it| !it.is_empty())
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        assert_eq!(fields, expected, "{block}");
        assert_eq!(decoder.table_bytes(), *table_bytes, "{block}");
    }
}

const REQUEST_1: &str = ":method: GET
    :scheme: http
    :path: /
    :authority: www.example.com";
const REQUEST_2: &str = ":method: GET
    :scheme: http
    :path: /
    :authority: www.example.com
    cache-control: no-cache";
const REQUEST_3: &str = ":method: GET
    :scheme: https
    :path: /index.html
    :authority: www.example.com
    custom-key: custom-value";

#[test]
fn single_fields_of_appendix_c2() {
    let custom = "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572";
    check(&[(custom, "custom-key: custom-header", 55)]);
    check(&[("040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path", 0)]);
    check(&[("1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret", 0)]);
    check(&[("82", ":method: GET", 0)]);
}

#[test]
fn requests_of_appendix_c3_and_c4() {
    check(&[
        ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", REQUEST_1, 57),
        ("8286 84be 5808 6e6f 2d63 6163 6865", REQUEST_2, 110),
        (
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
            REQUEST_3,
            164,
        ),
    ]);
    check(&[
        ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", REQUEST_1, 57),
        ("8286 84be 5886 a8eb 1064 9cbf", REQUEST_2, 110),
        ("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", REQUEST_3, 164),
    ]);
}

const RESPONSE_1: &str = ":status: 302
    cache-control: private
    date: Mon, 21 Oct 2013 20:13:21 GMT
    location: https://www.example.com";
const RESPONSE_2: &str = ":status: 307
    cache-control: private
    date: Mon, 21 Oct 2013 20:13:21 GMT
    location: https://www.example.com";
const RESPONSE_3: &str = ":status: 200
    cache-control: private
    date: Mon, 21 Oct 2013 20:13:22 GMT
    location: https://www.example.com
    content-encoding: gzip
    set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";

/// The examples have a table of 256 bytes; a size update says so.
fn with_table_of_256() -> Decoder {
    let mut decoder = Decoder::new();
    assert_eq!(decode(&mut decoder, &[0x3f, 0xe1, 0x01]), Ok(Vec::new()));
    decoder
}

#[test]
fn responses_of_appendix_c5() {
    check_with(
        with_table_of_256(),
        &[
            (
                "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 \
                 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 \
                 6c65 2e63 6f6d",
                RESPONSE_1,
                222,
            ),
            ("4803 3330 37c1 c0bf", RESPONSE_2, 222),
            (
                "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d \
                 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 \
                 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e \
                 3d31",
                RESPONSE_3,
                215,
            ),
        ],
    );
}

#[test]
fn responses_of_appendix_c6() {
    check_with(
        with_table_of_256(),
        &[
            (
                "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 \
                 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
                RESPONSE_1,
                222,
            ),
            ("4883 640e ffc1 c0bf", RESPONSE_2, 222),
            (
                "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab \
                 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f \
                 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
                RESPONSE_3,
                215,
            ),
        ],
    );
}

#[test]
fn blocks_that_break_the_rules_are_errors() {
    for (block, error) in [
        ("80", HpackError::Index),
        ("be", HpackError::Index),
        ("7f00 00", HpackError::Index),
        // A size update above what was allowed, and one after a field.
        ("3fe2 1f", HpackError::SizeUpdate),
        ("8220", HpackError::SizeUpdate),
        ("40", HpackError::Truncated),
        ("4003 61", HpackError::Truncated),
        ("ff80 8080 8080 01", HpackError::Integer),
        ("0081 ff00", HpackError::Huffman),
    ] {
        assert_eq!(decode(&mut Decoder::new(), &bytes(block)), Err(error), "{block}");
    }
}

#[test]
fn malformed_fields_keep_their_place_in_the_table() {
    let mut decoder = Decoder::new();
    // An upper-case name, and a value with a line feed, both indexed; then both again.
    let fields = decode(&mut decoder, &bytes("4001 4101 62 4001 6101 0a bf be")).unwrap();
    let malformed = ["Malformed", "Regular(\"a\")", "Malformed", "Regular(\"a\")"];
    assert_eq!(fields.iter().map(|it| it.0.as_str()).collect::<Vec<_>>(), malformed);
    assert_eq!(decoder.table_bytes(), 2 * 34);
    // The name of the second one is a good one.
    assert_eq!(decode(&mut decoder, &bytes("0f2f 0162")).unwrap(), [("a".into(), "b".into())]);
}

#[test]
fn an_entry_larger_than_the_table_empties_it() {
    let mut decoder = Decoder::new();
    decode(&mut decoder, &bytes("4001 6101 62")).unwrap();
    let mut block = bytes("4001 61 7f");
    block.extend_from_slice(&[0xe1, 0x1f]);
    block.extend(std::iter::repeat_n(b'x', 127 + 0x61 + (0x1f << 7)));
    decode(&mut decoder, &block).unwrap();
    assert_eq!(decoder.table_bytes(), 0);
}

fn header(encoder: &mut Encoder, name: &str, value: &str, is_sensitive: bool) -> BytesMut {
    let mut block = BytesMut::new();
    encoder.begin(&mut block);
    let mut value = HeaderValue::from_str(value).unwrap();
    value.set_sensitive(is_sensitive);
    let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
    encoder.header((&name).into(), value.value(), &mut block);
    block
}

#[test]
fn a_field_is_indexed_when_it_comes_again_and_a_secret_never() {
    let mut encoder = Encoder::new();
    let first = header(&mut encoder, "x-version", "one", false);
    assert_eq!((first[0], encoder.table_bytes()), (0x00, 0));
    let second = header(&mut encoder, "x-version", "one", false);
    assert_eq!((second[0], encoder.table_bytes()), (0x40, 32 + 12));
    assert_eq!(header(&mut encoder, "x-version", "one", false), &[0xbe][..]);
    // Its name alone is used for another value.
    assert_eq!(header(&mut encoder, "x-version", "two", false)[..2], [0x0f, 0x2f]);
    for _ in 0..3 {
        assert_eq!(header(&mut encoder, "authorization", "Bearer x", false)[..2], [0x1f, 0x08]);
        assert_eq!(header(&mut encoder, "cookie", "a=1", false)[..2], [0x1f, 0x11]);
        assert_eq!(header(&mut encoder, "x-key", "secret", true)[0], 0x10);
    }
    assert_eq!(encoder.table_bytes(), 32 + 12);
}

#[test]
fn a_smaller_table_is_announced_with_the_next_block() {
    let mut encoder = Encoder::new();
    let mut decoder = Decoder::new();
    for _ in 0..3 {
        let block = header(&mut encoder, "x-version", "one", false);
        decode(&mut decoder, &block).unwrap();
    }
    encoder.set_bytes_allowed(0);
    encoder.set_bytes_allowed(100);
    let block = header(&mut encoder, "x-version", "one", false);
    assert_eq!(block[..3], [0x20, 0x3f, 100 - 31]);
    decode(&mut decoder, &block).unwrap();
    assert_eq!((encoder.table_bytes(), decoder.table_bytes()), (44, 44));
    encoder.set_bytes_allowed(u32::MAX);
    assert_eq!(header(&mut encoder, "x-version", "one", false)[..3], [0x3f, 0xe1, 0x1f]);
}

#[test]
fn pseudo_headers_come_out_as_they_went_in() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    for _ in 0..3 {
        let mut block = BytesMut::new();
        for method in [Method::GET, Method::POST, Method::DELETE] {
            encoder.method(&method, &mut block);
        }
        encoder.scheme("https", &mut block);
        encoder.authority("web.mesh:80", &mut block);
        encoder.path("/a?b", &mut block);
        encoder.status(StatusCode::IM_A_TEAPOT, &mut block);
        encoder.protocol(b"websocket", &mut block);
        let fields = decode(&mut decoder, &block).unwrap();
        let values: Vec<&str> = fields.iter().map(|it| it.1.as_str()).collect();
        let expected =
            ["GET", "POST", "DELETE", "https", "web.mesh:80", "/a?b", "418", "b\"websocket\""];
        assert_eq!(values, expected);
    }
}

#[test]
fn values_that_are_none_are_malformed() {
    for (name, value) in [
        (":method", "G T"),
        (":status", "20"),
        (":status", "600"),
        (":path", ""),
        (":path", "a"),
        (":path", "/#a"),
        (":authority", "a b"),
        (":unknown", "1"),
        ("x", " a"),
        ("x", "a\t"),
        ("x", "a\rb"),
        ("x", "a\0"),
        ("X", "a"),
        ("", "a"),
        ("a b", "c"),
        ("a\"b", "c"),
    ] {
        let mut value = BytesMut::from(value);
        let field = Name::parse(name.as_bytes()).with_value(&mut value, false);
        assert!(matches!(field, Field::Malformed(_)), "{name}: {field:?}");
    }
}

/// Numbers of entries begin again, and the table is full all the time.
#[test]
fn what_one_end_encodes_the_other_decodes_for_a_long_time() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    for number in 0..80_000_u32 {
        let mut block = BytesMut::new();
        encoder.begin(&mut block);
        let text = |it: u32| format!("value-{it}");
        // New ones come twice, so that they enter the table; old ones are still there, or no more.
        let values =
            [text(number), text(number), text(number / 2), text(number.saturating_sub(40))];
        for value in &values {
            let name = HeaderName::from_static("x-name");
            encoder.header((&name).into(), FieldValue::new(value.as_bytes()).unwrap(), &mut block);
        }
        let expected: Vec<_> = values.into_iter().map(|it| ("x-name".to_owned(), it)).collect();
        assert_eq!(decode(&mut decoder, &block).unwrap(), expected);
        assert_eq!(encoder.table_bytes(), decoder.table_bytes());
        assert!(number < 100 || encoder.table_bytes() > TABLE_BYTES - 100);
    }
}

proptest! {
    #[test]
    fn what_one_end_encodes_the_other_decodes(
        blocks in proptest::collection::vec(
            proptest::collection::vec(("[a-d]{1,2}", "([ab]{0,2}|[ -~]{0,40}|x{900})"), 0..12), 1..20),
        sizes in proptest::collection::vec(0u32..6000, 20),
    ) {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        for (fields, size) in blocks.iter().zip(sizes) {
            if size % 3 == 0 {
                encoder.set_bytes_allowed(size);
            }
            let mut block = BytesMut::new();
            encoder.begin(&mut block);
            for (name, value) in fields {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                let value = FieldValue::new(value.trim().as_bytes()).unwrap();
                encoder.header((&name).into(), value, &mut block);
            }
            let expected: Vec<(String, String)> =
                fields.iter().map(|(a, b)| (a.clone(), b.trim().to_owned())).collect();
            prop_assert_eq!(decode(&mut decoder, &block).unwrap(), expected);
            prop_assert_eq!(encoder.table_bytes(), decoder.table_bytes());
            prop_assert!(decoder.table_bytes() <= TABLE_BYTES);
        }
    }

    #[test]
    fn random_blocks_never_panic_and_the_table_is_bounded(blocks: Vec<Vec<u8>>) {
        let mut decoder = Decoder::new();
        for block in blocks {
            if decode(&mut decoder, &block).is_err() {
                break;
            }
            prop_assert!(decoder.table_bytes() <= TABLE_BYTES);
        }
    }
}
