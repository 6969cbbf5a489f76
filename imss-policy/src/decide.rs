//! Findings → one [`Decision`] per recipient, with the trail that led to it.
//!
//! In: routes, facts and findings of one message. Out: [`Decisions`]. Pure: equal inputs give equal
//! decisions, and every recipient gets exactly one final action.
//!
//! Answers to what could not be looked at come first, then the rules in order; the first final
//! action ends the list for that recipient, changes and monitors before it add up. A rule whose
//! condition cannot be told is not applied and says so in the trail.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use imss_core::edit::{self, Signed};
use imss_core::entity::Entities;
use imss_core::envelope::{Envelope, Mailbox};
use imss_core::finding::{FindingKind, Findings};
use imss_core::ids::EntityId;
use imss_core::message::Message;
use imss_core::verdict::{Score, Verdict};

use crate::cleaning::{clean_parts, is_part};
use crate::compile::{Line, Program};
use crate::decision::{Change, Decision, Decisions, FinalAction, Monitor, Outcome, TrailStep};
use crate::effect::{Does, Effect};
use crate::evaluate::{Known, Truth, Value};
use crate::model::{Direction, Reason, State};
use crate::policy::Policy;
use crate::route::{Group, Routes};

/// Decides for every recipient. `read` is `None` if the message could not be read.
pub(crate) fn decide(
    policy: &Policy,
    routes: &Routes,
    envelope: &Envelope,
    read: Option<(&Message, &Entities)>,
    findings: &Findings,
) -> Decisions {
    let entities = read.map(|(_, entities)| entities);
    let (program, document) = (policy.program(), policy.document());
    let base = base_verdict(findings, program.spam_threshold);
    let known = Known::new(document, envelope, entities, findings, base);
    let triggers = known.triggers();
    let mut values: HashMap<u32, Value> = HashMap::new();
    let mut matched = false;
    let decided: Vec<Decision> = routes
        .groups
        .iter()
        .map(|group| {
            let candidates = program.candidates(&routes.from, group, &triggers);
            let mut run = Run::new(&known, program, group);
            run.message = read.map(|(message, _)| message);
            run.answer_gaps();
            for place in &candidates.rules {
                let Some(rule) = program.rule(*place) else { continue };
                if run.action.is_some() {
                    break;
                }
                let value = values.entry(*place).or_insert_with(|| known.value(&rule.check));
                run.look_at(rule, value);
            }
            matched |= run.matched;
            run.finish(candidates.left_out)
        })
        .collect();
    let verdict = if matched { base.max(Verdict::Policy) } else { base };
    let listed = program.dns_lists.iter().find(|(id, _)| known.is_answered(*id));
    Decisions {
        verdict,
        score: known.score,
        policy: policy.version().to_owned(),
        if_unproven: if_unproven(program),
        listed_in: listed.map(|(_, list)| list.zone.clone()),
        administrator: document.administrator.clone(),
        recipients: routes
            .group_of
            .iter()
            .filter_map(|place| decided.get(*place).cloned())
            .collect(),
    }
}

/// The class that findings and gaps give by themselves.
fn base_verdict(findings: &Findings, spam_threshold: Score) -> Verdict {
    let of_finding = |kind: FindingKind| match kind {
        FindingKind::Malware | FindingKind::MassMailer => Verdict::Infected,
        FindingKind::Suspicious | FindingKind::Packed => Verdict::Suspicious,
        grayware if grayware.is_grayware() => Verdict::Suspicious,
        FindingKind::Phish => Verdict::Phish,
        FindingKind::Graymail => Verdict::Graymail,
        // Points make spam, and rules give the rest a meaning.
        _ => Verdict::Clean,
    };
    let found = findings.found.iter().map(|finding| of_finding(finding.kind));
    let spam = (findings.score() >= spam_threshold).then_some(Verdict::Spam);
    let gap = (!findings.gaps.is_empty()).then_some(Verdict::Unscannable);
    found.chain(spam).chain(gap).max().unwrap_or(Verdict::Clean)
}

/// What happens to a copy whose changes cannot be proven: as after a crash, but never lost and
/// never refused, because a fault of ours must not cost mail.
fn if_unproven(program: &Program) -> FinalAction {
    let crash = program.answers.iter().find(|(reason, _)| *reason == Reason::Crash);
    let effects = crash.map(|(_, effects)| effects.as_slice()).unwrap_or_default();
    let action = effects.iter().find_map(|effect| match &effect.does {
        Does::Finally(action) => Some(action.clone()),
        _ => None,
    });
    match action {
        Some(action @ (FinalAction::Quarantine { .. } | FinalAction::Hold { .. })) => action,
        Some(FinalAction::Deliver) => FinalAction::Deliver,
        _ => FinalAction::Hold { reason: "changes to this message could not be proven".into() },
    }
}

