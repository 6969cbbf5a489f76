//! `imss queue`: what waits for delivery.

use std::process::ExitCode;

use imss_relay::control::{Answer, QueueOrder, Request};
use imss_relay::outbound::NextHop;
use imss_relay::queue::{QueueEntry, RecipientState};

use crate::cli;
use crate::mistakes::Failure;
use crate::node::{Node, print_done, size, time, unexpected, which};
use crate::table::{printable, table};

/// Messages in one list. More are not read by people, and JSON readers can ask one by one.
const LIST_LIMIT: usize = 100_000;

/// Does one `imss queue` command.
///
/// # Errors
///
/// The node cannot be reached, or a message is not there.
pub fn queue(command: &cli::Queue) -> Result<ExitCode, Failure> {
    match command {
        cli::Queue::List(list) => {
            let entries = ask(&list.node, &Request::QueueList { limit: LIST_LIMIT })?;
            if list.json {
                print_json(&entries)?;
            } else if entries.is_empty() {
                println!("the queue is empty");
            } else {
                println!("{}", table(HEAD, entries.iter().map(row).collect()));
            }
        }
        cli::Queue::Show(one) => {
            let entries = ask(&one.node, &Request::QueueShow { id: one.id })?;
            let Some(entry) = entries.first() else {
                return Err(Failure::failed(format!("{} is not in the queue", one.id)));
            };
            if one.json { print_json(entry)? } else { print!("{}", text(entry)) }
        }
        cli::Queue::Retry(some) => order(some, QueueOrder::Retry, "to be tried now:")?,
        cli::Queue::Hold(some) => order(some, QueueOrder::Hold, "held:")?,
        cli::Queue::Release(some) => order(some, QueueOrder::Release, "released:")?,
        cli::Queue::Delete(some) => order(some, QueueOrder::Delete, "deleted:")?,
        cli::Queue::Route(route) => {
            let request = Request::QueueRoute { to: hop(&route.to)?, which: which(&route.some) };
            print_done(&Node::new(&route.some.node)?.ask(&request)?, "rerouted:")?;
        }
        cli::Queue::Flush(flush) => {
            let request = Request::QueueFlush { destination: flush.destination.clone() };
            print_done(&Node::new(&flush.node)?.ask(&request)?, "to be tried now:")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A next hop as the configuration writes it; `None` for the configured routing.
fn hop(text: &str) -> Result<Option<NextHop>, Failure> {
    if text == "default" {
        return Ok(None);
    }
    let parsed = text.parse().map(Option::Some);
    parsed.map_err(|error| Failure::usage(format!("--to: not a next hop: {error}")))
}

fn ask(node: &cli::Node, request: &Request) -> Result<Vec<QueueEntry>, Failure> {
    match Node::new(node)?.ask(request)? {
        Answer::Queue(entries) => Ok(entries),
        _ => Err(unexpected()),
    }
}

fn order(some: &cli::Some, order: QueueOrder, verb: &str) -> Result<(), Failure> {
    let request = Request::Queue { order, which: which(some) };
    print_done(&Node::new(&some.node)?.ask(&request)?, verb)
}

const HEAD: [&str; 7] = ["ID", "RECEIVED", "SIZE", "STATE", "FROM", "TO", "LAST REPLY"];

fn row(entry: &QueueEntry) -> [String; 7] {
    let first = entry.recipients.first();
    let others = entry.recipients.len().saturating_sub(1);
    let to = first.map(|first| first.recipient.to_string()).unwrap_or_default();
    [
        entry.id.to_string(),
        time(entry.received_unix_millis),
        size(entry.size),
        first.map_or("done", |first| word(first.state)).to_owned(),
        format!("<{}>", entry.reverse_path),
        if others > 0 { format!("{to} and {others} more") } else { to },
        first.and_then(|first| first.last.clone()).unwrap_or_default(),
    ]
}

fn text(entry: &QueueEntry) -> String {
    let mut text = format!(
        "{}\n  received  {}\n  size      {}\n  from      <{}>\n",
        entry.id,
        time(entry.received_unix_millis),
        size(entry.size),
        entry.reverse_path
    );
    if !entry.subject.is_empty() {
        text.push_str(&format!("  subject   {}\n", printable(entry.subject.clone())));
    }
    if entry.done > 0 {
        text.push_str(&format!("  done      {} recipients\n", entry.done));
    }
    for recipient in &entry.recipients {
        text.push_str(&format!("  to        {}: {}", recipient.recipient, word(recipient.state)));
        if recipient.attempts > 0 {
            text.push_str(&format!(", {} attempts", recipient.attempts));
        }
        if let Some(next) = recipient.next_unix_millis {
            text.push_str(&format!(", next {}", time(next)));
        }
        if let Some(to) = &recipient.to {
            text.push_str(&format!(", to {to}"));
        }
        if let Some(last) = &recipient.last {
            text.push_str(&format!("\n            {}", printable(last.clone())));
        }
        text.push('\n');
    }
    text
}

fn word(state: RecipientState) -> &'static str {
    match state {
        RecipientState::Queued => "queued",
        RecipientState::Active => "active",
        RecipientState::Deferred => "deferred",
        RecipientState::Held => "held",
    }
}

/// Prints a value as indented JSON.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value);
    println!("{}", text.map_err(|error| Failure::failed(error.to_string()))?);
    Ok(())
}
