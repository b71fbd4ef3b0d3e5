//! Which fields the rows of each endpoint have, by the names of Consul's Go structs.

/// Fields of a kind of row, or of a struct inside one.
#[derive(Debug)]
pub struct Schema {
    /// Name and kind of each field.
    pub fields: &'static [(&'static str, Kind)],
}

/// Kind of a field; it decides which operators may be used on it and what its zero value is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `==`, `!=`, `in` (substring), `matches`.
    String,
    /// `==`, `!=`.
    Int,
    /// `==`, `!=`.
    Bool,
    /// `in` (element), emptiness.
    Strings,
    /// `in` (key), emptiness; a key selects a string.
    StringMap,
    /// `in` (key), emptiness; a key selects a list of strings.
    StringsMap,
    /// Nothing itself; its fields are selected.
    Struct(&'static Schema),
    /// Emptiness; a field selected through it holds if it does of any element.
    Structs(&'static Schema),
    /// `in` (key), emptiness; a key selects a value of the kind inside, a struct.
    StructMap(&'static Kind),
}

impl Schema {
    /// Kind of the field `name`.
    pub(super) fn field(&self, name: &str) -> Option<&'static Kind> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, kind)| kind)
    }
}

impl Kind {
    /// Kind of what `part` of a selector selects in a value of this kind.
    pub(super) fn select(&self, part: &str) -> Option<&'static Kind> {
        match self {
            Kind::String | Kind::Int | Kind::Bool | Kind::Strings => None,
            Kind::StringMap => Some(&Kind::String),
            Kind::StringsMap => Some(&Kind::Strings),
            Kind::Struct(schema) | Kind::Structs(schema) => schema.field(part),
            Kind::StructMap(element) => Some(element),
        }
    }
}

/// `{Address, Port}` of a tagged address.
static ADDRESS: Schema = Schema { fields: &[("Address", Kind::String), ("Port", Kind::Int)] };

static WEIGHTS: Schema = Schema { fields: &[("Passing", Kind::Int), ("Warning", Kind::Int)] };

static CONNECT: Schema = Schema { fields: &[("Native", Kind::Bool)] };

static MESH_GATEWAY: Schema = Schema { fields: &[("Mode", Kind::String)] };

static EXPOSE: Schema =
    Schema { fields: &[("Checks", Kind::Bool), ("Paths", Kind::Structs(&EXPOSE_PATH))] };

static EXPOSE_PATH: Schema = Schema {
    fields: &[
        ("ListenerPort", Kind::Int),
        ("Path", Kind::String),
        ("LocalPathPort", Kind::Int),
        ("Protocol", Kind::String),
        ("ParsedFromCheck", Kind::Bool),
    ],
};

static TRANSPARENT_PROXY: Schema =
    Schema { fields: &[("OutboundListenerPort", Kind::Int), ("DialedDirectly", Kind::Bool)] };

static UPSTREAM: Schema = Schema {
    fields: &[
        ("DestinationType", Kind::String),
        ("DestinationNamespace", Kind::String),
        ("DestinationPartition", Kind::String),
        ("DestinationPeer", Kind::String),
        ("DestinationName", Kind::String),
        ("Datacenter", Kind::String),
        ("LocalBindAddress", Kind::String),
        ("LocalBindPort", Kind::Int),
        ("LocalBindSocketPath", Kind::String),
        ("LocalBindSocketMode", Kind::String),
        ("MeshGateway", Kind::Struct(&MESH_GATEWAY)),
    ],
};

static PROXY: Schema = Schema {
    fields: &[
        ("DestinationServiceName", Kind::String),
        ("DestinationServiceID", Kind::String),
        ("LocalServiceAddress", Kind::String),
        ("LocalServicePort", Kind::Int),
        ("LocalServiceSocketPath", Kind::String),
        ("Mode", Kind::String),
        ("Upstreams", Kind::Structs(&UPSTREAM)),
        ("MeshGateway", Kind::Struct(&MESH_GATEWAY)),
        ("Expose", Kind::Struct(&EXPOSE)),
        ("TransparentProxy", Kind::Struct(&TRANSPARENT_PROXY)),
    ],
};

/// Rows of `catalog/nodes`.
pub static NODE: Schema = Schema {
    fields: &[
        ("ID", Kind::String),
        ("Node", Kind::String),
        ("Address", Kind::String),
        ("Datacenter", Kind::String),
        ("PeerName", Kind::String),
        ("TaggedAddresses", Kind::StringMap),
        ("Meta", Kind::StringMap),
    ],
};

