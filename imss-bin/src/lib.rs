//! The commands of `imss`: arguments → work → text or JSON and an exit code.
//!
//! Each module is one command. The program itself (`src/bin/imss.rs`) reads the arguments and calls
//! [`execute`].

use std::process::ExitCode;

pub mod bundle;
pub mod check;
pub mod cli;
pub mod explain;
pub mod filter;
pub mod mistakes;
mod node;
pub mod quarantine;
pub mod queue;
pub mod run;
pub mod scan;
mod table;
pub mod update;
pub mod user;

use cli::{Cli, Command};
use mistakes::Failure;

/// Does what the arguments say.
///
/// # Errors
///
/// Why it could not be done, with the exit code that says so.
pub fn execute(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        Command::Run(node) => run::run(&node),
        Command::Scan(arguments) => scan::scan(arguments),
        Command::Check(node) => check::check(&node),
        Command::Queue(command) => queue::queue(&command),
        Command::Quarantine(command) => quarantine::quarantine(&command),
        Command::Filter(command) => filter::filter(&command),
        Command::Update(arguments) => update::update(&arguments),
        Command::User(command) => user::user(&command),
        Command::Bundle(command) => bundle::bundle(&command),
        Command::Explain(arguments) => explain::explain(&arguments),
    }
}
