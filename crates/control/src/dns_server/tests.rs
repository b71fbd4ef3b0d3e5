use std::net::Ipv4Addr;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use model::{Change, Instance, KeyChange, Node, Object, Operation, Revision};

use super::*;

/// Longer than anything here takes; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server with 100 instances of `web`, on a port that the system chose.
struct Running {
    address: SocketAddr,
    tasks: Tasks,
}

impl Running {
    fn start(options: DnsOptions) -> Self {
        let server = DnsServer::bind((Ipv4Addr::LOCALHOST, 0).into(), options).unwrap();
        let address = server.local_addr();
        let tasks = Tasks::new();
        let catalog = Arc::new(crowd(100));
        let anybody: WhoMay = Arc::new(|_, _| Arc::new(Authorizer::management()));
        tasks.spawn("DNS server", server.run(move || catalog.clone(), anybody, tasks.clone()));
        Self { address, tasks }
    }

    async fn ask_by_udp(&self, request: &Message) -> Message {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        socket.send_to(&request.to_vec().unwrap(), self.address).await.unwrap();
        let mut reply = vec![0; 65535];
        let length = timeout(PATIENCE, socket.recv(&mut reply)).await.unwrap().unwrap();
        Message::from_vec(&reply[..length]).unwrap()
    }

    async fn ask_by_tcp(&self, requests: &[Message]) -> Vec<Message> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        for request in requests {
            write_message(&mut stream, &request.to_vec().unwrap()).await.unwrap();
        }
        let mut replies = Vec::new();
        let mut reply = Vec::new();
        for _ in requests {
            let read = read_message(&mut stream, &mut reply);
            assert!(timeout(PATIENCE, read).await.unwrap().unwrap());
            replies.push(Message::from_vec(&reply).unwrap());
        }
        replies
    }

    async fn stop(self) {
        assert_eq!(self.tasks.shut_down(PATIENCE).await, Vec::<&str>::new());
    }
}

fn crowd(count: u8) -> Catalog {
    let mut catalog = Catalog::default();
    let objects = (0..count).flat_map(|idx| {
        let name = format!("n{idx}");
        let node = Node {
            name: name.as_str().into(),
            address: format!("10.0.0.{idx}"),
            ..Node::default()
        };
        let instance = Instance {
            node: name.as_str().into(),
            id: "web".into(),
            service: "web".into(),
            port: 80,
            ..Instance::default()
        };
        [Object::Node(node), Object::Instance(instance)]
    });
    let created = Revision(1);
    let keys = objects.map(|object| match object.put() {
        Operation::Put { key, value, .. } => KeyChange::Put { key, value, created },
        Operation::Delete { .. } => unreachable!("a put is a put"),
    });
    let (_, errors) = catalog.apply(&Change { revision: created, keys: keys.collect() });
    assert!(errors.is_empty(), "{errors:?}");
    catalog
}

fn question(id: u16, name: &str, qtype: RecordType) -> Message {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), qtype));
    message
}

