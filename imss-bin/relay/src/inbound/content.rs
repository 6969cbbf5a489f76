//! Reads message content off the wire: undoes dot-stuffing, finds the end, makes every line end
//! a CRLF (RFC 5321 §4.5.2, §2.3.8, RFC 3030).
//!
//! In: octets in pieces of any size. Out: pieces of the message, each a slice of the input or a
//! line end put in. Only `<CRLF>.<CRLF>` ends content that came by DATA.
//!
//! SMTP smuggling works where one server reads an end that another does not. So:
//!
//! - A bare CR or LF comes out as CRLF (several CRs before a CRLF make one line end, as broken
//!   converters write them): no server behind us sees one.
//! - A line of one or two dots with a bare line end at either side, or with NULs in it, is
//!   [`Defects::false_end`]: somewhere it would end the message. The session refuses it.
//! - Dot-stuffing is undone after CRLF only; the dots are put back when the message goes out.

/// How the client marks the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By DATA: dot-stuffed, ended by `<CRLF>.<CRLF>`.
    Dots,
    /// By BDAT: counted octets; the caller cuts them.
    Counted,
}

/// What was wrong with the content so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Defects {
    /// A CR without LF, or a LF without CR.
    pub bare_line_end: bool,
    /// A line that some server would take for the end of the message.
    pub false_end: bool,
}

/// One piece of what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Content. May be empty.
    Content(&'a [u8]),
    /// The end of the message; what follows are commands.
    End,
}

/// Reads one message. See the module.
#[derive(Debug)]
pub struct Decoder {
    framing: Framing,
    held: Held,
    line: Line,
    defects: Defects,
}

/// CRs at the end of what was read, not passed on yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Nothing,
    OneCr,
    Crs,
}

/// What the line holds so far, as far as it matters for its being an end.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    /// It began after a bare CR or LF.
    after_bare: bool,
    /// Its first octet was a dot, which was taken away.
    unstuffed: bool,
    /// Dots in it, 3 for more. The one that was taken away counts.
    dots: u8,
    /// It holds a NUL. Not looked for once `other` is set.
    nul: bool,
    /// It holds something other than dots and NULs.
    other: bool,
}

const CRLF: &[u8] = b"\r\n";

