//! What is written about requests.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proxy_config::{
    AbortWith, AccessLog, ClusterChoice, Comparison, Fault, FaultAbort, FilterSetting,
    HttpListener, JsonField, LogFilter, LogFormat, LogSink, RouteAction,
};

use super::support::{Backend, Client, Refusing, Setup, lines_of, raw, soon};
use crate::{Proxy, ProxyOptions};

fn file(test: &str) -> PathBuf {
    std::env::temp_dir().join(format!("leno-proxy-logs-{test}-{}.log", std::process::id()))
}

fn log(path: &Path, format: LogFormat, filter: Option<LogFilter>) -> AccessLog {
    AccessLog { sink: LogSink::File(path.to_str().unwrap().to_owned()), format, filter }
}

fn text(line: &str) -> LogFormat {
    LogFormat::Text(format!("{line}\n"))
}

fn here() -> RouteAction {
    RouteAction::Respond { status: 200, body: "here".to_owned() }
}

#[tokio::test]
async fn the_details_say_why_a_response_is_what_it_is() {
    let path = file("details");
    let web = Backend::text("web").await;
    let refusing = Refusing::new();
    let line = "%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %ROUTE_NAME%";
    let fault = Fault {
        abort: Some(FaultAbort { with: AbortWith::Status(555), per_million: 1_000_000 }),
        ..Fault::default()
    };
    let proxy = Setup::new()
        .http_listener("in", |http| http.access_logs = vec![log(&path, text(line), None)])
        .route("web", "/web", &[web.address])
        .route("web", "/nobody", &[])
        .route_with("web", "/refused", &[refusing.address], |forward, _| {
            forward.retry.retries_max = 0;
        })
        .route_with("web", "/unknown", &[], |forward, _| {
            forward.cluster = ClusterChoice::One("unknown".to_owned());
        })
        .action("web", "/direct", here())
        .route("web", "/fault", &[web.address])
        .last_route(|route| route.filters.fault = FilterSetting::On(fault))
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    for path in ["/web", "/nobody", "/refused", "/unknown", "/direct", "/fault", "/none", "/a/.."] {
        client.get("web", path).await;
    }
    let expected = "/web 200 - via_upstream /web\n\
         /nobody 503 UH no_healthy_upstream /nobody\n\
         /refused 503 UF upstream_reset_before_response_started{connection_failure} /refused\n\
         /unknown 503 NC cluster_not_found /unknown\n\
         /direct 200 - direct_response /direct\n\
         /fault 555 FI fault_filter_abort /fault\n\
         /none 404 NR route_not_found -\n\
         /a/.. 400 DPE http_request_invalid -\n";
    assert_eq!(lines_of(&path, 8).await, expected);
}

#[tokio::test]
async fn a_line_can_say_all_that_is_known() {
    let path = file("facts");
    let web = Backend::http1(|_| async {
        http::Response::builder().header("x-b", "2").body(super::support::full("web")).unwrap()
    })
    .await;
    let line = "%PROTOCOL% %REQ(:METHOD)% %REQ(:AUTHORITY)% %REQ(X-A)% %REQ(X-FORWARDED-FOR)% \
        %RESP(X-B)% %BYTES_RECEIVED% %BYTES_SENT% %UPSTREAM_HOST% %UPSTREAM_CLUSTER% \
        %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %UPSTREAM_PROTOCOL% \
        %UPSTREAM_REQUEST_ATTEMPT_COUNT% %FILTER_CHAIN_NAME% %VIRTUAL_HOST_NAME% %REQ(X-NONE)%";
    let proxy = Setup::new()
        .http_listener("in", |http| http.access_logs = vec![log(&path, text(line), None)])
        .route("web", "/", &[web.address])
        .start();
    let address = proxy.local_addr("in").unwrap();
    let request = "POST / HTTP/1.1\r\nhost: web\r\nx-a: 1\r\ncontent-length: 2\r\n\
                   connection: close\r\n\r\nab";
    raw(address, request.as_bytes()).await;
    let chain = &proxy.config().listeners["in"].chains[0].name.clone();
    assert_eq!(
        lines_of(&path, 1).await,
        format!(
            "HTTP/1.1 POST web 1 127.0.0.1 2 2 3 {} web/ 127.0.0.1 HTTP/1.1 1 {chain} web -\n",
            web.address
        )
    );
}

