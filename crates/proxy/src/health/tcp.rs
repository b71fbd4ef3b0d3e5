//! Probes of endpoints that speak bytes.

use proxy_config::HealthProbe;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use traffic::ProbeResult;

use super::connection::Connection;
use super::probe::Subject;
use crate::upstream::UpstreamStream;

/// Bytes of an answer that are looked through for one block.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Why an answer was not one.
enum Unanswered {
    /// The connection ended before the first byte.
    Closed,
    Broken,
}

/// A check without anything to receive passes when there is a connection; as Envoy does it, that is a new one each time.
pub(super) async fn probe(subject: &Subject, connection: &mut Option<Connection>) -> ProbeResult {
    let HealthProbe::Tcp { send, receive } = &subject.check.probe else {
        return ProbeResult::NoAnswer;
    };
    if let Some(Connection::Bytes(mut kept)) = connection.take() {
        match converse(&mut kept, send, receive).await {
            Ok(()) => {
                *connection = Some(Connection::Bytes(kept));
                return ProbeResult::Passed { degraded: false };
            }
            // It may have ended idle; that is no failure.
            Err(Unanswered::Closed) => {}
            Err(Unanswered::Broken) => return ProbeResult::NoAnswer,
        }
    }
    let mut stream = match subject.connect().await {
        Ok(stream) => stream,
        Err(failed) => return failed,
    };
    match converse(&mut stream, send, receive).await {
        Ok(()) => {
            *connection = (!receive.is_empty()).then_some(Connection::Bytes(stream));
            ProbeResult::Passed { degraded: false }
        }
        Err(Unanswered::Closed | Unanswered::Broken) => ProbeResult::NoAnswer,
    }
}

async fn converse(
    stream: &mut UpstreamStream,
    send: &[u8],
    receive: &[Vec<u8>],
) -> Result<(), Unanswered> {
    if !send.is_empty() {
        stream.write_all(send).await.map_err(|_| Unanswered::Closed)?;
        stream.flush().await.map_err(|_| Unanswered::Closed)?;
    }
    let mut wanted = Wanted::new(receive);
    let mut is_first = true;
    while !wanted.is_complete() {
        let read = stream.read_buf(&mut wanted.bytes).await;
        match read {
            Ok(0) | Err(_) if is_first => return Err(Unanswered::Closed),
            Ok(0) | Err(_) => return Err(Unanswered::Broken),
            Ok(_) => is_first = false,
        }
        if !wanted.look() {
            return Err(Unanswered::Broken);
        }
    }
    Ok(())
}

/// Blocks that must come in order, with anything in between.
struct Wanted<'a> {
    blocks: &'a [Vec<u8>],
    bytes: Vec<u8>,
}

impl<'a> Wanted<'a> {
    fn new(blocks: &'a [Vec<u8>]) -> Self {
        let mut wanted = Self { blocks, bytes: Vec::new() };
        wanted.look();
        wanted
    }

    fn is_complete(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Takes the blocks that have come; false when there is more in between than is looked through.
    fn look(&mut self) -> bool {
        while let Some((block, rest)) = self.blocks.split_first() {
            if block.is_empty() {
                self.blocks = rest;
                continue;
            }
            let Some(at) = self.bytes.windows(block.len()).position(|it| it == block) else {
                break;
            };
            self.bytes.drain(..at + block.len());
            self.blocks = rest;
        }
        self.bytes.len() <= ANSWER_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(blocks: &[&str], chunks: &[&str]) -> bool {
        let blocks: Vec<Vec<u8>> = blocks.iter().map(|it| it.as_bytes().to_vec()).collect();
        let mut wanted = Wanted::new(&blocks);
        for chunk in chunks {
            wanted.bytes.extend_from_slice(chunk.as_bytes());
            assert!(wanted.look());
        }
        wanted.is_complete()
    }

    #[test]
    fn blocks_must_come_in_order_with_anything_in_between() {
        assert!(after(&[], &[]));
        assert!(after(&["PONG"], &["+PO", "NG\r\n"]));
        assert!(after(&["a", "c"], &["xa", "bbc"]));
        assert!(!after(&["c", "a"], &["abc"]));
        assert!(!after(&["aa"], &["a"]));
        assert!(after(&["", "a"], &["a"]));
    }

    #[test]
    fn an_answer_that_never_holds_the_block_is_given_up() {
        let blocks = vec![b"x".to_vec()];
        let mut wanted = Wanted::new(&blocks);
        wanted.bytes = vec![0; ANSWER_BYTES_MAX + 1];
        assert!(!wanted.look());
    }
}
