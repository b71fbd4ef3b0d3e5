use super::*;

/// Bounds a hang only.
fn hang() -> Instant {
    runtime::monotonic() + Duration::from_secs(30)
}

fn using(active: u64) -> impl Fn() -> Uses + Send + Sync + 'static {
    move || {
        let one = EndpointUse { active, successes: 2, durations: vec![1, 1], ..Default::default() };
        Uses::from([("n/web-1".to_owned(), one)])
    }
}

#[tokio::test]
async fn who_waits_for_a_revision_waits_for_the_last_proxy() {
    let fleet = Fleet::default();
    let first = fleet.join("a", Revision(1), Uses::new);
    let second = fleet.join("b", Revision(1), Uses::new);
    let waiting = tokio::spawn({
        let fleet = fleet.clone();
        async move { fleet.acknowledged(Revision(3), hang()).await }
    });
    first.acknowledge(Revision(4));
    assert_eq!(fleet.acknowledged(Revision(3), runtime::monotonic()).await.laggards, ["b"]);
    second.acknowledge(Revision(3));
    assert_eq!(waiting.await.unwrap(), Waited::default());
}

#[tokio::test]
async fn nobody_waits_for_a_proxy_that_is_gone() {
    let fleet = Fleet::default();
    let gone = fleet.join("a", Revision(1), using(1));
    let waiting = tokio::spawn({
        let fleet = fleet.clone();
        async move {
            fleet.acknowledged(Revision(3), hang()).await;
            fleet.unused("n/web-1", hang()).await
        }
    });
    drop(gone);
    assert_eq!(waiting.await.unwrap(), Waited::default());
    assert!(fleet.proxies().is_empty());
}

#[tokio::test]
async fn who_still_has_a_request_under_way_is_named() {
    let fleet = Fleet::default();
    let _one = fleet.join("a", Revision(1), using(0));
    let _other = fleet.join("b", Revision(1), using(1));
    assert_eq!(fleet.unused("n/web-1", runtime::monotonic()).await.laggards, ["b"]);
    assert_eq!(fleet.unused("n/web-2", hang()).await, Waited::default());
}

#[test]
fn what_each_proxy_says_of_an_endpoint_can_be_read() {
    let fleet = Fleet::default();
    let _proxies = [fleet.join("a", Revision(1), using(0)), fleet.join("b", Revision(1), using(1))];
    let uses = fleet.uses();
    let of = |idx: usize| (&*uses[idx].0, uses[idx].1["n/web-1"].active);
    assert_eq!([of(0), of(1)], [("a", 0), ("b", 1)]);
}
