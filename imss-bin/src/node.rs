//! One node, as commands see it: the running gateway if there is one, else its files.

use imss_relay::config::{Config, load};
use imss_relay::control::client::{CallError, call};
use imss_relay::control::desk::Desk;
use imss_relay::control::{Answer, Operator, Request, Which};
use imss_relay::ids::QueueIds;
use imss_relay::node::open_filter;
use imss_relay::quarantine::Quarantine;
use imss_relay::queue::Queue;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cli;
use crate::mistakes::Failure;

/// A node and how to ask it.
pub(crate) struct Node {
    pub(crate) config: Config,
}

impl Node {
    /// The node that `arguments` name.
    pub(crate) fn new(arguments: &cli::Node) -> Result<Self, Failure> {
        Ok(Self { config: load(arguments.config.as_deref())? })
    }

    /// Asks the gateway, or does it in its place if none runs.
    pub(crate) fn ask(&self, request: &Request) -> Result<Answer, Failure> {
        let answer = match call(&self.config.control_socket(), request) {
            Ok(answer) => answer,
            Err(CallError::NotRunning) => self.operate(request.clone())?,
            Err(error) => return Err(Failure::failed(with_source(&error))),
        };
        match answer {
            Answer::Refused(reason) => Err(Failure::failed(reason)),
            answer => Ok(answer),
        }
    }

    /// As [`Node::ask`], for requests about the sender filter: its files may be the first there are.
    pub(crate) fn ask_filter(&self, request: &Request) -> Result<Answer, Failure> {
        let answer = match call(&self.config.control_socket(), request) {
            Ok(answer) => answer,
            Err(CallError::NotRunning) => self.operate_filter(request.clone())?,
            Err(error) => return Err(Failure::failed(with_source(&error))),
        };
        match answer {
            Answer::Refused(reason) => Err(Failure::failed(reason)),
            answer => Ok(answer),
        }
    }

    fn operate_filter(&self, request: Request) -> Result<Answer, Failure> {
        let Request::Filter { order } = request else { return Err(unexpected()) };
        let filter = open_filter(&self.config, None)
            .map_err(|error| Failure::failed(with_source(&error)))?;
        let answer = filter.operate(order);
        filter.tick();
        Ok(Answer::Filter(answer))
    }

    fn operate(&self, request: Request) -> Result<Answer, Failure> {
        let data_dir = &self.config.data_dir;
        if !self.config.spool_dir().is_dir() {
            return Err(Failure::failed(format!(
                "{} holds no spool; name the node's configuration with --config",
                data_dir.display()
            )));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(error.to_string()))?;
        runtime.block_on(async {
            let (queue, _) = Queue::open(&self.config.spool_dir(), self.config.queue.clone())
                .map_err(|error| Failure::failed(with_source(&error)))?;
            let reload = || Err("no gateway is running".to_owned());
            let ids = QueueIds::new();
            let next_id = move || ids.next();
            let desk = Desk::new(queue.clone(), Quarantine::new(data_dir), next_id, reload);
            let answer = desk.operate(request).await;
            queue.close().await;
            Ok(answer)
        })
    }
}

/// Which messages a command means.
pub(crate) fn which(some: &cli::Some) -> Which {
    if some.all { Which::All } else { Which::These(some.ids.clone()) }
}

/// Says what was done, and what was not. Exit code 1 if anything was not.
pub(crate) fn print_done(answer: &Answer, verb: &str) -> Result<(), Failure> {
    let Answer::Done { count, failed } = answer else { return Err(unexpected()) };
    anstream::println!("{verb} {count}");
    match failed.as_slice() {
        [] => Ok(()),
        failed => {
            let lines: Vec<_> =
                failed.iter().map(|(id, reason)| format!("{id} {reason}")).collect();
            Err(Failure::failed(lines.join("\n       ")))
        }
    }
}

/// An answer to another question.
pub(crate) fn unexpected() -> Failure {
    Failure::failed("the running gateway answers something else; is it another version?")
}

/// A time for people, in their zone.
pub(crate) fn time(unix_millis: u64) -> String {
    i64::try_from(unix_millis)
        .ok()
        .and_then(|millis| Timestamp::from_millisecond(millis).ok())
        .map(|time| time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string())
        .unwrap_or_default()
}

/// A size for people.
pub(crate) fn size(octets: u64) -> String {
    match octets {
        0..1_024 => format!("{octets} B"),
        1_024..1_048_576 => format!("{} KiB", octets.div_ceil(1_024)),
        _ => format!("{} MiB", octets.div_ceil(1_048_576)),
    }
}

/// An error and what caused it, in one line.
pub(crate) fn with_source(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        for (octets, text) in
            [(0, "0 B"), (1_023, "1023 B"), (1_025, "2 KiB"), (50 << 20, "50 MiB")]
        {
            assert_eq!(size(octets), text);
        }
    }
}
