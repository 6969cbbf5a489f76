//! Gives up everything that reading mail does not need: files and network (landlock), system calls
//! (seccomp), memory, processes (rlimits). In that order, because each step may need what the next
//! one takes.

use std::io;

use imss_core::limits::Limits;
use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetStatus};
use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// Memory besides what the message's limits allow: the program, its tables, one decoder's window.
const OWN_MEMORY_BYTES: u64 = 512 << 20;
/// What a limit on produced octets means in memory: the octets, their text, the answer.
const MEMORY_PER_OCTET: u64 = 4;

/// "Permission denied".
const EACCES: u32 = 13;

/// Everything that reading a pipe, computing and writing a pipe needs. Anything else ends the process.
const ALLOWED: [i64; 30] = [
    libc::SYS_openat,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_tgkill,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Gives up files, network and memory, for this thread and those it starts. Tells how, for people.
///
/// A kernel without landlock leaves [`calls`], which alone allows no file and no socket.
///
/// # Errors
///
/// The system refuses a bound.
pub fn resources(limits: &Limits) -> io::Result<&'static str> {
    let memory = limits.max_total_bytes.saturating_mul(MEMORY_PER_OCTET);
    let memory = memory.saturating_add(limits.max_message_bytes.saturating_mul(2));
    bound(Resource::As, memory.saturating_add(OWN_MEMORY_BYTES))?;
    for resource in [Resource::Nofile, Resource::Fsize, Resource::Core] {
        bound(resource, 0)?;
    }
    let landlocked = landlock().unwrap_or(false);
    Ok(if landlocked { "seccomp, landlock, rlimits" } else { "seccomp, rlimits" })
}

/// Gives up all system calls but a few, for all threads of this process.
///
/// # Errors
///
/// The kernel takes no filters.
pub fn calls() -> io::Result<()> {
    seccomp().map_err(io::Error::other)
}

fn bound(resource: Resource, most: u64) -> io::Result<()> {
    Ok(setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?)
}

fn landlock() -> Result<bool, landlock::RulesetError> {
    let abi = ABI::V5;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .create()?
        .restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

fn seccomp() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // The allocator of the C library looks into /proc when it gives memory back, and takes no for
    // an answer. Of two filters the stricter one counts.
    filter(&[libc::SYS_openat], SeccompAction::Allow, SeccompAction::Errno(EACCES))?;
    filter(&ALLOWED, SeccompAction::KillProcess, SeccompAction::Allow)
}

/// For all threads: `calls` get `action`, everything else gets `otherwise`.
fn filter(
    calls: &[i64],
    otherwise: SeccompAction,
    action: SeccompAction,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let rules = calls.iter().map(|call| (*call, Vec::new())).collect();
    let arch = std::env::consts::ARCH.try_into()?;
    let program: BpfProgram = SeccompFilter::new(rules, otherwise, action, arch)?.try_into()?;
    Ok(seccompiler::apply_filter_all_threads(&program)?)
}
