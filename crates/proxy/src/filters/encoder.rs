//! Compresses a body piece by piece.

use std::io::{self, Write};

use bytes::{BufMut, Bytes, BytesMut};
use flate2::Compression as Level;
use flate2::write::GzEncoder;
use proxy_config::Compressor;

/// What is given out at once. With what one piece of input makes more of, it bounds what an encoder holds beside its
/// window.
const OUTPUT_BYTES: usize = 16 * 1024;
/// Window of brotli: 2^18 bytes, so that an encoder takes about a megabyte and not sixteen.
const BROTLI_WINDOW_BITS: u32 = 18;
const BROTLI_BUFFER_BYTES: usize = 4 * 1024;

/// A body on its way through a compressor.
pub(crate) struct Encoder {
    kind: Kind,
    /// Bytes went in that may not have come out.
    is_dirty: bool,
}

enum Kind {
    Gzip(GzEncoder<Output>),
    Brotli(Box<brotli::CompressorWriter<Output>>),
    Done,
}

#[derive(Default)]
struct Output(BytesMut);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.put_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Encoder {
    pub(super) fn new(algorithm: Compressor) -> Self {
        let output = Output::default();
        let kind = match algorithm {
            Compressor::Gzip { level } => {
                Kind::Gzip(GzEncoder::new(output, Level::new(u32::from(level.clamp(1, 9)))))
            }
            Compressor::Brotli { quality } => {
                Kind::Brotli(Box::new(brotli::CompressorWriter::new(
                    output,
                    BROTLI_BUFFER_BYTES,
                    u32::from(quality.min(11)),
                    BROTLI_WINDOW_BITS,
                )))
            }
        };
        Self { kind, is_dirty: false }
    }

    /// Takes bytes of the content. Gives what has come out once it is worth it.
    pub(crate) fn write(&mut self, content: &[u8]) -> Option<Bytes> {
        self.is_dirty |= !content.is_empty();
        let written = match &mut self.kind {
            Kind::Gzip(encoder) => encoder.write_all(content),
            Kind::Brotli(encoder) => encoder.write_all(content),
            Kind::Done => Ok(()),
        };
        written.expect("memory takes all that is written to it");
        if self.output()?.len() >= OUTPUT_BYTES { self.take() } else { None }
    }

    /// All that has gone in comes out; the client can read it. `None` when there is nothing new.
    pub(crate) fn flush(&mut self) -> Option<Bytes> {
        if !std::mem::take(&mut self.is_dirty) {
            return None;
        }
        let flushed = match &mut self.kind {
            Kind::Gzip(encoder) => encoder.flush(),
            Kind::Brotli(encoder) => encoder.flush(),
            Kind::Done => Ok(()),
        };
        flushed.expect("memory takes all that is written to it");
        self.take()
    }

    /// The rest. Nothing follows.
    pub(crate) fn finish(&mut self) -> Option<Bytes> {
        let output = match std::mem::replace(&mut self.kind, Kind::Done) {
            Kind::Gzip(encoder) => {
                encoder.finish().expect("memory takes all that is written to it")
            }
            Kind::Brotli(encoder) => encoder.into_inner(),
            Kind::Done => return None,
        };
        (!output.0.is_empty()).then(|| output.0.freeze())
    }

    fn output(&mut self) -> Option<&mut BytesMut> {
        match &mut self.kind {
            Kind::Gzip(encoder) => Some(&mut encoder.get_mut().0),
            Kind::Brotli(encoder) => Some(&mut encoder.get_mut().0),
            Kind::Done => None,
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        let output = self.output()?;
        (!output.is_empty()).then(|| output.split().freeze())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    fn pieces(algorithm: Compressor) -> (Vec<u8>, Vec<u8>) {
        let mut encoder = Encoder::new(algorithm);
        let mut content = Vec::new();
        let mut out = Vec::new();
        for nth in 0..400_u32 {
            let piece: Vec<u8> = (0..500).map(|at| (nth * at % 251) as u8).collect();
            content.extend_from_slice(&piece);
            out.extend(encoder.write(&piece).unwrap_or_default());
            if nth % 50 == 0 {
                out.extend(encoder.flush().unwrap_or_default());
            }
        }
        out.extend(encoder.finish().unwrap_or_default());
        assert_eq!(encoder.finish(), None);
        (content, out)
    }

    #[test]
    fn what_comes_out_is_what_went_in() {
        let (content, out) = pieces(Compressor::Gzip { level: 6 });
        let mut read = Vec::new();
        GzDecoder::new(&*out).read_to_end(&mut read).unwrap();
        assert!(read == content && out.len() < content.len());
        let (content, out) = pieces(Compressor::Brotli { quality: 4 });
        let mut read = Vec::new();
        brotli::Decompressor::new(&*out, 4096).read_to_end(&mut read).unwrap();
        assert!(read == content && out.len() < content.len());
    }

    #[test]
    fn what_is_flushed_can_be_read_at_once() {
        for algorithm in [Compressor::Gzip { level: 1 }, Compressor::Brotli { quality: 1 }] {
            let mut encoder = Encoder::new(algorithm);
            let mut out = Vec::new();
            out.extend(encoder.write(b"data: 1\n\n").unwrap_or_default());
            out.extend(encoder.flush().unwrap());
            assert_eq!(encoder.flush(), None);
            let mut read = [0; 9];
            match algorithm {
                Compressor::Gzip { .. } => GzDecoder::new(&*out).read_exact(&mut read).unwrap(),
                Compressor::Brotli { .. } => {
                    brotli::Decompressor::new(&*out, 4096).read_exact(&mut read).unwrap();
                }
            }
            assert_eq!(&read, b"data: 1\n\n");
        }
    }
}
