//! Who sent a message, for `imss scan --client`: SPF, DKIM, DMARC and ARC by name servers.
//!
//! In: the questions about one message. Out: the answer to the one about its sender; others stay
//! unanswered. A server that does not answer costs the time limit and leaves a gap.

use std::net::SocketAddr;

use imss_relay::engines;
use imss_scan::auth::client::AuthClient;
use imss_scan::{Answers, Question};
use tokio::runtime::Runtime;

use crate::mistakes::Failure;

/// A client for name servers, and what it runs on.
pub(crate) struct Senders {
    runtime: Runtime,
    client: AuthClient,
}

impl Senders {
    /// Asks `servers`; those of the system if there are none.
    pub(crate) fn new(servers: &[SocketAddr]) -> Result<Self, Failure> {
        let failed = |error: &dyn std::error::Error| Failure::failed(error.to_string());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| failed(&error))?;
        let client = runtime
            .block_on(async { engines::authentication(servers, "localhost") })
            .map_err(|error| failed(&error))?;
        Ok(Self { runtime, client })
    }

    /// Answers what is asked about the sender.
    pub(crate) fn answer(&self, questions: &[Question]) -> Answers {
        let mut answers = Answers::new();
        for question in questions {
            if let Question::Authentication(about) = question {
                answers.insert(question, self.runtime.block_on(self.client.authenticate(about)));
            }
        }
        answers
    }
}
