use std::sync::atomic::{AtomicU64, Ordering};

use registry::RecordCondition;
use runtime::Tasks;

use super::*;

fn tokens(pairs: &[(AgentToken, &str)]) -> AgentTokens {
    pairs.iter().map(|(which, secret)| (*which, Secret::from(*secret))).collect()
}

#[test]
fn tokens_are_kept_for_nobody_else_to_read_and_go_before_configured_ones() {
    use std::os::unix::fs::PermissionsExt;
    let folder = std::env::temp_dir().join(format!("leno-tokens-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = TokenFile::in_folder(&folder);
    let configured = tokens(&[(AgentToken::Default, "a"), (AgentToken::Dns, "b")]);
    assert_eq!(file.load(&configured).unwrap(), configured, "there is no file yet");
    let given =
        tokens(&[(AgentToken::Default, "c"), (AgentToken::Dns, "b"), (AgentToken::Agent, "d")]);
    file.save(&given, &configured).unwrap();
    let mode = fs::metadata(folder.join(TOKENS_FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(file.load(&configured).unwrap(), given);
    let text = fs::read_to_string(folder.join(TOKENS_FILE)).unwrap();
    assert_eq!(text, r#"{"agent":"d","default":"c"}"#);
    // A file that was left behind by a crash is no hindrance.
    fs::write(folder.join("acl-tokens.new"), "half").unwrap();
    file.save(&tokens(&[(AgentToken::Agent, "e")]), &AgentTokens::default()).unwrap();
    assert_eq!(file.load(&AgentTokens::default()).unwrap(), tokens(&[(AgentToken::Agent, "e")]));
    fs::write(folder.join(TOKENS_FILE), r#"{"agnet":"e"}"#).unwrap();
    assert!(file.load(&configured).unwrap_err().to_string().contains("agnet"));
    fs::remove_dir_all(&folder).unwrap();
}

/// The clock of the test is tokio's, which is paused and runs ahead when everything waits. It must not run ahead while the
/// store's own thread works, so tokens are put while nobody sleeps.
#[tokio::test(start_paused = true)]
async fn a_token_is_gone_when_its_time_is_over() {
    let tasks = Tasks::new();
    let mesh = Mesh::start(store::open_memory(), &tasks).await.unwrap();
    let put = |accessor: &str, expires: Option<u64>| {
        let token = AclToken {
            accessor: accessor.into(),
            secret: format!("secret of {accessor}").into(),
            expires: expires.map(Timestamp),
            ..AclToken::default()
        };
        let record = model::Tabled::into_record(token);
        mesh.run(Command::PutRecord { record, when: RecordCondition::Always })
    };
    put("t1", Some(60_000)).await;
    put("t2", None).await;
    put("t3", Some(30_000)).await;
    let began = tokio::time::Instant::now();
    let clock = move || Timestamp(u64::try_from(began.elapsed().as_millis()).unwrap());
    let looked = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&looked);
    let counting = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        clock()
    };
    tasks.spawn("token expiry", expire(mesh.clone(), counting, tasks.drain()));
    let mut revisions = mesh.revisions();
    for (gone, at) in [("t3", 30_000), ("t1", 60_000), ("t4", 90_000)] {
        while mesh.catalog().record::<AclToken>(gone).is_some() {
            revisions.changed().await.unwrap();
        }
        assert!((at..at + 100).contains(&clock().0), "{gone} went at {:?}", clock());
        if gone == "t1" {
            // Nobody sleeps any more: the loop waits for a token with an end.
            put("t4", Some(90_000)).await;
        }
    }
    assert!(mesh.catalog().record::<AclToken>("t2").is_some());
    assert!(looked.load(Ordering::Relaxed) < 20, "it sleeps meanwhile");
    tokio::time::resume();
    assert!(tasks.shut_down(Duration::from_secs(5)).await.is_empty());
}
