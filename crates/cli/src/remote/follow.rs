//! Asks the agent for configurations, one after the other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, bail};
use control::fleet::Follow;
use http::StatusCode;
use proxy_config::ProxyConfig;
use runtime::Drain;

use super::Shared;
use super::link::Link;
use crate::args::{AddressOrOff, RemoteArguments};

/// How long an answer may take: the agent gives one after 5 s though there is nothing new, and a large configuration takes
/// its time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The first pause after a failure, and the longest: half of what the agent gives a proxy that it does not hear of.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The longest while the proxy leaves: it may not have much time.
const LEAVING_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Problems of a configuration that the agent is told of; all are in the log.
const TROUBLES_MAX: usize = 3;

/// Where listeners listen that the agent says other addresses of.
pub(crate) struct Listeners([(&'static str, &'static str, Option<AddressOrOff>); 3]);

impl Listeners {
    pub(crate) fn of(arguments: &RemoteArguments) -> Self {
        Self([
            ("--outbound", "outbound", arguments.outbound),
            ("--ingress-http", "ingress", arguments.ingress_http),
            ("--ingress-https", "ingress-https", arguments.ingress_https),
        ])
    }

    /// Puts them where they are to be. Returns what there is nothing for.
    fn place(&self, config: &mut ProxyConfig) -> Vec<String> {
        let mut missing = Vec::new();
        for (flag, name, place) in &self.0 {
            match (place, config.listeners.get_mut(*name)) {
                (Some(AddressOrOff::At(address)), Some(listener)) => {
                    Arc::make_mut(listener).address = *address;
                }
                (Some(AddressOrOff::At(_)), None) if *name != "ingress-https" => {
                    missing.push(format!("{flag}: the agent has no listener {name:?}"));
                }
                (Some(AddressOrOff::Off), _) => drop(config.listeners.remove(*name)),
                // The one for TLS is there as soon as there is a certificate.
                (Some(AddressOrOff::At(_)), None) | (None, _) => {}
            }
        }
        missing
    }
}

/// Follows an agent.
pub(crate) struct Follower {
    shared: Arc<Shared>,
    link: Link,
    listeners: Listeners,
    /// The life of the agent that the configuration is from, and its revision.
    agent: String,
    taken: u64,
    trouble: String,
    /// What went wrong the last time; empty while all is well.
    failure: String,
    /// Where listeners listen, as it was logged last.
    logged: BTreeMap<String, SocketAddr>,
    has_warned: bool,
    /// Another proxy has the name.
    is_replaced: bool,
}

impl Follower {
    pub(crate) fn new(shared: Arc<Shared>, link: Link, listeners: Listeners) -> Self {
        Self {
            shared,
            link,
            listeners,
            agent: String::new(),
            taken: 0,
            trouble: String::new(),
            failure: String::new(),
            logged: BTreeMap::new(),
            has_warned: false,
            is_replaced: false,
        }
    }

    /// Until `left` begins. Once the proxy leaves it takes no configuration any more.
    pub(crate) async fn run(mut self, left: Drain) {
        let leaving = self.shared.leaving.clone();
        tokio::select! {
            () = self.follow() => {}
            () = leaving.begun() => {}
            () = left.begun() => return,
        }
        tokio::select! {
            () = self.stay_known() => {}
            () = left.begun() => {}
        }
    }

    /// An agent that begins anew while the proxy leaves has to know of it, or nobody waits for what is under way.
    async fn stay_known(&mut self) {
        let mut pause = PAUSE_MIN;
        loop {
            if self.shared.is_joined.load(Ordering::SeqCst) {
                self.shared.rejoin.notified().await;
                pause = PAUSE_MIN;
            }
            if let Err(error) = self.ask().await {
                tracing::debug!(%error, "the agent does not know yet of this proxy");
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(LEAVING_PAUSE_MAX);
            }
        }
    }

