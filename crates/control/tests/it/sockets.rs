//! Sockets in the file system, and how many connections a client may have.

use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use control::agent::{Agent, AgentError, AgentOptions, ApiSettings, Network};
use control::http_server::{HttpEndpoint, UnixEndpoint};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};

use crate::client::{Answer, HANG, end, receive, send, start};

/// A folder of its own, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("leno-sockets-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("http.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn options(path: &Path, mode: Option<u32>) -> AgentOptions {
    let endpoint = UnixEndpoint { path: path.to_owned(), mode, ..UnixEndpoint::default() };
    let more_http = vec![HttpEndpoint::Unix(endpoint)];
    AgentOptions { more_http, http: None, ..AgentOptions::default() }
}

async fn ask(path: &Path, method: &str, target: &str) -> Answer {
    let mut stream = UnixStream::connect(path).await.unwrap();
    send(&mut stream, method, target, b"x").await;
    receive(&mut stream).await
}

#[tokio::test]
async fn a_socket_serves_with_its_mode_and_goes_with_the_agent() {
    let folder = Folder::new();
    for mode in [0o600, 0o660, 0o777] {
        let agent = start(options(&folder.socket(), Some(mode))).await;
        assert_eq!(agent.http, None);
        let found = std::fs::symlink_metadata(folder.socket()).unwrap();
        assert!(found.file_type().is_socket());
        assert_eq!(found.permissions().mode() & 0o777, mode);
        assert_eq!(ask(&folder.socket(), "PUT", "/v1/kv/a").await.text(), "true");
        assert_eq!(ask(&folder.socket(), "GET", "/v1/kv/a?raw").await.text(), "x");
        end(&agent).await;
        assert!(!folder.socket().exists());
    }
}

#[tokio::test]
async fn a_ui_with_an_address_of_its_own_is_there_alone() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let folder = Folder::new();
    let options =
        AgentOptions { http: Some(any), ui_http: Some(any), ..options(&folder.socket(), None) };
    let agent = start(options).await;
    let (http, ui) = (agent.http.unwrap(), agent.ui.unwrap());
    assert_ne!(http, ui);
    for (target, at_ui, elsewhere) in
        [("/", 302, 200), ("/ui/", 200, 404), ("/v1/agent/self", 200, 200)]
    {
        for (address, status) in [(ui, at_ui), (http, elsewhere)] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            send(&mut stream, "GET", target, b"").await;
            assert_eq!(receive(&mut stream).await.status, status, "{target} at {address}");
        }
        assert_eq!(ask(&folder.socket(), "GET", target).await.status, elsewhere, "{target}");
    }
    end(&agent).await;
}

#[tokio::test]
async fn the_socket_of_an_agent_that_is_no_more_is_replaced() {
    let folder = Folder::new();
    // What a killed agent leaves behind.
    drop(std::os::unix::net::UnixListener::bind(folder.socket()).unwrap());
    assert!(folder.socket().exists());
    let agent = start(options(&folder.socket(), None)).await;
    assert_eq!(ask(&folder.socket(), "GET", "/v1/status/leader").await.status, 200);
    end(&agent).await;
}

async fn refused(path: &Path) -> String {
    let error = Agent::start(options(path, None)).await.err().unwrap();
    assert!(matches!(error, AgentError::Listen(_)), "{error}");
    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    let text = format!("{error}: {source}");
    assert!(text.contains(path.to_str().unwrap()), "{text}");
    text
}

#[tokio::test]
async fn what_is_not_ours_is_left_where_it_is() {
    let folder = Folder::new();
    let file = folder.0.join("notes.txt");
    std::fs::write(&file, "mine").unwrap();
    assert!(refused(&file).await.contains("no socket"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");

    let link = folder.0.join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    refused(&link).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    refused(&folder.0).await;
    refused(&folder.0.join("none/http.sock")).await;

    let first = start(options(&folder.socket(), None)).await;
    assert!(refused(&folder.socket()).await.contains("another process listens on it"));
    assert_eq!(ask(&folder.socket(), "GET", "/v1/status/leader").await.status, 200, "it lives");
    end(&first).await;
}

#[tokio::test]
async fn a_socket_has_no_address_that_rules_could_refuse() {
    let folder = Folder::new();
    let nobody = Network { ip: "203.0.113.0".parse().unwrap(), bits: 24 };
    let api = ApiSettings { write_networks: vec![nobody], ..ApiSettings::default() };
    let options =
        AgentOptions { api, connections_per_client_max: 1, ..options(&folder.socket(), None) };
    let agent = start(options).await;
    let _held = UnixStream::connect(folder.socket()).await.unwrap();
    assert_eq!(ask(&folder.socket(), "PUT", "/v1/kv/a").await.text(), "true");
    end(&agent).await;
}

#[tokio::test]
async fn a_client_has_so_many_connections_and_the_next_is_told() {
    let most = 200;
    let agent =
        start(AgentOptions { connections_per_client_max: most, ..AgentOptions::default() }).await;
    let http = agent.http.unwrap();
    let mut held = Vec::new();
    for _ in 0..most {
        let mut stream = TcpStream::connect(http).await.unwrap();
        // An answer shows that it has been let in.
        send(&mut stream, "GET", "/v1/status/leader", b"").await;
        assert_eq!(receive(&mut stream).await.status, 200);
        held.push(stream);
    }
    for _ in 0..3 {
        let mut stream = TcpStream::connect(http).await.unwrap();
        let mut answer = Vec::new();
        let reading = stream.read_to_end(&mut answer);
        tokio::time::timeout(HANG, reading).await.expect("it is closed").unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{answer}");
        let text =
            "Your IP is issuing too many concurrent connections, please rate limit your calls";
        assert!(answer.ends_with(text), "{answer}");
    }
    // Those that are there go on, and one that goes makes room.
    send(&mut held[0], "GET", "/v1/status/leader", b"").await;
    assert_eq!(receive(&mut held[0]).await.status, 200);
    held.pop();
    let again = async {
        loop {
            let mut stream = TcpStream::connect(http).await.unwrap();
            send(&mut stream, "GET", "/v1/status/leader", b"").await;
            let mut head = [0; 12];
            stream.read_exact(&mut head).await.unwrap();
            if &head == b"HTTP/1.1 200" {
                break;
            }
        }
    };
    tokio::time::timeout(HANG, again).await.expect("there is room");
    end(&agent).await;
}
