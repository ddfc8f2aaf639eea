//! Listening TCP sockets, asked from the kernel: sock_diag(7), and `/proc/net/tcp` where it is not there.
//!
//! The kernel walks its whole table of connections for each read of `/proc/net/tcp`, tens of milliseconds on a
//! large machine; sock_diag walks listening sockets alone. Who holds a socket is not here.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

/// `st` of a listening socket in `/proc/net/tcp` (Linux, include/net/tcp_states.h).
const LISTEN: u8 = 10;
/// From Linux, include/uapi/linux/netlink.h and sock_diag.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER: usize = 16;
/// `struct inet_diag_req_v2` and `struct inet_diag_msg` (include/uapi/linux/inet_diag.h).
const REQUEST: usize = 56;
const MESSAGE: usize = 72;
/// The kernel answers in pieces of at most 32 KiB.
const PIECE: usize = 64 * 1024;
const PIECES_MAX: usize = 4096;

/// One listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) inode: u64,
}

/// All listening sockets of this network namespace.
pub(crate) fn listeners() -> io::Result<Vec<Listener>> {
    let families = [(AddressFamily::INET, "/proc/net/tcp"), (AddressFamily::INET6, "/proc/net/tcp6")];
    let mut all = Vec::new();
    for (family, table) in families {
        match from_kernel(family) {
            Ok(found) => all.extend(found),
            // A kernel without the module, a sandbox without netlink, or a table that changed meanwhile.
            Err(_) => all.extend(from_proc(table)?),
        }
    }
    Ok(all)
}

fn from_kernel(family: AddressFamily) -> io::Result<Vec<Listener>> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(netlink::SOCK_DIAG))?;
    send(&socket, &request(family), SendFlags::empty())?;
    let mut found = Vec::new();
    let mut piece = vec![0; PIECE];
    for _ in 0..PIECES_MAX {
        let (length, _) = recv(&socket, piece.as_mut_slice(), RecvFlags::empty())?;
        if parse(piece.get(..length).unwrap_or_default(), &mut found)? {
            return Ok(found);
        }
    }
    Err(io::Error::other("the kernel's list of sockets does not end"))
}

fn request(family: AddressFamily) -> Vec<u8> {
    let length = u32::try_from(HEADER + REQUEST).expect("small");
    let mut bytes = Vec::with_capacity(HEADER + REQUEST);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes.extend([0; 8]);
    const TCP: u8 = 6;
    bytes.extend([u8::try_from(family.as_raw()).expect("both families are small"), TCP, 0, 0]);
    bytes.extend((1_u32 << LISTEN).to_ne_bytes());
    bytes.resize(HEADER + REQUEST, 0);
    bytes
}

/// Takes the sockets of one answer; true when it was the last one.
fn parse(mut bytes: &[u8], found: &mut Vec<Listener>) -> io::Result<bool> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    while !bytes.is_empty() {
        let length = u32::from_ne_bytes(field(bytes, 0).ok_or_else(malformed)?) as usize;
        let kind = u16::from_ne_bytes(field(bytes, 4).ok_or_else(malformed)?);
        let flags = u16::from_ne_bytes(field(bytes, 6).ok_or_else(malformed)?);
        let body = bytes.get(HEADER..length).ok_or_else(malformed)?;
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let code = i32::from_ne_bytes(field(body, 0).ok_or_else(malformed)?);
                return Err(io::Error::from_raw_os_error(code.wrapping_neg()));
            }
            _ if flags & NLM_F_DUMP_INTR != 0 => return Err(io::ErrorKind::Interrupted.into()),
            _ => found.push(listener(body).ok_or_else(malformed)?),
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// Reads a `struct inet_diag_msg`.
fn listener(body: &[u8]) -> Option<Listener> {
    if body.len() < MESSAGE {
        return None;
    }
    let address = match AddressFamily::from_raw(u16::from(*body.first()?)) {
        AddressFamily::INET => IpAddr::V4(Ipv4Addr::from(field::<4>(body, 8)?)),
        AddressFamily::INET6 => IpAddr::V6(Ipv6Addr::from(field::<16>(body, 8)?)),
        _ => return None,
    };
    let port = u16::from_be_bytes(field(body, 4)?);
    let inode = u64::from(u32::from_ne_bytes(field(body, 68)?));
    Some(Listener { address, port, inode })
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn from_proc(table: &str) -> io::Result<Vec<Listener>> {
    match std::fs::read_to_string(table) {
        Ok(text) => Ok(text.lines().filter_map(listening_line).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn listening_line(line: &str) -> Option<Listener> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
    let (ip, port) = local.split_once(':')?;
    if u8::from_str_radix(state, 16).ok()? != LISTEN {
        return None;
    }
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(Listener { address: kernel_address(ip)?, port, inode: inode.parse().ok()? })
}

/// The kernel prints addresses as 32-bit words in its own byte order.
fn kernel_address(hex: &str) -> Option<IpAddr> {
    let mut bytes = Vec::new();
    for word in hex.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    match bytes.len() {
        4 => Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))),
        16 => Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_kernel_and_proc_tell_the_same_of_a_listener() {
        for at in ["127.0.21.12:0", "[::1]:0"] {
            let socket = TcpListener::bind(at).expect("a free port");
            let wanted = socket.local_addr().expect("an address");
            let (family, table) = match wanted {
                std::net::SocketAddr::V4(_) => (AddressFamily::INET, "/proc/net/tcp"),
                std::net::SocketAddr::V6(_) => (AddressFamily::INET6, "/proc/net/tcp6"),
            };
            let ours = |all: Vec<Listener>| -> Vec<Listener> {
                let same = |it: &Listener| (it.address, it.port) == (wanted.ip(), wanted.port());
                all.into_iter().filter(same).collect()
            };
            let from_socket = ours(from_kernel(family).expect("sock_diag"));
            assert_eq!(from_socket.len(), 1, "{wanted}");
            // A read of /proc that takes several reads may show a socket twice.
            let mut shown = ours(from_proc(table).expect("/proc"));
            shown.dedup();
            assert_eq!(from_socket, shown);
        }
    }

    #[test]
    fn an_answer_that_is_cut_or_an_error_is_no_list() {
        let mut found = Vec::new();
        assert!(parse(&[1, 2, 3], &mut found).is_err());
        let mut error = 20_u32.to_ne_bytes().to_vec();
        error.extend(NLMSG_ERROR.to_ne_bytes());
        error.extend([0; 10]);
        error.extend((-2_i32).to_ne_bytes());
        let kind = parse(&error, &mut found).expect_err("an error").kind();
        assert_eq!((kind, found), (io::ErrorKind::NotFound, Vec::new()));
    }
}
