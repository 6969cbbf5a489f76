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
    by_network: HashMap<IpAddr, usize>,
}

/// One open connection; dropping it makes room.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    client: IpAddr,
    network: IpAddr,
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
        let (client, network) = (prefix(client, 32, 64), prefix(client, 24, 48));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // The last tenth is for those we trust: a flood from elsewhere cannot shut them out.
        let reserve = if is_trusted { 0 } else { limits.connections / 10 };
        if open.total >= limits.connections.saturating_sub(reserve) {
            return Err(reply::too_many_connections());
        }
        let count = |map: &HashMap<IpAddr, usize>, key| map.get(&key).copied().unwrap_or(0);
        let is_full = count(&open.by_client, client) >= limits.connections_per_client
            || count(&open.by_network, network) >= limits.connections_per_network;
        if is_full && !is_trusted {
            return Err(reply::too_many_from_client());
        }
        let open = &mut *open;
        for (map, key) in [(&mut open.by_client, client), (&mut open.by_network, network)] {
            let count = map.entry(key).or_default();
            *count = count.saturating_add(1);
        }
        open.total = open.total.saturating_add(1);
        Ok(Slot { slots: Arc::clone(self), client, network })
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

impl Slot {
    /// Gives the place to another client: the one a load balancer speaks for.
    pub(super) fn pass_to(
        self,
        client: IpAddr,
        is_trusted: bool,
        limits: &SessionLimits,
    ) -> Result<Self, Reply> {
        let slots = Arc::clone(&self.slots);
        drop(self);
        slots.take(client, is_trusted, limits)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.slots.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.total = open.total.saturating_sub(1);
        let open = &mut *open;
        for (map, key) in [(&mut open.by_client, self.client), (&mut open.by_network, self.network)]
        {
            if let Some(count) = map.get_mut(&key) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    map.remove(&key);
                }
            }
        }
    }
}

/// The first bits of an address. One client is an IPv4 address or an IPv6 /64, which one customer
/// has for itself; one network is a /24 or a /48.
pub(super) fn prefix(client: IpAddr, v4_bits: u32, v6_bits: u32) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(v4_bits)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(v6_bits)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let limits = SessionLimits { connections_per_network: 2, ..Default::default() };
        let slots = Arc::new(Slots::default());
        let take = |client: &str| slots.take(client.parse().unwrap(), false, &limits);
        let first = take("192.0.2.1").unwrap();
        let _second = take("192.0.2.2").unwrap();
        assert_eq!(take("192.0.2.3").unwrap_err(), reply::too_many_from_client());
        let _other = take("192.0.3.1").unwrap();
        drop(first);
        let _third = take("192.0.2.3").unwrap();
        let _v6 = (take("2001:db8:1:1::1").unwrap(), take("2001:db8:1:2::1").unwrap());
        assert!(take("2001:db8:1:3::1").is_err());
        assert!(take("2001:db8:2:3::1").is_ok());
    }

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
