//! The session behind a lock.

use std::time::Duration;

use anyhow::{Context, anyhow};
use http::StatusCode;
use runtime::monotonic;
use serde_json::Value;

use super::super::client::{Ask, Client};
use super::super::print::field;
use crate::list::encoded;

/// How long a session lives without being renewed, as the API is told.
pub(super) const TTL: &str = "15s";
const TTL_DURATION: Duration = Duration::from_secs(15);
/// The pause after a renewal that failed.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: String,
}

impl Session {
    pub(super) async fn create(client: &Client, body: &Value) -> anyhow::Result<Self> {
        let made = client.send(&Ask::put("/v1/session/create").json(body)).await?.ok()?.json()?;
        let id = field(&made, "ID").to_owned();
        anyhow::ensure!(!id.is_empty(), "the agent did not name the session: {made}");
        Ok(Self { id })
    }

    /// Renews it for as long as it lives; why it does not any more.
    pub(super) async fn keep(&self, client: &Client) -> anyhow::Error {
        let ask = Ask::put(format!("/v1/session/renew/{}", encoded(&self.id)));
        let mut renewed = monotonic();
        let mut pause = TTL_DURATION / 2;
        loop {
            tokio::time::sleep(pause).await;
            let sent = monotonic();
            let left = TTL_DURATION.saturating_sub(sent - renewed);
            let answer = tokio::time::timeout(left, client.send(&ask)).await;
            match answer {
                Ok(Ok(answer)) if answer.status == StatusCode::OK => {
                    renewed = sent;
                    pause = TTL_DURATION / 2;
                }
                Ok(Ok(answer)) if answer.status == StatusCode::NOT_FOUND => {
                    return anyhow!("session expired");
                }
                _ if renewed.elapsed() > TTL_DURATION => {
                    let last = answer.context("the agent does not answer").flatten();
                    let last = last.and_then(|it| it.ok());
                    return last.err().unwrap_or_else(|| anyhow!("session expired"));
                }
                _ => pause = RETRY,
            }
        }
    }

    /// Ends it. An agent that does not hear it ends it when its time is over.
    pub(super) async fn destroy(&self, client: &Client) {
        let ask = Ask::put(format!("/v1/session/destroy/{}", encoded(&self.id)));
        let _ = client.send(&ask).await;
    }
}
