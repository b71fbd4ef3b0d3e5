//! # xds: where Envoy's API becomes our contract
//!
//! Reads what is written for Envoy, version 3 of its API, and says it in the words of [`proxy_config`]. For now that is
//! a bootstrap file ([`bootstrap::read`]).
//!
//! *May touch:* nothing; a text comes in, and files that it names are asked for through a function. *Does not know:*
//! sockets, the file system, what the proxy does with a configuration.
//!
//! Invariants:
//! * No field is dropped silently. A field that nobody has read reports itself when its message is left: as not honored
//!   when Envoy has it, as an error when not even Envoy has.
//! * The same file means the same here and in Envoy. Where it cannot, a finding says so; where dropping a field would let
//!   pass what it was to refuse (a filter that authorizes, a condition of a route), the file is refused.
//! * If anything is wrong, nothing of the file is given out.
//! * Input is bounded: 4 MiB, 64 levels, 50,000 values from aliases.
//! * Private keys are in the secrets and in no finding.

pub mod bootstrap;
