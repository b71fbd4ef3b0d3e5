use super::*;

/// Chunked bodies with what comes after them.
#[test]
fn a_chunked_body_has_one_end_or_none() {
    use BodyError::*;
    let trailers_error = |error| Err(Trailers(error));
    for (bytes, expected) in [
        ("5\r\nhello\r\n0\r\n\r\nGET", Ok(("hello", "GET"))),
        ("0\r\n\r\n", Ok(("", ""))),
        ("1\r\na\r\n2\r\nbc\r\n000\r\n\r\n", Ok(("abc", ""))),
        ("A\r\n0123456789\r\n0\r\n\r\n", Ok(("0123456789", ""))),
        ("1;a=b;c=\"d e\"\r\nx\r\n0;last\r\n\r\n", Ok(("x", ""))),
        ("1 \t;a\r\nx\r\n0\r\n\r\n", Ok(("x", ""))),
        ("0000000000000001\r\nx\r\n0\r\n\r\n", Ok(("x", ""))),
        ("\r\n", Err(ChunkSize)),
        (";a\r\nx\r\n0\r\n\r\n", Err(ChunkSize)),
        ("-1\r\nx\r\n0\r\n\r\n", Err(ChunkSize)),
        ("+1\r\nx\r\n0\r\n\r\n", Err(ChunkSize)),
        ("0x1\r\nx\r\n0\r\n\r\n", Err(ChunkSize)),
        ("1_\r\nx\r\n0\r\n\r\n", Err(ChunkSize)),
        (" 1\r\nx\r\n0\r\n\r\n", Err(ChunkSize)),
        ("1 \r\nx\r\n0\r\n\r\n", Err(ChunkSize)),
        ("1 1\r\nx\r\n0\r\n\r\n", Err(ChunkSize)),
        ("00000000000000001\r\nx\r\n0\r\n\r\n", Err(ChunkSize)),
        ("10000000000000001\r\nx\r\n0\r\n\r\n", Err(ChunkSize)),
        ("1\nx\r\n0\r\n\r\n", Err(ChunkSize)),
        ("1\rx\r\n0\r\n\r\n", Err(ChunkEnd)),
        ("1;a\nx\r\n0\r\n\r\n", Err(ChunkExtension)),
        ("1;a\0\r\nx\r\n0\r\n\r\n", Err(ChunkExtension)),
        ("1\r\nx\n0\r\n\r\n", Err(ChunkEnd)),
        ("1\r\nxy\r\n0\r\n\r\n", Err(ChunkEnd)),
        ("1\r\nx0\r\n\r\n", Err(ChunkEnd)),
        ("1\r\nx\r\n0\r\n\n", trailers_error(HeadError::LineEnd)),
        ("0\r\na: b\n\r\n", trailers_error(HeadError::LineEnd)),
        ("0\r\na: b\r\n c\r\n\r\n", trailers_error(HeadError::HeaderLine)),
        ("0\r\na : b\r\n\r\n", trailers_error(HeadError::HeaderLine)),
        ("0\r\ncontent-length: x\r\n\r\n", trailers_error(HeadError::ContentLength)),
        ("5\r\nhel", Err(Incomplete)),
        ("0\r\n", Err(Incomplete)),
        ("0\r\na: b\r\n", Err(Incomplete)),
    ] {
        let read = body(BodyLength::Chunked, [bytes.as_bytes()]);
        let read = read.map(|(bytes, trailers, rest)| {
            assert!(trailers.is_empty());
            (String::from_utf8(bytes).unwrap(), String::from_utf8(rest.to_vec()).unwrap())
        });
        let expected = expected.map(|(body, rest)| (body.to_owned(), rest.to_owned()));
        assert_eq!(read, expected, "{bytes:?}");
    }
}

#[test]
fn trailers_are_read_but_for_those_that_would_frame_another_message() {
    let bytes = b"0\r\nX-Sum: 42\r\ncontent-length: 7\r\nhost: b\r\ntransfer-encoding: chunked\r\n";
    let whole = [bytes.as_slice(), b"\r\nGET"].concat();
    // Both say how long a message is.
    assert!(body(BodyLength::Chunked, [whole.as_slice()]).is_err());
    let bytes = b"0\r\nX-Sum: 42\r\ncontent-length: 7\r\nhost: b\r\nconnection: x-sum\r\n\r\nGET";
    let (_, trailers, rest) = body(BodyLength::Chunked, [bytes.as_slice()]).unwrap();
    assert_eq!(trailers.len(), 1);
    assert_eq!(trailers.get("x-sum").unwrap(), "42");
    assert_eq!(rest, "GET");
}

#[test]
fn trailers_and_extensions_are_bounded() {
    let many = format!("0\r\n{}\r\n", "a: b\r\n".repeat(51));
    let error = body(BodyLength::Chunked, [many.as_bytes()]).unwrap_err();
    assert_eq!(error, BodyError::Trailers(HeadError::TooManyHeaders));
    let long = format!("0\r\na: {}", "b".repeat(4096));
    let error = body(BodyLength::Chunked, [long.as_bytes()]).unwrap_err();
    assert_eq!(error, BodyError::Trailers(HeadError::TooLong));
    // 17 KiB of extensions in small chunks.
    let chunks = format!("1;{}\r\nx\r\n", "e".repeat(1024)).repeat(17);
    let error = body(BodyLength::Chunked, [chunks.as_bytes()]).unwrap_err();
    assert_eq!(error, BodyError::ChunkExtension);
}

#[test]
fn the_end_is_known_with_the_last_byte() {
    let mut decoder = BodyDecoder::new(BodyLength::Chunked, LIMITS);
    let mut buf = BytesMut::from("1\r\nx\r\n0\r\n\r\n");
    assert!(matches!(decoder.decode(&mut buf), Ok(Some(BodyPart::Data(_)))));
    assert!(decoder.is_ended());
    let mut decoder = BodyDecoder::new(BodyLength::Exact(3), LIMITS);
    let mut buf = BytesMut::from("abcd");
    assert_eq!(decoder.bytes_left(), Some(3));
    assert!(matches!(decoder.decode(&mut buf), Ok(Some(BodyPart::Data(_)))));
    assert!(decoder.is_ended());
    assert_eq!(buf, "d");
    assert!(BodyDecoder::new(BodyLength::None, LIMITS).is_ended());
}

#[test]
fn a_connection_that_ends_ends_a_body_without_a_length_only() {
    let pieces: [&[u8]; 2] = [b"ab", b"c"];
    assert_eq!(body(BodyLength::UntilClose, pieces).unwrap().0, b"abc");
    assert_eq!(body(BodyLength::Exact(4), pieces).unwrap_err(), BodyError::Incomplete);
    assert_eq!(body(BodyLength::Exact(3), pieces).unwrap().0, b"abc");
}
