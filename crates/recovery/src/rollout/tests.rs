//! The reconciler against a simulated world: proxies that acknowledge late, copies that start slowly or crash, reports that
//! get lost, an agent that is killed. A failure names its seed.

mod figures;
mod schedules;
mod sequence;
mod world;
