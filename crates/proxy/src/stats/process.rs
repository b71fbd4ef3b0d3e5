use std::fs;

/// Memory of this process, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    /// Resident and of no file. The kernel does not know what the allocator has handed out; this is an upper bound.
    pub allocated_bytes: u64,
    /// Address space for data.
    pub heap_bytes: u64,
    /// Resident.
    pub resident_bytes: u64,
}

/// What the kernel says; `None` when it does not.
#[must_use]
pub fn memory() -> Option<Memory> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let bytes = |name: &str| -> u64 {
        let line = status.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|it| it.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    };
    Some(Memory {
        allocated_bytes: bytes("RssAnon"),
        heap_bytes: bytes("VmData"),
        resident_bytes: bytes("VmRSS"),
    })
}
