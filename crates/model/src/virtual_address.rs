use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// An address that stands for a service, wherever its instances are, because somebody said so.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VirtualAddress {
    /// The address. It stands for one service at a time.
    pub address: Ipv4Addr,
    /// The service.
    pub service: String,
}

impl VirtualAddress {
    pub(crate) fn name_in_table(&self) -> String {
        self.address.to_string()
    }
}
