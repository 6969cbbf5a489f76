//! `imss filter`: who may hand over mail.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::process::ExitCode;

use imss_relay::control::{Answer, Request};
use imss_relay::filter::command::{FilterAnswer, FilterOrder, SourceView, Status};
use imss_relay::filter::record::FILTER;
use imss_relay::filter::{Part, Record, State};
use imss_scan::reputation::lists::{Entry, ListKind};
use imss_scan::reputation::subject::Subject;

use crate::cli;
use crate::mistakes::Failure;
use crate::node::{Node, size, time, unexpected};
use crate::queue::print_json;
use crate::table::{printable, table};

/// Files of the log that are read, newest first.
const LOG_DAYS: usize = 31;

/// Does one `imss filter` command.
///
/// # Errors
///
/// The node cannot be reached, or refuses.
pub fn filter(command: &cli::Filter) -> Result<ExitCode, Failure> {
    match command {
        cli::Filter::Status(list) => match ask(&list.node, FilterOrder::Status)? {
            FilterAnswer::Status(status) if list.json => print_json(&status)?,
            FilterAnswer::Status(status) => print_status(&status),
            _ => return Err(unexpected()),
        },
        cli::Filter::List(listed) => print_list(listed)?,
        cli::Filter::Show(show) => match ask(&show.list.node, FilterOrder::Show(show.ip))? {
            FilterAnswer::Source(source) if show.list.json => print_json(&source)?,
            FilterAnswer::Source(source) => print!("{}", source_text(&source)),
            _ => return Err(unexpected()),
        },
        cli::Filter::Add(add) => add_all(add.to, &add.entry)?,
        cli::Filter::Block(entry) => add_all(cli::EntryList::Blocked, entry)?,
        cli::Filter::Approve(entry) => add_all(cli::EntryList::Approved, entry)?,
        cli::Filter::Remove(remove) => {
            for subject in &remove.subjects {
                let (list, subject, by) = (kind(remove.from), subject.clone(), who());
                done(&remove.node, FilterOrder::Remove { list, subject, by })?;
            }
        }
        cli::Filter::Release(release) => {
            for who_is_held in &release.who {
                let order = FilterOrder::Release { who: who_is_held.clone(), by: who() };
                done(&release.node, order)?;
            }
        }
        cli::Filter::On(switch) => switch_all(switch, Some(State::On))?,
        cli::Filter::Off(switch) => switch_all(switch, Some(State::Off))?,
        cli::Filter::Shadow(switch) => switch_all(switch, Some(State::Shadow))?,
        cli::Filter::Default(switch) => switch_all(switch, None)?,
        cli::Filter::Log(log) => print_log(log)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn ask(node: &cli::Node, order: FilterOrder) -> Result<FilterAnswer, Failure> {
    match Node::new(node)?.ask_filter(&Request::Filter { order })? {
        Answer::Filter(FilterAnswer::Refused(reason)) => Err(Failure::failed(reason)),
        Answer::Filter(answer) => Ok(answer),
        _ => Err(unexpected()),
    }
}

fn done(node: &cli::Node, order: FilterOrder) -> Result<(), Failure> {
    match ask(node, order)? {
        FilterAnswer::Done(text) => {
            anstream::println!("{}", printable(text));
            Ok(())
        }
        _ => Err(unexpected()),
    }
}

fn add_all(list: cli::EntryList, entry: &cli::Entry) -> Result<(), Failure> {
    for subject in &entry.subjects {
        let order = FilterOrder::Add {
            list: kind(list),
            subject: subject.clone(),
            secs: entry.length,
            note: entry.note.clone().unwrap_or_default(),
            is_transient: entry.transient,
            by: who(),
        };
        done(&entry.node, order)?;
    }
    Ok(())
}

fn switch_all(switch: &cli::Switch, state: Option<State>) -> Result<(), Failure> {
    for part in &switch.parts {
        done(&switch.node, FilterOrder::Switch { part: *part, state, by: who() })?;
    }
    Ok(())
}

fn kind(list: cli::EntryList) -> ListKind {
    match list {
        cli::EntryList::Approved => ListKind::Approved,
        cli::EntryList::Blocked => ListKind::Blocked,
    }
}

/// Who runs the command.
fn who() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let name = named.unwrap_or_else(|| rustix::process::getuid().as_raw().to_string());
    format!("admin {name}")
}

fn print_list(listed: &cli::Listed) -> Result<(), Failure> {
    let node = &listed.list.node;
    let order = match listed.what {
        cli::FilterList::Approved => FilterOrder::Entries(ListKind::Approved),
        cli::FilterList::Blocked => FilterOrder::Entries(ListKind::Blocked),
        cli::FilterList::Greylisted => FilterOrder::Waiting,
        cli::FilterList::Throttled => FilterOrder::Throttled,
    };
    match ask(node, order)? {
        FilterAnswer::Entries(entries) if listed.list.json => print_json(&entries),
        FilterAnswer::Waiting(waiting) if listed.list.json => print_json(&waiting),
        FilterAnswer::Throttled(throttled) if listed.list.json => print_json(&throttled),
        FilterAnswer::Entries(entries) => {
            print_rows(ENTRY_HEAD, entries.iter().map(entry_row).collect());
            Ok(())
        }
        FilterAnswer::Waiting(waiting) => {
            let head = ["SOURCE", "FROM", "TO", "FIRST TRY", "PASSES FROM"];
            let row = |one: imss_relay::filter::command::WaitingSender| {
                let from = format!("<{}>", one.sender);
                let (first, passes) = (moment(one.first_secs), moment(one.passes_secs));
                [one.source.to_string(), from, one.recipient, first, passes]
            };
            print_rows(head, waiting.into_iter().map(row).collect());
            Ok(())
        }
        FilterAnswer::Throttled(throttled) => {
            let rows = throttled.into_iter().map(|one| [one.who, moment(one.until_secs)]);
            print_rows(["WHO", "UNTIL"], rows.collect());
            Ok(())
        }
        _ => Err(unexpected()),
    }
}

fn print_rows<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) {
    if rows.is_empty() {
        println!("none");
    } else {
        println!("{}", table(head, rows));
    }
}

