//! Two questions to the kernel by rtnetlink (rtnetlink(7)): which links are there, and which addresses.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::io::retry_on_intr;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{recv, send, socket_with};

/// A network interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    flags: u32,
}

impl Link {
    /// Whether it has a flag of netdevice(7).
    pub(super) fn has(&self, flag: i32) -> bool {
        self.flags & flag.cast_unsigned() != 0
    }
}

/// An address of the link of that index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Address {
    pub(super) index: u32,
    pub(super) ip: IpAddr,
    pub(super) network_bits: u8,
}

/// All links and all addresses of this network namespace.
pub(super) fn links_and_addresses() -> io::Result<(Vec<Link>, Vec<Address>)> {
    // No protocol is the one of number 0: NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    // The kernel answers while it is asked; this is for a sandbox that takes the question and never answers.
    set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_secs(2)))?;
    let (mut links, mut addresses) = (Vec::new(), Vec::new());
    dump(&socket, libc::RTM_GETLINK, LINK_HEAD, |body| links.extend(link_of(body)))?;
    dump(&socket, libc::RTM_GETADDR, ADDRESS_HEAD, |body| addresses.extend(address_of(body)))?;
    Ok((links, addresses))
}

/// Bytes of `nlmsghdr`: length (4), type (2), flags (2), sequence (4), sender (4).
const MESSAGE_HEAD: usize = 16;
/// Bytes of `ifinfomsg`: family (1), padding (1), device type (2), index (4), flags (4), change mask (4).
const LINK_HEAD: usize = 16;
/// Bytes of `ifaddrmsg`: family (1), prefix length (1), flags (1), scope (1), index (4).
const ADDRESS_HEAD: usize = 8;
/// Bytes of `rtattr`: length (2), type (2).
const ATTRIBUTE_HEAD: usize = 4;
/// The kernel makes no part of a dump larger than this (`NLMSG_GOODSIZE` and the 32 KiB limit of `netlink_dump`).
const PART_BYTES_MAX: usize = 32 << 10;
/// 32 MiB of answers: some ten thousand links, with a kilobyte or two for each.
const PARTS_MAX: usize = 1024;

/// Asks for all objects of a kind and passes the body of each.
fn dump(
    socket: &OwnedFd,
    kind: u16,
    head_bytes: usize,
    mut take: impl FnMut(&[u8]),
) -> io::Result<()> {
    // Zeros in the head of the body ask for all families and all links. The kind tells the answers of one question from those
    // of another.
    let sequence = u32::from(kind);
    let mut question = Vec::with_capacity(MESSAGE_HEAD + head_bytes);
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    question.extend(((MESSAGE_HEAD + head_bytes) as u32).to_ne_bytes());
    question.extend(kind.to_ne_bytes());
    question.extend(flags.to_ne_bytes());
    question.extend(sequence.to_ne_bytes());
    question.resize(MESSAGE_HEAD + head_bytes, 0);
    send(socket, &question, SendFlags::empty())?;
    let mut part = vec![0; PART_BYTES_MAX];
    for _ in 0..PARTS_MAX {
        let (bytes, whole) = retry_on_intr(|| recv(socket, part.as_mut_slice(), RecvFlags::TRUNC))?;
        if whole > bytes {
            return Err(io::Error::other("an answer of the kernel's rtnetlink is cut"));
        }
        if take_part(&part[..bytes], sequence, &mut take)? {
            return Ok(());
        }
    }
    Err(io::Error::other("the kernel's rtnetlink tells more than is read"))
}

/// Passes the bodies of the messages of one part; whether it was the last part.
fn take_part(part: &[u8], sequence: u32, take: &mut impl FnMut(&[u8])) -> io::Result<bool> {
    let mut rest = part;
    while let Some(length) = u32_at(rest, 0).map(|it| it as usize) {
        let Some(body) = rest.get(MESSAGE_HEAD..length) else { break };
        if u32_at(rest, 8) == Some(sequence) {
            match u16_at(rest, 4).map(i32::from) {
                Some(libc::NLMSG_DONE) => return Ok(true),
                Some(libc::NLMSG_ERROR) => {
                    // It is told as its negative.
                    let error = u32_at(body, 0).unwrap_or_default().cast_signed();
                    return Err(io::Error::from_raw_os_error(error.saturating_neg()));
                }
                _ => take(body),
            }
        }
        rest = rest.get(aligned(length)..).unwrap_or_default();
    }
    Ok(false)
}

fn link_of(body: &[u8]) -> Option<Link> {
    let name = attribute(body.get(LINK_HEAD..)?, libc::IFLA_IFNAME)?;
    let name = name.split(|it| *it == 0).next().unwrap_or_default();
    Some(Link {
        index: u32_at(body, 4)?,
        name: String::from_utf8_lossy(name).into_owned(),
        flags: u32_at(body, 8)?,
    })
}

