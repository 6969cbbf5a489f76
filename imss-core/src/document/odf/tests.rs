use super::*;
use crate::document::TextKind;
use crate::document::harness::{Found, package};
use crate::document::{ActiveKind, LinkKind};

/// A document with these styles and this body.
fn document(styles: &str, body: &str) -> Found {
    let content = format!(
        "<office:document-content><office:automatic-styles>{styles}</office:automatic-styles>\
         <office:body>{body}</office:body></office:document-content>"
    );
    package(
        &Odf,
        &[("mimetype", "application/vnd.oasis.opendocument.text"), ("content.xml", &content)],
    )
}

#[test]
fn how_text_is_met() {
    let styles = "<style:style style:name='H'><style:text-properties text:display='none'/></style:style>\
        <style:style style:name='W'><style:text-properties fo:color='#ffffff'/></style:style>\
        <style:style style:name='B'><style:text-properties fo:color='#ffffff' \
        fo:background-color='#0000ff'/></style:style>";
    let cases = [
        ("plain", "<text:p>a</text:p>", TextKind::Shown),
        (
            "hidden",
            "<text:p><text:span text:style-name='H'>a</text:span></text:p>",
            TextKind::Hidden,
        ),
        ("white", "<text:p text:style-name='W'>a</text:p>", TextKind::Hidden),
        ("white on blue", "<text:p text:style-name='B'>a</text:p>", TextKind::Shown),
        (
            "section",
            "<text:section text:display='none'><text:p>a</text:p></text:section>",
            TextKind::Hidden,
        ),
        (
            "note",
            "<text:p><office:annotation><text:p>a</text:p></office:annotation></text:p>",
            TextKind::Comment,
        ),
        (
            "who wrote a note",
            "<text:p><office:annotation><dc:creator>a</dc:creator></office:annotation></text:p>",
            TextKind::Comment,
        ),
        (
            "who changed",
            "<text:tracked-changes><text:insertion><office:change-info><dc:creator>a</dc:creator>\
             </office:change-info></text:insertion></text:tracked-changes>",
            TextKind::Revision,
        ),
        (
            "deleted",
            "<text:tracked-changes><text:deletion><text:p>a</text:p></text:deletion></text:tracked-changes>",
            TextKind::Revision,
        ),
    ];
    for (name, body, kind) in cases {
        let found = document(styles, body);
        assert_eq!(found.text(kind), "a", "{name}");
        assert_eq!(found.pieces.len(), 1, "{name}");
    }
    let found =
        document("", "<text:p>a<text:s text:c='2'/>b<text:tab/>c</text:p><text:h>d</text:h>");
    assert_eq!(found.text(TextKind::Shown), "a  b\tc\nd");
}

#[test]
fn sheets() {
    let styles =
        "<style:style style:name='T'><style:table-properties table:display='false'/></style:style>";
    let table = |style: &str| {
        format!(
            "<table:table table:name='S' table:style-name='{style}'><table:table-row><table:table-cell>\
             <text:p>a</text:p></table:table-cell><table:table-cell table:formula='of:=[.A1]'><text:p>b\
             </text:p></table:table-cell></table:table-row></table:table>"
        )
    };
    let found = document(styles, &table("x"));
    assert_eq!(found.text(TextKind::Shown), "a\tb");
    let book = |rest: &str, style: &str| {
        let body = format!("<office:spreadsheet>{rest}{}</office:spreadsheet>", table(style));
        document(styles, &body)
    };
    assert_eq!(book("", "x").text(TextKind::Shown), "S\na\tb", "names of sheets are shown");
    assert_eq!(book("", "T").text(TextKind::Hidden), "S\na\tb");
    let rest = "<table:content-validations><table:content-validation table:condition='cell-content()&gt;1'>\
        <table:help-message table:title='h'><text:p>help</text:p></table:help-message>\
        <table:error-message table:title='e'><text:p>wrong</text:p></table:error-message>\
        </table:content-validation></table:content-validations><table:named-expressions>\
        <table:named-range table:name='N' table:cell-range-address='$S.$A$1'/><table:named-expression \
        table:name='E' table:expression='1+1'/></table:named-expressions>";
    let rich = book(rest, "x");
    assert_eq!(rich.text(TextKind::Comment), "h\nhelp\ne\nwrong");
    assert_eq!(rich.text(TextKind::Formula), "cell-content()>1\nN=$S.$A$1\nE=1+1\nof:=[.A1]");
    assert_eq!(found.text(TextKind::Formula), "of:=[.A1]");
    let found = document(styles, &table("T"));
    assert_eq!(found.text(TextKind::Hidden), "a\tb");
    assert_eq!(found.properties(), ["hidden-sheet=S"]);
}

