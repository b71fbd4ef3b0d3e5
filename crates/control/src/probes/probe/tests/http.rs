use ::http::{Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use model::FlatMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn http(address: SocketAddr, path: &str) -> CheckDefinition {
    CheckDefinition { http: format!("http://{address}{path}"), ..CheckDefinition::default() }
}

/// Serves: `/<status>`, `/redirect/<n>`, `/see-other`, `/again`, `/big`, and for all else what was
/// asked.
async fn serve() -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let connection =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
            tokio::spawn(connection);
        }
    });
    address
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let redirect = |status: StatusCode, to: &str| {
        Response::builder().status(status).header("location", to).body(Full::default()).unwrap()
    };
    if let Some(left) = path.strip_prefix("/redirect/") {
        return Ok(match left.parse::<u32>().unwrap() {
            0 => Response::new(Full::from("arrived")),
            left => redirect(StatusCode::FOUND, &format!("{}", left - 1)),
        });
    }
    match path.as_str() {
        "/see-other" => return Ok(redirect(StatusCode::SEE_OTHER, "/echo")),
        "/again" => return Ok(redirect(StatusCode::TEMPORARY_REDIRECT, "/echo")),
        "/big" => return Ok(Response::new(Full::from(format!("{}end", "x".repeat(1 << 20))))),
        _ => {}
    }
    if let Ok(status) = path[1..].parse::<u16>() {
        let status = StatusCode::from_u16(status).unwrap();
        let response = Response::builder().status(status).body(Full::from("body"));
        return Ok(response.unwrap());
    }
    let mut seen = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        seen.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    let body = request.into_body().collect().await?.to_bytes();
    seen.push_str(&format!("\n{}", String::from_utf8_lossy(&body)));
    Ok(Response::new(Full::from(seen)))
}

#[tokio::test]
async fn status_code_decides() {
    let address = serve().await;
    for (path, status, text) in [
        ("/200", PASS, "200 OK"),
        ("/299", PASS, "299 "),
        ("/429", WARN, "429 Too Many Requests"),
        ("/304", FAIL, "304 Not Modified"),
        ("/404", FAIL, "404 Not Found"),
        ("/503", FAIL, "503 Service Unavailable"),
    ] {
        let (seen, output) = probe(http(address, path)).await;
        assert_eq!(seen, status, "{path}");
        let body = if path == "/304" { "" } else { "body" };
        let expected = format!("HTTP GET http://{address}{path}: {text} Output: {body}");
        // hyper writes `<none>` for a code that has no name.
        assert_eq!(output.replace("<none>", ""), expected);
    }
}

#[tokio::test]
async fn request_is_made_as_the_check_says() {
    let address = serve().await;
    let headers = [("Host", vec!["web.example".to_owned()]), ("X-A", vec!["1".into(), "2".into()])];
    let definition = CheckDefinition {
        method: "POST".into(),
        body: "ping".into(),
        header: FlatMap::from_iter(headers),
        ..http(address, "/echo?q=1")
    };
    let (status, output) = probe(definition).await;
    assert_eq!(status, PASS);
    for line in [
        "POST /echo?q=1\n",
        "host: web.example\n",
        "x-a: 1\nx-a: 2\n",
        "user-agent: Consul Health Check\n",
        "accept: text/plain, text/*, */*\n",
        "connection: close\n",
        "content-length: 4\n",
        "\n\nping",
    ] {
        assert!(output.contains(line), "{line:?} in {output}");
    }
}

#[tokio::test]
async fn credentials_in_the_url_become_a_header() {
    let address = serve().await;
    let http = format!("http://user:p%40ss@{address}/echo");
    let (_, output) = probe(CheckDefinition { http, ..CheckDefinition::default() }).await;
    assert!(output.contains("authorization: Basic dXNlcjpwQHNz\n"), "{output}");
    assert!(output.contains(&format!("host: {address}\n")), "{output}");
}

#[tokio::test]
async fn ten_redirects_are_followed_and_no_more() {
    let address = serve().await;
    let (status, output) = probe(http(address, "/redirect/10")).await;
    assert_eq!(status, PASS);
    assert!(output.ends_with("/redirect/10: 200 OK Output: arrived"), "{output}");
    let (status, output) = probe(http(address, "/redirect/11")).await;
    assert_eq!(status, FAIL);
    assert!(output.ends_with("stopped after 10 redirects"), "{output}");
    let definition = CheckDefinition { disable_redirects: true, ..http(address, "/redirect/1") };
    let (status, output) = probe(definition).await;
    assert_eq!(status, FAIL);
    assert!(output.contains("302 Found"), "{output}");
}

