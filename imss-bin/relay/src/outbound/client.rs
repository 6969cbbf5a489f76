//! The deliverer: routes a job, and sends it over a reused or new session.
//!
//! In: a [`Job`]. Out: what became of each recipient. Servers of a next hop are tried in order:
//! a server that cannot be reached, breaks off before the data or answers 4yz before the data is
//! followed by the next one; a reply after the data, or a lost one, is final for this attempt.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hickory_resolver::TokioResolver;
use imss_core::envelope::{ForwardPath, ReversePath};
use tokio::time::{Instant, timeout};

use super::fit::Fitter;
use super::plan::{About, Plan};
use super::pool::{Peer, Pool};
use super::session::{Notes, Opener, Protocol, Session, Target};
use super::tls::seen::{SeenFailure, SeenSession, TlsObserver, Trouble};
use super::transaction::{Fate, Mail, Stage};
use super::{
    Attempt, Deliverer, DestinationKey, Failure, Handover, Job, LaneLimits, NextHop, Scope, Server,
    ServerReply, Settings, Tls, TlsLevel, fit, maildir, mx,
};

/// The delivering client. One for the whole process; it keeps the open sessions.
pub struct Outbound {
    pub(super) settings: Settings,
    pub(super) resolver: TokioResolver,
    pub(super) tls: Tls,
    observer: Option<Arc<dyn TlsObserver>>,
    fitter: Fitter,
    pool: Arc<Pool>,
    /// Servers that could not be reached, and when.
    unreachable: Mutex<HashMap<Server, Instant>>,
}

/// The replies of the next hop to one transaction, to be passed through to our own client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// The server that gave them.
    pub host: String,
    /// Per recipient, in order: the refusal of the recipient, or the final reply for it.
    pub recipients: Vec<ServerReply>,
}

/// One recipient's fate, where it was met, and whether that server knows DSN.
#[derive(Debug, Clone)]
struct Met {
    fate: Fate,
    host: Option<Arc<str>>,
    handover: Handover,
}

/// What is told about sessions: whose they are, and what was demanded.
#[derive(Clone, Copy)]
struct Watch<'a> {
    domain: &'a str,
    about: &'a About,
}

/// Recipients who go together: by destination and the TLS level set for their domain.
type Group<'a> = ((DestinationKey, Option<TlsLevel>), &'a NextHop, Vec<usize>);

/// Servers that are remembered as unreachable.
const MAX_UNREACHABLE: usize = 10_000;

impl Outbound {
    /// A client with these settings.
    #[must_use]
    pub fn new(settings: Settings, resolver: TokioResolver, tls: Tls) -> Self {
        let pool = Pool::new(settings.pool, settings.timeouts.quit);
        let (fitter, unreachable) = (Fitter::new(settings.recode), Mutex::default());
        Self { settings, resolver, tls, observer: None, fitter, pool, unreachable }
    }

    /// Tells `observer` about sessions with servers that are chosen by MX (RFC 8460).
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn TlsObserver>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Sends `job` in one transaction and gives the server's own replies: for the before-queue proxy.
    /// The next hop is the job's, else the first recipient's, and must be SMTP, LMTP or MX.
    ///
    /// What we found ourselves (too large, no SMTPUTF8) is put in the form of a reply.
    ///
    /// # Errors
    ///
    /// No server replied for somebody: nothing was delivered, unless the session broke after the data.
    pub async fn transaction(&self, job: Job) -> Result<Transaction, Failure> {
        let nobody = || Failure::own((5, 5, 1), "no recipient", Scope::Message);
        let first = job.recipients.first().ok_or_else(nobody)?;
        let next_hop = self.next_hop(&job, &first.path).clone();
        let Some(plan) = self.plan(&next_hop, &first.path).await? else {
            let text = "a Maildir gives no replies";
            return Err(Failure::own((4, 3, 5), text, Scope::Destination));
        };
        let everybody: Vec<usize> = (0..job.recipients.len()).collect();
        let all = self.send(&job, everybody, &plan).await;
        let host = all.iter().find_map(|met| met.host.clone());
        let mut recipients = Vec::with_capacity(all.len());
        // Once somebody has the message, an error for all would make it arrive twice.
        let someone = all.iter().any(|met| matches!(met.fate, Fate::Accepted(_)));
        for met in all {
            let (failure, is_reply) = match met.fate {
                Fate::Accepted(reply) | Fate::Refused(reply, _) => {
                    recipients.push(reply);
                    continue;
                }
                Fate::Unfit(failure) => {
                    let of_message = failure.scope != Scope::Destination;
                    (failure, of_message)
                }
                Fate::Lost(..) => (lost(met), false),
            };
            if !is_reply && !someone {
                return Err(failure);
            }
            recipients.push(own_reply(failure));
        }
        let host = host.map(|host| host.to_string()).unwrap_or_default();
        Ok(Transaction { host, recipients })
    }