#[test]
fn what_acts() {
    let cases: [(&str, &str, &[ActiveKind]); 8] = [
        (
            "DDE",
            "<office:dde-source office:dde-application='soffice' office:dde-topic='t' office:dde-item='i'/>",
            &[ActiveKind::Dde],
        ),
        (
            "on opening",
            "<script:event-listener script:event-name='dom:load' xlink:href='vnd.sun.star.script:a'/>",
            &[ActiveKind::AutoRun],
        ),
        (
            "on a click",
            "<script:event-listener script:event-name='dom:click' xlink:href='vnd.sun.star.script:a'/>",
            &[ActiveKind::Script],
        ),
        (
            "a picture outside",
            "<draw:image xlink:href='http://a.example/a.png'/>",
            &[ActiveKind::RemoteContent],
        ),
        ("a picture inside", "<draw:image xlink:href='Pictures/a.png'/>", &[]),
        ("an object outside", "<draw:object xlink:href='file:///x.ods'/>", &[ActiveKind::OleLink]),
        ("an object inside", "<draw:object xlink:href='./Object 1'/>", &[]),
        (
            "a link to a macro",
            "<text:p><text:a xlink:href='macro:///A.B.C'>x</text:a></text:p>",
            &[ActiveKind::Script],
        ),
    ];
    for (name, body, expected) in cases {
        let found = document("", body);
        let kinds: Vec<ActiveKind> = found.active().iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, expected, "{name}");
    }
    let found =
        document("", "<text:p><text:a xlink:href='http://a.example/'>my bank</text:a></text:p>");
    assert_eq!(found.links(), [(LinkKind::Click, "http://a.example/", "my bank")]);
}

#[test]
fn modules_and_properties() {
    let module = "<script:module script:name='M'>Sub Main&#10;End Sub</script:module>";
    let meta = "<office:document-meta><office:meta><dc:creator>A</dc:creator>\
        <meta:user-defined meta:name='K'>v</meta:user-defined></office:meta></office:document-meta>";
    let parts = [
        ("mimetype", ""),
        ("content.xml", "<office:document-content/>"),
        ("meta.xml", meta),
        ("Basic/Standard/M.xml", module),
        ("Scripts/python/a.py", "print()"),
    ];
    let found = package(&Odf, &parts);
    assert_eq!(found.properties(), ["author=A", "k=v"]);
    assert_eq!(found.inside(), ["M.bas:Sub Main\nEnd Sub"]);
    assert_eq!(
        found.active(),
        [(ActiveKind::Script, "Basic module M"), (ActiveKind::Script, "Scripts/python/a.py")]
    );
}

#[test]
fn encrypted_entries() {
    let manifest = |inner: &str| {
        let text = format!(
            "<manifest:manifest><manifest:file-entry manifest:full-path='content.xml' \
             manifest:size='9'>{inner}</manifest:file-entry></manifest:manifest>"
        );
        let parts = [("content.xml", "\u{1}\u{2}"), ("META-INF/manifest.xml", text.as_str())];
        package(&Odf, &parts).pieces
    };
    let pieces = manifest("<manifest:encryption-data/>");
    assert!(matches!(pieces.as_slice(), [Piece::Embedded(member)] if member.is_encrypted()));
    assert_eq!(manifest(""), []);
}

#[test]
fn flat_files() {
    let text = "<office:document xmlns:office='urn:oasis:names:tc:opendocument:xmlns:office:1.0'>\
        <office:scripts><ooo:module ooo:name='M'><ooo:source-code>Sub A</ooo:source-code></ooo:module>\
        </office:scripts><office:body><text:p>a</text:p></office:body></office:document>";
    let found = crate::document::harness::single(&Odf, text.as_bytes());
    assert_eq!(found.text(TextKind::Shown), "a");
    assert_eq!(found.inside(), ["M.bas:Sub A"]);
    let late = format!("<?xml version='1.0'?><!--{}-->{text}", "x".repeat(100_000));
    let found = crate::document::harness::single(&Odf, late.as_bytes());
    assert_eq!(found.text(TextKind::Shown), "a", "behind a long comment");
}
