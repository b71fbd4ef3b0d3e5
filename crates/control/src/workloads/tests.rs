use std::time::Duration;

use model::{Record, Setting};
use registry::DocumentsChange;
use runtime::{Process, ProcessSpec};

use super::*;
use crate::agent::Agent;
use crate::agent::tests::{DataDir, end};

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_state_another_version_wrote_is_left_alone_and_named() {
    let data = DataDir::new();
    let first = Agent::start(data.options("n1")).await.expect("it starts");
    let body = serde_json::json!({ "of": "another version" });
    let record = Record::Setting(Setting { name: "workload/n1/default/web".into(), body });
    let command = Command::PutRecord { record, when: RecordCondition::Always };
    assert!(matches!(first.mesh.run(command).await, api::WriteOutcome::Done(..)));
    let mark = format!("{} default/web 7-0 0", first.info.node_id);
    end(&first).await;
    drop(first);
    let spec = ProcessSpec {
        program: "sleep".into(),
        arguments: vec!["1000".into()],
        environment: BTreeMap::from([(name::MARK.to_owned(), mark)]),
        output: data.path().join("output"),
        survives: true,
        ..ProcessSpec::default()
    };
    let mut process = Process::start(&spec).expect("there is sleep");

    let second = Agent::start(data.options("n1")).await.expect("it starts");
    let document = "apiVersion: leno.dev/v1\nkind: Workload\nmetadata: {name: web}\nspec: {command: [sleep, '1000'], service: None}\n";
    let reading = crate::documents::read_all([("web.yaml", document)]);
    let command = Command::ChangeDocuments(DocumentsChange {
        put: reading.documents,
        ..DocumentsChange::default()
    });
    assert!(matches!(second.mesh.run(command).await, api::WriteOutcome::Done(..)));
    let name = WorkloadName::parse("web");
    let report = || second.workloads.report(&name).unwrap_or_default();
    until("it runs", || report().state == "running").await;
    let report = report();
    // What begins anew has another name than what is left.
    assert_eq!(report.copies[0].id, "web-8-0", "{report:#?}");
    let told = |it: &(u64, String)| it.1.contains(&process.id().pid.to_string());
    assert!(report.rollout.events.iter().any(told), "{report:#?}");
    assert!(Process::is_running(process.id()), "it was not killed");
    process.kill();
    process.end().await.expect("it is waited for");
    end(&second).await;
}