#[tokio::test]
async fn a_line_can_be_json_and_only_some_requests_have_one() {
    let path = file("json");
    let fields = vec![
        ("status".to_owned(), JsonField::Text("%RESPONSE_CODE%".to_owned())),
        ("path".to_owned(), JsonField::Text("%REQ(:PATH)%".to_owned())),
    ];
    let errors = LogFilter::Status(Comparison::AtLeast, 400);
    let proxy = Setup::new()
        .http_listener("in", |http| {
            http.access_logs = vec![log(&path, LogFormat::Json(fields), Some(errors))];
        })
        .action("web", "/", here())
        .start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    client.get("web", "/fine").await;
    client.get("other", "/\"").await;
    client.get("web", "/fine").await;
    client.get("other", "/last").await;
    let expected = "{\"status\":404,\"path\":\"/\\\"\"}\n{\"status\":404,\"path\":\"/last\"}\n";
    assert_eq!(lines_of(&path, 2).await, expected);
}

fn lines_to(path: &Path) -> impl FnOnce(&mut HttpListener) {
    let log = log(path, text("%REQ(:PATH)%"), None);
    move |http| http.access_logs = vec![log]
}

#[tokio::test]
async fn without_a_log_that_is_asked_for_the_proxy_does_not_start() {
    let no_folder = Path::new("/no/such/folder/access.log");
    let setup = Setup::new().http_listener("in", lines_to(no_folder));
    let config = setup.action("web", "/", here()).config();
    let error = Proxy::start(ProxyOptions::default(), config).unwrap_err().to_string();
    assert!(error.contains("/no/such/folder/access.log cannot be written"), "{error}");
}

#[tokio::test]
async fn files_are_opened_anew_when_they_have_been_moved_away() {
    let (path, moved) = (file("reopen"), file("moved"));
    let proxy =
        Setup::new().http_listener("in", lines_to(&path)).action("web", "/", here()).start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    client.get("web", "/before").await;
    std::fs::rename(&path, &moved).unwrap();
    proxy.reopen_access_logs();
    client.get("web", "/after").await;
    assert_eq!(lines_of(&path, 1).await, "/after\n");
    assert_eq!(lines_of(&moved, 1).await, "/before\n");
    assert_eq!(proxy.access_log_lines_dropped(), 0);
}

#[tokio::test]
async fn a_log_comes_and_goes_with_the_configuration() {
    let path = file("update");
    let setup = |is_on: bool| {
        let of = path.clone();
        let change = move |http: &mut HttpListener| {
            if is_on {
                lines_to(&of)(http)
            }
        };
        Setup::new().http_listener("in", change).action("web", "/", here())
    };
    let proxy = setup(false).start();
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    client.get("web", "/off").await;
    proxy.update(setup(true).config()).await.unwrap();
    client.get("web", "/on").await;
    proxy.update(setup(false).config()).await.unwrap();
    client.get("web", "/off").await;
    assert_eq!(lines_of(&path, 1).await, "/on\n");
}

#[tokio::test]
async fn a_log_that_cannot_be_written_is_said_and_the_rest_is_served() {
    let directory = std::env::temp_dir();
    let good = Setup::new().listener("in").action("web", "/", here());
    let proxy = good.start();
    let bad = Setup::new().http_listener("in", lines_to(&directory)).action("web", "/", here());
    let errors = proxy.update(bad.config()).await.unwrap();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].to_string().contains("cannot be written"), "{}", errors[0]);
    let mut client = Client::http1(proxy.local_addr("in").unwrap()).await;
    assert_eq!(client.get("web", "/").await.0, 200);
}

#[tokio::test]
async fn a_client_that_goes_before_its_answer_is_in_the_log() {
    let path = file("gone");
    let silent = Backend::tcp(|stream| async move {
        tokio::time::sleep(Duration::from_secs(600)).await;
        drop(stream);
    })
    .await;
    let line = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%";
    let proxy = Setup::new()
        .http_listener("in", |http| http.access_logs = vec![log(&path, text(line), None)])
        .route("web", "/", &[silent.address])
        .start();
    let address = proxy.local_addr("in").unwrap();
    let client = Client::http2(address).await;
    let Client::Http2(mut sender) = client else { unreachable!() };
    let request = http::Request::get("http://web/").body(super::support::empty()).unwrap();
    let asked = tokio::spawn(sender.send_request(request));
    soon(async {
        while silent.connections() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    asked.abort();
    assert_eq!(lines_of(&path, 1).await, "0 DC downstream_remote_disconnect\n");
}
