use std::net::IpAddr;

use proptest::prelude::*;
use rcgen::{CertificateParams, DnType, KeyPair, SanType};

use super::*;

fn made(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    change(&mut params);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

#[test]
fn subject_and_names_are_read() {
    let der = made(|params| {
        params.distinguished_name.push(DnType::CountryName, "DE");
        params.distinguished_name.push(DnType::OrganizationName, "Sailors, Ltd.");
        params.distinguished_name.push(DnType::CommonName, "web");
        params.subject_alt_names = vec![
            SanType::DnsName("web.example.com".try_into().unwrap()),
            SanType::URI("spiffe://mesh/web".try_into().unwrap()),
            SanType::Rfc822Name("me@example.com".try_into().unwrap()),
            SanType::IpAddress("10.0.0.1".parse().unwrap()),
            SanType::IpAddress("::1".parse().unwrap()),
        ];
    });
    let read = Certificate::read(&der).unwrap();
    assert_eq!(read.subject(), "CN=web,O=Sailors\\, Ltd.,C=DE");
    let ip = |text: &str| AlternativeName::Ip(text.parse::<IpAddr>().unwrap());
    let expected = [
        AlternativeName::Dns("web.example.com"),
        AlternativeName::Uri("spiffe://mesh/web"),
        AlternativeName::Email("me@example.com"),
        ip("10.0.0.1"),
        ip("::1"),
    ];
    assert_eq!(read.names, expected);
}

#[test]
fn a_certificate_may_have_neither() {
    let der = made(|_| {});
    let read = Certificate::read(&der).unwrap();
    assert_eq!((read.subject(), read.names.len()), (String::new(), 0));
}

#[test]
fn text_is_escaped_as_rfc_2253_says() {
    for (given, expected) in [
        (" a b ", "\\ a b\\ "),
        ("#1", "\\#1"),
        ("a#", "a#"),
        ("ä", "\\C3\\A4"),
        ("<\">", "\\<\\\"\\>"),
    ] {
        let der = made(|params| params.distinguished_name.push(DnType::CommonName, given));
        assert_eq!(Certificate::read(&der).unwrap().subject(), format!("CN={expected}"));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(at in 0_usize..600, byte: u8, cut in 0_usize..600) {
        let mut der = made(|params| {
            params.distinguished_name.push(DnType::CommonName, "web");
            params.subject_alt_names = vec![SanType::URI("spiffe://mesh/web".try_into().unwrap())];
        });
        let at = at % der.len();
        der[at] = byte;
        der.truncate(der.len() - cut % der.len());
        if let Some(read) = Certificate::read(&der) {
            let _ = read.subject();
        }
    }
}

#[test]
fn times_are_read_in_both_forms() {
    for (tag, text, expected) in [
        (UTC_TIME, "700101000000Z", Some(0)),
        (UTC_TIME, "240229235959Z", Some(1_709_251_199)),
        (UTC_TIME, "991231000000Z", Some(946_598_400)),
        (GENERALIZED_TIME, "20240301000000Z", Some(1_709_251_200)),
        (GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000)),
        (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
        (GENERALIZED_TIME, "19691231235959Z", None),
        (UTC_TIME, "241301000000Z", None),
        (UTC_TIME, "240101000000", None),
        (UTC_TIME, "24010100000xZ", None),
        (INTEGER, "240101000000Z", None),
    ] {
        assert_eq!(unix_s((tag, text.as_bytes())), expected, "{text}");
    }
}

#[test]
fn a_certificate_says_its_number_and_its_time() {
    let der = made(|params| {
        params.serial_number = Some(vec![0, 0x0A, 0xFF].into());
        params.not_before = rcgen::date_time_ymd(2024, 2, 29);
        params.not_after = rcgen::date_time_ymd(2051, 1, 1);
    });
    let read = Certificate::read(&der).unwrap();
    assert_eq!(read.serial_number(), "aff");
    assert_eq!(read.validity_unix_s(), Some((1_709_164_800, 2_556_144_000)));
}
