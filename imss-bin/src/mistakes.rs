//! How a command ends badly: the message on standard error and the exit code.

use std::fmt::Write;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use imss_relay::config::{Mistake, Mistakes, Severity};

/// Why a command did not do its work.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    code: u8,
}

#[derive(Debug)]
enum Kind {
    Message(String),
    Mistakes(Mistakes),
}

impl Failure {
    /// The work could not be done. Exit code 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { kind: Kind::Message(message.into()), code: 1 }
    }

    /// What was asked for makes no sense. Exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { kind: Kind::Message(message.into()), code: 2 }
    }

    /// Says why on standard error, in colours if that is a terminal, and gives the exit code.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        let error = style(Severity::Error);
        match &self.kind {
            Kind::Message(message) => anstream::eprintln!("{error}error{error:#}: {message}"),
            Kind::Mistakes(mistakes) => {
                for mistake in mistakes {
                    anstream::eprintln!("{}", coloured(mistake));
                }
                let count = mistakes.iter().filter(|m| m.severity == Severity::Error).count();
                let noun = if count == 1 { "mistake" } else { "mistakes" };
                anstream::eprintln!("{error}{count} {noun}{error:#}");
            }
        }
        ExitCode::from(self.code)
    }
}

impl From<Mistakes> for Failure {
    fn from(mistakes: Mistakes) -> Self {
        Self { kind: Kind::Mistakes(mistakes), code: 2 }
    }
}

/// A mistake as compilers show it, with colours.
#[must_use]
pub fn coloured(mistake: &Mistake) -> String {
    let (strong, place) =
        (style(mistake.severity), Style::new().fg_color(Some(AnsiColor::Blue.into())));
    let mut text = String::new();
    for (index, line) in mistake.to_string().lines().enumerate() {
        let (head, rest) = match line.split_once(['|', ':']) {
            Some((head, rest)) if index == 0 => (head, rest),
            _ => {
                let is_caret = line.trim_start().starts_with("| ") && line.ends_with('^');
                let style = if is_caret { strong } else { place };
                let marked = line.trim_start().starts_with(['|', '-', '=']);
                let _ = if marked {
                    writeln!(text, "{style}{line}{style:#}")
                } else {
                    writeln!(text, "{line}")
                };
                continue;
            }
        };
        let bold = Style::new().bold();
        let _ = writeln!(text, "{strong}{head}{strong:#}{bold}:{rest}{bold:#}");
    }
    text
}

fn style(severity: Severity) -> Style {
    let colour = match severity {
        Severity::Error => AnsiColor::Red,
        Severity::Warning => AnsiColor::Yellow,
    };
    Style::new().bold().fg_color(Some(colour.into()))
}
