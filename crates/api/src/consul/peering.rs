//! `/v1/peering`: Leno's meshes do not peer with others, so there are no peerings, and none can be made.

use http::StatusCode;
use model::Revision;

use super::read::Read;
use super::response::Reply;
use super::{Answer, Call, Outcome};

fn require_peering(call: &Call<'_>) -> Result<(), Reply> {
    if call.agent().settings.peering {
        return Ok(());
    }
    let text = "peering must be enabled to use this endpoint";
    Err(Reply::text(StatusCode::INTERNAL_SERVER_ERROR, text))
}

/// `GET /v1/peerings`: none, and none ever comes: a blocking read waits for its whole time.
pub(super) fn list(call: &Call<'_>) -> Outcome {
    require_peering(call)?;
    let read = Read::of(call)?;
    Ok(read.reply(Revision(1), Vec::new, || call.json(|w| w.array(|_| {}))))
}

/// `GET` and `DELETE /v1/peering/:name`
pub(super) fn one(call: &Call<'_>) -> Outcome {
    require_peering(call)?;
    Read::of(call)?;
    if call.name.is_empty() {
        return Err(Reply::text(StatusCode::BAD_REQUEST, "Must specify a name to fetch."));
    }
    let text = format!("Peering not found for {}", model::go::quote(call.name));
    let reply = Reply::text(StatusCode::NOT_FOUND, text);
    Ok(Answer::Reply(super::read::with_index(reply, Revision(1))))
}

/// `POST /v1/peering/token` and `/v1/peering/establish`
pub(super) fn refuse(call: &Call<'_>) -> Outcome {
    require_peering(call)?;
    let text = "cluster peering is not supported by Leno: register the services of the other \
                cluster in this one, or route to its ingress";
    Err(Reply::text(StatusCode::NOT_IMPLEMENTED, text))
}
