//! `/v1/discovery-chain`: the way of a request to a service.

use config_entries::{Chain, Overrides, Scope};
use http::{Method, StatusCode};
use model::Setting;

use super::config::{index, watched};
use super::read::Read;
use super::response::Reply;
use super::{Call, Outcome, decode};
use crate::CA;

/// `GET` and `POST /v1/discovery-chain/:service`; the body of the latter overrides what the entries say.
pub(super) fn answer(call: &Call<'_>) -> Outcome {
    let read = Read::of(call)?;
    let service = read.name("chain name")?;
    let datacenter = match call.query.text("compile-dc") {
        "" => call.agent().datacenter.as_str(),
        given => given,
    };
    let overrides = if *call.request.method() == Method::POST {
        decode::overrides(call.request.body())?
    } else {
        Overrides::default()
    };
    let trust_domain = trust_domain(call);
    let scope = Scope { datacenter, trust_domain: &trust_domain };
    let chain = Chain::compile(call.catalog(), service, scope, &overrides)
        .map_err(|error| Reply::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(read.answer_cacheable(index(call), watched, |w| {
        w.object(|w| {
            w.key("Chain");
            w.value(&chain.show());
        });
    }))
}

/// What the names in the mesh's certificates end with: `<cluster id>.consul`, or `consul` while there is no authority.
pub(super) fn trust_domain(call: &Call<'_>) -> String {
    let root = call.catalog().record::<Setting>(CA);
    match root.and_then(|it| it.value.body["Roots"][0]["cluster_id"].as_str()) {
        Some(cluster) => format!("{cluster}.consul"),
        None => "consul".to_owned(),
    }
}
