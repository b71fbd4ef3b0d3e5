//! What of this process is resident.

use std::fs;
use std::ops::Range;

/// Memory of this process, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MemoryUse {
    /// What is in memory now.
    pub resident: u64,
    /// What is mapped.
    pub mapped: u64,
}

/// Memory of this process, as the kernel counts it; zeros when it does not say.
#[must_use]
pub fn memory_use() -> MemoryUse {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let page = rustix::param::page_size() as u64;
    let mut pages = text.split_ascii_whitespace().map(|it| it.parse::<u64>().unwrap_or(0) * page);
    MemoryUse {
        mapped: pages.next().unwrap_or_default(),
        resident: pages.next().unwrap_or_default(),
    }
}

/// Name of this machine; `None` when it has none.
#[must_use]
pub fn host_name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    match name.trim() {
        "" | "(none)" => None,
        name => Some(name.to_owned()),
    }
}

/// Lets go of the pages of the program's code and constants, so that those which are used come back from the page cache
/// as they are used, and those which were not used again stay away: what a start needed, or a change of the
/// configuration. Without it most of a proxy's resident memory would be code that it seldom runs.
pub fn release_unused_code() {
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return };
    let program = fs::read_link("/proc/self/exe").unwrap_or_default();
    let program = program.to_string_lossy();
    for range in maps.lines().filter_map(|line| code_of(&program, line)) {
        release(range);
    }
}

/// The addresses of a mapping, if it is code or constants of the program: private, from its file, and never writable.
/// Constants are at the beginning of the file; what else is read-only was written when the program was loaded.
fn code_of(program: &str, line: &str) -> Option<Range<usize>> {
    let mut words = line.split_ascii_whitespace();
    let (range, access, offset) = (words.next()?, words.next()?, words.next()?);
    let path = line.split_once('/').map(|(_, path)| path)?;
    let is_constant = access == "r--p" && offset.bytes().all(|it| it == b'0');
    if !(access == "r-xp" || is_constant) || program.strip_prefix('/') != Some(path) {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some(address(start)?..address(end)?)
}

/// # Safety of the call
/// The range is a mapping of the program's file that nobody can have written to, so each page comes back from the file
/// with the bytes that it had. The kernel keeps a running program's file from being written.
#[allow(unsafe_code)]
fn release(range: Range<usize>) {
    let start = range.start as *mut std::ffi::c_void;
    // A refusal leaves everything as it was.
    // SAFETY: see above.
    let _ = unsafe { rustix::mm::madvise(start, range.len(), rustix::mm::Advice::LinuxDontNeed) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_the_program_is_let_go() {
        let line = |access: &str, path: &str| {
            format!("5581e000-5582f000 {access} fe:00 4711                       {path}")
        };
        let found = |access, path| code_of("/usr/bin/leno", &line(access, path));
        for access in ["r-xp 00123000", "r--p 00000000"] {
            assert_eq!(found(access, "/usr/bin/leno"), Some(0x5581_e000..0x5582_f000));
        }
        for access in ["r--p 00123000", "rw-p 00000000", "rwxp 00123000", "r-xs 00123000"] {
            assert_eq!(found(access, "/usr/bin/leno"), None, "{access}");
        }
        assert_eq!(found("r-xp 00123000", "/usr/lib/libc.so.6"), None);
        assert_eq!(found("r-xp 00123000", "/usr/bin/leno (deleted)"), None);
        assert_eq!(code_of("/usr/bin/leno", "7ffc000-7ffd000 r-xp 0 00:00 0 [vdso]"), None);
    }

    #[test]
    fn the_program_goes_on_as_before() {
        release_unused_code();
        assert_eq!(format!("{:?}", code_of("/a", "")), "None");
    }
}
