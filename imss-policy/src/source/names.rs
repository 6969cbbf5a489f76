//! The objects a policy declares, and which of them are used.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use crate::model::{Notice, NoticeTarget, NoticeUse, Stamp, Text};

use super::reader::{Sink, Value};
use super::{suggest, value};

/// The quarantine area that exists without being declared.
pub(super) const UNSCANNABLE: &str = "unscannable";
/// Notices that exist without being declared, and whom they go to.
const STANDING_NOTICES: [(&str, NoticeTarget); 3] = [
    ("administrator", NoticeTarget::Administrator),
    ("recipients", NoticeTarget::Recipients),
    ("sender", NoticeTarget::Sender),
];

/// The kinds of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Addresses,
    Keywords,
    Notices,
    Quarantine,
    Archive,
    DnsLists,
    Stamps,
}

impl Kind {
    /// The table's key.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Addresses => "addresses",
            Self::Keywords => "keywords",
            Self::Notices => "notices",
            Self::Quarantine => "quarantine",
            Self::Archive => "archive",
            Self::DnsLists => "dns-lists",
            Self::Stamps => "stamps",
        }
    }
}

/// What is declared, and what was used.
#[derive(Default)]
pub(super) struct Names {
    declared: BTreeMap<(Kind, String), Range<usize>>,
    used: BTreeSet<(Kind, String)>,
    pub(super) notices: BTreeMap<String, Arc<Notice>>,
    pub(super) stamps: BTreeMap<String, Arc<Stamp>>,
    /// Whether `administrator` is set.
    pub(super) has_administrator: bool,
}

impl Names {
    pub(super) fn declare(&mut self, kind: Kind, name: &str, span: Range<usize>) {
        self.declared.insert((kind, name.to_owned()), span);
    }

    /// Who there is to notify, and nothing else.
    pub(super) fn without_objects(&self) -> Self {
        Self { has_administrator: self.has_administrator, ..Self::default() }
    }

    /// Marks all objects of a kind as used.
    pub(super) fn use_all(&mut self, kind: Kind) {
        let all = self.declared.keys().filter(|(known, _)| *known == kind).cloned();
        self.used.extend(all);
    }

    /// The name of a declared object, or a mistake.
    pub(super) fn resolve(
        &mut self,
        sink: &mut Sink<'_>,
        kind: Kind,
        found: &Value<'_>,
        path: &str,
    ) -> Option<String> {
        let name = value::text(sink, found, path)?;
        let standing = kind == Kind::Quarantine && name == UNSCANNABLE;
        let id = (kind, name.to_owned());
        if standing || self.declared.contains_key(&id) {
            self.used.insert(id);
            return Some(name.to_owned());
        }
        let allowed: Vec<&str> = self
            .declared
            .keys()
            .filter(|(known, _)| *known == kind)
            .map(|(_, name)| name.as_str())
            .collect();
        let near = suggest::among("object", name, &allowed);
        let remedy = if near.starts_with("did you mean") {
            near
        } else {
            format!("declare it: [{}.{}]", kind.key(), quoted(name))
        };
        let reason = format!("`{}` is not declared in [{}]", name.escape_debug(), kind.key());
        sink.error(&found.span(), path, reason, &remedy);
        None
    }

    /// The notice called `name` in a rule: declared, or a standing one.
    pub(super) fn notice(
        &mut self,
        sink: &mut Sink<'_>,
        found: &Value<'_>,
        path: &str,
    ) -> Option<NoticeUse> {
        let name = value::text(sink, found, path)?;
        let standing = STANDING_NOTICES.iter().find(|(known, _)| *known == name);
        if let Some((_, target)) = standing {
            if *target == NoticeTarget::Administrator {
                self.need_administrator(sink, found, path);
            }
            let notice = Arc::new(standing_notice(target.clone()));
            return Some(NoticeUse { name: name.to_owned(), notice });
        }
        let name = self.resolve(sink, Kind::Notices, found, path)?;
        let notice = Arc::clone(self.notices.get(&name)?);
        Some(NoticeUse { name, notice })
    }

    /// The stamp called by a rule, and its name.
    pub(super) fn stamp(
        &mut self,
        sink: &mut Sink<'_>,
        found: &Value<'_>,
        path: &str,
    ) -> Option<(String, Arc<Stamp>)> {
        let name = self.resolve(sink, Kind::Stamps, found, path)?;
        let stamp = Arc::clone(self.stamps.get(&name)?);
        Some((name, stamp))
    }

    /// Notes a notice to the administrator when nobody is.
    pub(super) fn need_administrator(&self, sink: &mut Sink<'_>, found: &Value<'_>, path: &str) {
        if !self.has_administrator {
            let reason = "there is no administrator to notify".to_owned();
            let remedy = "add administrator = \"postmaster@example.com\" at the top";
            sink.error(&found.span(), path, reason, remedy);
        }
    }

    /// Whether a notice's name is taken.
    pub(super) fn is_standing_notice(name: &str) -> bool {
        STANDING_NOTICES.iter().any(|(known, _)| *known == name)
    }

    /// Notes every object that nobody names.
    pub(super) fn warn_unused(&self, sink: &mut Sink<'_>) {
        for ((kind, name), span) in &self.declared {
            if !self.used.contains(&(*kind, name.clone())) {
                let key = super::reader::join(kind.key(), name);
                let reason = format!("`{key}` is not used by any rule");
                sink.warn(span, &key, reason, "");
            }
        }
    }
}

/// A name as TOML writes it in a header.
fn quoted(name: &str) -> String {
    super::reader::join("", name)
}

fn standing_notice(target: NoticeTarget) -> Notice {
    Notice {
        to: vec![target],
        subject: Text {
            en: Some("Mail security notice: %SUBJECT%".to_owned()),
            ja: Some("メールセキュリティ通知: %SUBJECT%".to_owned()),
        },
        text: Text {
            en: Some(
                "The rule \"%RULENAME%\" acted on a message.\n\nFrom: %SENDER%\nTo: %RECIPIENTS%\n\
                 Subject: %SUBJECT%\nAttachments: %FILENAME%\nVerdict: %VERDICT% (score %SCORE%)\n\
                 Action: %ACTION%\nQueue ID: %QUEUEID%"
                    .to_owned(),
            ),
            ja: Some(
                "ルール「%RULENAME%」がメッセージを処理しました。\n\n差出人: %SENDER%\n\
                 宛先: %RECIPIENTS%\n件名: %SUBJECT%\n添付ファイル: %FILENAME%\n\
                 判定: %VERDICT% (スコア %SCORE%)\n処理: %ACTION%\nキューID: %QUEUEID%"
                    .to_owned(),
            ),
        },
    }
}