impl Decoder {
    /// At the first octet of a message.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        Self { framing, held: Held::Nothing, line: Line::default(), defects: Defects::default() }
    }

    /// Reads from `input`, which is not empty. Returns how many octets were used (it may be none
    /// when a line end is put in, but never twice in a row), and what they gave.
    pub fn read<'a>(&mut self, input: &'a [u8]) -> (usize, Piece<'a>) {
        let Some(&first) = input.first() else { return (0, Piece::Content(&[])) };
        if self.held != Held::Nothing {
            return self.read_after_cr(first);
        }
        if self.takes_dot(first) {
            self.line.unstuffed = true;
            self.line.dots = 1;
            return (1, Piece::Content(&[]));
        }
        match self.run(input) {
            0 if first == b'\r' => {
                self.held = Held::OneCr;
                (1, Piece::Content(&[]))
            }
            // The run stops at nothing else but a bare LF.
            0 => self.read_bare_lfs(input),
            length => (length, Piece::Content(input.get(..length).unwrap_or_default())),
        }
    }

    /// Ends content whose length was counted. Returns what is missing: the line end of the last
    /// line, so that every message ends in CRLF.
    #[must_use]
    pub fn finish(&mut self) -> &'static [u8] {
        if self.held != Held::Nothing {
            self.end_line(LineEnd::Bare);
            return CRLF;
        }
        if self.line.is_empty() {
            return b"";
        }
        self.end_line(LineEnd::Crlf);
        CRLF
    }

    /// What was wrong so far.
    #[must_use]
    pub fn defects(&self) -> Defects {
        self.defects
    }

    fn takes_dot(&self, octet: u8) -> bool {
        self.framing == Framing::Dots
            && octet == b'.'
            && self.line.is_empty()
            && !self.line.after_bare
    }

    /// Bare LFs come in herds, and one by one they would cost ten times as much.
    fn read_bare_lfs<'a>(&mut self, input: &'a [u8]) -> (usize, Piece<'a>) {
        static CRLFS: [[u8; 2]; 128] = [*b"\r\n"; 128];
        let length = input.iter().zip(&CRLFS).take_while(|(octet, _)| **octet == b'\n').count();
        self.end_line(LineEnd::Bare);
        if length > 1 {
            // The lines between them are empty; one more makes the next begin after a bare LF.
            self.end_line(LineEnd::Bare);
        }
        (length, Piece::Content(CRLFS.get(..length).unwrap_or_default().as_flattened()))
    }

    fn read_after_cr<'a>(&mut self, next: u8) -> (usize, Piece<'a>) {
        match (next, self.held) {
            (b'\r', _) => {
                self.held = Held::Crs;
                (1, Piece::Content(&[]))
            }
            (b'\n', Held::OneCr) if self.line.is_end() => {
                self.end_line(LineEnd::Crlf);
                (1, Piece::End)
            }
            (b'\n', Held::OneCr) => {
                self.end_line(LineEnd::Crlf);
                (1, Piece::Content(CRLF))
            }
            (b'\n', _) => {
                self.end_line(LineEnd::CrCrlf);
                (1, Piece::Content(CRLF))
            }
            _ => {
                self.end_line(LineEnd::Bare);
                (0, Piece::Content(CRLF))
            }
        }
    }

    /// How many octets are passed on as they are: up to a bare line end, a dot to take away, the
    /// CR of the end, or a CR whose LF is not there yet.
    fn run(&mut self, input: &[u8]) -> usize {
        let mut at = 0_usize;
        while let Some(rest) = input.get(at..).filter(|rest| !rest.is_empty()) {
            let skipped = self.line.look_at(rest);
            let rest = rest.get(skipped..).unwrap_or_default();
            at = at.saturating_add(skipped);
            let Some(found) = memchr::memchr2(b'\r', b'\n', rest) else {
                return input.len();
            };
            at = at.saturating_add(found);
            let is_crlf = rest.get(found..).is_some_and(|end| end.starts_with(CRLF));
            if !is_crlf || self.line.is_end() {
                return at;
            }
            self.end_line(LineEnd::Crlf);
            at = at.saturating_add(CRLF.len());
            if input.get(at).is_some_and(|next| self.takes_dot(*next)) {
                return at;
            }
        }
        at
    }

    fn end_line(&mut self, end: LineEnd) {
        let is_odd = end != LineEnd::Crlf;
        self.defects.bare_line_end |= is_odd;
        self.defects.false_end |= self.line.is_false_end(is_odd);
        self.line = Line { after_bare: end == LineEnd::Bare, ..Line::default() };
        self.held = Held::Nothing;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Crlf,
    /// A CRLF with more CRs before it: a dot after it is at the start of a line, one before it is
    /// not followed by CRLF.
    CrCrlf,
    /// CR or LF alone.
    Bare,
}

impl Line {
    /// Looks at the dots and NULs a line begins with, and at the octet after them. Returns how
    /// many octets were looked at without meeting a line end.
    fn look_at(&mut self, input: &[u8]) -> usize {
        if self.other {
            return 0;
        }
        let mut looked = 0_usize;
        for octet in input {
            match octet {
                b'.' => self.dots = self.dots.saturating_add(1).min(3),
                0 => self.nul = true,
                b'\r' | b'\n' => break,
                _ => {
                    self.other = true;
                    break;
                }
            }
            looked = looked.saturating_add(1);
        }
        looked
    }

    fn is_empty(&self) -> bool {
        self.dots == 0 && !self.nul && !self.other
    }

    /// The end, if a CRLF follows.
    fn is_end(&self) -> bool {
        self.unstuffed && self.dots == 1 && !self.nul && !self.other
    }