const ENTRY_HEAD: [&str; 6] = ["WHO", "ADDED", "UNTIL", "REPLY", "BY", "NOTE"];

fn entry_row(entry: &Entry) -> [String; 6] {
    let reply = match (entry.list, entry.is_transient) {
        (ListKind::Approved, _) => "",
        (ListKind::Blocked, true) => "4yz",
        (ListKind::Blocked, false) => "5yz",
    };
    [
        entry.subject.to_string(),
        if entry.added_secs == 0 { String::new() } else { moment(entry.added_secs) },
        entry.until_secs.map_or_else(|| "for good".to_owned(), moment),
        reply.to_owned(),
        entry.by.to_string(),
        entry.note.to_string(),
    ]
}

fn print_status(status: &Status) {
    let rows = status.parts.iter().map(|one| {
        let by = if one.is_switched { "by command" } else { "" };
        [one.part.as_str().to_owned(), one.state.as_str().to_owned(), by.to_owned()]
    });
    println!("{}", table(["PART", "STATE", ""], rows.collect()));
    println!();
    println!("approved  {} entries", status.approved);
    println!("blocked   {} entries", status.blocked);
    let bytes = u64::try_from(status.source_bytes).unwrap_or(u64::MAX);
    println!("sources   {} ({})", status.sources, size(bytes));
    println!("senders   {}", status.senders);
    println!("triplets  {}", status.triplets);
    if status.zones.is_empty() {
        return;
    }
    println!();
    let rows = status.zones.iter().map(|one| {
        let health = &one.health;
        let state = match (&health.fault, health.is_out) {
            (None, _) => "in order".to_owned(),
            (Some(fault), true) => format!("NOT USED: {fault}"),
            (Some(fault), false) => format!("ALERT: {fault}"),
        };
        let since = health.since_secs.map(moment).unwrap_or_default();
        let asked = [health.asked, health.listed, health.faults].map(|count| count.to_string());
        let [asked, listed, faults] = asked;
        [one.zone.clone(), state, since, asked, listed, faults]
    });
    println!(
        "{}",
        table(["DNS LIST", "STATE", "SINCE", "ASKED", "LISTED", "FAULTS"], rows.collect())
    );
}