/// One group's way through the rules.
struct Run<'a> {
    known: &'a Known<'a>,
    program: &'a Program,
    group: &'a Group,
    message: Option<&'a Message>,
    /// Whether what is signed may be taken out or changed now.
    breaks_signatures: bool,
    action: Option<FinalAction>,
    rule: Option<Arc<str>>,
    changes: Vec<Change>,
    monitors: Vec<Monitor>,
    trail: Vec<TrailStep>,
    /// Whether a rule that asks something matched.
    matched: bool,
}

impl<'a> Run<'a> {
    fn new(known: &'a Known<'a>, program: &'a Program, group: &'a Group) -> Self {
        Self {
            known,
            program,
            group,
            message: None,
            breaks_signatures: true,
            action: None,
            rule: None,
            changes: Vec::new(),
            monitors: Vec::new(),
            trail: Vec::new(),
            matched: false,
        }
    }

    /// Answers every reason why something was not looked at, in the fixed order of reasons.
    fn answer_gaps(&mut self) {
        let mut by_reason: BTreeMap<Reason, Vec<u32>> = BTreeMap::new();
        for (place, gap) in (0_u32..).zip(&self.known.findings.gaps) {
            by_reason.entry(Reason::from(gap)).or_default().push(place);
        }
        let program = self.program;
        for (reason, gaps) in by_reason {
            let answer = program.answers.iter().find(|(known, _)| *known == reason);
            let Some((_, effects)) = answer else { continue };
            let name: Arc<str> = format!("[unknown] {}", reason.as_str()).into();
            let places = gaps.iter().filter_map(|place| usize::try_from(*place).ok());
            let focus = places
                .filter_map(|place| self.known.findings.gaps.get(place))
                .map(|gap| gap.entity)
                .filter(|entity| *entity != EntityId::MESSAGE)
                .collect();
            let mut step = TrailStep {
                rule: Arc::clone(&name),
                line: 0,
                state: State::On,
                outcome: Outcome::Matched,
                findings: Vec::new(),
                gaps,
                facts: Vec::new(),
                did: Vec::new(),
            };
            for effect in effects {
                // "deliver" says that the gap is no reason to stop it; the rules still decide.
                if matches!(effect.does, Does::Finally(FinalAction::Deliver)) {
                    step.did.push("let the rules decide".to_owned());
                } else if self.action.is_none() {
                    self.act(effect, &name, &focus, &mut step);
                }
            }
            self.trail.push(step);
        }
    }

    /// Looks at one rule, and applies it if it matches.
    fn look_at(&mut self, rule: &Line, value: &Value) {
        let outcome = match value.truth {
            Truth::True => Outcome::Matched,
            Truth::Unknown => Outcome::Unknown,
            Truth::False => Outcome::NotMatched,
        };
        let mut step = TrailStep {
            rule: Arc::clone(&rule.name),
            line: rule.line,
            state: if rule.shadow { State::Shadow } else { State::On },
            outcome,
            findings: value.findings.clone(),
            gaps: value.gaps.clone(),
            facts: value.facts.clone(),
            did: Vec::new(),
        };
        if outcome == Outcome::Matched {
            let nothing = BTreeSet::new();
            let focus = value.focus.as_ref().unwrap_or(&nothing);
            if rule.shadow {
                step.did.extend(rule.effects.iter().map(|effect| effect.words.clone()));
            } else {
                self.matched |= rule.asks;
                self.act_all(rule, focus, &mut step);
            }
        }
        self.trail.push(step);
    }

    fn act_all(&mut self, rule: &Line, focus: &BTreeSet<EntityId>, step: &mut TrailStep) {
        let mut done = true;
        for (place, effect) in rule.effects.iter().enumerate() {
            // Malware is not kept for its signature, unless the rule says what to do instead.
            let next = rule.effects.get(place.saturating_add(1));
            let has_other = next.is_some_and(|next| matches!(next.does, Does::Otherwise(_)));
            self.breaks_signatures = !has_other || self.known.document.signed == Signed::Edit;
            match &effect.does {
                Does::Otherwise(inner) => {
                    if !done {
                        self.act(inner, &rule.name, focus, step);
                    }
                    done = true;
                }
                _ => done = self.act(effect, &rule.name, focus, step),
            }
        }
    }

