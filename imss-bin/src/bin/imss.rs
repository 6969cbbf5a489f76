//! The program: arguments, call, exit code.

use std::process::ExitCode;

use clap::Parser;
use imss_bin::cli::Cli;

fn main() -> ExitCode {
    imss_bin::execute(Cli::parse()).unwrap_or_else(|failure| failure.report())
}
