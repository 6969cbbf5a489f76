//! Actions in the form that decisions copy from: shared texts, targets resolved, each with its
//! description.

use std::sync::Arc;

use imss_core::edit::Position;
use imss_core::envelope::Mailbox;

use crate::decision::FinalAction;
use crate::model::{Action, Language, NoticeTarget, NoticeUse};

/// What stands in place of a removed attachment, unless the policy has a text.
const REMOVED: &str = "The attachment %FILENAME% was removed by the rule \"%RULENAME%\".\n\n\
                       添付ファイル %FILENAME% はルール「%RULENAME%」により削除されました。";

/// A compiled action.
#[derive(Debug, Clone)]
pub(crate) struct Effect {
    pub(crate) does: Does,
    /// For the trail.
    pub(crate) words: String,
}

/// What it does.
#[derive(Debug, Clone)]
pub(crate) enum Does {
    Finally(FinalAction),
    TagSubject(Arc<str>),
    AddField(Arc<str>, Arc<str>),
    RemoveField(Arc<str>),
    ReplaceField(Arc<str>, Arc<str>),
    RemoveAttachment(Arc<str>),
    Clean,
    Stamp { text: Arc<str>, html: Option<Arc<str>>, position: Position },
    Bcc(Vec<Mailbox>),
    Archive(Arc<str>),
    Notify { subject: Arc<str>, text: Arc<str>, recipients: bool, sender: bool, to: Vec<Mailbox> },
    Otherwise(Box<Effect>),
}

/// What texts depend on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words<'a> {
    pub(crate) languages: &'a [Language],
    pub(crate) administrator: Option<&'a Mailbox>,
}

impl Effect {
    pub(crate) fn of(action: &Action, words: Words<'_>) -> Self {
        let does = match action {
            Action::Deliver => Does::Finally(FinalAction::Deliver),
            Action::Quarantine(area) => {
                Does::Finally(FinalAction::Quarantine { area: area.as_str().into() })
            }
            Action::Delete => Does::Finally(FinalAction::Delete),
            Action::Reject { code, status, text } => Does::Finally(FinalAction::Reject {
                code: *code,
                status: *status,
                text: text.as_str().into(),
            }),
            Action::Bounce(text) => {
                Does::Finally(FinalAction::Bounce { text: text.as_str().into() })
            }
            Action::Defer => Does::Finally(FinalAction::Defer),
            Action::Redirect(to) => Does::Finally(FinalAction::Redirect { to: to.clone() }),
            Action::Hold(reason) => {
                Does::Finally(FinalAction::Hold { reason: reason.as_str().into() })
            }
            Action::TagSubject(tag) => Does::TagSubject(tag.as_str().into()),
            Action::AddField(name, value) => {
                Does::AddField(name.as_str().into(), value.as_str().into())
            }
            Action::RemoveField(name) => Does::RemoveField(name.as_str().into()),
            Action::ReplaceField(name, value) => {
                Does::ReplaceField(name.as_str().into(), value.as_str().into())
            }
            Action::RemoveAttachment { notice } => {
                let text = notice.as_ref().map(|notice| joined(&notice.notice.text, words));
                Does::RemoveAttachment(text.unwrap_or_else(|| REMOVED.into()))
            }
            Action::Clean => Does::Clean,
            Action::Stamp { stamp, .. } => Does::Stamp {
                text: joined(&stamp.text, words),
                html: stamp
                    .html
                    .as_ref()
                    .map(|html| html.in_languages(words.languages).join("\n").into()),
                position: stamp.position,
            },
            Action::Bcc(to) => Does::Bcc(to.clone()),
            Action::Archive(area) => Does::Archive(area.as_str().into()),
            Action::Notify { notice, to } => notify(notice, to, words),
            Action::Otherwise(inner) => Does::Otherwise(Box::new(Self::of(inner, words))),
        };
        Self { does, words: describe(action) }
    }
}

fn notify(notice: &NoticeUse, targets: &[NoticeTarget], words: Words<'_>) -> Does {
    let subject = notice.notice.subject.in_languages(words.languages);
    let mut to = Vec::new();
    for target in targets {
        match target {
            NoticeTarget::Administrator => to.extend(words.administrator.cloned()),
            NoticeTarget::Mailbox(mailbox) => to.push(mailbox.clone()),
            NoticeTarget::Recipients | NoticeTarget::Sender => {}
        }
    }
    Does::Notify {
        subject: subject.first().copied().unwrap_or("%RULENAME%").into(),
        text: joined(&notice.notice.text, words),
        recipients: targets.contains(&NoticeTarget::Recipients),
        sender: targets.contains(&NoticeTarget::Sender),
        to,
    }
}

fn joined(text: &crate::model::Text, words: Words<'_>) -> Arc<str> {
    text.in_languages(words.languages).join("\n\n").into()
}

/// An action in words that say what happened, for people who read a trail.
fn describe(action: &Action) -> String {
    let list = |to: &[Mailbox]| to.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match action {
        Action::Deliver => "let it be delivered".to_owned(),
        Action::Quarantine(area) => format!("quarantined it in \"{area}\""),
        Action::Delete => "deleted it".to_owned(),
        Action::Reject { code, text, .. } => format!("rejected it with {code} \"{text}\""),
        Action::Bounce(_) => "returned it to the sender".to_owned(),
        Action::Defer => "deferred it".to_owned(),
        Action::Redirect(to) => format!("redirected it to {}", list(to)),
        Action::Hold(reason) if reason.is_empty() => "held it".to_owned(),
        Action::Hold(reason) => format!("held it: {reason}"),
        Action::TagSubject(tag) => format!("tagged the subject \"{tag}\""),
        Action::AddField(name, _) => format!("added the field {name}"),
        Action::RemoveField(name) => format!("removed the field {name}"),
        Action::ReplaceField(name, _) => format!("replaced the field {name}"),
        Action::RemoveAttachment { .. } => "removed the attachment".to_owned(),
        Action::Clean => "cleaned the attachment".to_owned(),
        Action::Stamp { name, .. } => format!("stamped the text with \"{name}\""),
        Action::Bcc(to) => format!("sent a copy to {}", list(to)),
        Action::Archive(area) => format!("archived a copy in \"{area}\""),
        Action::Notify { notice, .. } => format!("sent the notice \"{}\"", notice.name),
        Action::Otherwise(inner) => describe(inner),
    }
}
