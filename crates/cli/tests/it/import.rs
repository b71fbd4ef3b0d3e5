//! Files of other supervisors: turned into documents that can be applied, with a report.

use std::fs;
use std::io::Write;
use std::process::{Output, Stdio};

use crate::support::{Agent, leno, text};

const PROCFILE: &str = "web: ./web --port $PORT\nworker: ./worker\nnonsense\n";

fn import(arguments: &[&str], input: &str) -> Output {
    let mut import = leno()
        .arg("import")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdin = import.stdin.take().expect("it is piped");
    // One that refuses its arguments reads nothing.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    import.wait_with_output().expect("it ends")
}

#[test]
fn an_imported_procfile_can_be_applied() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("Procfile");
    fs::write(&file, PROCFILE).expect("written");
    let imported = import(&["procfile", file.to_str().expect("a readable path")], "");
    let report = text(&imported.stderr);
    assert!(imported.status.success(), "{report}");
    assert!(report.contains("ignored: ") && report.contains("Procfile:3: "), "{report}");
    let documents = text(&imported.stdout);
    let working_dir = format!("workingDir: {}", folder.path().display());
    assert_eq!(documents.matches(&working_dir).count(), 2, "{documents}");
    let yaml = folder.path().join("web.yaml");
    fs::write(&yaml, documents).expect("written");
    let agent = Agent::dev(&[]);
    let yaml = yaml.to_str().expect("a readable path");
    let applied = text(&agent.cli(&["apply", "--strict", "-f", yaml]).stdout);
    assert!(applied.contains("workload/web created"), "{applied}");
    let got = text(&agent.cli(&["get", "workload"]).stdout);
    assert!(got.contains("web") && got.contains("worker") && got.contains("accepted"), "{got}");
    let deleted = text(&agent.cli(&["delete", "-f", yaml]).stdout);
    assert!(deleted.contains("workload/worker deleted"), "{deleted}");
}

#[test]
fn a_compose_file_is_read_from_standard_input() {
    let file = "services: {web: {image: a, command: ./web, ports: [80]}}";
    let imported = import(&["compose", "-", "--working-dir", "/srv"], file);
    let (documents, report) = (text(&imported.stdout), text(&imported.stderr));
    assert_eq!(imported.status.code(), Some(0), "{report}");
    assert!(documents.contains("kind: Workload") && documents.contains("workingDir: /srv"));
    assert!(report.contains("ignored: stdin:1: services.web.image: "), "{report}");
}

#[test]
fn a_file_that_is_no_such_file_fails() {
    for (arguments, input, words) in [
        (["compose", "-"], "a: [", "error: stdin:1: "),
        (["compose", "-"], "web: {}", "services: missing"),
        (["procfile", "-"], "", "names no process"),
        (["procfile", "/nonexistent"], "", "cannot read /nonexistent"),
    ] {
        let imported = import(&arguments, input);
        let report = text(&imported.stderr);
        assert_eq!(imported.status.code(), Some(1), "{arguments:?}: {report}");
        assert!(imported.stdout.is_empty() && report.contains(words), "{arguments:?}: {report}");
    }
    assert_eq!(import(&["systemd", "-"], "").status.code(), Some(2));
}

#[test]
fn workloads_in_a_circle_are_not_applied() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, other) in [("a", "b"), ("b", "a")] {
        let document = format!(
            "apiVersion: leno.dev/v1\nkind: Workload\nmetadata: {{name: {name}}}\n\
             spec: {{command: [x], dependsOn: [{other}]}}\n"
        );
        fs::write(folder.path().join(format!("{name}.yaml")), document).expect("written");
    }
    let agent = Agent::dev(&[]);
    let applied = agent.cli(&["apply", "-f", folder.path().to_str().expect("a readable path")]);
    let errors = text(&applied.stderr);
    assert_eq!(applied.status.code(), Some(1), "{errors}");
    assert!(errors.contains("a.yaml:1: spec.dependsOn: ") && errors.contains("a -> b -> a"));
}
