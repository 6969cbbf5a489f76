//! The program that the gateway reads hostile mail in: confined, spoken to over pipes.

use std::process::ExitCode;

fn main() -> ExitCode {
    imss_relay::jail::worker::run()
}
