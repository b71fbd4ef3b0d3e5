use std::collections::BTreeSet;

use model::go::quote;

use super::{Verdict, ensure, is_domain, passive_health_check};
use crate::is_http_like;
use crate::view::{
    ApiGateway, ApiListener, HeaderModifiers, IngressGateway, IngressListener, IngressService,
    TerminatingGateway, TlsSettings,
};

const TLS_VERSIONS: &[&str] = &["", "TLS_AUTO", "TLSv1_0", "TLSv1_1", "TLSv1_2", "TLSv1_3"];

pub(super) fn ingress(it: &IngressGateway) -> Verdict {
    tls(&it.tls)?;
    let mut ports = BTreeSet::new();
    for listener in &it.listeners {
        let port = listener.port;
        ensure(ports.insert(port), || format!("port {port} declared on two listeners"))?;
        ensure((1..=65535).contains(&port), || format!("port {port} is not in the range 1-65535"))?;
        ensure(matches!(listener.protocol.as_str(), "tcp" | "http" | "http2" | "grpc"), || {
            let protocol = &listener.protocol;
            format!(
                "protocol must be 'tcp', 'http', 'http2', or 'grpc'. '{protocol}' is an unsupported protocol"
            )
        })?;
        ensure(!listener.services.is_empty(), || {
            format!("No service declared for listener with port {port}")
        })?;
        ensure(is_http_like(&listener.protocol) || listener.services.len() == 1, || {
            format!(
                "Multiple services per listener are only supported for L7 protocols, 'http', 'grpc' and 'http2' (listener on port {port})"
            )
        })?;
        listener.tls.as_ref().map_or(Ok(()), tls)?;
        services(it, listener)?;
    }
    Ok(())
}

fn services(gateway: &IngressGateway, listener: &IngressListener) -> Verdict {
    let port = listener.port;
    let mut names = BTreeSet::new();
    let mut hosts = BTreeSet::new();
    for service in &listener.services {
        let name = quote(&service.name);
        headers(service.request_headers.as_ref(), listener).map_err(|why| {
            format!("request headers {why} (service {name} on listener on port {port})")
        })?;
        headers(service.response_headers.as_ref(), listener).map_err(|why| {
            format!("response headers {why} (service {name} on listener on port {port})")
        })?;
        let is_wild = service.name == "*";
        if listener.protocol == "tcp" {
            ensure(!is_wild, || {
                format!(
                    "Wildcard service name is only valid for protocol = 'http' (listener on port {port})"
                )
            })?;
            ensure(service.hosts.is_empty(), || {
                format!(
                    "Associating hosts to a service is not supported for the tcp protocol (listener on port {port})"
                )
            })?;
        }
        ensure(!service.name.is_empty(), || {
            format!("Service name cannot be blank (listener on port {port})")
        })?;
        ensure(!is_wild || service.hosts.is_empty(), || {
            format!(
                "Associating hosts to a wildcard service is not supported (listener on port {port})"
            )
        })?;
        ensure(names.insert(&service.name), || {
            format!(
                "Service {} cannot be added multiple times (listener on port {port})",
                service.name
            )
        })?;
        sds(gateway, listener, service)?;
        passive_health_check(service.passive_health_check.as_ref())?;
        for host in &service.hosts {
            ensure(hosts.insert(host), || {
                format!("Hosts must be unique within a specific listener (listener on port {port})")
            })?;
            host_name(gateway.tls.enabled, host)?;
        }
    }
    Ok(())
}

fn headers(it: Option<&HeaderModifiers>, listener: &IngressListener) -> Verdict {
    let is_said = it.is_some_and(|it| *it != HeaderModifiers::default());
    ensure(!is_said || is_http_like(&listener.protocol), || {
        "only valid for http, http2 and grpc protocols".to_owned()
    })
}

fn host_name(has_tls: bool, host: &str) -> Verdict {
    if host == "*" {
        return ensure(!has_tls, || {
            "Host '*' is not allowed when TLS is enabled, all hosts must be valid DNS records to add as a DNSSAN".to_owned()
        });
    }
    ensure(is_domain(host), || format!("Host {} must be a valid DNS hostname", quote(host)))?;
    ensure(!host.strip_prefix("*.").unwrap_or(host).contains('*'), || {
        format!(
            "Host {} is not valid, a wildcard specifier is only allowed as the leftmost label",
            quote(host)
        )
    })
}

/// Certificates from elsewhere: what is said at one level is completed by what is said above it.
fn sds(gateway: &IngressGateway, listener: &IngressListener, service: &IngressService) -> Verdict {
    let port = listener.port;
    let of_gateway = gateway.tls.sds.clone().unwrap_or_default();
    ensure(!of_gateway.cluster_name.is_empty() || of_gateway.cert_resource.is_empty(), || {
        "TLS.SDS.ClusterName is required if CertResource is set".to_owned()
    })?;
    let has_cluster = !of_gateway.cluster_name.is_empty();
    let of_listener = listener.tls.as_ref().and_then(|it| it.sds.clone()).unwrap_or_default();
    let listener_certificate = !of_listener.cert_resource.is_empty();
    let listener_cluster = !of_listener.cluster_name.is_empty();
    ensure(!has_cluster || !of_gateway.cert_resource.is_empty() || listener_certificate, || {
        format!(
            "TLS.SDS.CertResource is required if ClusterName is set for gateway (listener on port {port})"
        )
    })?;
    ensure(!listener_cluster || listener_certificate, || {
        format!(
            "TLS.SDS.CertResource is required if ClusterName is set for listener (listener on port {port})"
        )
    })?;
    ensure(!listener_certificate || listener_cluster || has_cluster, || {
        format!("TLS.SDS.ClusterName is required if CertResource is set (listener on port {port})")
    })?;
    let of_service = service.tls.as_ref().and_then(|it| it.sds.clone()).unwrap_or_default();
    if of_service.cert_resource.is_empty() {
        return Ok(());
    }
    let name = quote(&service.name);
    ensure(!service.hosts.is_empty(), || {
        format!(
            "A service specifying TLS.SDS.CertResource must have at least one item in Hosts (service {name} on listener on port {port})"
        )
    })?;
    ensure(!of_service.cluster_name.is_empty() || listener_cluster || has_cluster, || {
        format!(
            "TLS.SDS.ClusterName is required if CertResource is set (service {name} on listener on port {port})"
        )
    })
}

