//! Routes: which rules see which recipient's copy, and what is asked for whom.

use imss_policy::{Origin, Policy};

use super::support::{Case, envelope};

const HEAD: &str = "internal = [\"example.com\", \"*.example.com\"]\n\
                    internal-clients = [\"192.0.2.0/24\"]\n\
                    [addresses.officers]\nmembers = [\"taro@example.com\", \"*@board.example.com\"]\n\
                    [addresses.partners]\nmembers = [\"*@partner.example\"]\n";

#[test]
fn routes_choose_recipients() {
    let cases = [
        ("incoming", "direction = \"incoming\"", "x@outside.example", "a@example.com", true),
        (
            "a subdomain is inside",
            "direction = \"incoming\"",
            "x@outside.example",
            "a@b.example.com",
            true,
        ),
        ("outgoing", "direction = \"outgoing\"", "a@example.com", "x@outside.example", true),
        ("internal", "direction = \"internal\"", "a@example.com", "b@example.com", true),
        (
            "internal is not incoming",
            "direction = \"incoming\"",
            "a@example.com",
            "b@example.com",
            false,
        ),
        (
            "two directions",
            "direction = [\"incoming\", \"internal\"]",
            "a@example.com",
            "b@example.com",
            true,
        ),
        ("the null reverse-path is outside", "direction = \"incoming\"", "", "b@example.com", true),
        ("postmaster is inside", "direction = \"internal\"", "a@example.com", "Postmaster", true),
        (
            "neither is incoming",
            "direction = \"incoming\"",
            "x@outside.example",
            "y@outside.example",
            true,
        ),
        ("an object", "to = \"officers\"", "x@outside.example", "TARO@example.com", true),
        (
            "a wildcard of an object",
            "to = \"officers\"",
            "x@outside.example",
            "z@board.example.com",
            true,
        ),
        ("somebody else", "to = \"officers\"", "x@outside.example", "hanako@example.com", false),
        (
            "a pattern",
            "to = [\"sales-*@example.com\"]",
            "x@outside.example",
            "sales-jp@example.com",
            true,
        ),
        ("from an object", "from = \"partners\"", "x@partner.example", "a@example.com", true),
        ("from nobody", "from = \"<>\"", "", "a@example.com", true),
        (
            "from and to",
            "from = \"partners\", to = \"officers\"",
            "x@partner.example",
            "a@example.com",
            false,
        ),
        ("an exception", "except-from = \"partners\"", "x@partner.example", "a@example.com", false),
        (
            "not the exception",
            "except-from = \"partners\"",
            "x@other.example",
            "a@example.com",
            true,
        ),
        (
            "an exception beats the object",
            "to = \"officers\", except-to = \"taro@example.com\"",
            "x@other.example",
            "taro@example.com",
            false,
        ),
    ];
    for (name, route, from, to, expected) in cases {
        let others = "[[rule]]\nname = \"o\"\nroute = { to = \"officers\", from = \"partners\" }\n\
                      state = \"shadow\"\nthen = [\"deliver\"]\n";
        let rule = format!("[[rule]]\nname = \"R\"\nroute = {{ {route} }}\nthen = [\"delete\"]\n");
        let case = Case::new(&format!("{HEAD}{others}{rule}")).mail(from, &[to]);
        assert_eq!(case.actions() == ["delete"], expected, "{name}");
    }
}

#[test]
fn a_client_outside_cannot_speak_for_the_inside() {
    let rule =
        "[[rule]]\nname = \"R\"\nroute = { direction = \"incoming\" }\nthen = [\"delete\"]\n";
    let mut case = Case::new(&format!("{HEAD}{rule}")).mail("a@example.com", &["b@example.com"]);
    assert_eq!(case.actions(), ["deliver"]);
    case.envelope.client.ip = "198.51.100.1".parse().unwrap();
    assert_eq!(case.actions(), ["delete"]);
}

#[test]
fn only_questions_of_the_route_are_asked() {
    let source = format!(
        "{HEAD}[[rule]]\nname = \"in\"\nroute = {{ direction = \"incoming\" }}\n\
         when = {{ malware = \"any\" }}\nthen = [\"delete\"]\n\
         [[rule]]\nname = \"officers\"\nroute = {{ to = \"officers\" }}\n\
         when = {{ subject = \"blank\" }}\nthen = [\"delete\"]\n\
         [[rule]]\nname = \"off\"\nwhen = {{ size = {{ larger-than = 1 }} }}\n\
         then = [\"delete\"]\nstate = \"off\"\n"
    );
    let policy = Policy::parse(&source, &Origin::text("test.toml")).unwrap();
    let cases: [(&str, &str, &str, &[&str]); 4] = [
        ("to anybody inside", "x@o.example", "a@example.com", &["malware"]),
        ("to an officer", "x@o.example", "taro@example.com", &["malware", "subject blank"]),
        ("an officer from inside", "a@example.com", "taro@example.com", &["subject blank"]),
        ("outgoing", "a@example.com", "x@o.example", &[]),
    ];
    for (name, from, to, expected) in cases {
        let routes = policy.routes(&envelope(from, &[to]));
        let ids = policy.plan().queries().map(|(id, _)| id);
        let mut asked: Vec<String> = ids
            .filter(|id| routes.selection().contains(*id))
            .filter_map(|id| policy.question(id))
            .collect();
        asked.sort();
        assert_eq!(asked, expected, "{name}");
    }
}

#[test]
fn ten_thousand_rules_decide_as_one_by_one() {
    let mut source = HEAD.to_owned();
    for number in 0..10_000 {
        let when = format!("{{ attachment = {{ name = \"{number}.doc\" }} }}");
        source.push_str(&format!(
            "[[rule]]\nname = \"{number}\"\nwhen = {when}\nthen = [\"delete\"]\n"
        ));
    }
    let case = Case::new(&source).answer("attachment name 7777.doc", "a.exe");
    let decisions = case.decide();
    let decision = &decisions.recipients[0];
    assert_eq!(decision.rule.as_deref(), Some("7777"));
    assert_eq!(decision.trail.len(), 1);
    assert_eq!(decision.left_out, 9_999);
}
