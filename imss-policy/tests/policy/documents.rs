//! What the documentation shows is what works.

use std::fs;
use std::path::Path;

use imss_policy::{Origin, Policy};

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_example_has_no_mistakes() {
    let origin =
        Origin { name: "policy-example.toml", load: &|_| Ok("*@partner.example\n".to_owned()) };
    let policy = Policy::parse(&read("policy-example.toml"), &origin)
        .unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(policy.warnings(), []);
}

/// Every block of the reference that is marked `toml` is a policy by itself.
#[test]
fn the_reference_has_no_mistakes() {
    let text = read("policy.md");
    let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut seen = 0;
    for block in blocks {
        seen += 1;
        let origin = Origin { name: "policy.md", load: &|_| Ok("*@partner.example\n".to_owned()) };
        let policy = Policy::parse(block, &origin).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!(policy.warnings(), [], "{block}");
    }
    assert!(seen >= 5, "{seen} blocks");
}
