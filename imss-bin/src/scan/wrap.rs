//! Any file → a message that it is attached to.

use base64_simd::STANDARD;

/// Octets that make one line of 76 characters.
const LINE_BYTES: usize = 57;

/// A message with an empty text and `content` as an attachment called `name`.
///
/// The name is written in the form of RFC 2231 whatever it holds, so it cannot break out of its
/// field.
pub(crate) fn attach(name: &str, content: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(content.len() / LINE_BYTES * 78 + 600);
    message.extend_from_slice(
        b"MIME-Version: 1.0\r\n\
          Content-Type: multipart/mixed; boundary=\"imss-attached\"\r\n\
          \r\n\
          --imss-attached\r\n\
          Content-Type: application/octet-stream\r\n\
          Content-Disposition: attachment;\r\n filename*=UTF-8''",
    );
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            message.push(byte);
        } else {
            message.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    message.extend_from_slice(b"\r\nContent-Transfer-Encoding: base64\r\n\r\n");
    for line in content.chunks(LINE_BYTES) {
        message.extend_from_slice(STANDARD.encode_to_string(line).as_bytes());
        message.extend_from_slice(b"\r\n");
    }
    message.extend_from_slice(b"--imss-attached--\r\n");
    message
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
}
