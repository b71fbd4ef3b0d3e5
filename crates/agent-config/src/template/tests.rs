use super::*;

/// A machine with two networks behind its default route, one that is public, one that is down, and one of containers.
pub(crate) fn machine() -> Vec<InterfaceAddress> {
    let address = |name: &str, ip: &str, network_bits| InterfaceAddress {
        name: name.into(),
        ip: ip.parse().unwrap(),
        network_bits,
        is_up: name != "eth9",
        is_loopback: name == "lo",
        is_point_to_point: name == "ppp0",
        is_broadcast: name != "lo" && name != "ppp0",
        is_multicast: name != "lo",
        has_default_route: name == "eth1",
    };
    vec![
        address("lo", "127.0.0.1", 8),
        address("lo", "::1", 128),
        address("docker0", "172.17.0.1", 16),
        address("eth0", "10.1.2.3", 16),
        address("eth0", "10.1.2.4", 32),
        address("eth0", "fd00::5", 64),
        address("eth0", "fe80::1", 64),
        address("eth1", "192.168.7.9", 24),
        address("eth1", "192.168.8.9", 25),
        address("ppp0", "45.33.1.2", 24),
        address("ppp0", "2600:3c00::1", 64),
        address("eth9", "10.200.0.1", 24),
    ]
}

