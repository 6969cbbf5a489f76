//! What pages show, hide, point to and do; every trick beside its harmless twin.

use super::*;
use crate::document::ActiveKind as K;
use crate::document::LinkKind;
use crate::document::harness::{Found, single};

fn html(page: &str) -> Found {
    single(&Html, format!("<html>{page}").as_bytes())
}

fn kinds(found: &Found) -> Vec<K> {
    found.active().iter().map(|(kind, _)| *kind).collect()
}

#[test]
fn plain_text() {
    let cases = [
        ("text alone", "a b", "a b"),
        ("blocks are lines", "<p>a</p><p>b<br>c</p>", "a\nb\nc"),
        ("inline tags join", "V<b>i</b>a<!-- x -->gra", "Viagra"),
        ("white space runs", "a \n\t b", "a b"),
        ("cells", "<tr><td>a</td><td>b</td></tr>", "a b"),
        ("references", "&lt;&#x3042;&#12354;&eacute&nosuch;&", "<ああé&nosuch;&"),
        ("script and style", "<style>p{}</style>a<SCRIPT>if(a<b){}</ScRiPt >b", "ab"),
        ("unclosed script", "a<script>b", "a"),
        ("unclosed comment", "a<!-- b", "a"),
        ("unclosed tag", "a<b title='", "a"),
        ("greater-than in an attribute", "<a title=\"1>2\">x</a>", "x"),
        ("alternative text", "<img src=x alt=\"Buy &amp; save\">now", "Buy & save now"),
        ("less-than in text", "1 < 2 <3", "1 < 2 <3"),
        ("title counts", "<head><title>T</title></head>b", "T\nb"),
        ("tags in a title are text", "<title><b>x</b></title>y", "<b>x</b>\ny"),
        ("Japanese", "<b>出会</b>い", "出会い"),
        ("bogus comments", "a<!x>b<?y>c</ z>d<![CDATA[e>f", "abcdf"),
        ("short comments", "a<!-->b<!--->c<!--x--!>d", "abcd"),
        ("a script in a script", "<script><!--<script></script>x--></script>b", "b"),
        ("what looks like one", "<script>'<script>'</script>b", "b"),
        ("NUL", "Via\0gra<b\0r>x", "Viagra\nx"),
        (
            "Outlook's text",
            "<!--[if mso]><p>a</p><![endif]--><!--[if !mso]><!-->b<!--<![endif]-->",
            "a\nb",
        ),
        ("Outlook's settings", "<!--[if mso]><xml><o:P>96</o:P></xml><![endif]-->b", "b"),
        ("plaintext", "<plaintext><b>a", "<b>a"),
        ("buttons", "<input type=submit value='Log in'><input type=hidden value=x>", "Log in"),
        ("without scripts", "<noscript>a</noscript>", "a"),
        ("readings are no text", "<ruby>漢<rp>(</rp><rt>かん</rt><rp>)</rp></ruby>字", "漢字"),
    ];
    for (name, page, expected) in cases {
        let mut reader = Reader::new(page, Syntax::Html, 1000);
        while reader.step() {}
        let [(_, shown, _), ..] = reader.finish().texts;
        assert_eq!(shown.trim(), expected, "{name}");
    }
}

#[test]
fn output_is_bounded() {
    assert_eq!(to_text("ああああ", 7), ("ああ".to_owned(), true));
    assert_eq!(to_text("abc", 3), ("abc".to_owned(), false));
}

#[test]
fn declared_charsets() {
    let cases: [(&str, &[u8], Option<&str>); 4] = [
        ("short form", b"<meta charset=\"Shift_JIS\">", Some("shift_jis")),
        ("long form", b"<META http-equiv=a content='text/html; charset=euc-jp'>", Some("euc-jp")),
        ("none", b"<meta name=x>", None),
        ("empty", b"<meta charset=>", None),
    ];
    for (name, page, expected) in cases {
        assert_eq!(declared_charset(page).as_deref(), expected, "{name}");
    }
}