    fn is_false_end(&self, ends_oddly: bool) -> bool {
        let is_odd = ends_oddly || self.after_bare || self.nul;
        is_odd && !self.other && (1..=2).contains(&self.dots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `raw` in pieces that end at `cuts`; content, defects, and what follows the end.
    fn decode(framing: Framing, raw: &[u8], cuts: &[usize]) -> (Vec<u8>, Defects, Option<Vec<u8>>) {
        let mut decoder = Decoder::new(framing);
        let mut content = Vec::new();
        let mut at = 0;
        for &cut in cuts.iter().chain([&raw.len()]) {
            while at < cut {
                let (used, piece) = decoder.read(&raw[at..cut]);
                at += used;
                match piece {
                    Piece::Content(piece) => content.extend_from_slice(piece),
                    Piece::End => return (content, decoder.defects(), Some(raw[at..].to_vec())),
                }
            }
        }
        if framing == Framing::Counted {
            content.extend_from_slice(decoder.finish());
        }
        (content, decoder.defects(), None)
    }

    fn in_all_chunkings(
        name: &str,
        framing: Framing,
        raw: &[u8],
    ) -> (Vec<u8>, Defects, Option<Vec<u8>>) {
        let whole = decode(framing, raw, &[]);
        let every: Vec<usize> = (1..raw.len()).collect();
        assert_eq!(decode(framing, raw, &every), whole, "{name}: octet by octet");
        for cut in 1..raw.len() {
            assert_eq!(decode(framing, raw, &[cut]), whole, "{name}: cut at {cut}");
        }
        whole
    }

    const BARE: Defects = Defects { bare_line_end: true, false_end: false };
    const NONE: Defects = Defects { bare_line_end: false, false_end: false };

    #[test]
    fn legal_content() {
        let cases: [(&str, &[u8], &[u8]); 8] = [
            ("empty", b".\r\n", b""),
            ("empty line", b"\r\n.\r\n", b"\r\n"),
            ("one line", b"a\r\n.\r\n", b"a\r\n"),
            ("stuffed dot", b"..\r\n.\r\n", b".\r\n"),
            ("stuffed dots", b"a\r\n..b\r\n...\r\n.\r\n", b"a\r\n.b\r\n..\r\n"),
            ("dot that should be stuffed", b".b\r\n.\r\n", b"b\r\n"),
            ("dots inside", b"a.\r\nb..\r\n.\r\n", b"a.\r\nb..\r\n"),
            ("NUL in text", b"a\0\r\n\0\r\n.\r\n", b"a\0\r\n\0\r\n"),
        ];
        for (name, raw, content) in cases {
            let raw = [raw, b"QUIT\r\n"].concat();
            let expected = (content.to_vec(), NONE, Some(b"QUIT\r\n".to_vec()));
            assert_eq!(in_all_chunkings(name, Framing::Dots, &raw), expected, "{name}");
        }
    }

    #[test]
    fn bare_line_ends_become_crlf() {
        let cases: [(&str, &[u8], &[u8]); 8] = [
            ("LF", b"a\nb\r\n.\r\n", b"a\r\nb\r\n"),
            ("CR", b"a\rb\r\n.\r\n", b"a\r\nb\r\n"),
            ("CR CR LF is one", b"a\r\r\nb\r\n.\r\n", b"a\r\nb\r\n"),
            ("LF CR", b"a\n\rb\r\n.\r\n", b"a\r\n\r\nb\r\n"),
            ("LF LF", b"a\n\nb\r\n.\r\n", b"a\r\n\r\nb\r\n"),
            ("dot after LF stays", b"a\n.b\r\n.\r\n", b"a\r\n.b\r\n"),
            ("CR NUL LF", b"a\r\0\nb\r\n.\r\n", b"a\r\n\0\r\nb\r\n"),
            ("three dots", b"a\n...\nb\r\n.\r\n", b"a\r\n...\r\nb\r\n"),
        ];
        for (name, raw, content) in cases {
            let expected = (content.to_vec(), BARE, Some(Vec::new()));
            assert_eq!(in_all_chunkings(name, Framing::Dots, raw), expected, "{name}");
        }
    }

    #[test]
    fn counted_content_has_no_dots_to_take_away() {
        let cases: [(&str, &[u8], &[u8], Defects); 6] = [
            ("empty", b"", b"", NONE),
            ("legal dot line", b"a\r\n.\r\nb\r\n", b"a\r\n.\r\nb\r\n", NONE),
            ("no line end at the end", b"a", b"a\r\n", NONE),
            ("CR at the end", b"a\r", b"a\r\n", BARE),
            ("dot at the end", b"a\r\n.", b"a\r\n.\r\n", NONE),
            ("bare LF", b"a\nb\r\n", b"a\r\nb\r\n", BARE),
        ];
        for (name, raw, content, defects) in cases {
            let expected = (content.to_vec(), defects, None);
            assert_eq!(in_all_chunkings(name, Framing::Counted, raw), expected, "{name}");
        }
    }

    /// Every line end that some server takes for one, around every dot that some server sees.
    #[test]
    fn nothing_but_crlf_dot_crlf_ends_a_message() {
        let ends: [&[u8]; 10] = [
            b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\0\n", b"\0\r\n", b"\r\n\0", b"\r\n\r",
            b"\n\0",
        ];
        let dots: [&[u8]; 4] = [b".", b"..", b"\0.", b".\0"];
        for (before, dot, after) in product(&ends, &dots) {
            let mark = [before, dot, after].concat();
            let name = mark.escape_ascii().to_string();
            let raw = [b"a", &*mark, b"MAIL FROM:<x@y>\r\n.\r\nQUIT\r\n"].concat();
            let (content, defects, rest) = in_all_chunkings(&name, Framing::Dots, &raw);
            let end = b"\r\n.\r\n";
            let true_end = raw.windows(end.len()).position(|window| window == end).unwrap();
            assert_eq!(rest.unwrap(), raw[true_end + end.len()..], "{name}");
            let is_stuffed =
                dot == b".." && before.ends_with(b"\r\n") && after.starts_with(b"\r\n");
            let ends_here = true_end + end.len() < raw.len() - b"QUIT\r\n".len();
            let is_fine = is_stuffed || ends_here;
            assert_ne!(defects.false_end, is_fine, "{name}: {}", content.escape_ascii());
            assert!(has_only_crlf(&content), "{name}: {}", content.escape_ascii());
        }
    }

    fn product<'a>(
        ends: &'a [&'static [u8]],
        dots: &'a [&'static [u8]],
    ) -> impl Iterator<Item = (&'static [u8], &'static [u8], &'static [u8])> {
        ends.iter().flat_map(move |before| {
            dots.iter().flat_map(move |dot| ends.iter().map(move |after| (*before, *dot, *after)))
        })
    }

    fn has_only_crlf(content: &[u8]) -> bool {
        let text = String::from_utf8_lossy(content).replace("\r\n", "");
        !text.contains(['\r', '\n'])
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config {
            failure_persistence: None,
            ..Default::default()
        })]

        #[test]
        fn what_comes_out_has_legal_lines_and_does_not_depend_on_the_cuts(
            raw in proptest::collection::vec(proptest::sample::select(b"a.\r\n\0".to_vec()), 0..40),
            cuts in proptest::collection::btree_set(0_usize..40, 0..6),
        ) {
            for framing in [Framing::Dots, Framing::Counted] {
                let cuts: Vec<_> = cuts.iter().copied().filter(|cut| *cut < raw.len()).collect();
                let (content, defects, rest) = decode(framing, &raw, &[]);
                assert_eq!(decode(framing, &raw, &cuts), (content.clone(), defects, rest.clone()));
                if rest.is_some() || framing == Framing::Counted {
                    assert!(has_only_crlf(&content));
                    assert!(content.is_empty() || content.ends_with(b"\r\n"));
                }
                if framing == Framing::Dots {
                    let from_start = [b"\r\n", &*raw].concat();
                    let end = from_start.windows(5).position(|window| window == b"\r\n.\r\n");
                    assert_eq!(rest, end.map(|at| from_start[at + 5..].to_vec()));
                }
            }
        }
    }
}
