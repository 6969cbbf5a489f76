//! Waits for leave to go on: before the greeting, after EHLO, at `MAIL FROM` and `RCPT TO`.
//!
//! In: what the client asks for, read and valid. Out: [`Event::Check`] until the driver brings the
//! answer, then the reply. Nothing of what waits here counts before it has its leave.

use imss_core::envelope::{MailParameters, Recipient, ReversePath};

use super::super::reply::{self, Reply};
use super::super::stage::{Leave, Role, SessionEvent, Stage};
use super::{Event, Phase, Session, Transaction};

/// What waits for leave.
#[derive(Debug)]
pub(super) enum Pending {
    Connect,
    Hello { reply: Reply },
    Mail { reverse_path: ReversePath, parameters: MailParameters },
    Rcpt { recipient: Recipient },
}

impl Session {
    /// What [`Event::Check`] asks; `None` if nothing waits.
    #[must_use]
    pub fn stage(&self) -> Option<Stage<'_>> {
        let (client, role, is_early) = (&self.client, self.role(), self.is_early);
        match self.pending.as_ref()? {
            Pending::Connect => Some(Stage::Connect { client, role, is_early }),
            Pending::Hello { .. } => Some(Stage::Hello { client, role }),
            Pending::Mail { reverse_path, parameters } => {
                Some(Stage::Mail { client, role, is_early, reverse_path, parameters })
            }
            Pending::Rcpt { recipient } => {
                let Transaction { reverse_path, recipients, .. } = self.transaction.as_ref()?;
                let (recipient, accepted) = (&recipient.path, recipients.len());
                let first = recipients.first().map(|first| &first.path);
                Some(Stage::Rcpt { client, role, reverse_path, recipient, accepted, first })
            }
        }
    }

    /// Goes on after [`Event::Check`]. A refusal before the greeting ends the session, as 421 does
    /// anywhere.
    pub fn resume(&mut self, verdict: Result<Leave, Reply>) {
        let Some(pending) = self.pending.take() else { return };
        self.phase = Phase::Command;
        let refusal = match verdict {
            Ok(leave) => {
                if leave.client_name.is_some() {
                    self.client.name = leave.client_name;
                }
                return self.go_on(pending, leave.not_for_data);
            }
            Err(refusal) => refusal,
        };
        match pending {
            Pending::Connect => return self.close_with(&refusal),
            Pending::Hello { .. } => {
                self.greeting = None;
                self.client.helo.clear();
            }
            Pending::Mail { .. } | Pending::Rcpt { .. } => {}
        }
        // The event of a refusal that closes is asked for again by the next step.
        self.reject(&refusal);
    }

    /// The event for [`SessionEvent::RecipientRefused`], if a recipient waits that `reply` refuses.
    #[must_use]
    pub fn refused<'a>(&'a self, reply: &'a Reply) -> Option<SessionEvent<'a>> {
        match self.stage()? {
            Stage::Rcpt { client, role, reverse_path, recipient, .. } => {
                Some(SessionEvent::RecipientRefused {
                    client,
                    role,
                    reverse_path,
                    recipient,
                    reply,
                })
            }
            _ => None,
        }
    }

    /// The event for [`SessionEvent::RecipientAccepted`], if it is a recipient that waits.
    #[must_use]
    pub fn accepted(&self) -> Option<SessionEvent<'_>> {
        match self.stage()? {
            Stage::Rcpt { client, role, accepted, .. } => {
                Some(SessionEvent::RecipientAccepted { client, role, before: accepted })
            }
            _ => None,
        }
    }

    /// What the client may do.
    #[must_use]
    pub fn role(&self) -> Role {
        Role { mode: self.mode, is_trusted: self.is_trusted }
    }

    /// Pauses until leave is there.
    pub(super) fn ask(&mut self, pending: Pending) -> Event<'static> {
        self.pending = Some(pending);
        self.phase = Phase::Check;
        Event::Check
    }

    fn go_on(&mut self, pending: Pending, not_for_data: Option<Reply>) {
        match pending {
            Pending::Connect => {
                let text = format!("{} ESMTP imss", self.settings.hostname);
                Reply::plain(220, text).write_to(&mut self.output);
            }
            Pending::Hello { reply } => {
                self.idle(&reply);
            }
            Pending::Mail { reverse_path, parameters } => {
                let (recipients, refusal) = (Vec::new(), None);
                let transaction = Transaction { reverse_path, parameters, recipients, refusal };
                self.transaction = Some(transaction);
                self.accept(&Reply::new(250, (2, 1, 0), "Sender ok"));
            }
            Pending::Rcpt { recipient } => {
                match &mut self.transaction {
                    Some(transaction) => {
                        transaction.recipients.push(recipient);
                        transaction.refusal = transaction.refusal.take().or(not_for_data);
                    }
                    None => {
                        self.reject(&reply::mail_first());
                        return;
                    }
                }
                self.accept(&reply::recipient_ok());
            }
        }
    }
}