#[test]
fn hidden_text() {
    let cases = [
        ("no display", "<p style='display:none'>x</p>", true),
        ("display", "<p style='display:block'>x</p>", false),
        ("invisible", "<span style=visibility:hidden>x</span>", true),
        (
            "made visible again",
            "<i style=visibility:hidden><b style=visibility:visible>x</b></i>",
            false,
        ),
        ("no size", "<span style='FONT-SIZE: 0px'>x</span>", true),
        ("one pixel", "<span style='font:1px Arial'>x</span>", true),
        ("small but legible", "<span style='font:bold 9px/10px Arial'>x</span>", false),
        (
            "no size around",
            "<td style='font-size:0'><div style='font-size:13px'>x</div></td>",
            false,
        ),
        ("white on white", "<b style='color:#FFF;background:white'>x</b>", true),
        ("white on blue", "<b style='color:#fff;background:blue'>x</b>", false),
        ("transparent", "<div style='opacity:0'>x</div>", true),
        ("half transparent", "<div style='opacity:0.5'>x</div>", false),
        ("no height", "<div style='max-height:0px;overflow:hidden'>x</div>", true),
        ("bounded height", "<div style='max-height:600px'>x</div>", false),
        ("attribute", "<div hidden>x</div>", true),
        ("template", "<template>x</template>", true),
        ("class", "<style>.h{display:none}</style><p class='a h'>x</p>", true),
        (
            "class for phones",
            "<style>@media(max-width:9px){.h{display:none}}</style><p class=h>x</p>",
            false,
        ),
        (
            "inside what is hidden",
            "<div style=display:none><b style=display:block>x</b></div>",
            true,
        ),
        ("after an open paragraph", "<p style=display:none>a<p>x", false),
        ("after an open cell", "<table><tr><td style=display:none>a<td>x", false),
        ("after the end", "<div style=display:none>a</div>x", false),
        ("end tags of others", "<div style=display:none></span></b>x</div>", true),
        ("the first of two", "<b style='display:none' style='display:inline'>x</b>", true),
        ("references", "<b style='display&#58;none'>x</b>", true),
    ];
    for (name, page, hidden) in cases {
        let found = html(page);
        let kind = if hidden { TextKind::Hidden } else { TextKind::Shown };
        assert!(found.text(kind).contains('x'), "{name}: {:?}", found.pieces);
    }
    let found = html("V<i style=font-size:0>xyz</i>iagra");
    assert_eq!(found.text(TextKind::Shown), "Viagra");
    assert_eq!(found.text(TextKind::Hidden), "xyz");
}

#[test]
fn links() {
    use LinkKind::{Click, Load, Submit};
    let cases = [
        (
            "label",
            "<a href=http://a.example/>Go <b>now</b></a>",
            vec![(Click, "http://a.example/", "Go now")],
        ),
        (
            "picture",
            "<a href='//a.example'><img src=cid:1 alt=Logo></a>",
            vec![(Click, "//a.example", "Logo")],
        ),
        (
            "the second starts after the first",
            "<a href=a>x<a href=b>y</a>",
            vec![(Click, "a", "x"), (Click, "b", "y")],
        ),
        (
            "base",
            "<base href=https://a.example/x/><a href=y>z</a>",
            vec![(Click, "https://a.example/x/y", "z")],
        ),
        ("tabs", "<a href='htt\tp://a.exa\nmple'>x</a>", vec![(Click, "http://a.example", "x")]),
        (
            "the first of two",
            "<img src=a><img alt='' background=b>",
            vec![(Load, "a", ""), (Load, "b", "")],
        ),
        ("sets", "<img srcset='a 1x, b 2x'>", vec![(Load, "a", ""), (Load, "b", "")]),
        (
            "styles",
            "<td style=\"background:url('a')\"><style>@import 'b';</style>",
            vec![(Load, "a", ""), (Load, "b", "")],
        ),
        (
            "style sheet",
            "<link rel=stylesheet href=a><link rel=canonical href=b>",
            vec![(Load, "a", "")],
        ),
        ("ping", "<a ping=a href=b>c</a>", vec![(Submit, "a", ""), (Click, "b", "c")]),
        ("mail", "<a href=mailto:a@b.example>c</a>", vec![(Click, "mailto:a@b.example", "c")]),
        ("inside and nowhere", "<a href=#top>a</a><a href=''>b</a><img src=cid:x>", vec![]),
        (
            "Outlook's button",
            "<!--[if mso]><v:roundrect href='a'>b</v:roundrect><![endif]-->",
            vec![(Click, "a", "")],
        ),
        ("map", "<area href=a alt=b>", vec![(Click, "a", "b")]),
    ];
    for (name, page, expected) in cases {
        assert_eq!(html(page).links(), expected, "{name}");
    }
}

