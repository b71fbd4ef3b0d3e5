use std::fmt;
use std::fs;
use std::io;

/// A process that listens on a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortOwner {
    /// Its process id.
    pub pid: u32,
    /// Its command name.
    pub name: String,
}

impl fmt::Display for PortOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// States of a listening socket in `/proc/net/tcp` and of an unconnected one in `/proc/net/udp`.
const LISTENING: [&str; 2] = ["0A", "07"];

/// Adds to an "address in use" who has the port, if that can be known; other errors stay as they are.
#[must_use]
pub fn naming_port_owner(port: u16, error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::AddrInUse {
        return error;
    }
    match port_owner(port) {
        Some(owner) => io::Error::new(error.kind(), format!("the port is in use by {owner}")),
        None => io::Error::new(error.kind(), "the port is in use by another process"),
    }
}

/// Who listens on a TCP or UDP port of this machine, as far as `/proc` lets us see.
#[must_use]
pub fn port_owner(port: u16) -> Option<PortOwner> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp", "/proc/net/udp6"];
    let inodes: Vec<String> = tables
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let wanted: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let holds = fs::read_dir(process.path().join("fd")).ok()?.flatten().any(|fd| {
            fs::read_link(fd.path())
                .is_ok_and(|target| wanted.iter().any(|it| target.as_os_str() == it.as_str()))
        });
        let name = || fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        holds.then(|| PortOwner { pid, name: name().trim().to_owned() })
    })
}

/// The inodes of sockets that listen on `port`, from the text of `/proc/net/tcp`: columns are number, local address,
/// remote address, state, queues, timer, retransmits, uid, timeout, inode.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    let suffix = format!(":{port:04X}");
    table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|columns| {
            columns.get(1).is_some_and(|local| local.ends_with(&suffix))
                && columns.get(3).is_some_and(|state| LISTENING.contains(state))
        })
        .filter_map(|columns| columns.get(9).map(|inode| (*inode).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn our_own_listener_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("bound").port();
        assert_eq!(port_owner(port).map(|it| it.pid), Some(std::process::id()));
        drop(listener);
        assert_eq!(port_owner(port), None);
    }
}
