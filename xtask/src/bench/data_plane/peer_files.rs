//! What HAProxy and nginx are given: the same work as `examples/envoy/bench.yaml`, in their own words.

use std::path::Path;

use super::proxies::{Place, Ports};

/// All proxies speak one cipher, so that none pays for a longer key.
const CIPHER: &str = "TLS_AES_128_GCM_SHA256";

/// OpenSSL's configuration for wrk, which has no option of its own for the cipher.
pub(super) fn openssl() -> String {
    format!(
        "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = tls\n[tls]\n\
         MinProtocol = TLSv1.3\nCiphersuites = {CIPHER}\n"
    )
}

/// What HAProxy has open beside its connections.
const HAPROXY_OTHER_FILES: u64 = 200;

/// HAProxy with its threads in one process. Without a limit of connections it takes memory for as many files as it may open.
pub(super) fn haproxy(place: &Place<'_>, ports: &Ports, connections: u64) -> String {
    let Ports { http1, https, h2c, tcp, .. } = ports;
    let workers = place.workers;
    // It counts those of clients, and keeps a file for the other side of each.
    let clients = connections.saturating_sub(HAPROXY_OTHER_FILES) / 2;
    let both = place.certificate_and_key.display();
    let ([web_1, web_2], [h2_1, h2_2]) = (place.backend_http1, place.backend_http2);
    format!(
        "\
global
    nbthread {workers}
    maxconn {clients}
    ssl-default-bind-options ssl-min-ver TLSv1.3
    ssl-default-bind-ciphersuites {CIPHER}

defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h
    option forwardfor
    http-reuse always
    unique-id-format %[uuid()]
    unique-id-header x-request-id

frontend http1
    bind 127.0.0.1:{http1}
    default_backend web
frontend https
    bind 127.0.0.1:{https} ssl crt {both} alpn h2,http/1.1
    default_backend web
frontend h2c
    bind 127.0.0.1:{h2c} proto h2
    default_backend web_h2
frontend tcp
    mode tcp
    bind 127.0.0.1:{tcp}
    default_backend web_tcp

backend web
    balance roundrobin
    server one 127.0.0.1:{web_1}
    server two 127.0.0.1:{web_2}
backend web_h2
    balance roundrobin
    server one 127.0.0.1:{h2_1} proto h2
    server two 127.0.0.1:{h2_2} proto h2
backend web_tcp
    mode tcp
    balance roundrobin
    server one 127.0.0.1:{web_1}
    server two 127.0.0.1:{web_2}
"
    )
}

/// nginx. It speaks HTTP/2 to a backend only as gRPC, so h2 requests that are not gRPC go on as HTTP/1.1.
///
/// Its memory, too, grows with the connections that it may have.
pub(super) fn nginx(
    place: &Place<'_>,
    ports: &Ports,
    stream_module: &Path,
    connections: u64,
) -> String {
    let Ports { http1, https, h2c, tcp, .. } = ports;
    let workers = place.workers;
    let folder = place.folder.display();
    let (certificate, key) = (place.certificate.display(), place.key.display());
    let ([web_1, web_2], [h2_1, h2_2]) = (place.backend_http1, place.backend_http2);
    let module = stream_module.display();
    let generation = place.generation;
    format!(
        "\
daemon off;
worker_processes {workers};
pid {folder}/nginx.pid;
error_log {folder}/nginx.log error;
load_module {module};

events {{ worker_connections {connections}; }}

http {{
    access_log off;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    client_body_buffer_size 64k;
    proxy_temp_path {folder}/proxy;
    proxy_max_temp_file_size 0;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites {CIPHER};

    proxy_http_version 1.1;
    proxy_set_header Host $host;
    proxy_set_header Connection \"\";
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Request-Id $request_id;
    grpc_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    grpc_set_header X-Request-Id $request_id;

    upstream web {{
        server 127.0.0.1:{web_1};
        server 127.0.0.1:{web_2};
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    upstream web_h2 {{
        server 127.0.0.1:{h2_1};
        server 127.0.0.1:{h2_2};
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{http1} reuseport;
        location = /generation {{ return 200 \"{generation}\"; }}
        location / {{ proxy_pass http://web; }}
    }}
    server {{
        listen 127.0.0.1:{https} ssl http2 reuseport;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        location / {{ proxy_pass http://web; }}
    }}
    server {{
        listen 127.0.0.1:{h2c} http2 reuseport;
        location / {{ proxy_pass http://web; }}
        location /bench.Echo/ {{ grpc_pass grpc://web_h2; }}
    }}
}}

stream {{
    upstream web {{
        server 127.0.0.1:{web_1};
        server 127.0.0.1:{web_2};
    }}
    server {{
        listen 127.0.0.1:{tcp} reuseport;
        proxy_pass web;
    }}
}}
"
    )
}
