//! HTTP/1.1 with an agent that tells how long its answers are.

use std::net::SocketAddr;

use anyhow::{Context, anyhow, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A keep-alive connection that speaks just enough HTTP/1.1 for our own agent.
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer, as it lies in the connection's buffer.
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    head: &'a str,
    pub(super) body: &'a [u8],
}

impl<'a> Answer<'a> {
    pub(super) fn header(&self, name: &str) -> Option<&'a str> {
        header(self.head, name)
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").find_map(|line| {
        let (key, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(1 << 10) })
    }

    pub(super) async fn expect_ok(&mut self, request: &[u8]) -> anyhow::Result<()> {
        let answer = self.exchange(request).await?;
        match answer.status {
            200 => Ok(()),
            status => Err(anyhow!("{status}: {}", String::from_utf8_lossy(answer.body))),
        }
    }

    /// Sends a request and waits for the whole answer. The answer before is forgotten.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Answer<'_>> {
        self.send(request).await?;
        self.receive().await
    }

    /// Sends a request whose answer is received later. The answer before is forgotten.
    pub(super) async fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.buffer.clear();
        Ok(self.stream.write_all(request).await?)
    }

    /// Waits for the whole answer to what was sent.
    pub(super) async fn receive(&mut self) -> anyhow::Result<Answer<'_>> {
        let mut lengths = None;
        loop {
            if lengths.is_none() {
                lengths = self.lengths()?;
            }
            if let Some((head, body)) = lengths
                && self.buffer.len() >= head + body
            {
                let text = std::str::from_utf8(&self.buffer[..head])?;
                let status = text.get(9..12).and_then(|it| it.parse().ok()).context("a status")?;
                return Ok(Answer { status, head: text, body: &self.buffer[head..head + body] });
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the agent closed the connection");
            }
        }
    }

    /// Bytes of head and body, once the head is there.
    fn lengths(&self) -> anyhow::Result<Option<(usize, usize)>> {
        let Some(end) = self.buffer.windows(4).position(|it| it == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = std::str::from_utf8(&self.buffer[..end])?;
        let length = header(head, "content-length").context("the agent sends lengths")?;
        Ok(Some((end + 4, length.parse()?)))
    }
}
