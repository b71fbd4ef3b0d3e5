//! What proxies are told, in entries and where they register.

use crate::schema::{Kind, Schema, field, shown};

/// `Proxy` of a service as the catalog shows it.
pub static PROXY: Schema = Schema::new(&[
    field("EnvoyExtensions", Kind::List(&ENVOY_EXTENSION)),
    field("DestinationServiceName", Kind::Text),
    field("DestinationServiceID", Kind::Text),
    field("LocalServiceAddress", Kind::Text),
    field("LocalServicePort", Kind::Integer),
    field("LocalServiceSocketPath", Kind::Text),
    shown("Mode", Kind::Text),
    field("Config", Kind::Anything),
    field("Upstreams", Kind::List(&UPSTREAM)),
    field("MeshGateway", Kind::Struct(&MESH_GATEWAY)),
    field("Expose", Kind::Struct(&EXPOSE)),
    field("TransparentProxy", Kind::Given(&TRANSPARENT_PROXY)),
    field("MutualTLSMode", Kind::Text),
    field("AccessLogs", Kind::Given(&ACCESS_LOGS)),
]);

/// `Proxy` of a service as its agent shows it, and as Go's client hashes it.
pub static AGENT_PROXY: Schema = Schema::of_go(
    "AgentServiceConnectProxyConfig",
    &[
        field("EnvoyExtensions", Kind::List(&ENVOY_EXTENSION)),
        field("DestinationServiceName", Kind::Text),
        field("DestinationServiceID", Kind::Text),
        field("LocalServiceAddress", Kind::Text),
        field("LocalServicePort", Kind::Integer),
        field("LocalServiceSocketPath", Kind::Text),
        field("Mode", Kind::Text),
        field("TransparentProxy", Kind::Given(&TRANSPARENT_PROXY)),
        field("Config", Kind::Anything),
        field("Upstreams", Kind::List(&AGENT_UPSTREAM)),
        field("MeshGateway", Kind::Struct(&MESH_GATEWAY)),
        field("Expose", Kind::Struct(&EXPOSE)),
        field("AccessLogs", Kind::Given(&ACCESS_LOGS)),
    ],
);

static UPSTREAM: Schema = Schema::new(&[
    field("DestinationType", Kind::Text),
    field("DestinationNamespace", Kind::Text),
    field("DestinationPartition", Kind::Text),
    field("DestinationPeer", Kind::Text),
    field("DestinationName", Kind::Text),
    field("Datacenter", Kind::Text),
    field("LocalBindAddress", Kind::Text),
    field("LocalBindPort", Kind::Integer),
    field("LocalBindSocketPath", Kind::Text),
    field("LocalBindSocketMode", Kind::Text),
    field("Config", Kind::Anything),
    field("MeshGateway", Kind::Struct(&MESH_GATEWAY)),
    field("IngressHosts", Kind::Texts),
    field("CentrallyConfigured", Kind::Flag),
]);

static AGENT_UPSTREAM: Schema = Schema::of_go(
    "Upstream",
    &[
        field("DestinationType", Kind::Text),
        field("DestinationPartition", Kind::Text),
        field("DestinationNamespace", Kind::Text),
        field("DestinationPeer", Kind::Text),
        shown("DestinationName", Kind::Text),
        field("Datacenter", Kind::Text),
        field("LocalBindAddress", Kind::Text),
        field("LocalBindPort", Kind::Integer),
        field("LocalBindSocketPath", Kind::Text),
        field("LocalBindSocketMode", Kind::Text),
        field("Config", Kind::Anything),
        field("MeshGateway", Kind::Struct(&MESH_GATEWAY)),
        field("CentrallyConfigured", Kind::Flag),
    ],
);

pub(super) static MESH_GATEWAY: Schema =
    Schema::of_go("MeshGatewayConfig", &[field("Mode", Kind::Text)]);

pub(super) static EXPOSE: Schema = Schema::of_go(
    "ExposeConfig",
    &[field("Checks", Kind::Flag), field("Paths", Kind::List(&EXPOSE_PATH))],
);

static EXPOSE_PATH: Schema = Schema::of_go(
    "ExposePath",
    &[
        field("ListenerPort", Kind::Integer),
        field("Path", Kind::Text),
        field("LocalPathPort", Kind::Integer),
        field("Protocol", Kind::Text),
        field("ParsedFromCheck", Kind::Flag),
    ],
);

pub(super) static TRANSPARENT_PROXY: Schema = Schema::of_go(
    "TransparentProxyConfig",
    &[field("OutboundListenerPort", Kind::Integer), field("DialedDirectly", Kind::Flag)],
);

pub(super) static ACCESS_LOGS: Schema = Schema::of_go(
    "AccessLogsConfig",
    &[
        field("Enabled", Kind::Flag),
        field("DisableListenerLogs", Kind::Flag),
        field("Type", Kind::Text),
        field("Path", Kind::Text),
        field("JSONFormat", Kind::Text),
        field("TextFormat", Kind::Text),
    ],
);

pub(super) static ENVOY_EXTENSION: Schema = Schema::of_go(
    "EnvoyExtension",
    &[
        shown("Name", Kind::Text),
        shown("Required", Kind::Flag),
        shown("Arguments", Kind::Anything),
        shown("ConsulVersion", Kind::Text),
        shown("EnvoyVersion", Kind::Text),
    ],
);

pub(super) static PASSIVE_HEALTH_CHECK: Schema = Schema::new(&[
    field("Interval", Kind::Nanoseconds),
    field("MaxFailures", Kind::Integer),
    field("EnforcingConsecutive5xx", Kind::GivenInteger),
    field("MaxEjectionPercent", Kind::GivenInteger),
    field("BaseEjectionTime", Kind::GivenNanoseconds),
]);
