//! Any file → a message that it is attached to.

use base64_simd::STANDARD;

/// Octets that make one line of 76 characters.
const LINE_BYTES: usize = 57;

/// A message with an empty text and `content` as an attachment called `name`.
#[must_use]
pub fn attach(name: &str, content: &[u8]) -> Vec<u8> {
    let mut message = Wrapper::head(name);
    let mut wrapper = Wrapper::new();
    message.extend(wrapper.lines(content));
    message.extend(wrapper.finish());
    message
}

/// Does it piece by piece.
#[derive(Debug, Default)]
pub struct Wrapper {
    /// Less than a line.
    rest: Vec<u8>,
}

impl Wrapper {
    /// At the first octet of the content.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What stands before the content. The name is written in the form of RFC 2231 whatever it holds,
    /// so it cannot break out of its field.
    #[must_use]
    pub fn head(name: &str) -> Vec<u8> {
        let mut head = b"MIME-Version: 1.0\r\n\
            Content-Type: multipart/mixed; boundary=\"imss-attached\"\r\n\
            \r\n\
            --imss-attached\r\n\
            Content-Type: application/octet-stream\r\n\
            Content-Disposition: attachment;\r\n filename*=UTF-8''"
            .to_vec();
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                head.push(byte);
            } else {
                head.extend_from_slice(format!("%{byte:02X}").as_bytes());
            }
        }
        head.extend_from_slice(b"\r\nContent-Transfer-Encoding: base64\r\n\r\n");
        head
    }

    /// The lines that the next piece completes.
    pub fn lines(&mut self, piece: &[u8]) -> Vec<u8> {
        let missing = LINE_BYTES.saturating_sub(self.rest.len()).min(piece.len());
        let (first, piece) = piece.split_at_checked(missing).unwrap_or((piece, &[]));
        self.rest.extend_from_slice(first);
        if self.rest.len() < LINE_BYTES {
            return Vec::new();
        }
        let mut lines = Vec::with_capacity((piece.len() / LINE_BYTES).saturating_add(2) * 78);
        push_line(&std::mem::take(&mut self.rest), &mut lines);
        let whole = piece.chunks_exact(LINE_BYTES);
        self.rest.extend_from_slice(whole.remainder());
        whole.for_each(|line| push_line(line, &mut lines));
        lines
    }

    /// What stands after the content.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let mut end = Vec::new();
        if !self.rest.is_empty() {
            push_line(&self.rest, &mut end);
        }
        end.extend_from_slice(b"--imss-attached--\r\n");
        end
    }
}

fn push_line(octets: &[u8], lines: &mut Vec<u8>) {
    lines.extend_from_slice(STANDARD.encode_to_string(octets).as_bytes());
    lines.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out() {
        let message = String::from_utf8(attach("a\r\nX: \"請求\".exe", b"MZ")).unwrap();
        assert!(
            message.contains("filename*=UTF-8''a%0D%0AX%3A%20%22%E8%AB%8B%E6%B1%82%22.exe\r\n")
        );
        assert!(message.ends_with("\r\n\r\nTVo=\r\n--imss-attached--\r\n"));
    }

    #[test]
    fn pieces_make_the_whole() {
        let content: Vec<u8> = (0..=255).cycle().take(1_000).collect();
        let whole = attach("a", &content);
        for size in [1, 56, 57, 58, 114, 999] {
            let mut wrapper = Wrapper::new();
            let mut message = Wrapper::head("a");
            for piece in content.chunks(size) {
                message.extend(wrapper.lines(piece));
            }
            message.extend(wrapper.finish());
            assert_eq!(message, whole, "pieces of {size}");
        }
    }
}
