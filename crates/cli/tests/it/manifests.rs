//! Documents: applied, followed, shown, removed; and what does not work says so.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::mpsc;

use crate::support::{Agent, HANG, eventually, leno, request, text};

/// An application that answers every connection with its name.
fn application(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || answer(stream, name));
        }
    });
    address
}

fn answer(mut stream: TcpStream, name: &str) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let length = name.len();
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    let _ = stream.write_all(format!("{head}{name}").as_bytes());
}

fn register(agent: &Agent, name: &str, address: SocketAddr) {
    let body =
        format!(r#"{{"Name":"{name}","Address":"{}","Port":{}}}"#, address.ip(), address.port());
    let answer = agent.ask("PUT", "/v1/agent/service/register", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn ingress(name: &str, service: &str, path: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\nspec:\n  rules:\n  \
         - host: shop.example.com\n    http:\n      paths:\n      - path: {path}\n        \
         pathType: Prefix\n        backend:\n          service:\n            name: {service}\n            \
         port:\n              number: 80\n---\napiVersion: v1\nkind: Service\nmetadata:\n  name: {service}\n\
         spec:\n  selector:\n    app: {service}\n  ports:\n  - port: 80\n"
    )
}

#[test]
fn a_folder_of_manifests_is_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("a readable path").to_owned();
    fs::write(folder.path().join("one.yaml"), ingress("one", "one", "/one")).expect("written");
    let agent = Agent::dev(&["--manifests", &path]);
    register(&agent, "one", application("one"));
    register(&agent, "two", application("two"));
    let ask = |path: &str| {
        let at = agent.ingress.expect("the proxy has an ingress");
        request(at, &[("Host", "shop.example.com")], "GET", path, b"")
    };
    eventually("the first file is in force", || ask("/one/x").body == "one");
    assert_eq!(ask("/two").status, 404);
    fs::write(folder.path().join("two.yaml"), ingress("two", "two", "/two")).expect("written");
    eventually("a new file is in force", || ask("/two").body == "two");
    fs::write(folder.path().join("bad.yaml"), "kind: Nonsense\n").expect("written");
    fs::remove_file(folder.path().join("one.yaml")).expect("removed");
    assert_eq!(ask("/one").body, "one", "with a bad file in the folder nothing changes");
    fs::remove_file(folder.path().join("bad.yaml")).expect("removed");
    eventually("a removed file is out of force", || ask("/one").status == 404);
    assert_eq!(ask("/two").body, "two");
}

#[test]
fn a_folder_with_a_bad_file_does_not_keep_the_agent_down_and_owns_its_documents() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("a readable path").to_owned();
    fs::write(folder.path().join("bad.yaml"), "kind: [").expect("written");
    let mut agent = Agent::dev(&["--manifests", &path]);
    let said = agent.log.iter().any(|line| line.contains("bad.yaml:1"));
    assert!(said || agent.read_log_until("bad.yaml:1"), "{:?}", agent.log);
    let good = folder.path().join("good.yaml");
    fs::write(&good, ingress("shop", "cart", "/")).expect("written");
    fs::remove_file(folder.path().join("bad.yaml")).expect("removed");
    eventually("the folder is in force", || text(&agent.cli(&["get"]).stdout).contains("shop"));
    let deleted = agent.cli(&["delete", "-f", good.to_str().expect("a readable path")]);
    assert_eq!(deleted.status.code(), Some(1));
    let errors = text(&deleted.stderr);
    assert!(errors.contains("good.yaml") && errors.contains("change that file"), "{errors}");
    assert!(text(&agent.cli(&["get"]).stdout).contains("shop"), "nothing was changed");
}

#[test]
fn a_check_that_never_passed_says_why() {
    let agent = Agent::dev(&[]);
    let body = r#"{"Name":"dead","Port":1,"Check":{"TCP":"127.0.0.1:1","Interval":"1s"}}"#;
    assert_eq!(agent.ask("PUT", "/v1/agent/service/register", body).status, 200);
    eventually("the first output is in the catalog", || {
        agent.ask("GET", "/v1/health/checks/dead", "").body.contains("connection refused")
    });
    let shown = text(&agent.cli(&["services", "dead"]).stdout);
    assert!(shown.contains("connection refused"), "{shown}");
    assert!(text(&agent.cli(&["services"]).stdout).contains("1 critical"));
}

