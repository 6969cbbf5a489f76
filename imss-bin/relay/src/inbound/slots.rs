//! Counts connections, in all and per client, and says when there are too many.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::reply::{self, Reply};
use super::settings::SessionLimits;

/// The connections that are open.
#[derive(Debug, Default)]
pub(super) struct Slots {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// One open connection; dropping it makes room.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    client: IpAddr,
}

impl Slots {
    /// Takes a place for a connection from `client`. Trusted clients, such as the mail server
    /// before us, may have all of them.
    pub(super) fn take(
        self: &Arc<Self>,
        client: IpAddr,
        is_trusted: bool,
        limits: &SessionLimits,
    ) -> Result<Slot, Reply> {
        let client = network(client);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.total >= limits.connections {
            return Err(reply::too_many_connections());
        }
        let of_client = open.by_client.entry(client).or_default();
        if *of_client >= limits.connections_per_client && !is_trusted {
            return Err(reply::too_many_from_client());
        }
        *of_client = of_client.saturating_add(1);
        open.total = open.total.saturating_add(1);
        Ok(Slot { slots: Arc::clone(self), client })
    }

    /// Connections that are open.
    pub(super) fn total(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).total
    }

    /// Whether three quarters of all places are taken.
    pub(super) fn is_crowded(&self, limits: &SessionLimits) -> bool {
        self.total().saturating_mul(4) > limits.connections.saturating_mul(3)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.slots.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.total = open.total.saturating_sub(1);
        if let Some(count) = open.by_client.get_mut(&self.client) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.by_client.remove(&self.client);
            }
        }
    }
}

/// What counts as one client: an IPv4 address or an IPv6 /64, which one customer has for itself.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let limits =
            SessionLimits { connections: 4, connections_per_client: 2, ..Default::default() };
        let slots = Arc::new(Slots::default());
        let take = |client: &str, trusted| slots.take(client.parse().unwrap(), trusted, &limits);
        let first = take("2001:db8::1", false).unwrap();
        let _second = take("2001:db8::2", false).unwrap();
        assert_eq!(take("2001:db8::3", false).unwrap_err(), reply::too_many_from_client());
        let _trusted = take("2001:db8::3", true).unwrap();
        assert!(!slots.is_crowded(&limits));
        let _other = take("192.0.2.1", false).unwrap();
        assert!(slots.is_crowded(&limits));
        assert_eq!(take("192.0.2.2", true).unwrap_err(), reply::too_many_connections());
        drop(first);
        assert_eq!(slots.total(), 3);
        let _again = take("192.0.2.1", false).unwrap();
    }
}