const ACTS: [(&str, &str, &[K]); 37] = [
    ("script", "<script>x()</script>", &[K::Script]),
    ("data for search engines", "<script type='application/ld+json'>{}</script>", &[]),
    ("script elsewhere", "<script src=a.js></script>", &[K::Script]),
    ("handler", "<b onclick='x()'>", &[K::Script]),
    ("no handler", "<b once=x on=y>", &[]),
    ("address", "<a href='java&#9;script:x()'>", &[K::Script]),
    ("no script address", "<a href='http://javascript.example/'>", &[]),
    ("page in a link", "<a href='data:text/html,<b>hello there</b>'>", &[K::Script]),
    ("picture in a link", "<img src='data:image/png;base64,iVBORw0KGgo='>", &[]),
    ("form", "<form action=/a><input name=q></form>", &[K::Form]),
    ("password", "<form action=/a><input type='PassWord'></form>", &[K::PasswordForm]),
    ("password alone", "<input type=password>", &[K::PasswordForm]),
    ("a field named so", "<input type=text name=password>", &[]),
    (
        "password by script",
        "<script>x='<input type=\\\"pass'+'word\\\">'</script>",
        &[K::Script, K::PasswordForm],
    ),
    ("a script about them", "<script>var password = 1</script>", &[K::Script]),
    ("refresh", "<meta http-equiv=refresh content='0; URL=\"http://a.example\"'>", &[K::Redirect]),
    ("reload", "<meta http-equiv=refresh content=300>", &[]),
    (
        "location",
        "<script>window.location.href = 'http://a.example'</script>",
        &[K::Redirect, K::Script],
    ),
    ("location replaced", "<script>location.replace(x)</script>", &[K::Redirect, K::Script]),
    (
        "location decoded",
        "<script>top['location']=atob('aHR0cDovL2EuZXhhbXBsZQ==')</script>",
        &[K::Redirect, K::Script],
    ),
    (
        "location read",
        "<script>if (location.href == x) user.location = y; var location = 2</script>",
        &[K::Script],
    ),
    (
        "location on load",
        "<body onload=\"location='http://a.example'\">",
        &[K::Redirect, K::Script],
    ),
    ("location on click", "<b onclick=\"location='http://a.example'\">", &[K::Script]),
    (
        "smuggling",
        "<script>b = new Blob([x]); a.href = URL.createObjectURL(b); a.download = 'x'</script>",
        &[K::Script, K::Smuggling],
    ),
    (
        "smuggling in pieces",
        "<script>b = new window['Bl'+'ob']; new Blob; u['\\x63reateObjectURL'](b); a.click()</script>",
        &[K::Script, K::Smuggling],
    ),
    ("a preview", "<script>i.src = URL.createObjectURL(new Blob([x]))</script>", &[K::Script]),
    (
        "a file in a link",
        "<a download=a.zip href='data:application/zip;base64,UEsDBBQAAAAA'>",
        &[K::Smuggling],
    ),
    ("a link to a file", "<a download href=a.zip>", &[]),
    ("Flash", "<embed src=a.swf>", &[K::RichMedia]),
    (
        "control",
        "<object classid='clsid:8856F961-340A-11D0-A96B-00C04FD705A2'></object>",
        &[K::ActiveX],
    ),
    ("a PDF shown", "<embed src=a.pdf type=application/pdf>", &[]),
    ("application", "<hta:application id=a>", &[K::Script]),
    ("UTF-7", "<meta charset=utf-7>", &[K::Obfuscation]),
    ("UTF-8", "<meta http-equiv=content-type content='text/html; charset=utf-8'>", &[]),
    ("frame", "<iframe src=http://a.example></iframe>", &[K::RemoteContent]),
    ("own frame", "<iframe src=about:blank></iframe>", &[]),
    (
        "page in a page",
        "<iframe srcdoc='&lt;form&gt;&lt;input type=password&gt;'></iframe>",
        &[K::PasswordForm],
    ),
];

