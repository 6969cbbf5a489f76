use super::*;

fn list() -> DnsList {
    let code = |last, points| (IpAddr::from([127, 0, 0, last]), Score::points(points));
    DnsList {
        name: "blocked".to_owned(),
        zone: "bl.example".to_owned(),
        codes: vec![code(2, 5), code(3, 2)],
    }
}

#[test]
fn names_are_reversed() {
    let cases = [
        ("192.0.2.99", "99.2.0.192.bl.example"),
        (
            "2001:db8::567:89ab",
            "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example",
        ),
    ];
    for (address, name) in cases {
        assert_eq!(query_name(address.parse().unwrap(), ".bl.example."), name);
    }
}

#[test]
fn only_public_addresses_are_asked_about() {
    let cases = [
        ("192.0.2.1", true),
        ("::ffff:192.0.2.1", true),
        ("2001:db8::1", true),
        ("127.0.0.1", false),
        ("10.1.2.3", false),
        ("172.31.0.1", false),
        ("192.168.0.1", false),
        ("169.254.1.1", false),
        ("100.64.0.1", false),
        ("0.0.0.0", false),
        ("255.255.255.255", false),
        ("::1", false),
        ("::ffff:10.0.0.1", false),
        ("fd00::1", false),
        ("fe80::1", false),
    ];
    for (address, public) in cases {
        assert_eq!(public_address(address.parse().unwrap()).is_some(), public, "{address}");
    }
}

#[test]
fn answers_are_exact() {
    let client = IpAddr::from([192, 0, 2, 1]);
    let listed = |points, last: &[u8]| {
        let codes = last.iter().map(|last| IpAddr::from([127, 0, 0, *last])).collect();
        Ok(Some((Score::points(points), codes)))
    };
    let garbage = |text: &str| Err(LookupError::Garbage(text.to_owned()));
    let cases: [(&str, &[&str], &[&str], _); 8] = [
        ("not listed", &[], &[], Ok(None)),
        ("listed", &["127.0.0.2"], &[], listed(5, &[2])),
        ("listed twice", &["127.0.0.3", "127.0.0.2"], &[], listed(7, &[2, 3])),
        ("an undeclared code means nothing", &["127.0.0.9"], &[], Ok(None)),
        ("a declared code beside an undeclared", &["127.0.0.9", "127.0.0.2"], &[], listed(5, &[2])),
        (
            "an error code",
            &["127.0.0.2", "127.255.255.254"],
            &[],
            Err(LookupError::Failed("the list answers with error 127.255.255.254".to_owned())),
        ),
        (
            "a hijacked zone",
            &["198.51.100.7"],
            &[],
            garbage("198.51.100.7 is outside 127.0.0.0/8: no DNS list answers so"),
        ),
        ("a wildcard", &["127.0.0.2"], &["127.0.0.2"], garbage("the zone lists every address")),
    ];
    for (name, about_client, about_never, expected) in cases {
        let mut answers = Answers::new();
        for (address, given) in [(client, about_client), (NEVER_LISTED, about_never)] {
            let name = query_name(address, "bl.example");
            let question = Question::DnsList { list: "blocked".to_owned(), name };
            let given = given.iter().map(|address| address.parse().unwrap()).collect();
            answers.insert(&question, Ok(Answer::Addresses(given)));
        }
        assert_eq!(listing(&list(), client, &answers), expected, "{name}");
    }
}

#[test]
fn silence_is_not_clean() {
    let client = IpAddr::from([192, 0, 2, 1]);
    let result = listing(&list(), client, &Answers::new());
    assert_eq!(result, Err(LookupError::NotConfigured));
}
