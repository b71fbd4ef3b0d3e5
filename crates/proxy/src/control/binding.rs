use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use proxy_config::ProxyConfig;

use super::{Controller, NewSockets, Sockets};
use crate::error::ProxyError;
use crate::snapshot::SocketId;
use crate::socket;

/// What an address is known by. With port 0 each listener gets a port of its own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct SocketKey {
    address: SocketAddr,
    listener: Option<String>,
}

impl SocketKey {
    fn new(listener: &str, address: SocketAddr) -> Self {
        let listener = (address.port() == 0).then(|| listener.to_owned());
        Self { address, listener }
    }
}

impl Controller {
    /// Finds or opens the socket of each listener.
    pub(super) fn bind(
        &mut self,
        config: &ProxyConfig,
        workers: usize,
    ) -> (Sockets, NewSockets, Vec<ProxyError>) {
        let mut sockets = Sockets::new();
        let mut new = NewSockets::new();
        let mut errors = Vec::new();
        let mut holders: BTreeMap<SocketKey, &str> = BTreeMap::new();
        let is_stopped = self.is_stopped;
        for (name, listener) in config.listeners.iter().filter(|_| !is_stopped) {
            let address = listener.address;
            let key = SocketKey::new(name, address);
            if let Some(holder) = holders.get(&key) {
                let (listener, holder) = (name.clone(), (*holder).to_owned());
                errors.push(ProxyError::AddressTaken { listener, address, holder });
                continue;
            }
            let socket = match self.bound.get(&key) {
                Some(socket) => *socket,
                None => match self.open(address, workers, &mut new) {
                    Ok(socket) => {
                        tracing::info!(listener = %name, address = %socket.1, "listener opened");
                        let manager = self.shared.stats.listener_manager();
                        manager.listener_create_success.add(workers as u64);
                        self.bound.insert(key.clone(), socket);
                        socket
                    }
                    Err(source) => {
                        let source = runtime::naming_port_owner(address.port(), source);
                        let listener = name.clone();
                        errors.push(ProxyError::Listen { listener, address, source });
                        let Some(socket) = self.stays_at(config, name) else { continue };
                        tracing::warn!(listener = %name, address = %socket.1, "it stays where it is");
                        sockets.insert(name.clone(), socket);
                        continue;
                    }
                },
            };
            holders.insert(key, name);
            sockets.insert(name.clone(), socket);
        }
        (sockets, new, errors)
    }

    /// Where a listener goes on that cannot be where it is to be: at its old place, if it has one. Not when another one
    /// is to be there, nor when what it wants may be ours, and free when another listener has gone.
    fn stays_at(&self, config: &ProxyConfig, name: &str) -> Option<(SocketId, SocketAddr)> {
        let wanted = config.listeners.get(name)?.address;
        let old = *self.shared.published.load().listeners.get(name)?;
        let is_ours = self.bound.values().any(|it| it.1.port() == wanted.port());
        let is_given_away = config.listeners.values().any(|it| it.address == old);
        if is_ours || is_given_away {
            return None;
        }
        self.bound.values().find(|it| it.1 == old).copied()
    }

    fn open(
        &mut self,
        address: SocketAddr,
        workers: usize,
        new: &mut NewSockets,
    ) -> io::Result<(SocketId, SocketAddr)> {
        let group = socket::bind_group(address, workers)?;
        let local = group[0].local_addr()?;
        let id = SocketId(self.next_socket);
        self.next_socket += 1;
        new.insert(id, group);
        Ok((id, local))
    }
}
