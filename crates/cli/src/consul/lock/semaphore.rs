//! A lock with several holders, in the protocol of Consul's Go client: each contender has the key `PREFIX/SESSION`, and
//! the key `PREFIX/.lock` says which of them hold a place.

use std::collections::BTreeSet;

use anyhow::{Context, bail, ensure};
use http::StatusCode;
use runtime::monotonic;
use serde_json::{Map, Value, json};

use super::super::client::{Answer, Ask, Client};
use super::super::kv::value_of;
use super::super::print::{field, list};
use super::{Monitor, Settings, WAIT, waiting};
use crate::kv::key_path;

/// The flags of keys that make a semaphore.
const FLAGS: u64 = 0xe0f6_9a2b_aa41_4de0;

#[derive(Debug)]
pub(super) struct Semaphore {
    settings: Settings,
    limit: u64,
}

/// Who holds places, at an index.
struct Places {
    limit: u64,
    holders: BTreeSet<String>,
    /// 0 when nobody has written it yet.
    index: u64,
}

impl Semaphore {
    pub(super) fn new(settings: Settings, limit: u64) -> Self {
        Self { settings, limit }
    }

    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.settings.prefix)
    }

    fn all(&self) -> Ask {
        Ask::get(key_path(&self.settings.prefix)).with("recurse", "")
    }

    pub(super) async fn acquire(&self, client: &Client, session: &str) -> anyhow::Result<bool> {
        let ask = Ask::put(key_path(&self.key(session))).with("acquire", session);
        let made = client.send(&ask.with("flags", FLAGS)).await.and_then(Answer::ok);
        let made = made.context("failed to make contender entry")?;
        ensure!(made.body.trim_ascii() == b"true", "failed to make contender entry");
        let began = monotonic();
        let wait = self.settings.once.unwrap_or(WAIT);
        let mut index = 0;
        for attempt in 0_u64.. {
            let mut left = wait;
            if self.settings.once.is_some() && attempt > 0 {
                match wait.checked_sub(began.elapsed()) {
                    Some(rest) => left = rest,
                    None => break,
                }
            }
            let answer = client.send(&waiting(self.all(), index, left)).await;
            let answer = answer.context("failed to read prefix")?;
            let newest = answer.index();
            let mut places = self.places(answer).context("failed to read prefix")?;
            if places.limit != self.limit {
                bail!("semaphore limit conflict (lock: {}, local: {})", places.limit, self.limit);
            }
            if places.holders.len() as u64 >= places.limit {
                index = newest;
                continue;
            }
            places.holders.insert(session.to_owned());
            if self.write(client, &places).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) async fn lost(&self, client: &Client, session: &str) {
        let mut monitor = Monitor::new(client, self.all(), self.settings.retries);
        while let Some(answer) = monitor.next().await {
            match self.places(answer) {
                Ok(places) if places.holders.contains(session) => {}
                _ => return,
            }
        }
    }

    pub(super) async fn release(&self, client: &Client, session: &str) -> anyhow::Result<()> {
        loop {
            let mut places = self.places(client.send(&self.all()).await?)?;
            if !places.holders.remove(session) || self.write(client, &places).await? {
                break;
            }
        }
        client.send(&Ask::delete(key_path(&self.key(session)))).await?.ok()?;
        Ok(())
    }

    pub(super) async fn clean_up(&self, client: &Client) -> anyhow::Result<bool> {
        let answer = client.send(&self.all()).await.context("failed to read prefix")?;
        let places = self.places(answer).context("failed to read prefix")?;
        if places.index == 0 {
            return Ok(true);
        }
        if !places.holders.is_empty() {
            return Ok(false);
        }
        let ask = Ask::delete(key_path(&self.key(".lock"))).with("cas", places.index);
        let answer = client.send(&ask).await.and_then(Answer::ok);
        let answer = answer.context("failed to remove semaphore")?;
        Ok(answer.body.trim_ascii() == b"true")
    }

    /// Who holds a place and is alive.
    fn places(&self, answer: Answer) -> anyhow::Result<Places> {
        let mut places = Places { limit: self.limit, holders: BTreeSet::new(), index: 0 };
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(places);
        }
        let entries = answer.ok()?.json()?;
        let lock = self.key(".lock");
        let Some(entry) = list(&entries).iter().find(|entry| field(entry, "Key") == lock) else {
            return Ok(places);
        };
        if entry["Flags"].as_u64() != Some(FLAGS) {
            bail!("Existing key does not match semaphore use");
        }
        places.index = entry["ModifyIndex"].as_u64().unwrap_or(0);
        let bytes = value_of(entry)?;
        if bytes.is_empty() {
            return Ok(places);
        }
        let value: Value = serde_json::from_slice(&bytes).context("lock decoding failed")?;
        places.limit = value["Limit"].as_u64().unwrap_or(0);
        let alive: BTreeSet<&str> =
            list(&entries).iter().map(|entry| field(entry, "Session")).collect();
        let holders = value["Holders"].as_object().into_iter().flatten().map(|it| it.0);
        places.holders = holders.filter(|it| alive.contains(it.as_str())).cloned().collect();
        Ok(places)
    }

    /// False when somebody was faster.
    async fn write(&self, client: &Client, places: &Places) -> anyhow::Result<bool> {
        let holders: Map<String, Value> =
            places.holders.iter().map(|holder| (holder.clone(), true.into())).collect();
        let body = json!({"Limit": places.limit, "Holders": holders}).to_string();
        let ask = Ask::put(key_path(&self.key(".lock"))).bytes(body);
        let ask = ask.with("cas", places.index).with("flags", FLAGS);
        let answer = client.send(&ask).await.and_then(Answer::ok);
        let answer = answer.context("failed to update lock")?;
        Ok(answer.body.trim_ascii() == b"true")
    }
}
