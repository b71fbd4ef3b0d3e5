use std::time::Duration;

use traffic::{ResponseFlag, ResponseFlags};

use super::exposition::Labels;
use super::metric::{Counter, Histogram, SeriesTable};

/// What Istio says of one side of a request. A value that is not known is `unknown`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Workload {
    /// Name of the workload, for example of the Deployment.
    pub workload: String,
    /// Its namespace.
    pub namespace: String,
    /// Its SPIFFE id.
    pub principal: String,
    /// Its label `app`.
    pub app: String,
    /// Its label `version`.
    pub version: String,
    /// Its canonical service.
    pub canonical_service: String,
    /// The revision of the canonical service.
    pub canonical_revision: String,
    /// The (Kubernetes) cluster that it is in.
    pub cluster: String,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            workload: unknown(),
            namespace: unknown(),
            principal: unknown(),
            app: unknown(),
            version: unknown(),
            canonical_service: unknown(),
            canonical_revision: unknown(),
            cluster: unknown(),
        }
    }
}

/// The labels of Istio's metrics that are known before the traffic comes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MeshLabels {
    /// `source`, `destination` or `waypoint`.
    pub reporter: &'static str,
    /// Who calls.
    pub source: Workload,
    /// Who is called.
    pub destination: Workload,
    /// Host name of the service that is called.
    pub destination_service: String,
    /// Its short name.
    pub destination_service_name: String,
    /// Its namespace.
    pub destination_service_namespace: String,
    /// `mutual_tls`, `none` or `unknown`.
    pub connection_security_policy: &'static str,
}

impl Default for MeshLabels {
    fn default() -> Self {
        Self {
            reporter: "source",
            source: Workload::default(),
            destination: Workload::default(),
            destination_service: unknown(),
            destination_service_name: unknown(),
            destination_service_namespace: unknown(),
            connection_security_policy: "unknown",
        }
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// The labels of Istio's metrics that a response brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MeshResponse {
    /// Status code.
    pub status: u16,
    /// Response flags.
    pub flags: ResponseFlags,
    /// The request is gRPC; then its status, if it came.
    pub grpc: Option<Option<u8>>,
}

/// A status code in the upper bits, then two bytes for gRPC, then the flags: 30 of them.
const STATUS_SHIFT: u32 = 48;
const GRPC_SHIFT: u32 = 32;
/// gRPC without a status; a status is stored one above, for 0 means no gRPC.
const GRPC_WITHOUT_STATUS: u64 = 0xFFFF;

impl MeshResponse {
    fn key(self) -> u64 {
        let grpc = match self.grpc {
            None => 0,
            Some(None) => GRPC_WITHOUT_STATUS,
            Some(Some(status)) => u64::from(status) + 1,
        };
        u64::from(self.status) << STATUS_SHIFT | grpc << GRPC_SHIFT | u64::from(self.flags.bits())
    }

    fn from_key(key: u64) -> Self {
        let bits = |flag: &ResponseFlag| u64::from(ResponseFlags::from(*flag).bits());
        let set = ResponseFlag::ALL.iter().filter(|flag| key & bits(flag) != 0);
        let grpc = match key >> GRPC_SHIFT & 0xFFFF {
            0 => None,
            GRPC_WITHOUT_STATUS => Some(None),
            above => Some(u8::try_from(above - 1).ok()),
        };
        Self {
            status: (key >> STATUS_SHIFT) as u16,
            flags: set.fold(ResponseFlags::NONE, |flags, flag| flags.with(*flag)),
            grpc,
        }
    }
}

/// Istio's metrics for one pair of source and destination.
#[derive(Debug, Default)]
pub struct MeshCounters {
    series: SeriesTable<MeshSeries>,
    /// Connections that were passed on as bytes.
    pub tcp_opened: Counter,
    /// Of these, those that have ended.
    pub tcp_closed: Counter,
    /// Bytes from those who called.
    pub tcp_received_bytes: Counter,
    /// Bytes to them.
    pub tcp_sent_bytes: Counter,
}

/// One series of Istio's metrics.
#[derive(Debug, Default)]
pub(super) struct MeshSeries {
    pub(super) requests: Counter,
    pub(super) duration: Histogram,
    pub(super) request_bytes: Histogram,
    pub(super) response_bytes: Histogram,
}

impl MeshCounters {
    /// Counts a response, with the bytes of the bodies of the request and of itself.
    pub fn response(&self, response: MeshResponse, duration: Duration, bytes: (u64, u64)) {
        let series = self.series.at(response.key());
        series.requests.inc();
        series.duration.record(duration);
        series.request_bytes.record_number(bytes.0);
        series.response_bytes.record_number(bytes.1);
    }

    /// Series by key, for [`labels`].
    pub(super) fn series(&self) -> impl Iterator<Item = (u64, &MeshSeries)> {
        self.series.iter()
    }
}

/// Istio's label set, in Istio's order.
pub(super) fn labels(known: &MeshLabels, key: u64) -> Labels {
    labels_with(known, response_labels(key))
}

/// The label set of connections, which have no response.
pub(super) fn tcp_labels(known: &MeshLabels) -> Labels {
    let own = [("request_protocol", "tcp".to_owned()), ("response_flags", "-".to_owned())];
    labels_with(known, own)
}

fn labels_with(
    known: &MeshLabels,
    own: impl IntoIterator<Item = (&'static str, String)>,
) -> Labels {
    let mut labels = vec![("reporter", known.reporter.to_owned())];
    labels.extend(workload_labels(&known.source, SOURCE));
    labels.extend(workload_labels(&known.destination, DESTINATION));
    let cluster = labels.pop();
    let canonical_revision = labels.pop();
    let canonical_service = labels.pop();
    labels.push(("destination_service", known.destination_service.clone()));
    labels.push(("destination_service_name", known.destination_service_name.clone()));
    labels.push(("destination_service_namespace", known.destination_service_namespace.clone()));
    labels.extend([canonical_service, canonical_revision, cluster].into_iter().flatten());
    labels.extend(own);
    labels.push(("connection_security_policy", known.connection_security_policy.to_owned()));
    labels
}

const SOURCE: [&str; 8] = [
    "source_workload",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_canonical_service",
    "source_canonical_revision",
    "source_cluster",
];

const DESTINATION: [&str; 8] = [
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_cluster",
];

fn workload_labels(
    workload: &Workload,
    names: [&'static str; 8],
) -> impl Iterator<Item = (&'static str, String)> {
    let values = [
        &workload.workload,
        &workload.namespace,
        &workload.principal,
        &workload.app,
        &workload.version,
        &workload.canonical_service,
        &workload.canonical_revision,
        &workload.cluster,
    ];
    names.into_iter().zip(values.map(String::clone))
}

fn response_labels(key: u64) -> [(&'static str, String); 4] {
    if key == SeriesTable::<MeshSeries>::OVERFLOW {
        return ["request_protocol", "response_code", "response_flags", "grpc_response_status"]
            .map(|name| (name, unknown()));
    }
    let response = MeshResponse::from_key(key);
    let protocol = if response.grpc.is_some() { "grpc" } else { "http" };
    let grpc_status = match response.grpc {
        None => String::new(),
        Some(None) => unknown(),
        Some(Some(status)) => status.to_string(),
    };
    [
        ("request_protocol", protocol.to_owned()),
        ("response_code", response.status.to_string()),
        ("response_flags", response.flags.to_string()),
        ("grpc_response_status", grpc_status),
    ]
}
