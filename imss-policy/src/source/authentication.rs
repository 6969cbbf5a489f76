//! The tests of `when` about who sent a message: SPF, DKIM, DMARC, ARC.

use std::collections::BTreeSet;

use imss_core::authentication::{AuthResult, DmarcPolicy, DomainPattern};
use imss_core::plan::{AuthQuery, Identifier};

use super::reader::{Fields, Sink, Value};
use super::value;
use crate::model::Test;

const SPF: [(&str, AuthResult); 7] = [
    ("pass", AuthResult::Pass),
    ("fail", AuthResult::Fail),
    ("softfail", AuthResult::SoftFail),
    ("neutral", AuthResult::Neutral),
    ("none", AuthResult::None),
    ("temperror", AuthResult::TempError),
    ("permerror", AuthResult::PermError),
];
const DKIM: [(&str, AuthResult); 7] = [
    ("pass", AuthResult::Pass),
    ("fail", AuthResult::Fail),
    ("neutral", AuthResult::Neutral),
    ("policy", AuthResult::Policy),
    ("none", AuthResult::None),
    ("temperror", AuthResult::TempError),
    ("permerror", AuthResult::PermError),
];
const DMARC: [(&str, AuthResult); 5] = [
    ("pass", AuthResult::Pass),
    ("fail", AuthResult::Fail),
    ("none", AuthResult::None),
    ("temperror", AuthResult::TempError),
    ("permerror", AuthResult::PermError),
];
const ARC: [(&str, AuthResult); 4] = [
    ("pass", AuthResult::Pass),
    ("fail", AuthResult::Fail),
    ("none", AuthResult::None),
    ("temperror", AuthResult::TempError),
];
const POLICIES: [(&str, DmarcPolicy); 3] = [
    ("none", DmarcPolicy::None),
    ("quarantine", DmarcPolicy::Quarantine),
    ("reject", DmarcPolicy::Reject),
];
const IDENTIFIERS: [(&str, Identifier); 2] = [("spf", Identifier::Spf), ("dkim", Identifier::Dkim)];

/// Reads the keys about authentication.
pub(super) fn read(sink: &mut Sink<'_>, fields: &mut Fields<'_, '_>, out: &mut Vec<Test>) {
    let mut add = |query: AuthQuery| out.push(Test::Authentication(query));
    let path = fields.key("spf");
    if let Some(list) = fields.take("spf") {
        add(AuthQuery::Spf(value::words(sink, list, &path, &SPF)));
    }
    let path = fields.key("dkim");
    if let Some(list) = fields.take("dkim") {
        add(AuthQuery::Dkim(value::words(sink, list, &path, &DKIM)));
    }
    let path = fields.key("dmarc");
    if let Some(list) = fields.take("dmarc") {
        add(AuthQuery::Dmarc(value::words(sink, list, &path, &DMARC)));
    }
    let path = fields.key("dmarc-policy");
    if let Some(list) = fields.take("dmarc-policy") {
        add(AuthQuery::DmarcPolicy(value::words(sink, list, &path, &POLICIES)));
    }
    let path = fields.key("arc");
    if let Some(list) = fields.take("arc") {
        add(AuthQuery::Arc(value::words(sink, list, &path, &ARC)));
    }
    let path = fields.key("aligned");
    if let Some(list) = fields.take("aligned") {
        add(AuthQuery::Aligned(value::words(sink, list, &path, &IDENTIFIERS)));
    }
    let path = fields.key("dkim-signed-by");
    if let Some(list) = fields.take("dkim-signed-by") {
        add(AuthQuery::SignedBy(domains(sink, list, &path)));
    }
    let path = fields.key("dkim-missing-for");
    if let Some(list) = fields.take("dkim-missing-for") {
        add(AuthQuery::UnsignedAuthor(domains(sink, list, &path)));
    }
    let path = fields.key("dkim-partial");
    if let Some(found) = fields.take("dkim-partial") {
        match value::boolean(sink, found, &path) {
            Some(true) => add(AuthQuery::PartlySigned),
            Some(false) => {
                let remedy = "leave it out, or write not = { dkim-partial = true }";
                sink.error(&found.span(), &path, "`false` asks nothing".to_owned(), remedy);
            }
            None => {}
        }
    }
    let path = fields.key("dkim-seen");
    if let Some(table) = fields.take("dkim-seen")
        && let Some(mut inner) = Fields::of(sink, table, &path)
    {
        let key = inner.key("more-than");
        let count = inner.need(sink, "more-than", "more-than = 500");
        if let Some(count) = count.and_then(|found| value::count(sink, found, &key)) {
            add(AuthQuery::SignatureSeenMoreThan(count));
        }
        inner.finish(sink);
    }
}

/// Domains, `*.` before one for everything below it.
fn domains(sink: &mut Sink<'_>, list: &Value<'_>, path: &str) -> BTreeSet<DomainPattern> {
    let read = |sink: &mut Sink<'_>, found: &Value<'_>, path: &str| {
        let text = value::text(sink, found, path)?;
        let domain = DomainPattern::parse(text);
        if domain.is_none() {
            let reason = format!("`{}` is not a domain", text.escape_debug());
            let remedy = "write \"example.com\", or \"*.example.com\" for all below it";
            sink.error(&found.span(), path, reason, remedy);
        }
        domain
    };
    value::one_or_more(sink, list, path, read).into_iter().collect()
}
