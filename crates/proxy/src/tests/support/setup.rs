use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proxy_config::{
    ClientAddress, Cluster, Endpoint, Endpoints, Forward, HttpListener, Listener, ListenerProtocol,
    PathMatch, ProxyConfig, Route, RouteAction, RouteTable, VirtualHost,
};

use crate::{Proxy, ProxyHandle, ProxyOptions};

/// A configuration in the making.
pub(in crate::tests) struct Setup(pub(in crate::tests) ProxyConfig);

impl Setup {
    pub(in crate::tests) fn new() -> Self {
        Self(ProxyConfig::default())
    }

    /// An HTTP listener on a port that the system chooses, with the route table `table`.
    pub(in crate::tests) fn listener(self, name: &str) -> Self {
        self.listener_with(name, |_| {})
    }

    pub(in crate::tests) fn listener_with(
        mut self,
        name: &str,
        change: impl FnOnce(&mut Listener),
    ) -> Self {
        let protocol = ListenerProtocol::Http(Box::new(HttpListener {
            route_table: "table".to_owned(),
            head_bytes_max: 16 * 1024,
            idle_timeout: Duration::from_secs(60),
            stream_idle_timeout: Duration::from_secs(60),
            client_address: ClientAddress { is_edge: true, ..ClientAddress::default() },
            ..HttpListener::default()
        }));
        let mut listener = Listener {
            connections_max: 1000,
            ..Listener::with_one_chain(name, "127.0.0.1:0".parse().unwrap(), None, protocol)
        };
        change(&mut listener);
        self.0.listeners.insert(name.to_owned(), Arc::new(listener));
        self
    }

    pub(in crate::tests) fn http_listener(
        self,
        name: &str,
        change: impl FnOnce(&mut HttpListener),
    ) -> Self {
        self.listener_with(name, |listener| match &mut listener.chains[0].protocol {
            ListenerProtocol::Http(http) => change(http),
            ListenerProtocol::Tcp(_) => unreachable!(),
        })
    }

    pub(in crate::tests) fn without_listener(mut self, name: &str) -> Self {
        self.0.listeners.remove(name).unwrap();
        self
    }

    /// Routes `domain` and the paths under `path` to a cluster of its own with these endpoints.
    pub(in crate::tests) fn route(
        self,
        domain: &str,
        path: &str,
        endpoints: &[SocketAddr],
    ) -> Self {
        self.route_with(domain, path, endpoints, |_, _| {})
    }

    pub(in crate::tests) fn route_with(
        mut self,
        domain: &str,
        path: &str,
        endpoints: &[SocketAddr],
        change: impl FnOnce(&mut Forward, &mut Cluster),
    ) -> Self {
        let name = format!("{domain}{path}");
        let mut cluster = Cluster {
            idle_timeout: Duration::from_secs(60),
            connections_max: 1000,
            ..Cluster::named(&name)
        };
        let mut forward = Forward { timeout: Duration::ZERO, ..Forward::to(&name) };
        change(&mut forward, &mut cluster);
        self.0.clusters.insert(name.clone(), Arc::new(cluster));
        self = self.endpoints(&name, endpoints);
        self.action(domain, path, RouteAction::Forward(Box::new(forward)))
    }

    pub(in crate::tests) fn endpoints(mut self, cluster: &str, endpoints: &[SocketAddr]) -> Self {
        let endpoint = |address: &SocketAddr| {
            Endpoint::new(&format!("node/{address}"), &address.ip().to_string(), address.port())
        };
        let endpoints = Endpoints {
            cluster: cluster.to_owned(),
            endpoints: endpoints.iter().map(endpoint).collect(),
            ..Endpoints::default()
        };
        self.0.endpoints.insert(cluster.to_owned(), Arc::new(endpoints));
        self
    }

    pub(in crate::tests) fn action(
        mut self,
        domain: &str,
        path: &str,
        action: RouteAction,
    ) -> Self {
        let mut tables = BTreeMap::new();
        std::mem::swap(&mut tables, &mut self.0.route_tables);
        let mut table = tables.remove("table").map_or_else(RouteTable::default, |it| (*it).clone());
        table.name = "table".to_owned();
        let route = Route::new(path, PathMatch::PathPrefix(path.to_owned()), action);
        match table.virtual_hosts.iter_mut().find(|it| it.name == domain) {
            Some(host) => host.routes.push(route),
            None => table.virtual_hosts.push(VirtualHost {
                name: domain.to_owned(),
                domains: vec![domain.to_owned()],
                routes: vec![route],
                require_tls: false,
            }),
        }
        self.0.route_tables.insert("table".to_owned(), Arc::new(table));
        self
    }

    /// Changes the route table.
    pub(in crate::tests) fn table(mut self, change: impl FnOnce(&mut RouteTable)) -> Self {
        change(Arc::make_mut(self.0.route_tables.get_mut("table").unwrap()));
        self
    }

    /// Changes the last route of the first virtual host.
    pub(in crate::tests) fn last_route(self, change: impl FnOnce(&mut Route)) -> Self {
        self.table(|table| change(table.virtual_hosts[0].routes.last_mut().unwrap()))
    }

    pub(in crate::tests) fn config(&self) -> Arc<ProxyConfig> {
        Arc::new(self.0.clone())
    }

    pub(in crate::tests) fn start(&self) -> ProxyHandle {
        self.start_with(|_| {})
    }

    pub(in crate::tests) fn start_with(
        &self,
        change: impl FnOnce(&mut ProxyOptions),
    ) -> ProxyHandle {
        let mut options = ProxyOptions { workers: 2, seed: Some(7), ..ProxyOptions::default() };
        change(&mut options);
        Proxy::start(options, self.config()).unwrap()
    }
}