    async fn follow(&mut self) {
        let mut pause = PAUSE_MIN;
        loop {
            match self.ask().await {
                Ok(()) => {
                    pause = PAUSE_MIN;
                    if !std::mem::take(&mut self.failure).is_empty() {
                        tracing::info!(revision = self.taken, "the agent is followed again");
                    }
                }
                Err(error) => {
                    self.note(&error);
                    // All proxies lose an agent at once; they shall not come back at once.
                    tokio::time::sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
                    pause = (2 * pause).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Says what is wrong when it is something new.
    fn note(&mut self, error: &anyhow::Error) {
        let because: Vec<String> = error.chain().map(ToString::to_string).collect();
        let because = because.join(": ");
        // The proxy refuses what comes in the moment in which it begins to drain.
        if because != self.failure && !self.shared.leaving.has_begun() {
            let state =
                if self.taken == 0 { "nothing is served yet" } else { "what there is serves on" };
            tracing::warn!("the agent is not followed, and {state}: {because}");
            self.failure = because;
        }
    }

    /// Asks once, and takes the configuration if there is one.
    async fn ask(&mut self) -> anyhow::Result<()> {
        // Read after the configuration was taken, and sent with its acknowledgement.
        let leaving = self.shared.leaving.has_begun();
        let (at, uses, hosts) = self.shared.look();
        let message = Follow {
            name: self.shared.name.clone(),
            life: self.shared.life.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            agent: self.agent.clone(),
            taken: self.taken,
            at,
            uses,
            hosts,
            trouble: self.trouble.clone(),
            leaving,
        };
        let body = serde_json::to_vec(&message)?;
        let asking = self.link.post("/leno/v1/proxies/follow", body, ANSWER_TIMEOUT);
        let (status, body) = tokio::select! {
            answer = asking => answer?,
            () = self.shared.rejoin.notified() => return Ok(()),
        };
        match status {
            StatusCode::OK | StatusCode::NO_CONTENT => {
                self.shared.is_joined.store(true, Ordering::SeqCst);
                self.set_replaced(false);
                // An agent of an older version does not know what leaving is.
                if status == StatusCode::OK && !leaving { self.take(&body).await } else { Ok(()) }
            }
            StatusCode::CONFLICT => {
                // It is waited for under another name, and what it sees still counts.
                self.shared.is_joined.store(true, Ordering::SeqCst);
                self.set_replaced(true);
                bail!("{status}: {}", String::from_utf8_lossy(&body).trim())
            }
            StatusCode::FORBIDDEN => bail!(
                "{status}: {} (the token of --token or LENO_HTTP_TOKEN needs operator:write)",
                String::from_utf8_lossy(&body).trim()
            ),
            _ => bail!("{status}: {}", String::from_utf8_lossy(&body).trim()),
        }
    }

    /// Who has another's name gets no configuration: it serves by what it has, which is wrong sooner or later, so others are told
    /// not to send anything here.
    fn set_replaced(&mut self, is_replaced: bool) {
        if self.is_replaced == is_replaced {
            return;
        }
        self.is_replaced = is_replaced;
        self.shared.proxy.set_fit(!is_replaced);
        if is_replaced {
            tracing::error!(
                name = self.shared.name,
                "not ready any more: another proxy has this name, and only that one gets \
                 configurations; end this one, or give it a name of its own with --name"
            );
        }
    }

    async fn take(&mut self, body: &[u8]) -> anyhow::Result<()> {
        let received = proxy_config::receive(body).inspect_err(|error| {
            self.trouble = error.to_string();
        })?;
        let mut config = received.config;
        let revision = config.revision.0;
        self.warn_of_readers(&config);
        let mut troubles = self.listeners.place(&mut config);
        let config = config.sharing(&self.shared.proxy.config());
        // What cannot be done of it is logged there, and the rest holds.
        let errors = self.shared.proxy.update(Arc::new(config)).await.context("the proxy ends")?;
        troubles.extend(errors.iter().map(ToString::to_string));
        troubles.truncate(TROUBLES_MAX);
        let trouble = troubles.join("; ");
        if trouble != self.trouble && !trouble.is_empty() {
            tracing::warn!("not all of the configuration is done: {trouble}");
        }
        (self.agent, self.taken, self.trouble) = (received.agent, revision, trouble);
        self.say_where();
        Ok(())
    }

    fn warn_of_readers(&mut self, config: &ProxyConfig) {
        let has_keys = config.secrets.values().any(|it| !it.private_key.0.is_empty());
        if has_keys && self.link.can_be_read() && !self.has_warned {
            self.has_warned = true;
            tracing::warn!("private keys come from the agent over plain HTTP; use https://");
        }
    }

    /// Logs where the proxy listens, when that has changed.
    fn say_where(&mut self) {
        let proxy = &self.shared.proxy;
        let names = proxy.config().listeners.keys().cloned().collect::<Vec<_>>();
        let now: BTreeMap<String, SocketAddr> =
            names.into_iter().filter_map(|it| Some((it.clone(), proxy.local_addr(&it)?))).collect();
        for (name, address) in now.iter().filter(|it| self.logged.get(it.0) != Some(it.1)) {
            tracing::info!("listener       {name} {address}");
        }
        self.logged = now;
        self.shared.served.begin();
    }
}
