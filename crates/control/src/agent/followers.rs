//! What is done about the proxies that follow an agent: leases end, and their names are kept for the next life of the agent.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use runtime::{Drain, Tasks};

use super::write_whole;
use crate::fleet::Fleet;
use crate::sightings::now;

/// How often it is looked which leases are over.
const LEASE_PAUSE: Duration = Duration::from_millis(500);

/// Starts it all. `names` is the file that their names are kept in.
pub(super) fn start(fleet: &Fleet, names: Option<PathBuf>, tasks: &Tasks) {
    if let Some(path) = &names {
        fleet.expect(read(path), now());
    }
    tasks.spawn("proxy leases", expire(fleet.clone(), names, tasks.drain()));
}

/// Gives up proxies that are not heard of, and keeps the names of the others.
async fn expire(fleet: Fleet, names: Option<PathBuf>, drain: Drain) {
    let mut moves = fleet.moves();
    let mut kept = fleet.elsewhere();
    fleet.remember(kept.clone());
    loop {
        tokio::select! {
            () = tokio::time::sleep(LEASE_PAUSE) => {}
            // The sender lives as long as the fleet here.
            _ = moves.changed() => {}
            // Those that follow now are expected back, though their connections end with the agent.
            () = drain.begun() => return,
        }
        fleet.expire(runtime::monotonic());
        let now = fleet.elsewhere();
        if now != kept {
            if let Some(path) = names.clone() {
                let now = now.clone();
                // It waits for the disk. It does not panic, and nobody aborts it.
                let _ = tokio::task::spawn_blocking(move || write(&path, &now)).await;
            }
            fleet.remember(now.clone());
            kept = now;
        }
    }
}

fn read(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn write(path: &Path, names: &BTreeSet<String>) {
    let lines: String = names.iter().map(|it| format!("{it}\n")).collect();
    if let Err(error) = write_whole(path, &lines) {
        let path = path.display();
        tracing::warn!(%path, %error, "the next start of the agent will not wait for its proxies");
    }
}
