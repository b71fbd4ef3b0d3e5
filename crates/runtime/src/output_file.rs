use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

/// How a file of output is kept from growing without end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rotation {
    /// Bytes that a file may have before it is begun anew.
    pub bytes_max: u64,
    /// Files that are kept beside the one that is written, with `.1` (the newest), `.2`, … added to its name.
    pub kept_max: u32,
}

/// Begins a file of output anew if it is longer than it may be; its writers have it open for appending, and go on. What it
/// held is in the file beside it. True when that was done.
///
/// On file systems that can cut off a file's beginning (ext4, XFS) nothing is lost and the cut is at the end of a block,
/// so within a line. On others a line that is written between the last look and the cut is lost.
///
/// # Errors
/// When a file cannot be read, written or renamed.
pub fn rotate_output(path: &Path, rotation: Rotation) -> io::Result<bool> {
    let mut source = match File::options().read(true).write(true).open(path) {
        Ok(source) => source,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let about = source.metadata()?;
    if about.len() <= rotation.bytes_max {
        return Ok(false);
    }
    if rotation.kept_max == 0 {
        source.set_len(0)?;
        return Ok(true);
    }
    for number in (1..rotation.kept_max).rev() {
        match fs::rename(kept(path, number), kept(path, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let mut copy = File::create(kept(path, 1))?;
    let block = about.blksize().max(1);
    let cut = (about.len() - 1) / block * block;
    io::copy(&mut (&mut source).take(cut), &mut copy)?;
    if cut > 0 && fallocate(&source, FallocateFlags::COLLAPSE_RANGE, 0, cut).is_ok() {
        return Ok(true);
    }
    // The rest, and what comes while it is copied. A writer that is faster than the copy does not keep it here for ever.
    for _ in 0..16 {
        if io::copy(&mut source, &mut copy)? == 0 {
            break;
        }
    }
    source.set_len(0)?;
    Ok(true)
}

/// The file with a number beside the one that is written.
fn kept(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

/// The last lines of a file of output, and where its end was when they were read, for who reads on from there.
///
/// At most `lines` of them, from at most the last `bytes_max` bytes; a line that begins before those is left out. A file
/// that is not there has none.
///
/// # Errors
/// When it cannot be read.
pub fn last_lines(path: &Path, lines: usize, bytes_max: u64) -> io::Result<(Vec<u8>, u64)> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => return Err(error),
    };
    let end = file.metadata()?.len();
    let start = end.saturating_sub(bytes_max);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(end - start).read_to_end(&mut bytes)?;
    if start > 0 {
        let whole = bytes.iter().position(|it| *it == b'\n').map_or(bytes.len(), |at| at + 1);
        bytes.drain(..whole);
    }
    // A last line without its end counts as one.
    let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let ends = text.iter().enumerate().rev().filter(|(_, it)| **it == b'\n').map(|(at, _)| at + 1);
    let from = match lines {
        0 => bytes.len(),
        lines => ends.take(lines).nth(lines - 1).unwrap_or(0),
    };
    Ok((bytes.split_off(from), end))
}

/// What was written to a file of output after `after`, and where its end is now; all of it if the file was begun anew since,
/// which may show again what was shown. At most `bytes_max` bytes. A file that is not there is empty.
///
/// # Errors
/// When it cannot be read.
pub fn output_after(path: &Path, after: u64, bytes_max: u64) -> io::Result<(Vec<u8>, u64)> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => return Err(error),
    };
    let start = if after <= file.metadata()?.len() { after } else { 0 };
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    let read = file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok((bytes, start + read as u64))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn appending(path: &Path) -> File {
        File::options().create(true).append(true).open(path).unwrap()
    }

    #[test]
    fn nothing_is_lost_while_a_file_is_begun_anew_and_its_writer_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("output");
        let mut writer = appending(&path);
        let rotation = Rotation { bytes_max: 10_000, kept_max: 3 };
        let mut rotations = 0;
        for number in 0..9000 {
            writeln!(writer, "{number:07}").unwrap();
            rotations += u32::from(rotate_output(&path, rotation).unwrap());
        }
        assert!(rotations > 3, "{rotations}");
        let whole = |path| fs::read_to_string(path).unwrap();
        let all: String =
            [kept(&path, 3), kept(&path, 2), kept(&path, 1), path.clone()].map(whole).concat();
        let expected: String = (0..9000).map(|number| format!("{number:07}\n")).collect();
        assert!(expected.ends_with(&all), "{} of {}", all.len(), expected.len());
        assert!(all.len() > 30_000 && !kept(&path, 4).exists());
    }

    #[test]
    fn short_files_and_those_that_are_not_there_stay_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("output");
        let rotation = Rotation { bytes_max: 5, kept_max: 0 };
        assert!(!rotate_output(&path, rotation).unwrap());
        appending(&path).write_all(b"12345").unwrap();
        assert!(!rotate_output(&path, rotation).unwrap());
        appending(&path).write_all(b"6").unwrap();
        assert!(rotate_output(&path, rotation).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn the_last_lines_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("output");
        let last = |lines, bytes| {
            let (text, end) = last_lines(&path, lines, bytes).unwrap();
            (String::from_utf8(text).unwrap(), end)
        };
        assert_eq!(last(5, 100), (String::new(), 0));
        appending(&path).write_all(b"one\ntwo\nthree").unwrap();
        assert_eq!(last(0, 100), (String::new(), 13));
        assert_eq!(last(1, 100), ("three".into(), 13));
        assert_eq!(last(2, 100), ("two\nthree".into(), 13));
        assert_eq!(last(9, 100), ("one\ntwo\nthree".into(), 13));
        assert_eq!(last(9, 11), ("two\nthree".into(), 13));
        let after = |at| output_after(&path, at, 4).unwrap();
        assert_eq!(after(8), (b"thre".to_vec(), 12));
        assert_eq!(after(13), (Vec::new(), 13));
        assert_eq!(after(99), (b"one\n".to_vec(), 4), "it was begun anew");
        appending(&path).write_all(b"\n").unwrap();
        assert_eq!(last(2, 100), ("two\nthree\n".into(), 14));
        assert_eq!(last(2, 3), (String::new(), 14));
    }
}