#[test]
fn documents_are_applied_shown_and_removed() {
    let agent = Agent::dev(&[]);
    let mut apply = leno()
        .args(["apply", "-f", "-"])
        .env("LENO_HTTP_ADDR", agent.http.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let document = ingress("shop", "cart", "/");
    let document =
        document.replace("  name: shop\n", "  name: shop\n  annotations:\n    example.com/x: z\n");
    let mut stdin = apply.stdin.take().expect("it is piped");
    stdin.write_all(document.as_bytes()).expect("it reads");
    drop(stdin);
    let output = apply.wait_with_output().expect("it ends");
    let shown = text(&output.stdout);
    assert!(output.status.success() && shown.contains("ingress/shop created"), "{shown}");
    assert!(
        shown.contains("ignored: stdin:6: metadata.annotations"),
        "named, not dropped: {shown}"
    );
    let got = text(&agent.cli(&["get", "ingress"]).stdout);
    assert!(got.contains("shop") && !got.contains("cart  "), "{got}");
    let json = agent.cli(&["get", "service", "cart", "-o", "json"]).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).expect("it is JSON");
    assert_eq!(json[0]["body"]["spec"]["ports"][0]["port"], 80);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("shop.yaml");
    fs::write(&file, document).expect("written");
    let file = file.to_str().expect("a readable path");
    let deleted = text(&agent.cli(&["delete", "-f", file]).stdout);
    assert!(deleted.contains("ingress/shop deleted"), "{deleted}");
    assert!(deleted.contains("service/cart deleted"), "{deleted}");
    assert!(text(&agent.cli(&["delete", "-f", file]).stdout).contains("ingress/shop absent"));
}

#[test]
fn a_bad_document_leaves_everything_as_it_was() {
    let agent = Agent::dev(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("a-good.yaml"), ingress("shop", "cart", "/")).expect("written");
    let bad = ingress("other", "cart2", "/").replace("number: 80", "number: 70000");
    fs::write(folder.path().join("b-bad.yaml"), bad).expect("written");
    fs::write(
        folder.path().join("c-worse.yaml"),
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n",
    )
    .expect("written");
    let output = agent.cli(&["apply", "-f", folder.path().to_str().expect("a readable path")]);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("b-bad.yaml:16:") && errors.contains("70000"), "{errors}");
    assert!(errors.contains("c-worse.yaml:2:") && errors.contains("Pod"), "{errors}");
    assert!(errors.contains("nothing was changed"), "{errors}");
    assert!(text(&agent.cli(&["get"]).stdout).is_empty(), "the good file is not applied either");
}

#[test]
fn services_are_reached_by_host_and_as_a_forward_proxy() {
    let agent = Agent::dev(&[]);
    let application = application("web");
    register(&agent, "web", application);
    let mesh = agent.mesh.expect("the proxy has a mesh listener");
    for host in ["web", "web.mesh", "web.service.consul", "WEB:80"] {
        eventually(host, || request(mesh, &[("Host", host)], "GET", "/", b"").body == "web");
    }
    let answer = request(mesh, &[("Host", "x")], "GET", "http://web/path", b"");
    assert_eq!(answer.body, "web", "absolute form, as with http_proxy");
    assert_eq!(request(mesh, &[("Host", "nobody")], "GET", "/", b"").status, 404);
    let shown = text(&agent.cli(&["services", "web"]).stdout);
    assert!(shown.contains(&application.to_string()) && shown.contains("passing"), "{shown}");
    let admin = agent.admin.expect("the proxy has admin pages").to_string();
    let explained = agent.cli(&["explain", "http://web/", "--proxy-admin", &admin]);
    assert!(text(&explained.stdout).contains(&application.to_string()), "{explained:?}");
}

#[test]
fn a_change_of_configuration_does_not_cut_a_long_response() {
    let agent = Agent::dev(&[]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    register(&agent, "slow", listener.local_addr().expect("it is bound"));
    let (go_on, wait) = mpsc::channel::<()>();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the proxy connects");
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer).expect("a request");
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst";
        stream.write_all(head).expect("the proxy reads");
        wait.recv_timeout(HANG).expect("the test goes on");
        stream.write_all(b"after").expect("the proxy still reads");
    });
    let mesh = agent.mesh.expect("the proxy has a mesh listener");
    eventually("the service is known", || {
        request(agent.admin.expect("admin"), &[("Host", "a")], "GET", "/clusters", b"")
            .body
            .contains("slow::")
    });
    let mut client = TcpStream::connect(mesh).expect("it accepts");
    client.set_read_timeout(Some(HANG)).expect("a timeout can be set");
    client.write_all(b"GET / HTTP/1.1\r\nHost: slow\r\n\r\n").expect("sent");
    let mut got = Vec::new();
    let mut buffer = [0; 1024];
    while !got.ends_with(b"first") {
        let read = client.read(&mut buffer).expect("the first half");
        assert!(read > 0, "cut: {}", text(&got));
        got.extend_from_slice(&buffer[..read]);
    }
    for number in 0..5 {
        register(&agent, &format!("other-{number}"), mesh);
    }
    eventually("the proxy has the change", || {
        request(agent.admin.expect("admin"), &[("Host", "a")], "GET", "/clusters", b"")
            .body
            .contains("other-4::")
    });
    go_on.send(()).expect("the server waits");
    while !got.ends_with(b"after") {
        let read = client.read(&mut buffer).expect("the second half");
        assert!(read > 0, "cut: {}", text(&got));
        got.extend_from_slice(&buffer[..read]);
    }
    server.join().expect("the server wrote everything");
}
