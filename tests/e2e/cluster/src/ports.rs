//! Free ports on loopback.

use anyhow::{Context, Result};
use ring::rand::{SecureRandom, SystemRandom};
use std::{fs, net::TcpListener, ops::Range};

const LOWEST: u16 = 15000;
const TRIES: usize = 200;

/// A port that nothing listens on, and that is not lost while its server is down.
///
/// The kernel's choice (port 0) is from the range of outgoing connections. There, a client that
/// keeps connecting to a stopped server may be given the server's own port, and keep it.
pub(crate) fn free() -> Result<u16> {
    let below = LOWEST..first_outgoing().unwrap_or(0);
    let listener = (0..TRIES)
        .filter_map(|_| random(&below))
        .find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
        .map_or_else(|| TcpListener::bind("127.0.0.1:0"), Ok);
    let address = listener.and_then(|listener| listener.local_addr());
    Ok(address
        .context("there is no free port on 127.0.0.1")?
        .port())
}

fn first_outgoing() -> Option<u16> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    range.split_whitespace().next()?.parse().ok()
}

fn random(range: &Range<u16>) -> Option<u16> {
    let mut bytes = [0; 2];
    SystemRandom::new().fill(&mut bytes).ok()?;
    let width = u16::try_from(range.len()).ok()?;
    let offset = u16::from_ne_bytes(bytes).checked_rem(width)?;
    range.start.checked_add(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_can_be_bound_and_is_not_for_outgoing_connections() {
        let port = free().unwrap();
        TcpListener::bind(("127.0.0.1", port)).unwrap();
        if let Some(first) = first_outgoing().filter(|&first| first > LOWEST) {
            assert!(port < first, "{port}");
        }
    }

    #[test]
    fn random_ports_stay_in_their_range() {
        for _ in 0..100 {
            assert!((7..9).contains(&random(&(7..9)).unwrap()));
        }
        assert_eq!(random(&(9..9)), None);
    }
}
