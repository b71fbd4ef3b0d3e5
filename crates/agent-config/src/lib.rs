//! # agent-config: what an agent is told in Consul's configuration files
//!
//! Values in (the files, already parsed, in the order in which they are merged; the flags of the command line as one
//! more), an [`AgentConfig`] and findings out. A key that is Consul's and not honored is a finding by its name; a key
//! that is not Consul's, or a value of the wrong sort, is an error. Addresses may be templates, which are resolved with the
//! addresses of the machine as one more value.
//!
//! *May touch:* nothing. *Does not know:* files, HCL, the machine, what an agent does with what it is told.

mod config;
mod instead;
mod merge;
mod read;
mod resolve;
mod section;
pub mod template;
#[cfg(test)]
mod tests;

pub use config::{
    AclConfig, AclTokens, Addresses, AgentConfig, ConnectConfig, DefaultPolicy, DnsConfig,
    HttpConfig, LenoConfig, Limits, Listen, Ports, RateLimits, RateMode, TlsConfig, UnixSockets,
};
pub use merge::{Source, merge, source_of};
pub use read::read;
pub use resolve::{advertise, advertised_local, has_templates, resolve};