    /// Does one thing. Returns whether it could.
    fn act(
        &mut self,
        effect: &Effect,
        rule: &Arc<str>,
        focus: &BTreeSet<EntityId>,
        step: &mut TrailStep,
    ) -> bool {
        let rule = Arc::clone(rule);
        let entities = || focus.iter().copied().collect::<Vec<_>>();
        match &effect.does {
            Does::Finally(action) => {
                if self.action.is_none() {
                    self.action = Some(action.clone());
                    self.rule = Some(rule);
                }
            }
            Does::TagSubject(tag) => {
                self.changes.push(Change::TagSubject { tag: Arc::clone(tag), rule });
            }
            Does::AddField(name, value) => {
                let (name, value) = (Arc::clone(name), Arc::clone(value));
                self.changes.push(Change::AddField { name, value, rule });
            }
            Does::RemoveField(name) => {
                self.changes.push(Change::RemoveField { name: Arc::clone(name), rule });
            }
            Does::ReplaceField(name, value) => {
                let (name, value) = (Arc::clone(name), Arc::clone(value));
                self.changes.push(Change::ReplaceField { name, value, rule });
            }
            Does::RemoveAttachment(text) => {
                if !self.can_remove(focus) {
                    step.did.push("could not remove it: it is no attachment".to_owned());
                    return false;
                }
                if !self.may_change(focus, step) {
                    return false;
                }
                let text = Arc::clone(text);
                self.changes.push(Change::RemoveAttachment { entities: entities(), text, rule });
            }
            Does::Clean => return self.clean(focus, &rule, step),
            Does::Stamp { text, html, position } => {
                let signed = self.known.document.signed;
                let unread = Err(edit::Unstamped::NoText);
                let parts = self.message.map_or(unread, |read| edit::stampable(read, signed));
                if let Err(why) = parts {
                    step.did.push(format!("did not stamp it: {why}"));
                    return false;
                }
                let (text, html, position) = (Arc::clone(text), html.clone(), *position);
                self.changes.push(Change::Stamp { text, html, position, signed, rule });
            }
            Does::Bcc(to) => self.monitors.push(Monitor::Bcc { to: to.clone(), rule }),
            Does::Archive(area) => {
                self.monitors.push(Monitor::Archive { area: Arc::clone(area), rule });
            }
            Does::Notify { subject, text, recipients, sender, to } => {
                let mut to = to.clone();
                to.extend(self.sender_inside().filter(|_| *sender));
                self.monitors.push(Monitor::Notify {
                    subject: Arc::clone(subject),
                    text: Arc::clone(text),
                    recipients: *recipients,
                    to,
                    entities: entities(),
                    rule,
                });
            }
            Does::Otherwise(inner) => return self.act(inner, &rule, focus, step),
        }
        step.did.push(effect.words.clone());
        true
    }

    /// Takes out what acts, and says what that is. Returns whether it could.
    fn clean(&mut self, focus: &BTreeSet<EntityId>, rule: &Arc<str>, step: &mut TrailStep) -> bool {
        let entities: Vec<EntityId> = focus.iter().copied().collect();
        let Some(all) = self.known.entities.filter(|_| self.can_remove(focus)) else {
            step.did.push("could not clean it: it is no attachment".to_owned());
            return false;
        };
        if !self.may_change(focus, step) {
            return false;
        }
        match clean_parts(all, &entities) {
            Ok(parts) => {
                for what in parts.iter().flat_map(|part| &part.removed) {
                    step.did.push(format!("removed {what}"));
                }
                self.changes.push(Change::Clean { entities, rule: Arc::clone(rule) });
                true
            }
            Err(why) => {
                step.did.push(format!("could not clean it: {why}"));
                false
            }
        }
    }

    /// Whether nothing in focus is signed, or that does not matter here.
    fn may_change(&self, focus: &BTreeSet<EntityId>, step: &mut TrailStep) -> bool {
        let Some(all) = self.known.entities else { return false };
        let is_signed = |id: &EntityId| {
            let mut around = all.ancestry(*id).filter_map(|entity| entity.protection());
            around.any(|protection| protection.is_signed())
        };
        let is_signed = focus.iter().any(is_signed);
        if is_signed {
            let said =
                if self.breaks_signatures { "broke a signature" } else { "left it: it is signed" };
            step.did.push(said.to_owned());
        }
        self.breaks_signatures || !is_signed
    }

    /// Whether everything in focus can be taken out of the message: it lies in a part of it.
    fn can_remove(&self, focus: &BTreeSet<EntityId>) -> bool {
        let Some(all) = self.known.entities else { return false };
        let lies_in_part = |id: &EntityId| all.ancestry(*id).any(is_part);
        !focus.is_empty() && focus.iter().all(lies_in_part)
    }

    /// The reverse-path, unless it is null or outside: then it may be forged, and a notice would
    /// hit a bystander.
    fn sender_inside(&self) -> Option<Mailbox> {
        if self.group.direction == Direction::Incoming {
            return None;
        }
        self.known.envelope.reverse_path.mailbox().cloned()
    }

    fn finish(mut self, left_out: u32) -> Decision {
        self.changes.dedup();
        Decision {
            direction: self.group.direction,
            action: self.action.unwrap_or(FinalAction::Deliver),
            rule: self.rule,
            changes: self.changes,
            monitors: self.monitors,
            trail: Arc::new(self.trail),
            left_out,
        }
    }
}
