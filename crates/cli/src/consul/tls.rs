//! `consul tls`: a certificate authority and certificates in files, for the connections between agents and clients.

mod der;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
    date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::command::{Call, Command, Outcome, Reach, refuse, write_secret};
use super::flags::{Kind, flag, list as list_flag, switch, text, text_or};
use crate::output::print_line;

/// How many certificates of a name there may be.
const FILES_MAX: usize = 10_000;
/// A certificate is valid from a minute before it was made: clocks differ.
const SKEW: Duration = Duration::from_secs(60);
/// The longest time for which a certificate is made: a hundred years.
const DAYS_MAX: i64 = 36_500;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "tls ca create",
        synopsis: "Makes a certificate authority: DOMAIN-agent-ca.pem and DOMAIN-agent-ca-key.pem.",
        arguments: "[options]",
        flags: &[
            list_flag("additional-name-constraint", "Another name that it may sign for."),
            text("cluster-id", "ID of the cluster, kept in its names."),
            text_or("common-name", "Consul Agent CA", "Its name."),
            flag("days", Kind::Number(1825), "Days for which it is valid."),
            text_or("domain", "consul", "Domain of the cluster."),
            switch("name-constraint", "Let it sign for the domain and localhost alone."),
        ],
        reach: Reach::Nobody,
        run: create_authority,
    },
    Command {
        name: "tls cert create",
        synopsis: "Makes a certificate that the authority has signed, and its key.",
        arguments: "[options] -server | -client | -cli",
        flags: &[
            list_flag("additional-dnsname", "Another name in it."),
            list_flag("additional-ipaddress", "Another address in it."),
            text_or("ca", "#DOMAIN#-agent-ca.pem", "File of the authority."),
            switch("cli", "Make one for commands."),
            switch("client", "Make one for an agent that is no server."),
            flag("days", Kind::Number(365), "Days for which it is valid."),
            text_or("dc", "dc1", "Datacenter."),
            text_or("domain", "consul", "Domain of the cluster."),
            text_or("key", "#DOMAIN#-agent-ca-key.pem", "File of the authority's key."),
            text("node", "With -server: name of the node, for NODE.server.DC.DOMAIN."),
            switch("server", "Make one for a server."),
        ],
        reach: Reach::Nobody,
        run: create_certificate,
    },
];

fn create_authority(call: &Call) -> Outcome {
    let domain = call.text("domain");
    let files = [format!("{domain}-agent-ca.pem"), format!("{domain}-agent-ca-key.pem")];
    for file in &files {
        ensure!(!Path::new(file).exists(), "{file} already exists.");
    }
    let mut params = CertificateParams::default();
    set_validity(&mut params, call)?;
    params.serial_number = Some(rand::random::<u64>().into());
    let serial: u128 = rand::random();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Leno");
    name.push(DnType::CommonName, format!("{} {serial}", call.text("common-name")));
    params.distinguished_name = name;
    if !call.text("cluster-id").is_empty() {
        let uri = format!("spiffe://{}.{domain}", call.text("cluster-id"));
        params.subject_alt_names.push(SanType::URI(uri.try_into()?));
    }
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
    ];
    if call.is("name-constraint") {
        let more = call.list("additional-name-constraint");
        let names = more.into_iter().chain([domain, "localhost"]);
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: names.map(|it| GeneralSubtree::DnsName(it.to_owned())).collect(),
            excluded_subtrees: Vec::new(),
        });
    }
    let key = KeyPair::generate().context("cannot make a key")?;
    let certificate = params.self_signed(&key).context("cannot sign the certificate")?;
    save(&files, &certificate.pem(), &key.serialize_pem())
}

/// From now on, for the days of the flag.
fn set_validity(params: &mut CertificateParams, call: &Call) -> anyhow::Result<()> {
    let days = call.number("days");
    ensure!((1..=DAYS_MAX).contains(&days), "-days {days} is not between 1 and {DAYS_MAX}");
    let now = Duration::from_millis(runtime::unix_ms());
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(SKEW);
    params.not_after = epoch + now + Duration::from_secs(days.unsigned_abs() * 24 * 3600);
    Ok(())
}

fn save(files: &[String; 2], certificate: &str, key: &str) -> Outcome {
    let written = fs::write(&files[0], certificate);
    written.with_context(|| format!("cannot write {}", files[0]))?;
    print_line(&format!("==> Saved {}", files[0]));
    write_secret(&files[1], key.as_bytes())?;
    print_line(&format!("==> Saved {}", files[1]));
    Ok(0)
}

/// For whom a certificate is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Server,
    Client,
    Command,
}

impl Owner {
    fn of(call: &Call) -> anyhow::Result<Self> {
        match (call.is("server"), call.is("client"), call.is("cli")) {
            (true, false, false) => Ok(Owner::Server),
            (false, true, false) => Ok(Owner::Client),
            (false, false, true) => Ok(Owner::Command),
            _ => refuse("Please provide either -server, -client, or -cli"),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Owner::Server => "server",
            Owner::Client => "client",
            Owner::Command => "cli",
        }
    }