    /// With whom `recipient` can share a transaction: those for whom this is the same.
    #[must_use]
    pub fn company(
        &self,
        reverse_path: &ReversePath,
        recipient: &ForwardPath,
    ) -> (DestinationKey, Option<TlsLevel>) {
        (self.destination(reverse_path, recipient), self.level(recipient))
    }

    /// Says goodbye to all servers. Sessions in use end with their transaction.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    fn next_hop<'a>(&'a self, job: &'a Job, recipient: &ForwardPath) -> &'a NextHop {
        let routing = &self.settings.routing;
        job.next_hop.as_ref().unwrap_or_else(|| routing.next_hop(&job.reverse_path, recipient))
    }

    /// The servers of a plan, those that could not be reached lately last.
    fn in_reach(&self, plan: &Plan) -> Vec<Server> {
        let unreachable = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
        let avoid = self.settings.timeouts.avoid;
        let is_away =
            |server: &Server| unreachable.get(server).is_some_and(|since| since.elapsed() < avoid);
        let mut servers = plan.servers.clone();
        servers.sort_by_key(is_away);
        servers
    }

    fn remember(&self, server: &Server, reached: bool) {
        let mut unreachable = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
        if reached {
            unreachable.remove(server);
            return;
        }
        if unreachable.len() >= MAX_UNREACHABLE {
            let avoid = self.settings.timeouts.avoid;
            unreachable.retain(|_, since| since.elapsed() < avoid);
        }
        if unreachable.len() < MAX_UNREACHABLE {
            unreachable.insert(server.clone(), Instant::now());
        }
    }

    /// Sends to those recipients of `job` whose numbers are in `wanted`. Gives as many results.
    async fn send(&self, job: &Job, wanted: Vec<usize>, plan: &Plan) -> Vec<Met> {
        let looked = match fit::look(&job.content).await {
            Ok(looked) => looked,
            Err(failure) => return wanted.iter().map(|_| own(failure.clone())).collect(),
        };
        let nowhere = || Failure::own((4, 4, 4), "no server to try", Scope::Destination);
        let mut results: Vec<Met> = wanted.iter().map(|_| own(nowhere())).collect();
        // Positions in `wanted` that still need somebody to take them.
        let mut open: Vec<usize> = (0..wanted.len()).collect();
        for server in self.in_reach(plan) {
            let (need, about) = self.need(plan, &server, looked.tls_required).await;
            let watch = plan.mx_of.as_deref().zip(about.as_ref());
            let watch = watch.map(|(domain, about)| Watch { domain, about });
            let need = match need {
                Ok(need) => need,
                Err(failure) => {
                    self.tell(watch, &server, &Notes::default(), None);
                    for at in &open {
                        if let Some(place) = results.get_mut(*at) {
                            *place = own(failure.clone());
                        }
                    }
                    continue;
                }
            };
            let peer = Peer { protocol: plan.protocol, server, need };
            // One server may ask for several transactions: "too many recipients".
            loop {
                let asked = open.len();
                let chosen = open.iter().filter_map(|at| job.recipients.get(*wanted.get(*at)?));
                let mail = Mail {
                    reverse_path: &job.reverse_path,
                    parameters: &job.parameters,
                    recipients: chosen.collect(),
                    content: &job.content,
                    survey: looked.survey,
                    signed: looked.signed,
                };
                let met = self.exchange(&peer, &mail, plan.mx_of.as_deref(), watch).await;
                let more = met.iter().any(|met| matches!(met.fate, Fate::Accepted(_)))
                    && met.iter().any(|met| is_too_many(&met.fate));
                let mut left = Vec::new();
                for (at, met) in open.into_iter().zip(met) {
                    if tries_on(&met.fate) {
                        left.push(at);
                    }
                    if let Some(place) = results.get_mut(at) {
                        *place = met;
                    }
                }
                open = left;
                if !more || open.is_empty() || open.len() >= asked {
                    break;
                }
            }
            if open.is_empty() {
                break;
            }
        }
        results
    }

    /// One transaction with one server.
    async fn exchange(
        &self,
        peer: &Peer,
        mail: &Mail<'_>,
        domain: Option<&str>,
        watch: Option<Watch<'_>>,
    ) -> Vec<Met> {
        let all = |failure: Failure| -> Vec<Met> {
            mail.recipients.iter().map(|_| own(failure.clone())).collect()
        };
        let Some(_permit) = self.pool.permit(peer).await else {
            let text = "too many deliveries wait for this server";
            return all(Failure::own((4, 3, 2), text, Scope::Destination));
        };
        if let Some(session) = self.pool.take(peer) {
            let met = self.run(peer, session, mail).await;
            if !met.iter().any(is_stale) {
                return met;
            }
        }
        let opened = self.open(peer, watch).await;
        self.remember(&peer.server, opened.is_ok());
        let session = match opened {
            Ok(session) => session,
            Err(failure) => return all(failure),
        };
        if let Some(domain) = domain
            && session.greeting_name.eq_ignore_ascii_case(&self.settings.hostname)
        {
            return all(mx::loops_back(domain));
        }
        self.run(peer, session, mail).await
    }

    async fn run(&self, peer: &Peer, mut session: Session, mail: &Mail<'_>) -> Vec<Met> {
        let timeouts = &self.settings.timeouts;
        let fitted = match self.fitter.fit(mail, session.capabilities, &session.host).await {
            Ok(fitted) => fitted,
            Err(failure) => {
                self.pool.put(peer, session);
                return mail.recipients.iter().map(|_| own(failure.clone())).collect();
            }
        };
        let recipients = mail.recipients.clone();
        let content = fitted.as_ref().map_or(mail.content, |fitted| &fitted.content);
        let mail = &Mail { content, recipients, ..*mail };
        let ended = timeout(timeouts.transaction, session.transaction(mail, timeouts)).await;
        let fates = ended.unwrap_or_else(|_| {
            session.reusable = false;
            let text = format!("no end after {} s", timeouts.transaction.as_secs());
            vec![Fate::Lost(text, Stage::End); mail.recipients.len()]
        });
        let handover = match (session.capabilities.dsn, session.protocol) {
            (true, _) => Handover::RelayedWithDsn,
            (false, Protocol::Lmtp) => Handover::Final,
            (false, Protocol::Smtp | Protocol::Smtps) => Handover::Relayed,
        };
        let host = Some(Arc::clone(&session.host));
        self.pool.put(peer, session);
        let met = |fate| Met { fate, host: host.clone(), handover };
        fates.into_iter().map(met).collect()
    }

    /// Opens a session at the first address that gives one.
    async fn open(&self, peer: &Peer, watch: Option<Watch<'_>>) -> Result<Session, Failure> {
        let (settings, tls, protocol) = (&self.settings, &self.tls, peer.protocol);
        let opener = Opener { settings, tls, protocol, need: &peer.need };
        let mut notes = Notes::default();
        let (name, port) = match &peer.server {
            Server::Unix { path } => return opener.open(Target::Unix(path), &mut notes).await,
            Server::Tcp { host, port } => (host, *port),
        };
        let mut last = Failure::own((4, 4, 4), "the host has no address", Scope::Destination);
        for address in mx::addresses(&self.resolver, name, port).await? {
            notes = Notes::default();
            let opened = opener.open(Target::Tcp { name, address }, &mut notes).await;
            if let Some(outcome) = notes.outcome.take() {
                self.tell(watch, &peer.server, &notes, Some(outcome));
            }
            match opened {
                Ok(session) => return Ok(session),
                // A server that was reached says more than one that was not.
                Err(failure) if failure.enhanced.1 == 4 && last.host.is_some() => {}
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    /// Tells what became of TLS in one session; without an outcome there was none.
    fn tell(
        &self,
        watch: Option<Watch<'_>>,
        server: &Server,
        notes: &Notes,
        outcome: Option<Result<(), Trouble>>,
    ) {
        let (Some(observer), Some(watch), Server::Tcp { host, .. }) =
            (&self.observer, watch, server)
        else {
            return;
        };
        let found = watch.about.trouble.clone().or_else(|| outcome.and_then(Result::err));
        let failure = found.map(|trouble| SeenFailure {
            trouble,
            host: host.clone(),
            helo: notes.helo.clone(),
            ip: notes.ip,
            own_ip: notes.own_ip,
        });
        let policy = watch.about.policy.clone();
        let domain = idna::domain_to_ascii(watch.domain).unwrap_or_default();
        observer.session(SeenSession { domain, policy, failure });
    }

    /// Whether anybody wants to know about sessions.
    pub(super) fn is_observed(&self) -> bool {
        self.observer.is_some()
    }

    /// Tells that there is no session with any server of `domain`.
    pub(super) fn tell_of(&self, domain: &str, about: &About) {
        let server = Server::Tcp { host: domain.to_owned(), port: self.settings.mx_port };
        self.tell(Some(Watch { domain, about }), &server, &Notes::default(), None);
    }

    /// Delivers to one recipient's Maildir.
    async fn store(&self, job: &Job, index: usize, dir: &std::path::Path) -> Attempt {
        let Some(recipient) = job.recipients.get(index) else {
            return Attempt::Transient(Failure::own((4, 3, 0), "no recipient", Scope::Recipient));
        };
        let (dir, hostname) = (dir.to_owned(), self.settings.hostname.clone());
        let (reverse_path, recipient) = (job.reverse_path.clone(), recipient.path.clone());
        let content = job.content.clone();
        let written = tokio::task::spawn_blocking(move || {
            maildir::deliver(&maildir::Letter {
                dir: &dir,
                hostname: &hostname,
                reverse_path: &reverse_path,
                recipient: &recipient,
                content: &content,
            })
        });
        match written.await.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            Ok(path) => Attempt::Delivered {
                host: "maildir".to_owned(),
                reply: format!("delivered to {}", path.display()),
                handover: Handover::Final,
            },
            Err(error) => {
                let full = matches!(
                    error.kind(),
                    std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
                );
                let enhanced = if full { (4, 3, 1) } else { (4, 3, 0) };
                let text = format!("cannot write to the mailbox: {error}");
                Attempt::Transient(Failure::own(enhanced, text, Scope::Destination))
            }
        }
    }

    /// Delivers to recipients who share a next hop and key.
    async fn deliver_group(
        &self,
        job: &Job,
        group: Vec<usize>,
        next_hop: &NextHop,
    ) -> Vec<Attempt> {
        if let NextHop::Maildir { dir } = next_hop {
            let mut attempts = Vec::with_capacity(group.len());
            for index in group {
                attempts.push(self.store(job, index, dir).await);
            }
            return attempts;
        }
        let first = group.first().and_then(|index| job.recipients.get(*index));
        let Some(first) = first else { return Vec::new() };
        let count = group.len();
        match self.plan(next_hop, &first.path).await {
            Ok(Some(plan)) => self.send(job, group, &plan).await.into_iter().map(attempt).collect(),
            Ok(None) => Vec::new(),
            Err(failure) => vec![failed(failure); count],
        }
    }
}

impl Deliverer for Outbound {
    async fn deliver(&self, job: Job) -> Vec<Attempt> {
        let mut groups: Vec<Group<'_>> = Vec::new();
        for (index, recipient) in job.recipients.iter().enumerate() {
            let next_hop = self.next_hop(&job, &recipient.path);
            let level = self.level(&recipient.path);
            let key = (DestinationKey::new(next_hop, &recipient.path), level);
            match groups.iter_mut().find(|(known, _, _)| *known == key) {
                Some((_, _, group)) => group.push(index),
                None => groups.push((key, next_hop, vec![index])),
            }
        }
        let missing = || Failure::own((4, 3, 0), "not attempted", Scope::Recipient);
        let mut attempts = vec![Attempt::Transient(missing()); job.recipients.len()];
        for (_, next_hop, group) in groups {
            let results = self.deliver_group(&job, group.clone(), next_hop).await;
            for (index, result) in group.into_iter().zip(results) {
                if let Some(place) = attempts.get_mut(index) {
                    *place = result;
                }
            }
        }
        attempts
    }

    fn destination(&self, reverse_path: &ReversePath, recipient: &ForwardPath) -> DestinationKey {
        let next_hop = self.settings.routing.next_hop(reverse_path, recipient);
        DestinationKey::new(next_hop, recipient)
    }

    fn limits(&self, destination: &DestinationKey) -> LaneLimits {
        self.settings.limits_of(destination.names())
    }
}

fn own(failure: Failure) -> Met {
    Met { fate: Fate::Unfit(failure), host: None, handover: Handover::Relayed }
}

/// Whether the session was closed while it lay idle: nothing was tried yet.
fn is_stale(met: &Met) -> bool {
    match &met.fate {
        Fate::Lost(_, stage) => *stage < Stage::End,
        Fate::Refused(reply, stage) => reply.code == 421 && *stage < Stage::End,
        Fate::Accepted(_) | Fate::Unfit(_) => false,
    }
}

/// Whether the next server may be tried.
fn tries_on(fate: &Fate) -> bool {
    match fate {
        Fate::Accepted(_) => false,
        Fate::Refused(reply, stage) => {
            *stage < Stage::End && (reply.code / 100 != 5 || is_too_many(fate))
        }
        Fate::Lost(_, stage) => *stage < Stage::End,
        Fate::Unfit(failure) => failure.scope == Scope::Destination,
    }
}

/// "Too many recipients" in its old and new form (RFC 5321 §4.5.3.1.10): try the rest again.
fn is_too_many(fate: &Fate) -> bool {
    matches!(fate, Fate::Refused(reply, Stage::Rcpt) if matches!(reply.code, 452 | 552))
}

fn attempt(met: Met) -> Attempt {
    let too_many = is_too_many(&met.fate);
    let host = met.host.as_ref().map(|host| host.to_string());
    match met.fate {
        Fate::Accepted(reply) => Attempt::Delivered {
            host: host.unwrap_or_default(),
            reply: reply.to_string(),
            handover: met.handover,
        },
        Fate::Unfit(failure) => failed(failure),
        Fate::Lost(..) => failed(lost(met)),
        Fate::Refused(reply, stage) => {
            let scope = match stage {
                Stage::Rcpt => Scope::Recipient,
                _ if reply.code == 421 => Scope::Destination,
                _ => Scope::Message,
            };
            let (class, subject, detail) = reply.enhanced_or_class();
            // A 2yz or 3yz where none belongs says nothing we can rely on.
            let permanent = class == 5 && !too_many;
            let enhanced = if permanent { (5, subject, detail) } else { (4, subject, detail) };
            let failure =
                Failure { host, code: Some(reply.code), enhanced, text: reply.text, scope };
            if permanent { Attempt::Permanent(failure) } else { Attempt::Transient(failure) }
        }
    }
}

fn failed(failure: Failure) -> Attempt {
    if failure.enhanced.0 == 5 { Attempt::Permanent(failure) } else { Attempt::Transient(failure) }
}

/// The failure of a session that broke. After the data it concerns the message: some content makes a
/// server fall over, and other mail must not wait for it.
fn lost(met: Met) -> Failure {
    let (text, stage) = match met.fate {
        Fate::Lost(text, stage) => (text, stage),
        _ => (String::new(), Stage::Mail),
    };
    let (place, scope) = match stage {
        Stage::Mail => ("at MAIL", Scope::Destination),
        Stage::Rcpt => ("at RCPT", Scope::Destination),
        Stage::Data => ("at DATA", Scope::Destination),
        Stage::End => ("while sending the data", Scope::Message),
    };
    Failure {
        host: met.host.map(|host| host.to_string()),
        code: None,
        enhanced: (4, 4, 2),
        text: format!("{text} {place}"),
        scope,
    }
}

fn own_reply(failure: Failure) -> ServerReply {
    let code = match failure.enhanced {
        (5, 6, 7) => 553,
        (5, 3, 4) => 552,
        (5, _, _) => 554,
        _ => 451,
    };
    ServerReply { code, enhanced: Some(failure.enhanced), text: failure.text }
}
