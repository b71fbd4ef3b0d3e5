//! `/v1/internal/service-virtual-ip`: addresses that stand for services.

use http::StatusCode;
use registry::{Command, TxnObject, TxnRead};

use super::response::Reply;
use super::write::Door;
use super::{Answer, Call, Form, Outcome, decode};

/// Most addresses of one service: Consul's.
const ADDRESSES_MAX: usize = 8;

/// `PUT /v1/internal/service-virtual-ip`
pub(super) fn assign(call: &Call<'_>) -> Outcome {
    call.refuse_tenancy()?;
    call.require_our_datacenter()?;
    let (service, addresses) = decode::virtual_addresses(call.request.body())?;
    if addresses.len() > ADDRESSES_MAX {
        let text = format!("a service has at most {ADDRESSES_MAX} virtual IP addresses");
        return Err(Reply::text(StatusCode::BAD_REQUEST, &text));
    }
    let command = Command::AssignVirtualAddresses { service, addresses };
    Ok(Answer::Write(command, Door::VirtualAddresses(call.form())))
}

/// What came of it; `None` when nothing is known of the service.
pub(super) fn assigned(form: Form, moved: Option<&[TxnRead]>) -> Reply {
    let mut owners: Vec<&str> = Vec::new();
    for read in moved.unwrap_or_default() {
        if let TxnObject::VirtualAddress(it) = &read.object
            && !owners.contains(&it.service.as_str())
        {
            owners.push(&it.service);
        }
    }
    Reply::json(form.body(|w| {
        w.object(|w| {
            w.boolean_field("Found", moved.is_some());
            w.key("UnassignedFrom");
            if owners.is_empty() {
                return w.null();
            }
            w.array(|w| {
                for owner in owners {
                    w.object(|w| {
                        w.key("ServiceName");
                        w.object(|w| w.string_field("Name", owner));
                        w.string_field("Peer", "");
                    });
                }
            });
        });
    }))
}