/// A recursor on UDP and TCP of one port that answers everything with `code`.
fn recursor(code: ResponseCode, tasks: &Tasks) -> SocketAddr {
    let (udp, tcp, address) = bind_both((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let reply_to = move |request: &[u8]| {
        let mut message = Message::from_vec(request).unwrap().into_response();
        message.metadata.response_code = code;
        message.metadata.recursion_available = true;
        message.to_vec().unwrap()
    };
    let drain = tasks.drain();
    tasks.spawn("recursor", async move {
        let mut buffer = vec![0; 65535];
        loop {
            tokio::select! {
                () = drain.begun() => return,
                received = udp.recv_from(&mut buffer) => {
                    let (length, client) = received.unwrap();
                    udp.send_to(&reply_to(&buffer[..length]), client).await.unwrap();
                }
                accepted = tcp.accept() => {
                    let (mut stream, _) = accepted.unwrap();
                    read_message(&mut stream, &mut buffer).await.unwrap();
                    write_message(&mut stream, &reply_to(&buffer)).await.unwrap();
                    buffer.resize(65535, 0);
                }
            }
        }
    });
    address
}

#[tokio::test]
async fn a_hundred_instances_are_truncated_by_udp_and_whole_by_tcp() {
    let server = Running::start(DnsOptions::default());
    let request = question(7, "web.service.consul.", RecordType::A);
    let reply = server.ask_by_udp(&request).await;
    assert_eq!((reply.metadata.id, reply.answers.len()), (7, 3));
    assert!(reply.metadata.truncation);
    let replies = server.ask_by_tcp(&[request]).await;
    assert_eq!(replies[0].answers.len(), 100);
    assert!(!replies[0].metadata.truncation);
    server.stop().await;
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_their_order() {
    let server = Running::start(DnsOptions::default());
    let requests: Vec<Message> =
        (0..50).map(|id| question(id, "web.mesh.", RecordType::SRV)).collect();
    let replies = server.ask_by_tcp(&requests).await;
    let ids: Vec<u16> = replies.iter().map(|reply| reply.metadata.id).collect();
    assert_eq!(ids, (0..50).collect::<Vec<u16>>());
    server.stop().await;
}

#[tokio::test]
async fn foreign_names_are_refused_without_recursors() {
    let server = Running::start(DnsOptions::default());
    let reply = server.ask_by_udp(&question(7, "example.com.", RecordType::A)).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::Refused);
    server.stop().await;
}

#[tokio::test]
async fn recursors_are_asked_in_order_until_one_answers() {
    let outside = Tasks::new();
    let recursors = vec![
        recursor(ResponseCode::ServFail, &outside),
        recursor(ResponseCode::NXDomain, &outside),
        recursor(ResponseCode::NoError, &outside),
    ];
    let server = Running::start(DnsOptions { recursors, ..DnsOptions::default() });
    let request = question(7, "example.com.", RecordType::A);
    let by_udp = server.ask_by_udp(&request).await;
    assert_eq!(by_udp.metadata.response_code, ResponseCode::NXDomain);
    let by_tcp = server.ask_by_tcp(std::slice::from_ref(&request)).await;
    assert_eq!(by_tcp[0].metadata.response_code, ResponseCode::NXDomain);
    let own = server.ask_by_udp(&question(8, "web.mesh.", RecordType::A)).await;
    assert!(own.metadata.authoritative && own.metadata.recursion_available);
    server.stop().await;
    outside.shut_down(PATIENCE).await;
}

#[tokio::test]
async fn it_is_a_server_failure_when_no_recursor_answers() {
    let outside = Tasks::new();
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let recursors = vec![recursor(ResponseCode::Refused, &outside), silent.local_addr().unwrap()];
    let recursor_timeout = Duration::from_millis(50);
    let options = DnsOptions { recursors, recursor_timeout, ..DnsOptions::default() };
    let server = Running::start(options);
    let request = question(7, "example.com.", RecordType::A);
    for reply in [server.ask_by_udp(&request).await, server.ask_by_tcp(&[request]).await.remove(0)]
    {
        assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
        assert!(reply.metadata.recursion_available);
        assert_eq!(reply.queries.len(), 1);
    }
    server.stop().await;
    outside.shut_down(PATIENCE).await;
}

#[tokio::test]
async fn garbage_stops_neither_socket() {
    let server = Running::start(DnsOptions::default());
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    for garbage in [&b""[..], b"x", &[0xFF; 12], &[0; 600]] {
        socket.send_to(garbage, server.address).await.unwrap();
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
    }
    let request = question(7, "web.mesh.", RecordType::A);
    assert_eq!(server.ask_by_udp(&request).await.answers.len(), 3);
    assert_eq!(server.ask_by_tcp(&[request]).await[0].answers.len(), 100);
    server.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_trickles_bytes_is_cut_off_by_the_deadline_of_the_message() {
    let listener = open_tcp((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let door = Door {
        who: Arc::new(|_, _| Arc::new(Authorizer::management())),
        catalog: || Arc::new(Catalog::default()),
        config: DnsConfig::default(),
        recursors: Recursors::new(Vec::new(), PATIENCE),
    };
    let drain = Drain::new();
    let started = tokio::time::Instant::now();
    let trickle = async {
        loop {
            // The write fails once the server has closed the connection.
            let _ = client.write_all(&[1]).await;
            sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        served = serve_connection(stream, &door, &drain) => served.unwrap(),
        () = trickle => unreachable!("it has no end"),
    }
    assert_eq!(started.elapsed().as_secs(), TCP_MESSAGE_TIMEOUT.as_secs());
}

#[tokio::test]
async fn an_address_in_use_is_named_with_its_protocol() {
    // Both sockets must be tried on one port, and over TCP it may be somebody else's.
    let (_taken, address) = (0..PORT_ATTEMPTS)
        .map(|_| {
            let taken = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = taken.local_addr().unwrap();
            (taken, address)
        })
        .find(|(_, address)| std::net::TcpListener::bind(address).is_ok())
        .expect("a port that is free over TCP");
    let error = DnsServer::bind(address, DnsOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {address} (UDP)"));
    let DnsServerError::Listen { source, .. } = error;
    assert_eq!(source.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn recursors_have_port_53_unless_told_otherwise() {
    for (text, expected) in [
        ("9.9.9.9", Some("9.9.9.9:53")),
        ("9.9.9.9:5353", Some("9.9.9.9:5353")),
        ("fd00::1", Some("[fd00::1]:53")),
        ("[fd00::1]", Some("[fd00::1]:53")),
        ("[fd00::1]:5353", Some("[fd00::1]:5353")),
        ("dns.example.com", None),
        ("", None),
    ] {
        let expected = expected.map(|it| it.parse().unwrap());
        assert_eq!(parse_recursor(text), expected, "{text}");
    }
}