fn source_text(source: &SourceView) -> String {
    let mut text = format!("{}\n", source.ip);
    let mut line = |name: &str, value: String| {
        text.push_str(&format!("  {name:<12}{}\n", printable(value)));
    };
    line("country", source.country.clone().unwrap_or_else(|| "unknown".to_owned()));
    if let Some(asn) = source.asn {
        line("network", format!("AS{asn}"));
    }
    if source.is_known_host {
        line("known host", "yes: its mail is judged by who sent it there".to_owned());
    }
    let state = match &source.decides {
        Some(entry) => format!("{} by {} ({})", entry.list.as_str(), entry.subject, entry.by),
        None => "on no list".to_owned(),
    };
    line("state", state);
    for entry in &source.entries {
        let until = entry.until_secs.map_or_else(|| "for good".to_owned(), moment);
        let (list, subject) = (entry.list.as_str(), &entry.subject);
        line("entry", format!("{list} {subject}, until {until}, {}: {}", entry.by, entry.note));
    }
    for (rule, volume, hits) in &source.profile {
        line("profile", format!("{rule}: {hits} of {volume}"));
    }
    if let Some(until) = source.throttled_until_secs {
        line("throttled", format!("until {}", moment(until)));
    }
    if let Some(first) = source.first_seen_secs {
        line("first seen", moment(first));
    }
    match source.greylist_approved_until_secs {
        Some(until) => line("greylist", format!("approved until {}", moment(until))),
        None => line("greylist", format!("{} triplets passed", source.greylist_passes)),
    }
    text
}

fn print_log(log: &cli::FilterLog) -> Result<(), Failure> {
    let records = read_log(log)?;
    if log.list.json {
        return print_json(&records);
    }
    let row = |record: &Record| {
        let who = record.client.map(|ip| ip.to_string()).unwrap_or_default();
        let action = if record.shadow { "(shadow) " } else { "" };
        let mut what = vec![record.detail.clone(), record.reply.clone(), record.by.clone()];
        what.retain(|text| !text.is_empty());
        [
            record.time.clone(),
            who,
            record.part.clone(),
            format!("{action}{}", record.action),
            record.rule.clone(),
            record.reverse_path.as_ref().map(|path| format!("<{path}>")).unwrap_or_default(),
            what.join("; "),
        ]
    };
    let head = ["TIME", "CLIENT", "PART", "ACTION", "RULE", "FROM", "WHY"];
    print_rows(head, records.iter().map(row).collect());
    Ok(())
}

/// The newest records that match, oldest first.
fn read_log(log: &cli::FilterLog) -> Result<Vec<Record>, Failure> {
    let dir = Node::new(&log.list.node)?.config.log_dir();
    let mut files: Vec<_> = match std::fs::read_dir(&dir) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => Vec::new(),
    };
    let prefix = format!("{FILTER}-");
    files.retain(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
    });
    files.sort();
    let mut kept = VecDeque::new();
    let skipped = files.len().saturating_sub(LOG_DAYS);
    for path in files.iter().skip(skipped) {
        let failed =
            |error: std::io::Error| Failure::failed(format!("{}: {error}", path.display()));
        for line in BufReader::new(File::open(path).map_err(failed)?).lines() {
            let line = line.map_err(failed)?;
            // The last line may be half written.
            let Ok(record) = serde_json::from_str::<Record>(&line) else { continue };
            if matches(log, &record) {
                if kept.len() == log.limit {
                    kept.pop_front();
                }
                kept.push_back(record);
            }
        }
    }
    Ok(kept.into())
}

fn matches(log: &cli::FilterLog, record: &Record) -> bool {
    let of_client = |ip: IpAddr| {
        record.client == Some(ip)
            || record.rule.parse::<Subject>().is_ok_and(|subject| subject.contains(ip))
    };
    log.client.is_none_or(of_client)
        && log.part.is_none_or(|part: Part| record.part == part.as_str())
        && log.action.as_ref().is_none_or(|action| record.action == *action)
}

fn moment(secs: u32) -> String {
    time(u64::from(secs).saturating_mul(1_000))
}
