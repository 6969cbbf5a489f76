//! Answers questions with the lookup clients: all of one message's at the same time.
//!
//! In: questions. Out: an answer or a failure for each. Every client bounds the time of its own
//! questions, so the whole takes as long as the slowest bound.

use tokio::task::JoinSet;

use crate::answer::{Answer, Answers, LookupError};
#[cfg(feature = "auth")]
use crate::auth::client::AuthClient;
#[cfg(feature = "clamd")]
use crate::malware::clamd;
#[cfg(feature = "icap")]
use crate::malware::icap;
use crate::question::Question;
#[cfg(feature = "dns")]
use crate::reputation::dns;

/// The clients there are. A question for which there is none is answered with
/// [`LookupError::NotConfigured`].
#[derive(Clone, Default)]
pub struct Lookups {
    /// For DNS lists.
    #[cfg(feature = "dns")]
    pub dns: Option<dns::Client>,
    /// For clamd.
    #[cfg(feature = "clamd")]
    pub clamd: Option<clamd::Client>,
    /// For an ICAP server.
    #[cfg(feature = "icap")]
    pub icap: Option<icap::Client>,
    /// For SPF, DKIM, DMARC and ARC.
    #[cfg(feature = "auth")]
    pub auth: Option<AuthClient>,
}

impl Lookups {
    /// Answers every question. Runs on a tokio runtime.
    pub async fn answer(&self, questions: Vec<Question>) -> Answers {
        let mut answers = Answers::new();
        let mut running = JoinSet::new();
        for question in questions {
            // A task that panics never reports back, and what is missing then counts as failed.
            let failed = LookupError::Failed("the lookup crashed".to_owned());
            answers.insert(&question, Err(failed));
            let lookups = self.clone();
            running.spawn(async move {
                let answer = lookups.answer_one(&question).await;
                (question, answer)
            });
        }
        while let Some(ended) = running.join_next().await {
            if let Ok((question, answer)) = ended {
                answers.insert(&question, answer);
            }
        }
        answers
    }

    async fn answer_one(&self, question: &Question) -> Result<Answer, LookupError> {
        match question {
            #[cfg(feature = "dns")]
            Question::DnsList { name, .. } => match &self.dns {
                Some(client) => client.addresses(name).await,
                None => Err(LookupError::NotConfigured),
            },
            #[cfg(feature = "clamd")]
            Question::Clamd { content, .. } => match &self.clamd {
                Some(client) => client.scan(content).await,
                None => Err(LookupError::NotConfigured),
            },
            #[cfg(feature = "clamd")]
            Question::ClamdVersion => match &self.clamd {
                Some(client) => client.known_version().await.map(Answer::Version),
                None => Err(LookupError::NotConfigured),
            },
            #[cfg(feature = "icap")]
            Question::Icap { content, .. } => match &self.icap {
                Some(client) => client.scan(content).await,
                None => Err(LookupError::NotConfigured),
            },
            #[cfg(feature = "auth")]
            Question::Authentication(question) => match &self.auth {
                Some(client) => client.authenticate(question).await,
                None => Err(LookupError::NotConfigured),
            },
            #[cfg(not(all(
                feature = "dns",
                feature = "clamd",
                feature = "icap",
                feature = "auth"
            )))]
            _ => Err(LookupError::NotConfigured),
        }
    }
}
