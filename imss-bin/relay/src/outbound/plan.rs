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

/// Whether the domain's own demands count (RFC 8689 §4.1).
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
                // Whether DNSSEC is to blame shows when nobody asks for it.
                if failure.enhanced == (4, 4, 3)
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
        if required == TlsRequired::No && level != TlsLevel::DaneOnly {
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