fn address_of(body: &[u8]) -> Option<Address> {
    let attributes = body.get(ADDRESS_HEAD..)?;
    // On a link to one other machine `IFA_ADDRESS` is that machine.
    let bytes = attribute(attributes, libc::IFA_LOCAL)
        .or_else(|| attribute(attributes, libc::IFA_ADDRESS))?;
    let ip = match i32::from(*body.first()?) {
        libc::AF_INET => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        libc::AF_INET6 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        _ => return None,
    };
    Some(Address { index: u32_at(body, 4)?, ip, network_bits: *body.get(1)? })
}

/// The value of the first attribute of that kind.
fn attribute(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    let mut rest = attributes;
    loop {
        let length = usize::from(u16_at(rest, 0)?);
        let value = rest.get(ATTRIBUTE_HEAD..length)?;
        if u16_at(rest, 2)? == kind {
            return Some(value);
        }
        rest = rest.get(aligned(length)..)?;
    }
}

/// Messages and attributes begin at multiples of four.
fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute_bytes(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = ((ATTRIBUTE_HEAD + value.len()) as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    fn message(kind: i32, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((MESSAGE_HEAD + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend((kind as u16).to_ne_bytes());
        bytes.extend([0, 0]);
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(body);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    fn address_body(family: i32, attributes: &[Vec<u8>]) -> Vec<u8> {
        let mut body = vec![family as u8, 24, 0, 0];
        body.extend(7_u32.to_ne_bytes());
        body.extend(attributes.concat());
        body
    }

    #[test]
    fn of_a_link_to_one_machine_our_own_end_is_taken() {
        let peer = attribute_bytes(libc::IFA_ADDRESS, &[10, 0, 0, 1]);
        let local = attribute_bytes(libc::IFA_LOCAL, &[10, 0, 0, 2]);
        let of = |attributes: &[Vec<u8>]| address_of(&address_body(libc::AF_INET, attributes));
        let expected =
            |text: &str| Some(Address { index: 7, ip: text.parse().unwrap(), network_bits: 24 });
        assert_eq!(of(&[peer.clone(), local]), expected("10.0.0.2"));
        assert_eq!(of(&[peer]), expected("10.0.0.1"));
        assert_eq!(of(&[]), None);
        let long = attribute_bytes(libc::IFA_LOCAL, &[0; 16]);
        assert_eq!(of(&[long]), None);
        assert_eq!(address_of(&address_body(libc::AF_UNIX, &[])), None);
    }

    #[test]
    fn messages_are_taken_up_to_the_end_and_an_error_is_told() {
        let taken = |bytes: &[u8]| {
            let mut bodies = Vec::new();
            let is_last = take_part(bytes, 5, &mut |body: &[u8]| bodies.push(body.to_vec()));
            (is_last.map_err(|it| it.raw_os_error()), bodies)
        };
        let kind = i32::from(libc::RTM_NEWLINK);
        let (one, two) = (message(kind, 5, b"one"), message(kind, 5, b"four"));
        let done = message(libc::NLMSG_DONE, 5, &[0; 4]);
        let bodies = vec![b"one".to_vec(), b"four".to_vec()];
        assert_eq!(taken(&[one.clone(), two.clone()].concat()), (Ok(false), bodies.clone()));
        assert_eq!(taken(&[one.clone(), two, done, one.clone()].concat()), (Ok(true), bodies));
        let refused = message(libc::NLMSG_ERROR, 5, &(-libc::EPERM).to_ne_bytes());
        assert_eq!(taken(&refused), (Err(Some(libc::EPERM)), vec![]));
        // Of another question.
        assert_eq!(taken(&message(libc::NLMSG_DONE, 4, &[])), (Ok(false), vec![]));
        for cut in 0..one.len() - 1 {
            assert_eq!(taken(&one[..cut]), (Ok(false), vec![]), "{cut}");
        }
    }

    #[test]
    fn what_is_cut_or_of_no_length_is_no_link() {
        let mut body = vec![0; LINK_HEAD];
        body[4..8].copy_from_slice(&2_u32.to_ne_bytes());
        body[8..12].copy_from_slice(&(libc::IFF_UP as u32).to_ne_bytes());
        body.extend(attribute_bytes(1, &[1, 2, 3]));
        body.extend(attribute_bytes(libc::IFLA_IFNAME, b"eth0\0"));
        let link = link_of(&body).expect("it is whole");
        assert_eq!((link.index, link.name.as_str()), (2, "eth0"));
        assert!(link.has(libc::IFF_UP) && !link.has(libc::IFF_LOOPBACK));
        for cut in 0..LINK_HEAD + 8 + ATTRIBUTE_HEAD + 5 {
            assert_eq!(link_of(&body[..cut]), None, "{cut}");
        }
        assert_eq!(link_of(&[0; 64]), None);
    }
}
