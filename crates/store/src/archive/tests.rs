use super::*;

fn snapshot() -> Snapshot {
    let entry = |key: &str, value: &[u8], at| Entry {
        key: key.into(),
        value: value.into(),
        created: Revision(at),
        modified: Revision(at + 1),
    };
    let entries =
        vec![entry("kv\0a", b"", 1), entry("kv\0b", b"\x00\xff", 2), entry("node\0n", b"{}", 3)];
    Snapshot { revision: Revision(7), entries }
}

#[test]
fn what_was_written_reads_back_equal() {
    for snapshot in [snapshot(), Snapshot::default()] {
        assert_eq!(read_archive(&write_archive(&snapshot).unwrap()).unwrap(), snapshot);
    }
}

#[test]
fn an_archive_with_any_byte_changed_is_refused_or_says_the_same() {
    let (snapshot, whole) = (snapshot(), write_archive(&snapshot()).unwrap());
    for at in 0..whole.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] ^= change;
            // The time in the head of gzip, for one, means nothing.
            if let Ok(read) = read_archive(&damaged) {
                assert_eq!(read, snapshot, "byte {at}");
            }
        }
    }
    for end in 0..whole.len() {
        assert!(read_archive(&whole[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn errors_begin_as_consuls_clients_expect() {
    let text = |bytes: &[u8]| read_archive(bytes).unwrap_err().to_string();
    assert!(text(b"nonsense").starts_with("failed to decompress snapshot: "));
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&[0; 1024]).unwrap();
    let empty = packed.finish().unwrap();
    assert_eq!(text(&empty), "failed to read snapshot file: there is no meta.json in it");
}

#[test]
fn a_snapshot_of_consul_is_named_as_one() {
    let meta = br#"{"Version":1,"ID":"2-18-1700000000000","Index":18,"Term":2,"Configuration":{}}"#;
    let state = b"\x00\x01";
    let sums = format!("{}  {META}\n{}  {STATE}\n", sum_of(meta), sum_of(state));
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (name, content) in [(META, &meta[..]), (STATE, state), (SUMS, sums.as_bytes())] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content).unwrap();
    }
    let bytes = tar.into_inner().unwrap().finish().unwrap();
    assert!(matches!(read_archive(&bytes), Err(ArchiveError::OfConsul)));
}

#[test]
fn a_small_file_that_says_it_unpacks_to_much_is_refused_before_it_does() {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNUSparse);
    header.set_path(STATE).unwrap();
    header.set_size(0);
    header.as_gnu_mut().unwrap().set_real_size(1 << 40);
    header.set_cksum();
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(header.as_bytes()).unwrap();
    packed.write_all(&[0; 1024]).unwrap();
    // It is refused for what it is, or for what it says; either way nothing of that size comes to be.
    assert!(read_archive(&packed.finish().unwrap()).is_err());
}

#[test]
fn committed_archives_are_answered_alike() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/archive");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let read = read_archive(&std::fs::read(&path).unwrap());
        let is_good = path.file_name().unwrap().to_string_lossy().starts_with("good");
        assert_eq!(read.is_ok(), is_good, "{}: {read:?}", path.display());
        seen += 1;
    }
    assert!(seen >= 4, "the corpus is there");
}

/// Writes the corpus; run by hand when the format gets a new version, and keep the old files.
#[test]
fn the_format_is_the_one_of_the_corpus() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/archive/good-1.snap");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let folder = path.parent().unwrap();
        std::fs::create_dir_all(folder).unwrap();
        let whole = write_archive(&snapshot()).unwrap();
        let mut flipped = whole.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0xff;
        std::fs::write(folder.join("flipped.snap"), flipped).unwrap();
        std::fs::write(folder.join("cut.snap"), &whole[..whole.len() / 2]).unwrap();
        std::fs::write(folder.join("text.snap"), b"a snapshot").unwrap();
        std::fs::write(&path, whole).unwrap();
    }
    assert_eq!(read_archive(&std::fs::read(&path).unwrap()).unwrap(), snapshot());
}

#[test]
fn a_state_that_could_not_be_read_again_is_not_written() {
    // Entries share their bytes, so this costs no more than one of them.
    let value: std::sync::Arc<[u8]> = vec![0; 1 << 20].into();
    let entry = |idx: u64| Entry {
        key: format!("k{idx:04}"),
        value: value.clone(),
        created: Revision(1),
        modified: Revision(1),
    };
    let snapshot = Snapshot { revision: Revision(1), entries: (0..1024).map(entry).collect() };
    let refused = write_archive(&snapshot).unwrap_err().to_string();
    assert!(refused.contains("1073771520 bytes"), "{refused}");
}
