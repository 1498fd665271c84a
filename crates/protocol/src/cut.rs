//! Texts that people write have no bound; messages have one (P7).

/// The most bytes that a text of ours has on the wire: an error's message, its traceback, the reason of a Cancel. It
/// can be read by nobody when it is longer, and fits every message limit that makes sense (P7).
pub const LONGEST_TEXT: usize = 64 << 10;

/// `text` in at most `most` bytes: a longer one loses its end, and says so.
///
/// ```
/// use anyudf_protocol::cut;
///
/// assert_eq!(cut("as it was".into(), 40), "as it was");
/// assert_eq!(cut("far too long ".repeat(10), 40), "far too long far… (cut from 130 bytes)");
/// ```
pub fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let mark = format!("… (cut from {} bytes)", text.len());
        let mark = if mark.len() <= most { mark } else { String::new() };
        text.truncate(text.floor_char_boundary(most - mark.len()));
        text += &mark;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P7: whatever the bound and wherever it falls, the text is no longer than it.
    #[test]
    fn p7_a_cut_text_is_within_its_bound() {
        let text = "größer als erlaubt, 長すぎる".repeat(3);
        for most in 0..text.len() + 2 {
            let cut = cut(text.clone(), most);
            assert!(cut.len() <= most, "{} bytes, not {most}: {cut}", cut.len());
            assert_eq!(cut == text, most >= text.len());
        }
    }
}
