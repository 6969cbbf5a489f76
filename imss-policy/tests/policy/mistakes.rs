//! Policies with mistakes: every one is reported, where it is, with what to do.
//!
//! Golden files: `mistakes/NAME.toml` beside `NAME.txt`; `UPDATE_GOLDEN=1` rewrites the latter.

use std::fs;
use std::path::Path;

use imss_policy::{Mistake, Origin, Policy, Severity};

#[test]
fn golden_mistakes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy/mistakes");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut seen = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        seen += 1;
        let name = path.file_name().unwrap().to_str().unwrap();
        let source = fs::read_to_string(&path).unwrap();
        for text in [source.clone(), source.replace('\n', "\r\n")] {
            let found = match Policy::parse(&text, &Origin { name, load: &list }) {
                Ok(policy) => policy
                    .warnings()
                    .iter()
                    .map(|warning| format!("{warning}\n"))
                    .collect::<Vec<_>>()
                    .join("\n"),
                Err(mistakes) => mistakes.to_string(),
            };
            let golden = path.with_extension("txt");
            if update {
                fs::write(&golden, &found).unwrap();
            }
            let expected = fs::read_to_string(&golden).unwrap_or_default();
            assert_eq!(found, expected, "{name}: rewrite with UPDATE_GOLDEN=1 and review");
        }
    }
    assert!(seen > 0, "no golden files in {}", folder.display());
}

fn list(name: &str) -> Result<String, String> {
    match name {
        "partners.txt" => {
            Ok("# partners\n*@partner.example\nnot an address\n  a@b.example # ok\n".to_owned())
        }
        _ => Err("no such file".to_owned()),
    }
}

#[test]
fn mistakes_have_a_form_for_programs() {
    let mistakes =
        Policy::parse("intrenal = [\"x.example\"]\n", &Origin::text("p.toml")).unwrap_err();
    let json = serde_json::to_value(&mistakes).unwrap();
    assert_eq!(json[0]["line"], 1);
    assert_eq!(json[0]["key"], "intrenal");
    assert_eq!(json[0]["remedy"], "did you mean `internal`?");
    let back: Vec<Mistake> = serde_json::from_value(json).unwrap();
    assert_eq!(back[0].severity, Severity::Error);
}

#[test]
fn versions_depend_on_the_text_and_its_lists() {
    let source = "[addresses.a]\nfile = \"list\"\n[[rule]]\nname = \"R\"\nroute = { to = \"a\" }\nthen = [\"delete\"]\n";
    let version = |source: &str, list: &str| {
        let list = list.to_owned();
        let origin = Origin { name: "p.toml", load: &|_| Ok(list.clone()) };
        Policy::parse(source, &origin).unwrap().version().to_owned()
    };
    let first = version(source, "a@b.example");
    assert_eq!(first, version(source, "a@b.example"));
    assert_ne!(first, version(source, "a@c.example"));
    assert_ne!(first, version(&format!("{source}# more"), "a@b.example"));
}
