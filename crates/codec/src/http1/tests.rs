mod bodies;
mod corpus;
mod heads;
mod properties;

use bytes::BytesMut;
use http::Method;

use super::*;

const LIMITS: Limits = Limits { bytes_max: 4096, headers_max: 50 };

/// What a reader makes of a request that is there at once.
fn request(bytes: &[u8]) -> Result<Option<RequestHead>, HeadError> {
    HeadDecoder::default().request(&mut BytesMut::from(bytes), LIMITS, HeaderMap::new)
}

fn response(bytes: &[u8], to: &Method) -> Result<Option<ResponseHead>, HeadError> {
    HeadDecoder::default().response(&mut BytesMut::from(bytes), LIMITS, to, HeaderMap::new)
}

/// All of a body, as it comes in these pieces: the bytes, the trailers, and what is left over after its end.
fn body<'a>(
    length: BodyLength,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(Vec<u8>, HeaderMap, BytesMut), BodyError> {
    let mut decoder = BodyDecoder::new(length, LIMITS);
    let mut buf = BytesMut::new();
    let (mut bytes, mut trailers) = (Vec::new(), HeaderMap::new());
    for piece in pieces {
        buf.extend_from_slice(piece);
        while let Some(part) = decoder.decode(&mut buf)? {
            match part {
                BodyPart::Data(data) => bytes.extend_from_slice(&data),
                BodyPart::Trailers(them) => trailers = them,
            }
        }
    }
    decoder.end_of_stream()?;
    Ok((bytes, trailers, buf))
}
