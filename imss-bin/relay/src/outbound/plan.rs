//! Which servers are tried for a recipient, and what a session with one of them must have.
//!
//! In: a next hop and a recipient; then a server of the plan. Out: the servers in order, and the need
//! of each, with what a TLS report says about it (RFC 8460). What cannot be found out is a failure of
//! the destination, which waits.

use imss_core::envelope::{Domain, ForwardPath};

use super::client::Outbound;
use super::session::Protocol;
use super::tls::dane::{self, Tlsa};
use super::tls::seen::{PolicyKind, SeenPolicy, Trouble, TroubleKind};
use super::tls::{Need, sts};
use super::{Failure, NextHop, Scope, Server, TlsLevel, mx};

/// The servers to try for some recipients of a job.
pub(super) struct Plan {
    pub(super) protocol: Protocol,
    pub(super) servers: Vec<Server>,
    /// The recipients' domain, when the servers are its MX.
    pub(super) mx_of: Option<String>,
    /// Whether nobody can have forged the servers' names.
    secure: bool,
    /// The level that the recipients' domain has, if one is set for it.
    level: Option<TlsLevel>,
    /// The domain's MTA-STS policy.
    sts: sts::Found,
}

/// What a report says about a session before it is opened.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub(super) policy: SeenPolicy,
    /// What is wrong already.
    pub(super) trouble: Option<Trouble>,
}

/// Whether the domain's own demands count (RFC 8689 §4.1). Levels that are named here always do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsRequired {
    /// As the domain says.
    AsPolicies,
    /// The sender would rather have the message arrive.
    No,
}

impl Outbound {
    /// The TLS level that is set for the recipient's domain.
    pub(super) fn level(&self, recipient: &ForwardPath) -> Option<TlsLevel> {
        let name = recipient.mailbox()?.domain().ascii_name()?;
        self.tls.policy.named(&name)
    }

    /// Which servers to try; `None` for a Maildir.
    pub(super) async fn plan(
        &self,
        next_hop: &NextHop,
        recipient: &ForwardPath,
    ) -> Result<Option<Plan>, Failure> {
        let level = self.level(recipient);
        let fixed = |protocol, servers| {
            let sts = sts::Found::default();
            Ok(Some(Plan { protocol, servers, mx_of: None, secure: true, level, sts }))
        };
        let domain = match next_hop {
            NextHop::Maildir { .. } => return Ok(None),
            NextHop::Smtp { servers } => return fixed(Protocol::Smtp, servers.in_turn()),
            NextHop::Smtps { servers } => return fixed(Protocol::Smtps, servers.in_turn()),
            NextHop::Lmtp { servers } => return fixed(Protocol::Lmtp, servers.in_turn()),
            NextHop::Mx => recipient.mailbox().map(|mailbox| mailbox.domain()),
        };
        match domain {
            Some(Domain::Literal(ip)) => {
                let port = self.settings.mx_port;
                fixed(Protocol::Smtp, vec![Server::Tcp { host: ip.to_string(), port }])
            }
            Some(Domain::Name(name)) => self.plan_mx(name, level).await.map(Some),
            None => {
                let text = "an address without a domain has no MX";
                Err(Failure::own((5, 1, 2), text, Scope::Recipient))
            }
        }
    }

    /// The MX hosts of a domain.
    async fn plan_mx(&self, name: &str, level: Option<TlsLevel>) -> Result<Plan, Failure> {
        let asked = level.unwrap_or(self.tls.policy.default);
        let validating = self.tls.validating.as_ref().filter(|_| asked.asks_dane());
        let resolver = validating.unwrap_or(&self.resolver);
        let hosts = match mx::hosts(resolver, name, &self.settings.hostname).await {
            Ok(hosts) => hosts,
            Err(failure) => {
                // Whether DNSSEC is to blame shows when nobody asks for it: a question for reports only.
                if self.is_observed()
                    && failure.enhanced == (4, 4, 3)
                    && validating.is_some()
                    && mx::hosts(&self.resolver, name, &self.settings.hostname).await.is_ok()
                    && let Some(about) = about_dane(TroubleKind::DnssecInvalid, &failure.text)
                {
                    self.tell_of(name, &about);
                }
                return Err(failure);
            }
        };
        let port = self.settings.mx_port;
        let names = hosts.names.into_iter().take(self.settings.max_mx_hosts.max(1));
        let servers = names.map(|host| Server::Tcp { host, port }).collect();
        let sts = match &self.tls.sts {
            Some(sts) if asked.asks_sts() => {
                sts.look(&idna::domain_to_ascii(name).unwrap_or_default()).await
            }
            _ => sts::Found::default(),
        };
        let secure = hosts.secure && validating.is_some();
        let mx_of = Some(name.to_owned());
        Ok(Plan { protocol: Protocol::Smtp, servers, mx_of, secure, level, sts })
    }

