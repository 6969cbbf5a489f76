use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;

use base64_simd::STANDARD;
use imss_core::envelope::{ReversePath, Syntax};

use super::exchange::{Claim, Context, Exchange, Turn};
use super::guessers::CLIENT_POINTS;
use super::users::{
    COMPARED_AT_ONCE, QUEUED, QUEUED_OF_STRANGERS, QUEUED_PER_STRANGER, User, UserFiles, Users,
};
use super::verifier::{SealKey, Verifier};
use super::*;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Users in a folder of their own: `user` with `pencil` and the salt of RFC 7677 §3, and `tim` of
/// RFC 2195 §2.
fn users(folder: &std::path::Path) -> Users {
    let files = UserFiles { users: folder.join("users"), key: folder.join("key") };
    let salt = STANDARD.decode_to_vec("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let key = files.key().unwrap();
    let user = |name: &str, password: &str, with_md5: bool| {
        let password = Password::new(password);
        User {
            name: name.to_owned(),
            verifier: Verifier::derive(&password, &salt, NonZeroU32::new(4_096).unwrap()),
            cram_md5: with_md5.then(|| key.seal(name, &password).unwrap()),
            senders: vec!["other@b.example".to_owned(), "*@c.example".to_owned()],
        }
    };
    let all = [user("user", "pencil", false), user("Tim", "tanstaaftanstaaf", true)];
    files.write(&all).unwrap();
    assert_eq!(files.read().unwrap(), all);
    Users::open(files).unwrap()
}

fn context<'a>(users: &'a Users, exporter: Option<&'a [u8]>) -> Context<'a> {
    Context { users, hostname: "mx.example", exporter, offers_plus: exporter.is_some() }
}

fn proven(name: &str) -> Turn {
    Turn::Claim(Claim::Proven { name: name.to_owned() })
}

fn wrong(name: &str) -> Turn {
    Turn::Claim(Claim::Wrong { name: name.to_owned() })
}

#[test]
fn the_example_of_rfc_7677() {
    let folder = tempfile::tempdir().unwrap();
    let users = users(folder.path());
    let context = context(&users, None);
    let nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned();
    let mut exchange = Exchange::new(Mechanism::ScramSha256, nonce, "mx.example");
    assert_eq!(exchange.begin(None, &context), Turn::Challenge(Vec::new()));
    let first = exchange.respond(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", &context);
    let expected = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    assert_eq!(first, Turn::Challenge(expected.as_bytes().to_vec()));
    let last = exchange.respond(
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
          p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        &context,
    );
    let signature = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_vec();
    assert_eq!(last, Turn::Challenge(signature));
    assert_eq!(exchange.respond(b"", &context), proven("user"));
}

#[test]
fn scram_that_is_not_right() {
    let folder = tempfile::tempdir().unwrap();
    let users = users(folder.path());
    let exporter = [7_u8; 32];
    let (none, bound) = (context(&users, None), context(&users, Some(&exporter)));
    let first = |plus: bool, message: &str, context: &Context<'_>| {
        let mechanism = if plus { Mechanism::ScramSha256Plus } else { Mechanism::ScramSha256 };
        let mut exchange = Exchange::new(mechanism, "N".to_owned(), "mx.example");
        let turn = exchange.begin(Some(message.as_bytes()), context);
        (turn != Turn::Malformed, exchange)
    };
    let cases = [
        ("plain", false, "n,,n=user,r=x", &none, true),
        ("authorised as itself", false, "n,a=user,n=user,r=x", &none, true),
        ("authorised as another", false, "n,a=root,n=user,r=x", &none, false),
        ("escaped name", false, "n,,n=a=2Cb=3Dc,r=x", &none, true),
        ("bad escape", false, "n,,n=a=2c,r=x", &none, false),
        ("extension that must be known", false, "n,,m=1,n=user,r=x", &none, false),
        ("no nonce", false, "n,,n=user,r=", &none, false),
        ("no name", false, "n,,n=,r=x", &none, false),
        ("nothing", false, "", &none, false),
        ("not UTF-8 would be", false, "n,,", &none, false),
        ("could bind, nothing was offered", false, "y,,n=user,r=x", &none, true),
        ("could bind, the offer was taken away", false, "y,,n=user,r=x", &bound, false),
        ("binds", true, "p=tls-exporter,,n=user,r=x", &bound, true),
        ("binds to another thing", true, "p=tls-unique,,n=user,r=x", &bound, false),
        ("plus without binding", true, "n,,n=user,r=x", &bound, false),
        ("binding without plus", false, "p=tls-exporter,,n=user,r=x", &bound, false),
    ];
    for (name, plus, message, context, expected) in cases {
        assert_eq!(first(plus, message, context).0, expected, "{name}");
    }
    let zeros = STANDARD.encode_to_string([0; 32]);
    let finals = [
        ("wrong proof", format!("c=biws,r=xN,p={zeros}")),
        ("another nonce", format!("c=biws,r=x,p={zeros}")),
        ("another binding", format!("c=eSws,r=xN,p={zeros}")),
        ("no proof", "c=biws,r=xN".to_owned()),
        ("short proof", "c=biws,r=xN,p=AAAA".to_owned()),
        ("nothing", String::new()),
    ];
    for (name, message) in finals {
        for user in ["user", "nobody"] {
            let (_, mut exchange) = first(false, &format!("n,,n={user},r=x"), &none);
            assert_eq!(exchange.respond(message.as_bytes(), &none), wrong(user), "{name}");
            assert_eq!(exchange.respond(b"", &none), Turn::Malformed, "{name}");
        }
    }
}

#[test]
fn who_is_not_there_looks_as_if() {
    let folder = tempfile::tempdir().unwrap();
    let users = users(folder.path());
    let first = |name: &str| {
        let mut exchange = Exchange::new(Mechanism::ScramSha256, "N".to_owned(), "mx.example");
        let message = format!("n,,n={name},r=x");
        exchange.begin(Some(message.as_bytes()), &context(&users, None))
    };
    assert_eq!(first("nobody"), first("nobody"));
    assert_ne!(first("nobody"), first("somebody"));
}

#[test]
fn the_example_of_rfc_2195() {
    let folder = tempfile::tempdir().unwrap();
    let users = users(folder.path());
    let context = context(&users, None);
    let begin = || {
        let nonce = "1896.697170952".to_owned();
        Exchange::new(Mechanism::CramMd5, nonce, "postoffice.reston.mci.net")
    };
    let challenge = b"<1896.697170952@postoffice.reston.mci.net>".to_vec();
    assert_eq!(begin().begin(None, &context), Turn::Challenge(challenge));
    assert_eq!(begin().begin(Some(b""), &context), Turn::Malformed, "the server speaks first");
    let digest = "b913a602c7eda7a495b4e6e7334d3890";
    let cases = [
        ("right", format!("tim {digest}"), proven("tim")),
        ("upper case", format!("tim {}", digest.to_uppercase()), proven("tim")),
        ("wrong", "tim 00000000000000000000000000000000".to_owned(), wrong("tim")),
        ("no secret is kept", format!("user {digest}"), wrong("user")),
        ("nobody", format!("nobody {digest}"), wrong("nobody")),
        ("no digest", "tim".to_owned(), Turn::Malformed),
    ];
    for (name, response, expected) in cases {
        assert_eq!(begin().respond(response.as_bytes(), &context), expected, "{name}");
    }
}

#[test]
fn plain_and_login() {
    let folder = tempfile::tempdir().unwrap();
    let users = users(folder.path());
    let context = context(&users, None);
    let says = |name: &str, password: &str| {
        let password = Password::new(password);
        Turn::Claim(Claim::Password { name: name.to_owned(), password })
    };
    let cases: [(&str, &[u8], Turn); 8] = [
        ("usual", b"\0user\0pencil", says("user", "pencil")),
        ("as itself", b"user\0user\0pencil", says("user", "pencil")),
        ("as another", b"root\0user\0pencil", Turn::Malformed),
        ("no password", b"\0user\0", Turn::Malformed),
        ("no name", b"\0\0pencil", Turn::Malformed),
        ("too many fields", b"\0user\0pencil\0", Turn::Malformed),
        ("too few", b"user\0pencil", Turn::Malformed),
        ("not UTF-8", b"\0user\0\xFF", Turn::Malformed),
    ];
    for (name, response, expected) in cases {
        let mut exchange = Exchange::new(Mechanism::Plain, String::new(), "mx.example");
        assert_eq!(exchange.begin(Some(response), &context), expected, "{name}");
    }
    let mut exchange = Exchange::new(Mechanism::Login, String::new(), "mx.example");
    assert_eq!(exchange.begin(None, &context), Turn::Challenge(b"Username:".to_vec()));
    assert_eq!(exchange.respond(b"user", &context), Turn::Challenge(b"Password:".to_vec()));
    assert_eq!(exchange.respond(b"pencil", &context), says("user", "pencil"));
}

#[tokio::test]
async fn passwords() {
    let folder = tempfile::tempdir().unwrap();
    let users = Arc::new(users(folder.path()));
    let cases = [
        ("right", "user", "pencil", true),
        ("right once more", "user", "pencil", true),
        ("any case of the name", "USER", "pencil", true),
        ("wrong", "user", "Pencil", false),
        ("nobody", "nobody", "pencil", false),
        ("of another", "tim", "pencil", false),
        ("an invisible character", "user", "pen\u{AD}cil", true),
        ("full width", "user", "ｐｅｎｃｉｌ", true),
    ];
    for (name, user, password, expected) in cases {
        let claim = Claim::Password { name: user.to_owned(), password: Password::new(password) };
        let answer = users.verify(claim, CLIENT).await;
        assert_eq!(matches!(answer, LoginAnswer::Right(_)), expected, "{name}");
    }
    assert_eq!(format!("{:?}", Password::new("pencil")), "Password(…)");
}

fn claim(password: &str) -> Claim {
    Claim::Password { name: "user".to_owned(), password: Password::new(password) }
}

/// Guesses wait for a place here until the places are let go.
#[tokio::test]
async fn who_guesses_does_not_keep_others_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let users = Arc::new(users(folder.path()));
    assert_eq!(users.verify(claim("pencil"), CLIENT).await, LoginAnswer::Right("user".to_owned()));
    let all = u32::try_from(COMPARED_AT_ONCE).unwrap();
    let taken = users.places.acquire_many(all).await.unwrap();
    let guess = |client: IpAddr| {
        let users = Arc::clone(&users);
        tokio::spawn(async move { users.verify(claim("guess"), client).await })
    };
    // Whoever has a turn waits for the places, and there are none.
    let at_once = async |client: IpAddr| {
        let answer = users.verify(claim("guess"), client);
        let limit = std::time::Duration::from_secs(60);
        tokio::time::timeout(limit, answer).await.expect("it has no turn")
    };
    let client_of = |number: usize| {
        IpAddr::from([
            10,
            u8::try_from(number / 200).unwrap(),
            u8::try_from(number % 200).unwrap(),
            1,
        ])
    };
    let waiting = async |count: usize| {
        for _ in 0..100_000 {
            if users.queue.total() == count {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("{} wait, not {count}", users.queue.total());
    };
    // Of one address that guesses or that nobody knows few wait.
    let guesser = IpAddr::from([198, 51, 100, 1]);
    for _ in 0..CLIENT_POINTS {
        let wrong = Claim::Wrong { name: "user".to_owned() };
        assert_eq!(users.verify(wrong, guesser).await, LoginAnswer::Wrong);
    }
    let mut guesses = Vec::new();
    for client in [guesser, IpAddr::from([203, 0, 113, 1])] {
        guesses.extend((0..QUEUED_PER_STRANGER).map(|_| guess(client)));
        waiting(guesses.len()).await;
        assert_eq!(at_once(client).await, LoginAnswer::Unknown, "who is not known has few turns");
    }
    // All strangers together have half of the turns.
    guesses.extend((guesses.len()..QUEUED_OF_STRANGERS).map(|number| guess(client_of(number))));
    waiting(QUEUED_OF_STRANGERS).await;
    let other = IpAddr::from([192, 0, 3, 9]);
    assert_eq!(at_once(other).await, LoginAnswer::Unknown, "strangers have their turns");
    // The rest is for whom a login was right, such as a webmail host. Its neighbours are strangers.
    guesses.extend((guesses.len()..QUEUED).map(|_| guess(CLIENT)));
    waiting(QUEUED).await;
    assert_eq!(at_once(CLIENT).await, LoginAnswer::Unknown, "one client has its turns");
    let known = Claim::Proven { name: "user".to_owned() };
    assert_eq!(users.verify(known, other).await, LoginAnswer::Right("user".to_owned()));
    assert_eq!(at_once(other).await, LoginAnswer::Unknown, "all turns are taken");
    let known = users.verify(claim("pencil"), CLIENT).await;
    assert_eq!(known, LoginAnswer::Right("user".to_owned()), "who was right waits for nobody");
    assert!(guesses.iter().all(|guess| !guess.is_finished()));
    // Whoever gives up waiting makes room.
    guesses.pop().unwrap().abort();
    drop(taken);
    for guess in guesses {
        assert_eq!(guess.await.unwrap(), LoginAnswer::Wrong);
    }
    assert_eq!(
        users.verify(claim("guess"), CLIENT).await,
        LoginAnswer::Wrong,
        "all turns are back"
    );
    assert_eq!(users.places.available_permits(), COMPARED_AT_ONCE);
}

#[tokio::test]
async fn a_reload_forgets_only_who_changed() {
    let folder = tempfile::tempdir().unwrap();
    let users = Arc::new(users(folder.path()));
    let files = UserFiles { users: folder.path().join("users"), key: folder.path().join("key") };
    assert_eq!(users.verify(claim("pencil"), CLIENT).await, LoginAnswer::Right("user".to_owned()));
    let taken = users.places.acquire_many(u32::try_from(COMPARED_AT_ONCE).unwrap()).await.unwrap();
    users.reload().unwrap();
    let known = users.verify(claim("pencil"), CLIENT).await;
    assert_eq!(known, LoginAnswer::Right("user".to_owned()), "nothing had to be compared");
    drop(taken);
    let mut all = files.read().unwrap();
    all[0].verifier = Verifier::new(&Password::new("crayon")).unwrap();
    files.write(&all).unwrap();
    users.reload().unwrap();
    assert_eq!(users.verify(claim("pencil"), CLIENT).await, LoginAnswer::Wrong);
    assert_eq!(users.verify(claim("crayon"), CLIENT).await, LoginAnswer::Right("user".to_owned()));
}

#[test]
fn who_may_send_as_whom() {
    let folder = tempfile::tempdir().unwrap();
    let users = users(folder.path());
    let cases = [
        ("the null path", "", true),
        ("a listed address", "Other@b.example", true),
        ("a listed domain", "anybody@c.example", true),
        ("a domain below it", "anybody@x.c.example", false),
        ("another", "a@b.example", false),
    ];
    for (name, path, expected) in cases {
        let path = ReversePath::parse(path, Syntax::LAX).unwrap();
        assert_eq!(users.may_send_as("user", &path), expected, "{name}");
        assert!(!users.may_send_as("nobody", &path), "{name}");
    }
}

#[test]
fn files() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let users = users(folder.path());
    let files = UserFiles { users: folder.path().join("users"), key: folder.path().join("key") };
    for file in [&files.users, &files.key] {
        let mode = std::fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
    let text = std::fs::read_to_string(&files.users).unwrap();
    assert!(!text.contains("pencil") && !text.contains("tanstaaf"), "{text}");
    let line = text.lines().nth(1).unwrap().to_owned();
    let cases = [
        ("no verifier", "user".to_owned(), "users:1: not a user"),
        ("a password", "# one\nuser secret".to_owned(), "users:2: not a user"),
        ("rounds that never end", line.replace("4096", "4294967295"), "users:1: not a user"),
        ("an unknown word", format!("{line} x=y"), "users:1: not a user"),
        ("twice", format!("{line}\n{}", line.replace("user ", "USER ")), "users:2: a second user"),
    ];
    for (name, text, expected) in cases {
        std::fs::write(&files.users, text).unwrap();
        let error = users.reload().unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
        assert!(users.is_right("user", &Password::new("pencil")), "{name}: the old ones stay");
    }
    std::fs::write(&files.key, "short").unwrap();
    assert!(files.read_key().is_err());
    // A sealed password belongs to one name.
    let key = SealKey::parse(&SealKey::generate().unwrap()).unwrap();
    let sealed = key.seal("a", &Password::new("x")).unwrap();
    assert_eq!(key.open("a", &sealed), Some(Password::new("x")));
    assert_eq!(key.open("b", &sealed), None);
}