/// Rows of `catalog/service/:name`, and what `catalog/services` is made of.
pub static SERVICE_NODE: Schema = Schema {
    fields: &[
        ("ID", Kind::String),
        ("Node", Kind::String),
        ("Address", Kind::String),
        ("Datacenter", Kind::String),
        ("TaggedAddresses", Kind::StringMap),
        ("NodeMeta", Kind::StringMap),
        ("ServiceKind", Kind::String),
        ("ServiceID", Kind::String),
        ("ServiceName", Kind::String),
        ("ServiceTags", Kind::Strings),
        ("ServiceAddress", Kind::String),
        ("ServiceTaggedAddresses", Kind::StructMap(&Kind::Struct(&ADDRESS))),
        ("ServiceWeights", Kind::Struct(&WEIGHTS)),
        ("ServiceMeta", Kind::StringMap),
        ("ServicePort", Kind::Int),
        ("ServiceSocketPath", Kind::String),
        ("ServiceEnableTagOverride", Kind::Bool),
        ("ServiceProxy", Kind::Struct(&PROXY)),
        ("ServiceConnect", Kind::Struct(&CONNECT)),
        ("PeerName", Kind::String),
    ],
};

/// Services of `catalog/node/:node` and `catalog/node-services/:node`.
pub static NODE_SERVICE: Schema = Schema { fields: SERVICE_FIELDS };

/// Services of `agent/services`.
pub static AGENT_SERVICE: Schema = Schema { fields: SERVICE_FIELDS };

const SERVICE_FIELDS: &[(&str, Kind)] = &[
    ("Kind", Kind::String),
    ("ID", Kind::String),
    ("Service", Kind::String),
    ("Tags", Kind::Strings),
    ("Address", Kind::String),
    ("TaggedAddresses", Kind::StructMap(&Kind::Struct(&ADDRESS))),
    ("Meta", Kind::StringMap),
    ("Port", Kind::Int),
    ("SocketPath", Kind::String),
    ("Weights", Kind::Struct(&WEIGHTS)),
    ("EnableTagOverride", Kind::Bool),
    ("Proxy", Kind::Struct(&PROXY)),
    ("Connect", Kind::Struct(&CONNECT)),
    ("PeerName", Kind::String),
];

/// Checks of `health/checks`, `health/node`, `health/state` and `agent/checks`.
pub static HEALTH_CHECK: Schema = Schema {
    fields: &[
        ("Node", Kind::String),
        ("CheckID", Kind::String),
        ("Name", Kind::String),
        ("Status", Kind::String),
        ("Notes", Kind::String),
        ("Output", Kind::String),
        ("ServiceID", Kind::String),
        ("ServiceName", Kind::String),
        ("ServiceTags", Kind::Strings),
        ("Type", Kind::String),
        ("Interval", Kind::String),
        ("Timeout", Kind::String),
        ("ExposedPort", Kind::Int),
        ("PeerName", Kind::String),
    ],
};

/// Rows of `health/service/:name`.
pub static CHECK_SERVICE_NODE: Schema = Schema {
    fields: &[
        ("Node", Kind::Struct(&NODE)),
        ("Service", Kind::Struct(&NODE_SERVICE)),
        ("Checks", Kind::Structs(&HEALTH_CHECK)),
    ],
};

/// Rows of `connect/intentions`.
pub static INTENTION: Schema = Schema {
    fields: &[
        ("ID", Kind::String),
        ("Description", Kind::String),
        ("SourceNS", Kind::String),
        ("SourceName", Kind::String),
        ("SourcePeer", Kind::String),
        ("DestinationNS", Kind::String),
        ("DestinationName", Kind::String),
        ("SourceType", Kind::String),
        ("Action", Kind::String),
        ("Precedence", Kind::Int),
    ],
};

/// Rows of `agent/members`. `Addr` is text here; in Consul it is a list of bytes, which nobody can compare.
pub static MEMBER: Schema = Schema {
    fields: &[
        ("Name", Kind::String),
        ("Addr", Kind::String),
        ("Port", Kind::Int),
        ("Tags", Kind::StringMap),
        ("Status", Kind::Int),
        ("ProtocolMin", Kind::Int),
        ("ProtocolMax", Kind::Int),
        ("ProtocolCur", Kind::Int),
        ("DelegateMin", Kind::Int),
        ("DelegateMax", Kind::Int),
        ("DelegateCur", Kind::Int),
    ],
};