fn tls(it: &TlsSettings) -> Verdict {
    tls_versions(&it.tls_min_version, &it.tls_max_version, &it.cipher_suites)
}

pub(super) fn tls_versions(min: &str, max: &str, suites: &[String]) -> Verdict {
    for version in [min, max] {
        ensure(TLS_VERSIONS.contains(&version), || {
            format!(
                "configured TLS version {} is not supported: must be one of TLS_AUTO, TLSv1_0, TLSv1_1, TLSv1_2, TLSv1_3",
                quote(version)
            )
        })?;
    }
    let place = |version| TLS_VERSIONS.iter().position(|it| *it == version).unwrap_or_default();
    // The first two mean no bound.
    ensure(place(min) <= 1 || place(max) <= 1 || place(min) <= place(max), || {
        format!(
            "configuring max version {max} less than the configured min version {min} is invalid"
        )
    })?;
    ensure(suites.is_empty() || place(min) < place("TLSv1_3"), || {
        format!(
            "configuring CipherSuites is only applicable to connections negotiated with TLS 1.2 or earlier, TLSMinVersion is set to {min}"
        )
    })
}

pub(super) fn terminating(it: &TerminatingGateway) -> Verdict {
    let mut names = BTreeSet::new();
    for service in &it.services {
        ensure(!service.name.is_empty(), || "Service name cannot be blank.".to_owned())?;
        ensure(names.insert(&service.name), || {
            format!(
                "Service {} was specified more than once within a namespace",
                quote(&service.name)
            )
        })?;
        let files = [&service.ca_file, &service.cert_file, &service.key_file];
        let has_certificate = !service.cert_file.is_empty() || !service.key_file.is_empty();
        ensure(!has_certificate || files.iter().all(|it| !it.is_empty()), || {
            format!(
                "Service {} must have a CertFile, CAFile, and KeyFile specified for TLS origination",
                quote(&service.name)
            )
        })?;
    }
    Ok(())
}

pub(super) fn api(it: &ApiGateway) -> Verdict {
    ensure(!it.listeners.is_empty(), || "api gateway must have at least one listener".to_owned())?;
    for (idx, listener) in it.listeners.iter().enumerate() {
        let name = quote(&listener.name);
        ensure(is_listener_name(&listener.name), || {
            format!(
                "listener name {name} is invalid, must be at least 1 character and contain only letters, numbers, or dashes"
            )
        })?;
        for other in &it.listeners[..idx] {
            ensure(other.name != listener.name, || {
                format!("found multiple listeners with the name {name}")
            })?;
            let is_same =
                other.hostname == listener.hostname && other.protocol == listener.protocol;
            ensure(other.port != listener.port || is_same, || {
                format!("listeners {} and {name} cannot be merged", quote(&other.name))
            })?;
        }
        api_listener(listener)?;
    }
    Ok(())
}

fn api_listener(it: &ApiListener) -> Verdict {
    ensure(matches!(it.protocol.as_str(), "http" | "tcp"), || {
        format!(
            "unsupported listener protocol {}, must be one of 'tcp', or 'http'",
            quote(&it.protocol)
        )
    })?;
    ensure(it.protocol != "tcp" || it.hostname.is_empty(), || {
        "hostname specification is not supported when using TCP".to_owned()
    })?;
    ensure((1..=65535).contains(&it.port), || {
        format!("listener port {} not in the range 1-65535", it.port)
    })?;
    let host = it.hostname.strip_prefix("*.").unwrap_or(&it.hostname);
    ensure(it.hostname == "*" || !host.contains('*'), || {
        format!(
            "host {} is not valid, a wildcard specifier is only allowed as the left-most label",
            quote(&it.hostname)
        )
    })?;
    for certificate in &it.tls.certificates {
        let is_kind =
            matches!(certificate.kind.as_str(), "inline-certificate" | "file-system-certificate");
        ensure(is_kind, || {
            format!(
                "unsupported certificate kind: {}, must be 'file-system-certificate' or 'inline-certificate'",
                quote(&certificate.kind)
            )
        })?;
        ensure(!certificate.name.is_empty(), || {
            "certificate reference must have a name".to_owned()
        })?;
    }
    tls_versions(&it.tls.min_version, &it.tls.max_version, &it.tls.cipher_suites)
}

fn is_listener_name(name: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().is_some_and(|it| is_inner(*it))
            && bytes.last().is_some_and(|it| is_inner(*it))
            && bytes.iter().all(|it| is_inner(*it) || *it == b'-')
    };
    name.split('.').all(is_label)
}
