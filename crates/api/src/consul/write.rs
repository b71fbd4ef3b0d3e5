//! What a client is told about its write.

use http::StatusCode;
use registry::Rejection;

use super::response::Reply;
use crate::WriteOutcome;

/// Through which endpoints a write came: the same refusal has another status at each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Door {
    /// `/v1/agent`: done is an empty body; what does not exist is 404.
    Agent,
    /// `/v1/catalog`: done is `true`; almost every refusal is 500.
    Catalog {
        /// The client wants a line break after `true`.
        is_pretty: bool,
    },
}

impl Door {
    pub(super) fn reply(self, outcome: WriteOutcome) -> Reply {
        match outcome {
            WriteOutcome::Done(_) => self.done(),
            WriteOutcome::Rejected(rejection) => {
                Reply::text(self.status(&rejection), rejection.to_string())
            }
            WriteOutcome::Failed(text) => Reply::text(StatusCode::INTERNAL_SERVER_ERROR, text),
        }
    }

    fn done(self) -> Reply {
        match self {
            Door::Agent => Reply::empty(),
            Door::Catalog { is_pretty: false } => Reply::json(b"true".to_vec()),
            Door::Catalog { is_pretty: true } => Reply::json(b"true\n".to_vec()),
        }
    }

    fn status(self, rejection: &Rejection) -> StatusCode {
        match (self, rejection) {
            // Consul takes such names and fails later, in DNS or in its store; here they are the client's error.
            (_, Rejection::ControlCharacters { .. } | Rejection::NameTooLong { .. }) => {
                StatusCode::BAD_REQUEST
            }
            (
                Door::Agent,
                Rejection::UnknownService(_)
                | Rejection::UnknownCheck(_)
                | Rejection::ServiceDoesNotExist(_),
            ) => StatusCode::NOT_FOUND,
            (Door::Agent, Rejection::AnyAddress) => StatusCode::BAD_REQUEST,
            (
                Door::Agent | Door::Catalog { .. },
                Rejection::NodeMissing
                | Rejection::AddressMissing
                | Rejection::BadNodeId(_)
                | Rejection::NodeConflict(_)
                | Rejection::ServiceNameMissing
                | Rejection::ServiceNameMissingWithId
                | Rejection::AnyAddress
                | Rejection::CheckOfOtherNode { .. }
                | Rejection::CheckOfUnknownService { .. }
                | Rejection::ServiceDoesNotExist(_)
                | Rejection::UnknownService(_)
                | Rejection::UnknownCheck(_),
            ) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}
