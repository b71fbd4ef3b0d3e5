use super::*;

fn record(folder: &tempfile::TempDir) -> EndRecord {
    EndRecord { path: folder.path().join("a/b.end"), key: "b 1".into(), recorder: Vec::new() }
}

fn shell(script: &str) -> RecordedCommand {
    RecordedCommand {
        program: "sh".into(),
        arguments: vec!["-c".into(), script.into()],
        ..RecordedCommand::default()
    }
}

async fn run_to_end(record: &EndRecord, command: RecordedCommand) -> u8 {
    let file = record.begin().expect("nobody holds it");
    run(command, file).await.expect("it can be written")
}

#[test]
fn what_is_said_to_the_recorder_is_what_it_understands() {
    let limits = ResourceLimits { open_files: Some(64), data: Some(1 << 40), ..Default::default() };
    let identity = Some(Identity { user: 7, group: 8 });
    let group = [(true, false), (false, true)]
        .map(|(memory, processes)| ControlGroup::from_parts("/a = b/c".into(), memory, processes));
    for group in group.map(Some).into_iter().chain([None]) {
        let command =
            RecordedCommand { identity, limits, group, ends_with: Some(9), ..shell("a -- b") };
        assert_eq!(RecordedCommand::parse(&command.to_arguments()), Some(command));
    }
    for bad in [&["x=1", "--", "sh"][..], &["user=a", "--", "sh"], &["--"], &["sh"]] {
        let bad: Vec<OsString> = bad.iter().map(OsString::from).collect();
        assert_eq!(RecordedCommand::parse(&bad), None, "{bad:?}");
    }
}

#[tokio::test]
async fn an_end_is_read_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let record = record(&folder);
    assert_eq!(record.read().unwrap(), Recorded::Nothing);
    for (script, code, text) in
        [("exit 0", 0, "exit code 0"), ("exit 3", 3, "exit code 3"), ("kill -9 $$", 137, "SIGKILL")]
    {
        assert_eq!(run_to_end(&record, shell(script)).await, code);
        let Recorded::Ended(end) = record.read().unwrap() else { panic!("it has ended") };
        assert_eq!((end.text.as_str(), end.is_interrupted), (text, false));
        assert_eq!(end.exit.is_some_and(|it| it == Exit::Code(0)), code == 0);
    }
    let other = EndRecord { key: "b 2".into(), ..record };
    assert_eq!(other.read().unwrap(), Recorded::Nothing, "what was before is of another one");
}

#[tokio::test]
async fn what_cannot_be_started_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let record = record(&folder);
    let command = RecordedCommand { program: "/none/such".into(), ..RecordedCommand::default() };
    assert_eq!(run_to_end(&record, command).await, NOT_STARTED);
    let Recorded::Ended(end) = record.read().unwrap() else { panic!("it has ended") };
    assert!(end.exit.is_none() && end.text.starts_with("cannot start /none/such: "), "{end:?}");
}

#[test]
fn whoever_holds_the_record_runs_and_is_not_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let record = record(&folder);
    let file = record.begin().unwrap();
    assert_eq!(record.read().unwrap(), Recorded::Running);
    assert!(record.begin().unwrap_err().to_string().contains("still runs"));
    drop(file);
    assert_eq!(record.read().unwrap(), Recorded::Nothing, "it was not started");
    let mut file = record.begin().unwrap();
    note(&mut file, "started 5").unwrap();
    drop(file);
    record.note_interruption().unwrap();
    let Recorded::Ended(end) = record.read().unwrap() else { panic!("it was started") };
    assert!(end.exit.is_none() && end.is_interrupted && end.text.contains("not known"), "{end:?}");
}
