use serde_json::json;

use super::*;
use crate::template::tests::machine;
use crate::{merge, read};

fn resolved(mut settings: Value) -> (Value, Vec<String>) {
    let found = resolve(&mut settings, &machine());
    (settings, found.iter().map(ToString::to_string).collect())
}

#[test]
fn templates_are_resolved_where_addresses_stand() {
    let settings = json!({
        "Bind_Addr": " {{ GetPrivateIP }} ",
        "advertise_addr": "{{ GetInterfaceIP \"eth0\" }}",
        "client_addr": "127.0.0.1 {{ GetPrivateInterfaces | limit 2 | join \"address\" \" \" }}",
        "addresses": {"http": "{{ GetPublicIP }} unix:///run/x", "dns": "[::1]"},
        "recursors": ["1.1.1.1", "{{ GetInterfaceIPs \"eth1\" }}", "{{ GetPrivateIP }}:53"],
        "node_name": "{{ not an address }}",
        "advertise_addr_wan": "{{ GetPublicIP }}",
    });
    assert!(has_templates(&settings));
    let (settings, errors) = resolved(settings);
    assert_eq!(errors, [""; 0]);
    assert!(!has_templates(&settings));
    let (config, _) = read(&settings).unwrap();
    assert_eq!(config.bind, Some("192.168.7.9".parse().unwrap()));
    assert_eq!(config.advertise, Some("10.1.2.3".parse().unwrap()));
    let clients: Vec<String> = config.client_addrs.iter().map(ToString::to_string).collect();
    assert_eq!(clients, ["127.0.0.1", "192.168.7.9", "192.168.8.9"]);
    assert_eq!(settings["addresses"]["http"], "45.33.1.2 unix:///run/x");
    assert_eq!(config.addresses.dns, [crate::Listen::Ip("::1".parse().unwrap())]);
    let recursors = ["1.1.1.1", "192.168.7.9", "192.168.8.9", "192.168.7.9:53"];
    assert_eq!(config.dns.recursors, recursors);
    assert_eq!(settings["node_name"], "{{ not an address }}");
}

#[test]
fn settings_without_templates_stay_and_need_no_machine() {
    let source = crate::Source {
        name: "a".into(),
        value: json!({"bind_addr": "0.0.0.0", "addresses": [{"http": "127.0.0.1"}], "recursors": ["a"]}),
    };
    let settings = merge(&[source]).unwrap();
    assert!(!has_templates(&settings));
    assert_eq!(resolved(settings.clone()), (settings, vec![]));
}

#[test]
fn what_a_template_does_not_give_is_said_with_its_key() {
    let cases = [
        (
            json!({"bind_addr": "{{ GetInterfaceIP \"eth7\" }}"}),
            "bind_addr: the template \"{{ GetInterfaceIP \\\"eth7\\\" }}\" gives no address on this machine \
             (name an interface or a network that it has, or write the address itself)",
        ),
        (
            json!({"advertise_addr": "{{ GetInterfaceIPs `eth1` }}"}),
            "advertise_addr: the template \"{{ GetInterfaceIPs `eth1` }}\" gives 2 addresses, of which there may be \
             one: 192.168.7.9 192.168.8.9 (choose by a name or network, or take the first: | attr \"address\")",
        ),
        (
            json!({"client_addr": "{{ GetPrivateInterfaces | attr `name` }}"}),
            "client_addr: the template \"{{ GetPrivateInterfaces | attr `name` }}\" gives \"eth1\", which is no IP \
             address (ask for the address: | attr \"address\")",
        ),
        (
            json!({"addresses": {"https": "{{ GetAllInterfaces | limit }}"}}),
            "addresses.https: the template \"{{ GetAllInterfaces | limit }}\" is wrong: limit: a number is wanted, \
             not a list of interfaces",
        ),
        (
            json!({"recursors": ["{{ GetInterfaceIP `eth7` }}"]}),
            "recursors: the template \"{{ GetInterfaceIP `eth7` }}\" gives no address on this machine \
             (name an interface or a network that it has, or write the address itself)",
        ),
    ];
    for (settings, expected) in cases {
        assert_eq!(resolved(settings).1, [expected]);
    }
}

#[test]
fn an_agent_that_is_told_no_address_advertises_one_of_its_machine() {
    let only = |names: &[&str]| -> Vec<InterfaceAddress> {
        machine().into_iter().filter(|it| names.contains(&it.name.as_str())).collect()
    };
    let none = "no interface has a private IPv4 address, so others are told 127.0.0.1";
    let cases = [
        (json!({}), machine(), Some("192.168.7.9"), ""),
        (json!({"bind_addr": "0.0.0.0"}), machine(), Some("192.168.7.9"), ""),
        (json!({"bind_addr": "10.0.0.7"}), machine(), Some("10.0.0.7"), ""),
        (
            json!({"bind_addr": "0.0.0.0", "advertise_addr": "10.0.0.8"}),
            machine(),
            Some("10.0.0.8"),
            "",
        ),
        (json!({"dev": true}), machine(), None, ""),
        (json!({}), only(&["lo", "docker0", "ppp0"]), Some("172.17.0.1"), ""),
        (json!({}), only(&["lo", "eth0"]), Some("10.1.2.3"), ""),
        (
            json!({}),
            only(&["docker0", "eth0"]),
            Some("172.17.0.1"),
            "several interfaces have a private IPv4 address, but not the one with the default route, \
             so others are told 172.17.0.1 of docker0",
        ),
        // What is down, or public, is not taken.
        (json!({}), only(&["lo", "eth9", "ppp0"]), None, none),
        (json!({}), vec![], None, none),
        (json!({"bind_addr": "::"}), machine(), Some("2600:3c00::1"), ""),
    ];
    for (settings, machine, expected, said) in cases {
        let (mut config, _) = read(&settings).unwrap();
        let finding = advertise(&mut config, &machine);
        assert_eq!(config.advertise, expected.map(|it| it.parse().unwrap()), "{settings}");
        assert_eq!(finding.map(|it| it.message).unwrap_or_default(), said, "{settings}");
    }
}
