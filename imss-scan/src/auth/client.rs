//! Answers the one question of authentication: asks the DNS and does the sums.
//!
//! In: an [`AuthQuestion`]. Out: [`AuthFacts`]. The sums run beside the network loop; all look-ups of
//! one message together take [`AuthClient::with_time`] at most, and answers are kept by the DNS
//! client as long as their TTL says.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use imss_core::authentication::{
    ArcFact, AuthFacts, AuthResult, DkimFact, DmarcFact, SpfFact, domain_of,
};

use super::names::Names;
use super::replay::Replay;
use super::{dkim, dmarc, spf};
use crate::answer::{Answer, LookupError};
use crate::question::AuthQuestion;
use crate::reputation::dns;

/// Time for one message, unless said otherwise (RFC 7208 §4.6.4).
const DEFAULT_TIME: Duration = Duration::from_secs(20);

/// Authenticates messages. Clones share what they remember.
#[derive(Clone)]
pub struct AuthClient<N = dns::Client> {
    names: N,
    host: Arc<str>,
    time: Duration,
    replay: Arc<Mutex<Replay>>,
    /// What the library holds and never asks.
    unused: TokioResolver,
}

impl<N: Names + Clone + 'static> AuthClient<N> {
    /// A client that asks `names`, on the host called `host`.
    ///
    /// # Errors
    ///
    /// [`dns::ClientError`] if the library's resolver cannot be made.
    pub fn new(names: N, host: &str) -> Result<Self, dns::ClientError> {
        let nobody = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
        let provider = TokioRuntimeProvider::default();
        let unused = TokioResolver::builder_with_config(nobody, provider).build()?;
        let replay = Arc::new(Mutex::new(Replay::default()));
        Ok(Self { names, host: host.into(), time: DEFAULT_TIME, replay, unused })
    }

    /// Takes `time` for one message at most.
    #[must_use]
    pub fn with_time(self, time: Duration) -> Self {
        Self { time, ..self }
    }

    /// The facts about one message.
    ///
    /// # Errors
    ///
    /// [`LookupError::TimedOut`]; [`LookupError::Failed`] if the sums crashed.
    pub async fn authenticate(&self, question: &AuthQuestion) -> Result<Answer, LookupError> {
        let asked = tokio::time::timeout(self.time, self.facts(question)).await;
        let facts = asked.unwrap_or(Err(LookupError::TimedOut))?;
        Ok(Answer::Authentication(Box::new(facts)))
    }

    /// Whether DMARC reports on `domain` may go to mailboxes of `destination` (RFC 9990 §4); `None`
    /// if nobody answers.
    pub async fn may_report(&self, domain: &str, destination: &str) -> Option<bool> {
        let asked = dmarc::may_report(&self.names, domain, destination);
        tokio::time::timeout(self.time, asked).await.ok().flatten()
    }

    async fn facts(&self, question: &AuthQuestion) -> Result<AuthFacts, LookupError> {
        // Slow zones of a sender must not keep the author's policy from being looked at.
        let spf = tokio::time::timeout(self.time / 2, self.spf(question));
        let (spf, signed) = tokio::join!(spf, self.signatures(question.content.clone()));
        let late = || SpfFact { result: AuthResult::TempError, ..SpfFact::default() };
        let spf = spf.unwrap_or_else(|_| (late(), late()));
        let (helo, mail_from) = spf;
        let (mut facts, author) = signed?;
        (facts.helo, facts.mail_from) = (helo, mail_from);
        let spf = facts.spf().clone();
        facts.dmarc = match author {
            Ok(Some(author)) => dmarc::check(&self.names, &author, &spf, &mut facts.dkim).await,
            Ok(None) => DmarcFact::default(),
            Err(reason) => DmarcFact {
                result: AuthResult::PermError,
                reason: reason.to_owned(),
                ..DmarcFact::default()
            },
        };
        self.remember(&mut facts.dkim, question.recipients);
        Ok(facts)
    }

    /// SPF of HELO and of the reverse-path.
    async fn spf(&self, question: &AuthQuestion) -> (SpfFact, SpfFact) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let who = spf::Identity {
            ip: question.ip,
            helo: &question.helo,
            sender: "",
            receiver: &self.host,
            unix_seconds: now.map_or(0, |since| since.as_secs()),
        };
        let helo = spf::check(&self.names, who);
        if domain_of(&question.reverse_path).is_none() {
            return (helo.await, SpfFact::default());
        }
        let sender = spf::Identity { sender: &question.reverse_path, ..who };
        tokio::join!(helo, spf::check(&self.names, sender))
    }

    async fn signatures(
        &self,
        content: Bytes,
    ) -> Result<(AuthFacts, Result<Option<String>, &'static str>), LookupError> {
        let crashed = |_| LookupError::Failed("reading the signatures crashed".to_owned());
        let read = tokio::task::spawn_blocking(move || dkim::read(content)).await;
        let read = read.map_err(crashed)?;
        let author = read.author.clone();
        let keys = dkim::keys(&self.names, &read, self.time / 2).await;
        let (runtime, unused) = (tokio::runtime::Handle::current(), self.unused.clone());
        // Nothing in it waits: the keys are there.
        let sums = move || runtime.block_on(dkim::verify(&read, &keys, &unused));
        let (dkim, dkim_left_out, arc): (Vec<DkimFact>, u32, ArcFact) =
            tokio::task::spawn_blocking(sums).await.map_err(crashed)?;
        Ok((AuthFacts { dkim, dkim_left_out, arc, ..AuthFacts::default() }, author))
    }

    /// Counts the recipients of every valid signature.
    fn remember(&self, dkim: &mut [DkimFact], recipients: u32) {
        let mut replay = self.replay.lock().unwrap_or_else(PoisonError::into_inner);
        for fact in dkim.iter_mut().filter(|fact| fact.result == AuthResult::Pass) {
            let signature = format!("{} {} {}", fact.domain, fact.selector, fact.b);
            fact.recipients_seen = replay.count(&signature, recipients);
        }
    }
}