    /// What a session with one server of a plan must have, and what a report says about it. What is
    /// demanded here and not by the domain is in no report.
    pub(super) async fn need(
        &self,
        plan: &Plan,
        server: &Server,
        required: TlsRequired,
    ) -> (Result<Need, Failure>, Option<About>) {
        let Server::Tcp { host, port } = server else { return (Ok(Need::Clear), None) };
        let at_host = self.tls.policy.named(host);
        // A password goes to nobody who has not proved to be its server, unless that is asked for
        // by this server's name: what a recipient's domain needs is another matter.
        let level = if self.settings.credentials_for(host, *port).is_some() {
            at_host.unwrap_or(TlsLevel::Verified)
        } else {
            plan.level.or(at_host).unwrap_or(self.tls.policy.default)
        };
        let plain = || Some(About { policy: SeenPolicy::none(), trouble: None });
        match level {
            TlsLevel::Off => return (Ok(Need::Clear), None),
            TlsLevel::Required => return (Ok(Need::Required), plain()),
            TlsLevel::Verified => return (Ok(Need::Verified), None),
            TlsLevel::Opportunistic => return (Ok(Need::Opportunistic), plain()),
            TlsLevel::Dane | TlsLevel::DaneOnly | TlsLevel::MtaSts | TlsLevel::Auto => {}
        }
        // Anybody can write that field: it counts where nobody named a level.
        let is_named = plan.level.or(at_host).is_some();
        if required == TlsRequired::No && !is_named && level != TlsLevel::DaneOnly {
            return (Ok(Need::Opportunistic), None);
        }
        if level.asks_dane()
            && plan.secure
            && let Some(resolver) = &self.tls.validating
            && let Some(judged) = by_tlsa(dane::tlsa(resolver, host, *port).await, host, level)
        {
            return judged;
        }
        if level == TlsLevel::DaneOnly {
            let why = "there are no TLSA records that DNSSEC vouches for";
            return (Err(later(host, why.to_owned())), about_dane(TroubleKind::DaneRequired, why));
        }
        by_sts(&plan.sts, host)
    }
}

type Judged = (Result<Need, Failure>, Option<About>);

/// What TLSA records demand; `None` if there are none.
fn by_tlsa(found: Tlsa, host: &str, level: TlsLevel) -> Option<Judged> {
    let unusable = "none of the TLSA records can be used";
    Some(match found {
        Tlsa::Usable(associations) => {
            let lines = associations.iter().map(ToString::to_string);
            let policy = SeenPolicy::new(PolicyKind::Tlsa, lines, []);
            (Ok(Need::Dane(associations)), Some(About { policy, trouble: None }))
        }
        Tlsa::Unusable if level == TlsLevel::DaneOnly => {
            (Err(later(host, unusable.to_owned())), about_dane(TroubleKind::TlsaInvalid, unusable))
        }
        Tlsa::Unusable => (Ok(Need::Required), about_dane(TroubleKind::TlsaInvalid, unusable)),
        Tlsa::Unknown(why) => (
            Err(later(host, format!("TLSA records: {why}"))),
            about_dane(TroubleKind::DnssecInvalid, &why),
        ),
        Tlsa::Absent => return None,
    })
}

/// What the MTA-STS policy demands, if there is one.
fn by_sts(found: &sts::Found, host: &str) -> Judged {
    let Some(policy) = &found.policy else {
        let trouble = found.trouble.clone();
        let none = SeenPolicy::none();
        let policy = match trouble {
            Some(_) => SeenPolicy { kind: PolicyKind::Sts, ..none },
            None => none,
        };
        return (Ok(Need::Opportunistic), Some(About { policy, trouble }));
    };
    let why = "the domain's MTA-STS policy does not name this host";
    let trouble = (!policy.allows(host)).then(|| Trouble::new(TroubleKind::ValidationFailure, why));
    let need = match (policy.mode, &trouble) {
        (sts::Mode::Enforce, None) => Ok(Need::Verified),
        (sts::Mode::Enforce, Some(_)) => Err(later(host, why.to_owned())),
        (sts::Mode::Testing, _) => Ok(Need::Testing),
        (sts::Mode::None, _) => Ok(Need::Opportunistic),
    };
    (need, Some(About { policy: policy.seen(), trouble }))
}

