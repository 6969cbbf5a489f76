#![no_main]
//! Any text is a policy or a list of mistakes, each with a place that exists, and the same text
//! gives the same version.

use imss_policy::Policy;
use imss_policy::source::Origin;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let origin = Origin::text("policy.toml");
    match Policy::parse(text, &origin) {
        Ok(policy) => {
            let again = Policy::parse(text, &origin).expect("it parsed before");
            assert_eq!(policy.version(), again.version());
        }
        Err(mistakes) => {
            assert!(mistakes.iter().next().is_some(), "refused without a reason");
            let lines = u32::try_from(text.split('\n').count()).unwrap_or(u32::MAX);
            for mistake in &mistakes {
                assert!(mistake.line >= 1 && mistake.line <= lines.max(1), "{mistake}");
                assert!(mistake.column >= 1 && mistake.length >= 1, "{mistake}");
                assert!(!mistake.reason.is_empty());
            }
        }
    }
});
