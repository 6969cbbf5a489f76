//! Whatever is sent, the outcome does not depend on how it was cut into packets.

use imss_relay::inbound::Settings;
use proptest::prelude::*;
use proptest::test_runner::Config;

use super::support::{settings, talk};

const WORDS: &[&str] = &[
    "EHLO x\r\n",
    "HELO x\r\n",
    "MAIL FROM:<a@b.example>\r\n",
    "MAIL FROM:<> SIZE=1\r\n",
    "RCPT TO:<a@ours.example>\r\n",
    "RCPT TO:<a@b.example>\r\n",
    "DATA\r\n",
    "BDAT 10\r\n",
    "BDAT 7 LAST\r\n",
    "BDAT 0 LAST\r\n",
    "BDAT\r\n",
    "RSET\r\n",
    "NOOP\n",
    "QUIT\r\n",
    "text\r\n",
    "..text\r\n",
    ".\r\n",
    "\r\n.\r\n",
    "\n.\n",
    "\r",
    "\n",
    ".",
    "\0",
    "\u{fc}",
    "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@ours.example>\r\nDATA\r\n",
    "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@ours.example>\r\nBDAT 12\r\n",
];

proptest! {
    #![proptest_config(Config { cases: 1_000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn outcomes_do_not_depend_on_the_cuts(
        words in prop::collection::vec(prop::sample::select(WORDS), 1..30),
        cuts in prop::collection::btree_set(1_usize..400, 0..20),
    ) {
        let mut settings = Settings { close_on_early_data: false, ..settings() };
        settings.limits.message_bytes = 40;
        let input = words.concat().into_bytes();
        let cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut < input.len()).collect();
        let whole = talk(&settings, "192.0.2.1", &input, &[]);
        prop_assert_eq!(&talk(&settings, "192.0.2.1", &input, &cuts), &whole);
        for line in whole.replies.split_inclusive("\r\n") {
            prop_assert!(line.ends_with("\r\n") && line.len() <= 512, "{:?}", line);
            prop_assert!(line.trim_end().bytes().all(|b| (b' '..=b'~').contains(&b)), "{:?}", line);
        }
        for (_, _, body) in &whole.messages {
            let text = String::from_utf8_lossy(body).replace("\r\n", "");
            prop_assert!(!text.contains(['\r', '\n']));
            prop_assert!(body.is_empty() || body.ends_with(b"\r\n"));
            prop_assert!(body.len() <= 40);
        }
    }
}