fn about_dane(kind: TroubleKind, why: &str) -> Option<About> {
    let policy = SeenPolicy { kind: PolicyKind::Tlsa, ..SeenPolicy::none() };
    Some(About { policy, trouble: Some(Trouble::new(kind, why)) })
}

fn later(host: &str, text: String) -> Failure {
    let host = Some(host.to_owned());
    Failure { host, code: None, enhanced: (4, 7, 5), text, scope: Scope::Destination }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use hickory_resolver::TokioResolver;
    use hickory_resolver::config::{NameServerConfig, ResolverConfig};
    use hickory_resolver::net::runtime::TokioRuntimeProvider;
    use tokio::net::UdpSocket;

    use super::*;
    use crate::outbound::tls::seen::{SeenSession, TlsObserver};
    use crate::outbound::{Settings, Tls};

    /// A resolver whose name server always fails, and how often that was asked.
    async fn failing() -> (TokioResolver, Arc<AtomicUsize>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let port = socket.local_addr().expect("an address").port();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut query = [0; 1_500];
            while let Ok((length, peer)) = socket.recv_from(&mut query).await {
                count.fetch_add(1, Ordering::SeqCst);
                query[2] |= 0x80;
                query[3] = 2;
                let _ = socket.send_to(&query[..length], peer).await;
            }
        });
        let mut server = NameServerConfig::udp(IpAddr::from(Ipv4Addr::LOCALHOST));
        server.connections.iter_mut().for_each(|connection| connection.port = port);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        (builder.build().expect("a resolver"), asked)
    }

    fn settings() -> Settings {
        Settings::new("own.example", "mx".parse::<NextHop>().expect("a hop"))
    }

    /// Where TLSA records cannot be found out, mail waits unless its sender says that it need not; a
    /// level that is named here is not the sender's to lift.
    #[tokio::test]
    async fn senders_do_not_lift_named_levels() {
        let (resolver, _) = failing().await;
        let (yes, no) = (TlsRequired::AsPolicies, TlsRequired::No);
        let cases = [
            ("by default", TlsLevel::Dane, None, None, yes, true),
            ("by default, lifted", TlsLevel::Dane, None, None, no, false),
            ("by default, always", TlsLevel::DaneOnly, None, None, no, true),
            ("named for the domain", TlsLevel::Opportunistic, Some(TlsLevel::Dane), None, no, true),
            ("named for the host", TlsLevel::Opportunistic, None, Some(TlsLevel::Auto), no, true),
            (
                "named, and not demanding",
                TlsLevel::Dane,
                Some(TlsLevel::Opportunistic),
                None,
                no,
                false,
            ),
        ];
        for (name, default, level, at_host, required, waits) in cases {
            let mut tls = Tls::unverified(default).expect("TLS").with_dane(resolver.clone());
            if let Some(level) = at_host {
                tls.set_level("mx.example", level);
            }
            let outbound = Outbound::new(settings(), resolver.clone(), tls);
            let server = Server::Tcp { host: "mx.example".to_owned(), port: 25 };
            let plan = Plan {
                protocol: Protocol::Smtp,
                servers: vec![server.clone()],
                mx_of: Some("example".to_owned()),
                secure: true,
                level,
                sts: sts::Found::default(),
            };
            let (need, _) = outbound.need(&plan, &server, required).await;
            assert_eq!(need.is_err(), waits, "{name}: {need:?}");
        }
    }

    #[derive(Default)]
    struct Deaf;

    impl TlsObserver for Deaf {
        fn session(&self, _seen: SeenSession) {}
    }

    /// Whether DNSSEC is to blame is asked for reports only.
    #[tokio::test]
    async fn nobody_asks_twice_without_reports() {
        for observed in [false, true] {
            let ((validating, first), (plain, second)) = (failing().await, failing().await);
            let tls = Tls::unverified(TlsLevel::Dane).expect("TLS").with_dane(validating);
            let mut outbound = Outbound::new(settings(), plain, tls);
            if observed {
                outbound = outbound.with_observer(Arc::new(Deaf));
            }
            assert!(outbound.plan_mx("example.com", None).await.is_err());
            assert!(first.load(Ordering::SeqCst) > 0, "observed: {observed}");
            assert_eq!(second.load(Ordering::SeqCst) > 0, observed, "observed: {observed}");
        }
    }
}
