//! `imss quarantine`: what is held back.

use std::io::{self, Write};
use std::process::ExitCode;

use imss_relay::control::{Answer, QuarantineOrder, Request};
use imss_relay::quarantine::{Item, ItemId, Quarantine};

use crate::cli;
use crate::mistakes::Failure;
use crate::node::{Node, print_done, size, time, unexpected, which, with_source};
use crate::queue::print_json;
use crate::table::{printable, table};

/// Octets copied at once.
const CHUNK_BYTES: u64 = 256 << 10;

/// Does one `imss quarantine` command.
///
/// # Errors
///
/// The node cannot be reached, or a message is not there.
pub fn quarantine(command: &cli::Quarantine) -> Result<ExitCode, Failure> {
    match command {
        cli::Quarantine::List(arguments) => {
            let request = Request::QuarantineList { area: arguments.area.clone(), limit: 0 };
            let items = ask(&Node::new(&arguments.list.node)?, &request)?;
            if arguments.list.json {
                print_json(&items)?;
            } else if items.is_empty() {
                println!("nothing is held");
            } else {
                println!("{}", table(HEAD, items.iter().map(row).collect()));
            }
        }
        cli::Quarantine::Show(arguments) => show(arguments)?,
        cli::Quarantine::Release(some) => order(some, QuarantineOrder::Release, "released:")?,
        cli::Quarantine::Delete(some) => order(some, QuarantineOrder::Delete, "deleted:")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(arguments: &cli::ShowQuarantined) -> Result<(), Failure> {
    let node = Node::new(&arguments.one.node)?;
    let id = arguments.one.id;
    let items = ask(&node, &Request::QuarantineShow { id })?;
    let Some(first) = items.first() else {
        return Err(Failure::failed(format!("{id} is not in the quarantine")));
    };
    if arguments.message {
        return copy_out(&node, first);
    }
    if arguments.one.json {
        return print_json(&items);
    }
    for item in &items {
        print!("{}", text(item));
    }
    Ok(())
}

/// The held bytes, on standard output.
fn copy_out(node: &Node, item: &Item) -> Result<(), Failure> {
    let quarantine = Quarantine::new(&node.config.data_dir);
    let body = quarantine
        .content(ItemId { id: item.id, copy: item.copy })
        .map_err(|error| Failure::failed(with_source(&error)))?;
    let mut out = io::stdout().lock();
    let mut copy = || -> io::Result<()> {
        let mut start = 0;
        while start < body.len() {
            let end = body.len().min(start.saturating_add(CHUNK_BYTES));
            out.write_all(&body.read(start..end)?)?;
            start = end;
        }
        out.flush()
    };
    match copy() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(error.to_string()))
        }
        _ => Ok(()),
    }
}

fn ask(node: &Node, request: &Request) -> Result<Vec<Item>, Failure> {
    match node.ask(request)? {
        Answer::Quarantine(items) => Ok(items),
        _ => Err(unexpected()),
    }
}

fn order(some: &cli::Some, order: QuarantineOrder, verb: &str) -> Result<(), Failure> {
    let request = Request::Quarantine { order, which: which(some) };
    print_done(&Node::new(&some.node)?.ask(&request)?, verb)
}

const HEAD: [&str; 8] = ["ID", "RECEIVED", "SIZE", "AREA", "VERDICT", "FROM", "TO", "SUBJECT"];

fn row(item: &Item) -> [String; 8] {
    [
        item.id.to_string(),
        time(item.received_unix_millis),
        size(item.size),
        item.area.clone(),
        item.summary.verdict.clone(),
        format!("<{}>", item.reverse_path),
        recipients(item),
        item.summary.subject.clone(),
    ]
}

fn text(item: &Item) -> String {
    let summary = &item.summary;
    let mut text = format!(
        "{}\n  area      {}\n  received  {}\n  size      {}\n  from      <{}>\n  to        {}\n",
        item.id,
        item.area,
        time(item.received_unix_millis),
        size(item.size),
        item.reverse_path,
        recipients(item),
    );
    text.push_str(&format!("  subject   {}\n", printable(summary.subject.clone())));
    text.push_str(&format!("  verdict   {}\n", summary.verdict));
    if let Some(rule) = &summary.rule {
        text.push_str(&format!("  rule      {}\n", printable(rule.clone())));
    }
    for reason in &summary.reasons {
        text.push_str(&format!("  because   {}\n", printable(reason.clone())));
    }
    text
}

fn recipients(item: &Item) -> String {
    let paths: Vec<_> = item.recipients.iter().map(|to| to.path.to_string()).collect();
    paths.join(", ")
}
