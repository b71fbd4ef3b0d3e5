//! A lock with one holder, in the protocol of Consul's Go client: the key `PREFIX/.lock`, taken by a session.

use anyhow::{Context, bail};
use http::StatusCode;
use runtime::monotonic;
use serde_json::Value;

use super::super::client::{Answer, Ask, Client};
use super::super::print::{field, list};
use super::{DELAY_RETRY, Monitor, Settings, WAIT, waiting};
use crate::kv::key_path;

/// The flags of a key that is a lock.
const FLAGS: u64 = 0x2ddc_cbc0_58a5_0c18;

#[derive(Debug)]
pub(super) struct Mutex {
    settings: Settings,
}

impl Mutex {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings }
    }

    fn path(&self) -> String {
        key_path(&format!("{}/.lock", self.settings.prefix))
    }

    pub(super) async fn acquire(&self, client: &Client, session: &str) -> anyhow::Result<bool> {
        let began = monotonic();
        let wait = self.settings.once.unwrap_or(WAIT);
        let mut index = 0;
        for attempt in 0_u64.. {
            let mut left = wait;
            if self.settings.once.is_some() && attempt > 0 {
                match wait.checked_sub(began.elapsed()) {
                    Some(rest) => left = rest,
                    None => return Ok(false),
                }
            }
            let ask = waiting(Ask::get(self.path()), index, left);
            let answer = client.send(&ask).await.context("failed to read lock")?;
            index = answer.index();
            let entry = entry(answer).context("failed to read lock")?;
            match entry.as_ref().map_or("", |entry| field(entry, "Session")) {
                "" => {}
                holder if holder == session => return Ok(true),
                _ => continue,
            }
            let ask = Ask::put(self.path()).with("acquire", session).with("flags", FLAGS);
            let answer = client.send(&ask).await.and_then(Answer::ok);
            let answer = answer.context("failed to acquire lock")?;
            if answer.body.trim_ascii() == b"true" {
                return Ok(true);
            }
            // Somebody was faster, or the lock rests after its last holder was lost.
            let answer = client.send(&Ask::get(self.path())).await?;
            index = answer.index();
            let taken = self::entry(answer)?.is_some_and(|it| !field(&it, "Session").is_empty());
            if !taken {
                index = 0;
                tokio::time::sleep(DELAY_RETRY).await;
            }
        }
        Ok(false)
    }

    pub(super) async fn lost(&self, client: &Client, session: &str) {
        let mut monitor = Monitor::new(client, Ask::get(self.path()), self.settings.retries);
        while let Some(answer) = monitor.next().await {
            match entry(answer) {
                Ok(Some(entry)) if field(&entry, "Session") == session => {}
                _ => return,
            }
        }
    }

    pub(super) async fn release(&self, client: &Client, session: &str) -> anyhow::Result<()> {
        let ask = Ask::put(self.path()).with("release", session).with("flags", FLAGS);
        client.send(&ask).await.and_then(Answer::ok).context("failed to release lock")?;
        Ok(())
    }

    pub(super) async fn clean_up(&self, client: &Client) -> anyhow::Result<bool> {
        let answer = client.send(&Ask::get(self.path())).await.context("failed to read lock")?;
        let Some(entry) = entry(answer).context("failed to read lock")? else { return Ok(true) };
        if !field(&entry, "Session").is_empty() {
            return Ok(false);
        }
        let ask = Ask::delete(self.path()).with("cas", &entry["ModifyIndex"]);
        let answer = client.send(&ask).await.and_then(Answer::ok);
        let answer = answer.context("failed to remove lock")?;
        Ok(answer.body.trim_ascii() == b"true")
    }
}

/// The key, if there is one.
fn entry(answer: Answer) -> anyhow::Result<Option<Value>> {
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    let found = answer.ok()?.json()?;
    let entry = list(&found).first().cloned();
    if entry.as_ref().is_some_and(|entry| entry["Flags"].as_u64() != Some(FLAGS)) {
        bail!("Existing key does not match lock use");
    }
    Ok(entry)
}