#[tokio::test]
async fn redirect_keeps_or_drops_the_body_by_its_code() {
    let address = serve().await;
    let post = |path| CheckDefinition {
        method: "POST".into(),
        body: "ping".into(),
        ..http(address, path)
    };
    let (_, output) = probe(post("/see-other")).await;
    assert!(output.contains("GET /echo\n") && output.ends_with("\n\n"), "{output}");
    let (_, output) = probe(post("/again")).await;
    assert!(output.contains("POST /echo\n") && output.ends_with("\n\nping"), "{output}");
}

#[tokio::test]
async fn only_the_end_of_a_large_body_is_kept() {
    let address = serve().await;
    let (status, output) = probe(http(address, "/big")).await;
    assert_eq!(status, PASS);
    let (_, body) = output.split_once("Output: ").unwrap();
    assert_eq!(body.len(), 4096);
    assert!(body.ends_with("xend"));
    let definition = CheckDefinition { output_bytes_max: 5, ..http(address, "/big") };
    assert!(probe(definition).await.1.ends_with("Output: xxend"));
}

/// Says `text` to everybody who comes, then holds the connection or closes it.
async fn say(text: &'static str, hold: bool) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
            stream.write_all(text.as_bytes()).await.unwrap();
            if hold {
                held.push(stream);
            }
        }
    });
    address
}

#[tokio::test]
async fn silence_fails_after_the_timeout() {
    let address = say("", true).await;
    let timeout = Duration::from_millis(50);
    let (status, output) = probe(CheckDefinition { timeout, ..http(address, "/") }).await;
    let expected = format!(
        "Get \"http://{address}/\": context deadline exceeded (Client.Timeout exceeded while \
         awaiting headers)"
    );
    assert_eq!((status, output), (FAIL, expected));
}

#[tokio::test]
async fn a_body_that_stops_in_the_middle_does_not_change_the_result() {
    let head = "HTTP/1.1 200 Quite Fine\r\ncontent-length: 100\r\n\r\nhalf";
    let timeout = Duration::from_millis(500);
    for hold in [true, false] {
        let address = say(head, hold).await;
        let (status, output) = probe(CheckDefinition { timeout, ..http(address, "/") }).await;
        let expected = format!("HTTP GET http://{address}/: 200 Quite Fine Output: half");
        assert_eq!((status, output), (PASS, expected));
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_or_hangs_up_fails() {
    let (_socket, address) = closed_port();
    let refused = format!("dial tcp {address}: connect: connection refused");
    let expected = format!("Get \"http://{address}/\": {refused}");
    assert_eq!(probe(http(address, "/")).await, (FAIL, expected));
    let address = say("", false).await;
    let expected = format!("Get \"http://{address}/\": EOF");
    assert_eq!(probe(http(address, "/")).await, (FAIL, expected));
}

#[tokio::test]
async fn a_target_that_cannot_be_asked_fails() {
    for (target, reason) in [
        ("ftp://a/", "unsupported protocol scheme \"ftp\""),
        ("localhost", "unsupported protocol scheme \"\""),
        ("", "There is nothing to run for this check"),
    ] {
        let definition = CheckDefinition { http: target.into(), ..CheckDefinition::default() };
        let (status, output) = probe(definition).await;
        assert_eq!(status, FAIL);
        assert!(output.ends_with(reason), "{output}");
    }
}

#[tokio::test]
async fn https_verifies_the_certificate_unless_told_not_to() {
    let (acceptor, network) = tls_for_localhost(b"http/1.1");
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let connection =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
            tokio::spawn(connection);
        }
    });
    let http = format!("https://localhost:{}/200", address.port());
    let trusted = CheckDefinition { http: http.clone(), ..CheckDefinition::default() };
    let (status, output) = probe_with(&network, trusted.clone()).await;
    assert_eq!((status, output), (PASS, format!("HTTP GET {http}: 200 OK Output: body")));
    let distrustful =
        Network { script_checks: false, tls: Tls::with_roots(RootCertStore::empty()) };
    assert_eq!(probe_with(&distrustful, trusted.clone()).await.0, FAIL);
    let skipping = CheckDefinition { tls_skip_verify: true, ..trusted };
    assert_eq!(probe_with(&distrustful, skipping).await.0, PASS);
}
