//! What holds for the whole mesh, and what it shows to others.

use super::defaults::META;
use crate::schema::{Kind, Schema, field, shown};

/// Unlike the others it is shown without its name.
pub(super) static MESH: Schema = Schema::new(&[
    shown("Kind", Kind::Text),
    shown("TransparentProxy", Kind::Struct(&TRANSPARENT_PROXY)),
    field("AllowEnablingPermissiveMutualTLS", Kind::Flag),
    field("ValidateClusters", Kind::Flag),
    field("TLS", Kind::Given(&TLS)),
    field("HTTP", Kind::Given(&HTTP)),
    field("Peering", Kind::Given(&PEERING)),
    META,
]);

static TRANSPARENT_PROXY: Schema = Schema::new(&[shown("MeshDestinationsOnly", Kind::Flag)]);

static TLS: Schema = Schema::new(&[
    field("Incoming", Kind::Given(&TLS_DIRECTION)),
    field("Outgoing", Kind::Given(&TLS_DIRECTION)),
]);

static TLS_DIRECTION: Schema = Schema::new(&[
    field("TLSMinVersion", Kind::Text),
    field("TLSMaxVersion", Kind::Text),
    field("CipherSuites", Kind::Texts),
]);

static HTTP: Schema = Schema::new(&[
    shown("SanitizeXForwardedClientCert", Kind::Flag),
    field("Incoming", Kind::Given(&HTTP_DIRECTION)),
]);

static HTTP_DIRECTION: Schema =
    Schema::new(&[field("RequestNormalization", Kind::Given(&NORMALIZATION))]);

static NORMALIZATION: Schema = Schema::new(&[
    field("InsecureDisablePathNormalization", Kind::Flag),
    field("MergeSlashes", Kind::Flag),
    field("PathWithEscapedSlashesAction", Kind::Text),
    field("HeadersWithUnderscoresAction", Kind::Text),
]);

static PEERING: Schema = Schema::new(&[field("PeerThroughMeshGateways", Kind::Flag)]);

pub(super) static EXPORTED: Schema = Schema::new(&[
    shown("Kind", Kind::Text),
    shown("Name", Kind::Text),
    field("Services", Kind::List(&EXPORTED_SERVICE)),
    META,
]);

static EXPORTED_SERVICE: Schema = Schema::new(&[
    shown("Name", Kind::Text),
    field("Namespace", Kind::Text),
    field("Consumers", Kind::List(&CONSUMER)),
]);

static CONSUMER: Schema = Schema::new(&[
    field("Partition", Kind::Text),
    field("Peer", Kind::Text).or("peer_name"),
    field("SamenessGroup", Kind::Text),
]);

pub(super) static JWT_PROVIDER: Schema = Schema::new(&[
    shown("Kind", Kind::Text),
    shown("Name", Kind::Text),
    field("JSONWebKeySet", Kind::Given(&KEY_SET)),
    field("Issuer", Kind::Text),
    field("Audiences", Kind::Texts),
    field("Locations", Kind::List(&LOCATION)),
    field("Forwarding", Kind::Given(&FORWARDING)),
    field("ClockSkewSeconds", Kind::Integer),
    field("CacheConfig", Kind::Given(&CACHE)),
    META,
]);

static KEY_SET: Schema = Schema::new(&[
    field("Local", Kind::Given(&LOCAL_KEYS)),
    field("Remote", Kind::Given(&REMOTE_KEYS)),
]);

static LOCAL_KEYS: Schema =
    Schema::new(&[field("JWKS", Kind::Text), field("Filename", Kind::Text)]);

static REMOTE_KEYS: Schema = Schema::new(&[
    field("URI", Kind::Text),
    field("RequestTimeoutMs", Kind::Integer),
    field("CacheDuration", Kind::Nanoseconds),
    field("FetchAsynchronously", Kind::Flag),
    field("UseSNI", Kind::Flag),
    field("RetryPolicy", Kind::Given(&KEYS_RETRY)),
    field("JWKSCluster", Kind::Given(&KEYS_CLUSTER)),
]);

static KEYS_RETRY: Schema = Schema::new(&[
    field("NumRetries", Kind::Integer),
    field("RetryPolicyBackOff", Kind::Given(&KEYS_BACK_OFF)),
]);

static KEYS_BACK_OFF: Schema = Schema::new(&[
    field("BaseInterval", Kind::Nanoseconds),
    field("MaxInterval", Kind::Nanoseconds),
]);

static KEYS_CLUSTER: Schema = Schema::new(&[
    field("DiscoveryType", Kind::Text),
    field("TLSCertificates", Kind::Given(&KEYS_TLS)),
    field("ConnectTimeout", Kind::Nanoseconds),
]);

static KEYS_TLS: Schema = Schema::new(&[
    field("CaCertificateProviderInstance", Kind::Given(&KEYS_TLS_INSTANCE)),
    field("TrustedCA", Kind::Given(&KEYS_TLS_TRUSTED)),
]);

static KEYS_TLS_INSTANCE: Schema =
    Schema::new(&[field("InstanceName", Kind::Text), field("CertificateName", Kind::Text)]);

static KEYS_TLS_TRUSTED: Schema = Schema::new(&[
    field("Filename", Kind::Text),
    field("EnvironmentVariable", Kind::Text),
    field("InlineString", Kind::Text),
    field("InlineBytes", Kind::Text),
]);

static LOCATION: Schema = Schema::new(&[
    field("Header", Kind::Given(&LOCATION_HEADER)),
    field("QueryParam", Kind::Given(&LOCATION_NAME)),
    field("Cookie", Kind::Given(&LOCATION_NAME)),
]);

static LOCATION_HEADER: Schema = Schema::new(&[
    field("Name", Kind::Text),
    field("ValuePrefix", Kind::Text),
    field("Forward", Kind::Flag),
]);

static LOCATION_NAME: Schema = Schema::new(&[field("Name", Kind::Text)]);

static FORWARDING: Schema =
    Schema::new(&[field("HeaderName", Kind::Text), field("PadForwardPayloadHeader", Kind::Flag)]);

static CACHE: Schema = Schema::new(&[field("Size", Kind::Integer)]);