    fn uses(self) -> Vec<ExtendedKeyUsagePurpose> {
        let (server, client) =
            (ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth);
        match self {
            Owner::Server => vec![server, client],
            Owner::Client => vec![client, server],
            Owner::Command => Vec::new(),
        }
    }
}

fn create_certificate(call: &Call) -> Outcome {
    ensure!(!call.text("ca").is_empty(), "Please provide the ca");
    ensure!(!call.text("key").is_empty(), "Please provide the key");
    let owner = Owner::of(call)?;
    let node = call.text("node");
    ensure!(node.is_empty() || owner == Owner::Server, "-node requires -server");
    let (domain, datacenter) = (call.text("domain"), call.text("dc"));
    let files = free_files(&format!("{datacenter}-{}-{domain}", owner.word()))?;
    let params = params_of(call, owner)?;
    let ca_file = call.text("ca").replacen("#DOMAIN#", domain, 1);
    let key_file = call.text("key").replacen("#DOMAIN#", domain, 1);
    let ca = CertificateDer::from_pem_file(&ca_file);
    let ca = ca.map_err(|error| anyhow::anyhow!("Error reading CA: open {ca_file}: {error}"))?;
    let ca_key = fs::read_to_string(&key_file);
    let ca_key = ca_key.with_context(|| format!("Error reading CA key: open {key_file}"))?;
    if owner == Owner::Server {
        print_line(
            "==> WARNING: Server Certificates grants authority to become a\n    server and access all \
             state in the cluster including root keys\n    and all ACL tokens. Do not distribute them \
             to production hosts\n    that are not server nodes. Store them as securely as CA keys.",
        );
    }
    print_line(&format!("==> Using {ca_file} and {key_file}"));
    let ca_key = KeyPair::from_pem(&ca_key);
    let ca_key =
        ca_key.with_context(|| format!("{key_file} holds no private key that can sign"))?;
    let authority = der::authority(&ca).with_context(|| format!("{ca_file} is no authority"))?;
    let mut issuer_params = CertificateParams::default();
    issuer_params.distinguished_name = authority.name;
    issuer_params.key_identifier_method = KeyIdMethod::PreSpecified(authority.key_id);
    let issuer = Issuer::from_params(&issuer_params, &ca_key);
    let key = KeyPair::generate().context("cannot make a key")?;
    let certificate = params.signed_by(&key, &issuer).context("cannot sign the certificate")?;
    verify(&ca, certificate.der())
        .with_context(|| format!("{ca_file} and {key_file} do not belong together"))?;
    save(&files, &certificate.pem(), &key.serialize_pem())
}

/// Names of files that do not exist yet.
fn free_files(prefix: &str) -> anyhow::Result<[String; 2]> {
    let names =
        (0..=FILES_MAX).map(|at| [format!("{prefix}-{at}.pem"), format!("{prefix}-{at}-key.pem")]);
    let mut free = names.filter(|files| files.iter().all(|file| !Path::new(file).exists()));
    free.next().context("Could not find a filename that doesn't already exist")
}

fn params_of(call: &Call, owner: Owner) -> anyhow::Result<CertificateParams> {
    let (domain, datacenter, node) = (call.text("domain"), call.text("dc"), call.text("node"));
    let name = format!("{}.{datacenter}.{domain}", owner.word());
    let mut names: Vec<String> =
        call.list("additional-dnsname").iter().map(|it| it.trim().to_owned()).collect();
    if !node.is_empty() {
        names.push(format!("{node}.{name}"));
    }
    names.extend([name.clone(), "localhost".to_owned()]);
    names.retain(|name| !name.is_empty());
    let mut params = CertificateParams::new(names).context("a name in it is not one of DNS")?;
    for address in call.list("additional-ipaddress") {
        let parsed: IpAddr = match address.trim().parse() {
            Ok(parsed) => parsed,
            Err(_) => bail!("-additional-ipaddress {address:?} is no IP address"),
        };
        params.subject_alt_names.push(SanType::IpAddress(parsed));
    }
    if owner != Owner::Command {
        params.subject_alt_names.push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
    }
    set_validity(&mut params, call)?;
    params.serial_number = Some(rand::random::<u64>().into());
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = owner.uses();
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Would a client that trusts the authority accept the certificate as signed by it?
fn verify(ca: &CertificateDer<'_>, certificate: &CertificateDer<'_>) -> anyhow::Result<()> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.clone().into_owned())?;
    let parsed = rustls::server::ParsedCertificate::try_from(certificate)?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    rustls::client::verify_server_cert_signed_by_trust_anchor(
        &parsed,
        &roots,
        &[],
        rustls::pki_types::UnixTime::now(),
        provider.signature_verification_algorithms.all,
    )?;
    Ok(())
}
