use bytes::{BufMut, Bytes};
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Cuts `bytes` at these places.
fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|it| it.index(bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let ends = cuts.iter().copied().chain([bytes.len()]);
    let begins = std::iter::once(0).chain(cuts.iter().copied());
    begins.zip(ends).map(|(from, to)| &bytes[from..to]).collect()
}

fn head_in_pieces(pieces: &[&[u8]]) -> Result<Option<(RequestHead, BytesMut)>, HeadError> {
    let mut decoder = HeadDecoder::default();
    let mut buf = BytesMut::new();
    for (at, piece) in pieces.iter().enumerate() {
        buf.extend_from_slice(piece);
        if let Some(head) = decoder.request(&mut buf, LIMITS, HeaderMap::new)? {
            pieces[at + 1..].iter().for_each(|rest| buf.extend_from_slice(rest));
            return Ok(Some((head, buf)));
        }
    }
    Ok(None)
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    vec(("x-[a-z]{1,9}", "[!-~]([ -~]{0,30}[!-~])?"), 0..12).prop_map(|lines| {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(&value).unwrap());
        }
        headers
    })
}

/// Bytes that look like HTTP, so that readers get past the first line.
fn nearly_http() -> impl Strategy<Value = Vec<u8>> {
    let words: &[&[u8]] = &[
        b"GET",
        b"POST",
        b"CONNECT",
        b" ",
        b"/",
        b"*",
        b"a:80",
        b"http://a/",
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"host: a",
        b"content-length: 3",
        b"transfer-encoding: ",
        b"chunked",
        b":",
        b"\t",
        b"\0",
        b"0\r\n",
        b"3\r\nabc\r\n",
        b"200 OK",
        b";x",
        b"ffffffffffffffff",
        b"\xff",
        b"connection: close",
        b"expect: 100-continue",
    ];
    vec(prop::sample::select(words), 0..20).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn a_head_reads_the_same_however_it_is_cut(
        bytes in nearly_http(),
        cuts in vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let whole = head_in_pieces(&[&bytes]);
        let cut = head_in_pieces(&pieces(&bytes, &cuts));
        match (whole, cut) {
            (Ok(Some((whole, rest))), Ok(Some((cut, cut_rest)))) => {
                prop_assert_eq!(format!("{whole:?}"), format!("{cut:?}"));
                prop_assert_eq!(rest, cut_rest);
            }
            // A cut may show that one line is bad before another one is.
            (Err(_), Err(_)) | (Ok(None), Ok(None)) => {}
            // Without its end, a head is known to be bad earlier or later.
            (Ok(None), Err(_)) | (Err(_), Ok(None)) => {}
            (whole, cut) => prop_assert!(false, "{whole:?} is not {cut:?}"),
        }
    }

    #[test]
    fn a_request_that_is_written_reads_as_it_was(
        headers in headers(),
        path in "/[a-z0-9/?=&%]{0,40}",
        length in prop::option::of(1..u64::MAX / 4),
        cuts in vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let uri: Uri = path.parse().unwrap();
        let framing = length.map_or(Framing::Chunked, Framing::Length);
        let mut out = BytesMut::new();
        request_head(&mut out, &Method::POST, &uri, &headers, framing);
        let (head, rest) = head_in_pieces(&pieces(&out, &cuts)).unwrap().unwrap();
        let mut read = head.headers;
        read.remove("content-length");
        read.remove("transfer-encoding");
        prop_assert_eq!(read, headers);
        prop_assert_eq!((head.method, head.uri), (Method::POST, uri));
        prop_assert_eq!(head.body, length.map_or(BodyLength::Chunked, BodyLength::Exact));
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn a_response_that_is_written_reads_as_it_was(headers in headers(), status in 200_u16..600) {
        let status = StatusCode::from_u16(status).unwrap();
        let mut out = BytesMut::new();
        let framing = Framing::Length(5);
        response_head(&mut out, Version::HTTP_11, status, &headers, framing, None);
        let head = response(&out, &Method::GET).unwrap().unwrap();
        let mut read = head.headers;
        read.remove("content-length");
        prop_assert_eq!(read, headers);
        prop_assert_eq!(head.status, status);
    }

    #[test]
    fn a_chunked_body_that_is_written_reads_as_it_was(
        chunks in vec(vec(any::<u8>(), 1..50), 0..10),
        after in headers(),
        cuts in vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let mut out = BytesMut::new();
        for chunk in &chunks {
            chunk_size(&mut out, chunk.len());
            out.put_slice(chunk);
            out.put_slice(CHUNK_END);
        }
        if after.is_empty() { out.put_slice(LAST_CHUNK) } else { trailers(&mut out, &after) }
        out.put_slice(b"rest");
        let (bytes, read, rest) = body(BodyLength::Chunked, pieces(&out, &cuts)).unwrap();
        prop_assert_eq!(bytes, chunks.concat());
        prop_assert_eq!(read, after);
        prop_assert_eq!(rest, Bytes::from_static(b"rest"));
    }

    #[test]
    fn no_bytes_panic(
        bytes in prop_oneof![nearly_http(), vec(any::<u8>(), 0..200)],
        cuts in vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let pieces = pieces(&bytes, &cuts);
        let _ = head_in_pieces(&pieces);
        let _ = response(&bytes, &Method::GET);
        for length in [BodyLength::Chunked, BodyLength::Exact(7), BodyLength::UntilClose] {
            let _ = body(length, pieces.iter().copied());
        }
    }
}
