//! Heads and bodies that once were, or might be, too much: what their names say of them holds, however they are cut, and
//! nothing that is made of them by chance does harm.

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

macro_rules! corpus {
    ($($file:literal),* $(,)?) => {
        &[$(($file, include_bytes!(concat!("../../../corpus/http1/", $file)))),*]
    };
}

const CORPUS: &[(&str, &[u8])] = corpus! {
    "incomplete_end",
    "incomplete_header",
    "incomplete_line",
    "other_http09",
    "other_http2",
    "other_proxy_protocol",
    "other_tls",
    "request_absolute",
    "request_browser",
    "request_connect",
    "request_empty_lines_before",
    "request_expect",
    "request_http10",
    "request_not_ascii",
    "request_options_asterisk",
    "request_pipelined",
    "request_post_chunked",
    "request_post_length",
    "request_upgrade",
    "request_white_space",
    "response_chunked",
    "response_interim",
    "response_length",
    "response_reason",
    "response_status",
    "response_two_lengths",
    "response_until_close",
    "smuggle_bare_cr",
    "smuggle_bare_lf",
    "smuggle_chunk_extension_lf",
    "smuggle_chunk_lf",
    "smuggle_chunk_overflow",
    "smuggle_chunk_size",
    "smuggle_cl_te",
    "smuggle_folded",
    "smuggle_length_list",
    "smuggle_length_overflow",
    "smuggle_length_sign",
    "smuggle_nul",
    "smuggle_space_before_colon",
    "smuggle_te_cl",
    "smuggle_te_identity",
    "smuggle_te_te",
    "smuggle_two_lengths",
};

/// How reading ends.
#[derive(Clone, PartialEq, Eq, Debug)]
enum End {
    /// All that came was read; more may follow.
    Open,
    Refused,
}

/// Reads requests, or responses, with their bodies.
fn read_all(pieces: &[&[u8]], is_response: bool) -> (Vec<String>, End) {
    let mut messages = Vec::new();
    let mut buf = BytesMut::new();
    let mut head = HeadDecoder::default();
    let mut body: Option<BodyDecoder> = None;
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            if let Some(decoder) = &mut body {
                match decoder.decode(&mut buf) {
                    Ok(Some(BodyPart::Data(data))) => {
                        messages.extend(data.iter().map(u8::to_string))
                    }
                    Ok(Some(BodyPart::Trailers(them))) => messages.push(format!("{them:?}")),
                    Ok(None) if decoder.is_ended() => body = None,
                    Ok(None) => break,
                    Err(_) => return (messages, End::Refused),
                }
                continue;
            }
            let read = if is_response {
                head.response(&mut buf, LIMITS, &Method::GET, HeaderMap::new)
                    .map(|it| it.map(|it| (format!("{it:?}"), it.body)))
            } else {
                head.request(&mut buf, LIMITS, HeaderMap::new)
                    .map(|it| it.map(|it| (format!("{it:?}"), it.body)))
            };
            match read {
                Ok(Some((text, length))) => {
                    messages.push(text);
                    body = Some(BodyDecoder::new(length, LIMITS));
                }
                Ok(None) => break,
                Err(_) => return (messages, End::Refused),
            }
        }
    }
    (messages, End::Open)
}

#[test]
fn the_corpus_is_what_its_names_say() {
    for (name, bytes) in CORPUS.iter() {
        let is_response = name.starts_with("response_");
        let (messages, end) = read_all(&[bytes], is_response);
        let expected = match name.split('_').next().unwrap() {
            _ if matches!(*name, "response_two_lengths" | "response_status") => End::Refused,
            "request" | "response" | "incomplete" => End::Open,
            "smuggle" | "other" => End::Refused,
            _ => panic!("{name}"),
        };
        assert_eq!(end, expected, "{name}: {messages:?}");
        if name.starts_with("request_") {
            assert!(!messages.is_empty(), "{name}");
        } else if name.starts_with("incomplete_") || name.starts_with("other_") {
            assert!(messages.is_empty(), "{name}: {messages:?}");
        }
    }
}

#[test]
fn the_corpus_is_read_alike_byte_by_byte() {
    for (name, bytes) in CORPUS.iter() {
        let is_response = name.starts_with("response_");
        let whole = read_all(&[bytes], is_response);
        // After its first look a reader waits for the end of a head, so what is refused may be so later.
        let bytes = if whole.1 == End::Refused {
            [bytes, &b"\r\n\r\n"[..]].concat()
        } else {
            bytes.to_vec()
        };
        let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read_all(&pieces, is_response), whole, "{name}");
    }
}

proptest! {
    #[test]
    fn what_chance_makes_of_the_corpus_reads_alike_however_it_is_cut(
        file in any::<prop::sample::Index>(),
        changes in vec((any::<prop::sample::Index>(), prop_oneof![
            any::<u8>(),
            prop::sample::select(b"\r\n:; \t\0,chunked0123456789".to_vec()),
        ]), 0..6),
        cut in any::<prop::sample::Index>(),
        is_response in any::<bool>(),
    ) {
        let mut bytes = CORPUS[file.index(CORPUS.len())].1.to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let (first, second) = bytes.split_at(cut.index(bytes.len() + 1));
        let whole = read_all(&[&bytes], is_response);
        let cut = read_all(&[first, second], is_response);
        // A look that begins behind a cut sees only line ends, so it may find out later what is wrong.
        prop_assert_eq!(whole.0, cut.0);
        prop_assert!(whole.1 == cut.1 || whole.1 == End::Refused);
    }
}