#[test]
fn what_acts() {
    for (name, page, expected) in ACTS {
        let mut found = kinds(&html(page));
        found.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn content_inside() {
    let long = base64(format!("PK\x03\x04{}", "x".repeat(200)).as_bytes());
    let octets: Vec<String> =
        "%PDF-1.7 ".bytes().cycle().take(90).map(|octet| octet.to_string()).collect();
    let cases = [
        (
            "data",
            "<a download=a.txt href='data:text/plain,hello%20there'>".to_owned(),
            "a.txt:hello there",
        ),
        (
            "style",
            "<b style='background:url(data:text/plain,hello%20there)'>".to_owned(),
            ":hello there",
        ),
        ("literal", format!("<script>x = '{long}'</script>"), ":PK\x03\x04xxx"),
        (
            "literal in pieces",
            format!("<script>x = '{}' + '{}'</script>", &long[..99], &long[99..]),
            ":PK\x03\x04xxx",
        ),
        ("data block", format!("<script type=text/plain>{long}</script>"), ":PK\x03\x04xxx"),
        ("numbers", format!("<script>x = [{}]</script>", octets.join(", ")), ":%PDF-1.7"),
        (
            "script address",
            "<script src='data:text/javascript,alert(1234)'></script>".to_owned(),
            "address:alert(1234)",
        ),
        (
            "decoded",
            "<script>document.write(unescape('%3Cb%3Ehello%u0021'))</script>".to_owned(),
            "decoded:document.write('<b>hello!')",
        ),
        ("handlers", "<b onclick='f(&quot;x&quot;)'>".to_owned(), "handlers:f(\"x\")"),
        (
            "encoded",
            "<script language=JScript.Encode>#@~^AAAAAA==</script>".to_owned(),
            "script:#@~^",
        ),
    ];
    for (name, page, expected) in cases {
        let inside = html(&page).inside();
        assert!(inside.iter().any(|one| one.starts_with(expected)), "{name}: {inside:?}");
    }
    let harmless = html(&format!(
        "<script>x = '{}'; y = '{}'</script>",
        "a".repeat(300),
        "1234567890".repeat(30)
    ));
    assert_eq!(harmless.inside().len(), 1, "letters that are no file");
}

#[test]
fn pictures() {
    let svg = |inner: &str| {
        let page = format!("<svg xmlns=\"http://www.w3.org/2000/svg\">{inner}</svg>");
        single(&Html, page.as_bytes())
    };
    let cases: [(&str, &str, &[K]); 8] = [
        ("drawn", "<path d='M0 0'/><style/><text>x</text>", &[]),
        (
            "script",
            "<script><![CDATA[ location='http://a.example' ]]></script>",
            &[K::Redirect, K::Script],
        ),
        (
            "script with references",
            "<script>&#108;ocation='http://a.example'</script>",
            &[K::Redirect, K::Script],
        ),
        ("script elsewhere", "<script href='http://a.example/a.js'/>", &[K::Script]),
        ("on load", "<g onload='x()'/>", &[K::Script]),
        ("address", "<a xlink:href='javascript:x()'><text>x</text></a>", &[K::Script]),
        (
            "animated address",
            "<a><animate attributeName=href values='javascript:x()'/></a>",
            &[K::Script],
        ),
        (
            "form",
            "<foreignObject><form action='http://a.example'><input type='password'/></form></foreignObject>",
            &[K::PasswordForm],
        ),
    ];
    for (name, inner, expected) in cases {
        let mut found = kinds(&svg(inner));
        found.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected, "{name}");
    }
    let found = svg(
        "<image xlink:href='data:image/png;base64,iVBORw0KGgoAAAA='/><text>a<tspan>b</tspan></text>",
    );
    assert_eq!(found.text(TextKind::Shown), "ab");
    assert_eq!(found.inside().len(), 1);
}

#[test]
fn hostile_pages_end() {
    let cases = [
        ("open elements", "<b>".repeat(50_000)),
        ("end tags", "<i>".repeat(2_000) + &"</b>".repeat(50_000)),
        ("open comments", "<!--".repeat(50_000)),
        ("conditional comments", "<!--[if a]>".repeat(20_000)),
        ("open quotes", "<a b='".repeat(20_000)),
        ("locations", "<script>".to_owned() + &"location=".repeat(20_000)),
        ("calls", "<script>".to_owned() + &"fromCharCode(".repeat(20_000)),
        ("junctions", "<script>".to_owned() + &"'      ".repeat(20_000)),
        ("numbers", "<script>".to_owned() + &"1 ".repeat(50_000)),
        ("CDATA", "<svg>".to_owned() + &"<![CDATA[".repeat(20_000)),
        ("pages in pages", "<iframe srcdoc='".to_owned() + &"<iframe srcdoc=".repeat(9_000)),
        ("marks of encoded scripts", "<script>".to_owned() + &"#@~^".repeat(20_000)),
    ];
    for (name, page) in cases {
        let found = html(&page);
        assert!(found.pieces.len() < 30_000, "{name}");
    }
}

fn base64(octets: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(octets)
}
