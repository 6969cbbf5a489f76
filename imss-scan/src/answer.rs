//! What the outside world answered: plain facts that engines read and verdict records keep.
//!
//! In: an answer or a failure per question. Out: the same by question, or nothing where nobody
//! answered. Serialises to a list in the order of questions, so equal answers are equal text.

use std::collections::BTreeMap;
use std::net::IpAddr;

use imss_core::authentication::AuthFacts;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::question::{Question, QuestionKey};

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Answer {
    /// The addresses of a name; none if it does not exist.
    Addresses(Vec<IpAddr>),
    /// The signature that clamd found, if it found one.
    Clamd(Option<String>),
    /// The version of a server and its signatures.
    Version(String),
    /// What the ICAP server says.
    Icap(IcapAnswer),
    /// What SPF, DKIM, DMARC and ARC say.
    Authentication(Box<AuthFacts>),
}

/// What an ICAP server says of a content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IcapAnswer {
    /// The names of what it found; none if it found nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub threats: Vec<String>,
    /// Its name and the tag of its state, which changes with its signatures.
    #[serde(default)]
    pub tag: String,
}

/// Why a question has no answer. Neither listed nor clean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LookupError {
    /// Nobody is set up to answer this kind of question.
    #[error("no client is configured for this lookup")]
    NotConfigured,
    /// The server did not answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// The server could not be reached, or closed the connection without an answer.
    #[error("not reachable: {0}")]
    Unreachable(String),
    /// The server refuses to answer us.
    #[error("refused by the server")]
    Refused,
    /// The server says that it failed.
    #[error("the server failed: {0}")]
    Failed(String),
    /// The server does not take content of this size.
    #[error("larger than the server accepts")]
    TooLarge,
    /// The server answered what the protocol does not know.
    #[error("not a valid answer: {0}")]
    Garbage(String),
    /// More questions wait than the client may hold.
    #[error("too many questions at once")]
    Overloaded,
}

impl LookupError {
    /// The failure in one word, for metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotConfigured => "not-configured",
            Self::TimedOut => "timed-out",
            Self::Unreachable(_) => "unreachable",
            Self::Refused => "refused",
            Self::Failed(_) => "failed",
            Self::TooLarge => "too-large",
            Self::Garbage(_) => "garbage",
            Self::Overloaded => "overloaded",
        }
    }
}

/// Answers by question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers(BTreeMap<QuestionKey, Result<Answer, LookupError>>);

impl Answers {
    /// No answer to anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records the answer to `question`; a later one replaces it.
    pub fn insert(&mut self, question: &Question, answer: Result<Answer, LookupError>) {
        self.0.insert(question.key(), answer);
    }

    /// Adds all answers of `other`.
    pub fn extend_from(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The answer to the question with this key.
    ///
    /// # Errors
    ///
    /// What went wrong with the lookup; [`LookupError::NotConfigured`] if nobody answered.
    pub fn get(&self, key: &QuestionKey) -> Result<&Answer, LookupError> {
        match self.0.get(key) {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => Err(error.clone()),
            None => Err(LookupError::NotConfigured),
        }
    }

    /// What is known about who sent the message, if that was asked and answered.
    #[must_use]
    pub fn authentication(&self) -> Option<&AuthFacts> {
        match self.0.get(&QuestionKey::Authentication) {
            Some(Ok(Answer::Authentication(facts))) => Some(facts),
            _ => None,
        }
    }

    /// Every answer and failure, in the order of questions.
    pub fn iter(&self) -> impl Iterator<Item = (&QuestionKey, Result<&Answer, &LookupError>)> {
        self.0.iter().map(|(key, result)| (key, result.as_ref()))
    }

    /// How many questions were answered, failures included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was answered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One line of the verdict record.
#[derive(Serialize, Deserialize)]
struct Row {
    question: QuestionKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<Answer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<LookupError>,
}

impl Serialize for Answers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(question, result)| Row {
            question: question.clone(),
            answer: result.as_ref().ok().cloned(),
            error: result.as_ref().err().cloned(),
        }))
    }
}

impl<'de> Deserialize<'de> for Answers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rows = Vec::<Row>::deserialize(deserializer)?;
        let mut all = BTreeMap::new();
        for row in rows {
            let result = match (row.answer, row.error) {
                (Some(answer), None) => Ok(answer),
                (None, Some(error)) => Err(error),
                _ => return Err(serde::de::Error::custom("either an answer or an error")),
            };
            all.insert(row.question, result);
        }
        Ok(Self(all))
    }
}

#[cfg(test)]
mod tests {
    use imss_core::ids::EntityId;

    use super::*;

    #[test]
    fn answers_survive_json() {
        let dns = |name: &str| Question::DnsList { list: "l".to_owned(), name: name.to_owned() };
        let mut answers = Answers::new();
        answers.insert(&dns("a"), Ok(Answer::Addresses(vec![[127, 0, 0, 2].into()])));
        answers.insert(&dns("b"), Err(LookupError::Failed("SERVFAIL".to_owned())));
        let clamd = Question::Clamd { entity: EntityId::MESSAGE, content: "x".into() };
        answers.insert(&clamd, Ok(Answer::Clamd(None)));
        answers.insert(&Question::ClamdVersion, Ok(Answer::Version("ClamAV 1.4".to_owned())));
        let icap = |n| Question::Icap { entity: EntityId(n), content: "x".into() };
        answers.insert(&icap(0), Ok(Answer::Icap(IcapAnswer::default())));
        let threats = vec!["A".to_owned()];
        answers.insert(&icap(1), Ok(Answer::Icap(IcapAnswer { threats, tag: "t".to_owned() })));
        let json = serde_json::to_string(&answers).unwrap();
        assert_eq!(serde_json::from_str::<Answers>(&json).unwrap(), answers, "{json}");
        assert!(!json.contains("content"), "{json}");
    }

    #[test]
    fn silence_is_an_error() {
        let key = QuestionKey::Clamd(EntityId::MESSAGE);
        assert_eq!(Answers::new().get(&key), Err(LookupError::NotConfigured));
    }

    #[test]
    fn a_row_is_an_answer_or_an_error() {
        for row in [
            r#"[{"question":{"clamd":0}}]"#,
            r#"[{"question":{"clamd":0},"answer":{"clamd":null},"error":"refused"}]"#,
        ] {
            assert!(serde_json::from_str::<Answers>(row).is_err(), "{row}");
        }
    }
}
