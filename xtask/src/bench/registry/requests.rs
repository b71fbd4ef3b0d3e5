//! What the agent is asked.

pub(super) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").into_bytes()
}

pub(super) fn put(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("PUT {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// A new instance with a check, as an agent's client registers it.
pub(super) fn registration(client: u64, number: u64) -> Vec<u8> {
    let body = format!(
        r#"{{"ID":"s-{client}-{number}","Name":"s-{}","Address":"127.0.0.1","Port":8080,"Tags":["v1"],"Check":{{"TTL":"30m"}}}}"#,
        number % 100
    );
    put("/v1/agent/service/register", &body)
}

pub(super) fn web(instance: u64, tag: &str) -> Vec<u8> {
    let body = format!(
        r#"{{"ID":"web-{instance}","Name":"web","Address":"127.0.0.1","Port":8080,"Tags":["{tag}"]}}"#
    );
    put("/v1/agent/service/register", &body)
}

/// One instance of a fleet: 100 to a node, 1,000 services, with metadata and a check each.
pub(super) fn fleet(number: u64) -> Vec<u8> {
    let (node, service) = (number / 100, number % 1000);
    let body = format!(
        r#"{{"Node":"node-{node}","Address":"10.0.{}.{}","SkipNodeUpdate":true,"Service":{{"ID":"i-{number}","Service":"service-{service}","Address":"10.0.0.1","Port":8080,"Tags":["v1","production"],"Meta":{{"version":"1.2.3","zone":"a"}}}},"Check":{{"CheckID":"c-{number}","Name":"alive","Status":"passing","ServiceID":"i-{number}"}}}}"#,
        node / 256,
        node % 256
    );
    put("/v1/catalog/register", &body)
}

/// A value of 100 bytes that is written once.
fn value(client: u64, number: u64) -> String {
    format!("{:->100}", format!("{client}-{number}"))
}

/// A new value of one of 1,000 keys that the client has to itself.
pub(super) fn kv_put(client: u64, number: u64) -> Vec<u8> {
    put(&format!("/v1/kv/bench/{client}/{}", number % 1000), &value(client, number))
}

/// Eight new values, all or none.
pub(super) fn transaction(client: u64, number: u64) -> Vec<u8> {
    // In base64, of which digits and `x` are a part: 99 bytes.
    let value = format!("{:0>132}", format!("{client}x{number}"));
    let operations: Vec<String> = (0..8)
        .map(|key| {
            let key = number % 100 * 8 + key;
            format!(r#"{{"KV":{{"Verb":"set","Key":"txn/{client}/{key}","Value":"{value}"}}}}"#)
        })
        .collect();
    put("/v1/txn", &format!("[{}]", operations.join(",")))
}