#[test]
fn templates_give_what_the_functions_choose() {
    let private = "192.168.7.9 192.168.8.9 172.17.0.1 10.1.2.3 10.1.2.4 fd00::5";
    let cases = [
        // Text around them stays.
        ("10.0.0.1", "10.0.0.1"),
        ("a {{ GetPrivateIP }} b", "a 192.168.7.9 b"),
        ("a {{- GetPrivateIP -}} b", "a192.168.7.9b"),
        ("{{GetPrivateIP}} {{GetPublicIP}}", "192.168.7.9 45.33.1.2"),
        // Each function.
        ("{{ GetInterfaceIP \"eth0\" }}", "10.1.2.3"),
        ("{{ GetInterfaceIP `^eth\\d$` }}", "10.1.2.3"),
        ("{{ GetInterfaceIP \"lo\" }}", "127.0.0.1"),
        ("{{ GetInterfaceIP \"none\" }}", ""),
        ("{{ GetInterfaceIPs \"eth0\" }}", "10.1.2.3 10.1.2.4 fd00::5 fe80::1"),
        (
            "{{ GetPrivateIPs }}",
            "172.17.0.1 10.1.2.3 192.168.7.9 10.200.0.1 192.168.8.9 10.1.2.4 fd00::5",
        ),
        ("{{ GetPrivateInterfaces | join \"address\" \" \" }}", private),
        ("{{ GetPublicIPs }}", "45.33.1.2 2600:3c00::1"),
        ("{{ GetDefaultInterfaces | join \"address\" \" \" }}", "192.168.7.9 192.168.8.9"),
        (
            "{{ GetAllInterfaces | join \"type\" \"\" }}",
            "IPv4IPv6IPv4IPv4IPv4IPv6IPv6IPv4IPv4IPv4IPv6IPv4",
        ),
        ("{{ GetPublicInterfaces | attr \"name\" }}", "ppp0"),
        // Parentheses, the dot, and the argument that is piped.
        ("{{ . | limit 1 | attr \"address\" }}", "127.0.0.1"),
        ("{{ attr \"name\" (GetPrivateInterfaces | offset 2) }}", "docker0"),
        ("{{ Attr \"address\" GetPrivateInterfaces }}", "192.168.7.9"),
        ("{{ \"10.0.0.1\" }}{{ (\":\") }}{{ 80 }}", "10.0.0.1:80"),
    ];
    for (template, expected) in cases {
        assert_eq!(expand(template, &machine()).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn lists_are_chosen_from_sorted_and_cut() {
    let cases = [
        ("include \"network\" \"10.0.0.0/8\"", "10.1.2.3 10.1.2.4 10.200.0.1"),
        ("include \"network\" \"192.168.8.0/24|10.1.0.0/16\"", "192.168.8.9 10.1.2.3 10.1.2.4"),
        // An address counts with its network.
        ("include \"network\" \"10.1.2.0/24\"", "10.1.2.4"),
        ("include \"network\" \"fd00::/8\"", "fd00::5"),
        (
            "include \"name\" \"^eth\" | exclude \"type\" \"ipv6\" | exclude \"size\" \"32\"",
            "10.1.2.3 192.168.7.9 192.168.8.9 10.200.0.1",
        ),
        ("include \"address\" \"^10\\\\.1\\\\.2\\\\.3/16$\"", "10.1.2.3"),
        (
            "include \"RFC\" \"1918|4193\" | include \"flag\" \"up\" | exclude \"name\" \"docker\"",
            "10.1.2.3 10.1.2.4 192.168.7.9 192.168.8.9 fd00::5",
        ),
        ("exclude \"rfc\" \"6890\"", "45.33.1.2 2600:3c00::1"),
        ("include \"flags\" \"down\"", "10.200.0.1"),
        ("include \"flags\" \"point-to-point\"", "45.33.1.2 2600:3c00::1"),
        ("include \"flags\" \"loopback\"", "127.0.0.1 ::1"),
        ("include \"flags\" \"link-local unicast\"", "fe80::1"),
        ("include \"flags\" \"up|broadcast\" | exclude \"flags\" \"forwardable\"", "fe80::1"),
        (
            "include \"flags\" \"forwardable|loopback\" | include \"type\" \"IPv6\"",
            "::1 fd00::5 2600:3c00::1",
        ),
        ("include \"type\" \"ip\" | limit 1", "127.0.0.1"),
        ("include \"type\" \"unix\"", ""),
        ("sort \"default,type,size\" | limit 2", "192.168.7.9 192.168.8.9"),
        ("sort \"-default,-address\" | limit 2", "fe80::1 fd00::5"),
        ("sort \"-name,type\" | limit 2", "45.33.1.2 2600:3c00::1"),
        ("sort \"private, -size\" | limit 2", "::1 fd00::5"),
        ("sort \"+type,-size\" | offset 1 | limit 2", "192.168.8.9 192.168.7.9"),
        ("offset -2", "2600:3c00::1 10.200.0.1"),
        ("offset \"-1\" | limit 5", "10.200.0.1"),
        (
            "sort \"name,-type\" | unique \"name\"",
            "172.17.0.1 fd00::5 192.168.7.9 10.200.0.1 ::1 2600:3c00::1",
        ),
        ("limit 1 | math \"address\" \"-2\"", "126.255.255.255"),
        ("include \"name\" \"eth1\" | math \"network\" \"+2\"", "192.168.7.2 192.168.8.2"),
        ("include \"name\" \"eth1\" | math \"network\" \"-1\"", "192.168.7.255 192.168.8.127"),
        ("include \"network\" \"fd00::/8\" | math \"address\" \"+256\"", "fd00::105"),
        ("include \"name\" \"docker\" | math \"mask\" \"8\"", "172.0.0.0"),
    ];
    for (stages, expected) in cases {
        let template = format!("{{{{ GetAllInterfaces | {stages} | join \"address\" \" \" }}}}");
        assert_eq!(expand(&template, &machine()).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn attributes_are_told_of_the_first() {
    let cases = [
        ("address", "172.17.0.1"),
        ("Host", "172.17.0.1"),
        ("string", "172.17.0.1/16"),
        ("network", "172.17.0.0"),
        ("netmask", "255.255.0.0"),
        ("mask_bits", "16"),
        ("name", "docker0"),
        ("type", "IPv4"),
        ("flags", "up|broadcast|multicast"),
    ];
    for (attribute, expected) in cases {
        let template = format!("{{{{ . | include `name` `docker` | attr `{attribute}` }}}}");
        assert_eq!(expand(&template, &machine()).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn what_is_wrong_with_a_template_is_said() {
    let cases = [
        ("{{ GetPrivateIP", "a {{ has no }} after it"),
        ("{{ }}", "a function is missing"),
        ("{{ GetAllInterfaces | }}", "a function is missing"),
        ("{{ GetAllInterfaces | \"a\" }}", "a function is missing"),
        ("{{ GetInterfaceIP \"eth0 }}", "a text has no \" at its end"),
        ("{{ GetInterfaceIP `eth0 }}", "a text has no ` at its end"),
        ("{{ GetInterfaceIP \"\\d\" }}", "\\d is unknown"),
        ("{{ (GetPrivateIP }}", "a ( has no ) after it"),
        ("{{ GetPrivateIP) }}", "a ) has no ( before it"),
        ("{{ .Name }}", ".Name: fields and variables are not read"),
        ("{{ $x := GetPrivateIP }}", "$x: fields and variables are not read"),
        ("{{ GetPrivateIP ; }}", "; cannot stand in a template"),
        ("{{ limit 1x . }}", "1x is no whole number"),
        ("{{ range GetAllInterfaces }}{{ end }}", "there is no function range; there are GetAll"),
        ("{{ GetPrivatIP }}", "there is no function GetPrivatIP; there are GetAllInterfaces,"),
        ("{{ GetAllInterfaces }}", "it gives a list of interfaces: end it in | attr \"address\""),
        ("{{ GetInterfaceIP }}", "GetInterfaceIP: an argument is missing"),
        ("{{ GetInterfaceIP 1 }}", "GetInterfaceIP: 1 must be a text: \"1\""),
        ("{{ GetPrivateIP \"a\" }}", "GetPrivateIP: there are too many arguments"),
        (
            "{{ GetPrivateIP | limit 1 }}",
            "limit: a list of interfaces is wanted, not \"192.168.7.9\"",
        ),
        ("{{ . | limit -1 }}", "limit: -1 is below 0"),
        ("{{ . | offset 13 }}", "offset: 13 is beyond the 12 addresses that there are"),
        ("{{ . | offset -9223372036854775808 }}", "is beyond the 12 addresses that there are"),
        ("{{ . | include \"speed\" \"1\" }}", "include: \"speed\" is nothing to choose by"),
        ("{{ . | include \"port\" \"1\" }}", "include: addresses of interfaces have no port"),
        ("{{ . | include \"name\" \"(\" }}", "include: "),
        ("{{ . | include \"network\" \"10.0.0.0/33\" }}", "\"10.0.0.0/33\" is not a network"),
        ("{{ . | include \"rfc\" \"1\" }}", "no networks are known of RFC \"1\""),
        ("{{ . | exclude \"flags\" \"up|fast\" }}", "exclude: \"fast\" is no flag"),
        ("{{ . | exclude \"type\" \"IPX\" }}", "\"IPX\" is no type"),
        ("{{ . | sort \"port\" }}", "sort: addresses of interfaces have no port"),
        ("{{ . | sort \"default,speed\" }}", "sort: \"speed\" is nothing to sort by"),
        ("{{ . | unique \"type\" }}", "unique: \"type\" is neither address nor name"),
        ("{{ . | attr \"speed\" }}", "attr: \"speed\" is not known of an address"),
        ("{{ . | math \"address\" \"1\" }}", "math: \"1\" is not a number with its sign"),
        ("{{ . | math \"mask\" \"33\" }}", "math: \"33\" is no number of bits"),
        ("{{ . | math \"speed\" \"+1\" }}", "math: \"speed\" is none of address, network, mask"),
    ];
    for (template, expected) in cases {
        let error = expand(template, &machine()).expect_err(template).to_string();
        assert!(error.contains(expected), "{template}: {error}");
    }
    let deep = format!("{{{{ {}GetPrivateIP{} }}}}", "(".repeat(5000), ")".repeat(5000));
    let error = expand(&deep, &machine()).expect_err("it is deep").to_string();
    assert_eq!(error, "more than 16 parentheses are within each other");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2_000))]
    #[test]
    fn any_text_is_expanded_or_refused(
        words in proptest::collection::vec(proptest::sample::select(vec![
            "{{", "}}", "-", " ", "|", "(", ")", "\"", "`", "\\", ".", "$", "1", "-2", "é", "\"address\"",
            "\"+1\"", "GetAllInterfaces", "GetInterfaceIP", "sort", "limit", "offset", "math", "join", "attr",
        ]), 0..24),
        bits in 0_u8..=255,
    ) {
        let mut machine = machine();
        machine[0].network_bits = bits;
        let _ = expand(&words.concat(), &machine);
        let _ = expand(&format!("{{{{ . | {} | attr \"network\" }}}}", words.join(" ")), &machine);
    }
}
